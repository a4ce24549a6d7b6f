#include "telemetry/metrics.h"

#include <algorithm>
#include <cstdio>
#include <memory>

#include <dirent.h>
#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

namespace flagstream::telemetry {
namespace {

void append_sample(std::string& out, std::string_view name, std::string_view labels, double value) {
  out += name;
  if (!labels.empty()) fmt::format_to(std::back_inserter(out), "{{{}}}", labels);
  fmt::format_to(std::back_inserter(out), " {:.17g}\n", value);
}

void append_family(std::string& out, std::string_view name, std::string_view help,
                   std::string_view type) {
  fmt::format_to(std::back_inserter(out), "# HELP {} {}\n# TYPE {} {}\n", name, help, name, type);
}

std::size_t resident_bytes() {
  std::unique_ptr<FILE, int (*)(FILE*)> file(std::fopen("/proc/self/statm", "r"), &std::fclose);
  unsigned long total = 0, resident = 0;
  if (!file || std::fscanf(file.get(), "%lu %lu", &total, &resident) != 2) return 0;
  return resident * static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
}

std::size_t open_descriptors() {
  std::unique_ptr<DIR, int (*)(DIR*)> folder(opendir("/proc/self/fd"), &closedir);
  std::size_t count = 0;
  if (folder) {
    while (readdir(folder.get()) != nullptr) ++count;
  }
  return count > 3 ? count - 3 : 0;  // ".", ".." and the folder itself
}

void append_process(std::string& out) {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
  };
  append_family(out, "process_cpu_seconds_total", "User and system CPU time spent.", "counter");
  append_sample(out, "process_cpu_seconds_total", "",
                seconds(usage.ru_utime) + seconds(usage.ru_stime));
  append_family(out, "process_open_fds", "Open file descriptors.", "gauge");
  append_sample(out, "process_open_fds", "", static_cast<double>(open_descriptors()));
  append_family(out, "process_resident_memory_bytes", "Resident memory.", "gauge");
  append_sample(out, "process_resident_memory_bytes", "", static_cast<double>(resident_bytes()));
}

}  // namespace

Registration::Registration(Registry& registry, const Metric& metric)
    : registry_(registry), metric_(metric) {
  registry_.add(&metric);
}
Registration::~Registration() { registry_.remove(&metric_); }

void Counter::write_samples(std::string& out) const {
  append_sample(out, name().name, name().labels, static_cast<double>(value()));
}
void Gauge::write_samples(std::string& out) const {
  append_sample(out, name().name, name().labels, value());
}

void Histogram::observe(double seconds) {
  const auto at = std::lower_bound(kBounds.begin(), kBounds.end(), seconds) - kBounds.begin();
  buckets_[static_cast<std::size_t>(at)].fetch_add(1, std::memory_order_relaxed);
  count_.fetch_add(1, std::memory_order_relaxed);
  sum_nanos_.fetch_add(static_cast<std::uint64_t>(std::max(seconds, 0.0) * 1e9),
                       std::memory_order_relaxed);
}

void Histogram::write_samples(std::string& out) const {
  const std::string separator = name().labels.empty() ? "" : ",";
  std::uint64_t total = 0;
  for (std::size_t i = 0; i < buckets_.size(); ++i) {
    total += buckets_[i].load(std::memory_order_relaxed);
    const std::string bound = i < kBounds.size() ? fmt::format("{:g}", kBounds[i]) : "+Inf";
    append_sample(out, name().name + "_bucket",
                  fmt::format("{}{}le=\"{}\"", name().labels, separator, bound),
                  static_cast<double>(total));
  }
  append_sample(out, name().name + "_sum", name().labels,
                static_cast<double>(sum_nanos_.load(std::memory_order_relaxed)) / 1e9);
  append_sample(out, name().name + "_count", name().labels, static_cast<double>(total));
}

void Registry::add(const Metric* metric) {
  const std::lock_guard lock(mutex_);
  metrics_.push_back(metric);
}

void Registry::remove(const Metric* metric) {
  const std::lock_guard lock(mutex_);
  std::erase(metrics_, metric);
}

std::string Registry::scrape() const {
  const std::lock_guard lock(mutex_);
  std::vector<const Metric*> sorted = metrics_;
  std::ranges::stable_sort(sorted, {},
                           [](const Metric* m) -> const std::string& { return m->name().name; });
  std::string out;
  const Metric* previous = nullptr;
  for (const Metric* metric : sorted) {
    if (previous == nullptr || previous->name().name != metric->name().name) {
      append_family(out, metric->name().name, metric->name().help, metric->type());
    }
    metric->write_samples(out);
    previous = metric;
  }
  append_process(out);
  return out;
}

}  // namespace flagstream::telemetry
