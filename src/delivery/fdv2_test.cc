#include "delivery/fdv2.h"

#include <map>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "environment/fold.h"
#include "environment/test_records.h"
#include "environment/view.h"
#include "http/inflate.h"
#include "json/json.h"

namespace flagstream::delivery::fdv2 {
namespace {

using namespace environment::testing_records;
namespace proto = environment::proto;
using environment::ConfigFold;
using environment::FlagSet;
using environment::ItemName;

constexpr EnvironmentId kId{7};

// What a gateway makes of records, without its threads.
class Gateway {
 public:
  void take(const std::string& record) {
    auto folded = fold_.take(record);
    ASSERT_TRUE(folded);
    environment::add_pending(pending_, *std::move(folded), fold_);
    view_ = environment::next_view(*view_, fold_, pending_);
    pending_.clear();
  }
  // Another process with the saved state.
  void restart() {
    const auto saved = *fold_.as_copy();
    fold_ = ConfigFold();
    view_ = std::make_shared<environment::View>();
    for (const std::string& record : saved) take(record);
  }
  Flags flags() const { return view_->flag_sets.at(kId); }
  const FlagSet& set() const { return *view_->flag_sets.at(kId); }

 private:
  ConfigFold fold_;
  environment::Pending pending_;
  std::shared_ptr<const environment::View> view_ = std::make_shared<environment::View>();
};

Gateway with(const std::vector<std::string>& records) {
  Gateway gateway;
  for (const std::string& record : records) gateway.take(record);
  return gateway;
}

TEST(Selector, ReadsWhatItWrites) {
  const Basis basis{.environment = kId, .revision = 42, .digest = 0xab};
  EXPECT_EQ(selector_of(basis), "1.7.42.00000000000000ab");
  EXPECT_EQ(read_selector(selector_of(basis)), basis);
  EXPECT_EQ(read_selector(" 1.7.42.00000000000000AB\n"), basis) << "leniently";
}

TEST(Selector, WhatIsNotOursIsNone) {
  for (const std::string& text : std::initializer_list<std::string>{
           "", " ", "(p:p1:7)", "1", "1.7.42", "1.7.42.00000000000000ab.1",
           "2.7.42.00000000000000ab", "1.7.42.ab", "1.-7.42.00000000000000ab",
           "1.7..00000000000000ab", "1.7.18446744073709551616.00000000000000ab",
           "1.7.42.00000000000000ag", std::string(100'000, '1'), std::string("\0", 1)})
    EXPECT_EQ(read_selector(text), std::nullopt) << text.substr(0, 100);
}

TEST(Plan, ACurrentClientGetsNothingAnOlderOneTheChangesAnUnknownOneEverything) {
  Gateway gateway = with({change(environment_item(1)), change(flag(2, "a", 1))});
  const Basis at2 = basis_of(gateway.set());
  gateway.take(change(flag(3, "b", 1)));
  const Basis at3 = basis_of(gateway.set());
  EXPECT_EQ(plan(gateway.set(), at3, true).intent, Intent::None);
  EXPECT_EQ(plan(gateway.set(), at2, true), (Transfer{.intent = Intent::Changes, .from = 2}));
  EXPECT_EQ(plan(gateway.set(), std::nullopt, true).intent, Intent::Full);
  Basis other = at2;
  other.digest += 1;
  EXPECT_EQ(plan(gateway.set(), other, true).intent, Intent::Full) << "of another log";
  other = at2;
  other.environment = EnvironmentId{8};
  EXPECT_EQ(plan(gateway.set(), other, true).intent, Intent::Full);
}

TEST(Plan, AChangeThatSdksDoNotSeeIsNone) {
  Gateway gateway = with({change(environment_item(1)), change(flag(2, "a", 1))});
  const Basis before = basis_of(gateway.set());
  proto::Item item = environment_item(3);
  item.set_version(2);
  gateway.take(change(item));
  EXPECT_EQ(gateway.set().revision, 3u);
  EXPECT_EQ(plan(gateway.set(), before, true).intent, Intent::None);
}

TEST(Plan, AClientThatIsAheadIsLeftAloneUntilThatIsKnownToBeWrong) {
  Gateway gateway = with({change(environment_item(1)), change(flag(2, "a", 1))});
  Gateway ahead = gateway;
  ahead.take(change(flag(3, "a", 2)));
  const Basis newer = basis_of(ahead.set());
  EXPECT_TRUE(is_ahead(gateway.set(), newer));
  EXPECT_EQ(plan(gateway.set(), newer, false).intent, Intent::None);
  EXPECT_EQ(plan(gateway.set(), newer, true).intent, Intent::Full) << "of a log that was longer";
  gateway.take(change(flag(3, "a", 2)));
  EXPECT_EQ(plan(gateway.set(), newer, false).intent, Intent::None);
  gateway.take(change(flag(4, "a", 3)));
  EXPECT_EQ(plan(gateway.set(), newer, false), (Transfer{.intent = Intent::Changes, .from = 3}));
}

TEST(Plan, SelectorsOutliveTheGatewayAndAreTheSameInAnother) {
  Gateway gateway = with({change(environment_item(1)), change(flag(2, "a", 1))});
  const Basis at2 = basis_of(gateway.set());
  gateway.take(change(deleted(flag(3, "a", 2))));
  const std::string before = selector_of(basis_of(gateway.set()));
  gateway.restart();
  EXPECT_EQ(selector_of(basis_of(gateway.set())), before);
  EXPECT_EQ(plan(gateway.set(), at2, true).intent, Intent::Changes);
  Gateway other;
  for (const auto& record : copy(5, 3, {environment_item(1), deleted(flag(1, "a", 2))}, true))
    other.take(record);
  EXPECT_EQ(selector_of(basis_of(other.set())), before);
  EXPECT_EQ(plan(other.set(), at2, true).intent, Intent::Full) << "nothing before a copy is known";
  EXPECT_EQ(plan(other.set(), basis_of(gateway.set()), true).intent, Intent::None);
}

TEST(Plan, NothingIsKnownFromBeforeADeletionOfTheEnvironment) {
  Gateway gateway = with({change(environment_item(1)), change(flag(2, "a", 1))});
  const Basis before = basis_of(gateway.set());
  proto::Item item = environment_item(3);
  item.set_version(2);
  gateway.take(change(deleted(item)));
  item.set_version(3);
  item.set_revision(4);
  gateway.take(change(item));
  gateway.take(change(flag(5, "b", 1)));
  EXPECT_EQ(plan(gateway.set(), before, true).intent, Intent::Full) << "\"a\" left no tombstone";
}

TEST(Plan, WhatIsLongAgoIsFull) {
  Gateway gateway = with({change(environment_item(1)), change(flag(2, "a", 1))});
  const Basis old = basis_of(gateway.set());
  for (std::uint64_t revision = 3; revision < 300; ++revision)
    gateway.take(change(flag(revision, "a", static_cast<std::int64_t>(revision))));
  EXPECT_EQ(plan(gateway.set(), old, true).intent, Intent::Full);
}

TEST(Forms, AreWhatSdksRead) {
  proto::Item segment = flag(3, "s", 4);
  segment.set_kind(proto::Item::SEGMENT);
  Gateway gateway = with({change(environment_item(1)), change(flag(2, "a", 1)), change(segment)});
  const std::string state = selector_of(basis_of(gateway.set()));
  EXPECT_EQ(poll_document(gateway.set(), {.intent = Intent::Full}),
            R"({"events":[{"event":"server-intent","data":{"payloads":[{"id":"env-7","target":3,)"
            R"("intentCode":"xfer-full","reason":"payload-missing"}]}},)"
            R"({"event":"put-object","data":{"kind":"segment","key":"s","version":4,)"
            R"("object":{"key":"s","version":4}}},)"
            R"({"event":"put-object","data":{"kind":"flag","key":"a","version":1,)"
            R"("object":{"key":"a","version":1}}},)"
            R"({"event":"payload-transferred","data":{"state":")" +
                state + R"(","version":3}}]})");
  EXPECT_EQ(poll_document(gateway.set(), {.intent = Intent::None}),
            R"({"events":[{"event":"server-intent","data":{"payloads":[{"id":"env-7","target":3,)"
            R"("intentCode":"none","reason":"up-to-date"}]}}]})");
  gateway.take(change(deleted(flag(4, "a", 2))));
  EXPECT_EQ(stream_message(gateway.set(), {.intent = Intent::Changes, .from = 3}),
            "event: delete-object\ndata: {\"kind\":\"flag\",\"key\":\"a\",\"version\":2}\n\n"
            "event: payload-transferred\ndata: {\"state\":\"" +
                selector_of(basis_of(gateway.set())) + "\",\"version\":4}\n\n");
  EXPECT_EQ(intent_message(gateway.set(), Intent::Changes),
            "event: server-intent\ndata: {\"payloads\":[{\"id\":\"env-7\",\"target\":4,"
            "\"intentCode\":\"xfer-changes\",\"reason\":\"stale\"}]}\n\n");
  EXPECT_EQ(goodbye_message("x\""), "event: goodbye\ndata: {\"reason\":\"x\\\"\"}\n\n");
}

TEST(Transfers, AreMadeOnce) {
  Gateway gateway = with({change(environment_item(1)), change(flag(2, "a", 1))});
  gateway.take(change(flag(3, "b", 1)));
  Transfers transfers;
  const Transfer full{.intent = Intent::Full};
  EXPECT_EQ(transfers.stream(gateway.flags(), full), transfers.stream(gateway.flags(), full));
  EXPECT_EQ(*transfers.poll(gateway.flags(), full), poll_document(gateway.set(), full));
  std::string inflated;
  ASSERT_TRUE(http::inflate_gzip(*transfers.gzip_poll(gateway.flags(), full), {}, inflated));
  EXPECT_EQ(inflated, poll_document(gateway.set(), full));
  for (std::uint64_t from = 0; from < 100; ++from) {
    const Transfer changes{.intent = Intent::Changes, .from = from};
    const http::SharedChunk chunk = transfers.stream(gateway.flags(), changes);
    EXPECT_EQ(transfers.stream(gateway.flags(), changes), chunk);
    EXPECT_EQ(chunk->text(), stream_message(gateway.set(), changes));
  }
}

// An SDK's store and protocol state, as they are specified.
class Client {
 public:
  const std::string& selector() const { return selector_; }

  void take_poll(const std::string& document) {
    const auto parsed = json::parse(document);
    ASSERT_TRUE(parsed) << document;
    for (const json::Value& event : *json::array_member(parsed->as_object(), "events")) {
      const json::Object& object = event.as_object();
      take(json::text_member(object, "event"), *json::object_member(object, "data"));
    }
  }
  void take_stream(std::string_view messages) {
    while (!messages.empty()) {
      const std::size_t end = messages.find("\n\n");
      ASSERT_NE(end, std::string_view::npos);
      const std::string_view message = messages.substr(0, end);
      messages.remove_prefix(end + 2);
      const std::size_t line = message.find("\ndata: ");
      ASSERT_NE(line, std::string_view::npos);
      const auto data = json::parse(message.substr(line + 7));
      ASSERT_TRUE(data);
      take(message.substr(7, line - 7), data->as_object());
    }
  }
  void expect_equals(const FlagSet& set, const std::string& what) const {
    std::size_t live = 0;
    for (const auto& [name, item] : store_) {
      if (item.object.empty()) continue;
      ++live;
      const auto& items = name.first == "flag" ? set.flags : set.segments;
      const auto found = items.find(name.second);
      ASSERT_TRUE(found != items.end() && found->second.json != nullptr) << what << name.second;
      ASSERT_EQ(item.object, json::serialize(*json::parse(*found->second.json))) << what;
    }
    std::size_t expected = 0;
    for (const auto* items : {&set.flags, &set.segments}) {
      for (const auto& each : *items) expected += each.second.json != nullptr;
    }
    ASSERT_EQ(live, expected) << what;
  }

 private:
  struct Item {
    std::int64_t version = 0;
    std::string object;  // empty: deleted
  };
  using Store = std::map<std::pair<std::string, std::string>, Item>;

  void take(std::string_view name, const json::Object& data) {
    if (name == "server-intent") {
      const auto& payload = json::array_member(data, "payloads")->at(0).as_object();
      is_full_ = json::text_member(payload, "intentCode") == "xfer-full";
      has_intent_ = true;
      pending_.clear();
      return;
    }
    ASSERT_TRUE(has_intent_);
    if (name == "payload-transferred") {
      selector_ = json::text_member(data, "state");
      if (is_full_) store_ = std::move(pending_);
      for (auto& [key, item] : is_full_ ? Store() : std::exchange(pending_, {})) {
        Item& known = store_[key];
        if (item.version > known.version) known = std::move(item);
      }
      pending_.clear();
      is_full_ = false;
      return;
    }
    const json::Object* object = json::object_member(data, "object");
    ASSERT_EQ(name, object == nullptr ? "delete-object" : "put-object");
    pending_[{std::string(json::text_member(data, "kind")),
              std::string(json::text_member(data, "key"))}] = {
        .version = data.at("version").as_int64(),
        .object = object == nullptr ? "" : json::serialize(*object)};
  }

  std::string selector_;
  bool is_full_ = false;
  bool has_intent_ = false;
  Store store_;
  Store pending_;
};

// The editing side: what each change and a copy of everything look like.
class Editor {
 public:
  explicit Editor(std::uint32_t seed) : random_(seed) {}

  std::size_t below(std::size_t count) { return random_() % count; }
  std::string next_change() {
    revision_ += 1;
    if (revision_ == 1 || below(10) == 0) {
      proto::Item item = environment_item(revision_);
      item.set_version(static_cast<std::int64_t>(revision_));
      return keep(item);
    }
    const bool is_segment = below(4) == 0;
    proto::Item item = flag(revision_, "k" + std::to_string(below(8)), 0);
    if (is_segment) item.set_kind(proto::Item::SEGMENT);
    const auto version = 1 + items_[{item.kind(), item.key()}].version();
    item.set_version(version);
    item.set_document(R"({"key":")" + item.key() + R"(","version":)" + std::to_string(version) +
                      R"(,"r":)" + std::to_string(revision_) + "}");
    return keep(below(4) == 0 ? deleted(item) : item);
  }
  std::vector<std::string> whole() {
    std::vector<proto::Item> all;
    for (const auto& each : items_) all.push_back(each.second);
    return copy(1 + random_() % 1'000'000, revision_, all, true);
  }

 private:
  std::string keep(const proto::Item& item) {
    items_[{item.kind(), item.key()}] = item;
    return change(item);
  }

  std::mt19937 random_;
  std::uint64_t revision_ = 0;
  std::map<ItemName, proto::Item> items_;
};

void bring_up_to_date(Client& client, const Gateway& gateway, bool by_poll) {
  const Transfer transfer = plan(gateway.set(), read_selector(client.selector()), true);
  if (by_poll) return client.take_poll(poll_document(gateway.set(), transfer));
  if (transfer.intent != Intent::Full)
    client.take_stream(intent_message(gateway.set(), transfer.intent));
  if (transfer.intent != Intent::None) client.take_stream(stream_message(gateway.set(), transfer));
}

// Two gateways that restart and miss records, clients that wander between them and come back with
// whatever they had once.
TEST(Property, AClientAlwaysEndsWithTheFlagSet) {
  std::size_t deltas = 0;
  for (std::uint32_t seed = 1; seed <= 150; ++seed) {
    Editor editor(seed);
    std::vector<Gateway> gateways(2);
    std::vector<Client> clients(1);
    for (int step = 0; step < 80; ++step) {
      const std::string record = editor.next_change();
      gateways[0].take(record);
      const bool is_missed = step > 0 && editor.below(20) == 0;
      if (!is_missed) gateways[1].take(record);
      if (is_missed) {
        for (const std::string& each : editor.whole()) {
          gateways[1].take(each);
          gateways[0].take(each);
        }
      }
      if (editor.below(15) == 0) gateways[editor.below(2)].restart();
      ASSERT_EQ(basis_of(gateways[0].set()), basis_of(gateways[1].set())) << seed << ' ' << step;
      const Gateway& gateway = gateways[editor.below(2)];
      Client client = clients[editor.below(clients.size())];
      deltas +=
          plan(gateway.set(), read_selector(client.selector()), true).intent == Intent::Changes;
      bring_up_to_date(client, gateway, editor.below(2) == 0);
      client.expect_equals(gateway.set(),
                           "seed " + std::to_string(seed) + " step " + std::to_string(step) + " ");
      if (testing::Test::HasFatalFailure()) return;
      clients.push_back(std::move(client));
    }
  }
  EXPECT_GT(deltas, 1'000u) << "or it tests nothing";
}

}  // namespace
}  // namespace flagstream::delivery::fdv2
