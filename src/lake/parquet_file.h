// Writes one Parquet file of one row group, column after column.
//
// Every column may be null; pages are compressed by zstd.  What the format calls a data page
// (version 1) holds all rows of its column.  Layout: https://parquet.apache.org/docs/file-format/
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "io/file_system.h"
#include "lake/parquet_column.h"

struct ZSTD_CCtx_s;

namespace flagstream::lake {

enum class ParquetMeaning { Number, Text, UtcMicros };

struct ParquetField {
  std::string_view name;
  ParquetType type = ParquetType::Int64;
  ParquetMeaning meaning = ParquetMeaning::Number;
};

// zstd with memory that is used again from page to page.  Not thread-safe.
class PageCompressor {
 public:
  PageCompressor();
  ~PageCompressor();
  PageCompressor(const PageCompressor&) = delete;
  PageCompressor& operator=(const PageCompressor&) = delete;
  // Appends to `out`; how many bytes.
  Result<std::size_t> compress(std::string_view page, std::string& out);

 private:
  ZSTD_CCtx_s* context_;
};

class ParquetFile {
 public:
  // Conflict: the file exists.
  static Result<ParquetFile> create(io::FileSystem& files, const std::string& path,
                                    std::uint64_t rows, PageCompressor& compressor);

  // TooLarge: a page beyond 2 GiB.
  Result<void> add(const ParquetField& field, const EncodedColumn& column);
  // Ends the file, without a sync; its size in bytes.
  Result<std::uint64_t> finish();

 private:
  struct Chunk {
    ParquetField field;
    bool has_dictionary = false;
    std::uint64_t offset = 0;
    std::uint64_t data_offset = 0;
    std::uint64_t bytes = 0;  // of its pages with their headers
    std::uint64_t bytes_compressed = 0;
    ColumnStats stats;
  };

  ParquetFile(std::unique_ptr<io::File> file, std::uint64_t rows, PageCompressor& compressor)
      : file_(std::move(file)), rows_(rows), compressor_(&compressor) {}
  Result<void> add_page(std::string_view page, std::uint64_t values, bool is_dictionary,
                        bool has_dictionary, Chunk& chunk);
  Result<void> flush();
  std::string footer() const;
  void append_chunk(const Chunk& chunk, ThriftWriter& thrift) const;

  std::unique_ptr<io::File> file_;
  std::uint64_t rows_;
  PageCompressor* compressor_;
  std::uint64_t written_ = 0;
  std::string pending_;  // follows what is written
  std::string page_;     // reused
  std::vector<Chunk> chunks_;
};

}  // namespace flagstream::lake
