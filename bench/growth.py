"""How the cost of durable ingest grows: with connections, payload size, partitions and threads; and how long a start takes
after a log of so many bytes.  Each curve is swept in rounds, and its points are medians with the least and greatest."""
import json
import os
import pathlib
import signal
import statistics
import tempfile
import time

from events_load import LARGE, ONE_CORE, REAL_SEGMENTS, SMALL, load, per_cpu_second
from gateway import Gateway
from measure import pin

CONNECTIONS = (1, 4, 16, 64, 256, 1000)
SIZES_KB = (1, 4, 16, 64, 256, 1000)
PARTITIONS = (1, 4, 16, 64, 256)
SHARDS = (1, 2)
LOG_MB = (64, 256, 1024, 2048)
ROUNDS, SECONDS = 3, 1.5


class Curve:
    def __init__(self, key, title, x, y):
        self.key, self.title, self.x, self.y = key, title, x, y
        self.values = {}  # series -> point -> one value a round

    def add(self, series, point, value):
        self.values.setdefault(series, {}).setdefault(point, []).append(value)

    def as_data(self):
        return {"key": self.key, "title": self.title, "x": self.x, "y": self.y, "series": {
            series: [[point, statistics.median(values), min(values), max(values)] for point, values in sorted(points.items())]
            for series, points in self.values.items()}}


def on_one_core(server):
    pin(server.role.process.pid, 0)
    return server


def measured(server, payload, seconds, **rest):
    return load(server.port, server.sdk_key, payload, seconds=seconds, warmup=0.3, core=1, pid=server.role.process.pid, **rest)


def payload_of(kilobytes, folder):
    """As many of the recorded events as fit, again and again."""
    events, chosen, size = json.loads(LARGE.read_text()), [], 2
    for n in range(10**9):
        text = json.dumps(events[n % (len(events) - 1)], separators=(",", ":"))
        if size + len(text) + 1 > kilobytes * 1000 and chosen:
            break
        chosen.append(text)
        size += len(text) + 1
    path = pathlib.Path(folder) / f"{kilobytes}.json"
    path.write_text("[" + ",".join(chosen) + "]")
    return path


def of_connections(seconds, _folder):
    curve = Curve("connections", "Throughput against connections", "connections", "MB/s")
    cpu = Curve("connections-cpu", "Payloads per CPU second against connections", "connections", "payloads per CPU second")
    with Gateway(settings=ONE_CORE) as server:
        on_one_core(server)
        for connections in CONNECTIONS:
            for name, payload in (("38 KB", LARGE), ("2 KB", SMALL)):
                result = measured(server, payload, seconds, connections=connections)
                yield curve, name, connections, result["megabytes_per_second"]
                yield cpu, name, connections, per_cpu_second(result)


def of_sizes(seconds, folder):
    curve = Curve("payload-size", "Throughput against payload size", "payload, KB", "MB/s")
    with Gateway(settings=ONE_CORE) as server:
        on_one_core(server)
        for size in SIZES_KB:
            result = measured(server, payload_of(size, folder), seconds, connections=32)
            yield curve, "32 connections", size, result["megabytes_per_second"]


def of_partitions(seconds, _folder):
    curve = Curve("partitions", "Throughput against partitions", "partitions", "MB/s")
    for partitions in PARTITIONS:
        with Gateway(settings=ONE_CORE | {"log.partitions": str(partitions)}) as server:
            on_one_core(server)
            for name, payload in (("38 KB", LARGE), ("2 KB", SMALL)):
                yield curve, name, partitions, measured(server, payload, seconds, connections=32)["megabytes_per_second"]


def of_shards(seconds, _folder):
    curve = Curve("threads", "Throughput against server threads, load on the same cores", "server.shards", "MB/s")
    for shards in SHARDS:
        with Gateway(settings=REAL_SEGMENTS | {"server.shards": str(shards)}) as server:
            for name, payload in (("38 KB", LARGE), ("2 KB", SMALL)):
                result = load(server.port, server.sdk_key, payload, seconds=seconds, warmup=0.3, connections=32)
                yield curve, name, shards, result["megabytes_per_second"]


def of_recovery(sizes):
    """SIGKILL, then a start: from the process's start until /readyz says 200."""
    curve = Curve("recovery", "Start to ready after SIGKILL against the log's size", "log, MB", "ms")
    with Gateway(settings=ONE_CORE) as server:
        stored = 0
        for megabytes in sizes:
            while stored < megabytes:
                result = load(server.port, server.sdk_key, LARGE, seconds=1, connections=32)
                stored += result["payloads"] * LARGE.stat().st_size / 1e6
            os.kill(server.role.process.pid, signal.SIGKILL)
            server.role.process.wait(10)
            began = time.monotonic()
            server.role.start()
            while not server.answers():
                assert time.monotonic() - began < 120, "the gateway is not ready"
                time.sleep(0.002)
            yield curve, "JSON acknowledged", round(stored), (time.monotonic() - began) * 1000


SWEEPS = (of_connections, of_sizes, of_partitions, of_shards)


def growth(figures, quick=False):
    rounds, seconds = (1, 0.3) if quick else (ROUNDS, SECONDS)
    curves = {}

    def note(curve, series, point, value):
        if value is None:
            return
        curves.setdefault(curve.key, curve).add(series, point, value)
        print(f"  {curve.key:<20}{series:>16}{point:>8} {value:>12,.1f} {curve.y}", flush=True)
    with tempfile.TemporaryDirectory(prefix="flagstream-bench-") as folder:
        for _ in range(rounds):
            for sweep in SWEEPS:
                for point in sweep(seconds, folder):
                    note(*point)
        for point in of_recovery(LOG_MB[:2] if quick else LOG_MB):
            note(*point)
    figures.data["growth"] = {"rounds": rounds, "seconds": seconds, "curves": [each.as_data() for each in curves.values()]}
    for curve in curves.values():
        for series, points in curve.as_data()["series"].items():
            ends = points[0], points[-1]
            figures.add("growth", f"{curve.title.lower()}, {series}: {ends[0][0]} to {ends[1][0]}", curve.y, ends[1][1],
                        f"median of {rounds} rounds", "the first", ends[1][1] / ends[0][1] if ends[0][1] else None)
