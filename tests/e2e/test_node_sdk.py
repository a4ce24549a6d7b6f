"""The official Node SDK, unmodified, against the real server."""
import json
import subprocess

import pytest

from harness import BINARY, Server, request, wait_until
from sdk import Sdk

FLAGS = ["new-checkout", "banner-text", "search-config", "dark-mode", "free-shipping"]


@pytest.fixture(scope="module")
def server():
    with Server() as running:
        yield running


@pytest.mark.parametrize("mode", ["streaming", "polling"])
def test_initializes_and_evaluates(server, mode):
    sdk = Sdk(server, mode)
    sdk.expect("ready")
    answer = sdk.evaluate("new-checkout", {"kind": "user", "key": "u1"})
    assert answer["value"] in (True, False) and answer["variationIndex"] in (0, 1)
    sdk.close()


def test_a_change_and_a_deletion_through_rest_arrive_as_updates(server):
    sdk = Sdk(server, "streaming")
    sdk.expect("ready")
    before = sdk.evaluate("free-shipping", {"kind": "user", "key": "u1"})["value"]
    server.flag_on("free-shipping", on=not before)
    assert sdk.expect("update")["key"] == "free-shipping"
    after = sdk.evaluate("free-shipping", {"kind": "user", "key": "u1"})["value"]
    assert after is not before
    assert server.api("POST", "/api/v2/flags/demo", {"key": "short-lived", "name": "Short lived"}).status == 201
    assert sdk.expect("update")["key"] == "short-lived"
    assert sdk.evaluate("short-lived", {"kind": "user", "key": "u1"})["value"] is False
    assert server.api("DELETE", "/api/v2/flags/demo/short-lived").status == 204
    assert sdk.expect("update")["key"] == "short-lived"
    assert sdk.evaluate("short-lived", {"kind": "user", "key": "u1"})["reason"] == {"kind": "ERROR", "errorKind": "FLAG_NOT_FOUND"}
    sdk.close()


def contexts():
    for n in range(1000):
        yield {"kind": "multi",
               "user": {"key": f"user-{n}", "country": ["us", "de", "fr", "gb"][n % 4], "anonymous": n % 5 == 0},
               "organization": {"key": f"org-{n % 37}", "plan": ["free", "pro"][n % 2]},
               "device": {"key": f"device-{n}", "os": ["ios", "android", "linux"][n % 3]}}


def test_values_equal_those_of_flagstream_evaluate(server, tmp_path):
    sdk = Sdk(server, "streaming")
    sdk.expect("ready")
    document = request("GET", server.url + "/sdk/latest-all", headers={"Authorization": server.sdk_key}).body
    data = json.loads(document)
    lines = [json.dumps({"flags": data["flags"], "segments": data["segments"], "flag": flag, "context": context})
             for flag in FLAGS for context in contexts()]
    ours = subprocess.run([str(BINARY), "evaluate", "--batch"], input="\n".join(lines) + "\n", capture_output=True,
                          text=True, check=True, timeout=60).stdout.splitlines()
    assert len(ours) == len(lines) == 5000
    position = 0
    for flag in FLAGS:
        for context in contexts():
            theirs = sdk.evaluate(flag, context)
            mine = json.loads(ours[position])
            position += 1
            assert mine["value"] == theirs["value"] or mine["variationIndex"] is None, (flag, context, mine, theirs)
            assert mine["variationIndex"] == theirs["variationIndex"]
            assert mine["reason"] == theirs["reason"]
    sdk.close()


def test_reconnects_after_a_gateway_restart(server):
    sdk = Sdk(server, "streaming")
    sdk.expect("ready")
    before = sdk.evaluate("free-shipping", {"kind": "user", "key": "u1"})["value"]
    server.kill("gateway")
    wait_until(lambda: answers(server), 20, "the gateway serves again")
    server.flag_on("free-shipping", on=not before)
    wait_until(lambda: sdk.evaluate("free-shipping", {"kind": "user", "key": "u1"})["value"] is not before, 40,
               "the SDK sees the change made meanwhile")
    sdk.close()


def answers(server):
    try:
        return server.api("GET", "/api/v2/projects").status == 200
    except OSError:
        return False
