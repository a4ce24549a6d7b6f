#include "delivery/stream.h"

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

}  // namespace flagstream::delivery
