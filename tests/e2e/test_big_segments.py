"""Big segments end to end: members by REST, evaluations that the server makes itself, and what SDKs are told."""
import base64
import http.client
import json
import time

import pytest

from harness import Server, request, wait_until

SEGMENTS = "/api/v2/segments/demo/production"
FLAG = "for-members"


class Stream:
    """An open stream of server-sent events, as (name, data)."""

    def __init__(self, server, path, headers=None):
        self.connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        self.connection.request("GET", path, headers=headers or {})
        self.answer = self.connection.getresponse()
        assert self.answer.status == 200, self.answer.read()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.connection.close()

    def next(self):
        name, data = None, ""
        while True:
            line = self.answer.readline().decode().rstrip("\n")
            if line.startswith("event: "):
                name = line.removeprefix("event: ")
            elif line.startswith("data: "):
                data += line.removeprefix("data: ")
            elif line == "" and name:
                return name, json.loads(data)

    def expect(self, event):
        while True:
            name, data = self.next()
            if name == event:
                return data


def create(server, key, **more):
    answer = server.api("POST", SEGMENTS, {"key": key, "name": key, "unbounded": True} | more)
    assert answer.status == 201, answer.body


def change(server, key, **lists):
    answer = server.api("POST", f"{SEGMENTS}/{key}/contexts", lists)
    assert answer.status == 204, answer.body


def create_flag(server, flag, segment):
    """False for everybody, true for the segment's members."""
    answer = server.api("POST", "/api/v2/flags/demo", {
        "key": flag, "name": flag, "isFlagOn": True, "variations": [{"value": False}, {"value": True}],
        "defaults": {"onVariation": 0, "offVariation": 0},
        "clientSideAvailability": {"usingMobileKey": True, "usingEnvironmentId": True}})
    assert answer.status == 201, answer.body
    clause = {"attribute": "", "op": "segmentMatch", "values": [segment]}
    server.semantic_patch(flag, [{"kind": "addRule", "clauses": [clause],
                                  "variationId": answer.json()["variations"][1]["_id"]}])


def path_of(context):
    return base64.urlsafe_b64encode(json.dumps(context).encode()).decode().rstrip("=")


def all_flags(server, context, **query):
    """What a browser gets; the Answer."""
    more = "".join(f"&{name}={value}" for name, value in query.items())
    return request("GET", f"{server.url}/sdk/evalx/{server.keys['_id']}/contexts/{path_of(context)}?{more}")


def evaluate(server, key, flag=FLAG, kind="user"):
    """None while it is not known: the flag is on its way, or the gateway reads memberships after its start (503)."""
    answer = all_flags(server, {"kind": kind, "key": key})
    if answer.status == 503:
        return None
    assert answer.status == 200, answer.body
    return answer.json().get(flag, {}).get("value")


def evaluate_remotely(server, key, flag=FLAG):
    """By OFREP."""
    answer = request("POST", f"{server.url}/ofrep/v1/evaluate/flags/{flag}", {"context": {"targetingKey": key}},
                     {"X-API-Key": server.sdk_key})
    assert answer.status == 200, answer.body
    return answer.json()["value"]


def expect(server, values, **how):
    """Until these keys get these values: an edit is on its way for some milliseconds after its answer."""
    wait_until(lambda: {key: evaluate(server, key, **how) for key in values} == values, 10, f"evaluations are {values}")


@pytest.fixture(scope="module")
def server():
    with Server() as running:
        create(running, "vips")
        create_flag(running, FLAG, "vips")
        yield running


def test_members_get_what_the_rule_says(server):
    change(server, "vips", included={"add": ["ann", "ben"]}, excluded={"add": ["eve", "ben"]})
    expect(server, {"ann": True, "ben": True, "eve": False, "zoe": False})
    assert [evaluate_remotely(server, key) for key in ("ann", "eve", "zoe")] == [True, False, False]
    assert evaluate(server, "ann", kind="org") is False, "the segment is about users"
    reason = all_flags(server, {"kind": "user", "key": "ann"}, withReasons="true").json()[FLAG]["reason"]
    assert reason["kind"] == "RULE_MATCH" and reason["bigSegmentsStatus"] == "HEALTHY", reason
    change(server, "vips", included={"remove": ["ann", "ben"]}, excluded={"remove": ["eve", "ben"]})
    expect(server, {"ann": False, "ben": False, "eve": False})


def test_the_same_key_added_and_removed_at_once_is_there_for_everybody(server):
    change(server, "vips", included={"add": ["both"], "remove": ["both"]})
    assert server.api("GET", f"{SEGMENTS}/vips/contexts/both").json()["included"] is True
    expect(server, {"both": True})


def test_an_excluded_context_is_no_member_whatever_the_rules_say(server):
    create(server, "all-but")
    answer = server.api("PATCH", f"{SEGMENTS}/all-but", {"instructions": [{"kind": "addRule", "clauses": [
        {"contextKind": "user", "attribute": "email", "op": "endsWith", "values": ["@shop.example"]}]}]},
        {"Content-Type": "application/json; domain-model=launchdarkly.semanticpatch"})
    assert answer.status == 200, answer.body
    create_flag(server, "for-staff", "all-but")
    change(server, "all-but", excluded={"add": ["left"]}, included={"add": ["guest"]})

    def value(key, email):
        return all_flags(server, {"kind": "user", "key": key, "email": email}).json().get("for-staff", {}).get("value")
    wait_until(lambda: value("guest", "guest@elsewhere.example"), 10, "the guest is a member")
    assert value("joe", "joe@shop.example") is True
    assert value("left", "left@shop.example") is False
    assert value("joe", "joe@elsewhere.example") is False


def test_a_segment_of_another_kind_is_about_that_kind(server):
    create(server, "large-customers", unboundedContextKind="org")
    create_flag(server, "for-large", "large-customers")
    change(server, "large-customers", included={"add": ["acme"]})
    expect(server, {"acme": True}, flag="for-large", kind="org")
    assert evaluate(server, "acme", "for-large", "user") is False
    both = {"kind": "multi", "user": {"key": "ann"}, "org": {"key": "acme"}}
    assert all_flags(server, both).json()["for-large"]["value"] is True


def test_an_open_stream_gets_a_patch_when_its_context_joins_and_leaves(server):
    env = server.keys["_id"]
    with Stream(server, f"/eval/{env}/{path_of({'kind': 'user', 'key': 'joiner'})}") as joiner, \
            Stream(server, f"/meval/{path_of({'kind': 'user', 'key': 'joiner'})}",
                   {"Authorization": server.keys["mobileKey"]}) as mobile:
        version = joiner.expect("put")[FLAG]["version"]
        mobile.expect("put")
        for value in (True, False):
            change(server, "vips", included={"add" if value else "remove": ["joiner"]})
            patch = joiner.expect("patch")
            assert (patch["key"], patch["value"]) == (FLAG, value), patch
            assert patch["version"] > version
            version = patch["version"]
            assert mobile.expect("patch")["value"] is value


def test_no_sdk_is_told_who_the_members_are(server):
    change(server, "vips", included={"add": ["a-very-secret-member"]})
    expect(server, {"a-very-secret-member": True})
    key = {"Authorization": server.sdk_key}
    poll = request("GET", server.url + "/sdk/latest-all", headers=key)
    segment = poll.json()["segments"]["vips"]
    assert segment["unbounded"] is True and segment["generation"] > 0, segment
    assert segment["included"] == [] and segment["excluded"] == [], segment
    with Stream(server, "/all", key) as stream:
        put = json.dumps(stream.expect("put"))
    newer = request("GET", server.url + "/sdk/poll", headers=key).body.decode()
    alone = request("GET", server.url + "/sdk/segments/vips", headers=key).body.decode()
    browser = all_flags(server, {"kind": "user", "key": "zoe"}, withReasons="true").body.decode()
    for document in (poll.body.decode(), put, newer, alone, browser):
        assert "a-very-secret-member" not in document
    assert "vips" not in browser


def test_bad_input_is_refused_and_changes_nothing(server):
    server.api("POST", SEGMENTS, {"key": "bounded", "name": "bounded"})
    good = {"included": {"add": ["never"]}}
    for key, body, status in [
            ("vips", b"not json", 400), ("vips", [], 400), ("vips", {"included": ["never"]}, 400),
            ("vips", {"included": {"add": [1]}}, 400), ("vips", {"included": {"add": "never"}}, 400),
            ("vips", {"included": {"add": ["never", ""]}}, 400),
            ("vips", {"included": {"add": ["never", "k" * 100_000]}}, 400),
            ("bounded", good, 409), ("no-such", good, 404)]:
        answer = server.api("POST", f"{SEGMENTS}/{key}/contexts", body)
        assert answer.status == status, (key, body, answer.body)
        assert answer.json()["message"]
    answer = server.api("POST", f"{SEGMENTS}/vips/contexts", {"included": {"add": [str(i) for i in range(65_537)]}})
    assert answer.status == 413, answer.body
    answer = request("POST", f"{server.url}{SEGMENTS}/vips/contexts", good, {"Authorization": server.sdk_key})
    assert answer.status == 401, answer.body
    assert evaluate(server, "never") is False and evaluate(server, "17") is False
    assert server.api("DELETE", f"{SEGMENTS}/vips").status == 409, "a flag uses it"


def test_members_survive_a_restart_of_the_gateway_and_of_everything():
    with Server() as server:
        create(server, "vips")
        create_flag(server, FLAG, "vips")
        change(server, "vips", included={"add": ["ann"]}, excluded={"add": ["eve"]})
        expect(server, {"ann": True, "eve": False})
        old = server.pid("gateway")
        server.kill("gateway")
        wait_until(lambda: server.serving()["roles"].get("gateway", old) != old, 20, "another gateway runs")
        # Whatever it answers on its way up, it is never that a member is none.
        seen = set()
        deadline = time.monotonic() + 20
        while True not in seen and time.monotonic() < deadline:
            try:
                answer = all_flags(server, {"kind": "user", "key": "ann"})
            except OSError:
                continue
            seen.add(answer.json()[FLAG]["value"] if answer.status == 200 else answer.status)
        assert seen <= {True, 503}, seen
        expect(server, {"ann": True, "eve": False, "zoe": False})
        server.stop()
        server.start()
        expect(server, {"ann": True, "eve": False, "zoe": False})
        change(server, "vips", included={"remove": ["ann"]})
        expect(server, {"ann": False})


def test_a_hundred_thousand_members():
    count, together = 100_000, 40_000  # a body is at most 1 MiB
    with Server() as server:
        create(server, "many")
        create_flag(server, FLAG, "many")
        for begin in range(0, count, together):
            change(server, "many", included={"add": [f"member-{i}" for i in range(begin, min(begin + together, count))]})
        sample = [*range(0, count, 9_973), count - 1]
        for _ in range(2):
            expect(server, {f"member-{i}": True for i in sample})
            assert not any(evaluate(server, f"member-{i}") for i in range(count, count + 20))
            shown = server.api("GET", f"{SEGMENTS}/many").json()
            assert shown["_unboundedMetadata"]["memberCount"] == count, shown
            assert len(request("GET", server.url + "/sdk/latest-all", headers={"Authorization": server.sdk_key}).body) < 100_000
            server.stop()
            server.start()
