#include "pipeline/store.h"

#include <filesystem>

#include <rocksdb/cache.h>
#include <rocksdb/db.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/options.h>
#include <rocksdb/slice_transform.h>
#include <rocksdb/table.h>
#include <rocksdb/write_batch.h>

#include "base/assert.h"

namespace flagstream::pipeline {
namespace {

// A process opens one store for each stage and partition, tens of them: what each keeps is small,
// and blocks are cached together.
constexpr std::size_t kSharedCacheBytes = 64u << 20;
constexpr std::size_t kMemtableBytes = 8u << 20;
constexpr std::size_t kArenaBlockBytes = 64u << 10;
constexpr std::size_t kInfoLogBytes = 1u << 20;
constexpr double kFilterBitsPerKey = 10;

rocksdb::Slice slice_of(std::string_view bytes) { return {bytes.data(), bytes.size()}; }
std::string_view view_of(const rocksdb::Slice& slice) { return {slice.data(), slice.size()}; }

// Precondition: not ok, not NotFound.
Error error_of(const rocksdb::Status& status, std::string_view operation) {
  ErrorKind kind = ErrorKind::Unavailable;
  if (status.IsCorruption()) kind = ErrorKind::DataLoss;
  if (status.IsNoSpace()) kind = ErrorKind::ResourceExhausted;
  const std::string text = status.ToString();
  if (status.IsIOError() && text.find("lock ") != std::string::npos) kind = ErrorKind::Conflict;
  return Error(kind, text).in(operation);
}

const std::shared_ptr<rocksdb::Cache>& shared_cache() {
  static const std::shared_ptr<rocksdb::Cache> cache = rocksdb::NewLRUCache(kSharedCacheBytes);
  return cache;
}

rocksdb::Options options_of(std::size_t prefix_bytes) {
  rocksdb::Options options;
  options.create_if_missing = true;
  options.write_buffer_size = kMemtableBytes;
  options.arena_block_size = kArenaBlockBytes;
  options.compression = rocksdb::kLZ4Compression;
  // Preallocated write-ahead logs of tens of stores would take hundreds of megabytes of disk.
  options.allow_fallocate = false;
  options.stats_dump_period_sec = 0;
  options.stats_persist_period_sec = 0;
  options.max_file_opening_threads = 1;  // stores are small: threads would cost more than they save
  options.keep_log_file_num = 2;
  options.max_log_file_size = kInfoLogBytes;
  options.info_log_level = rocksdb::InfoLogLevel::WARN_LEVEL;

  rocksdb::BlockBasedTableOptions table;
  table.block_cache = shared_cache();
  table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(kFilterBitsPerKey));
  table.whole_key_filtering = true;
  options.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  if (prefix_bytes > 0)
    options.prefix_extractor.reset(rocksdb::NewCappedPrefixTransform(prefix_bytes));
  return options;
}

}  // namespace

struct Changes::Batch {
  rocksdb::WriteBatch writes;
};

Changes::Changes() : batch_(std::make_unique<Batch>()) {}
Changes::~Changes() = default;
Changes::Changes(Changes&&) noexcept = default;
Changes& Changes::operator=(Changes&&) noexcept = default;

void Changes::put(std::string_view key, std::string_view value) {
  const auto status = batch_->writes.Put(slice_of(key), slice_of(value));
  FS_ASSERT(status.ok(), "a batch in memory has no bound");
}

void Changes::remove(std::string_view key) {
  const auto status = batch_->writes.Delete(slice_of(key));
  FS_ASSERT(status.ok(), "a batch in memory has no bound");
}

void Changes::remove_range(std::string_view begin, std::string_view end) {
  if (begin >= end) return;
  const auto status = batch_->writes.DeleteRange(slice_of(begin), slice_of(end));
  FS_ASSERT(status.ok(), "a batch in memory has no bound");
}

std::size_t Changes::bytes() const { return batch_->writes.GetDataSize(); }

struct Store::Database {
  std::unique_ptr<rocksdb::DB> db;
  std::string folder;
  std::size_t prefix_bytes = 0;
};

Store::Store(std::unique_ptr<Database> database) : database_(std::move(database)) {}
Store::~Store() = default;

Result<std::unique_ptr<Store>> Store::open(const std::string& folder, std::size_t prefix_bytes) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) return fail(error_from_errno(error.value(), "make the folder " + folder));
  rocksdb::DB* db = nullptr;
  const auto status = rocksdb::DB::Open(options_of(prefix_bytes), folder, &db);
  if (!status.ok()) return fail(error_of(status, "open the store " + folder));
  auto database = std::make_unique<Database>();
  database->db.reset(db);
  database->folder = folder;
  database->prefix_bytes = prefix_bytes;
  return std::unique_ptr<Store>(new Store(std::move(database)));
}

Result<std::optional<std::string>> Store::get(std::string_view key) const {
  std::string value;
  const auto status = database_->db->Get(rocksdb::ReadOptions(), slice_of(key), &value);
  if (status.ok()) return std::optional(std::move(value));
  if (status.IsNotFound()) return std::optional<std::string>();
  return fail(error_of(status, "read from the store " + database_->folder));
}

bool Store::may_contain(std::string_view key) const {
  std::string value;
  return database_->db->KeyMayExist(rocksdb::ReadOptions(), slice_of(key), &value);
}

Result<void> Store::scan(
    std::string_view prefix,
    const std::function<bool(std::string_view key, std::string_view value)>& visit) const {
  rocksdb::ReadOptions options;
  const bool is_filtered = database_->prefix_bytes > 0 && prefix.size() >= database_->prefix_bytes;
  options.prefix_same_as_start = is_filtered;
  options.total_order_seek = !is_filtered;
  const std::unique_ptr<rocksdb::Iterator> at(database_->db->NewIterator(options));
  for (at->Seek(slice_of(prefix)); at->Valid(); at->Next()) {
    const std::string_view key = view_of(at->key());
    if (!key.starts_with(prefix)) break;
    if (!visit(key, view_of(at->value()))) break;
  }
  if (!at->status().ok())
    return fail(error_of(at->status(), "read from the store " + database_->folder));
  return {};
}

Result<void> Store::write(const Changes& changes) {
  rocksdb::WriteOptions options;
  options.sync = true;
  // Write() takes a pointer to non-const, but changes nothing in the batch that a reader could see.
  const auto status = database_->db->Write(options, &changes.batch_->writes);
  if (!status.ok()) return fail(error_of(status, "write to the store " + database_->folder));
  return {};
}

}  // namespace flagstream::pipeline
