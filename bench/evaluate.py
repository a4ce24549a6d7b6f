"""The job `evaluate`: one core's evaluations beside those of other evaluators, on equal data, turn by turn in one run.

Rates are evaluations for each second of CPU that the evaluator used, so that what else the machine does matters little; a
ratio is the median of the ratios of turns that followed each other.

There is no workload with summaries of events (as SDKs make them): this server evaluates for clients that send their own
events, so nothing in its process counts evaluations.
"""
import contextlib
import json
import os
import pathlib
import random
import shutil
import statistics
import subprocess
import tempfile

HERE = pathlib.Path(__file__).parent
BUILD = HERE.parent / "build/release/bench"
GO_PEER = HERE.parent / "build/bench_evaluate_go"
TURNS = 5
SECONDS = 1.0


# Workloads: a document, contexts, and how they are asked

def flag(key, **members):
    return {"key": key, "version": 1, "on": True, "salt": "8a4f2b1c9d", "variations": [True, False], "offVariation": 1,
            "prerequisites": [], "targets": [], "contextTargets": [], "rules": [], "fallthrough": {"variation": 0}} | members


def clause(attribute, op, *values):
    return {"contextKind": "user", "attribute": attribute, "op": op, "values": list(values), "negate": False}


HALVES = {"rollout": {"contextKind": "user", "variations": [{"variation": 0, "weight": 50000}, {"variation": 1, "weight": 50000}]}}


def checkout(key="checkout"):
    return flag(key, rules=[{"id": "r", "clauses": [clause("country", "in", "de", "fr", "us")], "variation": 0}],
                fallthrough=HALVES)


def users(share_of_rule):
    return [{"kind": "user", "key": f"user-{100000 + n * 37}", "name": "N", "email": "n@example.com", "plan": "pro",
             "country": "fr" if n * 7 % 1000 < share_of_rule * 1000 else "pl"} for n in range(1000)]


def rich_flags():
    """Targets, 5 rules of 3 clauses, prerequisites two deep, a segment of 10,000 keys, every operator of text, number, version
    and date."""
    def rules(n):
        return [
            {"id": "a", "variation": 1, "clauses": [clause("plan", "in", "pro", "team"), clause("age", "greaterThan", 60),
                                                    clause("email", "endsWith", "@example.org")]},
            {"id": "b", "variation": 1, "clauses": [clause("version", "semVerGreaterThan", "2.0.0"), clause("name", "startsWith", "A"),
                                                    clause("country", "in", "de", "fr")]},
            {"id": "c", "variation": 1, "clauses": [clause("since", "before", "2021-06-01T00:00:00Z"),
                                                    clause("age", "lessThanOrEqual", 30), clause("name", "contains", "z")]},
            {"id": "d", "variation": 0, "clauses": [clause("email", "matches", f"^[a-z]+{n}[.]?[a-z0-9]*@"), clause("plan", "in", "free"),
                                                    clause("country", "in", "us", "gb", "pl")]},
            {"id": "e", "clauses": [clause("", "segmentMatch", "beta"), clause("age", "greaterThanOrEqual", 18),
                                    clause("plan", "in", "pro", "team", "free")]} | HALVES,
        ]
    made = {"base": flag("base"), "middle": flag("middle", prerequisites=[{"key": "base", "variation": 0}])}
    for n in range(10):
        made[f"flag-{n}"] = flag(f"flag-{n}", rules=rules(n), fallthrough=HALVES, prerequisites=[{"key": "middle", "variation": 0}],
                                 targets=[{"variation": 1, "values": [f"user-{i * 1009 + n}" for i in range(100)]}])
    beta = {"key": "beta", "version": 1, "salt": "s", "included": [f"user-{i * 3}" for i in range(10000)], "excluded": [],
            "includedContexts": [], "excludedContexts": [], "rules": []}
    return {"flags": made, "segments": {"beta": beta}}


def rich_users():
    choose = random.Random(7).choice
    return [{"kind": "user", "key": f"user-{n * 29}", "name": choose(["Ada", "Bob", "Zoe", "Max"]), "plan": choose(["free", "pro", "team"]),
             "email": choose(["ada1", "bob7", "max.b"]) + choose(["@example.com", "@example.org"]), "age": n % 80,
             "country": choose(["de", "fr", "us", "gb", "pl", "it"]), "version": choose(["1.9.0", "2.1", "2.0.0-rc.1", "3"]),
             "since": choose(["2020-01-01T00:00:00Z", "2022-05-05T12:00:00+02:00"])} for n in range(1000)]


def multi_kind(n):
    return {"kind": "multi",
            "user": {"key": f"user-{n}", "name": "N", "email": "n@example.com", "country": ["fr", "pl", "it"][n % 3], "anonymous": False},
            "organization": {"key": f"org-{n % 37}", "plan": "pro", "seats": 40, "address": {"city": "Lyon", "tags": ["a", "b"]}},
            "device": {"key": f"device-{n}", "os": "linux", "version": "6.1.0"}}


def document(flags):
    return {"flags": {each["key"]: each for each in flags}, "segments": {}}


ALL, LAUNCHDARKLY = ("Go", "Node", "flagd", "Unleash"), ("Go", "Node")
# name: (what it is, document, contexts, mode, peers)
WORKLOADS = {
    "E1": ("one rule, else percentage rollout", lambda: document([checkout()]), lambda: users(0.3), "each", ALL),
    "E1 rule": ("one rule that matches", lambda: document([checkout()]), lambda: users(1), "each", ALL),
    "E1 rollout": ("percentage rollout", lambda: document([checkout()]), lambda: users(0), "each", ALL),
    "E2": ("targets, 5 rules of 3 clauses, prerequisites, segment of 10,000 keys", rich_flags, rich_users, "each", LAUNCHDARKLY),
    "E3": ("all of 500 flags for a context (Node: the state of all flags)", lambda: document([checkout(f"checkout-{n}") for n in range(500)]), lambda: users(0.3),
           "each", LAUNCHDARKLY),
    "E4": ("context of three kinds read from JSON each time", lambda: document([checkout()]),
           lambda: [multi_kind(n) for n in range(1000)], "json", LAUNCHDARKLY),
}


class Contender:
    """A process that evaluates a workload; bench/evaluate.cc has the protocol."""

    def __init__(self, name, command, environment=None):
        self.name = name
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        env=dict(os.environ) | (environment or {}))

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        assert answer, f"{self.name} ended"
        return json.loads(answer)

    def rate(self, mode, threads=1, seconds=SECONDS):
        """Evaluations for each second of CPU, and bytes allocated for each evaluation if it is known."""
        done = self.ask(f"{mode} {seconds} {threads}")
        return done["evaluations"] / done["cpu_seconds"], done.get("allocated_bytes", 0) / done["evaluations"]

    def close(self):
        self.process.stdin.close()
        self.process.wait(30)
        self.process.stdout.close()


def commands(data, contexts, whole_state):
    """Of the peers that can run here, and why the others cannot."""
    node = HERE / "peers/evaluate_node"
    found, missing = {}, {}
    if GO_PEER.exists():
        found["Go"] = ([str(GO_PEER), data, contexts], {})
    else:
        missing["Go"] = "the Go evaluator is not built (tools/bench does it where Go is installed)"
    for name, script in (("Node", "launchdarkly"), ("flagd", "flagd"), ("Unleash", "unleash")):
        if shutil.which("node") and (node / "node_modules").exists():
            found[name] = (["node", str(node / f"{script}.mjs"), data, contexts], {"ALL_FLAGS": "1"} if whole_state else {})
        else:
            missing[name] = "bench/peers/evaluate_node is not installed (tools/bench does it)"
    return found, missing


def run_workload(name, figures):
    what, make_document, make_contexts, mode, wanted = WORKLOADS[name]
    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="flagstream-bench-")))
        data, contexts = folder / "data.json", folder / "contexts.jsonl"
        data.write_text(json.dumps(make_document()))
        contexts.write_text("".join(json.dumps(each) + "\n" for each in make_contexts()))
        found, missing = commands(str(data), str(contexts), name == "E3")
        ours = Contender("Flagstream", [str(BUILD / "bench_evaluate"), str(data), str(contexts)])
        stack.callback(ours.close)
        peers = []
        for peer in wanted:
            if peer in missing:
                print(f"  {name}: without {peer}: {missing[peer]}")
                continue
            peers.append(Contender(peer, *found[peer]))
            stack.callback(peers[-1].close)
        check_answers(name, ours, peers)
        compare(name, what, mode, ours, peers, figures)


def check_answers(name, ours, peers):
    mine = ours.ask("check")
    for peer in peers:
        theirs = peer.ask("check")
        if peer.name in LAUNCHDARKLY:
            assert theirs == mine, f"{name}: {peer.name} answers otherwise"
        else:  # another hash: the share must be near
            total = sum(mine.values())
            assert abs(theirs["checkout 0"] - mine["checkout 0"]) < 0.06 * total, f"{name}: {peer.name}: {theirs}, ours {mine}"


def compare(name, what, mode, ours, peers, figures):
    for contender in [ours, *peers]:
        contender.rate(mode, seconds=0.5)  # code is compiled, tables are warm
    rates, two, allocated = {each.name: [] for each in [ours, *peers]}, [], []
    for _ in range(TURNS):
        rate, bytes_each = ours.rate(mode)
        rates[ours.name].append(rate)
        allocated.append(bytes_each)
        two.append(ours.rate(mode, threads=2)[0])
        for peer in peers:
            rates[peer.name].append(peer.rate(mode)[0])
    single = ours.ask("latency") if mode == "each" else None
    mine = rates[ours.name]
    method = (f"{what}; for each CPU second of one thread, median of {TURNS} turns of {SECONDS:.0f} s; answers checked to be equal to "
              "the LaunchDarkly peers', and near in share to the others'")
    figures.add("evaluate", f"{name}: evaluations", "1/s", statistics.median(mine), method)
    for peer in peers:
        ratio = statistics.median(a / b for a, b in zip(mine, rates[peer.name]))
        figures.add("evaluate", f"{name}: evaluations of {peer.name}", "1/s", statistics.median(rates[peer.name]), method)
        figures.add("evaluate", f"{name}: evaluations, beside {peer.name}", "1/s", statistics.median(mine), method, peer.name, ratio)
    figures.add("evaluate", f"{name}: two threads, in threads' worth", "threads", 2 * statistics.median(b / a for a, b in zip(mine, two)),
                "twice the evaluations for each CPU second with two threads, by those with one")
    figures.add("evaluate", f"{name}: bytes allocated", "B/evaluation", statistics.median(allocated), "counted in operator new")
    if single:
        figures.add("evaluate", f"{name}: p99 of one evaluation", "ns", single["p99_ns"], "1,000,000 single ones, the clock included")


def evaluate(figures):
    for name in WORKLOADS:
        run_workload(name, figures)
