"""The official Node SDK, unmodified, against the gateway."""
import copy

import pytest

from gateway import Gateway
from harness import wait_until
from sdk import Sdk

USER = {"kind": "user", "key": "u1"}


@pytest.fixture(scope="module")
def gateway():
    with Gateway() as running:
        yield running


@pytest.mark.parametrize("mode", ["streaming", "polling"])
def test_initializes_and_evaluates(gateway, mode):
    sdk = Sdk(gateway, mode)
    sdk.expect("ready")
    # The values of the flags' own document: an off flag serves its off variation, a rule the variation it names.
    assert sdk.evaluate("free-shipping", USER)["value"] is False
    answer = sdk.evaluate("banner-text", USER | {"country": "de"})
    assert (answer["value"], answer["variationIndex"], answer["reason"]["kind"]) == ("Bienvenue, willkommen", 1, "RULE_MATCH")
    assert sdk.evaluate("new-checkout", USER)["variationIndex"] in (0, 1)
    sdk.close()


def test_a_change_and_a_deletion_arrive_as_updates(gateway):
    original = copy.deepcopy(gateway.flags)
    sdk = Sdk(gateway, "streaming")
    sdk.expect("ready")
    assert sdk.evaluate("free-shipping", USER)["value"] is False
    gateway.flags["flags"]["free-shipping"]["on"] = True
    gateway.flags["flags"]["free-shipping"]["fallthrough"] = {"variation": 0}
    gateway.import_flags()
    assert sdk.expect("update")["key"] == "free-shipping"
    assert sdk.evaluate("free-shipping", USER)["value"] is True
    del gateway.flags["flags"]["dark-mode"]
    gateway.import_flags()
    assert sdk.expect("update")["key"] == "dark-mode"
    assert sdk.evaluate("dark-mode", USER)["reason"] == {"kind": "ERROR", "errorKind": "FLAG_NOT_FOUND"}
    gateway.flags = original
    gateway.import_flags()
    assert {sdk.expect("update")["key"] for _ in range(2)} == {"free-shipping", "dark-mode"}
    assert sdk.evaluate("dark-mode", USER | {"kind": "device", "os": "ios"})["value"] is True
    sdk.close()


def test_reconnects_after_the_gateway_was_killed_and_sees_what_changed_meanwhile(gateway):
    sdk = Sdk(gateway, "streaming")
    sdk.expect("ready")
    before = sdk.evaluate("free-shipping", USER)["value"]
    gateway.kill("gateway")
    gateway.flags["flags"]["free-shipping"]["on"] = not before
    gateway.import_flags()
    wait_until(lambda: sdk.evaluate("free-shipping", USER)["value"] is not before, 40, "the SDK sees the change")
    sdk.close()


def test_its_events_are_in_the_log_once_it_has_closed(gateway):
    before = sum(gateway.payloads().values())
    sdk = Sdk(gateway, "streaming")
    sdk.expect("ready")
    sdk.evaluate("new-checkout", USER)
    sdk.close()
    # One payload of analytics, and the diagnostic event of a started SDK.
    assert sum(gateway.payloads().values()) >= before + 2
