"""The official OpenFeature SDKs with their OFREP providers, unmodified, against the real server."""
import hashlib
import hmac
import json
import os
import queue
import subprocess
import threading
import time

import pytest

import compatibility
from harness import ROOT, Server, request, wait_until

SERVER_PROVIDER, WEB_PROVIDER = "OFREP for servers", "OFREP for the web"
PROVIDER = ROOT / "tests/e2e/ofrep/provider.mjs"
FLAGS = "/ofrep/v1/evaluate/flags"


def node_major():
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout
    return int(version.removeprefix("v").split(".")[0])


class Provider:
    """A process with one provider: "server", or the web provider that follows a "stream" or has to "poll"."""

    def __init__(self, server, kind, key, context=None):
        environment = dict(os.environ) | {"FLAGSTREAM_URL": server.url, "FLAGSTREAM_KEY": key, "FLAGSTREAM_PROVIDER": kind,
                                          "FLAGSTREAM_CONTEXT": json.dumps(context or {})}
        options = ["--no-warnings"]
        if kind == "stream":
            if node_major() < 20:
                pytest.skip("Node.js 20 or newer is not installed: the web provider has no EventSource before")
            options.append("--experimental-eventsource")
        self.process = subprocess.Popen(["node", *options, str(PROVIDER)], env=environment, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        self.lines = queue.Queue()
        threading.Thread(target=lambda: [self.lines.put(json.loads(line)) for line in self.process.stdout],
                         daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def expect(self, event, seconds=30):
        while True:
            line = self.lines.get(timeout=seconds)
            if line["event"] == event:
                return line

    def say(self, command):
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()

    def evaluate(self, flag, kind="boolean", default=False, context=None):
        self.say({"flag": flag, "type": kind, "default": default, "context": context})
        return self.expect("evaluation")


@pytest.fixture(scope="module")
def server():
    with Server() as running:
        for key, variations, clients in [
                ("limit", [{"value": 20}, {"value": 50}], True),
                ("secret-plan", [{"value": True}, {"value": False}], False),
                ("with-a-switch", [{"value": True}, {"value": False}], True)]:
            answer = running.api("POST", "/api/v2/flags/demo", {
                "key": key, "name": key, "variations": variations,
                "clientSideAvailability": {"usingMobileKey": clients, "usingEnvironmentId": clients}})
            assert answer.status == 201, answer.body
        yield running


USER = {"targetingKey": "u1", "country": "de"}


def test_the_server_provider_evaluates_every_type(server):
    with Provider(server, "server", server.sdk_key) as provider:
        provider.expect("ready")
        text = provider.evaluate("banner-text", "string", "?", USER)
        assert (text["value"], text["variant"], text["reason"]) == ("Bienvenue, willkommen", "1", "TARGETING_MATCH")
        assert text["flagMetadata"]["version"] >= 1
        assert provider.evaluate("banner-text", "string", "?", USER | {"country": "us"})["reason"] == "STATIC"
        number = provider.evaluate("limit", "number", 0, USER)
        assert number["value"] in (20, 50) and number["reason"] == "DISABLED"
        boolean = provider.evaluate("new-checkout", "boolean", False, USER)
        assert boolean["reason"] == "SPLIT" and boolean["value"] in (True, False)
        organization = USER | {"kind": "organization", "targetingKey": "o1"}
        thing = provider.evaluate("search-config", "object", {}, organization)
        assert thing["value"]["engine"] in ("classic", "semantic") and thing["reason"] == "SPLIT"
        assert provider.evaluate("free-shipping", "boolean", False, USER)["reason"] == "DISABLED"


def test_the_server_provider_reports_what_is_wrong(server):
    with Provider(server, "server", server.sdk_key) as provider:
        provider.expect("ready")
        mismatch = provider.evaluate("banner-text", "boolean", True, USER)
        assert (mismatch["value"], mismatch["errorCode"]) == (True, "TYPE_MISMATCH")
        for key in ("no-such-flag", "no/such flag"):
            assert provider.evaluate(key, "string", "mine", USER)["errorCode"] == "FLAG_NOT_FOUND"
        nobody = provider.evaluate("banner-text", "string", "mine", {})
        assert (nobody["value"], nobody["errorCode"]) == ("mine", "TARGETING_KEY_MISSING")
        wrong = provider.evaluate("banner-text", "string", "mine", USER | {"anonymous": "perhaps"})
        assert (wrong["value"], wrong["errorCode"]) == ("mine", "INVALID_CONTEXT")
    compatibility.add(SERVER_PROVIDER, "single", "initialize", "types", "switch context")


def test_a_web_provider_sees_only_what_is_for_it_and_every_change_at_once(server):
    with Provider(server, "stream", server.keys["_id"], USER) as provider:
        provider.expect("ready")
        assert provider.evaluate("banner-text", "string", "?")["value"] == "Bienvenue, willkommen"
        assert provider.evaluate("limit", "number", 0)["value"] in (20, 50)
        assert provider.evaluate("secret-plan", "boolean", True)["errorCode"] == "FLAG_NOT_FOUND"
        assert provider.evaluate("banner-text", "boolean", True)["errorCode"] == "TYPE_MISMATCH"
        wait_until(lambda: server.metrics()["flagstream_delivery_ofrep_streams"] == 1, 20, "the provider follows")
        before = provider.evaluate("with-a-switch")["value"]
        server.flag_on("with-a-switch", on=not before)
        assert "with-a-switch" in provider.expect("changed")["flags"]
        assert provider.evaluate("with-a-switch")["value"] is not before
    compatibility.add(WEB_PROVIDER, "stream", "initialize", "types", "change", "hidden")


def answer_of(server, key):
    return request("POST", server.url + FLAGS, {"context": USER}, {"Authorization": f"Bearer {key}"})


@pytest.mark.broad
def test_a_web_provider_that_polls_is_told_304_and_sees_a_change_at_the_next_poll(server):
    with Provider(server, "poll", server.keys["mobileKey"], USER) as provider:
        provider.expect("ready")
        unchanged = server.metrics()["flagstream_delivery_ofrep_not_modified_total"]
        wait_until(lambda: server.metrics()["flagstream_delivery_ofrep_not_modified_total"] > unchanged + 1, 20,
                   "polls are answered 304")
        before = provider.evaluate("with-a-switch")["value"]
        server.flag_on("with-a-switch", on=not before)
        assert provider.expect("changed")["flags"] == ["with-a-switch"]
        assert provider.evaluate("with-a-switch")["value"] is not before
    compatibility.add(WEB_PROVIDER, "poll", "initialize", "change")


@pytest.mark.broad
def test_the_server_provider_sees_a_change_at_its_next_evaluation(server):
    with Provider(server, "server", server.sdk_key) as provider:
        provider.expect("ready")
        before = provider.evaluate("with-a-switch", context=USER)["value"]
        server.flag_on("with-a-switch", on=not before)
        wait_until(lambda: provider.evaluate("with-a-switch", context=USER)["value"] is not before, 20, "the change arrives")
    compatibility.add(SERVER_PROVIDER, "single", "change")


@pytest.mark.broad
def test_another_context_gets_its_own_values(server):
    with Provider(server, "stream", server.keys["_id"], USER) as provider:
        provider.expect("ready")
        assert provider.evaluate("banner-text", "string", "?")["value"] == "Bienvenue, willkommen"
        provider.say({"setContext": {"targetingKey": "u2", "country": "us"}})
        provider.expect("context")
        assert provider.evaluate("banner-text", "string", "?")["value"] == "Welcome"
    compatibility.add(WEB_PROVIDER, "stream", "switch context")


@pytest.mark.broad
def test_bulk_hides_flags_by_credential(server):
    seen = {name: {each["key"] for each in answer_of(server, server.keys[name]).json()["flags"]}
            for name in ("apiKey", "mobileKey", "_id")}
    assert {"secret-plan", "search-config", "free-shipping"} <= seen["apiKey"]
    assert not {"secret-plan", "search-config", "free-shipping"} & (seen["mobileKey"] | seen["_id"])
    assert {"limit", "banner-text"} <= seen["_id"]


@pytest.mark.broad
@pytest.mark.parametrize("kind", ["stream", "poll"])
def test_a_wrong_key_is_a_fatal_error_of_the_web_provider(server, kind):
    with Provider(server, kind, "0123456789abcdef01234567", USER) as provider:
        failed = provider.expect("failed")
        assert failed["code"] == "PROVIDER_FATAL", failed
    compatibility.add(WEB_PROVIDER, kind, "wrong key")


@pytest.mark.broad
def test_a_missing_targeting_key_fails_the_web_provider(server):
    with Provider(server, "poll", server.keys["_id"], {}) as provider:
        assert "status: 400" in provider.expect("failed")["message"]


@pytest.mark.broad
def test_a_wrong_key_gives_the_server_provider_its_defaults(server):
    with Provider(server, "server", "sdk-wrong") as provider:
        provider.expect("ready")
        answer = provider.evaluate("banner-text", "string", "mine", USER)
        assert (answer["value"], answer["reason"], answer["errorCode"]) == ("mine", "ERROR", "GENERAL")
    compatibility.add(SERVER_PROVIDER, "single", "wrong key")


@pytest.mark.broad
def test_providers_go_on_after_the_gateway_was_killed(server):
    with Provider(server, "stream", server.keys["_id"], USER) as web, Provider(server, "server", server.sdk_key) as ours:
        web.expect("ready")
        ours.expect("ready")
        wait_until(lambda: server.metrics()["flagstream_delivery_ofrep_streams"] >= 1, 20, "the provider follows")
        before = web.evaluate("with-a-switch")["value"]
        server.kill("gateway")
        web.expect("stale")
        wait_until(lambda: switch(server, not before), 30, "the flag is switched while the provider is away or back")
        wait_until(lambda: web.evaluate("with-a-switch")["value"] is not before, 60, "the provider has caught up")
        assert ours.evaluate("with-a-switch", context=USER)["value"] is not before
    compatibility.add(WEB_PROVIDER, "stream", "reconnect")
    compatibility.add(SERVER_PROVIDER, "single", "reconnect")


def switch(server, on):
    try:
        server.flag_on("with-a-switch", on=on)
        return True
    except (OSError, AssertionError):
        return False


@pytest.mark.broad
def test_a_rotated_key_cuts_no_provider_off():
    with Server() as server:
        old = server.sdk_key
        expiry = int((time.time() + 3600) * 1000)
        answer = server.api("POST", f"/api/v2/projects/demo/environments/production/apiKey?expiry={expiry}")
        assert answer.status == 200, answer.body
        for key in (old, answer.json()["apiKey"]):
            with Provider(server, "server", key) as provider:
                provider.expect("ready")
                assert provider.evaluate("banner-text", "string", "?", USER)["value"] == "Bienvenue, willkommen"
    compatibility.add(SERVER_PROVIDER, "single", "rotated key")


@pytest.mark.broad
def test_secure_mode_holds_here_too():
    with Server() as server:
        path = "/api/v2/projects/demo/environments/production"
        changed = server.api("PATCH", path, [{"op": "replace", "path": "/secureMode", "value": True}])
        assert changed.status == 200, changed.body
        client_side_id = server.keys["_id"]
        wait_until(lambda: answer_of(server, client_side_id).status == 400, 20, "the hash is missed")
        hashed = hmac.new(server.sdk_key.encode(), b"u1", hashlib.sha256).hexdigest()
        for hash, status in [(hashed, 200), (hashed[::-1], 400)]:
            answer = request("POST", f"{server.url}{FLAGS}?h={hash}", {"context": USER},
                             {"Authorization": f"Bearer {client_side_id}"})
            assert answer.status == status, answer.body
        assert answer_of(server, server.sdk_key).status == 200
