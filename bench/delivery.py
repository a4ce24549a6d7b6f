"""Flag changes to many open streams: ours, ld-relay fed by ours, and a plain write loop, in one run.

Every server runs alone on one core and the program that holds the streams on the other.  The server that is not measured
has no streams.  Fan-out over loopback is bound by the kernel: each send() also runs the receiver's side of TCP, so the
write loop is the floor that nobody gets far below.
"""
import contextlib
import itertools
import json
import pathlib
import statistics
import subprocess
import time

from harness import Server, request
from measure import cpu_seconds, pin, resident_bytes
from peer_servers import LD_RELAY, is_there, ld_relay
from streams import HeldStreams, context_segment

ROOT = pathlib.Path(__file__).resolve().parents[1]
BUILD = ROOT / "build/release/bench"
CHANGES = 15
LARGE_PUT = 100_000
RATE, RATE_SECONDS = 10, 20  # changes a second, for so long


def held(port, count, **rest):
    return HeldStreams(port, count, core=1, **rest)


class Measured:
    """What one server did with `count` streams."""

    def __init__(self, pid, open_streams, change, count):
        before = resident_bytes(pid)
        cpu = cpu_seconds(pid)
        streams = open_streams()
        self.open_seconds, self.open_cpu = streams.opened["seconds"], cpu_seconds(pid) - cpu
        time.sleep(1)
        self.bytes_each = (resident_bytes(pid) - before) / count
        spreads, cpus = [], []
        for n in range(CHANGES):
            cpu = cpu_seconds(pid)
            spreads.append(streams.next(lambda: change(n)))
            time.sleep(0.2)
            cpus.append(cpu_seconds(pid) - cpu)
        assert all(each["got"] == count and each["lost"] == 0 for each in spreads), spreads
        self.p50, self.p99, self.last = (statistics.median(each[name] for each in spreads)
                                         for name in ("p50_ms", "p99_ms", "last_ms"))
        self.from_edit = statistics.median((each["first_ns"] - each["began_ns"]) / 1e6 for each in spreads)
        self.cpu_per_1000 = statistics.mean(cpus) / count * 1e6  # ms
        streams.close()


@contextlib.contextmanager
def write_loop(first_bytes, change_bytes):
    process = subprocess.Popen([str(BUILD / "write_loop"), str(first_bytes), str(change_bytes)], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, text=True)
    pin(process.pid, 0)
    try:
        port = int(process.stdout.readline().rsplit(":", 1)[1])

        def change(_n):
            process.stdin.write("change\n")
            process.stdin.flush()
        yield process.pid, port, change
    finally:
        process.kill()
        process.wait(10)


def relay_of(server):
    return ld_relay(server.url, server.sdk_key, server.keys["mobileKey"], server.keys["_id"])


def grow_flags(server, target_bytes):
    """Adds flags until the put is about that large."""
    n = 0
    while len(request("GET", server.url + "/sdk/latest-all", headers={"Authorization": server.sdk_key}).body) < target_bytes:
        for _ in range(20):
            body = {"key": f"filler-{n}", "name": f"Filler {n}", "variations": [
                {"value": {"text": "x" * 300, "n": n}}, {"value": {"text": "y" * 300, "n": n}}]}
            assert server.api("POST", "/api/v2/flags/demo", body).status == 201
            n += 1


def delivery(figures, count=10_000):
    settings = {"server.shards": "1", "server.connections_max": "0"}
    with Server(settings=settings) as server:
        pid = server.pid("gateway")
        pin(pid, 0)

        turns = itertools.cycle([True, False])

        def change(_n):
            server.flag_on("free-shipping", on=next(turns))
        server.flag_on("free-shipping", on=False)
        document = request("GET", server.url + "/sdk/latest-all", headers={"Authorization": server.sdk_key}).body
        flag = json.dumps(json.loads(document)["flags"]["free-shipping"])
        with write_loop(len(document), len(flag) + 60) as (loop_pid, loop_port, loop_change):
            loop = Measured(loop_pid, lambda: held(loop_port, count), loop_change, count)
        ours = Measured(pid, lambda: held(server.port, count, key=server.sdk_key), change, count)
        peers = {"write loop": loop}
        if is_there(LD_RELAY, "delivery"):
            with relay_of(server) as (relay_pid, relay_port):
                peers["ld-relay"] = Measured(
                    relay_pid, lambda: held(relay_port, count, key=server.sdk_key), change, count)
        report(figures, f"{count} server-side streams, one change", ours, peers)
        sustained(figures, server, pid, count)
        client_side(figures, server, pid, count)
        ofrep_events(figures, server, pid, count)
        storm(figures, server, pid, count)


class Sustained:
    """What one server did while a flag changed RATE times a second, on schedule whatever became of the change before."""

    def __init__(self, server, pid, streams):
        streams.record('"version":')
        cpu, began, begun = cpu_seconds(pid), time.monotonic(), {}
        for turn in range(RATE * RATE_SECONDS):
            time.sleep(max(0.0, began + turn / RATE - time.monotonic()))
            at = time.monotonic_ns()
            begun[server.flag_on("free-shipping", on=turn % 2 == 0)["_version"]] = at
        streams.until(max(begun))
        seconds = time.monotonic() - began
        came = streams.stop()
        streams.close()
        assert (came["lost"], came["stale"]) == (0, 0), came
        deliveries = streams.count * len(begun)
        self.rate = len(begun) / seconds
        self.cpu = (cpu_seconds(pid) - cpu) / seconds
        self.messages = came["messages"] / deliveries
        self.p50, self.p99 = (
            statistics.median((each["first_ns"] - begun[each["number"]]) / 1e6 + each[name] for each in came["numbers"])
            for name in ("p50_ms", "p99_ms"))


def sustained(figures, server, pid, count):
    ours, peers = Sustained(server, pid, held(server.port, count, key=server.sdk_key)), {}
    if LD_RELAY.exists():
        with relay_of(server) as (relay_pid, relay_port):
            peers["ld-relay"] = Sustained(server, relay_pid, held(relay_port, count, key=server.sdk_key))
    what = f"{count} server-side streams, {RATE} changes a second"
    method = (f"for {RATE_SECONDS} s on schedule; times from the PATCH over REST, median of the changes; each server on one core, "
              "the streams on the other")
    for name, unit, attribute in (("p50", "ms", "p50"), ("p99", "ms", "p99"), ("CPU", "s/s", "cpu"),
                                  ("changes made", "1/s", "rate"), ("messages for each change", "of each stream", "messages")):
        mine = getattr(ours, attribute)
        for peer, theirs in (peers or {"": None}).items():
            ratio = mine / getattr(theirs, attribute) if theirs and getattr(theirs, attribute) else None
            figures.add("delivery", f"{what}: {name}", unit, mine, method, peer, ratio)


def client_side(figures, server, pid, count):
    """Streams of browsers: after a change ours evaluate every flag for their context, ld-relay only says that each client
    must ask."""
    contexts = [context_segment({"kind": "user", "key": f"user-{n}", "country": "fr" if n % 3 else "pl"}) for n in range(count)]
    paths = [f"/eval/{server.keys['_id']}/{each}" for each in contexts]
    turns = itertools.cycle([False, True])

    def change(_n):
        server.flag_on("new-checkout", on=next(turns))
    ours, peers = Measured(pid, lambda: held(server.port, count, paths=paths), change, count), {}
    if LD_RELAY.exists():
        with relay_of(server) as (relay_pid, relay_port):
            peers["ld-relay pings"] = Measured(
                relay_pid, lambda: held(relay_port, count, paths=paths), change, count)
    report(figures, f"{count} client-side streams, one change evaluated for each", ours, peers, is_first=False)


def ofrep_events(figures, server, pid, count):
    """OFREP event streams: after a change each is told that something changed.  No peer here has them; beside them stands a
    plain loop that writes as many bytes."""
    turns = itertools.cycle([False, True])

    def change(_n):
        server.flag_on("new-checkout", on=next(turns))
    path = f"/ofrep/v1/events?auth={server.keys['_id']}"
    with write_loop(1_000, 180) as (loop_pid, loop_port, loop_change):
        loop = Measured(loop_pid, lambda: held(loop_port, count), loop_change, count)
    ours = Measured(pid, lambda: held(server.port, count, path=path), change, count)
    report(figures, f"{count} OFREP event streams, one change", ours, {"write loop": loop}, is_first=False)


def report(figures, what, ours, peers, is_first=True):
    method = (f"median of {CHANGES} changes, from the first stream that had it; each server on one core, the streams on the "
              "other; peers in the same run (bench/delivery.py)")
    for peer, theirs in peers.items():
        for name, unit, attribute in (("p50", "ms", "p50"), ("p99", "ms", "p99"), ("last", "ms", "last"),
                                      ("CPU per 1,000 deliveries", "ms", "cpu_per_1000"),
                                      ("memory per stream", "bytes", "bytes_each"),
                                      ("CPU to open all", "s", "open_cpu")):
            if attribute == "bytes_each" and not is_first:
                continue  # our process has the memory of the streams before them at hand
            mine, other = getattr(ours, attribute), getattr(theirs, attribute)
            figures.add("delivery", f"{what}: {name}", unit, mine, method, peer, mine / other if other else None)
    figures.add("delivery", f"{what}: edit to first stream", "ms", ours.from_edit, "PATCH over REST to its first byte on a stream")


def storm(figures, server, pid, count):
    grow_flags(server, LARGE_PUT)
    size = len(request("GET", server.url + "/sdk/latest-all", headers={"Authorization": server.sdk_key}).body)

    def storm_of(storm_pid, port, key=""):
        cpu = cpu_seconds(storm_pid)
        streams = held(port, count, key=key, at_once=1_000)
        used = cpu_seconds(storm_pid) - cpu
        streams.close()
        return streams.opened["seconds"], used
    with write_loop(size, 500) as (loop_pid, loop_port, _):
        loop = storm_of(loop_pid, loop_port)
    ours = storm_of(pid, server.port, server.sdk_key)
    peers = {"write loop": loop}
    if LD_RELAY.exists():
        with relay_of(server) as (relay_pid, relay_port):
            peers["ld-relay"] = storm_of(relay_pid, relay_port, server.sdk_key)
    method = "connect, request, first message of all; 1,000 at a time"
    for peer, theirs in peers.items():
        figures.add("delivery", f"storm of {count} connects, {size / 1000:.0f} KB each: all initialized", "s", ours[0], method,
                    peer, ours[0] / theirs[0])
        figures.add("delivery", f"storm of {count} connects, {size / 1000:.0f} KB each: CPU", "s", ours[1], method,
                    peer, ours[1] / theirs[1])
