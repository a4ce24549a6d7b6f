#include "ingest/admission.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

namespace flagstream::ingest {
namespace {

constexpr std::size_t kNamedEnvironmentsMax = 100;  // in metrics; the rest count together
constexpr std::uint32_t kRetrySecondsMax = 60;
constexpr double kMemoryRetrySpread = 3;  // seconds; memory is free again in far less

std::int64_t nanos_for(std::uint64_t amount, std::uint64_t per_second) {
  const double nanos = static_cast<double>(amount) * 1e9 / static_cast<double>(per_second);
  return static_cast<std::int64_t>(std::min(nanos, 1e15));
}

telemetry::MetricName refusals(const std::string& environment, const char* reason) {
  return {.name = "flagstream_ingest_environment_refused_total",
          .help =
              "Payloads refused for what their environment sends, by its number; those beyond "
              "the first 100 environments count as other.",
          .labels = "environment=\"" + environment + "\",reason=\"" + reason + "\""};
}

}  // namespace

std::int64_t TokenBucket::wait_nanos(std::int64_t now_nanos, std::int64_t burst_nanos) const {
  const std::int64_t full_at = full_at_.load(std::memory_order_relaxed);
  return std::max<std::int64_t>(full_at - now_nanos - burst_nanos, 0);
}

void TokenBucket::charge(std::int64_t now_nanos, std::int64_t nanos) {
  std::int64_t full_at = full_at_.load(std::memory_order_relaxed);
  while (!full_at_.compare_exchange_weak(full_at, std::max(full_at, now_nanos) + nanos,
                                         std::memory_order_relaxed)) {
  }
}

struct Admission::Refusals {
  Refusals(telemetry::Registry& registry, const std::string& environment)
      : rate_limited(registry, refusals(environment, "rate_limited")),
        over_share(registry, refusals(environment, "over_share")) {}

  telemetry::Counter rate_limited;
  telemetry::Counter over_share;
};

class Admission::Account {
 public:
  Account(EnvironmentId environment, Account* behind) : id(environment), next(behind) {}

  const EnvironmentId id;
  Account* next;
  std::atomic<std::size_t> in_flight_bytes{0};
  TokenBucket bytes;
  TokenBucket events;
  std::atomic<Refusals*> refusals{nullptr};
};

Admission::Admission(std::size_t in_flight_bytes_max, const Rates& rates, const Clock& clock,
                     telemetry::Registry& registry)
    : in_flight_bytes_max_(in_flight_bytes_max),
      clock_(clock),
      registry_(registry),
      in_flight_gauge_(registry, {"flagstream_ingest_in_flight_bytes",
                                  "Memory of payloads that are received or wait for the log.", ""}),
      refusals_of_others_(std::make_unique<Refusals>(registry, "other")) {
  set_rates(rates);
}

Admission::~Admission() {
  for (const auto& head : heads_) {
    for (Account* account = head.load(); account != nullptr;)
      delete std::exchange(account, account->next);
  }
}

void Admission::set_rates(const Rates& rates) {
  const std::int64_t burst_nanos = rates.burst.count() * 1'000;
  const bool are_other = bytes_per_second_ != rates.bytes_per_second ||
                         events_per_second_ != rates.events_per_second ||
                         burst_nanos_ != burst_nanos;
  bytes_per_second_ = rates.bytes_per_second;
  events_per_second_ = rates.events_per_second;
  burst_nanos_ = burst_nanos;
  if (!are_other) return;
  for (const auto& head : heads_) {
    for (Account* each = head.load(std::memory_order_acquire); each != nullptr; each = each->next) {
      each->bytes.fill();
      each->events.fill();
    }
  }
}

Admission::Account& Admission::account_of(EnvironmentId environment) {
  std::atomic<Account*>& head = heads_[to_number(environment) % kHeads];
  Account* first = head.load(std::memory_order_acquire);
  std::unique_ptr<Account> made;
  for (;;) {
    for (Account* each = first; each != nullptr; each = each->next) {
      if (each->id == environment) return *each;
    }
    if (made == nullptr) made = std::make_unique<Account>(environment, first);
    made->next = first;
    if (head.compare_exchange_strong(first, made.get(), std::memory_order_acq_rel))
      return *made.release();
  }
}

std::int64_t Admission::wait_nanos(const Account& account) const {
  const std::uint64_t bytes_rate = bytes_per_second_.load(std::memory_order_relaxed);
  const std::uint64_t events_rate = events_per_second_.load(std::memory_order_relaxed);
  if (bytes_rate == 0 && events_rate == 0) return 0;
  const std::int64_t now = now_nanos();
  const std::int64_t burst = burst_nanos_.load(std::memory_order_relaxed);
  return std::max(bytes_rate == 0 ? 0 : account.bytes.wait_nanos(now, burst),
                  events_rate == 0 ? 0 : account.events.wait_nanos(now, burst));
}

Verdict Admission::admit(EnvironmentId environment, std::uint64_t bytes) {
  Account& account = account_of(environment);
  if (wait_nanos(account) > 0) return Verdict::RateLimited;
  const std::size_t all = in_flight_bytes_.load(std::memory_order_relaxed);
  const std::size_t own = account.in_flight_bytes.load(std::memory_order_relaxed);
  if (all + bytes > in_flight_bytes_max_) return Verdict::Full;
  if (all + own + bytes > in_flight_bytes_max_) return Verdict::OverShare;
  InFlight(*this, account).charge_bytes(bytes);
  return Verdict::Admitted;
}

Admission::InFlight Admission::in_flight(EnvironmentId environment) {
  return InFlight(*this, account_of(environment));
}

Verdict Admission::grow(Account& account, std::size_t more) {
  const std::size_t all = in_flight_bytes_.fetch_add(more, std::memory_order_relaxed);
  const std::size_t own = account.in_flight_bytes.fetch_add(more, std::memory_order_relaxed);
  in_flight_gauge_.add(static_cast<double>(more));
  if (all + own + more <= in_flight_bytes_max_) return Verdict::Admitted;
  shrink(account, more);
  return all + more > in_flight_bytes_max_ ? Verdict::Full : Verdict::OverShare;
}

void Admission::shrink(Account& account, std::size_t bytes) {
  in_flight_bytes_.fetch_sub(bytes, std::memory_order_relaxed);
  account.in_flight_bytes.fetch_sub(bytes, std::memory_order_relaxed);
  in_flight_gauge_.add(-static_cast<double>(bytes));
}

Admission::InFlight::~InFlight() {
  if (admission_ != nullptr && bytes_ > 0) admission_->shrink(*account_, bytes_);
}

Verdict Admission::InFlight::grow_to(std::size_t bytes) {
  if (bytes <= bytes_) return Verdict::Admitted;
  const Verdict verdict = admission_->grow(*account_, bytes - bytes_);
  if (verdict == Verdict::Admitted) bytes_ = bytes;
  return verdict;
}

void Admission::InFlight::charge_bytes(std::uint64_t bytes) {
  const std::uint64_t rate = admission_->bytes_per_second_.load(std::memory_order_relaxed);
  if (rate > 0) account_->bytes.charge(admission_->now_nanos(), nanos_for(bytes, rate));
}

void Admission::InFlight::charge_events(std::uint64_t events) {
  const std::uint64_t rate = admission_->events_per_second_.load(std::memory_order_relaxed);
  if (rate > 0) account_->events.charge(admission_->now_nanos(), nanos_for(events, rate));
}

std::uint32_t Admission::retry_after_seconds(EnvironmentId environment, Verdict verdict) {
  thread_local std::minstd_rand random(std::random_device{}());
  const double wait = verdict == Verdict::RateLimited
                          ? static_cast<double>(wait_nanos(account_of(environment))) / 1e9
                          : 0;
  const double spread = verdict == Verdict::RateLimited ? 1 + wait / 2 : kMemoryRetrySpread;
  const double jitter = std::uniform_real_distribution<double>(0, spread)(random);
  return static_cast<std::uint32_t>(
      std::min<double>(std::max(std::ceil(wait + jitter), 1.0), kRetrySecondsMax));
}

void Admission::count_refusal(EnvironmentId environment, Verdict verdict) {
  Account& account = account_of(environment);
  Refusals* own = account.refusals.load(std::memory_order_acquire);
  if (own == nullptr) {
    const std::lock_guard lock(refusals_mutex_);
    own = account.refusals.load(std::memory_order_relaxed);
    if (own == nullptr) {
      own = refusals_of_others_.get();
      if (refusals_.size() < kNamedEnvironmentsMax) {
        refusals_.push_back(
            std::make_unique<Refusals>(registry_, std::to_string(to_number(environment))));
        own = refusals_.back().get();
      }
      account.refusals.store(own, std::memory_order_release);
    }
  }
  (verdict == Verdict::RateLimited ? own->rate_limited : own->over_share).add();
}

}  // namespace flagstream::ingest
