#include "environment/view.h"

#include <gtest/gtest.h>

#include "environment/test_records.h"

namespace flagstream::environment {
namespace {

using namespace testing_records;

constexpr EnvironmentId kId{7};

// What the follower does, without its thread.
class ViewTest : public testing::Test {
 protected:
  void take(const std::string& record) {
    auto folded = fold_.take(record);
    ASSERT_TRUE(folded);
    add_pending(pending_, *std::move(folded), fold_);
  }
  void show() {
    view_ = next_view(*view_, fold_, pending_);
    apply(rings_, ring_updates(*view_, pending_));
    pending_.clear();
  }
  std::size_t count_since(std::uint64_t revision) {
    const auto changes = rings_[kId].since(revision);
    return changes ? changes->size() : 999;
  }

  ConfigFold fold_;
  Pending pending_;
  Rings rings_;
  std::shared_ptr<const View> view_ = std::make_shared<View>();
};

TEST_F(ViewTest, WhatDidNotChangeIsShared) {
  take(change(environment_item(1)));
  take(change(flag(2, "a", 1)));
  take(change(flag(3, "b", 1)));
  show();
  const auto before = view_->flag_sets.at(kId);
  const auto lookups = view_->lookups;
  take(change(flag(4, "b", 2)));
  show();
  const auto after = view_->flag_sets.at(kId);
  EXPECT_EQ(after->flags.at("a").json, before->flags.at("a").json);
  EXPECT_NE(after->flags.at("b").json, before->flags.at("b").json);
  EXPECT_EQ(view_->lookups, lookups) << "no credential has changed";
  EXPECT_EQ((*rings_[kId].since(3))[0]->item.json, after->flags.at("b").json);
}

TEST_F(ViewTest, AFlagSetKnowsWhatSecureModeNeeds) {
  take(change(environment_item(1)));
  show();
  EXPECT_FALSE(view_->flag_sets.at(kId)->secure_mode);
  ASSERT_EQ(view_->flag_sets.at(kId)->hash_keys.size(), 1u);
  EXPECT_EQ(view_->flag_sets.at(kId)->hash_keys[0].hmac_state, "") << "an older record";
  proto::Item item = environment_item(2);
  auto document = *decode_environment(item.document());
  document.set_secure_mode(true);
  *document.add_credentials() = credential_of(proto::Credential::MOBILE_KEY, "mob-1");
  auto& next = *document.add_credentials();
  next = credential_of(proto::Credential::SDK_KEY, "sdk-8");
  next.set_expires_us(5);
  item.set_version(2);
  item.set_document(*encode_environment(document));
  take(change(item));
  show();
  EXPECT_TRUE(view_->flag_sets.at(kId)->secure_mode);
  ASSERT_EQ(view_->flag_sets.at(kId)->hash_keys.size(), 2u) << "one for each SDK key";
  EXPECT_EQ(view_->flag_sets.at(kId)->hash_keys[1].hmac_state, hmac_sha256_state("sdk-8"));
  EXPECT_EQ(view_->flag_sets.at(kId)->hash_keys[1].expires, 5);
}

TEST_F(ViewTest, ExpiriesAreFoundAfterOneMomentAndUpToAnother) {
  Lookups lookups;
  lookups.expiries = {{10, EnvironmentId{1}}, {20, EnvironmentId{2}}, {20, EnvironmentId{1}}};
  using Set = std::set<EnvironmentId>;
  EXPECT_EQ(expired_between(lookups, 0, 9), Set{});
  EXPECT_EQ(expired_between(lookups, 9, 10), Set{EnvironmentId{1}});
  EXPECT_EQ(expired_between(lookups, 10, 19), Set{});
  EXPECT_EQ(expired_between(lookups, 10, 20), (Set{EnvironmentId{1}, EnvironmentId{2}}));
  EXPECT_EQ(expired_between(lookups, 20, 15), Set{}) << "the clock was put back";
}

TEST_F(ViewTest, TheFingerprintFollowsTheContents) {
  take(change(environment_item(1)));
  take(change(flag(2, "a", 1)));
  show();
  const std::string first = view_->flag_sets.at(kId)->fingerprint;
  take(change(environment_item(3)));
  show();
  EXPECT_EQ(view_->flag_sets.at(kId)->revision, 3u);
  EXPECT_EQ(view_->flag_sets.at(kId)->fingerprint, first);
  take(change(flag(4, "a", 2)));
  show();
  EXPECT_NE(view_->flag_sets.at(kId)->fingerprint, first);
}

TEST_F(ViewTest, AfterACopyOnlyLaterChangesAreKnown) {
  take(change(environment_item(1)));
  take(change(flag(2, "a", 1)));
  show();
  EXPECT_EQ(count_since(0), 1u);
  for (const auto& record : copy(5, 9, {environment_item(1), flag(1, "z", 1)}, true)) take(record);
  take(change(flag(10, "y", 1)));
  show();
  EXPECT_EQ(rings_[kId].since(8), std::nullopt);
  EXPECT_EQ(count_since(9), 1u);
}

TEST_F(ViewTest, AnEnvironmentThatIsGoneLeavesNothingBehind) {
  take(change(environment_item(1)));
  take(change(flag(2, "a", 1)));
  show();
  take(change(deleted(environment_item(3))));
  show();
  EXPECT_TRUE(view_->flag_sets.empty());
  EXPECT_TRUE(view_->lookups->keys.empty());
  EXPECT_TRUE(rings_.empty());
  proto::Item again = environment_item(4);
  again.set_version(3);
  take(change(again));
  take(change(flag(5, "b", 1)));
  show();
  EXPECT_EQ(rings_[kId].since(2), std::nullopt) << "what was deleted in between is not in it";
  EXPECT_EQ(count_since(4), 1u);
}

TEST_F(ViewTest, AnEnvironmentMadeAgainAtOnceBeginsAnew) {
  take(change(environment_item(1)));
  take(change(flag(2, "a", 1)));
  show();
  take(change(deleted(environment_item(3))));
  proto::Item again = environment_item(4);
  again.set_version(3);
  take(change(again));
  take(change(flag(5, "b", 1)));
  show();
  EXPECT_EQ(rings_[kId].since(2), std::nullopt) << "that \"a\" is gone is in no change";
  EXPECT_EQ(count_since(3), 1u);
}

TEST_F(ViewTest, AnEnvironmentOfWhichEverythingWaitsIsNotShown) {
  take(change(flag(2, "a", 1)));
  pending_[7].is_replaced = true;
  show();
  EXPECT_TRUE(view_->flag_sets.empty());
}

TEST(ChangeRing, IsBoundedInNumberAndBytes) {
  const auto change_at = [](std::uint64_t revision, std::size_t bytes) {
    auto made = std::make_shared<FlagChange>();
    made->revision = revision;
    made->item.json = std::make_shared<const std::string>(bytes, 'x');
    return made;
  };
  ChangeRing ring;
  for (std::uint64_t i = 1; i <= ChangeRing::kChangesMax + 1; ++i) ring.add(change_at(i, 1));
  EXPECT_EQ(ring.since(0), std::nullopt);
  EXPECT_EQ(ring.since(1)->size(), ChangeRing::kChangesMax);
  ring.add(change_at(2'000, ChangeRing::kBytesMax - 100));
  EXPECT_EQ(ring.since(1'024), std::nullopt);
  EXPECT_EQ(ring.since(1'999)->size(), 1u);
  ring.add(change_at(2'001, ChangeRing::kBytesMax));
  EXPECT_EQ(ring.since(2'000), std::nullopt) << "one that is too large by itself";
  EXPECT_EQ(ring.since(2'001)->size(), 0u);
}

}  // namespace
}  // namespace flagstream::environment
