"""Proves on real traffic that nothing acknowledged is lost or counted twice, and that the proof can fail.

Three runs, each judged by the same check:

1. Applications with the official Node SDK evaluate flags while every role is killed (SIGKILL) five times.
2. The same traffic twice over, with the removal of duplicates switched off: must FAIL.
3. A disk that loses power at any moment, with acknowledgements sent before the data is durable: must FAIL.

Exit status: 0 when the first passes and both others fail.
"""
import json
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree

from deltalake import DeltaTable

from harness import ROOT, Server, start_shop, temporary_folder
from recording import record_hour, send
from roles import ROLES, Roles
from test_first_light import Repeater

KILLS, SEED = 5, 20261125
SHOPS, EVALUATIONS = 2, 10_000
PAYLOADS, PAYLOADS_PER_SECOND = 3_000, 150


class Table:
    def __init__(self):
        self.failed = []

    def title(self, text):
        print(f"\n{text}\n{'-' * 100}", flush=True)

    def row(self, what, *numbers):
        """One line; several numbers must be equal to pass."""
        good = len(set(map(str, numbers))) == 1
        shown = "  ".join(f"{n:>14,}" if isinstance(n, int) else f"{n:>14}" for n in numbers)
        print(f"  {what:<44} {shown}  {'' if len(numbers) == 1 else 'PASS' if good else 'FAIL'}", flush=True)
        if not good:
            self.failed.append(what)


def start_shops(server, folder, events_url=None):
    return [start_shop(server, "--rate", "100", "--quiet", "--evaluations", str(EVALUATIONS), "--seed", str(n),
                       "--counts", str(folder / f"counts-{n}.json"), "--events-url", events_url or server.url)
            for n in range(SHOPS)]


def application_counts(shops, folder):
    """What the applications counted from their own calls: flag -> evaluations."""
    totals = {}
    for n, shop in enumerate(shops):
        output, _ = shop.communicate(timeout=240)
        assert shop.returncode == 0, output
        for flag, variations in json.loads((folder / f"counts-{n}.json").read_text())["flags"].items():
            totals[flag] = totals.get(flag, 0) + sum(variations.values())
    return totals


def lake_counts(server):
    """By the deltalake package, which is not ours: flag -> evaluations, and how often each recorded payload is there."""
    table = DeltaTable(str(server.data / "lake/events")).to_pyarrow_table(columns=["kind", "key", "count", "data"])
    flags, payloads = {}, {}
    for row in table.to_pylist():
        if row["kind"] == "summary":
            flags[row["key"]] = flags.get(row["key"], 0) + row["count"]
        elif row["kind"] == "custom" and row["key"] == "recorded":
            n = json.loads(row["data"])["n"]
            payloads[n] = payloads.get(n, 0) + 1
    return flags, payloads


def killed_run(table):
    table.title("1. Applications and a recorded hour of traffic, while every role is killed five times")
    with Roles(settings={"pipeline.checkpoint_interval": "1s"}) as server, temporary_folder() as folder:
        shops = start_shops(server, folder)
        deaths = {}
        killer = threading.Thread(target=lambda: deaths.update(server.kill_all_along(KILLS, SEED, threading.Event())))
        killer.start()
        ledger = send(record_hour(PAYLOADS, SEED, int(time.time() * 1000), killer.is_alive), ("127.0.0.1", server.port), server.sdk_key, PAYLOADS_PER_SECOND)
        killer.join()
        counted = application_counts(shops, folder)
        server.wait_until_processed(60)
        flags, payloads = lake_counts(server)
        table.row("recorded payloads sent", len(ledger.acknowledged) + len(ledger.unknown))
        table.row("of them acknowledged", len(ledger.acknowledged))
        for role, process in server.roles.items():
            table.row(f"SIGKILLs of {role}", process.kills)
        table.row("acknowledged payloads missing in the lake", len(ledger.acknowledged - payloads.keys()), 0)
        table.row("payloads counted twice in the lake", sum(1 for n in payloads.values() if n != 1), 0)
        # The recording's own evaluations are known, too: what is left is what the applications made.
        recorded = {flag: sum(variations.values()) for flag, variations in ledger.totals(payloads).items()}
        compare(table, server, counted, flags, recorded)


def compare(table, server, counted, flags, recorded):
    """Three sources for each flag, of which two are not ours; `recorded` evaluations came from elsewhere."""
    print(f"\n  {'evaluations of flag':<44} {'application':>14}  {'lake':>14}  {'REST':>14}")
    for flag, count in sorted(counted.items()):
        others = recorded.get(flag, 0)
        rest = server.evaluations(flag)
        table.row(flag, count, flags.get(flag, 0) - others, sum(rest.values()) - others)


def run_without_dedupe(table):
    table.title("2. Sabotage: every payload sent twice, removal of duplicates switched off")
    with Server(settings={"pipeline.dedupe": "false"}) as server, temporary_folder() as folder:
        repeater = Repeater(server)
        counted = application_counts(start_shops(server, folder, repeater.url), folder)
        server.wait_until_processed(60)
        repeater.close()
        flags, _ = lake_counts(server)
        compare(table, server, counted, flags, {})


def power_losses(table):
    """The log's own writer on a disk in memory whose power is cut at every moment, honest and sabotaged."""
    with temporary_folder() as folder:
        report = folder / "report.xml"
        subprocess.run([str(ROOT / "build/release/src/log/log_test"), "--gtest_filter=CrashExplorer.*",
                        f"--gtest_output=xml:{report}"], check=True, capture_output=True)
        found = {case.get("name"): {p.get("name"): int(p.get("value")) for p in case.iter("property")}
                 for case in xml.etree.ElementTree.parse(report).iter("testcase")}
    honest = found["LosesNoAcknowledgedRecordAndInventsNone"]
    table.row("power cut at this many moments", honest["states"])
    table.row("acknowledged records lost", honest["lost"], 0)
    return found["FindsLossesWhenAcknowledgingBeforeTheSync"]


def main():
    began = time.monotonic()
    real, no_dedupe, early = Table(), Table(), Table()
    killed_run(real)
    real.title("   Power loss at every moment of the log's writing")
    sabotaged = power_losses(real)
    run_without_dedupe(no_dedupe)
    early.title("3. Sabotage: acknowledged before the write is durable, power cut")
    early.row("power cut at this many moments", sabotaged["states"])
    early.row("acknowledged records lost", sabotaged["lost"], 0)
    proven = not real.failed and no_dedupe.failed and early.failed
    print(f"\n  1 {'PASS' if not real.failed else 'FAIL'}   2 {'FAIL, as it must' if no_dedupe.failed else 'PASS: the check is blind'}"
          f"   3 {'FAIL, as it must' if early.failed else 'PASS: the check is blind'}"
          f"   ({time.monotonic() - began:.0f} s, roles: {', '.join(ROLES)})")
    return 0 if proven else 1


if __name__ == "__main__":
    sys.exit(main())
