// Fails the first call of each kind that the topic's writer makes of its disk, then the second, and
// so on: while it opens, appends, rolls, fills its pool, expires, heals and recovers.  Whatever
// fails, what was acknowledged is there, what was refused is not, and the writer serves again.
#include <map>
#include <optional>
#include <random>
#include <set>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "io/faulty_file_system.h"
#include "io/memory_file_system.h"
#include "log/local_reader.h"
#include "log/topic_writer.h"

namespace flagstream::log {
namespace {

constexpr std::uint64_t kSegmentBytes = 12 << 10;
constexpr Partition kPartitions = 2;
constexpr char kFolder[] = "log/t";
constexpr int kSteps = 24;
constexpr int kStepsBeforeRestart = 16;
constexpr int kHealingSteps = 3;
constexpr int kImages = 2;

using Place = std::pair<Partition, Offset>;

class WriterRun {
 public:
  explicit WriterRun(const io::Fault& fault) : what_(describe(fault)) { files_.fail(fault); }

  // True: the fault was met.
  bool check() {
    for (int step = 0; step < kSteps; ++step) {
      if (step == kStepsBeforeRestart) writer_.reset();
      live(step);
      if (!files_.has_failed() || images_ >= kImages) continue;
      // The power fails soon after the fault, before anything could be put right.
      ++images_;
      check_after_power_loss();
    }
    const bool has_failed = files_.has_failed();
    files_.heal();
    for (int step = 0; step < kHealingSteps; ++step) live(kSteps + step);
    EXPECT_TRUE(serves_) << what_ << ": it does not serve again: " << why_;
    check_records(disk_, writer_.get());
    check_after_power_loss();
    writer_.reset();
    auto again = TopicWriter::open(settings_, disk_, clock_);
    EXPECT_TRUE(again) << what_ << ": " << (again ? "" : again.error().what);
    if (again) check_records(disk_, again->get());
    return has_failed;
  }

 private:
  void check_after_power_loss() {
    const auto after = disk_.crash(random_);
    const auto recovered = TopicWriter::open(settings_, *after, clock_);
    ASSERT_TRUE(recovered) << what_ << ": after a power loss: " << recovered.error().what;
    check_records(*after, recovered->get());
  }

  static std::string describe(const io::Fault& fault) {
    return fmt::format("{} {} with error {}{}{}", to_string(fault.call), fault.first, fault.error,
                       fault.count > 1 ? fmt::format(", {} times", fault.count) : "",
                       fault.is_done ? ", done all the same" : "");
  }

  void live(int step) {
    clock_.advance(1'100'000);
    if (writer_ == nullptr) {
      auto opened = TopicWriter::open(settings_, files_, clock_);
      serves_ = opened.has_value();
      if (!opened) {
        why_ = opened.error().what;
        return;
      }
      writer_ = *std::move(opened);
    }
    append(step);
    if (step % 3 == 0) (void)writer_->expire();
    if (step % 4 == 0) {
      if (const auto path = writer_->wanted_ready_file()) {
        if (make_ready_file(files_, *path, kSegmentBytes)) writer_->add_ready_file(*path);
      }
    }
  }

  void append(int step) {
    // A large one that may not fit, and a small one that does: a roll that fails half-way is
    // followed by a write into the file before.
    for (const std::size_t size : {2'500u, 40u}) {
      std::vector<TopicWriter::Pending> group(2);
      std::vector<std::string> records;
      for (std::size_t i = 0; i < group.size(); ++i) {
        records.push_back(fmt::format("{}/{}/{}/", step, size, i));
        records.back().resize(size, 'x');
        group[i].partition = static_cast<Partition>(i % kPartitions);
        group[i].batch.add({records[i]});
      }
      writer_->write(group);
      for (std::size_t i = 0; i < group.size(); ++i) {
        const TopicWriter::Pending& each = group[i];
        serves_ = each.outcome.has_value();
        if (each.outcome) {
          const Place place{each.partition, each.outcome->first_offset};
          EXPECT_TRUE(acknowledged_.emplace(place, records[i]).second)
              << what_ << ": offset " << place.second << " was given out twice";
        } else {
          why_ = each.outcome.error().what;
          if (each.outcome.error().kind == ErrorKind::Indeterminate) unknown_.insert(records[i]);
          EXPECT_FALSE(why_.empty()) << what_;
        }
      }
    }
  }

  void check_records(io::FileSystem& disk, const TopicWriter* writer) {
    if (writer == nullptr) return;
    std::map<Place, std::string> found;
    for (Partition p = 0; p < kPartitions; ++p) {
      const Start start{p, writer->page().partitions[p].begin};
      auto reader = LocalReader::open(disk, kFolder, Id128{}, std::span(&start, 1));
      ASSERT_TRUE(reader) << what_ << ": " << reader.error().what;
      for (;;) {
        const auto fetched = (*reader)->next(1 << 20, std::chrono::milliseconds(0));
        ASSERT_TRUE(fetched) << what_ << ": " << fetched.error().what;
        if (fetched->status == Fetched::Status::End) break;
        if (fetched->status != Fetched::Status::Frames) {  // of what nobody was promised
          (*reader)->skip_to(fetched->partition, fetched->next_offset);
          continue;
        }
        for (const Frame& frame : fetched->frames) {
          for (std::size_t i = 0; i < frame.records.size(); ++i)
            found.emplace(Place{p, frame.base_offset + i}, frame.records[i]);
        }
      }
    }
    for (const auto& [place, record] : acknowledged_) {
      if (place.second < writer->page().partitions[place.first].begin) continue;  // expired
      const auto there = found.find(place);
      ASSERT_TRUE(there != found.end())
          << what_ << ": acknowledged and lost: " << place.first << "/" << place.second;
      ASSERT_EQ(there->second, record) << what_;
    }
    for (const auto& [place, record] : found) {
      const auto kept = acknowledged_.find(place);
      ASSERT_TRUE(kept != acknowledged_.end() || unknown_.contains(record))
          << what_ << ": refused and there: " << record.substr(0, 12);
    }
  }

  const std::string what_;
  std::mt19937_64 random_{7};
  FakeClock clock_{1'700'000'000'000'000};
  io::MemoryFileSystem disk_;
  io::FaultyFileSystem files_{disk_};
  const TopicSettings settings_{
      .folder = kFolder,
      .segment_bytes = kSegmentBytes,
      .pool_segments = 1,
      .reserve_bytes = 0,
      .options = {.partitions = kPartitions, .retention_bytes = 5 * kSegmentBytes}};
  std::unique_ptr<TopicWriter> writer_;
  std::map<Place, std::string> acknowledged_;
  std::set<std::string> unknown_;
  int images_ = 0;
  bool serves_ = false;
  std::string why_;
};

class FaultLoop : public testing::TestWithParam<io::Call> {
 protected:
  // Returns how many calls there were to fail.
  std::uint64_t fail_each(io::Fault fault) {
    for (fault.first = 1; !HasFatalFailure() && !HasNonfatalFailure(); ++fault.first) {
      if (!WriterRun(fault).check()) break;
    }
    return fault.first - 1;
  }
};

TEST_P(FaultLoop, LosesNothingAcknowledgedAndServesAgain) {
  std::uint64_t calls = 0;
  for (const int error : {EIO, ENOSPC}) {
    for (const std::uint64_t count : {1u, 3u}) {
      for (const bool is_done : {false, true})
        calls +=
            fail_each({.call = GetParam(), .count = count, .error = error, .is_done = is_done});
    }
  }
  RecordProperty("failed_calls", static_cast<int>(calls));
  const bool is_used = GetParam() != io::Call::Link;
  EXPECT_EQ(calls > 0, is_used);
}

INSTANTIATE_TEST_SUITE_P(OfEachCall, FaultLoop, testing::ValuesIn(io::kAllCalls),
                         [](const auto& info) {
                           std::string name(to_string(info.param));
                           std::erase(name, ' ');
                           return name;
                         });

}  // namespace
}  // namespace flagstream::log
