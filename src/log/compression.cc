#include "log/compression.h"

#include <climits>
#include <memory>

#include <lz4.h>
#include <zstd.h>

namespace flagstream::log {
namespace {

constexpr std::size_t kLeastBytes = 256;  // of less nothing worth a call can be saved
constexpr std::size_t kKeptRoomBytes = 256 << 10;
constexpr int kLz4Acceleration = 1;
constexpr int kZstdLevel = 1;

struct FreeContext {
  void operator()(ZSTD_CCtx* context) const { ZSTD_freeCCtx(context); }
  void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
};

// 0: it does not fit.
std::size_t compress_lz4(std::string_view bytes, char* out, std::size_t room) {
  thread_local const std::unique_ptr<char[]> state(
      new char[static_cast<std::size_t>(LZ4_sizeofState())]);
  const int size =
      LZ4_compress_fast_extState(state.get(), bytes.data(), out, static_cast<int>(bytes.size()),
                                 static_cast<int>(room), kLz4Acceleration);
  return size > 0 ? static_cast<std::size_t>(size) : 0;
}

std::size_t compress_zstd(std::string_view bytes, char* out, std::size_t room) {
  thread_local const std::unique_ptr<ZSTD_CCtx, FreeContext> context(ZSTD_createCCtx());
  if (context == nullptr) return 0;
  const std::size_t size =
      ZSTD_compressCCtx(context.get(), out, room, bytes.data(), bytes.size(), kZstdLevel);
  return ZSTD_isError(size) != 0 ? 0 : size;
}

std::optional<std::size_t> decompress_lz4(std::string_view block, char* out, std::size_t room) {
  const int size = LZ4_decompress_safe(block.data(), out, static_cast<int>(block.size()),
                                       static_cast<int>(room));
  if (size < 0) return std::nullopt;
  return static_cast<std::size_t>(size);
}

std::optional<std::size_t> decompress_zstd(std::string_view block, char* out, std::size_t room) {
  thread_local const std::unique_ptr<ZSTD_DCtx, FreeContext> context(ZSTD_createDCtx());
  if (context == nullptr) return std::nullopt;
  const std::size_t size =
      ZSTD_decompressDCtx(context.get(), out, room, block.data(), block.size());
  if (ZSTD_isError(size) != 0) return std::nullopt;
  return size;
}

}  // namespace

std::optional<Compression> parse_compression(std::string_view name) {
  if (name == "none") return Compression::None;
  if (name == "lz4") return Compression::Lz4;
  if (name == "zstd") return Compression::Zstd;
  return std::nullopt;
}

std::optional<std::string> compress(Compression how, std::string_view bytes) {
  if (how == Compression::None || bytes.size() < kLeastBytes || bytes.size() > INT_MAX)
    return std::nullopt;
  // Grown once at most for each thread; what is returned is as large as the block.
  thread_local std::string room;
  const std::size_t room_bytes = bytes.size() - bytes.size() / 10;
  const bool is_large = room_bytes > kKeptRoomBytes;
  std::string large;
  std::string& to = is_large ? large : room;
  if (to.size() < room_bytes)
    to.resize_and_overwrite(room_bytes, [](char*, std::size_t n) { return n; });
  const std::size_t size = how == Compression::Lz4 ? compress_lz4(bytes, to.data(), room_bytes)
                                                   : compress_zstd(bytes, to.data(), room_bytes);
  if (size == 0) return std::nullopt;
  return std::string(to, 0, size);
}

Result<void> decompress(Compression how, std::string_view block, std::size_t bytes_out,
                        std::string& out) {
  std::optional<std::size_t> size;
  if (how != Compression::None && block.size() <= INT_MAX && bytes_out <= INT_MAX) {
    // The library may offer more room than asked for.
    out.resize_and_overwrite(bytes_out, [&](char* to, std::size_t) {
      size = how == Compression::Lz4 ? decompress_lz4(block, to, bytes_out)
                                     : decompress_zstd(block, to, bytes_out);
      return bytes_out;
    });
  }
  if (size == bytes_out) return {};
  out.clear();
  return fail(ErrorKind::DataLoss, "a batch cannot be decompressed");
}

}  // namespace flagstream::log
