"""Runs the benchmark jobs and writes bench/results/latest.json: one object per figure with job, metric, unit, value,
peer, ratio and method; for each job when, where and of which commit it ran; and what bench/page.py draws tables and
plots from.  What other jobs left there stays.

    bench/run.py [JOB ...]        evaluate append ingest process lake visible delivery evalx polling peers growth; none: all

Every job measures its peer in the same run, because machines differ and are noisy; the ratio is what to compare.
Load and server share the machine, so absolute figures are lower bounds.
"""
import argparse
import datetime
import json
import os
import pathlib
import platform
import subprocess
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests/e2e"))

from delivery import delivery  # noqa: E402
from disk import disk_sync_us  # noqa: E402
from evaluate import evaluate  # noqa: E402
from evalx import evalx  # noqa: E402
from events_load import LARGE, ONE_CORE, REAL_SEGMENTS, SMALL, discarding_server, load  # noqa: E402
from gateway import Gateway  # noqa: E402
from growth import growth  # noqa: E402
from harness import Server, wait_until  # noqa: E402
from measure import pin  # noqa: E402
from peers_job import peers  # noqa: E402
from polling import polling  # noqa: E402
from roles import RoleProcess  # noqa: E402

SECONDS = 5


class Figures:
    def __init__(self):
        self.all = []
        self.data = {}  # job -> what its tables and plots are made of

    def add(self, job, metric, unit, value, method, peer="", ratio=None):
        self.all.append({"job": job, "metric": metric, "unit": unit, "value": round(value, 3), "peer": peer,
                         "ratio": None if ratio is None else round(ratio, 3), "method": method})
        print(f"  {metric:<52} {value:>14,.1f} {unit:<12}" + (f" {ratio:.2f} x {peer}" if ratio is not None else ""))


def events_in(payload):
    """Records that a payload becomes: every event, and every counter of a summary."""
    total = 0
    for event in json.loads(payload.read_text()):
        if event["kind"] == "summary":
            total += sum(len(feature["counters"]) for feature in event["features"].values())
        else:
            total += 1
    return total


def append(figures):
    """1 MiB batches that do not compress, through a topic's writer and by every method of the bare disk, in turns."""
    with tempfile.TemporaryDirectory(dir=ROOT / "build") as folder:
        done = subprocess.run([str(BUILD / "append"), "--folder", folder], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    methods = [json.loads(line) for line in done.stdout.splitlines()]
    topics = [each for each in methods if each["method"].startswith("topic")]
    bare = [each for each in methods if each not in topics]
    best = max(bare, key=lambda each: each["megabytes_per_second"])
    for each in bare:
        figures.add("append", f"disk: 1 MiB write + fdatasync, {each['method']}", "MB/s", each["megabytes_per_second"],
                    "one at a time; median of rounds")
    for each in topics:
        name = "log: 1 MiB batches" + each["method"].removeprefix("topic")
        method = f"1 MiB batches, one group each, recycled files; peer: the disk's best method ({best['method']})"
        figures.add("append", name, "MB/s", each["megabytes_per_second"], method, "the disk",
                    each["megabytes_per_second"] / best["megabytes_per_second"])
        figures.add("append", f"{name}, p99", "us", each["p99_us"], method, "the disk", each["p99_us"] / best["p99_us"])


def ingest(figures):
    sync_p50, sync_p99 = disk_sync_us(4096)
    figures.add("ingest", "disk: 4 KiB write + fdatasync, p50", "us", sync_p50, "one at a time, preallocated file")
    figures.add("ingest", "disk: 4 KiB write + fdatasync, p99", "us", sync_p99, "one at a time, preallocated file")
    cores = {"core": 1, "connections": 32}
    with Gateway(settings=ONE_CORE) as gateway, discarding_server(core=0, shards=1) as (_, discard):
        pin(gateway.role.process.pid, 0)
        for payload in (LARGE, SMALL):
            size = f"{payload.stat().st_size / 1000:.0f} KB payloads"
            load(gateway.port, gateway.sdk_key, payload, seconds=2, **cores)  # the pool of segment files fills
            peer = load(discard, "any", payload, **cores)
            peak = load(gateway.port, gateway.sdk_key, payload, **cores)
            method = "closed loop, 32 connections; server on one core, load on the other; peer: the same server, bodies discarded"
            for metric, unit in (("megabytes_per_second", "MB/s"), ("payloads_per_second", "payloads/s")):
                figures.add("ingest", f"{size}: {metric.replace('_', ' ')}", unit, peak[metric], method,
                            "discarding", peak[metric] / peer[metric])
            for share in (0.5, 0.8):
                rate = peak["payloads_per_second"] * share
                paced = load(gateway.port, gateway.sdk_key, payload, rate=rate, **cores)
                paced_peer = load(discard, "any", payload, rate=rate, **cores)
                if paced["void"] or paced_peer["void"]:
                    print(f"  {size} at {share:.0%} of peak: void, {paced['void'] or paced_peer['void']}")
                    continue
                for quantile in ("p50_us", "p99_us"):
                    figures.add("ingest", f"{size}: acknowledgement, {quantile[:3]} at {share * 100:.0f} % of peak", "us",
                                paced[quantile], "open loop, random times, from the intended time of sending; peer: the same "
                                "server, bodies discarded, at the same rate", "discarding", paced[quantile] / paced_peer[quantile])


def catch_up(figures, job, what, roles, until):
    """Stores payloads with the stages stopped, then times each role from its start to lag 0; the last one counts."""
    with Server(settings=REAL_SEGMENTS) as server:
        key = server.sdk_key
        server.stop()
        gateway, control = RoleProcess(server, "gateway"), RoleProcess(server, "control")
        running = [gateway, control]
        try:
            gateway.start()
            control.start()
            wait_until(lambda: answers(server), 20, "gateway and control serve")
            stored = load(server.port, key, LARGE, seconds=SECONDS * 2)
            events = stored["payloads"] * events_in(LARGE)
            times = {}
            for name in roles:
                role = RoleProcess(server, name)
                running.append(role)
                began = time.monotonic()
                role.start()
                wait_until(lambda: server.health()["lag"][until[name]] == 0, 300, f"{name} caught up")
                times[name] = time.monotonic() - began
            seconds = times[roles[-1]]
            figures.add(job, f"{what}: events", "events/s", events / seconds,
                        f"{stored['payloads']} payloads of {LARGE.stat().st_size} bytes from the log, start of the role included")
            figures.add(job, f"{what}: JSON", "MB/s", stored["payloads"] * LARGE.stat().st_size / seconds / 1e6,
                        "the same run")
        finally:
            for role in reversed(running):
                role.stop(15)


def answers(server):
    try:
        return server.api("GET", "/api/internal/health?project=demo&environment=production").status == 200
    except OSError:
        return False


def process(figures):
    catch_up(figures, "process", "transform + analytics", ["processor"], {"processor": "payloads"})


def lake(figures):
    catch_up(figures, "lake", "lake, into committed Parquet", ["processor", "lake"], {"processor": "payloads", "lake": "lake"})


def visible(figures):
    """From the acknowledgement of a payload to its count in the REST answer, while other load runs."""
    flag, samples = "visible-flag", 60
    with Server(settings=REAL_SEGMENTS) as server:
        peak = load(server.port, server.sdk_key, LARGE, seconds=3)["payloads_per_second"]
        server.wait_until_processed(120)
        rate = 0.7 * min(peak, whole_pipeline_peak(server))
        noise = threading.Thread(target=load, args=(server.port, server.sdk_key, LARGE),
                                 kwargs={"rate": rate, "seconds": samples * 0.5, "tries": 1})
        noise.start()
        waits = []
        for n in range(samples):
            now = int(time.time() * 1000)
            body = [{"kind": "summary", "startDate": now, "endDate": now, "features": {
                flag: {"default": False, "contextKinds": ["user"],
                       "counters": [{"variation": 0, "version": 1, "value": True, "count": 1}]}}}]
            answer = server.post_events(json.dumps(body).encode(), f"00000000-0000-4000-8000-{n:012d}")
            assert answer.status == 202
            began = time.monotonic()
            wait_until(lambda: sum(server.evaluations(flag).values()) > n, 30, "the evaluation is counted")
            waits.append(time.monotonic() - began)
        noise.join()
        waits.sort()
        method = f"{samples} payloads, one at a time, under {rate:.0f} payloads/s (70 % of what the whole pipeline sustains)"
        for name, q in (("p50", 0.5), ("p99", 0.99)):
            figures.add("visible", f"acknowledged to visible, {name}", "ms", waits[int(len(waits) * q)] * 1000, method)


def whole_pipeline_peak(server):
    """Payloads a second that all roles sustain together: the rate at which a backlog is worked off under load."""
    stored = load(server.port, server.sdk_key, LARGE, seconds=SECONDS)
    began = time.monotonic()
    server.wait_until_processed(300)
    return stored["payloads"] / (SECONDS + time.monotonic() - began)


JOBS = {"evaluate": evaluate, "append": append, "ingest": ingest, "process": process, "lake": lake, "visible": visible,
        "delivery": delivery, "evalx": evalx, "polling": polling, "peers": peers, "growth": growth}
QUICK = {"peers", "growth"}  # take `quick`


def machine():
    cpu = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    mounts = subprocess.run(["df", "--output=fstype", str(ROOT / "build")], capture_output=True, text=True).stdout.split()
    return {"cpu": cpu, "cores": os.cpu_count(), "memory_gib": round(memory), "kernel": platform.release(),
            "file_system": mounts[-1] if mounts else ""}


def commit():
    def git(*arguments):
        return subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True).stdout.strip()
    changed = git("status", "--porcelain", "--untracked-files=no", "--", "src", "bench")
    return git("rev-parse", "--short=10", "HEAD") + (" and changes" if changed else "")


def others_share(seconds=1):
    """Share of the machine's CPU that is in use while we only watch."""
    def times():
        fields = [int(each) for each in open("/proc/stat").readline().split()[1:9]]
        return sum(fields), fields[3] + fields[4]
    before = times()
    time.sleep(seconds)
    total, idle = (b - a for a, b in zip(before, times()))
    return 1 - idle / total if total else 0.0


def save(job, figures, began, others, quick):
    """Puts the job's figures in the place of those that it left before."""
    results = ROOT / "bench/results/latest.json"
    kept = json.loads(results.read_text()) if results.exists() else {}
    runs = kept.get("runs", {}) | {job: {
        "machine": machine(), "commit": commit(), "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "seconds": round(time.monotonic() - began), "others_share": round(others, 3), "quick": quick and job in QUICK}}
    everything = [each for each in kept.get("figures", []) if each["job"] != job] + figures.all
    results.write_text(json.dumps({"machine": machine(), "runs": runs, "figures": everything,
                                   "data": kept.get("data", {}) | figures.data}, indent=1) + "\n")
    return results


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("jobs", nargs="*", choices=[[], *JOBS], default=[])
    parser.add_argument("--quick", action="store_true", help="one short round of peers and growth: checks the machinery, not the speed")
    arguments = parser.parse_args()
    for job in arguments.jobs or list(JOBS):
        others = others_share()
        print(job + (f" (other work uses {others:.0%} of the machine: figures will be poor)" if others > 0.1 else ""), flush=True)
        figures, began = Figures(), time.monotonic()
        JOBS[job](figures, **({"quick": True} if arguments.quick and job in QUICK else {}))
        results = save(job, figures, began, others, arguments.quick)
        print(f"  {job}: {time.monotonic() - began:.0f} s, written to {results.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
