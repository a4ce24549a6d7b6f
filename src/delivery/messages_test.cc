#include "delivery/messages.h"

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "http/inflate.h"

namespace flagstream::delivery {
namespace {

using environment::FlagChange;
using environment::FlagSet;

std::shared_ptr<const FlagSet> flags_with(const std::string& json) {
  auto flags = std::make_shared<FlagSet>();
  flags->all_json = std::make_shared<const std::string>(json);
  return flags;
}

FlagChange change_of(FlagChange::Kind kind, std::string key, const char* json) {
  FlagChange change;
  change.kind = kind;
  change.key = std::move(key);
  change.item.version = 7;
  if (json != nullptr) change.item.json = std::make_shared<const std::string>(json);
  return change;
}

TEST(Messages, AreWhatServerSideSdksRead) {
  EXPECT_EQ(put_message(*flags_with(R"({"flags":{},"segments":{}})")),
            "event: put\ndata: {\"path\":\"/\",\"data\":{\"flags\":{},\"segments\":{}}}\n\n");
  EXPECT_EQ(change_message(change_of(FlagChange::Kind::Flag, "a", R"({"version":7})")),
            "event: patch\ndata: {\"path\":\"/flags/a\",\"data\":{\"version\":7}}\n\n");
  EXPECT_EQ(change_message(change_of(FlagChange::Kind::Segment, "s", "{}")),
            "event: patch\ndata: {\"path\":\"/segments/s\",\"data\":{}}\n\n");
  EXPECT_EQ(change_message(change_of(FlagChange::Kind::Flag, "a", nullptr)),
            "event: delete\ndata: {\"path\":\"/flags/a\",\"version\":7}\n\n");
}

TEST(Messages, AKeyCannotLeaveItsString) {
  EXPECT_EQ(change_message(change_of(FlagChange::Kind::Flag, "a\",\"b\n", nullptr)),
            "event: delete\ndata: {\"path\":\"/flags/a\\\",\\\"b\\n\",\"version\":7}\n\n");
}

TEST(Messages, TheCompressedPollIsTheWholeSet) {
  Messages messages;
  const auto flags = flags_with(R"({"flags":{"a":{}},"segments":{}})");
  std::string inflated;
  ASSERT_TRUE(http::inflate_gzip(*messages.gzip(flags), {}, inflated));
  EXPECT_EQ(inflated, *flags->all_json);
  EXPECT_EQ(messages.gzip(flags), messages.gzip(flags)) << "made once";
}

TEST(MadeOnce, IsMadeOnceByWhoeverComesFirst) {
  MadeOnce<FlagSet, std::string> made(10);
  const auto flags = flags_with("{}");
  std::atomic<int> calls{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      made.get(flags, [&](const FlagSet&) {
        ++calls;
        return std::make_shared<const std::string>("x");
      });
    });
  }
  for (std::thread& each : threads) each.join();
  EXPECT_EQ(calls.load(), 1);
}

TEST(MadeOnce, MakingHoldsUpNobodyElse) {
  MadeOnce<FlagSet, std::string> made(10);
  const auto slow = flags_with("slow");
  const auto quick = flags_with("quick");
  const auto json = [](const FlagSet& each) { return each.all_json; };
  const Bytes bytes = made.get(slow, [&](const FlagSet& each) {
    EXPECT_EQ(*made.get(quick, json), "quick");  // would deadlock under one lock
    return each.all_json;
  });
  EXPECT_EQ(*bytes, "slow");
}

TEST(MadeOnce, WhatWasMadeGoesWithItsSource) {
  MadeOnce<FlagSet, std::string> made(3);
  const auto json = [](const FlagSet& each) { return each.all_json; };
  std::weak_ptr<const std::string> first;
  {
    const auto gone = flags_with("gone");
    first = made.get(gone, json);
    EXPECT_FALSE(first.expired());
  }
  const auto kept = flags_with("kept");
  (void)made.get(kept, json);
  EXPECT_TRUE(first.expired());
  EXPECT_EQ(made.size(), 1u);
  std::vector<std::shared_ptr<const FlagSet>> many;
  for (int i = 0; i < 10; ++i) {
    many.push_back(flags_with(std::to_string(i)));
    EXPECT_EQ(*made.get(many.back(), json), std::to_string(i));
    EXPECT_LE(made.size(), 3u);
  }
}

}  // namespace
}  // namespace flagstream::delivery
