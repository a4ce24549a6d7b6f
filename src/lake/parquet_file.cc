#include "lake/parquet_file.h"

#include <array>
#include <limits>

#include <zstd.h>

#include "base/assert.h"

namespace flagstream::lake {
namespace {

constexpr std::string_view kMagic = "PAR1";
constexpr int kCompressionLevel = 1;
constexpr std::size_t kTextBoundBytesMax = 64;  // longer ones would only make the footer larger

// Numbers of the format, from its parquet.thrift.
constexpr std::int32_t kEncodingPlain = 0, kEncodingRle = 3, kEncodingDictionary = 8;
constexpr std::int32_t kCodecZstd = 6;
constexpr std::int32_t kDataPage = 0, kDictionaryPage = 2;
constexpr std::int32_t kOptional = 1;
constexpr std::int32_t kConvertedUtf8 = 0, kConvertedMicros = 10;

void append_data_page_header(std::uint64_t values, bool has_dictionary, ThriftWriter& thrift) {
  thrift.begin_struct(5);
  thrift.i32(1, static_cast<std::int32_t>(values));
  thrift.i32(2, has_dictionary ? kEncodingDictionary : kEncodingPlain);
  thrift.i32(3, kEncodingRle);  // definition levels
  thrift.i32(4, kEncodingRle);  // repetition levels, of which there are none
  thrift.end_struct();
}

void append_dictionary_page_header(std::uint64_t values, ThriftWriter& thrift) {
  thrift.begin_struct(7);
  thrift.i32(1, static_cast<std::int32_t>(values));
  thrift.i32(2, kEncodingPlain);
  thrift.end_struct();
}

void append_schema_element(const ParquetField& field, ThriftWriter& thrift) {
  thrift.begin_element();
  thrift.i32(1, static_cast<std::int32_t>(field.type));
  thrift.i32(3, kOptional);
  thrift.text(4, field.name);
  if (field.meaning == ParquetMeaning::Text) {
    thrift.i32(6, kConvertedUtf8);
    thrift.begin_struct(10);
    thrift.begin_struct(1);
    thrift.end_struct();
    thrift.end_struct();
  }
  if (field.meaning == ParquetMeaning::UtcMicros) {
    thrift.i32(6, kConvertedMicros);
    thrift.begin_struct(10);
    thrift.begin_struct(8);
    thrift.boolean(1, true);  // adjusted to UTC
    thrift.begin_struct(2);
    thrift.begin_struct(2);  // microseconds
    thrift.end_struct();
    thrift.end_struct();
    thrift.end_struct();
    thrift.end_struct();
  }
  thrift.end_struct();
}

// A bound as a value of its type in PLAIN, without a text's size.
std::string bound_bytes(ParquetType type, std::int64_t value) {
  std::string bytes;
  if (type == ParquetType::Int32) {
    append_plain(static_cast<std::int32_t>(value), bytes);
  } else {
    append_plain(value, bytes);
  }
  return bytes;
}

void append_statistics(ParquetType type, const ColumnStats& stats, ThriftWriter& thrift) {
  thrift.begin_struct(12);
  thrift.i64(3, static_cast<std::int64_t>(stats.nulls));
  if (stats.highest) thrift.text(5, bound_bytes(type, *stats.highest));
  if (stats.highest_text && stats.highest_text->size() <= kTextBoundBytesMax)
    thrift.text(5, *stats.highest_text);
  if (stats.lowest) thrift.text(6, bound_bytes(type, *stats.lowest));
  if (stats.lowest_text && stats.lowest_text->size() <= kTextBoundBytesMax)
    thrift.text(6, *stats.lowest_text);
  thrift.end_struct();
}

}  // namespace

PageCompressor::PageCompressor() : context_(ZSTD_createCCtx()) {
  FS_ASSERT(context_ != nullptr, "there is memory for a compressor");
  ZSTD_CCtx_setParameter(context_, ZSTD_c_compressionLevel, kCompressionLevel);
}

PageCompressor::~PageCompressor() { ZSTD_freeCCtx(context_); }

Result<std::size_t> PageCompressor::compress(std::string_view page, std::string& out) {
  const std::size_t begin = out.size();
  out.resize(begin + ZSTD_compressBound(page.size()));
  const std::size_t size =
      ZSTD_compress2(context_, out.data() + begin, out.size() - begin, page.data(), page.size());
  if (ZSTD_isError(size) != 0) return fail(ErrorKind::ResourceExhausted, ZSTD_getErrorName(size));
  out.resize(begin + size);
  return size;
}

Result<ParquetFile> ParquetFile::create(io::FileSystem& files, const std::string& path,
                                        std::uint64_t rows, PageCompressor& compressor) {
  FS_TRY(auto file, files.open(path, io::OpenMode::CreateNew));
  ParquetFile made(std::move(file), rows, compressor);
  made.pending_ = kMagic;
  return made;
}

Result<void> ParquetFile::add(const ParquetField& field, const EncodedColumn& column) {
  Chunk chunk{.field = field,
              .has_dictionary = column.has_dictionary,
              .offset = written_ + pending_.size(),
              .stats = column.stats};
  if (column.has_dictionary)
    FS_TRY(add_page(column.dictionary, column.dictionary_values, true, true, chunk));
  chunk.data_offset = written_ + pending_.size();
  FS_TRY(add_page(column.data, rows_, false, column.has_dictionary, chunk));
  chunks_.push_back(std::move(chunk));
  return flush();
}

Result<void> ParquetFile::add_page(std::string_view page, std::uint64_t values, bool is_dictionary,
                                   bool has_dictionary, Chunk& chunk) {
  page_.clear();
  FS_TRY(const std::size_t size, compressor_->compress(page, page_));
  constexpr auto kMax = static_cast<std::uint64_t>(std::numeric_limits<std::int32_t>::max());
  if (page.size() > kMax || size > kMax || values > kMax)
    return fail(ErrorKind::TooLarge, "a Parquet page takes at most 2 GiB");
  const std::size_t header_at = pending_.size();
  ThriftWriter thrift(pending_);
  thrift.i32(1, is_dictionary ? kDictionaryPage : kDataPage);
  thrift.i32(2, static_cast<std::int32_t>(page.size()));
  thrift.i32(3, static_cast<std::int32_t>(size));
  if (is_dictionary) {
    append_dictionary_page_header(values, thrift);
  } else {
    append_data_page_header(values, has_dictionary, thrift);
  }
  thrift.end_struct();
  const std::size_t header_bytes = pending_.size() - header_at;
  pending_ += page_;
  chunk.bytes += header_bytes + page.size();
  chunk.bytes_compressed += header_bytes + size;
  return {};
}

Result<void> ParquetFile::flush() {
  const std::array<std::string_view, 1> parts = {pending_};
  FS_TRY(file_->write_at(written_, parts));
  written_ += pending_.size();
  pending_.clear();
  return {};
}

std::string ParquetFile::footer() const {
  std::string out;
  ThriftWriter thrift(out);
  thrift.i32(1, 1);  // version of the format
  thrift.begin_struct_list(2, chunks_.size() + 1);
  thrift.begin_element();
  thrift.text(4, "schema");
  thrift.i32(5, static_cast<std::int32_t>(chunks_.size()));
  thrift.end_struct();
  for (const Chunk& chunk : chunks_) append_schema_element(chunk.field, thrift);
  thrift.i64(3, static_cast<std::int64_t>(rows_));
  thrift.begin_struct_list(4, 1);
  thrift.begin_element();
  thrift.begin_struct_list(1, chunks_.size());
  std::uint64_t bytes = 0, bytes_compressed = 0;
  for (const Chunk& chunk : chunks_) {
    bytes += chunk.bytes;
    bytes_compressed += chunk.bytes_compressed;
    append_chunk(chunk, thrift);
  }
  thrift.i64(2, static_cast<std::int64_t>(bytes));
  thrift.i64(3, static_cast<std::int64_t>(rows_));
  thrift.i64(5, kMagic.size());  // offset of the first page
  thrift.i64(6, static_cast<std::int64_t>(bytes_compressed));
  thrift.end_struct();
  thrift.text(6, "Flagstream");
  // Without an order of each column readers do not trust the bounds: all by their type.
  thrift.begin_struct_list(7, chunks_.size());
  for (std::size_t i = 0; i < chunks_.size(); ++i) {
    thrift.begin_element();
    thrift.begin_struct(1);
    thrift.end_struct();
    thrift.end_struct();
  }
  thrift.end_struct();
  return out;
}

void ParquetFile::append_chunk(const Chunk& chunk, ThriftWriter& thrift) const {
  thrift.begin_element();
  thrift.i64(2, static_cast<std::int64_t>(chunk.offset));
  thrift.begin_struct(3);
  thrift.i32(1, static_cast<std::int32_t>(chunk.field.type));
  const std::array<std::int32_t, 3> encodings = {kEncodingPlain, kEncodingRle, kEncodingDictionary};
  thrift.i32_list(2, std::span(encodings).first(chunk.has_dictionary ? 3 : 2));
  thrift.text_list(3, std::array{chunk.field.name});
  thrift.i32(4, kCodecZstd);
  thrift.i64(5, static_cast<std::int64_t>(rows_));
  thrift.i64(6, static_cast<std::int64_t>(chunk.bytes));
  thrift.i64(7, static_cast<std::int64_t>(chunk.bytes_compressed));
  thrift.i64(9, static_cast<std::int64_t>(chunk.data_offset));
  if (chunk.has_dictionary) thrift.i64(11, static_cast<std::int64_t>(chunk.offset));
  append_statistics(chunk.field.type, chunk.stats, thrift);
  thrift.end_struct();
  thrift.end_struct();
}

Result<std::uint64_t> ParquetFile::finish() {
  pending_ += footer();
  append_plain(static_cast<std::uint32_t>(pending_.size()), pending_);
  pending_ += kMagic;
  FS_TRY(flush());
  return written_;
}

}  // namespace flagstream::lake
