// A log of one topic in memory, which outlives the publishers that write it.  For tests.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"
#include "environment/config_record.h"
#include "log/log.h"

namespace flagstream::catalog {

class ConfigLog final : public log::Log {
 public:
  enum class Next { Works, Fails, StoresAndFails };

  std::vector<std::string> records;
  Next next = Next::Works;  // what the next append does

  std::vector<environment::proto::Record> decoded() const {
    std::vector<environment::proto::Record> all;
    for (const auto& each : records) all.push_back(*environment::decode_config_record(each));
    return all;
  }

  Result<std::unique_ptr<log::Appender>> open_appender(const std::string&,
                                                       const log::TopicOptions&) override {
    return std::make_unique<MemoryAppender>(*this);
  }
  Result<std::unique_ptr<log::Reader>> open_reader(const std::string&, Id128,
                                                   std::span<const log::Start> starts) override {
    return std::make_unique<MemoryReader>(*this, starts[0].offset);
  }
  Result<log::TopicInfo> info(const std::string&) override {
    return log::TopicInfo{Id128{1, 1}, {{.begin = 0, .end = records.size(), .last_append = 1}}};
  }
  Result<log::Offset> position_at(const std::string&, log::Partition, MicrosUtc) override {
    return log::Offset{0};
  }

 private:
  class MemoryAppender final : public log::Appender {
   public:
    explicit MemoryAppender(ConfigLog& log) : log_(log) {}
    void append(log::Partition, log::Batch batch, Completion done) override {
      const Next outcome = std::exchange(log_.next, Next::Works);
      const log::Offset first = log_.records.size();
      if (outcome != Next::Fails) {
        const std::string& bytes = batch.bytes();
        for (std::size_t at = 0; at < bytes.size();) {
          const std::uint32_t size = get_u32(bytes.data() + at);
          log_.records.push_back(bytes.substr(at + 4, size));
          at += 4 + size;
        }
      }
      if (outcome == Next::Works) return done(log::Appended{first, 1});
      done(fail(outcome == Next::Fails ? ErrorKind::Unavailable : ErrorKind::Indeterminate,
                "as the test wants"));
    }

   private:
    ConfigLog& log_;
  };

  class MemoryReader final : public log::Reader {
   public:
    MemoryReader(const ConfigLog& log, log::Offset at) : log_(log), at_(at) {}
    Result<log::Fetched> next(std::size_t, std::chrono::milliseconds) override {
      frame_.base_offset = at_;
      frame_.records.assign(log_.records.begin() + static_cast<std::ptrdiff_t>(at_),
                            log_.records.end());
      at_ = log_.records.size();
      if (frame_.records.empty()) return log::Fetched{};
      return log::Fetched{.status = log::Fetched::Status::Frames,
                          .frames = {&frame_, 1},
                          .partition = 0,
                          .next_offset = 0};
    }
    void skip_to(log::Partition, log::Offset offset) override { at_ = offset; }
    void wake() override {}

   private:
    const ConfigLog& log_;
    log::Offset at_;
    log::Frame frame_;
  };
};

}  // namespace flagstream::catalog
