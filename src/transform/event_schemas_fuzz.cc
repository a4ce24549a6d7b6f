// Input: a byte that chooses schema and header, then a body.  Properties, of every form in which
// SDKs send events: each event is accepted or rejected, once; what is made can be written and read
// back, with sources that rise strictly; and the same body gives the same records again.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <utility>

#include "base/assert.h"
#include "events/envelope.h"
#include "events/event.h"
#include "transform/decode.h"

namespace {

using namespace flagstream;
using transform::FlagAt;
using transform::FlagRules;
using RulesPointer = std::shared_ptr<const FlagRules>;

constexpr MicrosUtc kReceived = 1'795'407'508'900'000;
constexpr std::string_view kFlag =
    R"({"variations":[true,{"a":[1,"x"],"b":null},5,"d"],"trackEvents":true,)"
    R"("debugEventsUntilDate":1795407509000})";

Result<RulesPointer> find_rules(const FlagAt& flag) {
  static const RulesPointer rules = std::make_shared<const FlagRules>(*FlagRules::read(kFlag));
  return flag.key.size() % 2 == 0 ? RulesPointer() : rules;
}

events::proto::PayloadHeader header_of(std::uint8_t choice) {
  events::proto::PayloadHeader header;
  header.set_received_us(kReceived);
  header.set_environment_id(7);
  header.set_schema(choice & 7);
  header.set_unsummarized((choice & 8) != 0);
  header.set_credential((choice & 16) != 0 ? events::proto::PayloadHeader::CLIENT_SIDE_ID
                                           : events::proto::PayloadHeader::SDK_KEY);
  return header;
}

std::string records_of(const transform::DecodedPayload& decoded) {
  std::string all;
  std::pair<std::uint32_t, std::uint32_t> last{0, 0};
  bool is_first = true;
  events::proto::Event again;
  for (const events::EventView& event : decoded.events) {
    const std::size_t begin = all.size();
    events::encode_event(event, all);
    FS_ASSERT(events::decode_event(std::string_view(all).substr(begin), again), "can be read back");
    const std::pair source(event.source.index, event.source.part);
    FS_ASSERT(is_first || source > last, "sources rise");
    last = source;
    is_first = false;
  }
  return all;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const auto header = header_of(data[0]);
  // On the heap without a spare byte, so that the sanitizer sees every read beyond the end.
  const std::string body(reinterpret_cast<const char*>(data) + 1, size - 1);
  static transform::Decoder used(find_rules);
  const transform::PayloadPlace place{
      .log_id = {.high = 1, .low = 2}, .offset = 1, .append_time = kReceived};

  const auto envelope = events::scan_envelope(body);
  const auto decoded = used.decode(header, body, place);
  FS_ASSERT(!envelope || decoded, "what is an envelope is a payload");
  if (!envelope || !decoded) return 0;
  FS_ASSERT(decoded->accepted + decoded->rejected == envelope->events, "no event is lost");
  const std::string records = records_of(*decoded);
  transform::Decoder fresh(find_rules);
  const auto again = fresh.decode(header, body, place);
  FS_ASSERT(again && records_of(*again) == records, "the same body gives the same records");
  return 0;
}
