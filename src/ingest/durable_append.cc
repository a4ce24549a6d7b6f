#include "ingest/durable_append.h"

#include <map>

#include <boost/asio/execution_context.hpp>
#include <boost/asio/post.hpp>

#include "io/await_callback.h"

namespace flagstream::ingest {
namespace {

constexpr std::int64_t kGatherMax = kMicrosPerMilli / 2;

// The appends of one loop that were not started yet.  The loop's thread's.
class Gathering final : public io::net::execution_context::service {
 public:
  static inline io::net::execution_context::id id;

  explicit Gathering(io::net::execution_context& context) : service(context) {}

  void add(log::Appender& appender, const Clock& clock, const io::Executor& executor) {
    const auto [at, is_first] = rounds_.try_emplace(&appender);
    ++at->second.appends;
    if (!is_first) return;
    at->second.begin = clock.monotonic();
    look_later(appender, clock, executor);
  }

 private:
  struct Round {
    std::uint64_t appends = 0;
    std::uint64_t appends_seen = 0;
    std::int64_t begin = 0;  // monotonic
  };

  void shutdown() override {}

  // Behind all that the loop has to do now, which may append, too.
  void look_later(log::Appender& appender, const Clock& clock, const io::Executor& executor) {
    io::net::post(executor,
                  [this, &appender, &clock, executor] { look(appender, clock, executor); });
  }

  void look(log::Appender& appender, const Clock& clock, const io::Executor& executor) {
    const auto at = rounds_.find(&appender);
    Round& round = at->second;
    if (round.appends > round.appends_seen && clock.monotonic() - round.begin < kGatherMax) {
      round.appends_seen = round.appends;
      return look_later(appender, clock, executor);
    }
    rounds_.erase(at);
    appender.start();
  }

  std::map<log::Appender*, Round> rounds_;
};

}  // namespace

io::Task<Result<log::Appended>> durable_append(log::Appender& appender, const Clock& clock,
                                               log::Partition partition, log::Batch batch) {
  const io::Executor executor = co_await io::net::this_coro::executor;
  co_return co_await io::await_callback<Result<log::Appended>>([&](auto done) {
    io::net::use_service<Gathering>(executor.context()).add(appender, clock, executor);
    appender.enqueue(partition, std::move(batch), std::move(done));
  });
}

}  // namespace flagstream::ingest
