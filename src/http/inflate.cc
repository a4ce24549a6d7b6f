#include "http/inflate.h"

#include <algorithm>
#include <memory>

#include <isa-l/igzip_lib.h>

#include "base/assert.h"

namespace flagstream::http {

Result<void> inflate_gzip(std::string_view gzip, const InflateLimits& limits, std::string& out) {
  constexpr std::size_t kStep = 64 << 10;
  const auto state = std::make_unique<inflate_state>();
  isal_inflate_init(state.get());
  state->crc_flag = ISAL_GZIP;
  std::string input(gzip);
  state->next_in = reinterpret_cast<std::uint8_t*>(input.data());
  state->avail_in = static_cast<std::uint32_t>(input.size());
  const std::size_t start = out.size();
  for (;;) {
    const std::size_t before = out.size();
    const std::uint32_t left_before = state->avail_in;
    out.resize(before + kStep);
    state->next_out = reinterpret_cast<std::uint8_t*>(out.data()) + before;
    state->avail_out = kStep;
    const int result = isal_inflate(state.get());
    out.resize(before + kStep - state->avail_out);
    const std::size_t made = out.size() - start;
    const bool is_done = result == ISAL_DECOMP_OK && state->block_state == ISAL_BLOCK_FINISH;
    if (result != ISAL_DECOMP_OK)
      return fail(ErrorKind::InvalidArgument, "the gzip body is damaged");
    if (made > limits.bytes_max) {
      return fail(ErrorKind::TooLarge, "the body is too large when inflated");
    }
    if (made > limits.ratio_free_bytes && made / limits.ratio_max > gzip.size()) {
      return fail(ErrorKind::TooLarge, "the gzip body inflates beyond the ratio allowed");
    }
    if (is_done) break;
    const bool is_stuck = out.size() == before && state->avail_in == left_before;
    if (is_stuck || (state->avail_out != 0 && state->avail_in == 0)) {
      return fail(ErrorKind::InvalidArgument, "the gzip body is truncated");
    }
  }
  if (state->avail_in != 0) {
    return fail(ErrorKind::InvalidArgument, "the gzip body is followed by something");
  }
  return {};
}

std::string deflate_gzip(std::string_view bytes) {
  std::string input(bytes);
  std::string level_buffer(ISAL_DEF_LVL1_DEFAULT, '\0');
  // Stored blocks bound the size: 5 bytes per 64 KiB, and the gzip header and trailer.
  std::string out(bytes.size() + bytes.size() / 1000 + 1024, '\0');
  const auto stream = std::make_unique<isal_zstream>();
  isal_deflate_init(stream.get());
  stream->level = 1;
  stream->level_buf = reinterpret_cast<std::uint8_t*>(level_buffer.data());
  stream->level_buf_size = static_cast<std::uint32_t>(level_buffer.size());
  stream->gzip_flag = IGZIP_GZIP;
  stream->end_of_stream = 1;
  stream->next_in = reinterpret_cast<std::uint8_t*>(input.data());
  stream->avail_in = static_cast<std::uint32_t>(input.size());
  for (;;) {
    stream->next_out = reinterpret_cast<std::uint8_t*>(out.data()) + stream->total_out;
    stream->avail_out = static_cast<std::uint32_t>(out.size() - stream->total_out);
    FS_ASSERT(isal_deflate(stream.get()) == COMP_OK, "the settings of the compressor are valid");
    if (stream->internal_state.state == ZSTATE_END) break;
    out.resize(out.size() * 2);
  }
  out.resize(stream->total_out);
  return out;
}

}  // namespace flagstream::http
