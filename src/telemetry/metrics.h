// Counters, gauges and histograms in Prometheus' text format.
//
// A component owns its metrics as members of one Probe struct; each is in a Registry from the end
// of its construction to the beginning of its destruction, whether somebody scrapes meanwhile or
// not.  Updates are relaxed atomics (any thread); a scrape reads them. Names:
// flagstream_<module>_<what>_<unit>, counters end in _total.  Labels are enums or route templates,
// never input of users.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace flagstream::telemetry {

// `name{labels}`: labels are written as they stand, e.g. `reason="duplicate"`, or empty.
struct MetricName {
  std::string name;
  std::string help;
  std::string labels;
};

class Registry;

class Metric {
 public:
  Metric(MetricName name, std::string_view type) : name_(std::move(name)), type_(type) {}
  virtual ~Metric() = default;
  Metric(const Metric&) = delete;
  Metric& operator=(const Metric&) = delete;

  const MetricName& name() const { return name_; }
  std::string_view type() const { return type_; }
  virtual void write_samples(std::string& out) const = 0;

 private:
  MetricName name_;
  std::string_view type_;
};

// The last member of a metric's final class: what is registered can be asked for its samples.
class Registration {
 public:
  Registration(Registry& registry, const Metric& metric);
  ~Registration();
  Registration(const Registration&) = delete;
  Registration& operator=(const Registration&) = delete;

 private:
  Registry& registry_;
  const Metric& metric_;
};

class Counter final : public Metric {
 public:
  Counter(Registry& registry, MetricName name)
      : Metric(std::move(name), "counter"), registration_(registry, *this) {}
  void add(std::uint64_t n = 1) { value_.fetch_add(n, std::memory_order_relaxed); }
  std::uint64_t value() const { return value_.load(std::memory_order_relaxed); }
  void write_samples(std::string& out) const override;

 private:
  std::atomic<std::uint64_t> value_{0};
  Registration registration_;
};

class Gauge final : public Metric {
 public:
  Gauge(Registry& registry, MetricName name)
      : Metric(std::move(name), "gauge"), registration_(registry, *this) {}
  void set(double value) { value_.store(value, std::memory_order_relaxed); }
  void add(double delta) { value_.fetch_add(delta, std::memory_order_relaxed); }
  double value() const { return value_.load(std::memory_order_relaxed); }
  void write_samples(std::string& out) const override;

 private:
  std::atomic<double> value_{0};
  Registration registration_;
};

// Buckets of 1, 2.5, 5 per decade from 10 microseconds to 100 seconds.  observe() takes seconds.
class Histogram final : public Metric {
 public:
  Histogram(Registry& registry, MetricName name)
      : Metric(std::move(name), "histogram"), registration_(registry, *this) {}
  void observe(double seconds);
  std::uint64_t count() const { return count_.load(std::memory_order_relaxed); }
  void write_samples(std::string& out) const override;

  static constexpr std::array<double, 22> kBounds = {
      1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2,
      5e-2, 0.1,    0.25, 0.5,  1,      2.5,  5,    10,     25,   50,   100};

 private:
  std::array<std::atomic<std::uint64_t>, kBounds.size() + 1> buckets_{};
  std::atomic<std::uint64_t> count_{0};
  std::atomic<std::uint64_t> sum_nanos_{0};
  Registration registration_;
};

// Thread-safe.  Must outlive its metrics.
class Registry {
 public:
  // All metrics in Prometheus' text format 0.0.4, families sorted by name, plus process_* figures.
  std::string scrape() const;

 private:
  friend class Registration;
  void add(const Metric* metric);
  void remove(const Metric* metric);

  mutable std::mutex mutex_;
  std::vector<const Metric*> metrics_;
};

}  // namespace flagstream::telemetry
