"""Events of SDKs that do not summarize: PHP 6, and those of long ago.  The requests are what the PHP SDK sends,
header by header and member by member; each evaluation has to be counted once."""
import base64
import collections
import json
import random
import time

import pytest

from harness import Server, request

PHP_HEADERS = {"Accept": "application/json", "Content-Type": "application/json", "User-Agent": "PHPClient/6.5.0",
               "X-LaunchDarkly-Event-Schema": "4", "X-LaunchDarkly-Unsummarized": "true",
               "X-LaunchDarkly-Tags": "application-id/shop application-version/1.2.3",
               "X-LaunchDarkly-Instance-Id": "5f30811a-fee8-47d7-9170-a927d9998c3e"}


def now():
    return int(time.time() * 1000)


@pytest.fixture(scope="module")
def server():
    with Server() as running:
        yield running


@pytest.fixture(scope="module")
def flags(server):
    """Flag documents as server-side SDKs hold them."""
    return request("GET", server.url + "/sdk/latest-all", headers={"Authorization": server.sdk_key}).json()["flags"]


def post(server, events, headers=PHP_HEADERS, path="/bulk", key=None):
    return request("POST", server.url + path, events, {"Authorization": key or server.sdk_key} | headers)


def evaluation(flag, variation, context, **members):
    """As EventFactory of the PHP SDK makes it: what is unset is left out, except the variation."""
    return {"kind": "feature", "creationDate": now(), "key": flag["key"], "context": context, "variation": variation,
            "value": flag["variations"][variation], "default": None, "version": flag["version"]} | members


def growth(server, flag, before):
    """Evaluations per variation since `before`."""
    after = server.evaluations(flag)
    return {k: n - before.get(k, 0) for k, n in after.items() if n != before.get(k, 0)}


def rows(server, query):
    return server.sql(query)["rows"]


def test_each_evaluation_of_php_6_is_counted_once(server, flags):
    rng = random.Random(6)
    names = sorted(flags)
    before = {name: server.evaluations(name) for name in names}
    sent = collections.defaultdict(collections.Counter)
    for _ in range(150):  # a PHP process lives for one page: a request each, and none has a payload id
        context = {"key": f"php-{rng.randint(0, 20)}", "kind": "user", "email": "e@example.org",
                   "_meta": {"redactedAttributes": ["name"]}}
        events = []
        for _ in range(rng.randint(1, 30)):
            flag = flags[rng.choice(names)]
            variation = rng.randrange(len(flag["variations"]))
            sent[flag["key"]][str(variation)] += 1
            events.append(evaluation(flag, variation, context))
        assert post(server, events).status == 202
    server.wait_until_processed()
    for name in names:
        assert growth(server, name, before[name]) == dict(sent[name])
    total = sum(sum(c.values()) for c in sent.values())
    assert rows(server, "SELECT sum(count)::BIGINT FROM events WHERE kind = 'summary' AND sdk_name = 'PHPClient'") == [[total]]
    assert rows(server, "SELECT count(*) FROM events WHERE kind IN ('feature', 'debug') AND sdk_name = 'PHPClient'") == [[0]]
    contexts, = rows(server, "SELECT count(*), count(DISTINCT contexts) FROM events WHERE kind = 'index' AND sdk_name = 'PHPClient'")
    # Once in five minutes for each context in each of 16 partitions.
    assert 21 <= contexts[0] <= 21 * 16 * 2 and contexts[1] == 21


def test_members_that_say_what_an_event_is_for_are_followed(server, flags):
    flag = flags["new-checkout"]
    before = server.evaluations("new-checkout")
    context = {"kind": "multi", "user": {"key": "wanted"}, "org": {"key": "o1", "anonymous": True}}
    events = [
        evaluation(flag, 0, context, trackEvents=True, reason={"kind": "FALLTHROUGH", "inExperiment": True}),
        evaluation(flag, 0, context, excludeFromSummaries=True),
        evaluation(flag, 1, context, excludeFromSummaries=True, trackEvents=True),
        evaluation(flag, 1, context, debugEventsUntilDate=now() + 3_600_000),
        evaluation(flag, 1, context, debugEventsUntilDate=now() - 3_600_000),
        evaluation(flag, 1, context, samplingRatio=10, trackEvents=True, prereqOf="parent"),
        {"kind": "feature", "creationDate": now(), "key": "no-such-flag", "context": context, "value": "d", "default": "d"},
        {"kind": "custom", "creationDate": now(), "key": "php-buy", "context": context, "metricValue": 2.5},
        {"kind": "identify", "creationDate": now(), "context": context},
        {"kind": "hover", "creationDate": now()},
    ]
    assert post(server, events).status == 202
    server.wait_until_processed()
    assert growth(server, "new-checkout", before) == {"0": 1, "1": 3}
    of_it = "FROM events WHERE contexts::VARCHAR LIKE '%wanted%'"
    kinds = dict(rows(server, f"SELECT kind, count(*) {of_it} GROUP BY ALL"))
    assert kinds == {"summary": 5, "feature": 3, "debug": 1, "index": 1, "custom": 1, "identify": 1}
    assert rows(server, f"SELECT variation, count(*) {of_it} AND kind = 'feature' GROUP BY ALL ORDER BY 1") == [[0, 1], [1, 2]]
    rejected = server.cli("log", "cat", "rejects.transform", "--data", str(server.data)).stdout
    assert "unknown_kind" in rejected and "hover" in rejected


USER = {"key": "legacy-1", "email": "e@example.org", "custom": {"a": 1}, "privateAttrs": ["name"]}


def test_schema_2_says_its_variation(server, flags):
    flag = flags["dark-mode"]
    before = server.evaluations("dark-mode")
    events = [{"kind": "feature", "creationDate": now(), "key": "dark-mode", "user": USER, "variation": n % 2,
               "value": flag["variations"][n % 2], "default": False, "version": flag["version"]} for n in range(9)]
    events.append({"kind": "alias", "creationDate": now(), "key": "legacy-1", "contextKind": "user",
                   "previousKey": "a1", "previousContextKind": "anonymousUser"})
    headers = {"User-Agent": "PHPClient/3.6.0", "x-launchDarkly-event-schema": "2"}
    assert post(server, events, headers).status == 202
    server.wait_until_processed()
    assert growth(server, "dark-mode", before) == {"0": 5, "1": 4}
    assert rows(server, "SELECT count(*) FROM events WHERE kind = 'alias' AND key = 'legacy-1'") == [[1]]


def test_schema_1_gets_its_variation_from_the_flag_at_that_time(server, flags):
    flag = flags["banner-text"]
    before = server.evaluations("banner-text")
    values = flag["variations"]
    events = [{"kind": "feature", "creationDate": now(), "key": "banner-text", "user": USER, "value": value,
               "default": None, "version": flag["version"]} for value in [values[0], values[1], values[1], "of no variation"]]
    assert post(server, events, {"User-Agent": "PHPClient/2.0.0"}).status == 202
    server.wait_until_processed()
    assert growth(server, "banner-text", before) == {"0": 1, "1": 2, "null": 1}


def test_schema_3_of_a_phone_is_taken_as_it_is(server):
    before = server.evaluations("free-shipping")
    events = [
        {"kind": "index", "creationDate": now(), "user": USER | {"key": "phone-3"}},
        {"kind": "feature", "creationDate": now(), "key": "free-shipping", "userKey": "phone-3", "value": True,
         "variation": 0, "version": 1, "contextKind": "anonymousUser"},
        {"startDate": now() - 500, "endDate": now(), "kind": "summary", "features": {"free-shipping": {
            "default": None, "counters": [{"value": True, "variation": 0, "version": 1, "count": 17}]}}},
    ]
    headers = {"User-Agent": "AndroidClient/3.1.0", "X-LaunchDarkly-Event-Schema": "3"}
    for path in ("/mobile", "/mobile/events", "/mobile/events/bulk"):
        key = "api_key " + server.keys["mobileKey"]
        assert post(server, events, headers | {"X-LaunchDarkly-Payload-ID": "one-" + path}, path, key).status == 202
    server.wait_until_processed()
    assert growth(server, "free-shipping", before) == {"0": 3 * 17}
    assert rows(server, "SELECT kind, count(*) FROM events WHERE sdk_name = 'AndroidClient' AND kind NOT IN ('payload') "
                        "GROUP BY ALL ORDER BY 1") == [["feature", 3], ["index", 3], ["summary", 3]]


def beacon(server, data, environment=None, method="GET"):
    return request(method, f"{server.url}/a/{environment or server.keys['_id']}.gif?d={data}")


def test_the_address_of_an_image_holds_events(server):
    before = server.evaluations("search-config")
    events = [{"kind": "custom", "creationDate": now(), "key": "by-image", "user": {"key": "old-browser"}, "url": "http://x/?a=ö"},
              {"kind": "summary", "startDate": now() - 9, "endDate": now(), "features": {"search-config": {
                  "default": None, "counters": [{"value": {}, "variation": 1, "version": 1, "count": 4}]}}}]
    data = base64.b64encode(json.dumps(events).encode()).decode()
    answer = beacon(server, data)
    assert answer.status == 200 and answer.headers["Content-Type"] == "image/gif"
    assert answer.body.startswith(b"GIF89a\x01\x00\x01\x00")
    assert beacon(server, data, method="HEAD").status == 200
    assert beacon(server, "bm8ganNvbg").status == 400
    assert beacon(server, data, environment="0" * 24).status == 404
    assert request("GET", f"{server.url}/a/{server.keys['_id']}.gif").status == 400
    server.wait_until_processed()
    assert growth(server, "search-config", before) == {"1": 4}, "asking for the head sends nothing"
    assert rows(server, "SELECT count(*) FROM events WHERE kind = 'custom' AND key = 'by-image'") == [[1]]


def test_a_diagnostic_that_is_retried_as_analytics_is_one(server):
    diagnostic = {"kind": "diagnostic", "creationDate": now(), "id": {"diagnosticId": "retried", "sdkKeySuffix": "-key-1"},
                  "dataSinceDate": now() - 60_000, "droppedEvents": 2, "deduplicatedUsers": 1, "eventsInLastBatch": 3, "streamInits": []}
    assert post(server, diagnostic, {"User-Agent": "NodeJSClient/9.13.7"}).status == 202
    assert post(server, diagnostic, {"User-Agent": "NodeJSClient/9.13.7"}, "/diagnostic").status == 202
    server.wait_until_processed()
    assert rows(server, "SELECT count(*) FROM events WHERE kind = 'diagnostic' AND sdk_name = 'NodeJSClient'") == [[2]]


def test_payloads_and_records_are_counted_by_schema_and_kind(server):
    lines = request("GET", server.admin_url + "/processor/metrics").body.decode().splitlines()
    metrics = {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))}
    accepted = {schema: metrics[f'flagstream_transform_accepted_payloads_total{{schema="{schema}"}}']
                for schema in ("1", "2", "3", "unsummarized")}
    assert accepted["unsummarized"] == 151 and accepted["3"] == 4
    assert accepted["1"] == 1 + 2 and accepted["2"] == 1, "what has no header counts as schema 1"
    assert metrics['flagstream_transform_flag_lookups_total{outcome="found"}'] == 9 + 4
    assert metrics['flagstream_transform_records_total{kind="alias"}'] == 1
