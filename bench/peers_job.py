"""Durable ingest beside its peers (bench/ingest_peers.py): rounds in which each server starts afresh and takes both payloads,
one server after the other, so that what the machine does meanwhile meets all of them alike."""
import statistics

from disk import disk_sync_us
from events_load import LARGE, SMALL
from ingest_peers import CONNECTIONS, contenders, started

ROUNDS, SECONDS = 5, 3
PACED_ROUNDS = (0, 2)  # in which each server takes an open loop, too
METRICS = ("megabytes_per_second", "payloads_per_second", "per_cpu_second", "p50_us", "p99_us")
METHOD = (f"{CONNECTIONS} connections with one payload in flight each, closed loop; server on one core, load on the other; "
          "median of rounds that take the servers in turn; ratio: median of the rounds' ratios")


def payload_name(payload):
    return f"{payload.stat().st_size / 1000:.0f} KB"


def peers(figures, quick=False):
    rounds, seconds = (1, 1) if quick else (ROUNDS, SECONDS)
    found = contenders()
    payloads = [LARGE, SMALL]
    seen = {(contender.name, payload_name(payload)): [] for contender in found for payload in payloads}
    paced = {key: [] for key in seen}
    sync_before = disk_sync_us(4096)
    for turn in range(rounds):
        for contender in found:
            with started(contender) as run:
                for payload in payloads:
                    key = contender.name, payload_name(payload)
                    peak = run(payload, seconds)
                    seen[key].append(peak)
                    print(f"  round {turn + 1}  {contender.name:<24}{key[1]:>6} {peak['megabytes_per_second']:>10,.1f} MB/s"
                          f" {peak['payloads_per_second']:>10,.0f} payloads/s", flush=True)
                    if "Kafka" not in contender.name and turn in PACED_ROUNDS:
                        paced[key].append(run(payload, max(1, seconds - 1), peak["payloads_per_second"] / 2))
    sync_after = disk_sync_us(4096)
    rows = []
    for contender in found:
        for payload in payloads:
            rows.append(row(contender, payload, seen, paced))
            add_figures(figures, rows[-1])
    figures.data["peers"] = {"rounds": rounds, "seconds": seconds, "connections": CONNECTIONS, "rows": rows,
                             "disk_sync_us": {"before": sync_before, "after": sync_after}}


def row(contender, payload, seen, paced):
    """What the page says of a contender and a payload: medians, and what ours is times theirs, with the least and greatest."""
    name = payload_name(payload)
    mine, ours = seen[contender.name, name], seen["flagstream", name]
    figure = {"name": contender.name, "durability": contender.durability, "protocol": contender.protocol, "version": contender.version,
              "note": contender.note, "http_events": contender.takes_http_events, "payload": name}
    for metric in METRICS:
        values = [each[metric] for each in mine if each[metric] is not None]
        figure[metric] = statistics.median(values) if values else None
    for metric in ("megabytes_per_second", "per_cpu_second"):
        ratios = [a[metric] / b[metric] for a, b in zip(ours, mine) if a[metric] and b[metric]]
        figure[f"ratio_{metric}"] = [statistics.median(ratios), min(ratios), max(ratios)] if ratios else None
    shares = [each["own_cpu_share"] for each in mine if "own_cpu_share" in each]
    figure["load_cpu_share"] = statistics.median(shares) if shares else None
    good = [each for each in paced[contender.name, name] if not each["void"]]
    figure["paced_void"] = len(paced[contender.name, name]) - len(good)
    figure["paced"] = {metric: statistics.median(each[metric] for each in good)
                       for metric in ("rate", "p50_us", "p99_us", "p999_us")} if good else None
    return figure


def add_figures(figures, figure):
    if figure["name"] == "flagstream":
        return
    for metric, unit in (("megabytes_per_second", "MB/s"), ("per_cpu_second", "payloads/CPU s")):
        ratio = figure[f"ratio_{metric}"]
        if ratio:
            figures.add("peers", f"{figure['payload']} payloads, {metric.replace('_', ' ')}: of {figure['name']} ({figure['durability']})",
                        unit, figure[metric], METHOD, f"of it: ours, {ratio[1]:.2f} to {ratio[2]:.2f}", ratio[0])
