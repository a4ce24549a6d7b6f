"""The routes of the PHP SDK, which fetches single items and keeps nothing but what its HTTP cache keeps: as it asks."""
import email.utils

import pytest

from harness import Server, request, wait_until

CACHE_TTL = 30


@pytest.fixture(scope="module")
def server():
    with Server(settings={"delivery.php_cache_ttl": f"{CACHE_TTL}s"}) as running:
        yield running


def get(server, path, headers=None):
    return request("GET", server.url + path, headers={
        "Authorization": server.sdk_key, "User-Agent": "PHPClient/6.8.0", "Accept": "application/json",
        "X-LaunchDarkly-Instance-Id": "5f30811a-fee8-47d7-9170-a927d9998c3e"} | (headers or {}))


def test_an_item_a_map_and_no_such_item(server):
    flag = get(server, "/sdk/flags/free-shipping")
    assert flag.status == 200 and flag.headers["Content-Type"] == "application/json"
    assert flag.json()["key"] == "free-shipping" and flag.json()["variations"]
    everything = get(server, "/sdk/flags").json()
    assert everything["free-shipping"] == flag.json()
    segments = request("GET", server.url + "/sdk/latest-all", headers={"Authorization": server.sdk_key}).json()["segments"]
    for key, segment in segments.items():
        assert get(server, f"/sdk/segments/{key}").json() == segment
    for path in ("/sdk/flags/no-such-flag", "/sdk/segments/no-such-segment"):
        answer = get(server, path)
        assert answer.status == 404 and answer.headers["X-LD-EnvID"] == server.keys["_id"]
    assert get(server, "/sdk/flags/free-shipping", {"Authorization": "sdk-unknown"}).status == 401


def test_a_cache_knows_how_long_and_asks_with_a_tag(server):
    for path in ("/sdk/flags/free-shipping", "/sdk/flags"):
        answer = get(server, path)
        at = email.utils.parsedate_to_datetime(answer.headers["Date"])
        until = email.utils.parsedate_to_datetime(answer.headers["Expires"])
        assert CACHE_TTL - 1 <= (until - at).total_seconds() <= CACHE_TTL + 1
        assert answer.headers["Vary"] == "Authorization"
        assert answer.headers["X-LD-EnvID"] == server.keys["_id"]
        again = get(server, path, {"If-None-Match": answer.headers["ETag"]})
        assert again.status == 304 and again.body == b"" and again.headers["Expires"]
    before = get(server, "/sdk/flags/free-shipping").headers["ETag"]
    other = get(server, "/sdk/flags/dark-mode").headers["ETag"]
    server.flag_on("free-shipping", on=not get(server, "/sdk/flags/free-shipping").json()["on"])
    changed = wait_until(lambda: (found := get(server, "/sdk/flags/free-shipping", {"If-None-Match": before})).status == 200 and found,
                         20, "the item has changed")
    assert changed.headers["ETag"] != before
    assert get(server, "/sdk/flags/dark-mode", {"If-None-Match": other}).status == 304, "each item has its own"


def test_a_filter_is_ignored(server):
    for query in ("filter=my-filter.1", "filter=my%20filter", "filter=", "filter=%C3%A4&filter=b"):
        assert get(server, "/sdk/flags/free-shipping?" + query).status == 200
        assert get(server, "/sdk/latest-all?" + query).status == 200
