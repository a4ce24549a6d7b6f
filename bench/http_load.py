"""HTTP requests by wrk, on another core than the server, which must be pinned; what counts is requests for each second of
CPU that the server used, so that neither wrk nor the neighbours of the machine decide."""
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import tempfile

from harness import request
from measure import cpu_seconds

HERE = pathlib.Path(__file__).parent
CONNECTIONS = 32
SECONDS = 3
TURNS = 3
METHOD = (f"wrk, {CONNECTIONS} connections; server on one core, wrk on the other; for each CPU second of the server, median of "
          f"{TURNS} turns of {SECONDS} s")


class Request:
    def __init__(self, method, path, headers=None, body=None):
        self.method, self.path, self.headers, self.body = method, path, headers or {}, body

    def block(self):
        head = "".join(f"{name}: {value}\n" for name, value in self.headers.items())
        return f"{self.method} {self.path}\n{head}" + (f"\n{self.body}\n" if self.body is not None else "") + "=\n"

    def answer(self, port):
        return request(self.method, f"http://127.0.0.1:{port}{self.path}",
                       None if self.body is None else self.body.encode(), self.headers)


class Target:
    """A server and the requests that it gets in turn."""

    def __init__(self, pid, port, requests):
        self.pid, self.port, self.requests = pid, port, requests
        self.rates = []

    def run(self, seconds=SECONDS):
        """Requests for each second of CPU."""
        with tempfile.NamedTemporaryFile("w", prefix="flagstream-requests-") as file:
            file.write("".join(each.block() for each in self.requests))
            file.flush()
            before = cpu_seconds(self.pid)
            pinned = ["taskset", "-c", "1"] if os.cpu_count() > 1 else []
            done = subprocess.run([*pinned, "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--timeout", "30s", "-s", str(HERE / "wrk/requests.lua"),
                                   f"http://127.0.0.1:{self.port}"], env=dict(os.environ) | {"REQUESTS": file.name},
                                  capture_output=True, text=True, timeout=seconds + 60)
            used = cpu_seconds(self.pid) - before
        assert done.returncode == 0, done.stderr + done.stdout
        self.last = json.loads(done.stdout.splitlines()[-1])
        assert (self.last["refused"], self.last["broken"]) == (0, 0), self.last
        return self.last["requests"] / used


def compare(figures, job, what, ours, peers, note=""):
    """Turn by turn; `peers` is name -> Target and may be empty."""
    for target in [ours, *peers.values()]:
        target.run(1)  # code is warm, buffers have grown
    for _ in range(TURNS):
        for target in [ours, *peers.values()]:
            target.rates.append(target.run())
    mine = statistics.median(ours.rates)
    if not peers:
        figures.add(job, what, "1/CPU s", mine, METHOD + note)
    for name, peer in peers.items():
        ratio = statistics.median(a / b for a, b in zip(ours.rates, peer.rates))
        figures.add(job, what, "1/CPU s", mine, METHOD + note, name, ratio)
        figures.add(job, f"{what}, of {name}", "1/CPU s", statistics.median(peer.rates), METHOD + note)


def has_wrk(job):
    if shutil.which("wrk") is None:
        print(f"  {job}: left out: there is no wrk (tools/bench installs it)")
    return shutil.which("wrk") is not None
