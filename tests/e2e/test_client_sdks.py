"""The official client-side SDKs, unmodified, against the real server: in a browser, from another origin, and in Node."""
import hashlib
import hmac
import time

import pytest

import compatibility
from client_sdks import ClientSdk
from gateway import Gateway
from harness import Server, request, wait_until

ALL = ["js3", "js4", "node"]
BROWSERS = ["js3", "js4"]
NAMES = {"js4": "JavaScript in Chromium", "js3": "JavaScript in Chromium, 3.x", "node": "Node.js, client-side"}
ALICE = {"kind": "user", "key": "alice"}
EVERYBODY = {"usingMobileKey": True, "usingEnvironmentId": True}


@pytest.fixture(scope="module")
def server():
    with Server() as running:
        yield running


def client(name, server):
    return ClientSdk(name, server, server.keys["_id"])


def make_flag(server, key, **more):
    made = server.api("POST", "/api/v2/flags/demo", {"key": key, "name": key, "clientSideAvailability": EVERYBODY} | more)
    assert made.status == 201, made.body
    return made.json()


def variation_ids(flag):
    return [variation["_id"] for variation in flag["variations"]]


def test_a_browser_initializes_evaluates_and_follows_a_change(server):
    flag = f"followed-{time.time_ns()}"
    make_flag(server, flag)
    with client("js4", server) as sdk:
        assert sdk.start(ALICE, streaming=True), sdk.seen
        assert sdk.evaluate(flag)["value"] is False
        server.flag_on(flag)
        sdk.expect_change(flag)
        answer = sdk.evaluate(flag)
        assert (answer["value"], answer["variation"], answer["reason"]) == (True, 0, {"kind": "FALLTHROUGH"})
        sdk.stop()
        assert sdk.refused_by_cors() == []
        paths = [(method, path.rsplit("/", 1)[0], status) for method, path, status in sdk.requests()]
        assert ("GET", f"/sdk/evalx/{sdk.env}/contexts", 200) in paths
        assert ("GET", f"/eval/{sdk.env}", 200) in paths


@pytest.mark.broad
@pytest.mark.parametrize("name", ALL)
def test_everything_that_rest_changes_arrives(server, name):
    flag = f"edited-{name}"
    ids = variation_ids(make_flag(server, flag, isFlagOn=True, variations=[{"value": "a"}, {"value": {"b": [1, 2.5]}}]))
    with client(name, server) as sdk:
        assert sdk.start(ALICE, streaming=True), sdk.seen
        assert sdk.evaluate(flag)["value"] == "a"
        clause = {"contextKind": "user", "attribute": "key", "op": "in", "values": ["alice"]}
        server.semantic_patch(flag, [{"kind": "addRule", "clauses": [clause], "variationId": ids[1]}])
        sdk.expect_change(flag)
        answer = sdk.evaluate(flag)
        assert answer["value"] == {"b": [1, 2.5]} and answer["reason"]["kind"] == "RULE_MATCH", answer
        assert sdk.identify({"kind": "user", "key": "bob"})
        assert sdk.evaluate(flag)["value"] == "a", "the rule is for alice alone"
        # The stream is that of the new context now.
        server.flag_on(flag, on=False)
        sdk.expect_change(flag)
        assert sdk.evaluate(flag)["reason"] == {"kind": "OFF"}
        assert server.api("DELETE", f"/api/v2/flags/demo/{flag}").status == 204
        sdk.expect_change(flag)
        assert sdk.evaluate(flag)["value"] is None
        make_flag(server, flag, isFlagOn=True)
        sdk.expect_change(flag)
        assert sdk.evaluate(flag)["value"] is True, "made again, above its tombstone"
        assert sdk.identify({"kind": "multi", "user": {"key": "carol"}, "organization": {"key": "o:1%"}})
        assert sdk.evaluate(flag)["value"] is True
        sdk.stop()
        assert sdk.refused_by_cors() == []
    compatibility.add(NAMES[name], "streaming", "initialize", "types", "change", "delete", "switch context")


@pytest.mark.broad
@pytest.mark.parametrize("name", ALL)
def test_evaluations_are_counted_exactly(server, name):
    flag = f"counted-{name}"
    make_flag(server, flag, isFlagOn=True)
    with client(name, server) as sdk:
        assert sdk.start(ALICE, streaming=True), sdk.seen
        sdk.evaluate(flag, times=37)
        sdk.act("track", key="bought", metric=2.5)
        sdk.expect("tracked")
        sdk.flush()
        server.flag_on(flag, on=False)
        sdk.expect_change(flag)
        sdk.evaluate(flag, times=25)
        sdk.flush()
        sdk.evaluate("no-such-flag", times=3)
        sdk.stop()
        assert sdk.refused_by_cors() == []
    counts = wait_until(lambda: sum(server.evaluations(flag).values()) >= 62 and server.evaluations(flag), 60, "the evaluations are counted")
    assert {variation: count for variation, count in counts.items() if count} == {"0": 37, "1": 25}
    server.wait_until_processed()
    assert server.sql("SELECT count(*) FROM events WHERE kind = 'custom' AND key = 'bought'")["rows"][0][0] >= 1
    compatibility.add(NAMES[name], "streaming", "custom", "counts")


@pytest.mark.broad
@pytest.mark.parametrize("name", ALL)
def test_the_context_can_travel_in_the_body(server, name):
    flag = f"reported-{name}"
    make_flag(server, flag, isFlagOn=True)
    with client(name, server) as sdk:
        assert sdk.start(ALICE | {"name": "Ann/Ö?"}, streaming=True, useReport=True), sdk.seen
        assert sdk.evaluate(flag)["value"] is True
        server.flag_on(flag, on=False)
        sdk.expect_change(flag)
        assert sdk.evaluate(flag)["value"] is False
        sdk.stop()
        assert sdk.refused_by_cors() == []
        if name in BROWSERS:
            asked = sdk.requests()
            assert ("REPORT", f"/sdk/evalx/{sdk.env}/context", 200) in asked, asked
            assert ("GET", f"/ping/{sdk.env}", 200) in asked, asked
    compatibility.add(NAMES[name], "report", "initialize", "change")


@pytest.mark.broad
@pytest.mark.parametrize("name", ALL)
def test_a_wrong_id_fails_once_and_readably(server, name):
    with ClientSdk(name, server, "0123456789abcdef01234567") as sdk:
        assert not sdk.start(ALICE, streaming=True)
        sdk.stop()
        assert sdk.refused_by_cors() == []
        if name in BROWSERS:
            polls = [status for method, path, status in sdk.requests() if method == "GET" and "/evalx/" in path]
            assert polls == [404]
    compatibility.add(NAMES[name], "streaming", "wrong key")


@pytest.mark.broad
@pytest.mark.parametrize("name", ALL)
def test_reconnects_after_a_restart_of_the_gateway(server, name):
    flag = f"restarted-{name}"
    make_flag(server, flag)
    with client(name, server) as sdk:
        assert sdk.start(ALICE, streaming=True), sdk.seen
        assert sdk.evaluate(flag)["value"] is False
        server.kill("gateway")
        wait_until(lambda: answers(server), 30, "the gateway serves again")
        server.flag_on(flag)
        sdk.expect_change(flag, seconds=60)
        assert sdk.evaluate(flag)["value"] is True
        sdk.stop()
    compatibility.add(NAMES[name], "streaming", "reconnect")


def answers(server):
    try:
        return server.api("GET", "/api/v2/projects").status == 200
    except OSError:
        return False


def hash_of(gateway, key):
    return hmac.new(gateway.sdk_key.encode(), key.encode(), hashlib.sha256).hexdigest()


def open_flags(gateway):
    for flag in gateway.flags["flags"].values():
        flag["clientSideAvailability"] = EVERYBODY


@pytest.mark.broad
@pytest.mark.parametrize("name", ALL)
def test_secure_mode_wants_the_hash_of_the_context(name):
    with Gateway() as gateway:
        open_flags(gateway)
        gateway.import_flags("--secure-mode", "true")
        organization = {"kind": "organization", "key": "a:b%"}
        for context, hash, is_right in [(ALICE, hash_of(gateway, "alice"), True), (ALICE, None, False),
                                        (ALICE, hash_of(gateway, "bob"), False),
                                        (organization, hash_of(gateway, "organization:a%3Ab%25"), True)]:
            with ClientSdk(name, gateway, gateway.client_side_id) as sdk:
                assert sdk.start(context, hash, streaming=True) is is_right, (context, hash, sdk.seen)
                if is_right:
                    assert sdk.evaluate("banner-text")["value"] == "Welcome"
                    gateway.flags["flags"]["banner-text"]["on"] ^= True
                    gateway.import_flags()
                    sdk.expect_change("banner-text")
                    gateway.flags["flags"]["banner-text"]["on"] ^= True
                    gateway.import_flags()
                    sdk.expect_change("banner-text")
                sdk.stop()
                assert sdk.refused_by_cors() == []
    compatibility.add(NAMES[name], "secure", "initialize", "change", "secure mode")


@pytest.mark.broad
@pytest.mark.parametrize("name", ALL)
def test_a_segment_and_a_prerequisite_change_what_a_client_sees(name):
    """Neither changes the version of the flag that is asked for."""
    with Gateway() as gateway:
        open_flags(gateway)
        flags, segments = gateway.flags["flags"], gateway.flags["segments"]
        segments["friends"] = {"key": "friends", "version": 1, "included": [], "excluded": [], "salt": "s", "rules": []}
        flags["dark-mode"]["rules"] = [{"id": "r", "variation": 0, "clauses": [
            {"contextKind": "user", "attribute": "key", "op": "segmentMatch", "values": ["friends"], "negate": False}]}]
        flags["new-checkout"]["fallthrough"] = {"variation": 0}
        flags["new-checkout"]["prerequisites"] = [{"key": "free-shipping", "variation": 0}]
        flags["free-shipping"]["on"] = False
        flags["free-shipping"]["clientSideAvailability"] = {"usingMobileKey": False, "usingEnvironmentId": False}
        gateway.import_flags()
        with ClientSdk(name, gateway, gateway.client_side_id) as sdk:
            assert sdk.start(ALICE, streaming=True), sdk.seen
            assert sdk.evaluate("dark-mode")["value"] is False
            assert sdk.evaluate("new-checkout")["reason"] == {"kind": "PREREQUISITE_FAILED", "prerequisiteKey": "free-shipping"}
            assert "free-shipping" not in sdk.all_flags()
            segments["friends"]["included"] = ["alice"]
            gateway.import_flags()
            sdk.expect_change("dark-mode")
            assert sdk.evaluate("dark-mode")["value"] is True
            flags["free-shipping"]["on"] = True
            gateway.import_flags()
            sdk.expect_change("new-checkout")
            assert sdk.evaluate("new-checkout")["value"] is True
            flags["dark-mode"]["clientSideAvailability"] = {"usingMobileKey": True, "usingEnvironmentId": False}
            gateway.import_flags()
            sdk.expect_change("dark-mode")
            assert sdk.evaluate("dark-mode")["value"] is None, "hidden now"
            sdk.stop()
    compatibility.add(NAMES[name], "streaming", "hidden")


def test_mobile_sdks_are_served_by_their_key(server):
    flag = f"mobile-{time.time_ns()}"
    make_flag(server, flag, isFlagOn=True, clientSideAvailability={"usingMobileKey": True, "usingEnvironmentId": False})
    context = "eyJraW5kIjoidXNlciIsImtleSI6ImFsaWNlIn0"

    def answer(path, **headers):
        return request("GET", server.url + path + context, headers=headers)
    key = server.keys["mobileKey"]
    mobile = wait_until(lambda: (found := answer("/msdk/evalx/contexts/", Authorization=key).json()) and flag in found and found,
                        10, "the flag is delivered")
    assert mobile[flag] == {"version": mobile[flag]["version"], "flagVersion": mobile[flag]["flagVersion"], "value": True, "variation": 0}
    assert answer("/msdk/evalx/contexts/", Authorization="api_key " + key).json() == mobile
    browser = answer(f"/sdk/evalx/{server.keys['_id']}/contexts/")
    assert browser.status == 200 and flag not in browser.json()
    assert flag in answer("/sdk/evalx/contexts/", Authorization=server.sdk_key).json()
