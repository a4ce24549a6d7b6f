#include "pipeline/runner.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <set>
#include <thread>
#include <utility>

#include "pipeline/crash_notes.h"
#include "pipeline/probe.h"
#include "pipeline/worker.h"
#include "telemetry/tell.h"

namespace flagstream::pipeline {
namespace {

constexpr std::chrono::milliseconds kInputPoll{20};

Result<void> check(const RunnerSettings& settings, const std::vector<Stage*>& stages) {
  const auto wrong = [](std::string what) {
    return fail(ErrorKind::InvalidArgument, std::move(what));
  };
  if (settings.workers == 0) return wrong("a stage needs a worker");
  if (settings.state_folder.empty() || settings.crash_notes_folder.empty())
    return wrong("the stages' state needs a folder");
  std::set<std::string> names;
  std::set<std::string> topics;
  for (const Stage* stage : stages) {
    if (!names.insert(stage->name()).second) return wrong("two stages are called " + stage->name());
    for (const std::string& topic : stage->outputs()) {
      if (!topics.insert(topic).second) return wrong("two stages write the topic " + topic);
    }
  }
  return {};
}

}  // namespace

class Runner::Running {
 public:
  Running(RunnerSettings settings, log::Log& log, const Clock& clock, telemetry::Registry& registry)
      : settings_(std::move(settings)), log_(log), clock_(clock), registry_(registry) {}

  void begin(const std::vector<Stage*>& stages) {
    for (Stage* stage : stages) {
      probes_.push_back(std::make_unique<Probe>(registry_, stage->name()));
      names_.push_back(stage->name());
      threads_.emplace_back([this, stage, probe = probes_.back().get()] { run(*stage, *probe); });
    }
  }

  Result<void> wait() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return ending_.load() != Ending::None; });
    return outcome();
  }

  std::vector<StageStatus> status() const {
    std::vector<StageStatus> all;
    for (std::size_t i = 0; i < probes_.size(); ++i) {
      const Probe& probe = *probes_[i];
      auto phase = StageStatus::Phase::Waiting;
      if (probe.folding_workers.load() > 0) phase = StageStatus::Phase::Folding;
      if (probe.has_failed.value() > 0) phase = StageStatus::Phase::Failed;
      all.push_back({.name = names_[i],
                     .phase = phase,
                     .lag_records = static_cast<std::uint64_t>(probe.lag_records.value())});
    }
    return all;
  }

  Result<void> end(Ending how) {
    ask(how);
    const std::lock_guard joining(joining_);
    for (std::thread& thread : threads_) {
      if (thread.joinable()) thread.join();
    }
    const std::lock_guard lock(mutex_);
    return outcome();
  }

  void set_output_retention(std::chrono::microseconds retention, std::uint64_t retention_bytes) {
    const std::lock_guard lock(mutex_);
    output_topics_.retention = retention;
    output_topics_.retention_bytes = retention_bytes;
    for (log::Appender* appender : appenders_) appender->set_retention(retention, retention_bytes);
  }

 private:
  void ask(Ending how) {
    const std::lock_guard lock(mutex_);
    if (ending_.load() == Ending::None) ending_.store(how);
    changed_.notify_all();
  }

  // Under the mutex.
  Result<void> outcome() const {
    if (failure_) return fail(*failure_);
    return {};
  }

  void fail_with(const Stage& stage, Probe& probe, Error error) {
    probe.has_failed.set(1);
    {
      const std::lock_guard lock(mutex_);
      if (!failure_) failure_ = std::move(error).in("stage " + stage.name());
    }
    ask(Ending::Checkpoint);
  }

  // The thread of a stage: its first worker, once there is something to work on.
  void run(Stage& stage, Probe& probe) {
    auto prepared = prepare(stage, probe);
    if (!prepared) return fail_with(stage, probe, std::move(prepared).error());
    if (*prepared == nullptr) return;  // ended before the input was there
    const StageRun& stage_run = **prepared;
    const Appenders appenders(*this, stage_run);
    std::vector<std::thread> others;
    const std::uint32_t useful = std::min(settings_.workers, stage_run.partitions);
    for (std::uint32_t index = 1; index < useful; ++index)
      others.emplace_back([&, index] { work(stage_run, index); });
    work(stage_run, 0);
    for (std::thread& other : others) other.join();
  }

  Result<std::unique_ptr<StageRun>> prepare(Stage& stage, Probe& probe) {
    FS_TRY(const std::optional<log::TopicInfo> info, wait_for(stage.input()));
    if (!info) return nullptr;
    FS_TRY(auto notes, CrashNotes::open(settings_.crash_notes_folder, stage.name()));
    std::unique_ptr<StageRun> prepared(
        new StageRun{.stage = stage,
                     .folder = settings_.state_folder + "/" + stage.name(),
                     .input_log_id = info->log_id,
                     .partitions = static_cast<log::Partition>(info->partitions.size()),
                     .sinks = {},
                     .notes = std::move(notes),
                     .registration = log_.register_reader(stage.input(), stage.name()),
                     .probe = probe});
    for (const std::string& topic : stage.outputs()) {
      log::TopicOptions options = output_topics();
      options.partitions = static_cast<log::Partition>(info->partitions.size());
      FS_TRY(auto appender, log_.open_appender(topic, options));
      prepared->sinks.push_back(std::move(appender));
    }
    return prepared;
  }

  // The appenders of a stage that runs, for who changes their retention.
  class Appenders {
   public:
    Appenders(Running& running, const StageRun& stage_run) : running_(running), run_(stage_run) {
      const std::lock_guard lock(running_.mutex_);
      const log::TopicOptions& options = running_.output_topics_;
      for (const auto& each : run_.sinks) {
        each->set_retention(options.retention, options.retention_bytes);
        running_.appenders_.insert(each.get());
      }
    }
    ~Appenders() {
      const std::lock_guard lock(running_.mutex_);
      for (const auto& each : run_.sinks) running_.appenders_.erase(each.get());
    }
    Appenders(const Appenders&) = delete;
    Appenders& operator=(const Appenders&) = delete;

   private:
    Running& running_;
    const StageRun& run_;
  };

  log::TopicOptions output_topics() {
    const std::lock_guard lock(mutex_);
    return output_topics_;
  }

  // nullopt: ended before the topic was there.
  Result<std::optional<log::TopicInfo>> wait_for(const std::string& topic) {
    bool is_told = false;
    for (;;) {
      auto info = log_.info(topic);
      if (info) return std::optional(*std::move(info));
      const ErrorKind kind = info.error().kind;
      if (kind != ErrorKind::NotFound && kind != ErrorKind::Unavailable)
        return fail(std::move(info).error());
      if (!std::exchange(is_told, true)) telemetry::info("waiting for a topic", {{"topic", topic}});
      std::unique_lock lock(mutex_);
      if (changed_.wait_for(lock, kInputPoll, [&] { return ending_.load() != Ending::None; }))
        return std::optional<log::TopicInfo>();
    }
  }

  void work(const StageRun& stage_run, std::uint32_t index) {
    const CrashHandling crash_handling;
    auto worker = Worker::open({settings_, stage_run, log_, clock_}, index);
    if (!worker) return fail_with(stage_run.stage, stage_run.probe, std::move(worker).error());
    stage_run.probe.folding_workers.fetch_add(1);
    if (auto done = (*worker)->work(ending_); !done)
      fail_with(stage_run.stage, stage_run.probe, std::move(done).error());
  }

  const RunnerSettings settings_;
  log::Log& log_;
  const Clock& clock_;
  telemetry::Registry& registry_;
  std::vector<std::unique_ptr<Probe>> probes_;
  std::vector<std::string> names_;  // of the probes

  std::mutex mutex_;
  std::condition_variable changed_;
  std::atomic<Ending> ending_{Ending::None};  // written under the mutex
  std::optional<Error> failure_;
  log::TopicOptions output_topics_ = settings_.output_topics;
  std::set<log::Appender*> appenders_;
  std::mutex joining_;
  std::vector<std::thread> threads_;
};

Runner::Runner(std::unique_ptr<Running> running) : running_(std::move(running)) {}

Runner::~Runner() { static_cast<void>(running_->end(Ending::Checkpoint)); }

Result<std::unique_ptr<Runner>> Runner::start(RunnerSettings settings, std::vector<Stage*> stages,
                                              log::Log& log, const Clock& clock,
                                              telemetry::Registry& registry) {
  FS_TRY(check(settings, stages));
  auto running = std::make_unique<Running>(std::move(settings), log, clock, registry);
  running->begin(stages);
  return std::unique_ptr<Runner>(new Runner(std::move(running)));
}

std::vector<StageStatus> Runner::status() const { return running_->status(); }
void Runner::set_output_retention(std::chrono::microseconds retention,
                                  std::uint64_t retention_bytes) {
  running_->set_output_retention(retention, retention_bytes);
}
Result<void> Runner::wait() { return running_->wait(); }
Result<void> Runner::stop() { return running_->end(Ending::Checkpoint); }
void Runner::abandon() { static_cast<void>(running_->end(Ending::Abandon)); }

}  // namespace flagstream::pipeline
