#include "analytics/probe.h"

#include <string>

namespace flagstream::analytics {
namespace {

telemetry::MetricName records(std::string_view result) {
  return {"flagstream_analytics_records_total",
          "Records of events by what became of them; not_counted are kinds that have no aggregate.",
          "result=\"" + std::string(result) + "\""};
}

telemetry::MetricName overflow(std::string_view of) {
  return {"flagstream_analytics_overflow_total",
          "Events counted under the empty key, because an environment has too many keys or one is "
          "too long.",
          "of=\"" + std::string(of) + "\""};
}

}  // namespace

PanesProbe::PanesProbe(telemetry::Registry& registry)
    : entries(registry,
              {"flagstream_analytics_entries", "Aggregates that are held in memory.", ""}),
      loads(registry, {"flagstream_analytics_pane_loads_total",
                       "Panes read back from the stage's own store, for late events.", ""}),
      evictions(registry, {"flagstream_analytics_pane_evictions_total",
                           "Panes that left memory, for the stage's own store.", ""}) {}

Probe::Probe(telemetry::Registry& registry)
    : counted(registry, records("counted")),
      not_counted(registry, records("not_counted")),
      repeats(registry, records("repeat")),
      ticks(registry, records("tick")),
      unknown_kinds(registry, records("unknown_kind")),
      rejected(registry, records("rejected")),
      moved_to_receipt(registry,
                       {"flagstream_analytics_moved_to_receipt_total",
                        "Events counted at the time of receipt, for their own is over 30 days "
                        "before it or over 5 minutes after it.",
                        ""}),
      flag_overflow(registry, overflow("flag")),
      custom_overflow(registry, overflow("custom_event")),
      kind_overflow(registry, overflow("context_kind")),
      sdk_overflow(registry, overflow("sdk")),
      republished_rows(
          registry, {"flagstream_analytics_republished_rows_total",
                     "Rows published again at start, for the results database had lost them.", ""}),
      panes(registry) {}

}  // namespace flagstream::analytics
