#include "lake/lake_probe.h"

namespace flagstream::lake {

LakeProbe::LakeProbe(telemetry::Registry& r)
    : rows(r, {"flagstream_lake_rows_total", "Rows committed to the events table.", ""}),
      files(r, {"flagstream_lake_files_total", "Parquet files committed.", ""}),
      file_bytes(r,
                 {"flagstream_lake_file_bytes_total", "Bytes of the Parquet files committed.", ""}),
      commits(r, {"flagstream_lake_commits_total", "Commits published.", ""}),
      commits_lost(r, {"flagstream_lake_commits_lost_total",
                       "Versions that another writer took first.", ""}),
      commit_seconds(
          r, {"flagstream_lake_commit_seconds", "Time to write, sync and publish one commit.", ""}),
      input_bytes(r, {"flagstream_lake_input_bytes_total", "Bytes of event records read.", ""}),
      event_records(r, {"flagstream_lake_records_total", "Records read, by what became of them.",
                        "outcome=\"row\""}),
      payload_records(r, {"flagstream_lake_records_total", "Records read, by what became of them.",
                          "outcome=\"payload\""}),
      ticks(r, {"flagstream_lake_records_total", "Records read, by what became of them.",
                "outcome=\"tick\""}),
      repeated(r, {"flagstream_lake_records_total", "Records read, by what became of them.",
                   "outcome=\"repeated\""}),
      unknown_records(r, {"flagstream_lake_records_total", "Records read, by what became of them.",
                          "outcome=\"unknown\""}),
      damaged_records(r, {"flagstream_lake_records_total", "Records read, by what became of them.",
                          "outcome=\"damaged\""}),
      gap_records(r, {"flagstream_lake_gap_records_total",
                      "Records passed over because the log lost them.", ""}),
      orphans_removed(
          r, {"flagstream_lake_orphans_removed_total", "Files removed that no commit names.", ""}),
      pending_rows(r, {"flagstream_lake_pending_rows", "Rows read and not yet committed.", ""}),
      version(r, {"flagstream_lake_version", "Version of the events table.", ""}),
      committed_at_seconds(r, {"flagstream_lake_committed_at_seconds",
                               "Time of the last commit with rows, Unix time.", ""}),
      lag_seconds(r, {"flagstream_lake_lag_seconds",
                      "Age of the oldest event read and not committed.", ""}) {}

}  // namespace flagstream::lake
