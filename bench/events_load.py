"""Runs the load generator (bench/load) against an events API."""
import contextlib
import json
import os
import pathlib
import subprocess

from measure import pin

ROOT = pathlib.Path(__file__).resolve().parents[1]
BUILD = ROOT / "build/release/bench"
REAL_SEGMENTS = {"log.segment_size": "64MiB", "log.pool_segments": "4"}
ONE_CORE = REAL_SEGMENTS | {"server.shards": "1"}
PAYLOADS = ROOT / "tests/data/sdk-payloads"
LARGE = PAYLOADS / "node-server-101-events.json"
SMALL = PAYLOADS / "node-server-6-events.json"
TRIES = 3


def load(port, key, payload, *, rate=0, connections=16, seconds=5, warmup=0, pid=0, core=None, options=(), tries=TRIES):
    """What the generator says of its run (bench/load/main.cc), on one core if that is given.  One that was late by its own
    fault is tried again, `tries` times in all; `void` says why the last one was."""
    pinned = ["taskset", "-c", str(core)] if core is not None and os.cpu_count() > 1 else []
    for _ in range(tries):
        done = subprocess.run([*pinned, str(BUILD / "load"), "--port", str(port), "--key", key, "--payload", str(payload),
                               "--connections", str(connections), "--seconds", str(seconds), "--warmup", str(warmup),
                               "--rate", str(rate), "--pid", str(pid), *options],
                              capture_output=True, text=True, timeout=seconds + warmup + 120)
        assert done.returncode == 0, done.stderr + done.stdout
        result = json.loads(done.stdout)
        if not result["void"]:
            break
    return result


def per_cpu_second(result):
    """Payloads for each second of CPU that the server used; None where it used too little to tell."""
    used = result["server_cpu_seconds"]
    return result["payloads"] / used if used >= 0.05 else None


@contextlib.contextmanager
def discarding_server(core=None, shards=0):
    """Its process id and port."""
    process = subprocess.Popen([str(BUILD / "discard_server"), *([str(shards)] if shards else [])], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, text=True)
    try:
        port = int(process.stdout.readline().rsplit(":", 1)[1])
        if core is not None:
            pin(process.pid, core)
        yield process.pid, port
    finally:
        process.stdin.close()
        process.wait(10)
