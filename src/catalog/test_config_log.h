// A log in memory of the topics that control writes, which outlives the publishers that write it.
// For tests.
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

  std::vector<std::string> records;  // of `config`
  std::vector<std::string> memberships;
  Next next = Next::Works;  // what the next append does

  std::vector<environment::proto::Record> decoded() const {
    std::vector<environment::proto::Record> all;
    for (const auto& each : records) all.push_back(*environment::decode_config_record(each));
    return all;
  }

  Result<std::unique_ptr<log::Appender>> open_appender(const std::string& topic,
                                                       const log::TopicOptions&) override {
    return std::make_unique<MemoryAppender>(*this, topic_of(topic));
  }
  Result<std::unique_ptr<log::Reader>> open_reader(const std::string& topic, Id128,
                                                   std::span<const log::Start> starts) override {
    return std::make_unique<MemoryReader>(topic_of(topic), starts[0].offset);
  }
  std::unique_ptr<log::ReaderRegistration> register_reader(const std::string&,
                                                           const std::string&) override {
    return nullptr;
  }
  Result<log::TopicInfo> info(const std::string& topic) override {
    return log::TopicInfo{Id128{1, 1},
                          {{.begin = 0, .end = topic_of(topic).size(), .last_append = 1}}};
  }
  Result<log::Offset> position_at(const std::string&, log::Partition, MicrosUtc) override {
    return log::Offset{0};
  }

 private:
  using Records = std::vector<std::string>;
  Records& topic_of(const std::string& topic) {
    return topic == environment::kConfigTopic ? records : memberships;
  }

  class MemoryAppender final : public log::Appender {
   public:
    MemoryAppender(ConfigLog& log, Records& records) : log_(log), records_(records) {}
    void enqueue(log::Partition, log::Batch batch, Completion done) override {
      const Next outcome = std::exchange(log_.next, Next::Works);
      const log::Offset first = records_.size();
      if (outcome != Next::Fails) {
        const std::string& bytes = batch.bytes();
        for (std::size_t at = 0; at < bytes.size();) {
          const std::uint32_t size = get_u32(bytes.data() + at);
          records_.push_back(bytes.substr(at + 4, size));
          at += 4 + size;
        }
      }
      if (outcome == Next::Works) return done(log::Appended{first, 1});
      done(fail(outcome == Next::Fails ? ErrorKind::Unavailable : ErrorKind::Indeterminate,
                "as the test wants"));
    }
    void start() override {}

   private:
    ConfigLog& log_;
    Records& records_;
  };

  class MemoryReader final : public log::Reader {
   public:
    MemoryReader(const Records& records, log::Offset at) : records_(records), at_(at) {}
    Result<log::Fetched> next(std::size_t, std::chrono::milliseconds) override {
      frame_.base_offset = at_;
      frame_.records.assign(records_.begin() + static_cast<std::ptrdiff_t>(at_), records_.end());
      at_ = records_.size();
      if (frame_.records.empty()) return log::Fetched{};
      return log::Fetched{.status = log::Fetched::Status::Frames,
                          .frames = {&frame_, 1},
                          .partition = 0,
                          .next_offset = 0};
    }
    void skip_to(log::Partition, log::Offset offset) override { at_ = offset; }
    void wake() override {}

   private:
    const Records& records_;
    log::Offset at_;
    log::Frame frame_;
  };
};

}  // namespace flagstream::catalog
