// Properties: whatever a block is, decompressing it yields exactly the bytes announced or an error;
// and whatever bytes are, compressing and decompressing gives them back.  The first byte of the
// input chooses the way of compression, the two after it the announced size.
#include <cstdint>

#include "base/assert.h"
#include "log/compression.h"

namespace {

namespace log = flagstream::log;

void check(std::string_view bytes) {
  if (bytes.size() < 3) return;
  const auto byte = [&](std::size_t at) { return static_cast<unsigned char>(bytes[at]); };
  const auto how = byte(0) % 2 == 0 ? log::Compression::Lz4 : log::Compression::Zstd;
  const std::size_t announced = byte(1) * 256u + byte(2);
  bytes.remove_prefix(3);
  std::string out;
  const auto done = log::decompress(how, bytes, announced, out);
  FS_ASSERT(out.size() == (done ? announced : 0), "all that was announced, or nothing");
  if (const auto block = log::compress(how, bytes)) {
    FS_ASSERT(block->size() <= bytes.size() - bytes.size() / 10, "a tenth is saved");
    FS_ASSERT(log::decompress(how, *block, bytes.size(), out).has_value() && out == bytes,
              "what was compressed comes back");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  check({reinterpret_cast<const char*>(data), size});
  return 0;
}
