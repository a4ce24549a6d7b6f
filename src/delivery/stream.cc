#include "delivery/stream.h"

#include <algorithm>

#include "base/id.h"

namespace flagstream::delivery {

void name_environment(const environment::FlagSet& flags, http::Response& response) {
  if (!flags.client_side_id.empty()) response.headers.add("X-LD-EnvID", flags.client_side_id);
}

http::Response stream_response(const environment::FlagSet& flags) {
  http::Response response;
  response.headers.add("Content-Type", "text/event-stream; charset=utf-8");
  response.headers.add("Cache-Control", "no-cache");
  response.headers.add("X-Accel-Buffering", "no");
  name_environment(flags, response);
  return response;
}

Lifetime::Lifetime(const Clock& clock, std::chrono::milliseconds max_age) : clock_(clock) {
  if (max_age.count() <= 0) return;
  constexpr std::int64_t kSteps = 4'096;
  const auto step = static_cast<std::int64_t>(Id128::random().low % (kSteps + 1));
  const std::int64_t age = max_age.count() * kMicrosPerMilli;
  end_ = clock.monotonic() + age / 5 * 4 + age / 5 * 2 * step / kSteps;
}

std::chrono::milliseconds Lifetime::left(std::chrono::milliseconds most) const {
  if (!end_) return most;
  const std::int64_t micros = std::max<std::int64_t>(*end_ - clock_.monotonic(), 0);
  return std::min(most, std::chrono::milliseconds(micros / kMicrosPerMilli + 1));
}

}  // namespace flagstream::delivery
