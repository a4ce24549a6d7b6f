"""The newer protocol ("data system", FDv2): with the official Node SDK, and as requests."""
import http.client
import json

import pytest

from harness import Server, request, wait_until
from sdk import Sdk

USER = {"kind": "user", "key": "u1"}


@pytest.fixture(scope="module")
def server():
    with Server() as running:
        yield running


def transfers(server):
    return {kind: server.metrics()[f'flagstream_delivery_fdv2_transfers_total{{intent="{kind}"}}']
            for kind in ("full", "changes", "none")}


def is_serving(server):
    try:
        return request("GET", server.url + "/readyz").status == 200
    except OSError:
        return False


def restart_gateway(server):
    before = server.pid("gateway")
    server.kill("gateway")
    wait_until(lambda: server.pid("gateway") != before and is_serving(server), 30, "the gateway serves again")


def poll(server, basis=None):
    query = "" if basis is None else "?basis=" + basis
    answer = request("GET", server.url + "/sdk/poll" + query, headers={"Authorization": server.sdk_key})
    assert answer.status == 200, answer.body
    assert answer.headers["X-LD-EnvID"] == server.keys["_id"]
    events = answer.json()["events"]
    assert events[0]["event"] == "server-intent"
    return events


def intent_of(events):
    return events[0]["data"]["payloads"][0]["intentCode"]


def state_of(events):
    assert events[-1]["event"] == "payload-transferred"
    return events[-1]["data"]["state"]


def test_the_sdk_initializes_evaluates_and_follows(server):
    before = transfers(server)
    sdk = Sdk(server, "fdv2")
    sdk.expect("ready")
    old = sdk.evaluate("free-shipping", USER)["value"]
    assert old in (True, False)
    # One poll brings everything, the stream goes on from its selector.
    wait_until(lambda: server.metrics()["flagstream_delivery_fdv2_streams"] == 1, 20, "the SDK streams")
    after = transfers(server)
    assert after["full"] - before["full"] == 1 and after["none"] - before["none"] == 1, (before, after)

    server.flag_on("free-shipping", on=not old)
    assert sdk.expect("update")["key"] == "free-shipping"
    assert sdk.evaluate("free-shipping", USER)["value"] is not old
    assert server.api("POST", "/api/v2/flags/demo", {"key": "short-lived", "name": "Short lived"}).status == 201
    assert sdk.expect("update")["key"] == "short-lived"
    assert sdk.evaluate("short-lived", USER)["value"] is False
    assert server.api("DELETE", "/api/v2/flags/demo/short-lived").status == 204
    assert sdk.expect("update")["key"] == "short-lived"
    assert sdk.evaluate("short-lived", USER)["reason"] == {"kind": "ERROR", "errorKind": "FLAG_NOT_FOUND"}
    assert transfers(server)["full"] == after["full"]
    sdk.close()


def test_the_sdk_comes_back_after_a_gateway_restart_without_a_full_transfer(server):
    sdk = Sdk(server, "fdv2")
    sdk.expect("ready")
    wait_until(lambda: server.metrics()["flagstream_delivery_fdv2_streams"] >= 1, 20, "the SDK streams")
    old = sdk.evaluate("free-shipping", USER)["value"]
    restart_gateway(server)
    server.flag_on("free-shipping", on=not old)
    wait_until(lambda: sdk.evaluate("free-shipping", USER)["value"] is not old, 40, "the SDK sees the change")
    assert transfers(server)["full"] == 0, "its selector is older than the new process, and still good"
    sdk.close()


def test_a_selector_is_good_in_polls_and_streams_and_after_a_restart(server):
    events = poll(server)
    assert intent_of(events) == "xfer-full"
    kinds = {event["event"] for event in events[1:-1]}
    assert kinds == {"put-object"}
    for event in events[1:-1]:
        assert set(event["data"]) == {"kind", "key", "version", "object"}
        assert event["data"]["object"]["version"] == event["data"]["version"]
    state = state_of(events)
    assert intent_of(poll(server, state)) == "none"
    restart_gateway(server)
    assert intent_of(poll(server, state)) == "none"
    server.semantic_patch("dark-mode", [{"kind": "turnFlagOn"}])
    off = server.semantic_patch("dark-mode", [{"kind": "turnFlagOff"}])["environments"]["production"]["version"]

    def changes_with_both():
        events = poll(server, state)
        return events if any(event["data"].get("version") == off for event in events[1:-1]) else None
    changes = wait_until(changes_with_both, 20, "both changes are there")
    assert intent_of(changes) == "xfer-changes"
    assert [event["data"]["key"] for event in changes[1:-1]] == ["dark-mode"]
    for odd in ("(p:p1:7)", "", "1.1.1.000000000000abcd", "%00", "x" * 5000):
        assert intent_of(poll(server, odd)) == "xfer-full"

    stream = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    stream.request("GET", "/sdk/stream?basis=" + state_of(changes), headers={"Authorization": server.sdk_key})
    answer = stream.getresponse()
    assert answer.status == 200 and answer.headers["Content-Type"].startswith("text/event-stream")
    assert answer.readline() == b"event: server-intent\n"
    assert json.loads(answer.readline().removeprefix(b"data: "))["payloads"][0]["intentCode"] == "none"
    assert answer.readline() == b"\n"
    server.semantic_patch("dark-mode", [{"kind": "turnFlagOn"}])
    assert answer.readline() == b"event: put-object\n"
    assert json.loads(answer.readline().removeprefix(b"data: "))["key"] == "dark-mode"
    stream.close()


def test_where_it_is_off_the_sdk_falls_back():
    with Server(settings={"delivery.fdv2": "false"}) as server:
        answer = request("GET", server.url + "/sdk/poll", headers={"Authorization": server.sdk_key})
        assert answer.status == 404 and answer.headers["X-LD-FD-Fallback"] == "true"
        sdk = Sdk(server, "fdv2")
        sdk.expect("ready")
        assert sdk.evaluate("free-shipping", USER)["value"] in (True, False)
        assert server.metrics()["flagstream_delivery_polls_total"] >= 1
        sdk.close()


def test_old_streams_are_ended_and_the_sdk_comes_back():
    with Server(settings={"delivery.max_stream_age": "1s", "delivery.heartbeat": "1s"}) as server:
        for mode in ("streaming", "fdv2"):
            sdk = Sdk(server, mode)
            sdk.expect("ready")
            before = server.metrics()['flagstream_delivery_streams_aged_total{side="server"}']
            wait_until(lambda: server.metrics()['flagstream_delivery_streams_aged_total{side="server"}'] > before, 20, "a stream was ended")
            old = sdk.evaluate("free-shipping", USER)["value"]
            server.flag_on("free-shipping", on=not old)
            wait_until(lambda: sdk.evaluate("free-shipping", USER)["value"] is not old, 40, "the SDK follows all the same")
            sdk.close()
