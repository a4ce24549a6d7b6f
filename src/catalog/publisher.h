// Carries committed changes from the outbox into the topics `config` and `memberships`, in order
// and each exactly once as readers see it: see docs/formats/catalog-db.md for what survives which
// crash.
//
// There is one publisher (it owns the topic's appender).  It belongs to one thread and has a
// connection of its own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "base/id.h"
#include "catalog/catalog.h"
#include "catalog/published.h"
#include "log/log.h"
#include "telemetry/metrics.h"

namespace flagstream::catalog {

struct PublisherSettings {
  // A complete copy is written when the changes since the last one exceed this and that copy's
  // size.
  std::uint64_t copy_after_bytes = 64ull << 20;
};

class Publisher {
 public:
  // Owns the topic and reads it to its end.  The catalog is not touched before recover().
  static Result<std::unique_ptr<Publisher>> open(Catalog catalog, log::Log& log,
                                                 telemetry::Registry& registry,
                                                 const PublisherSettings& settings = {});

  // Brings the catalog above the log (Catalog::reconcile) and publishes every change that waits.
  // DataLoss: an empty catalog beside environments that are served. Deleting them all would make
  // every SDK give up for good, and is more likely a lost file than a wish.
  // Call it before anything edits the catalog; if it fails, nothing may be edited.
  Result<Reconciled> recover();

  // Publishes every change that waits, and a copy if it is time; returns the number of changes.
  // After an error what was not published still waits: call again.
  Result<std::size_t> publish();

  const Published& published() const { return published_; }

 private:
  struct Probe {
    explicit Probe(telemetry::Registry& registry);
    telemetry::Counter changes;
    telemetry::Counter memberships;
    telemetry::Counter copies;
    telemetry::Counter failures;
  };

  Publisher(Catalog catalog, std::unique_ptr<log::Appender> appender,
            std::unique_ptr<log::Appender> memberships, telemetry::Registry& registry,
            const PublisherSettings& settings)
      : catalog_(std::move(catalog)),
        appender_(std::move(appender)),
        memberships_(std::move(memberships)),
        settings_(settings),
        probe_(registry) {}

  bool serves_somebody() const;
  Result<void> read_topic(log::Log& log);
  Result<void> read_from(log::Log& log, log::Offset start, log::Offset end);
  Result<void> read_memberships(log::Log& log);
  Result<void> publish_memberships();
  Result<std::size_t> publish_changes();
  Result<void> publish_copy();
  using Revisions = std::map<EnvironmentId, std::int64_t>;
  struct CopyWritten {
    log::Offset begin = 0;
    std::uint64_t bytes = 0;
  };
  Result<CopyWritten> write_copy(const std::vector<Item>& items, const Revisions& revisions);
  Result<void> remember_gone();
  bool is_copy_due() const;

  Catalog catalog_;
  std::unique_ptr<log::Appender> appender_;
  std::unique_ptr<log::Appender> memberships_;
  PublisherSettings settings_;
  Probe probe_;
  Published published_;
  std::int64_t last_membership_ = 0;  // sequence number of the last one in the log
  std::vector<Change> gone_;  // the deletes of environments that only the log knows: in every copy
  std::optional<log::Offset> newest_copy_;  // offset of its begin marker
  std::uint64_t bytes_since_copy_ = 0;
  std::uint64_t copy_bytes_ = 0;
};

}  // namespace flagstream::catalog
