// Compression of batches: each is a block of its own, so that a reader needs nothing but the frame.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"

namespace flagstream::log {

enum class Compression { None, Lz4, Zstd };

// "none", "lz4", "zstd"; nullopt: another word.
std::optional<Compression> parse_compression(std::string_view name);

// nullopt: that would not save a tenth at least (which is found out early where bodies are
// compressed already), or `how` is None.  Any thread.
std::optional<std::string> compress(Compression how, std::string_view bytes);

// Replaces `out` by the `bytes_out` bytes that `block` stands for; never allocates more.  DataLoss:
// the block stands for anything else, or for nothing.  Any thread.
Result<void> decompress(Compression how, std::string_view block, std::size_t bytes_out,
                        std::string& out);

}  // namespace flagstream::log
