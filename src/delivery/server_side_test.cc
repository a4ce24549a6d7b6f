#include "delivery/server_side.h"

#include <algorithm>
#include <filesystem>
#include <memory>
#include <string>

#include <gtest/gtest.h>

#include "delivery/hub.h"
#include "delivery/test_server_side.h"
#include "http/inflate.h"

namespace flagstream::delivery {
namespace {

namespace proto = environment::proto;

constexpr char kTwoFlags[] = R"({"flags":{"a":{"key":"a","version":1}},"segments":{}})";

TEST_F(ServerSideTest, APollGivesTheFlagSetAndThenNotModified) {
  append({change(environment_item(1)), change(flag(2, "a", 1))});
  start();
  const std::string first = get("/sdk/latest-all");
  EXPECT_TRUE(first.starts_with("HTTP/1.1 200 ")) << first;
  EXPECT_EQ(body_of(first), kTwoFlags);
  EXPECT_EQ(field_of(first, "Content-Type"), "application/json");
  EXPECT_EQ(field_of(first, "X-LD-EnvID"), "client-7");
  EXPECT_EQ(field_of(first, "Vary"), "Authorization, Accept-Encoding");
  const std::string etag = field_of(first, "ETag");
  for (const std::string& tags : {etag, "W/" + etag, "\"x\", " + etag, std::string("*")}) {
    const std::string again =
        get("/sdk/latest-all", "Authorization: sdk-7\r\nIf-None-Match: " + tags + "\r\n");
    EXPECT_TRUE(again.starts_with("HTTP/1.1 304 ")) << tags << again;
    EXPECT_EQ(field_of(again, "ETag"), etag);
    EXPECT_EQ(body_of(again), "");
  }
  append({change(flag(3, "a", 2))});
  const std::string changed =
      get("/sdk/latest-all", "Authorization: sdk-7\r\nIf-None-Match: " + etag + "\r\n");
  EXPECT_TRUE(changed.starts_with("HTTP/1.1 200 ")) << changed;
  EXPECT_NE(field_of(changed, "ETag"), etag);
}

TEST_F(ServerSideTest, APollIsCompressedOnlyForWhoTakesGzip) {
  append({change(environment_item(1)), change(flag(2, "a", 1))});
  start();
  const std::string packed =
      get("/sdk/latest-all", "Authorization: sdk-7\r\nAccept-Encoding: br, gzip;q=0.5\r\n");
  EXPECT_EQ(field_of(packed, "Content-Encoding"), "gzip");
  std::string inflated;
  ASSERT_TRUE(http::inflate_gzip(body_of(packed), {}, inflated));
  EXPECT_EQ(inflated, kTwoFlags);
  const std::string plain =
      get("/sdk/latest-all", "Authorization: sdk-7\r\nAccept-Encoding: gzip;q=0\r\n");
  EXPECT_EQ(body_of(plain), kTwoFlags);
  EXPECT_NE(field_of(plain, "ETag"), field_of(packed, "ETag")) << "other bytes, another strong tag";
}

TEST_F(ServerSideTest, ThePhpSdkPollsItemByItem) {
  proto::Item segment = flag(4, "s", 1);
  segment.set_kind(proto::Item::SEGMENT);
  append({change(environment_item(1)), change(flag(2, "a", 1)), change(flag(3, "b", 1)),
          change(segment), change(deleted(flag(5, "b", 2)))});
  start();
  EXPECT_EQ(body_of(get("/sdk/flags")), R"({"a":{"key":"a","version":1}})");
  EXPECT_EQ(body_of(get("/sdk/segments/s")), R"({"key":"s","version":1})");
  const std::string item = get("/sdk/flags/a");
  EXPECT_EQ(body_of(item), R"({"key":"a","version":1})");
  const std::string again = get(
      "/sdk/flags/a", "Authorization: sdk-7\r\nIf-None-Match: " + field_of(item, "ETag") + "\r\n");
  EXPECT_TRUE(again.starts_with("HTTP/1.1 304 ")) << again;
  for (const char* target : {"/sdk/flags/b", "/sdk/flags/s", "/sdk/segments/a", "/sdk/flags/a%2f"})
    EXPECT_TRUE(get(target).starts_with("HTTP/1.1 404 ")) << target;
  EXPECT_TRUE(get("/sdk/flags/a", "").starts_with("HTTP/1.1 401 "));
}

TEST_F(ServerSideTest, OnlyAKeyThatIsKnownToBeUnknownIs401) {
  start(std::chrono::milliseconds(20));
  EXPECT_TRUE(get("/all").starts_with("HTTP/1.1 503 ")) << "nothing has been loaded";
  EXPECT_TRUE(get("/all", "").starts_with("HTTP/1.1 401 ")) << "no key at all";
  append({change(environment_item(1)), change(flag(2, "a", 1))});
  start();
  for (const char* fields : {"", "Authorization: sdk-8\r\n", "Authorization: Bearer sdk-7\r\n",
                             "Authorization: client-7\r\n"}) {
    EXPECT_TRUE(get("/all", fields).starts_with("HTTP/1.1 401 ")) << fields;
    EXPECT_TRUE(get("/sdk/latest-all", fields).starts_with("HTTP/1.1 401 ")) << fields;
  }
  EXPECT_TRUE(
      get("/sdk/latest-all", "Authorization: api_key sdk-7\r\n").starts_with("HTTP/1.1 200"));
  appender_.reset();
  std::filesystem::remove_all(folder_ + "/log");
  start(std::chrono::milliseconds(20));
  EXPECT_TRUE(get("/sdk/latest-all").starts_with("HTTP/1.1 200 ")) << "the last known state";
  EXPECT_TRUE(get("/sdk/latest-all", "Authorization: sdk-8\r\n").starts_with("HTTP/1.1 503 "));
}

TEST_F(ServerSideTest, AStreamGivesAPutAndThenEveryChangeInOrder) {
  append({change(environment_item(1)), change(flag(2, "a", 1))});
  start();
  const auto client = open_stream();
  const std::string head = client->read_until("}}\n\n\r\n");
  EXPECT_EQ(field_of(head, "Content-Type"), "text/event-stream; charset=utf-8");
  EXPECT_EQ(field_of(head, "Cache-Control"), "no-cache");
  EXPECT_EQ(field_of(head, "X-Accel-Buffering"), "no");
  EXPECT_EQ(field_of(head, "Content-Encoding"), "");
  EXPECT_NE(head.find(std::string("event: put\ndata: {\"path\":\"/\",\"data\":") + kTwoFlags),
            std::string::npos);
  proto::Item segment = flag(5, "s", 1);
  segment.set_kind(proto::Item::SEGMENT);
  append({change(flag(3, "a", 2)), change(deleted(flag(4, "a", 3))), change(segment)});
  const std::string rest = client->read_until("\n\n", 3);
  const std::size_t patch = rest.find("event: patch\ndata: {\"path\":\"/flags/a\"");
  const std::size_t gone = rest.find("event: delete\ndata: {\"path\":\"/flags/a\",\"version\":3}");
  const std::size_t last = rest.find("event: patch\ndata: {\"path\":\"/segments/s\"");
  EXPECT_LT(patch, gone) << rest;
  EXPECT_LT(gone, last) << rest;
  EXPECT_NE(last, std::string::npos) << rest;
}

TEST_F(ServerSideTest, AStreamGetsAPutWhereChangesAreNotKnown) {
  append({change(environment_item(1)), change(flag(2, "a", 1))});
  start();
  const auto client = open_stream();
  client->read_until("}}\n\n\r\n");
  append(copy(9, 7, {environment_item(1), flag(1, "z", 4)}, true));
  EXPECT_NE(
      client->read_until("}}\n\n\r\n").find(R"("data":{"flags":{"z":{"key":"z","version":4}})"),
      std::string::npos);
  appender_.reset();
  std::filesystem::remove_all(folder_ + "/log");
  append({change(environment_item(1)), change(flag(2, "y", 1))});
  EXPECT_NE(
      client->read_until("}}\n\n\r\n").find(R"("data":{"flags":{"y":{"key":"y","version":1}})"),
      std::string::npos)
      << "of another log, though its revision is lower";
}

TEST_F(ServerSideTest, AStreamEndsWithItsKeyAndWithItsEnvironment) {
  append({change(environment_item(1)), change(flag(2, "a", 1))});
  start();
  const auto client = open_stream();
  client->read_until("}}\n\n\r\n");
  proto::Item other = environment_item(3);
  proto::Environment document;
  document.set_key("production");
  auto* credential = document.add_credentials();
  credential->set_kind(proto::Credential::SDK_KEY);
  credential->set_sha256(sha256("sdk-new"));
  other.set_version(2);
  other.set_document(*environment::encode_environment(document));
  append({change(other)});
  EXPECT_EQ(client->read_all(), "0\r\n\r\n(closed)");
  EXPECT_TRUE(get("/all").starts_with("HTTP/1.1 401 "));

  Client second(server_->address());
  second.send("GET /all HTTP/1.1\r\nHost: x\r\nAuthorization: sdk-new\r\n\r\n");
  second.read_until("}}\n\n\r\n");
  other.set_version(3);
  other.set_revision(4);
  append({change(deleted(other))});
  EXPECT_EQ(second.read_all(), "0\r\n\r\n(closed)");
}

TEST_F(ServerSideTest, AStreamEndsWhenItsKeyExpiresAndThoseOfOtherKeysGoOn) {
  FakeClock clock(1'000'000);
  environment_clock_ = &clock;
  proto::Item item = environment_item(1);
  auto document = *environment::decode_environment(item.document());
  document.mutable_credentials(0)->set_expires_us(2'000'000);
  auto* credential = document.add_credentials();
  credential->set_kind(proto::Credential::SDK_KEY);
  credential->set_sha256(sha256("sdk-new"));
  item.set_document(*environment::encode_environment(document));
  append({change(item), change(flag(2, "a", 1))});
  start();
  const auto old = open_stream();
  const auto other = open_stream("/all", "sdk-new");
  old->read_until("}}\n\n\r\n");
  other->read_until("}}\n\n\r\n");
  append({change(flag(3, "a", 2))});
  EXPECT_NE(old->read_until("\n\n\r\n").find("event: patch"), std::string::npos);
  EXPECT_NE(other->read_until("\n\n\r\n").find("event: patch"), std::string::npos);
  clock.set(2'000'000);
  EXPECT_EQ(old->read_all(), "0\r\n\r\n(closed)");
  EXPECT_TRUE(get("/all").starts_with("HTTP/1.1 401 "));
  append({change(flag(4, "a", 3))});
  const std::string rest = other->read_until("\n\n\r\n");
  EXPECT_TRUE(rest.substr(rest.find("\r\n") + 2).starts_with("event: patch")) << rest;
  server_.reset();
  server_side_.reset();
  access_.reset();
  environments_.reset();
}

TEST_F(ServerSideTest, AnIdleStreamHasAHeartbeat) {
  append({change(environment_item(1))});
  start(std::chrono::milliseconds(60'000), {.heartbeat = std::chrono::milliseconds(10)});
  const auto client = open_stream();
  client->read_until("}}\n\n\r\n");
  EXPECT_TRUE(client->read_until("2\r\n:\n\r\n", 2).starts_with("2\r\n:\n\r\n2\r\n:\n\r\n"));
}

TEST_F(ServerSideTest, AnOldStreamEndsSoThatItsClientMayGoElsewhere) {
  append({change(environment_item(1)), change(flag(2, "a", 1))});
  start(std::chrono::milliseconds(60'000), {.heartbeat = std::chrono::milliseconds(60'000),
                                            .max_stream_age = std::chrono::milliseconds(10)});
  for (const char* target : {"/all", "/flags"}) {
    const std::string all = open_stream(target)->read_all();
    EXPECT_NE(all.find("event: put\n"), std::string::npos) << all;
    EXPECT_TRUE(all.ends_with("\n\n\r\n0\r\n\r\n(closed)")) << all;
  }
}

TEST(EndOfStream, IsAFifthMoreOrLessAndNotTheSameForAll) {
  FakeClock clock(1'000'000'000);
  std::int64_t least = kMicrosPerDay;
  std::int64_t greatest = 0;
  for (int i = 0; i < 1'000; ++i) {
    const std::int64_t age =
        end_of_stream(clock, std::chrono::milliseconds(10'000)) - clock.monotonic();
    least = std::min(least, age);
    greatest = std::max(greatest, age);
  }
  EXPECT_GE(least, 8 * kMicrosPerSecond);
  EXPECT_LT(least, 85 * kMicrosPerSecond / 10);
  EXPECT_GT(greatest, 115 * kMicrosPerSecond / 10);
  EXPECT_LE(greatest, 12 * kMicrosPerSecond);
  EXPECT_GT(end_of_stream(clock, std::chrono::milliseconds(0)), 1'000 * kMicrosPerDay);
}

TEST_F(ServerSideTest, AStreamOfFlagsAloneHasBareMapsAndPaths) {
  append({change(environment_item(1)), change(flag(2, "a", 1))});
  start();
  const auto client = open_stream("/flags");
  const std::string head = client->read_until("}}\n\n\r\n");
  EXPECT_NE(head.find("event: put\ndata: {\"a\":{\"key\":\"a\",\"version\":1}}\n\n"),
            std::string::npos);
  EXPECT_EQ(field_of(head, "X-LD-EnvID"), "client-7");
  proto::Item segment = flag(3, "s", 1);
  segment.set_kind(proto::Item::SEGMENT);
  append({change(segment), change(flag(4, "a", 2)), change(deleted(flag(5, "a", 3)))});
  const std::string rest = client->read_until("\n\n", 2);
  EXPECT_NE(
      rest.find("event: patch\ndata: {\"path\":\"/a\",\"data\":{\"key\":\"a\",\"version\":2}}"),
      std::string::npos);
  EXPECT_NE(rest.find("event: delete\ndata: {\"path\":\"/a\",\"version\":3}"), std::string::npos);
  EXPECT_EQ(rest.find("/s"), std::string::npos) << rest;
}

TEST_F(ServerSideTest, ThePhpSdkIsToldHowLongItMayKeepAnItem) {
  append({change(environment_item(1)), change(flag(2, "a", 1))});
  start();
  EXPECT_EQ(field_of(get("/sdk/flags/a"), "Expires"), "");
  start(std::chrono::milliseconds(60'000), {.php_cache_ttl = std::chrono::seconds(30)});
  for (const char* target : {"/sdk/flags/a", "/sdk/flags"}) {
    const std::string answer = get(target);
    EXPECT_EQ(field_of(answer, "Expires").size(),
              std::string("Sun, 06 Nov 1994 08:49:37 GMT").size());
    EXPECT_EQ(field_of(answer, "Vary"), "Authorization");
    EXPECT_EQ(field_of(answer, "X-LD-EnvID"), "client-7");
    const std::string again =
        get(target, "Authorization: sdk-7\r\nIf-None-Match: " + field_of(answer, "ETag") + "\r\n");
    EXPECT_TRUE(again.starts_with("HTTP/1.1 304 "));
    EXPECT_NE(field_of(again, "Expires"), "");
  }
  EXPECT_EQ(field_of(get("/sdk/flags/no"), "X-LD-EnvID"), "client-7");
  EXPECT_EQ(field_of(get("/sdk/latest-all"), "Expires"), "");
}

TEST_F(ServerSideTest, AFilterIsIgnored) {
  append({change(environment_item(1)), change(flag(2, "a", 1))});
  start();
  for (const char* query : {"filter=x", "filter=", "filter", "filter=a%20%26b&filter=%C3%A4",
                            "filter=%00", "filter=..%2F..", "&&=&filter=1&x"}) {
    const std::string text = std::string("?") + query;
    EXPECT_EQ(body_of(get("/sdk/latest-all" + text)), kTwoFlags) << query;
    EXPECT_EQ(body_of(get("/sdk/flags/a" + text)), R"({"key":"a","version":1})") << query;
    EXPECT_TRUE(get("/sdk/poll" + text).starts_with("HTTP/1.1 200 ")) << query;
    for (const char* stream : {"/all", "/flags", "/sdk/stream"})
      EXPECT_TRUE(open_stream(stream + text)->read_until("event: ").starts_with("HTTP/1.1 200 "));
  }
}

}  // namespace
}  // namespace flagstream::delivery
