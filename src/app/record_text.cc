#include "app/record_text.h"

#include <algorithm>

#include <fmt/format.h>
#include <google/protobuf/util/json_util.h>

#include "base/hash.h"
#include "base/id.h"
#include "events/event.h"
#include "events/payload.h"
#include "events/record.h"
#include "http/inflate.h"
#include "json/json.h"

namespace flagstream::app {
namespace {

using events::proto::PayloadHeader;

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

std::string members_of(const events::proto::Reject& reject) {
  return fmt::format(
      R"("kind":"reject","stage":{},"reason":{},"detail":{},"tries":{},"environment":{},"receivedUs":{},"source":{{"offset":{},"index":{},"part":{}}},"rejected":{})",
      json::quoted(reject.stage()), json::quoted(reject.reason()), json::quoted(reject.detail()),
      reject.tries(), reject.environment_id(), reject.received_us(), reject.source().offset(),
      reject.source().index(), reject.source().part(), text_of(reject.record()));
}

std::string members_of(const events::proto::Event& event) {
  std::string json;
  if (!google::protobuf::util::MessageToJsonString(event, &json).ok()) json = "null";
  return R"("kind":"event","event":)" + json;
}

// What is stored, where it cannot be inflated.
std::string plain_body(const events::PayloadRecord& payload) {
  std::string plain;
  if (payload.header.gzip() && http::inflate_gzip(payload.body, {}, plain)) return plain;
  return std::string(payload.body);
}

std::string_view route_word(PayloadHeader::Route route) {
  if (route == PayloadHeader::ANALYTICS) return "analytics";
  return route == PayloadHeader::DIAGNOSTIC ? "diagnostic" : "unknown";
}

std::string_view credential_word(PayloadHeader::CredentialKind kind) {
  if (kind == PayloadHeader::SDK_KEY) return "sdkKey";
  if (kind == PayloadHeader::MOBILE_KEY) return "mobileKey";
  return kind == PayloadHeader::CLIENT_SIDE_ID ? "clientSideId" : "unknown";
}

std::string body_members(const events::PayloadRecord& payload) {
  const PayloadHeader& header = payload.header;
  const std::string body = plain_body(payload);
  // A body that is JSON is text; any other comes back byte for byte.
  const std::string text = json::parse(body) ? R"("body":)" + json::quoted(body)
                                             : R"("bodyBase64":")" + base64_encode(body) + '"';
  return fmt::format(
      R"(,"route":"{}","credential":"{}","schema":{},"unsummarized":{},"userAgent":{},"wrapper":{},"tags":{},{})",
      route_word(header.route()), credential_word(header.credential()), header.schema(),
      header.unsummarized(), json::quoted(header.user_agent()), json::quoted(header.wrapper()),
      json::quoted(header.tags()), text);
}

}  // namespace

std::string record_members(std::string_view record, Bodies bodies) {
  events::proto::Event event;
  if (events::decode_event(record, event)) return members_of(event);
  events::proto::Reject reject;
  if (events::decode_reject(record, reject)) return members_of(reject);
  if (events::record_kind(record) == events::RecordKind::Tick) return R"("kind":"tick")";
  if (const auto payload = events::decode_payload(record)) {
    const auto& header = payload->header;
    return fmt::format(
        R"("kind":"payload","environment":{},"payloadId":{},"receiptId":"{}","receivedUs":{},"bodyBytes":{}{})",
        header.environment_id(), json::quoted(header.payload_id()),
        Id128::from_bytes(header.receipt_id()).value_or(Id128{}).to_hex(), header.received_us(),
        payload->body.size(), bodies == Bodies::Whole ? body_members(*payload) : "");
  }
  return fmt::format(R"("kind":{},"record":"{}")",
                     record.empty() ? 0 : static_cast<unsigned char>(record[0]),
                     base64_encode(record));
}

std::string one_line_body(std::string_view record) {
  const auto payload = events::decode_payload(record);
  if (!payload || payload->header.route() != PayloadHeader::ANALYTICS) return "";
  std::string body = plain_body(*payload);
  // Within JSON they stand between tokens only.
  std::ranges::replace_if(body, [](char c) { return c == '\n' || c == '\r'; }, ' ');
  return body;
}

}  // namespace flagstream::app
