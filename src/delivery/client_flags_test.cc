#include "delivery/client_flags.h"

#include <map>
#include <string>

#include <gtest/gtest.h>

#include "json/json.h"

namespace flagstream::delivery {
namespace {

using environment::CredentialKind;
using environment::FlagSet;

constexpr char kAlice[] = R"({"kind":"user","key":"alice"})";

// Members of a flag that serves "a" to everybody and that everybody may see.
std::string flag_text(std::string_view more = "") {
  return std::string(
             R"("version":5,"on":true,"variations":["a","b"],"salt":"s","fallthrough":{"variation":0},)"
             R"("offVariation":1)") +
         std::string(more);
}
constexpr char kForAll[] =
    R"(,"clientSideAvailability":{"usingMobileKey":true,"usingEnvironmentId":true})";

std::shared_ptr<const FlagSet> set_of(std::uint64_t revision,
                                      const std::map<std::string, std::string>& flags,
                                      const std::string& segments = "{}") {
  auto set = std::make_shared<FlagSet>();
  set->generation = 1;
  set->revision = revision;
  std::string all = R"({"flags":{)";
  for (const auto& [key, members] : flags) {
    auto text = std::make_shared<const std::string>(R"({"key":")" + key + "\"," + members + "}");
    if (!set->flags.empty()) all += ',';
    all += json::quoted(key) + ":" + *text;
    set->flags[key] = {.version = 5, .json = std::move(text)};
  }
  set->all_json = std::make_shared<const std::string>(all + R"(},"segments":)" + segments + "}");
  return set;
}

class ClientFlagsTest : public testing::Test {
 protected:
  std::string evaluated(const std::shared_ptr<const FlagSet>& set,
                        CredentialKind kind = CredentialKind::ClientSideId,
                        Reasons reasons = Reasons::WhereTracked,
                        std::string_view context = kAlice) {
    std::string out;
    cache_.get(set, kind)->append_all(out, *flags::Context::parse(context), reasons);
    return out;
  }
  std::string changes(const std::shared_ptr<const FlagSet>& set, ClientFlags::Sent& sent,
                      std::string_view context = kAlice) {
    return cache_.get(set, CredentialKind::ClientSideId)
        ->changes_since(sent, *flags::Context::parse(context), Reasons::WhereTracked)
        .messages;
  }
  ClientFlags::Sent sent_of(const std::shared_ptr<const FlagSet>& set,
                            std::string_view context = kAlice) {
    ClientFlags::Sent sent;
    cache_.get(set, CredentialKind::ClientSideId)
        ->put_message(*flags::Context::parse(context), Reasons::WhereTracked, sent);
    return sent;
  }

  Evaluators evaluators_;
  ClientFlagsCache cache_{evaluators_};
};

TEST_F(ClientFlagsTest, EachCallerSeesOnlyWhatIsForHim) {
  const std::string mobile =
      R"(,"clientSideAvailability":{"usingMobileKey":true,"usingEnvironmentId":false})";
  const std::string browser =
      R"(,"clientSideAvailability":{"usingMobileKey":false,"usingEnvironmentId":true})";
  const auto set = set_of(812, {{"browser", flag_text(browser)},
                                {"mobile", flag_text(mobile)},
                                {"none", flag_text(R"(,"clientSideAvailability":{})")},
                                {"old", flag_text(R"(,"clientSide":true)")},
                                {"older", flag_text()}});
  const auto answer = [](std::string_view key) {
    return json::quoted(key) + R"(:{"version":812,"flagVersion":5,"value":"a","variation":0})";
  };
  EXPECT_EQ(evaluated(set, CredentialKind::ClientSideId),
            "{" + answer("browser") + "," + answer("old") + "}");
  EXPECT_EQ(evaluated(set, CredentialKind::MobileKey),
            "{" + answer("mobile") + "," + answer("old") + "," + answer("older") + "}");
  EXPECT_EQ(evaluated(set, CredentialKind::SdkKey),
            "{" + answer("browser") + "," + answer("mobile") + "," + answer("none") + "," +
                answer("old") + "," + answer("older") + "}");
  EXPECT_EQ(evaluated(set_of(3, {})), "{}");
}

TEST_F(ClientFlagsTest, MembersAreThereWhenTheyMeanSomething) {
  const std::string rollout =
      R"(,"fallthrough":{"rollout":{"kind":"experiment","seed":1,"variations":[{"variation":0,"weight":100000}]}})";
  const auto set = set_of(
      9,
      {{"debugged", flag_text(std::string(R"(,"debugEventsUntilDate":1795410000000)") + kForAll)},
       {"experiment", flag_text(rollout + kForAll)},
       {"malformed", R"("version":6,"on":7)" + std::string(kForAll)},
       {"off", R"("version":5,"on":false,"variations":[1])" + std::string(kForAll)},
       {"tracked", flag_text(std::string(R"(,"trackEvents":true)") + kForAll)},
       {"undebugged", flag_text(std::string(R"(,"debugEventsUntilDate":0)") + kForAll)}});
  EXPECT_EQ(
      evaluated(set),
      R"({"debugged":{"version":9,"flagVersion":5,"value":"a","variation":0,"debugEventsUntilDate":1795410000000},)"
      R"("experiment":{"version":9,"flagVersion":5,"value":"a","variation":0,"trackEvents":true,"trackReason":true,"reason":{"kind":"FALLTHROUGH","inExperiment":true}},)"
      R"("malformed":{"version":9,"flagVersion":6,"value":null},)"
      R"("off":{"version":9,"flagVersion":5,"value":null},)"
      R"("tracked":{"version":9,"flagVersion":5,"value":"a","variation":0,"trackEvents":true},)"
      R"("undebugged":{"version":9,"flagVersion":5,"value":"a","variation":0}})");
  const std::string all = evaluated(set, CredentialKind::ClientSideId, Reasons::All);
  EXPECT_NE(all.find(R"("off":{"version":9,"flagVersion":5,"value":null,"reason":{"kind":"OFF"}})"),
            std::string::npos)
      << all;
  EXPECT_NE(all.find(R"("value":null,"reason":{"kind":"ERROR","errorKind":"MALFORMED_FLAG"}})"),
            std::string::npos)
      << all;
}

TEST_F(ClientFlagsTest, PrerequisitesCountEvenIfTheyAreHidden) {
  const std::string needs_two =
      R"(,"prerequisites":[{"key":"parent","variation":0},{"key":"failing","variation":1},{"key":"after","variation":0}])";
  const auto set = set_of(
      9, {{"after", flag_text()},
          {"child", flag_text(needs_two + kForAll)},
          {"failing", flag_text()},
          {"grandparent", flag_text()},
          {"lost", flag_text(std::string(R"(,"prerequisites":[{"key":"nowhere","variation":0}])") +
                             kForAll)},
          {"parent", flag_text(R"(,"prerequisites":[{"key":"grandparent","variation":0}])")}});
  EXPECT_EQ(
      evaluated(set),
      R"({"child":{"version":9,"flagVersion":5,"value":"b","variation":1,"prerequisites":["parent","failing"]},)"
      R"("lost":{"version":9,"flagVersion":5,"value":"b","variation":1}})")
      << "direct ones, in order, up to the one that failed";
}

TEST_F(ClientFlagsTest, APutIsTheSameAsAMessage) {
  const auto set = set_of(9, {{"f", flag_text(kForAll)}});
  ClientFlags::Sent sent;
  EXPECT_EQ(cache_.get(set, CredentialKind::ClientSideId)
                ->put_message(*flags::Context::parse(kAlice), Reasons::WhereTracked, sent),
            "event: put\ndata: " + evaluated(set) + "\n\n");
  EXPECT_EQ(sent.generation, 1u);
  EXPECT_EQ(sent.revision, 9u);
  EXPECT_EQ(changes(set_of(10, {{"f", flag_text(kForAll)}}), sent), "") << "nothing differs";
  EXPECT_EQ(sent.revision, 10u);
}

TEST_F(ClientFlagsTest, OnlyWhatDiffersForTheContextIsSent) {
  const std::string rule =
      R"(,"rules":[{"id":"r","variation":1,"clauses":[{"contextKind":"user","attribute":"key","op":"segmentMatch","values":["s"]}]}])";
  const std::map<std::string, std::string> flags = {{"other", flag_text(kForAll)},
                                                    {"ruled", flag_text(rule + kForAll)}};
  const auto segment = [](const char* included) {
    return std::string(R"({"s":{"key":"s","version":1,"included":[)") + included + "]}}";
  };
  const auto before = set_of(9, flags, segment(""));
  const auto after = set_of(10, flags, segment(R"("alice")"));
  auto of_alice = sent_of(before);
  EXPECT_EQ(changes(after, of_alice),
            "event: patch\ndata: "
            R"({"key":"ruled","version":10,"flagVersion":5,"value":"b","variation":1})"
            "\n\n")
      << "the flag is the same, its segment is not";
  auto of_bob = sent_of(before, R"({"kind":"user","key":"bob"})");
  EXPECT_EQ(changes(after, of_bob, R"({"kind":"user","key":"bob"})"), "");
}

TEST_F(ClientFlagsTest, AFlagThatIsGoneOrHiddenIsDeletedAndComesBack) {
  const auto all = set_of(9, {{"a", flag_text(kForAll)},
                              {"b", flag_text(kForAll)},
                              {"c", flag_text(kForAll)},
                              {"d", flag_text(kForAll)}});
  auto sent = sent_of(all);
  EXPECT_EQ(changes(set_of(10, {{"b", flag_text(kForAll)}, {"c", flag_text()}}), sent),
            "event: delete\ndata: {\"key\":\"a\",\"version\":10}\n\n"
            "event: delete\ndata: {\"key\":\"c\",\"version\":10}\n\n"
            "event: delete\ndata: {\"key\":\"d\",\"version\":10}\n\n");
  EXPECT_EQ(changes(set_of(11, {{"b", flag_text(kForAll)}, {"d", flag_text(kForAll)}}), sent),
            "event: patch\ndata: "
            R"({"key":"d","version":11,"flagVersion":5,"value":"a","variation":0})"
            "\n\n");
  EXPECT_EQ(changes(set_of(12, {}), sent),
            "event: delete\ndata: {\"key\":\"b\",\"version\":12}\n\n"
            "event: delete\ndata: {\"key\":\"d\",\"version\":12}\n\n");
}

TEST_F(ClientFlagsTest, ANewVersionOfAFlagIsSentEvenIfItsValueStays) {
  auto sent = sent_of(set_of(9, {{"f", flag_text(kForAll)}}));
  std::string next = flag_text(kForAll);
  next.replace(next.find(":5"), 2, ":6");
  EXPECT_EQ(changes(set_of(10, {{"f", next}}), sent),
            "event: patch\ndata: "
            R"({"key":"f","version":10,"flagVersion":6,"value":"a","variation":0})"
            "\n\n")
      << "events carry it";
}

TEST_F(ClientFlagsTest, WhatCannotBeReadAtAllIsNotAnswered) {
  auto set = std::make_shared<FlagSet>();
  set->all_json = std::make_shared<const std::string>("[]");
  EXPECT_EQ(cache_.get(set, CredentialKind::ClientSideId), nullptr);
}

}  // namespace
}  // namespace flagstream::delivery
