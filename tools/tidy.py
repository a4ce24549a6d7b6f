#!/usr/bin/env python3
"""Checks of the project's own rules that no compiler makes.

usage: tidy.py            prints each break of a rule as file:line: rule: text; exit status 1 if there is any

Rules: includes go to lower ranks only; the gateway's closure holds no database or analytics; third-party headers
stay with their owner; only base/clock.cc reads clocks; only app/ writes to the console and reads the environment;
no file over 800 lines; no notes left behind.  A line may opt out with a visible reason: `// tidy: allow(rule) why`.
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
RANKS = {
    "base": 0, "json": 1, "telemetry": 2, "flags": 2, "io": 3, "log": 4, "http": 4, "events": 4, "sql": 4,
    "environment": 5, "objects": 5, "pipeline": 6, "catalog": 6, "delivery": 7, "ingest": 7, "transform": 7,
    "analytics": 7, "lake": 7, "destinations": 7, "gateway": 8, "processor": 8, "control": 8, "app": 9,
}
GATEWAY_MAY_NOT = {"sql", "catalog", "pipeline", "lake", "analytics"}
OWNERS = {
    r"^rocksdb/": {"pipeline"},
    r"^sqlite3\.h": {"sql"},
    r"^duckdb\.h": {"lake"},
    r"^(CLI/|toml\+\+/)": {"app"},
    r"^boost/json": {"json"},
    r"^re2/": {"flags", "catalog"},
    r"^curl/": {"app", "objects", "destinations"},
    r"^isa-l/": {"base", "http"},
}
# Everything else of one's own rank is off limits too, except where listed: (from, to).
SAME_RANK = set()
LINE_RULES = [
    ("clock", re.compile(r"(system|steady|high_resolution)_clock::now|\bclock_gettime\(|\bgettimeofday\(|\btime\(nullptr\)"),
     lambda path: path != "base/clock.cc"),
    ("console", re.compile(r"std::(cout|cerr)|\bprintf\(|\bputs\("),
     lambda path: not path.startswith(("app/", "base/assert.cc"))),
    ("environment", re.compile(r"\bgetenv\("), lambda path: not path.startswith(("app/", "io/crash_point.cc"))),
    ("note", re.compile(r"\b(TODO|FIXME|XXX|HACK)\b"), lambda path: True),
    ("detached", re.compile(r"\bdetached\b|\.detach\(\)"), lambda path: True),
]
LINES_MAX = 800


def sources():
    for path in sorted((ROOT / "src").rglob("*")):
        if path.suffix in (".h", ".cc"):
            yield path, path.relative_to(ROOT / "src").as_posix()


def includes(text):
    for number, line in enumerate(text.split("\n"), 1):
        match = re.match(r'\s*#include\s+[<"]([^>"]+)[>"]', line)
        if match:
            yield number, match[1], line


def main():
    problems = []
    edges = {}
    for path, name in sources():
        text = path.read_text()
        lines = text.split("\n")
        module = name.split("/")[0]
        is_test = re.search(r"(_test|_fuzz|_bench)\.(cc|h)$|test_\w+\.h$", name) is not None

        def report(number, rule, what):
            if f"tidy: allow({rule})" not in lines[number - 1]:
                problems.append(f"src/{name}:{number}: {rule}: {what}")

        if module not in RANKS:
            report(1, "layers", f"folder {module} has no rank")
            continue
        if len(lines) > LINES_MAX:
            report(1, "length", f"{len(lines)} lines, {LINES_MAX} at most")
        for number, header, _ in includes(text):
            target = header.split("/")[0]
            if target in RANKS and target != module:
                if not is_test:
                    edges.setdefault(module, set()).add(target)
                lower = RANKS[target] < RANKS[module] or (module, target) in SAME_RANK
                if not lower and not is_test:
                    report(number, "layers", f"{module} (rank {RANKS[module]}) includes {header} (rank {RANKS[target]})")
            for pattern, owners in OWNERS.items():
                if re.match(pattern, header) and module not in owners:
                    report(number, "owner", f"{header} belongs to {', '.join(sorted(owners))}")
        for rule, pattern, applies in LINE_RULES:
            if not applies(name) or (is_test and rule != "note"):
                continue
            for number, line in enumerate(lines, 1):
                if pattern.search(line.split("//")[0] if rule != "note" else line):
                    report(number, rule, line.strip())

    closure, waiting = set(), ["gateway"]
    while waiting:
        module = waiting.pop()
        if module not in closure:
            closure.add(module)
            waiting.extend(edges.get(module, ()))
    for module in sorted(closure & GATEWAY_MAY_NOT):
        problems.append(f"src/gateway: layers: its closure reaches {module}")

    print("\n".join(problems) if problems else "tidy: no rule is broken")
    return 1 if problems else 0


sys.exit(main())
