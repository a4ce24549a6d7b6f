#include "app/log_cat.h"

#include <ostream>

#include <fmt/format.h>
#include <google/protobuf/util/json_util.h>

#include "app/client_commands.h"
#include "base/hash.h"
#include "events/event.h"
#include "events/payload.h"
#include "events/record.h"
#include "json/json.h"
#include "log/local_log.h"

namespace flagstream::app {
namespace {

// Bytes for people: text as it is, what no text may hold as U+FFFD.
std::string text_of(std::string_view bytes) {
  std::string out;
  for (const char byte : bytes) {
    const auto code = static_cast<unsigned char>(byte);
    if (code < 0x80) {
      out += byte;
    } else {
      out += "\xef\xbf\xbd";
    }
  }
  return json::quoted(out);
}

std::string contents_of(const events::proto::Reject& reject) {
  return fmt::format(
      R"("kind":"reject","stage":{},"reason":{},"detail":{},"tries":{},"environment":{},"receivedUs":{},"source":{{"offset":{},"index":{},"part":{}}},"rejected":{})",
      json::quoted(reject.stage()), json::quoted(reject.reason()), json::quoted(reject.detail()),
      reject.tries(), reject.environment_id(), reject.received_us(), reject.source().offset(),
      reject.source().index(), reject.source().part(), text_of(reject.record()));
}

std::string contents_of(const events::proto::Event& event) {
  std::string json;
  if (!google::protobuf::util::MessageToJsonString(event, &json).ok()) json = "null";
  return R"("kind":"event","event":)" + json;
}

std::string contents_of(std::string_view record) {
  events::proto::Event event;
  if (events::decode_event(record, event)) return contents_of(event);
  events::proto::Reject reject;
  if (events::decode_reject(record, reject)) return contents_of(reject);
  if (events::record_kind(record) == events::RecordKind::Tick) return R"("kind":"tick")";
  if (const auto payload = events::decode_payload(record)) {
    const auto& header = payload->header;
    return fmt::format(
        R"("kind":"payload","environment":{},"payloadId":{},"receiptId":"{}","receivedUs":{},"bodyBytes":{})",
        header.environment_id(), json::quoted(header.payload_id()),
        Id128::from_bytes(header.receipt_id()).value_or(Id128{}).to_hex(), header.received_us(),
        payload->body.size());
  }
  return fmt::format(R"("kind":{},"record":"{}")",
                     record.empty() ? 0 : static_cast<unsigned char>(record[0]),
                     base64_encode(record));
}

Result<void> print(const std::string& log_folder, const std::string& topic, std::ostream& out) {
  const SystemClock clock;
  telemetry::Registry registry;
  const auto log =
      log::open_local_log({.folder = log_folder}, io::posix_file_system(), clock, registry);
  FS_TRY(const log::TopicInfo info, log->info(topic));
  std::vector<log::Start> starts;
  std::uint64_t left = 0;
  for (const log::PartitionRange& range : info.partitions) {
    starts.push_back(
        {.partition = static_cast<log::Partition>(starts.size()), .offset = range.begin});
    left += range.end - range.begin;
  }
  FS_TRY(const auto reader, log->open_reader(topic, info.log_id, starts));
  while (left > 0) {
    FS_TRY(const log::Fetched fetched, reader->next(1u << 20, std::chrono::milliseconds(0)));
    switch (fetched.status) {
      case log::Fetched::Status::End:
        return {};
      case log::Fetched::Status::OutOfRange:
      case log::Fetched::Status::Quarantined:
        out << fmt::format("{{\"partition\":{},\"missingUpTo\":{}}}\n", fetched.partition,
                           fetched.next_offset);
        reader->skip_to(fetched.partition, fetched.next_offset);
        break;
      case log::Fetched::Status::Frames:
        for (const log::Frame& frame : fetched.frames) {
          log::Offset offset = frame.base_offset;
          for (const std::string_view record : frame.records) {
            out << fmt::format("{{\"partition\":{},\"offset\":{},\"appendUs\":{},{}}}\n",
                               frame.partition, offset++, frame.append_time, contents_of(record));
            if (left > 0) --left;
          }
        }
        break;
    }
  }
  return {};
}

}  // namespace

int log_cat(const std::string& log_folder, const std::string& topic, std::ostream& out,
            std::ostream& err) {
  const auto done = print(log_folder, topic, out);
  if (done) return kExitDone;
  err << "flagstream: topic " << topic << ": " << done.error().what << '\n';
  return done.error().kind == ErrorKind::NotFound ? kExitNotFound : kExitFailed;
}

}  // namespace flagstream::app
