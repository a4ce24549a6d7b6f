"""One environment sends ten times what it may; what does another one notice?

    noisy_neighbour.py [--pairs 10] [--seconds 6]

Pairs of runs against one server, each pair in random order: tenant B alone, and tenant B beside tenant A at ten times
its quota.  Both are open loops (bench/load), so that a stall is seen by every payload that falls into it.  Figure: the
ratio of the medians of B's p99, with a bootstrap over the pairs.  Exit status: 0 if the lower 95 % bound of the ratio is
below 1.10, nothing of B was refused, and A got its quota and no more; 1 if not.
"""
import argparse
import json
import pathlib
import random
import statistics
import subprocess
import sys
import tempfile
import time

from harness import ROOT, Server, wait_until
from reliability import record_part

LOAD = ROOT / "build/release/bench/load"
A_QUOTA = 200  # payloads a second
B_RATE = 400
RATIO_MAX = 1.10
BODY = json.dumps([{"kind": "custom", "creationDate": 1, "key": "k", "context": {"kind": "user", "key": f"user-{n}"},
                    "data": {"text": "x" * 280}} for n in range(5)]).encode()


class Load:
    def __init__(self, server, payload, key, rate, seconds, connections):
        self.process = subprocess.Popen(
            [str(LOAD), "--port", str(server.port), "--key", key, "--payload", str(payload), "--rate", str(rate),
             "--seconds", str(seconds), "--connections", str(connections)], stdout=subprocess.PIPE, text=True)

    def result(self):
        return json.loads(self.process.communicate(timeout=600)[0])


def bootstrap_lower(alone, beside, rounds=10_000, seed=1):
    """The 5th percentile of the ratio of medians over resampled pairs."""
    rng = random.Random(seed)
    pairs = list(zip(alone, beside))
    ratios = []
    for _ in range(rounds):
        drawn = rng.choices(pairs, k=len(pairs))
        ratios.append(statistics.median(b for _, b in drawn) / statistics.median(a for a, _ in drawn))
    return sorted(ratios)[rounds // 20]


def environments(server):
    items = server.api("GET", "/api/v2/projects/demo/environments").json()["items"]
    if len(items) < 2:
        made = server.api("POST", "/api/v2/projects/demo/environments", {"key": "noisy", "name": "Noisy", "color": "aa0000"})
        assert made.status == 201, made.body
        items.append(made.json())
    return items[0]["apiKey"], items[1]["apiKey"]


def run(pairs, seconds, seed=1, ratio_max=RATIO_MAX):
    """The figures, and what is wrong with them as sentences."""
    rng = random.Random(seed)
    alone, beside, faults = [], [], []
    admitted = offered = most = 0
    settings = {"ingest.environment_bytes_per_second": str(A_QUOTA * len(BODY)), "log.segment_size": "16MiB", "log.pool_segments": "4"}
    # B's quota is A's: it is one for all.  B stays below it with smaller payloads.
    small = BODY[:-1][:len(BODY) // 4].rsplit(b", {\"kind\"", 1)[0] + b"]"
    with tempfile.TemporaryDirectory(prefix="flagstream-noisy-") as folder, Server(settings=settings) as server:
        large_file, small_file = pathlib.Path(folder, "a.json"), pathlib.Path(folder, "b.json")
        large_file.write_bytes(BODY)
        small_file.write_bytes(small)
        assert B_RATE * len(small) < A_QUOTA * len(BODY), "B keeps within its quota"
        key_a, key_b = environments(server)
        wait_until(lambda: server.post_events(small, headers={"Authorization": key_a}).status == 202
                   and server.post_events(small, headers={"Authorization": key_b}).status == 202, 20, "both get in")
        Load(server, small_file, key_b, B_RATE, 1, 8).result()  # warm
        for _ in range(pairs):
            for is_beside in rng.sample([False, True], 2):
                began = time.monotonic()
                noisy = Load(server, large_file, key_a, 10 * A_QUOTA, seconds + 1, 8) if is_beside else None
                time.sleep(0.5)
                figures = Load(server, small_file, key_b, B_RATE, seconds, 8).result()
                if noisy:
                    of_a = noisy.result()
                    most += A_QUOTA * (time.monotonic() - began + 1) + 10  # a second's burst, and what was under way
                    admitted += of_a["payloads"]
                    offered += of_a["payloads"] + of_a["refused"]
                    if of_a["faults"]:
                        faults.append(f"{of_a['faults']} connections of A were lost")
                (beside if is_beside else alone).append(figures["p99_us"])
                if figures["refused"] or figures["faults"]:
                    faults.append(f"of B {figures['refused']} were refused and {figures['faults']} connections lost")
    quota = pairs * A_QUOTA * (seconds + 1)
    if not 0.8 * quota <= admitted <= most:
        faults.append(f"A got {admitted} payloads in, its quota being {quota}, with bursts {most:.0f}")
    ratio = statistics.median(beside) / statistics.median(alone)
    lower = bootstrap_lower(alone, beside)
    if lower >= ratio_max:
        faults.append(f"B's p99 rose: ratio {ratio:.3f}, lower 95 % bound {lower:.3f}")
    return {"pairs": pairs, "a_offered": offered, "a_admitted": admitted, "a_quota": quota,
            "b_p99_alone_us": alone, "b_p99_beside_us": beside, "median_alone_us": statistics.median(alone),
            "median_beside_us": statistics.median(beside), "ratio": round(ratio, 3), "ratio_lower_95": round(lower, 3)}, faults


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=6)
    options = parser.parse_args()
    figures, faults = run(options.pairs, options.seconds)
    print(json.dumps(figures))
    record_part("neighbour", "pairs of runs of a tenant without and beside another one at ten times its quota", options.pairs,
                **{name: round(figures[name], 3) for name in ("median_alone_us", "median_beside_us", "ratio", "ratio_lower_95")})
    for fault in faults:
        print(fault)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
