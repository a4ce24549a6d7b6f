// Who may send how much: the rate of each environment, and its share of the memory in which
// payloads wait.
//
// A payload is admitted while its environment owes nothing for earlier ones, and is charged
// afterwards: its bytes when their number is known, its events when they are counted.  So nothing
// has to be counted twice, and over time the rates hold exactly.
//
// Of the memory an environment may hold as much as is free: alone half of it, beside n others like
// it one part in n + 2.  So there is room for whoever comes next, whatever the others do.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/id.h"
#include "telemetry/metrics.h"

namespace flagstream::ingest {

// Of each environment; 0: no limit.
struct Rates {
  std::uint64_t bytes_per_second = 0;
  std::uint64_t events_per_second = 0;
  std::chrono::microseconds burst = std::chrono::seconds(1);  // so much time's worth at once

  bool operator==(const Rates&) const = default;
};

enum class Verdict {
  Admitted,
  RateLimited,  // the environment sends too fast
  OverShare,    // it holds its share of the memory, of which there is some left
  Full,         // there is none left
};

// A token bucket, kept as the time at which it is full again: one atomic.  Thread-safe.
class TokenBucket {
 public:
  // How long until something may be taken, `burst` being the bucket's size; 0: now.
  std::int64_t wait_nanos(std::int64_t now_nanos, std::int64_t burst_nanos) const;
  // Takes what takes so long to come in, be it there or not.
  void charge(std::int64_t now_nanos, std::int64_t nanos);
  void fill() { full_at_.store(0, std::memory_order_relaxed); }

 private:
  std::atomic<std::int64_t> full_at_{0};
};

// Thread-safe, without locks after an environment's first request.
class Admission {
 public:
  // What is kept of an environment as long as the process lives.
  class Account;

  Admission(std::size_t in_flight_bytes_max, const Rates& rates, const Clock& clock,
            telemetry::Registry& registry);
  ~Admission();
  Admission(const Admission&) = delete;
  Admission& operator=(const Admission&) = delete;

  // A payload's memory, given back on destruction.
  class InFlight {
   public:
    InFlight() = default;
    InFlight(InFlight&& other) noexcept
        : admission_(std::exchange(other.admission_, nullptr)),
          account_(other.account_),
          bytes_(std::exchange(other.bytes_, 0)) {}
    InFlight& operator=(InFlight&&) = delete;
    ~InFlight();

    // Makes it `bytes` in all; unless Admitted nothing changes.
    Verdict grow_to(std::size_t bytes);
    std::size_t bytes() const { return bytes_; }
    // For what was received.
    void charge_bytes(std::uint64_t bytes);
    void charge_events(std::uint64_t events);

   private:
    friend class Admission;
    InFlight(Admission& admission, Account& account) : admission_(&admission), account_(&account) {}

    Admission* admission_ = nullptr;
    Account* account_ = nullptr;
    std::size_t bytes_ = 0;
  };

  // Whether a payload of `bytes` may be received; charges for them if so.
  Verdict admit(EnvironmentId environment, std::uint64_t bytes);
  // For the memory of an admitted payload.
  InFlight in_flight(EnvironmentId environment);
  // Seconds after which it may be tried again, different for each call, so that those who were
  // refused together do not come back together.
  std::uint32_t retry_after_seconds(EnvironmentId environment, Verdict verdict);

  // From now on.  Other ones than before forget what is owed, which was reckoned by those: a rate
  // that was set far too low would else be felt for days.  Any thread.
  void set_rates(const Rates& rates);
  // Counts a refusal in the environment's name.
  void count_refusal(EnvironmentId environment, Verdict verdict);

 private:
  struct Refusals;

  Account& account_of(EnvironmentId environment);
  Verdict grow(Account& account, std::size_t more);
  void shrink(Account& account, std::size_t bytes);
  std::int64_t wait_nanos(const Account& account) const;
  std::int64_t now_nanos() const { return clock_.monotonic() * 1'000; }

  static constexpr std::size_t kHeads = 4096;

  const std::size_t in_flight_bytes_max_;
  const Clock& clock_;
  telemetry::Registry& registry_;
  std::atomic<std::uint64_t> bytes_per_second_;
  std::atomic<std::uint64_t> events_per_second_;
  std::atomic<std::int64_t> burst_nanos_;
  std::atomic<std::size_t> in_flight_bytes_{0};
  telemetry::Gauge in_flight_gauge_;
  // Accounts are added at the front of their list and never removed: there are no more than
  // environments whose credentials were once right.
  std::array<std::atomic<Account*>, kHeads> heads_{};
  std::mutex refusals_mutex_;  // while an account's counters are made
  std::unique_ptr<Refusals> refusals_of_others_;
  std::vector<std::unique_ptr<Refusals>> refusals_;
};

}  // namespace flagstream::ingest
