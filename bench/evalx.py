"""Evaluations over HTTP: what client-side SDKs ask (evalx), beside ld-relay that has our flags, and OFREP, beside GO Feature
Flag's relay, which has the same flags in its own words.

Every flag looks at a segment, then has a rule, else a percentage rollout.  1,000 contexts ask in turn.
"""
import contextlib
import json

from gateway import Gateway
from http_load import Request, Target, compare, has_wrk
from measure import pin
from peer_servers import FEATURE_FLAG_RELAY, LD_RELAY, feature_flag_relay, is_there, ld_relay
from streams import context_segment

COUNTS = (20, 350)
SALT = "8a4f2b1c9d"
COUNTRIES = ["de", "fr", "us"]


def clause(attribute, op, *values):
    return {"contextKind": "user", "attribute": attribute, "op": op, "values": list(values), "negate": False}


def document(count):
    flags = {}
    for n in range(count):
        key = f"flag-number-{n}"
        flags[key] = {
            "key": key, "version": 3, "on": True, "salt": f"{SALT}{n}", "variations": [True, False], "offVariation": 1,
            "prerequisites": [], "targets": [], "contextTargets": [],
            "rules": [{"id": "beta", "clauses": [clause("", "segmentMatch", "beta")], "variation": 1},
                      {"id": "near", "clauses": [clause("country", "in", *COUNTRIES)], "variation": 0}],
            "fallthrough": {"rollout": {"contextKind": "user", "variations": [
                {"variation": 0, "weight": 50_000}, {"variation": 1, "weight": 50_000}]}},
            "clientSide": True, "clientSideAvailability": {"usingMobileKey": True, "usingEnvironmentId": True}}
    beta = {"key": "beta", "version": 1, "salt": SALT, "included": [], "excluded": [], "includedContexts": [], "excludedContexts": [],
            "rules": [{"id": "s", "clauses": [clause("email", "endsWith", "@example.org")]}]}
    return {"flags": flags, "segments": {"beta": beta}}


def go_feature_flags(count):
    """The same flags for GO Feature Flag, which has no segments: the segment's rule stands in each flag."""
    near = " or ".join(f'country eq "{each}"' for each in COUNTRIES)
    return {f"flag-number-{n}": {
        "variations": {"0": True, "1": False},
        "targeting": [{"name": "beta", "query": 'email ew "@example.org"', "variation": "1"},
                      {"name": "near", "query": near, "variation": "0"}],
        "defaultRule": {"percentage": {"0": 50, "1": 50}}} for n in range(count)}


def users():
    return [{"key": f"user-{100_000 + n * 37}", "name": "N", "plan": "pro", "country": "fr" if n * 7 % 1000 < 300 else "pl",
             "email": "n@example." + ("org" if n % 10 == 0 else "com")} for n in range(1000)]


def evalx(figures):
    if not has_wrk("evalx"):
        return
    for count in COUNTS:
        with Gateway(settings={"server.shards": "1", "server.connections_max": "0"}) as server:
            server.flags = document(count)
            server.import_flags("--sdk-key", server.sdk_key, "--mobile-key", server.mobile_key, "--client-side-id",
                                server.client_side_id)
            pin(server.role.process.pid, 0)
            client_side(figures, server, count)
            ofrep(figures, server, count)


def client_side(figures, server, count):
    base = f"/sdk/evalx/{server.client_side_id}"
    contexts = [{"kind": "user"} | each for each in users()]
    routes = {
        "GET": [Request("GET", f"{base}/contexts/{context_segment(each)}") for each in contexts],
        "REPORT": [Request("REPORT", f"{base}/context", {"Content-Type": "application/json"}, json.dumps(each)) for each in contexts]}
    with contextlib.ExitStack() as stack:
        relay = None
        if is_there(LD_RELAY, "evalx"):
            relay = stack.enter_context(ld_relay(server.url, server.sdk_key, server.mobile_key, server.client_side_id))
        for method, requests in routes.items():
            ours = Target(server.role.process.pid, server.port, requests)
            peers = {}
            if relay:
                peers["ld-relay"] = Target(*relay, requests)
                check_equal(requests, server.port, relay[1], count)
            compare(figures, "evalx", f"{method} evalx, {count} flags", ours, peers, "; answers checked to be equal to ld-relay's")


def check_equal(requests, port, relay_port, count):
    for each in requests[::50]:
        mine, theirs = (each.answer(at).json() for at in (port, relay_port))
        assert len(mine) == count
        for name in ("value", "variation"):
            assert {key: flag[name] for key, flag in mine.items()} == {key: flag[name] for key, flag in theirs.items()}, each.path


def ofrep(figures, server, count):
    flags = "/ofrep/v1/evaluate/flags"
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {server.sdk_key}"}
    bodies = [json.dumps({"context": {"targetingKey": each["key"]} | {k: v for k, v in each.items() if k != "key"}}) for each in users()]
    routes = {
        f"OFREP single, {count} flags": [
            Request("POST", f"{flags}/flag-number-{n % count}", headers, body) for n, body in enumerate(bodies)],
        f"OFREP bulk, {count} flags": [Request("POST", flags, headers, body) for body in bodies]}
    with contextlib.ExitStack() as stack:
        relay = None
        if is_there(FEATURE_FLAG_RELAY, "evalx"):
            relay = stack.enter_context(feature_flag_relay(go_feature_flags(count), server.sdk_key))
            check_share(routes[f"OFREP bulk, {count} flags"], server.port, relay[1], count)
        for what, requests in routes.items():
            ours = Target(server.role.process.pid, server.port, requests)
            peers = {"GO Feature Flag": Target(*relay, requests)} if relay else {}
            compare(figures, "evalx", what, ours, peers, "; shares of variations checked to be near its")


def check_share(requests, port, relay_port, count):
    """It hashes otherwise: only who matches a rule, and the share of the others, must be alike."""
    shares = []
    for at in (port, relay_port):
        answers = [each.answer(at).json()["flags"] for each in requests[::10]]
        assert {len(each) for each in answers} == {count}
        shares.append(sum(flag["value"] is True for each in answers for flag in each) / (len(answers) * count))
    assert abs(shares[0] - shares[1]) < 0.05, shares


