// One partition of the stage, run as the pipeline runs it but step by step: a log of records in
// memory, a real store, and crashes that come back at the last checkpoint.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "analytics/stage.h"
#include "analytics/test_results.h"
#include "events/event.h"
#include "pipeline/store.h"

namespace flagstream::analytics {

class KeptOutputs final : public pipeline::Outputs {
 public:
  void add(std::size_t sink, std::string_view record) override {
    EXPECT_EQ(sink, 0u);
    records.emplace_back(record);
  }
  std::vector<std::string> records;
};

class TestPartition {
 public:
  TestPartition(AnalyticsStage& stage, std::string folder, log::Partition partition = 0)
      : stage_(stage), folder_(std::move(folder)), partition_(partition) {
    open();
  }

  // Appends and folds.
  void take(const events::proto::Event& event) {
    std::string record;
    events::encode_event(event, record);
    take_record(record);
  }
  void take_record(const std::string& record) {
    records_.push_back(record);
    fold_rest();
  }
  void fold_rest() {
    while (next_ < records_.size()) fold_next();
  }
  void fold_next() {
    const auto done = fold_->fold(place(), records_[next_], outputs);
    ASSERT_TRUE(done) << done.error().what;
    ++next_;
  }
  // Appends, and passes over instead of folding.
  void pass_over(const std::string& record) {
    records_.push_back(record);
    ASSERT_TRUE(fold_->pass_over(place(), record, outputs));
    ++next_;
  }
  // Appends what is deleted before it is folded.
  void lose(std::size_t records) {
    records_.resize(records_.size() + records);
    fold_->lost(next_, records_.size());
    next_ = records_.size();
  }
  bool has_rest() const { return next_ < records_.size(); }

  void publish() {
    const auto done = fold_->publish();
    ASSERT_TRUE(done) << done.error().what;
  }
  void checkpoint() {
    publish();
    pipeline::Changes changes;
    fold_->checkpoint(changes);
    ASSERT_TRUE(store_->write(changes));
    fold_->checkpointed();
    checkpointed_ = next_;
  }
  // As if killed now: only the store is what it was.  The records since the checkpoint are folded
  // when the caller wants it.
  void crash() {
    fold_.reset();
    open_fold();
  }
  void close() {
    fold_.reset();
    store_.reset();
  }
  // As a stage before this one that crashed: what it wrote since `from` comes again.
  void repeat_from(std::size_t from) {
    const std::vector<std::string> again(records_.begin() + static_cast<std::ptrdiff_t>(from),
                                         records_.end());
    records_.insert(records_.end(), again.begin(), again.end());
  }
  std::size_t size() const { return records_.size(); }
  std::size_t dirty_bytes() const { return fold_->dirty_bytes(); }
  const pipeline::Store& store() const { return *store_; }

  KeptOutputs outputs;

 private:
  void open() {
    auto store = pipeline::Store::open(folder_);
    ASSERT_TRUE(store) << store.error().what;
    store_ = *std::move(store);
    open_fold();
  }
  void open_fold() {
    auto fold =
        stage_.open_fold({.partition = partition_, .input_log_id = kEventsLog, .store = *store_});
    ASSERT_TRUE(fold) << fold.error().what;
    fold_ = *std::move(fold);
    next_ = checkpointed_;
  }
  pipeline::RecordPlace place() const {
    return {.log_id = kEventsLog, .partition = partition_, .offset = next_, .append_time = kTen};
  }

  AnalyticsStage& stage_;
  const std::string folder_;
  const log::Partition partition_;
  std::unique_ptr<pipeline::Store> store_;
  std::unique_ptr<pipeline::Fold> fold_;
  std::vector<std::string> records_;
  std::size_t next_ = 0;
  std::size_t checkpointed_ = 0;
};

}  // namespace flagstream::analytics
