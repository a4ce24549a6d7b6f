"""Writes docs/performance.md and its plots from bench/results/latest.json, and the README's table of figures.

    bench/page.py
"""
import json
import pathlib
import re

from plot import line_plot

ROOT = pathlib.Path(__file__).resolve().parents[1]
RESULTS = ROOT / "bench/results/latest.json"
PAGE, PLOTS, README = ROOT / "docs/performance.md", ROOT / "docs/performance", ROOT / "README.md"

GB_A_DAY = 250_000
PEAK, UTILISATION = 2.5, 0.6


def shown(value):
    if value is None:
        return "–"
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def table(heads, rows):
    """The first column to the left, the others to the right."""
    lines = ["| " + " | ".join(heads) + " |", "|---|" + "---:|" * (len(heads) - 1)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def run_line(run):
    machine = run["machine"]
    quick = " **A quick run, which checks the machinery: its figures mean nothing.**" if run["quick"] else ""
    others = run["others_share"]
    busy = f" Just before it began other work used {others * 100:.0f} % of the machine." + (
        " **That is too much: its figures are poor.**" if others > 0.1 else "")
    return (f"{run['date']}, commit {run['commit']}, {run['seconds']} s. {machine['cores']} cores of {machine['cpu']}, "
            f"{machine['memory_gib']} GiB, Linux {machine['kernel']}, {machine['file_system']}.{busy}{quick}")


def ratio_text(ratio):
    return "–" if ratio is None else f"{shown(ratio[0])} ({shown(ratio[1])} to {shown(ratio[2])})"


def peers_section(data, run):
    before, after = data["disk_sync_us"]["before"], data["disk_sync_us"]["after"]
    rows = data["rows"]
    out = ["## Durable ingest beside its peers", "", run_line(run), "",
           f"Each server starts with an empty folder on core 0; the load runs on core 1. Rounds: {data['rounds']}, each takes the servers in "
           f"turn, {data['seconds']} s for each payload, {data['connections']} connections with one payload in flight each. Payloads are "
           "recorded from an SDK and made unique as they are sent. Figures are medians of the rounds; *ours / theirs* is the median "
           "of the rounds' ratios, with the least and the greatest. Kafka's clients batch many payloads into one request, so its "
           "latencies are those of a full queue. A server that uses less than its core was limited by the load (*load* is the share of "
           "its core that the load used; near 1 it is the limit, and the server's own is *payloads per CPU second*).", "",
           f"The disk's own flush, one write of 4 KiB and `fdatasync` after the other: p50 {before[0]:.0f} us, p99 {before[1]:.0f} us "
           f"before the rounds; p50 {after[0]:.0f} us, p99 {after[1]:.0f} us after them. Whether the host of a virtual machine writes "
           "through at a flush cannot be seen from inside; it is the same for all of them.", ""]
    names = list(dict.fromkeys(row["name"] for row in rows))
    by_name = {name: next(row for row in rows if row["name"] == name) for name in names}
    out += ["What an acknowledgement promises:", "",
            table(["server", "survives", "protocol", "version", "how it runs"],
                  [[name, {"none": "nothing", "page cache": "the process's death (page cache)", "fsync": "power loss (fsync)"}[each["durability"]],
                    each["protocol"], each["version"] or "–", each["note"] or "–"] for name, each in by_name.items()])
            .replace("---:", "---"), ""]
    for payload in dict.fromkeys(row["payload"] for row in rows):
        some = [row for row in rows if row["payload"] == payload]
        out += [f"### Payloads of {payload}", "",
                table(["server", "durable", "MB/s", "payloads/s", "payloads per CPU s", "p50 us", "p99 us", "load", "ours / theirs, MB/s",
                       "ours / theirs, per CPU s"],
                      [[row["name"], row["durability"], shown(row["megabytes_per_second"]), shown(row["payloads_per_second"]),
                        shown(row["per_cpu_second"]), shown(row["p50_us"]), shown(row["p99_us"]), shown(row["load_cpu_share"]),
                        *((ratio_text(row[f"ratio_{each}"]) if row["name"] != "flagstream" else "") for each in
                          ("megabytes_per_second", "per_cpu_second"))] for row in some]), ""]
        paced = [row for row in some if row["paced"]]
        if paced:
            out += ["Open loop at half of each server's own peak, payloads at random times, latency from the intended time of sending. "
                    "A run whose load was late is void and left out.", "",
                    table(["server", "asked/s", "p50 us", "p99 us", "p99.9 us"],
                          [[row["name"], *(shown(row["paced"][each]) for each in ("rate", "p50_us", "p99_us", "p999_us"))]
                           for row in paced]), ""]
        void = [row["name"] for row in some if row["paced_void"] and not row["paced"]]
        if void:
            out += [f"Open loop at half of its peak, but void, because the load itself was late: {', '.join(void)}.", ""]
    least = [row for row in rows if row["http_events"] and row["name"] not in ("flagstream", "discarding", "nginx")]
    out += ["The target is 10 times any peer that accepts events over HTTP and stores or forwards them: " + "; ".join(
        f"{row['name']}, {row['payload']}: {ratio_text(row['ratio_megabytes_per_second'])}" for row in least) + ".", "",
        "Not measured: Vector, which no package registry has, and Fluent Bit, of which npm has an incomplete source of 1.8.15 alone.", ""]
    return out


def growth_section(data, run):
    PLOTS.mkdir(exist_ok=True)
    out = ["## How cost grows", "", run_line(run), "",
           f"Server on core 0, load on core 1, closed loop, {data['seconds']} s a point; points are medians of {data['rounds']} "
           "rounds, bars go from the least to the greatest. Threads are measured with the load on the same two cores.", ""]
    for curve in data["curves"]:
        file = PLOTS / f"{curve['key']}.svg"
        file.write_text(line_plot(curve["title"], curve["x"], curve["y"], curve["series"]))
        out += [f"![{curve['title']}](performance/{file.name})", ""]
        points = sorted({point[0] for values in curve["series"].values() for point in values})
        out += [table([f"{curve['y']} at {curve['x']}", *(f"{each:,}" for each in points)],
                      [[name, *(shown({each[0]: each[1] for each in values}.get(point)) for point in points)]
                       for name, values in curve["series"].items()]), ""]
    return out


def rate_of(figures, job, metric):
    return next((each["value"] for each in figures if each["job"] == job and each["metric"].startswith(metric)), None)


def calculation_section(results):
    """A calculation from measured stages, and said to be one."""
    stages, missing = [], []
    rows = results["data"].get("peers", {}).get("rows", [])
    large = next((row for row in rows if row["name"] == "flagstream"), None)
    if large and large["per_cpu_second"]:
        each = large["megabytes_per_second"] / large["payloads_per_second"]
        stages.append(("events API, durable", large["per_cpu_second"] * each, "CPU time of the server"))
    for name, job, metric in (("transform and analytics", "process", "transform + analytics: JSON"),
                              ("lake", "lake", "lake, into committed Parquet: JSON")):
        rate = rate_of(results["figures"], job, metric)
        if rate:
            stages.append((name, rate, "time on the wall of one thread"))
        else:
            missing.append(name)
    if not stages:
        return []
    mean = GB_A_DAY / 86_400
    costs = [1_000 / rate for _, rate, _ in stages]
    cores = mean * sum(costs)
    return ["## 250 TB a day: a calculation, not a measurement", "",
            f"250 TB a day are {mean:.2f} GB/s of JSON on average. With the cost of each stage as measured here on 38 KB payloads:", "",
            table(["stage", "MB/s of one core", "core seconds per GB", "cores at the mean rate", "measured as"],
                  [[name, shown(rate), shown(cost), shown(cost * mean), how] for (name, rate, how), cost in zip(stages, costs)]), "",
            f"Together {cores:.0f} cores at the mean rate; with a peak of {PEAK} times the mean and {UTILISATION * 100:.0f} % "
            f"utilisation about **{cores * PEAK / UTILISATION:.0f} cores**{', without ' + ' and '.join(missing) + ', which were not measured here' if missing else ''}. "
            "Nobody has run this: it leaves out TLS, replication, real "
            "networks and disks, smaller payloads (which cost more per byte), memory bandwidth shared by many cores, and everything "
            "that only shows on more than one machine. It says what order of hardware to think of, and which stage to make faster.", ""]


def performance_page(results):
    out = ["# Performance", "", "Written by `make performance`, which measures and draws everything on this page again; what is "
           "measured how is in `bench/`. Machines differ and are noisy: compare ratios of one run, not absolute figures of two.", ""]
    runs = results["runs"]
    if "peers" in results["data"]:
        out += peers_section(results["data"]["peers"], runs["peers"])
    if "growth" in results["data"]:
        out += growth_section(results["data"]["growth"], runs["growth"])
    return "\n".join(out + calculation_section(results)).rstrip() + "\n"


# What the README calls a figure, its job, and how the figure's own name begins.
README_FIGURES = [
    ("flag evaluations, one rule, else percentage rollout", "evaluate", "E1: evaluations"),
    ("flag evaluations, one rule", "evaluate", "E1 rule: evaluations"),
    ("flag evaluations, percentage rollout", "evaluate", "E1 rollout: evaluations"),
    ("flag evaluations, targets, 5 rules of 3 clauses, prerequisites, a segment of 10,000", "evaluate", "E2: evaluations"),
    ("flag evaluations, 500 flags for each context", "evaluate", "E3: evaluations"),
    ("flag evaluations, context of three kinds from JSON each time", "evaluate", "E4: evaluations"),
    ("a flag change to 10,000 streams of servers: p99 after the first", "delivery", "10000 server-side streams, one change: p99"),
    ("the same: CPU for 1,000 deliveries", "delivery", "10000 server-side streams, one change: CPU per 1,000 deliveries"),
    ("the same: memory of a stream", "delivery", "10000 server-side streams, one change: memory per stream"),
    ("a change evaluated for 10,000 streams of browsers: p99 after the first", "delivery",
     "10000 client-side streams, one change evaluated for each: p99"),
    ("a change told to 10,000 OFREP event streams: p99 after the first", "delivery", "10000 OFREP event streams, one change: p99"),
    ("10,000 connects at once, 103 KB each: all have their flags", "delivery", "storm of 10000 connects, 103 KB each: all initialized"),
    ("client-side evaluation of 20 flags, GET", "evalx", "GET evalx, 20 flags"),
    ("client-side evaluation of 350 flags, GET", "evalx", "GET evalx, 350 flags"),
    ("OFREP, one of 20 flags", "evalx", "OFREP single, 20 flags"),
    ("OFREP, all 20 flags", "evalx", "OFREP bulk, 20 flags"),
    ("poll of all flags, 109 KB", "polling", "latest-all, 109 KB"),
    ("disk: 4 KiB write + fdatasync, p50", "ingest", "disk: 4 KiB write + fdatasync, p50"),
    ("disk: 4 KiB write + fdatasync, p99", "ingest", "disk: 4 KiB write + fdatasync, p99"),
    *((f"{size} payloads: {what}", "ingest", f"{size} payloads: {what}") for size in ("38 KB", "2 KB") for what in (
        "megabytes per second", "payloads per second", "acknowledgement, p50 at 50 % of peak", "acknowledgement, p99 at 50 % of peak")),
    ("transform + analytics: events", "process", "transform + analytics: events"),
    ("transform + analytics: JSON", "process", "transform + analytics: JSON"),
    ("lake, into committed Parquet: events", "lake", "lake, into committed Parquet: events"),
    ("lake, into committed Parquet: JSON", "lake", "lake, into committed Parquet: JSON"),
    ("acknowledged to visible, p50", "visible", "acknowledged to visible, p50"),
    ("acknowledged to visible, p99", "visible", "acknowledged to visible, p99"),
]


def readme_rows(results):
    """Title -> value and peers, of what was measured, and not in a quick run."""
    rows = {}
    measured_jobs = {job for job, run in results["runs"].items() if not run["quick"]}
    for title, job, metric in README_FIGURES:
        found = [each for each in results["figures"] if each["job"] == job and job in measured_jobs and re.fullmatch(
            re.escape(metric) + "(, beside .*)?", each["metric"])]
        if found:
            peers = ", ".join(f"{shown(each['ratio'])} × {each['peer']}" for each in found if each["ratio"] is not None)
            rows[title] = f"{shown(found[0]['value'])} {found[0]['unit']}", peers
    measured = results["data"]["peers"]["rows"] if "peers" in measured_jobs else []
    for row in (each for each in measured if each["name"] == "flagstream"):
        others = [each for each in measured if each["payload"] == row["payload"] and each["ratio_megabytes_per_second"]
                  and each["name"] != "flagstream"]
        rows[f"events API beside others, {row['payload']} payloads ([durability of each](docs/performance.md))"] = (
            f"{shown(row['megabytes_per_second'])} MB/s", ", ".join(
                f"{shown(each['ratio_megabytes_per_second'][0])} × {each['name']}" for each in others))
    return rows


def update_readme(results):
    """Between the markers: rows that were measured again are replaced, new ones follow, the others stay."""
    text = README.read_text()
    found = re.search(r"<!-- figures: bench/page\.py -->\n(.*?)<!-- end of figures -->", text, re.S)
    rows = {}
    for line in found[1].strip().splitlines()[2:]:
        title, value, peers = split_row(line)
        rows[title] = value, peers
    rows |= readme_rows(results)
    lines = table(["figure", "value", "beside its peer of the same run"], [[title, *rest] for title, rest in rows.items()])
    lines = lines.replace("|---|---:|---:|", "|---|---:|---|")
    README.write_text(text[:found.start(1)] + "\n" + lines + "\n\n" + text[found.end(1):])


def split_row(line):
    cells = [each.strip() for each in line.split("|")]
    return cells[1], cells[2], cells[3]


def main():
    results = json.loads(RESULTS.read_text())
    PAGE.write_text(performance_page(results))
    update_readme(results)
    print(f"written: {PAGE.relative_to(ROOT)} and its plots")


if __name__ == "__main__":
    main()
