#include "pipeline/sink.h"

#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace flagstream::pipeline {
namespace {

// Takes appends and completes them when told.
class ManualAppender final : public log::Appender {
 public:
  void enqueue(log::Partition partition, log::Batch batch, Completion done) override {
    waiting.push_back({partition, std::move(batch), std::move(done)});
  }
  void start() override {}
  // Of the oldest append; its records as one text.
  std::string complete(Result<log::Appended> outcome = log::Appended{}) {
    Waiting oldest = std::move(waiting.front());
    waiting.erase(waiting.begin());
    const std::string bytes = oldest.batch.bytes();
    oldest.done(std::move(outcome));
    return bytes;
  }

  struct Waiting {
    log::Partition partition;
    log::Batch batch;
    Completion done;
  };
  std::vector<Waiting> waiting;
};

std::string as_batch(std::initializer_list<std::string_view> records) {
  log::Batch batch;
  for (const std::string_view each : records) batch.add({each});
  return batch.bytes();
}

TEST(SinkQueue, OneAppendAtATimeAndWhatComesMeanwhileIsOneBatch) {
  ManualAppender appender;
  SinkGroup group(1 << 20);
  SinkQueue queue(group, appender, 3);
  queue.add("a");
  EXPECT_EQ(appender.waiting.size(), 0u);
  queue.flush(false);
  ASSERT_EQ(appender.waiting.size(), 1u);
  EXPECT_EQ(appender.waiting[0].partition, 3u);
  queue.add("b");
  queue.flush(false);
  queue.add("c");
  queue.flush(false);
  EXPECT_TRUE(queue.has_open());
  EXPECT_EQ(appender.waiting.size(), 1u);
  EXPECT_EQ(appender.complete(), as_batch({"a"}));
  queue.flush(false);
  EXPECT_FALSE(queue.has_open());
  EXPECT_EQ(appender.complete(), as_batch({"b", "c"}));
}

TEST(SinkQueue, WhatIsFlushedForACheckpointFollowsByItself) {
  ManualAppender appender;
  SinkGroup group(1 << 20);
  SinkQueue queue(group, appender, 0);
  for (const char* record : {"a", "b", "c"}) {
    queue.add(record);
    queue.flush(true);
  }
  for (const char* record : {"a", "b", "c"}) {
    ASSERT_EQ(appender.waiting.size(), 1u);
    EXPECT_EQ(appender.complete(), as_batch({record}));
  }
  EXPECT_TRUE(group.wait_for_room(0));
}

TEST(SinkQueue, AfterAFailureNothingFollows) {
  ManualAppender appender;
  SinkGroup group(1 << 20);
  SinkQueue queue(group, appender, 0);
  SinkQueue other(group, appender, 1);
  queue.add("a");
  queue.flush(true);
  queue.add("b");
  queue.flush(true);
  appender.complete(fail(ErrorKind::ResourceExhausted, "the disk is full"));
  EXPECT_EQ(appender.waiting.size(), 0u);
  other.add("c");
  other.flush(true);
  EXPECT_EQ(appender.waiting.size(), 0u);
  const auto room = group.wait_for_room(0);
  ASSERT_FALSE(room);
  EXPECT_EQ(room.error().what, "the disk is full");
  group.settle();
}

TEST(SinkQueue, AppendersAreGivenNoMoreThanTheBound) {
  ManualAppender appender;
  SinkGroup group(100);
  SinkQueue first(group, appender, 0);
  SinkQueue second(group, appender, 1);
  SinkQueue third(group, appender, 2);
  first.add(std::string(500, 'x'));  // alone it may pass
  first.flush(false);
  second.add(std::string(50, 'y'));
  second.flush(false);
  third.add(std::string(60, 'z'));
  third.flush(false);
  EXPECT_EQ(appender.waiting.size(), 1u);
  appender.complete();
  ASSERT_EQ(appender.waiting.size(), 1u);
  EXPECT_EQ(appender.waiting[0].partition, 1u);
  appender.complete();
  ASSERT_EQ(appender.waiting.size(), 1u);
  EXPECT_EQ(appender.waiting[0].partition, 2u);
  appender.complete();
  EXPECT_TRUE(group.wait_for_room(0));
}

TEST(SinkGroup, RoomIsWaitedFor) {
  ManualAppender appender;
  SinkGroup group(1 << 20);
  SinkQueue queue(group, appender, 0);
  queue.add("a");
  queue.flush(true);
  EXPECT_TRUE(group.wait_for_room(100));
  std::thread committer([&] { appender.complete(); });
  EXPECT_TRUE(group.wait_for_room(0));
  committer.join();
  group.settle();
}

TEST(SinkQueue, ALargeBatchIsSentWithoutAFlush) {
  ManualAppender appender;
  SinkGroup group(64 << 20);
  SinkQueue queue(group, appender, 0);
  const std::string record(300'000, 'x');
  for (int i = 0; i < 4; ++i) queue.add(record);
  EXPECT_EQ(appender.waiting.size(), 1u);
  EXPECT_FALSE(queue.has_open());
  appender.complete();
}

}  // namespace
}  // namespace flagstream::pipeline
