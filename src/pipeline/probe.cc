#include "pipeline/probe.h"

namespace flagstream::pipeline {
namespace {

telemetry::MetricName name(const std::string& what, const std::string& help,
                           const std::string& stage) {
  return {"flagstream_pipeline_" + what, help, "stage=\"" + stage + "\""};
}

}  // namespace

Probe::Probe(telemetry::Registry& registry, const std::string& stage)
    : records(registry, name("records_total", "Records folded, ticks included.", stage)),
      bytes(registry, name("bytes_total", "Bytes of records folded.", stage)),
      outputs(registry, name("outputs_total", "Records made for topics.", stage)),
      output_bytes(registry, name("output_bytes_total", "Bytes of those records.", stage)),
      checkpoints(registry,
                  name("checkpoints_total", "Checkpoints of one partition written.", stage)),
      checkpoint_bytes(registry,
                       name("checkpoint_bytes_total", "Bytes that checkpoints wrote.", stage)),
      passed_over(registry, name("passed_over_total",
                                 "Records passed over because they crashed the stage.", stage)),
      rests(registry,
            name("rests_total", "Times that a worker had caught up and waited for more.", stage)),
      gap_records(registry,
                  name("gap_records_total",
                       "Records that retention deleted before the stage read them.", stage)),
      quarantined_records(registry, name("quarantined_records_total",
                                         "Records that damage in the log has cost.", stage)),
      lag_records(registry,
                  name("lag_records", "Records in the input that are not folded yet.", stage)),
      dirty_bytes(registry,
                  name("dirty_bytes", "About what the next checkpoint would write.", stage)),
      has_failed(registry, name("failed", "1 after a failure that stopped the stage.", stage)),
      checkpoint_seconds(registry, name("checkpoint_seconds",
                                        "Time in which a worker folds nothing for the sake of a "
                                        "checkpoint of its partitions.",
                                        stage)) {}

}  // namespace flagstream::pipeline
