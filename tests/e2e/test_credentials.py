"""Keys that replace one another under the official Node SDK, and floods of unknown ones."""
import concurrent.futures
import http.client
import statistics
import time
import types
import uuid

import pytest

from harness import Server, request, wait_until
from sdk import Sdk

PRODUCTION = "/api/v2/projects/demo/environments/production"
KEYS = "/api/internal/projects/demo/environments/production/keys"
USER = {"kind": "user", "key": "u1"}


@pytest.fixture(scope="module")
def server():
    with Server() as running:
        yield running


def connect(server, key):
    sdk = Sdk(types.SimpleNamespace(url=server.url, sdk_key=key), "streaming")
    sdk.expect("ready")
    return sdk


def reset(server, kind, seconds=None):
    """The new key, and when the old one expires (ms)."""
    expiry = None if seconds is None else int((time.time() + seconds) * 1000)
    answer = server.api("POST", f"{PRODUCTION}/{kind}" + (f"?expiry={expiry}" if expiry else ""))
    assert answer.status == 200, answer.body
    return answer.json()[kind], expiry


def current(server, kind="apiKey"):
    return server.api("GET", PRODUCTION).json()[kind]


def poll(server, key):
    return request("GET", server.url + "/sdk/latest-all", headers={"Authorization": key}).status


def send_events(server, key, path="/bulk"):
    return request("POST", server.url + path, [], {"Authorization": key, "X-LaunchDarkly-Event-Schema": "4"}).status


def is_on(server, flag):
    return server.api("GET", f"/api/v2/flags/demo/{flag}").json()["environments"]["production"]["on"]


def flip(server, flag):
    server.flag_on(flag, on=not is_on(server, flag))


def test_a_key_rotates_under_live_streams(server):
    old_key = current(server)
    old = connect(server, old_key)
    new_key, expiry = reset(server, "apiKey", seconds=15)
    assert new_key != old_key
    new = connect(server, new_key)
    listed = server.api("GET", KEYS).json()["items"]
    assert [(each["kind"], each["value"], each["expiry"]) for each in listed] == [("sdk", old_key, expiry)]

    counted = sum(server.evaluations("free-shipping").values())
    flip(server, "free-shipping")
    for sdk in (old, new):
        assert sdk.expect("update")["key"] == "free-shipping"
        sdk.evaluate("free-shipping", USER)
    wait_until(lambda: sum(server.evaluations("free-shipping").values()) == counted + 2, 30, "both SDKs' events are counted")
    assert poll(server, old_key) == 200 and send_events(server, old_key) == 202
    assert time.time() * 1000 < expiry, "the machine is too slow for this test"

    refused = old.expect("error", seconds=40)
    assert time.time() * 1000 >= expiry and refused["message"].startswith("Authentication failed"), refused
    assert poll(server, old_key) == 401 and send_events(server, old_key) == 401
    assert server.api("GET", KEYS).json()["items"] == []

    before = old.evaluate("free-shipping", USER)["value"]
    flip(server, "free-shipping")
    assert new.expect("update")["key"] == "free-shipping"
    assert new.evaluate("free-shipping", USER)["value"] is not before
    assert old.evaluate("free-shipping", USER)["value"] is before, "it goes on with what it had"
    assert poll(server, new_key) == 200 and send_events(server, new_key) == 202
    assert new.lines.empty(), "nothing disturbed the new key's stream"
    old.close()
    new.close()


def test_without_an_expiry_the_old_key_ends_at_once(server):
    old_key = current(server)
    sdk = connect(server, old_key)
    new_key, _ = reset(server, "apiKey")
    assert sdk.expect("error")["message"].startswith("Authentication failed")
    assert poll(server, old_key) == 401 and send_events(server, old_key) == 401
    assert poll(server, new_key) == 200
    sdk.close()


def test_a_mobile_key_rotates_and_an_old_key_is_ended_early(server):
    old_key = current(server, "mobileKey")
    sdk_key = current(server)
    stream = connect(server, sdk_key)
    new_key, _ = reset(server, "mobileKey", seconds=3600)
    assert send_events(server, old_key, "/mobile") == 202 and send_events(server, new_key, "/mobile") == 202
    old = server.api("GET", KEYS).json()["items"][0]
    assert server.api("DELETE", f"{KEYS}/{old['_id']}").status == 204
    wait_until(lambda: send_events(server, old_key, "/mobile") == 401, 10, "the old key is refused")
    assert send_events(server, new_key, "/mobile") == 202
    flip(server, "free-shipping")
    assert stream.expect("update")["key"] == "free-shipping", "the stream of the SDK key went on"
    stream.close()


def test_a_key_rotates_by_the_command_line(server):
    old_key = current(server)
    place = ["--data", str(server.data), "--project", "demo"]
    rotated = server.cli("keys", "rotate", "--grace", "1h", *place)
    assert rotated.returncode == 0, rotated.stderr
    new_key = rotated.stdout.strip()
    assert new_key == current(server)
    wait_until(lambda: poll(server, new_key) == 200, 10, "the new key is served")
    assert poll(server, old_key) == 200
    shown = server.cli("keys", *place).stdout
    assert f"SDK key         {new_key}\n" in shown and f"old SDK key     {old_key}  until " in shown
    assert server.cli("keys", "end", shown.split(", ID ")[1].split()[0], *place).returncode == 0
    wait_until(lambda: poll(server, old_key) == 401, 10, "the old key is refused")
    assert server.cli("keys", "rotate", "--grace", "soon", *place).returncode == 2


def timed_polls(server, key, count):
    seconds = []
    for _ in range(count):
        began = time.monotonic()
        assert poll(server, key) == 200
        assert send_events(server, key) == 202
        seconds.append(time.monotonic() - began)
    return statistics.median(seconds)


def flood(server, count, key_of):
    """Statuses of that many requests on one connection."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    statuses = []
    for i in range(count):
        connection.request("GET", "/sdk/latest-all", headers={"Authorization": key_of()})
        answer = connection.getresponse()
        answer.read()
        statuses.append(answer.status)
        if answer.status == 503:
            assert answer.headers["Retry-After"]
    connection.close()
    return statuses


def test_a_flood_of_unknown_keys_harms_no_known_one(server):
    key = current(server)
    alone = timed_polls(server, key, 50)
    before = server.metrics()
    began = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        running = [threads.submit(flood, server, 500, lambda: f"sdk-{uuid.uuid4()}") for _ in range(6)]
        running += [threads.submit(flood, server, 500, lambda: "sdk-always-the-same") for _ in range(2)]
        under_flood = timed_polls(server, key, 50)
        statuses = [status for each in running for status in each.result()]
    seconds = time.monotonic() - began
    after = server.metrics()

    def grown(name):
        return after[name] - before[name]
    print(f"a poll and a batch: {alone * 1000:.1f} ms alone, {under_flood * 1000:.1f} ms in the flood;",
          {status: statuses.count(status) for status in set(statuses)})
    assert set(statuses) <= {401, 503} and len(statuses) == 4000
    lookups = grown("flagstream_delivery_unknown_lookups_total")
    assert 0 < lookups <= 100 + 50 * (seconds + 1)
    assert grown("flagstream_delivery_unknown_limited_total") == 4000 - lookups
    assert grown("flagstream_delivery_unknown_cached_total") > 0
    assert grown("flagstream_delivery_stale_total") == 0, "no known key waited in vain"
    assert under_flood < 20 * alone + 0.5
    assert grown("process_resident_memory_bytes") < 64 << 20

    # A key that is made in the middle of it is served as soon as its change has arrived.
    with concurrent.futures.ThreadPoolExecutor(1) as threads:
        running = threads.submit(flood, server, 500, lambda: f"sdk-{uuid.uuid4()}")
        new_key, _ = reset(server, "apiKey", seconds=3600)
        wait_until(lambda: poll(server, new_key) == 200, 20, "the new key is served")
        running.result()
    assert poll(server, key) == 200
