// A topic `t` of a local log in a temporary folder, and what its readers see.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>
#include <unistd.h>

#include "base/clock.h"
#include "io/file_system.h"
#include "log/local_log.h"
#include "log/topic_writer.h"

namespace flagstream::log {

inline constexpr std::uint64_t kSegmentBytes = 32 << 10;

class LocalLogTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = testing::TempDir() + "local_log_" + std::to_string(::getpid()) + "_" +
              testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::remove_all(folder_);
    open();
  }
  void TearDown() override {
    log_.reset();
    std::filesystem::remove_all(folder_);
  }

  void open(Compression compression = Compression::None) {
    log_ = open_local_log({.folder = folder_,
                           .segment_bytes = kSegmentBytes,
                           .pool_segments = 1,
                           .compression = compression},
                          io::posix_file_system(), clock_, registry_);
  }
  std::unique_ptr<Appender> appender(TopicOptions options = {.partitions = 2}) {
    auto opened = log_->open_appender("t", options);
    if (!opened) ADD_FAILURE() << opened.error().what;
    return opened ? *std::move(opened) : nullptr;
  }
  static Batch batch_of(const std::vector<std::string>& records) {
    Batch batch;
    for (const std::string& each : records) batch.add({each});
    return batch;
  }
  Appended append(Appender& to, Partition partition, const std::vector<std::string>& records) {
    const auto done = to.append_and_wait(partition, batch_of(records));
    if (!done) ADD_FAILURE() << done.error().what;
    return done ? *done : Appended{};
  }
  std::unique_ptr<Reader> reader(std::vector<Start> starts) {
    auto opened = log_->open_reader("t", Id128{}, starts);
    if (!opened) ADD_FAILURE() << opened.error().what;
    return opened ? *std::move(opened) : nullptr;
  }
  // "partition:offset=record" of everything that is there, and "partition!status>offset" for
  // reports.
  std::vector<std::string> all(Reader& from) {
    std::vector<std::string> out;
    for (;;) {
      const auto fetched = from.next(1 << 20, std::chrono::milliseconds(0));
      if (!fetched) {
        out.push_back("error: " + fetched.error().what);
        return out;
      }
      switch (fetched->status) {
        case Fetched::Status::End:
          return out;
        case Fetched::Status::Frames:
          for (const Frame& frame : fetched->frames) {
            for (std::size_t i = 0; i < frame.records.size(); ++i)
              out.push_back(std::to_string(frame.partition) + ":" +
                            std::to_string(frame.base_offset + i) + "=" +
                            std::string(frame.records[i].substr(0, 8)));
          }
          break;
        case Fetched::Status::OutOfRange:
        case Fetched::Status::Quarantined:
          out.push_back(std::to_string(fetched->partition) +
                        (fetched->status == Fetched::Status::OutOfRange ? "!range>" : "!damage>") +
                        std::to_string(fetched->next_offset));
          from.skip_to(fetched->partition, fetched->next_offset);
      }
    }
  }
  std::uint64_t groups_written() const {
    const std::string scrape = registry_.scrape();
    const std::string_view series = "flagstream_log_groups_total{topic=\"t\"} ";
    const std::size_t at = scrape.find(series);
    return at == std::string::npos ? 0 : std::stoull(scrape.substr(at + series.size()));
  }
  std::string file(std::uint64_t sequence) const { return segment_path(folder_ + "/t", sequence); }
  std::string contents(const std::string& path) { return *io::posix_file_system().read_file(path); }
  void overwrite(const std::string& path, std::uint64_t at, std::string_view bytes) {
    const auto opened = io::posix_file_system().open(path, io::OpenMode::ReadWrite);
    const std::string_view parts[] = {bytes};
    ASSERT_TRUE((*opened)->write_at(at, parts));
  }

  std::string folder_;
  FakeClock clock_{1'700'000'000'000'000};
  telemetry::Registry registry_;
  std::unique_ptr<Log> log_;
};

using Lines = std::vector<std::string>;

}  // namespace flagstream::log
