#include "processor/processor.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "http/inflate.h"
#include "json/json.h"
#include "transform/rules_history.h"
#include "transform/transform_stage.h"

namespace flagstream::processor {
namespace {

using pipeline::StageStatus;

std::string_view to_word(StageStatus::Phase phase) {
  switch (phase) {
    case StageStatus::Phase::Waiting:
      return "waiting";
    case StageStatus::Phase::Folding:
      return "folding";
    case StageStatus::Phase::Failed:
      return "failed";
  }
  return "";
}

Result<void> inflate(std::string_view gzip, std::string& out) {
  return http::inflate_gzip(gzip, {}, out);
}

}  // namespace

class Processor::Parts {
 public:
  Parts(bool dedupe, log::Log& log, telemetry::Registry& registry)
      : rules_(log),
        transform_(
            {.dedupe = dedupe,
             .inflate = inflate,
             .find_rules = [this](const transform::FlagAt& flag) { return rules_.find(flag); }},
            registry) {}

  Result<std::vector<pipeline::Stage*>> choose(const std::vector<std::string>& names,
                                               std::vector<pipeline::Stage*> others) {
    others.push_back(&transform_);
    std::vector<pipeline::Stage*> chosen;
    for (const std::string& name : names) {
      const auto found = std::ranges::find_if(
          others, [&](const pipeline::Stage* each) { return each->name() == name; });
      if (found == others.end()) {
        std::string known;
        for (const pipeline::Stage* each : others) known += " " + each->name();
        return fail(ErrorKind::InvalidArgument,
                    "there is no stage \"" + name + "\"; there are:" + known);
      }
      chosen.push_back(*found);
    }
    if (chosen.empty()) return fail(ErrorKind::InvalidArgument, "a processor needs a stage");
    return chosen;
  }

  pipeline::Runner& runner() const { return *runner_; }
  void own(std::unique_ptr<pipeline::Runner> runner) { runner_ = std::move(runner); }

 private:
  transform::RulesHistory rules_;
  transform::TransformStage transform_;
  std::unique_ptr<pipeline::Runner> runner_;
};

Processor::Processor(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
Processor::~Processor() = default;

Result<std::unique_ptr<Processor>> Processor::start(Settings settings,
                                                    std::vector<pipeline::Stage*> others,
                                                    log::Log& log, const Clock& clock,
                                                    telemetry::Registry& registry) {
  auto parts = std::make_unique<Parts>(settings.dedupe, log, registry);
  FS_TRY(auto stages, parts->choose(settings.stages, std::move(others)));
  FS_TRY(auto runner, pipeline::Runner::start(std::move(settings.runner), std::move(stages), log,
                                              clock, registry));
  parts->own(std::move(runner));
  return std::unique_ptr<Processor>(new Processor(std::move(parts)));
}

bool Processor::is_ready() const {
  return std::ranges::all_of(parts_->runner().status(), [](const StageStatus& each) {
    return each.phase == StageStatus::Phase::Folding;
  });
}

std::string Processor::status() const {
  json::Array stages;
  for (const StageStatus& each : parts_->runner().status()) {
    json::Object stage;
    stage["name"] = each.name;
    stage["phase"] = to_word(each.phase);
    stage["lagRecords"] = each.lag_records;
    stages.push_back(std::move(stage));
  }
  json::Object status;
  status["stages"] = std::move(stages);
  return json::serialize(status);
}

void Processor::set_output_retention(std::chrono::microseconds retention,
                                     std::uint64_t retention_bytes) {
  parts_->runner().set_output_retention(retention, retention_bytes);
}
Result<void> Processor::wait() { return parts_->runner().wait(); }
Result<void> Processor::stop() { return parts_->runner().stop(); }

}  // namespace flagstream::processor
