"""Flag changes to many open streams: ours, ld-relay fed by ours, and a plain write loop, in one run.

Every server runs alone on one core and the program that holds the streams on the other.  The server that is not measured
has no streams.  Fan-out over loopback is bound by the kernel: each send() also runs the receiver's side of TCP, so the
write loop is the floor that nobody gets far below.
"""
import contextlib
import itertools
import json
import os
import pathlib
import statistics
import subprocess
import time

from harness import Server, free_port, request, wait_until

ROOT = pathlib.Path(__file__).resolve().parents[1]
BUILD = ROOT / "build/release/bench"
RELAY = ROOT / "build/peers/ld-relay"
TICK = os.sysconf("SC_CLK_TCK")
CHANGES = 15
LARGE_PUT = 100_000


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def resident_bytes(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmRSS")


def pin(pid, core):
    """Every thread of the process on one core, where the machine has two."""
    if os.cpu_count() > 1:
        for thread in os.listdir(f"/proc/{pid}/task"):
            os.sched_setaffinity(int(thread), {core})


class Streams:
    """bench/streams.cc: holds the streams and times what arrives on them."""

    def __init__(self, port, count, path="/all", key="", at_once=256):
        self.process = subprocess.Popen(
            [str(BUILD / "streams"), "--port", str(port), "--path", path, "--key", key, "--streams", str(count),
             "--at-once", str(at_once)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        pin(self.process.pid, 1)
        self.opened = self.answer()

    def answer(self):
        line = self.process.stdout.readline()
        assert line, f"streams ended with {self.process.wait(10)}"
        return json.loads(line)

    def next(self, change):
        """Calls `change` and returns when its message came on every stream, and when the call began."""
        self.process.stdin.write("next\n")
        self.process.stdin.flush()
        assert self.answer()["armed"]
        began = time.monotonic_ns()
        change()
        return self.answer() | {"began_ns": began}

    def close(self):
        self.process.stdin.close()
        self.process.wait(30)


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


@contextlib.contextmanager
def relay(server):
    """ld-relay, with our own server as LaunchDarkly."""
    port = free_port()
    environment = dict(os.environ) | {
        "STREAM_URI": server.url, "BASE_URI": server.url, "CLIENT_SIDE_BASE_URI": server.url, "EVENTS_HOST": server.url,
        "HOST": "127.0.0.1", "PORT": str(port), "LD_ENV_production": server.sdk_key, "GOMAXPROCS": "1", "USE_EVENTS": "false",
        "LD_CLIENT_SIDE_ID_production": server.keys["_id"], "LD_MOBILE_KEY_production": server.keys["mobileKey"],
        "DISABLE_INTERNAL_USAGE_METRICS": "true", "LOG_LEVEL": "error"}
    process = subprocess.Popen([str(RELAY), "--from-env"], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        def is_connected():
            with contextlib.suppress(OSError):
                return request("GET", f"http://127.0.0.1:{port}/status").json()["status"] == "healthy"
        wait_until(is_connected, 30, "ld-relay has the flags")
        pin(process.pid, 0)
        yield process.pid, port
    finally:
        process.terminate()
        process.wait(10)


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
            loop = Measured(loop_pid, lambda: Streams(loop_port, count), loop_change, count)
        ours = Measured(pid, lambda: Streams(server.port, count, key=server.sdk_key), change, count)
        peers = {"write loop": loop}
        if RELAY.exists():
            with relay(server) as (relay_pid, relay_port):
                peers["ld-relay"] = Measured(
                    relay_pid, lambda: Streams(relay_port, count, key=server.sdk_key), change, count)
        report(figures, f"{count} server-side streams, one change", ours, peers)
        storm(figures, server, pid, count)


def report(figures, what, ours, peers):
    method = (f"median of {CHANGES} changes, from the first stream that had it; each server on one core, the streams on the "
              "other; peers in the same run (bench/delivery.py)")
    for peer, theirs in peers.items():
        for name, unit, attribute in (("p50", "ms", "p50"), ("p99", "ms", "p99"), ("last", "ms", "last"),
                                      ("CPU per 1,000 deliveries", "ms", "cpu_per_1000"),
                                      ("memory per stream", "bytes", "bytes_each"),
                                      ("CPU to open all", "s", "open_cpu")):
            mine, other = getattr(ours, attribute), getattr(theirs, attribute)
            figures.add("delivery", f"{what}: {name}", unit, mine, method, peer, mine / other if other else None)
    figures.add("delivery", f"{what}: edit to first stream", "ms", ours.from_edit, "PATCH over REST to its first byte on a stream")


def storm(figures, server, pid, count):
    grow_flags(server, LARGE_PUT)
    size = len(request("GET", server.url + "/sdk/latest-all", headers={"Authorization": server.sdk_key}).body)

    def storm_of(storm_pid, port, key=""):
        cpu = cpu_seconds(storm_pid)
        streams = Streams(port, count, key=key, at_once=1_000)
        used = cpu_seconds(storm_pid) - cpu
        streams.close()
        return streams.opened["seconds"], used
    with write_loop(size, 500) as (loop_pid, loop_port, _):
        loop = storm_of(loop_pid, loop_port)
    ours = storm_of(pid, server.port, server.sdk_key)
    peers = {"write loop": loop}
    if RELAY.exists():
        with relay(server) as (relay_pid, relay_port):
            peers["ld-relay"] = storm_of(relay_pid, relay_port, server.sdk_key)
    method = "connect, request, first message of all; 1,000 at a time"
    for peer, theirs in peers.items():
        figures.add("delivery", f"storm of {count} connects, {size / 1000:.0f} KB each: all initialized", "s", ours[0], method,
                    peer, ours[0] / theirs[0])
        figures.add("delivery", f"storm of {count} connects, {size / 1000:.0f} KB each: CPU", "s", ours[1], method,
                    peer, ours[1] / theirs[1])
