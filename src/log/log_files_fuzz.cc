// Properties: the decoders of a topic's files never read outside their input, what they accept
// encodes again to something that decodes, and a scan of any segment file ends with frames inside
// it.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "io/memory_file_system.h"
#include "log/quarantine.h"
#include "log/segment_format.h"
#include "log/segment_index.h"
#include "log/segment_scan.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace flagstream::log;
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  (void)decode_control_page(bytes);
  (void)decode_topic_identity(bytes);
  if (const auto ranges = decode_quarantine(bytes)) {
    if (!decode_quarantine(encode_quarantine(*ranges))) std::abort();
  }
  if (const auto index = SegmentIndex::decode(bytes)) {
    if (!SegmentIndex::decode(index->encode())) std::abort();
    const Start wanted[] = {{0, 5}};
    (void)index->position_before(wanted);
    if (!index->header().partitions.empty()) (void)index->around(0, 1'000'000);
  }
  const auto header = decode_segment_header(bytes);
  if (!header) return 0;
  flagstream::io::MemoryFileSystem disk;
  const auto file = *disk.open("t", flagstream::io::OpenMode::Create);
  const std::string_view parts[] = {bytes};
  (void)file->write_at(0, parts);
  SegmentScan scan(*header, SegmentScan::Kind::Active, size);
  scan.run(*file);
  // Only the padding of the last frame may be missing, and then nothing is written behind it.
  const bool is_inside = scan.end() <= size || !scan.is_clean();
  if (scan.end() >= size + kFrameAlignment || !is_inside) {
    if (scan.end() > segment_header_bytes(header->partitions.size())) std::abort();
  }
  return 0;
}
