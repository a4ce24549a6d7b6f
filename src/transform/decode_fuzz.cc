// Properties: decode() never reads outside its input; every event of an envelope is accepted or
// rejected, once; and whatever it makes can be written and read back as a record.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "events/envelope.h"
#include "events/event.h"
#include "events/test_envelope.h"
#include "transform/decode.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace flagstream;
  // On the heap without a spare byte, so that the sanitizer sees every read beyond the end.
  const std::string body(reinterpret_cast<const char*>(data), size);
  static transform::Decoder decoder;
  events::proto::PayloadHeader header;
  header.set_received_us(1'795'407'508'900'000);
  const transform::PayloadPlace place{
      .log_id = {.high = 1, .low = 2}, .offset = 1, .append_time = header.received_us()};

  const auto envelope = events::scan_envelope(body);
  const int count = envelope ? static_cast<int>(envelope->events) : -1;
  if (count != events::events_by_bytes(body)) std::abort();
  const auto result = decoder.decode(header, body, place);
  if (envelope && !result) std::abort();
  if (!envelope || !result) return 0;
  if (result->accepted + result->rejected != envelope->events) std::abort();
  events::proto::Event again;
  for (const auto& event : result->events) {
    std::string record;
    events::encode_event(event, record);
    if (!events::decode_event(record, again)) std::abort();
  }
  return 0;
}
