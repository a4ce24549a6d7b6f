"""What a part of tools/torture leaves for docs/reliability.md: one JSON file a part, in build/logs."""
import datetime
import json
import subprocess
import sys

from harness import ROOT

LOGS = ROOT / "build/logs"


def record_part(part, what, times, acknowledged=None, lost=None, twice=None, phantoms=None, **notes):
    """`what` was done so many `times`; then counts of what the ledger holds, None where a part counts no records.
    notes: further figures, shown below the table."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    LOGS.mkdir(parents=True, exist_ok=True)
    (LOGS / f"reliability-{part}.json").write_text(json.dumps({
        "part": part, "what": what, "times": times, "acknowledged": acknowledged, "lost": lost, "twice": twice,
        "phantoms": phantoms, "notes": notes, "date": datetime.date.today().isoformat(),
        "commit": commit.stdout.strip() or "unknown"}, indent=1) + "\n")


if __name__ == "__main__":  # PART WHAT TIMES [NAME=NUMBER ...]
    named = (argument.split("=") for argument in sys.argv[4:])
    record_part(*sys.argv[1:3], int(sys.argv[3]), **{name: int(value) for name, value in named})
