#include "app/log_commands.h"

#include <algorithm>
#include <ostream>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include "app/log_point.h"
#include "io/file_system.h"
#include "json/json.h"
#include "log/forget_request.h"
#include "log/local_reader.h"
#include "log/topic_survey.h"
#include "log/topic_writer.h"
#include "log/verify.h"

namespace flagstream::app {
namespace {

constexpr std::int64_t kReaderLives = kMicrosPerMinute;  // if it was seen since
constexpr auto kForgetPoll = std::chrono::milliseconds(50);

io::FileSystem& files() { return io::posix_file_system(); }

int report(const Console& console, const Error& error) {
  console.err << "flagstream: " << error.what << '\n';
  if (error.kind == ErrorKind::InvalidArgument) return kExitUsage;
  if (error.kind == ErrorKind::NotFound) return kExitNotFound;
  return error.kind == ErrorKind::Conflict ? kExitConflict : kExitFailed;
}

// `config` and `memberships` are states, not histories: they are kept for ever.
bool has_retention(const std::string& topic) {
  return topic == "payloads" || topic == "events" || topic.starts_with("rejects.");
}

LogPlace window_of(LogPlace place, const std::string& topic) {
  if (!has_retention(topic)) place.retention = {}, place.retention_bytes = 0;
  return place;
}

log::ReaderLag lag_of(const LogPlace& place, const log::TopicSurvey& survey,
                      const log::RegisteredReader& reader, const Clock& clock) {
  const LogPlace window = window_of(place, survey.name);
  return log::lag_of(reader, survey.page, survey.extents, window.retention, window.retention_bytes,
                     clock.now());
}

std::string in_units(std::uint64_t bytes) {
  constexpr std::string_view kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  auto value = static_cast<double>(bytes);
  std::size_t unit = 0;
  for (; value >= 1024 && unit + 1 < std::size(kUnits); ++unit) value /= 1024;
  return unit == 0 ? fmt::format("{} B", bytes) : fmt::format("{:.1f} {}", value, kUnits[unit]);
}

std::string in_units(std::chrono::microseconds time) {
  const std::int64_t seconds = time.count() / kMicrosPerSecond;
  if (seconds > 0 && seconds % 86'400 == 0) return fmt::format("{}d", seconds / 86'400);
  if (seconds > 0 && seconds % 3'600 == 0) return fmt::format("{}h", seconds / 3'600);
  return fmt::format("{}s", seconds);
}

std::string retention_text(const LogPlace& window) {
  std::string text;
  if (window.retention.count() > 0) text = in_units(window.retention);
  if (window.retention_bytes > 0)
    text += (text.empty() ? "" : " or ") + in_units(window.retention_bytes);
  return text.empty() ? "for ever" : text;
}

std::string segment_name(std::uint64_t sequence) {
  return log::segment_path("", sequence).substr(1);
}

json::Value time_value(MicrosUtc time) {
  return time == 0 ? json::Value(nullptr) : json::Value(to_rfc3339(time));
}

using Row = std::vector<std::string>;

void print_rows(std::ostream& out, const std::vector<Row>& rows) {
  std::vector<std::size_t> widths;
  for (const Row& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  for (const Row& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i)
      out << (i + 1 < row.size() ? fmt::format("{:<{}}  ", row[i], widths[i]) : row[i]);
    out << '\n';
  }
}

json::Array readers_json(const LogPlace& place, const log::TopicSurvey& survey,
                         const Clock& clock) {
  json::Array readers;
  for (const log::RegisteredReader& reader : survey.readers) {
    const log::ReaderLag lag = lag_of(place, survey, reader, clock);
    json::Array positions;
    for (const log::ReaderPosition& at : reader.positions) {
      positions.push_back(json::Object{{"partition", at.partition},
                                       {"next", at.next},
                                       {"resume", at.resume},
                                       {"readUntil", time_value(at.read_until)}});
    }
    readers.push_back(json::Object{{"name", reader.name},
                                   {"process", reader.process},
                                   {"seenAt", time_value(reader.updated)},
                                   {"lagRecords", lag.records},
                                   {"lagBytes", lag.bytes},
                                   {"lagSeconds", lag.seconds},
                                   {"retentionUsed", lag.retention_used},
                                   {"hasFallenOff", lag.has_fallen_off},
                                   {"positions", std::move(positions)}});
  }
  return readers;
}

json::Object topic_json(const LogPlace& place, const log::TopicSurvey& survey, const Clock& clock) {
  const LogPlace window = window_of(place, survey.name);
  json::Object topic{{"topic", survey.name},
                     {"logId", survey.page.log_id.to_hex()},
                     {"partitions", survey.page.partitions.size()},
                     {"records", survey.records()},
                     {"bytes", survey.file_bytes},
                     {"oldest", time_value(survey.oldest_append())},
                     {"newest", time_value(survey.newest_append())},
                     {"retentionSeconds", window.retention.count() / kMicrosPerSecond},
                     {"retentionBytes", window.retention_bytes},
                     {"poisoned", survey.page.is_poisoned},
                     {"quarantinedBytes", survey.quarantined_bytes()},
                     {"readers", readers_json(place, survey, clock)}};
  return topic;
}

std::string reader_text(const log::RegisteredReader& reader, const log::ReaderLag& lag) {
  if (lag.has_fallen_off) return reader.name + " (has lost records)";
  return fmt::format("{} -{}", reader.name, lag.records);
}

std::string state_text(const log::TopicSurvey& survey) {
  const bool is_damaged = !survey.quarantined.empty();
  if (survey.page.is_poisoned) return is_damaged ? "poisoned, damaged" : "poisoned";
  return is_damaged ? "damaged" : "ok";
}

Row topic_row(const LogPlace& place, const log::TopicSurvey& survey, const Clock& clock) {
  std::string readers;
  for (const log::RegisteredReader& reader : survey.readers) {
    readers +=
        (readers.empty() ? "" : ", ") + reader_text(reader, lag_of(place, survey, reader, clock));
  }
  return {survey.name,
          std::to_string(survey.page.partitions.size()),
          std::to_string(survey.records()),
          in_units(survey.file_bytes),
          to_rfc3339(survey.oldest_append()),
          to_rfc3339(survey.newest_append()),
          retention_text(window_of(place, survey.name)),
          state_text(survey),
          survey.page.log_id.to_hex(),
          readers.empty() ? "-" : readers};
}

void print_description(const LogPlace& place, const log::TopicSurvey& survey, const Clock& clock,
                       std::ostream& out) {
  print_rows(out, {{"topic", survey.name},
                   {"log id", survey.page.log_id.to_hex()},
                   {"records", std::to_string(survey.records())},
                   {"on disk", fmt::format("{} ({} files ready)", in_units(survey.file_bytes),
                                           survey.ready_files)},
                   {"retention", retention_text(window_of(place, survey.name))},
                   {"state", state_text(survey)}});
  std::vector<Row> rows = {{"PARTITION", "BEGIN", "END", "LAST APPEND"}};
  for (std::size_t p = 0; p < survey.page.partitions.size(); ++p) {
    const log::PartitionEnd& each = survey.page.partitions[p];
    rows.push_back({std::to_string(p), std::to_string(each.begin), std::to_string(each.end),
                    to_rfc3339(each.last_append)});
  }
  out << '\n';
  print_rows(out, rows);
  rows = {{"FILE", "SIZE", "USED", "BEGUN"}};
  for (const log::SegmentExtent& each : survey.extents) {
    rows.push_back({segment_name(each.header.sequence), in_units(each.file_bytes),
                    in_units(each.end), to_rfc3339(each.header.created)});
  }
  out << '\n';
  print_rows(out, rows);
  if (!survey.quarantined.empty()) {
    rows = {{"DAMAGED FILE", "FROM BYTE", "TO BYTE", "FOUND"}};
    for (const log::QuarantinedRange& each : survey.quarantined) {
      rows.push_back({segment_name(each.sequence), std::to_string(each.range.begin),
                      std::to_string(each.range.end), to_rfc3339(each.found)});
    }
    out << '\n';
    print_rows(out, rows);
  }
  rows = {{"READER", "SEEN", "LAG RECORDS", "LAG BYTES", "LAG SECONDS", "RETENTION USED"}};
  for (const log::RegisteredReader& reader : survey.readers) {
    const log::ReaderLag lag = lag_of(place, survey, reader, clock);
    rows.push_back({fmt::format("{} (process {})", reader.name, reader.process),
                    to_rfc3339(reader.updated), std::to_string(lag.records), in_units(lag.bytes),
                    fmt::format("{:.1f}", lag.seconds),
                    lag.has_fallen_off ? "has lost records"
                                       : fmt::format("{:.0f} %", 100 * lag.retention_used)});
  }
  if (rows.size() == 1) rows.push_back({"nobody"});
  out << '\n';
  print_rows(out, rows);
}

json::Object description_json(const LogPlace& place, const log::TopicSurvey& survey,
                              const Clock& clock) {
  json::Object topic = topic_json(place, survey, clock);
  json::Array ranges;
  for (std::size_t p = 0; p < survey.page.partitions.size(); ++p) {
    const log::PartitionEnd& each = survey.page.partitions[p];
    ranges.push_back(json::Object{{"partition", p},
                                  {"begin", each.begin},
                                  {"end", each.end},
                                  {"dataEnd", each.data_end},
                                  {"lastAppend", time_value(each.last_append)}});
  }
  json::Array segments;
  for (const log::SegmentExtent& each : survey.extents) {
    segments.push_back(json::Object{{"file", segment_name(each.header.sequence)},
                                    {"bytes", each.file_bytes},
                                    {"usedBytes", each.end},
                                    {"begun", time_value(each.header.created)}});
  }
  json::Array quarantined;
  for (const log::QuarantinedRange& each : survey.quarantined) {
    quarantined.push_back(json::Object{{"file", segment_name(each.sequence)},
                                       {"from", each.range.begin},
                                       {"to", each.range.end},
                                       {"found", time_value(each.found)}});
  }
  topic["offsets"] = std::move(ranges);
  topic["quarantined"] = std::move(quarantined);
  topic["files"] = std::move(segments);
  topic["readyFiles"] = survey.ready_files;
  return topic;
}

json::Object verified_json(const std::string& topic, const log::Verified& found) {
  json::Array damages;
  for (const log::Damage& each : found.damages) {
    damages.push_back(json::Object{
        {"file", each.file}, {"at", each.at}, {"bytes", each.bytes}, {"what", each.what}});
  }
  json::Array missing;
  for (const log::MissingOffsets& each : found.missing) {
    missing.push_back(json::Object{{"partition", each.partition},
                                   {"begin", each.begin},
                                   {"end", each.end},
                                   {"file", each.file}});
  }
  return {{"topic", topic},       {"whole", found.is_whole()}, {"files", found.files},
          {"bytes", found.bytes}, {"frames", found.frames},    {"records", found.records},
          {"damages", damages},   {"missing", missing}};
}

void print_verified(const std::string& topic, const log::Verified& found, std::ostream& out) {
  out << fmt::format("{}: {} files, {} records, {}: {}\n", topic, found.files, found.records,
                     in_units(found.bytes), found.is_whole() ? "whole" : "DAMAGED");
  for (const log::Damage& each : found.damages)
    out << fmt::format("  {} at byte {}: {} bytes: {}\n", each.file, each.at, each.bytes,
                       each.what);
  for (const log::MissingOffsets& each : found.missing)
    out << fmt::format("  partition {}: offsets {} to {} are missing ({})\n", each.partition,
                       each.begin, each.end - 1, each.file);
}

// What would be deleted: the files before `keep`.
struct Plan {
  std::size_t keep = 0;
  std::uint64_t bytes = 0;
  std::uint64_t records = 0;
  std::vector<std::string> unread_by;
};

Plan plan_of(const log::TopicSurvey& survey, MicrosUtc before) {
  Plan plan;
  const auto& extents = survey.extents;
  // What a file holds was appended before the file after it was begun.
  while (plan.keep + 1 < extents.size() && extents[plan.keep + 1].header.created <= before)
    ++plan.keep;
  // Who has read what is before a file, its header says.
  while (plan.keep > 0 && extents[plan.keep].header.log_id.is_zero()) --plan.keep;
  if (plan.keep == 0) return plan;
  for (std::size_t i = 0; i < plan.keep; ++i) plan.bytes += extents[i].file_bytes;
  const auto& kept = extents[plan.keep].header.partitions;
  for (std::size_t p = 0; p < kept.size(); ++p)
    plan.records += kept[p].end - std::min(kept[p].end, survey.page.partitions[p].begin);
  for (const log::RegisteredReader& reader : survey.readers) {
    const bool needs_some = std::ranges::any_of(reader.positions, [&](const auto& at) {
      return at.partition < kept.size() && at.resume < kept[at.partition].data_end;
    });
    if (needs_some) plan.unread_by.push_back(reader.name);
  }
  return plan;
}

json::Object plan_json(const log::TopicSurvey& survey, const Plan& plan, bool is_deleted) {
  json::Array names;
  for (std::size_t i = 0; i < plan.keep; ++i)
    names.emplace_back(segment_name(survey.extents[i].header.sequence));
  json::Array unread_by;
  for (const std::string& each : plan.unread_by) unread_by.emplace_back(each);
  return {{"topic", survey.name},
          {"files", names},
          {"bytes", plan.bytes},
          {"records", plan.records},
          {"from", time_value(survey.oldest_append())},
          {"to", plan.keep == 0 ? json::Value(nullptr)
                                : time_value(survey.extents[plan.keep].header.created)},
          {"unreadBy", unread_by},
          {"deleted", is_deleted}};
}

void print_plan(const log::TopicSurvey& survey, const Plan& plan, bool is_deleted,
                const Console& console) {
  if (console.output == Output::Json) {
    console.out << json::serialize(plan_json(survey, plan, is_deleted)) << '\n';
    return;
  }
  if (plan.keep == 0) {
    console.out << fmt::format("{}: no whole file is older than that; nothing to delete\n",
                               survey.name);
    return;
  }
  console.out << fmt::format("{}: {} {} files ({} to {}), {}, {} records, from {} to {}\n",
                             survey.name, is_deleted ? "deleted" : "would delete", plan.keep,
                             segment_name(survey.extents[0].header.sequence),
                             segment_name(survey.extents[plan.keep - 1].header.sequence),
                             in_units(plan.bytes), plan.records, to_rfc3339(survey.oldest_append()),
                             to_rfc3339(survey.extents[plan.keep].header.created));
}

// Has the topic's writer do it, and waits for it.
Result<void> have_deleted(const log::TopicSurvey& survey, const Plan& plan,
                          const std::string& folder, const ForgetOptions& options) {
  const std::uint64_t keep_from = survey.extents[plan.keep].header.sequence;
  FS_TRY(
      log::ask_to_forget(files(), folder, {.log_id = survey.page.log_id, .keep_from = keep_from}));
  for (auto waited = std::chrono::milliseconds(0); log::is_forget_asked(files(), folder);
       waited += kForgetPoll) {
    if (waited >= options.patience) {
      (void)log::remove_forget_request(files(), folder);
      return fail(ErrorKind::Unavailable,
                  "the role that writes " + survey.name +
                      " has not answered; it must run, and be allowed to read what this user "
                      "writes. Nothing was deleted");
    }
    std::this_thread::sleep_for(kForgetPoll);
  }
  FS_TRY(const log::ControlPage now, log::read_control_page(files(), folder));
  if (now.first_sequence < keep_from)
    return fail(ErrorKind::Unavailable, "the files are still there; the telemetry says why");
  return {};
}

int forget_reader(const LogPlace& place, const ForgetOptions& options, const Clock& clock,
                  const Console& console) {
  const std::string folder = place.log_folder + "/" + options.topic;
  const auto survey = log::survey_topic(files(), place.log_folder, options.topic);
  if (!survey) return report(console, survey.error());
  const auto found =
      std::ranges::find(survey->readers, options.reader, &log::RegisteredReader::name);
  if (found == survey->readers.end()) {
    return report(console,
                  Error(ErrorKind::NotFound, options.topic + " has no reader " + options.reader));
  }
  if (clock.now() - found->updated < kReaderLives) {
    return report(console, Error(ErrorKind::Conflict,
                                 fmt::format("{} lives: process {} was seen at {}", options.reader,
                                             found->process, to_rfc3339(found->updated))));
  }
  if (!options.yes) {
    console.err << fmt::format(
        "flagstream: add --yes to forget the reader {}, last seen at {}; nothing was changed\n",
        options.reader, to_rfc3339(found->updated));
    return kExitUsage;
  }
  const auto done = log::remove_reader(files(), folder, options.reader);
  if (!done) return report(console, done.error());
  if (console.output == Output::Json) {
    console.out << json::serialize(
                       json::Object{{"topic", options.topic}, {"forgottenReader", options.reader}})
                << '\n';
  } else {
    console.out << fmt::format("{}: the reader {} is forgotten\n", options.topic, options.reader);
  }
  return kExitDone;
}

}  // namespace

int log_ls(const LogPlace& place, const Clock& clock, const Console& console) {
  const auto names = log::list_topics(files(), place.log_folder);
  if (!names) return report(console, names.error());
  json::Array topics;
  std::vector<Row> rows = {{"TOPIC", "PARTITIONS", "RECORDS", "ON DISK", "OLDEST", "NEWEST",
                            "RETENTION", "STATE", "LOG ID", "READERS"}};
  int status = kExitDone;
  for (const std::string& name : *names) {
    const auto survey = log::survey_topic(files(), place.log_folder, name);
    if (!survey) {
      status = report(console, Error(survey.error()).in("topic " + name));
      continue;
    }
    topics.push_back(topic_json(place, *survey, clock));
    rows.push_back(topic_row(place, *survey, clock));
  }
  if (console.output == Output::Json) {
    console.out << json::serialize(topics) << '\n';
  } else {
    print_rows(console.out, rows);
  }
  return status;
}

int log_describe(const LogPlace& place, const std::string& topic, const Clock& clock,
                 const Console& console) {
  const auto survey = log::survey_topic(files(), place.log_folder, topic);
  if (!survey) return report(console, Error(survey.error()).in("topic " + topic));
  if (console.output == Output::Json) {
    console.out << json::serialize(description_json(place, *survey, clock)) << '\n';
  } else {
    print_description(place, *survey, clock, console.out);
  }
  return kExitDone;
}

int log_verify(const LogPlace& place, const std::string& topic, const Console& console) {
  std::vector<std::string> names = {topic};
  if (topic.empty()) {
    auto all = log::list_topics(files(), place.log_folder);
    if (!all) return report(console, all.error());
    names = *std::move(all);
  }
  int status = kExitDone;
  json::Array topics;
  for (const std::string& name : names) {
    const auto found = log::verify_topic(files(), place.log_folder + "/" + name);
    if (!found) {
      status = report(console, Error(found.error()).in("topic " + name));
      continue;
    }
    if (!found->is_whole()) status = kExitFailed;
    if (console.output == Output::Json) {
      topics.push_back(verified_json(name, *found));
    } else {
      print_verified(name, *found, console.out);
    }
  }
  if (console.output == Output::Json) console.out << json::serialize(topics) << '\n';
  return status;
}

int log_forget(const LogPlace& place, const ForgetOptions& options, const Clock& clock,
               const Console& console) {
  if (options.before.empty() == options.reader.empty())
    return report(console,
                  Error(ErrorKind::InvalidArgument, "forget needs --before TIME or --reader NAME"));
  if (!options.reader.empty()) return forget_reader(place, options, clock, console);
  const auto before = parse_log_time(options.before, clock.now());
  if (!before) return report(console, before.error());
  if (!has_retention(options.topic)) {
    return report(console, Error(ErrorKind::InvalidArgument,
                                 options.topic + " is kept for ever: only payloads, events and "
                                                 "rejects can be forgotten"));
  }
  const auto survey = log::survey_topic(files(), place.log_folder, options.topic);
  if (!survey) return report(console, Error(survey.error()).in("topic " + options.topic));
  const Plan plan = plan_of(*survey, *before);
  if (plan.keep == 0) {
    print_plan(*survey, plan, false, console);
    return kExitDone;
  }
  if (!plan.unread_by.empty() && !options.unread) {
    print_plan(*survey, plan, false, console);
    std::string names;
    for (const std::string& each : plan.unread_by) names += " " + each;
    return report(console, Error(ErrorKind::Conflict,
                                 "not read yet by" + names +
                                     "; --unread deletes it all the same. Nothing was deleted"));
  }
  if (!options.yes) {
    print_plan(*survey, plan, false, console);
    console.err << "flagstream: add --yes to delete them; nothing was deleted\n";
    return kExitUsage;
  }
  const auto done = have_deleted(*survey, plan, place.log_folder + "/" + options.topic, options);
  if (!done) return report(console, done.error());
  print_plan(*survey, plan, true, console);
  return kExitDone;
}

}  // namespace flagstream::app
