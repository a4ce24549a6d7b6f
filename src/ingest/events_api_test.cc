#include "ingest/events_api.h"

#include <optional>
#include <thread>

#include <boost/asio/co_spawn.hpp>
#include <gtest/gtest.h>

#include "events/payload.h"
#include "ingest/durable_append.h"

namespace flagstream::ingest {
namespace {

namespace net = boost::asio;

constexpr std::string_view kSdkKey = "sdk-1";
constexpr std::string_view kMobileKey = "mob-1";
constexpr std::string_view kClientSideId = "6488674dc2ea1d6673731ba2";
constexpr MicrosUtc kNow = 1'795'407'508'900'000;
constexpr std::string_view kBody = R"([{"kind":"custom","key":"e"},{"kind":"index"}])";

// Keeps what it is given; answers at once from a thread of its own, as the committer does, or when
// told.
class RecordingAppender final : public log::Appender {
 public:
  struct Entry {
    log::Partition partition;
    std::string record;
  };

  void enqueue(log::Partition partition, log::Batch batch, Completion done) override {
    entries.push_back({partition, batch.bytes().substr(sizeof(std::uint32_t))});
    if (hold) {
      held = std::move(done);
      return;
    }
    std::thread([this, done = std::move(done)]() mutable { done(answer()); }).join();
  }
  void start() override { entries_at_start.push_back(entries.size()); }

  Result<log::Appended> answer() const {
    if (error) return fail(*error, "injected");
    return log::Appended{.first_offset = 0, .append_time = kNow};
  }

  std::vector<Entry> entries;
  std::vector<std::size_t> entries_at_start;
  std::optional<ErrorKind> error;
  bool hold = false;
  Completion held;
};

class EventsApiTest : public testing::Test {
 protected:
  Authenticate known_credentials() {
    return [this](CredentialKind kind, std::string_view text,
                  std::string_view) -> io::Task<Result<KnownEnvironment>> {
      if (lookup_error) co_return fail(*lookup_error, "injected");
      const bool known = (kind == CredentialKind::SdkKey && text == kSdkKey) ||
                         (kind == CredentialKind::MobileKey && text == kMobileKey) ||
                         (kind == CredentialKind::ClientSideId && text == kClientSideId);
      if (!known) co_return fail(ErrorKind::Unauthenticated, "unknown");
      co_return KnownEnvironment{.id = EnvironmentId{7}, .config_revision = 42};
    };
  }

  static Result<void> inflate(std::string_view gzip, std::string& out) {
    if (gzip == "broken") return fail(ErrorKind::InvalidArgument, "not gzip");
    if (gzip == "bomb") return fail(ErrorKind::TooLarge, "inflates too far");
    out += kBody;
    return {};
  }

  EventsApi make_api() {
    return EventsApi({.partitions = 16, .gateway_id = "g1", .limits = limits},
                     {.payloads = appender,
                      .clock = clock,
                      .registry = registry,
                      .authenticate = known_credentials(),
                      .inflate = inflate});
  }

  static const http::Handler& handler_of(const std::vector<Endpoint>& endpoints,
                                         std::string_view method, std::string_view path) {
    for (const auto& endpoint : endpoints) {
      if (endpoint.method == method && endpoint.path == path) return endpoint.handler;
    }
    ADD_FAILURE() << "no " << method << " " << path;
    return endpoints.front().handler;
  }

  http::Response send(std::string_view method, std::string_view path, http::Request& request) {
    EventsApi api = make_api();
    const auto endpoints = api.endpoints();
    std::optional<http::Response> response;
    net::io_context context;
    net::co_spawn(context, handler_of(endpoints, method, path)(request),
                  [&](std::exception_ptr, http::Response r) { response = std::move(r); });
    context.run();
    EXPECT_TRUE(response);
    return response ? std::move(*response) : http::Response();
  }

  http::Request bulk_request(std::string_view body = kBody) {
    http::Request request;
    request.headers.add("Authorization", std::string(kSdkKey));
    request.headers.add("X-LaunchDarkly-Payload-ID", "270025a2-c710-4e80-9c14-bf8d18248706");
    request.headers.add("X-LaunchDarkly-Event-Schema", "4");
    request.client_address = "192.0.2.77";
    request.body = body;
    return request;
  }

  int status_of(http::Request request) { return send("POST", "/bulk", request).status; }
  int status_of_body(std::string_view body) { return status_of(bulk_request(body)); }

  http::Request client_side_request(std::string_view id) {
    http::Request request;
    request.headers.add("Origin", "http://localhost:8080");
    request.captures = {std::string(id)};
    request.body = kBody;
    return request;
  }

  FakeClock clock{kNow};
  telemetry::Registry registry;
  RecordingAppender appender;
  Limits limits;
  std::optional<ErrorKind> lookup_error;
};

TEST_F(EventsApiTest, AStoredPayloadIsAcknowledgedWith202AndNoBody) {
  http::Request request = bulk_request();
  const http::Response response = send("POST", "/bulk", request);
  EXPECT_EQ(response.status, 202);
  EXPECT_EQ(response.body, "");
  ASSERT_EQ(appender.entries.size(), 1u);
}

TEST_F(EventsApiTest, TheRecordHoldsTheBodyAsReceivedAndWhatTheGatewayKnows) {
  ASSERT_EQ(status_of(bulk_request()), 202);
  const auto record = events::decode_payload(appender.entries.at(0).record);
  ASSERT_TRUE(record);
  EXPECT_EQ(record->body, kBody);
  const auto& header = record->header;
  EXPECT_EQ(header.receipt_id().size(), 16u);
  EXPECT_EQ(header.payload_id(), "270025a2-c710-4e80-9c14-bf8d18248706");
  EXPECT_EQ(header.received_us(), kNow);
  EXPECT_EQ(header.environment_id(), 7u);
  EXPECT_EQ(header.credential(), events::proto::PayloadHeader::SDK_KEY);
  EXPECT_EQ(header.route(), events::proto::PayloadHeader::ANALYTICS);
  EXPECT_EQ(header.schema(), 4u);
  EXPECT_FALSE(header.gzip());
  EXPECT_EQ(header.client_network(), "192.0.2.0/24");
  EXPECT_EQ(header.config_revision(), 42u);
  EXPECT_EQ(header.gateway_id(), "g1");
  EXPECT_EQ(appender.entries[0].record.find(kSdkKey), std::string::npos);
}

TEST_F(EventsApiTest, ThePartitionFollowsFromTheIdentity) {
  ASSERT_EQ(status_of(bulk_request()), 202);
  // Of environment 7 and that payload id: docs/formats/records.md.
  EXPECT_EQ(appender.entries.at(0).partition, 11u);
}

TEST_F(EventsApiTest, EveryRequestGetsAReceiptIdOfItsOwn) {
  ASSERT_EQ(status_of(bulk_request()), 202);
  ASSERT_EQ(status_of(bulk_request()), 202);
  const auto receipt = [&](std::size_t i) {
    return events::decode_payload(appender.entries[i].record)->header.receipt_id();
  };
  EXPECT_NE(receipt(0), receipt(1));
}

TEST_F(EventsApiTest, NothingIsAcknowledgedBeforeTheLogHasAnswered) {
  appender.hold = true;
  EventsApi api = make_api();
  const auto endpoints = api.endpoints();
  http::Request request = bulk_request();
  std::optional<http::Response> response;
  net::io_context context;
  net::co_spawn(context, handler_of(endpoints, "POST", "/bulk")(request),
                [&](std::exception_ptr, http::Response r) { response = std::move(r); });
  while (!appender.held) context.run_one();
  context.poll();
  EXPECT_FALSE(response);

  const auto shard = std::this_thread::get_id();
  std::thread committer([&] { appender.held(appender.answer()); });
  context.run();
  committer.join();
  EXPECT_EQ(shard, std::this_thread::get_id());
  ASSERT_TRUE(response);
  EXPECT_EQ(response->status, 202);
}

TEST_F(EventsApiTest, GzipStaysGzipAndIsMarked) {
  http::Request request = bulk_request("compressed");
  request.headers.add("Content-Encoding", "gzip");
  ASSERT_EQ(status_of(std::move(request)), 202);
  const auto record = events::decode_payload(appender.entries.at(0).record);
  EXPECT_TRUE(record->header.gzip());
  EXPECT_EQ(record->body, "compressed");
}

TEST_F(EventsApiTest, WhatCannotBeReadIs400AndNotStored) {
  for (const char* body :
       {"", "{", "[", "[{}", "[]]", "null", "5", "[{}][{}]", "[\"\xff\"]", "\"text\""}) {
    EXPECT_EQ(status_of_body(body), 400) << body;
  }
  for (const char* encoding : {"gzip", "br", "gzip, gzip"}) {
    http::Request request = bulk_request("broken");
    request.headers.add("Content-Encoding", encoding);
    EXPECT_EQ(status_of(std::move(request)), 400) << encoding;
  }
  EXPECT_TRUE(appender.entries.empty());
}

TEST_F(EventsApiTest, WhatIsWrongInsideAnEventIsStored) {
  EXPECT_EQ(status_of_body(R"([{"kind" "x"},5,{"kind":"hover"}])"), 202);
  EXPECT_EQ(status_of_body(R"({"kind":"diagnostic"})"), 202);
}

TEST_F(EventsApiTest, WhatIsOverALimitIs413) {
  limits.body_bytes_max = 100;
  EXPECT_EQ(status_of_body("[\"" + std::string(96, 'x') + "\"]"), 202);
  EXPECT_EQ(status_of_body("[\"" + std::string(97, 'x') + "\"]"), 413);
  http::Request bomb = bulk_request("bomb");
  bomb.headers.add("Content-Encoding", "gzip");
  EXPECT_EQ(status_of(std::move(bomb)), 413);
  limits = {};
  std::string many = "[0";
  for (int i = 1; i <= 10'000; ++i) many += ",0";
  EXPECT_EQ(status_of_body(many + "]"), 413);
}

TEST_F(EventsApiTest, AnUnknownKeyIs401) {
  for (const char* key : {"", "sdk-2", "mob-1", "Bearer sdk-1"}) {
    http::Request request;
    request.headers.add("Authorization", key);
    request.body = kBody;
    EXPECT_EQ(send("POST", "/bulk", request).status, 401) << key;
  }
  http::Request request;
  request.body = kBody;
  EXPECT_EQ(send("POST", "/mobile", request).status, 401);
}

TEST_F(EventsApiTest, AnUnknownClientSideIdIs404) {
  http::Request request = client_side_request("000000000000000000000000");
  EXPECT_EQ(send("POST", "/events/bulk/{env}", request).status, 404);
}

TEST_F(EventsApiTest, ALookupThatCannotBeDoneIs503) {
  for (const ErrorKind kind :
       {ErrorKind::Unavailable, ErrorKind::Indeterminate, ErrorKind::ResourceExhausted,
        ErrorKind::DataLoss, ErrorKind::Conflict, ErrorKind::PermissionDenied}) {
    lookup_error = kind;
    EXPECT_EQ(status_of(bulk_request()), 503) << to_string(kind);
    http::Request client = client_side_request(kClientSideId);
    EXPECT_EQ(send("POST", "/events/bulk/{env}", client).status, 503) << to_string(kind);
  }
}

TEST_F(EventsApiTest, ALogThatCannotTakeItIs503WithRetryAfter) {
  for (const ErrorKind kind :
       {ErrorKind::Unavailable, ErrorKind::Indeterminate, ErrorKind::ResourceExhausted}) {
    appender.error = kind;
    http::Request request = bulk_request();
    const http::Response response = send("POST", "/bulk", request);
    EXPECT_EQ(response.status, 503) << to_string(kind);
    EXPECT_TRUE(response.headers.find("Retry-After")) << to_string(kind);
  }
}

TEST_F(EventsApiTest, APayloadThatFindsNoRoomIs503) {
  limits.in_flight_bytes_max = kBody.size() - 1;
  EXPECT_EQ(status_of(bulk_request()), 503);
  limits.in_flight_bytes_max = 64 << 10;
  EXPECT_EQ(status_of(bulk_request()), 202);
}

TEST_F(EventsApiTest, AnEnvironmentThatHoldsItsShareGets429AndRetryAfter) {
  limits.in_flight_bytes_max = 9 << 10;
  appender.hold = true;
  EventsApi api = make_api();
  const auto endpoints = api.endpoints();
  net::io_context context;
  std::vector<std::optional<http::Response>> responses(10);
  std::vector<http::Request> requests(responses.size());
  std::vector<log::Appender::Completion> held;
  for (std::size_t i = 0; i < requests.size(); ++i) {
    requests[i] = bulk_request();
    net::co_spawn(
        context, handler_of(endpoints, "POST", "/bulk")(requests[i]),
        [&responses, i](std::exception_ptr, http::Response r) { responses[i] = std::move(r); });
    context.poll();
    context.restart();
    if (appender.held) held.push_back(std::exchange(appender.held, nullptr));
  }
  // Each takes a little over 1 KiB, and one environment alone half of all.
  ASSERT_EQ(held.size(), 4u);
  for (std::size_t i = 4; i < responses.size(); ++i) {
    ASSERT_TRUE(responses[i]) << i;
    EXPECT_EQ(responses[i]->status, 429);
    EXPECT_TRUE(responses[i]->headers.find("Retry-After"));
  }
  for (auto& done : held) std::thread([&] { done(appender.answer()); }).join();
  context.run();
  for (std::size_t i = 0; i < 4; ++i) EXPECT_EQ(responses[i]->status, 202);
  const std::string text = registry.scrape();
  EXPECT_NE(text.find(R"(outcome="rejected",reason="over_share"} 6)"), std::string::npos);
  EXPECT_NE(text.find("flagstream_ingest_in_flight_bytes 0\n"), std::string::npos);
}

TEST_F(EventsApiTest, OverItsRateAnEnvironmentGets429WhateverTheRoute) {
  limits.rates = {.events_per_second = 2};
  EventsApi api = make_api();
  const auto endpoints = api.endpoints();
  const auto status_on = [&](std::string_view path, http::Request request) {
    int status = 0;
    net::io_context context;
    net::co_spawn(context, handler_of(endpoints, "POST", path)(request),
                  [&](std::exception_ptr, http::Response r) {
                    status = r.status;
                    if (status == 429) {
                      EXPECT_TRUE(r.headers.find("Retry-After"));
                    }
                  });
    context.run();
    return status;
  };
  // Two events each: one second's worth, and one payload that goes into debt.
  EXPECT_EQ(status_on("/bulk", bulk_request()), 202);
  EXPECT_EQ(status_on("/bulk", bulk_request()), 202);
  EXPECT_EQ(status_on("/bulk", bulk_request()), 429);
  EXPECT_EQ(status_on("/events/bulk/{env}", client_side_request(kClientSideId)), 429);
  // A wrong credential is told so all the same.
  EXPECT_EQ(status_on("/events/bulk/{env}", client_side_request("nobody")), 404);
  clock.advance(kMicrosPerSecond);
  EXPECT_EQ(status_on("/events/bulk/{env}", client_side_request(kClientSideId)), 202);
  EXPECT_NE(registry.scrape().find("flagstream_ingest_environment_refused_total{environment=\"7\","
                                   "reason=\"rate_limited\"} 2"),
            std::string::npos);
}

TEST_F(EventsApiTest, ARequestIsRefusedByItsHeadBeforeItsBodyIsRead) {
  limits.rates = {.bytes_per_second = 100};
  EventsApi api = make_api();
  const auto endpoints = api.endpoints();
  const auto admit = [&](std::optional<std::uint64_t> bytes, std::string_view key) {
    http::Request request;
    request.headers.add("Authorization", std::string(key));
    std::optional<int> status;
    net::io_context context;
    net::co_spawn(context, endpoints.front().admit(request, bytes),
                  [&](std::exception_ptr, std::optional<http::Response> r) {
                    if (r) status = r->status;
                  });
    context.run();
    return status;
  };
  ASSERT_EQ(endpoints.front().path, "/bulk");
  EXPECT_EQ(admit(1'000, "sdk-nobody"), 401);
  EXPECT_EQ(admit(1'000, kSdkKey), std::nullopt);
  EXPECT_EQ(admit(1, kSdkKey), 429);
  EXPECT_EQ(admit(std::nullopt, kSdkKey), 429);
}

TEST_F(EventsApiTest, EachCredentialHasItsRoutes) {
  for (const char* path :
       {"/mobile", "/mobile/events", "/mobile/events/bulk", "/mobile/events/diagnostic"}) {
    http::Request request;
    request.headers.add("Authorization", "api_key " + std::string(kMobileKey));
    request.body = kBody;
    EXPECT_EQ(send("POST", path, request).status, 202) << path;
    EXPECT_EQ(events::decode_payload(appender.entries.back().record)->header.credential(),
              events::proto::PayloadHeader::MOBILE_KEY);
  }
  http::Request diagnostic = bulk_request(R"({"kind":"diagnostic-init"})");
  EXPECT_EQ(send("POST", "/diagnostic", diagnostic).status, 202);
  EXPECT_EQ(events::decode_payload(appender.entries.back().record)->header.route(),
            events::proto::PayloadHeader::DIAGNOSTIC);
  for (const char* path : {"/events/bulk/{env}", "/events/diagnostic/{env}"}) {
    http::Request request = client_side_request(kClientSideId);
    EXPECT_EQ(send("POST", path, request).status, 202) << path;
    EXPECT_EQ(events::decode_payload(appender.entries.back().record)->header.credential(),
              events::proto::PayloadHeader::CLIENT_SIDE_ID);
  }
}

http::Request image_request(std::string_view name, std::string query) {
  http::Request request;
  request.method = "GET";
  request.captures = {std::string(name)};
  request.query = std::move(query);
  return request;
}

const std::string kImage = std::string(kClientSideId) + ".gif";
constexpr std::string_view kImageQuery = "d=W3sia2luZCI6ImluZGV4In1d";  // [{"kind":"index"}]

TEST_F(EventsApiTest, AnImageStoresTheEventsInItsAddress) {
  http::Request request = image_request(kImage, std::string(kImageQuery));
  request.headers.add("Content-Encoding", "br");
  const http::Response response = send("GET", "/a/{image}", request);
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.headers.find("Content-Type"), "image/gif");
  EXPECT_EQ(response.headers.find("Cache-Control"), "no-store");
  EXPECT_EQ(response.body.substr(0, 10), std::string("GIF89a\1\0\1\0", 10));
  EXPECT_EQ(response.body.size(), 43u);
  ASSERT_EQ(appender.entries.size(), 1u);
  const auto payload = events::decode_payload(appender.entries[0].record);
  EXPECT_EQ(payload->body, R"([{"kind":"index"}])");
  EXPECT_EQ(payload->header.schema(), 3u);
  EXPECT_FALSE(payload->header.gzip());
  EXPECT_EQ(payload->header.route(), events::proto::PayloadHeader::ANALYTICS);
  EXPECT_EQ(payload->header.credential(), events::proto::PayloadHeader::CLIENT_SIDE_ID);
}

TEST_F(EventsApiTest, AnImageIsAnsweredOnlyOnceItsEventsAreStored) {
  appender.error = ErrorKind::Unavailable;
  http::Request request = image_request(kImage, std::string(kImageQuery));
  EXPECT_EQ(send("GET", "/a/{image}", request).status, 503);
}

TEST_F(EventsApiTest, AnImageThatHoldsNoEventsIsRefused) {
  const auto status = [&](std::string_view name, std::string query) {
    http::Request request = image_request(name, std::move(query));
    return send("GET", "/a/{image}", request).status;
  };
  for (const char* query : {"", "d", "d=", "d=%", "d=W3s*", "d=W3sia", "d=W3s=ia2l",
                            "x=W10=", "d=W3sia2luZCI6ImluZGV4In0", "d=aGVsbG8"}) {
    EXPECT_EQ(status(kImage, query), 400) << query;
  }
  EXPECT_EQ(status("unknown.gif", std::string(kImageQuery)), 404);
  EXPECT_EQ(status(kClientSideId, std::string(kImageQuery)), 404);
  EXPECT_EQ(status(".gif", std::string(kImageQuery)), 404);
  EXPECT_TRUE(appender.entries.empty());
}

TEST_F(EventsApiTest, AskingForTheHeadOfAnImageStoresNothing) {
  http::Request request = image_request(kImage, std::string(kImageQuery));
  request.method = "HEAD";
  EXPECT_EQ(send("GET", "/a/{image}", request).status, 200);
  EXPECT_TRUE(appender.entries.empty());
}

TEST_F(EventsApiTest, BrowsersMayReadAnswersAndErrors) {
  for (const std::string_view id : {kClientSideId, std::string_view("unknown")}) {
    http::Request request = client_side_request(id);
    const http::Response response = send("POST", "/events/bulk/{env}", request);
    EXPECT_EQ(response.headers.find("Access-Control-Allow-Origin"), "http://localhost:8080");
    EXPECT_EQ(response.headers.find("Access-Control-Expose-Headers"),
              "Date,ETag,X-LD-EnvID,X-LD-FD-Fallback,X-LD-FD-Fallback-TTL,Retry-After");
    EXPECT_EQ(response.headers.find("Vary"), "Origin");
  }
}

TEST_F(EventsApiTest, APreflightIsAllowedWithoutLookingAtTheEnvironment) {
  http::Request request;
  request.captures = {"unknown"};
  const http::Response response = send("OPTIONS", "/events/diagnostic/{env}", request);
  EXPECT_EQ(response.status, 204);
  EXPECT_EQ(response.headers.find("Access-Control-Allow-Origin"), "*");
  EXPECT_EQ(response.headers.find("Access-Control-Allow-Methods"), "GET,POST,REPORT,OPTIONS");
  EXPECT_EQ(response.headers.find("Access-Control-Max-Age"), "300");
}

TEST_F(EventsApiTest, EveryRequestEndsInOneCounter) {
  EventsApi api = make_api();
  const auto endpoints = api.endpoints();
  net::io_context context;
  std::vector<http::Request> requests;
  requests.push_back(bulk_request());
  requests.push_back(bulk_request("["));
  requests.push_back(bulk_request());
  requests.back().headers = {};
  for (auto& request : requests) {
    net::co_spawn(context, handler_of(endpoints, "POST", "/bulk")(request),
                  [](std::exception_ptr, const http::Response&) {});
  }
  context.run();
  const std::string scrape = registry.scrape();
  const auto holds = [&](const char* line) { return scrape.find(line) != std::string::npos; };
  EXPECT_TRUE(holds("flagstream_ingest_payloads_total{outcome=\"accepted\",reason=\"\"} 1\n"));
  EXPECT_TRUE(
      holds("flagstream_ingest_payloads_total{outcome=\"rejected\",reason=\"invalid\"} 1\n"));
  EXPECT_TRUE(holds(
      "flagstream_ingest_payloads_total{outcome=\"rejected\",reason=\"unauthenticated\"} 1\n"));
  EXPECT_TRUE(holds("flagstream_ingest_events_total 2\n"));
  EXPECT_TRUE(holds("flagstream_ingest_in_flight_bytes 0\n"));
}

class DurableAppend : public ::testing::Test {
 protected:
  void append() {
    log::Batch batch;
    batch.add({"x"});
    net::co_spawn(context, durable_append(appender, clock, 0, std::move(batch)),
                  [](std::exception_ptr, const Result<log::Appended>& done) { EXPECT_TRUE(done); });
  }

  // Appends in each of so many turns of the loop, which follow each other without a pause.
  void append_in_turns(int turns, std::int64_t micros_each) {
    append();
    clock.advance(micros_each);
    if (turns > 1)
      net::post(context, [this, turns, micros_each] { append_in_turns(turns - 1, micros_each); });
  }

  FakeClock clock{0};
  RecordingAppender appender;
  net::io_context context;
};

TEST_F(DurableAppend, WhatALoopAppendsWithoutAPauseIsStartedTogether) {
  append_in_turns(5, 1);
  context.run();
  ASSERT_FALSE(appender.entries_at_start.empty());
  EXPECT_EQ(appender.entries_at_start.front(), 5u);
}

TEST_F(DurableAppend, ALoopThatNeverPausesStartsAfterHalfAMillisecond) {
  append_in_turns(50, 100);
  context.run();
  ASSERT_GE(appender.entries_at_start.size(), 5u);
  EXPECT_LE(appender.entries_at_start.front(), 10u);
}

TEST_F(DurableAppend, ALoneAppendIsStartedThoughTheClockStands) {
  append();
  context.run();
  EXPECT_EQ(appender.entries_at_start, std::vector<std::size_t>{1});
}

}  // namespace
}  // namespace flagstream::ingest
