"""Every named crash point kills the real binary, again and again, while payloads are sent; an outside ledger knows what
was acknowledged.  POINT_HITS: how often each role must die at each of its points (1)."""
import collections
import http.client
import os
import random
import re
import signal
import subprocess
import threading
import time

import pytest

from harness import ROOT, wait_until
from recording import record_hour, send
from reliability import record_part
from roles import CHECKPOINT_POINTS, CRASH_POINTS, HITS_MAX, RARE_POINTS, Roles

HITS = int(os.environ.get("POINT_HITS", "1"))
MINUTES_MAX = 10 + HITS  # for all of them
PATIENCE_SECONDS = 600  # for what comes after the last death; far more than it takes
LIFE_SECONDS = 3
CHECKPOINT_COMMITS = 100  # of the lake, between two checkpoints
STAGES = ["processor", "lake"]
LAG_MAX = {"payloads": 400, "lake": 2_000}  # records that may wait for a stage
PAYLOADS_PER_SECOND, PADDING = 150, 30_000
SEED = 20261125
# Segment files are full several times a second and given up soon, and the pool has room for those and for new ones; stages
# checkpoint and commit with each megabyte.
SETTINGS = {"log.segment_size": "1MiB", "log.retention_size": "64MiB", "log.pool_segments": "16",
            "pipeline.checkpoint_interval": "1s", "pipeline.checkpoint_size": "1MiB",
            "lake.commit_interval": "1s", "lake.commit_size": "1MiB"}


def points_in_sources():
    sources = [*(ROOT / "src").glob("*/*.cc"), *(ROOT / "src").glob("*/*.h")]
    return {name for source in sources if not source.name.endswith("_test.cc") and source.name != "crash_point.h"
            for name in re.findall(r'FS_CRASH_POINT\("([^"]+)"\)', source.read_text())}


def test_every_crash_point_of_the_sources_is_met_by_some_role():
    assert points_in_sources() == {point for points in CRASH_POINTS.values() for point in points}


class Dying:
    """Lets one role die again and again.  In each life it is armed with all of its points that were met least: that which
    it passes first kills."""

    def __init__(self, server, name, held, until):
        self.server, self.role, self.held, self.until = server, server.roles[name], held, until
        self.points, self.rng = CRASH_POINTS[name], random.Random(SEED)
        self.deaths, self.plain_kills = collections.Counter(), 0
        self.table_log = server.data / "lake/events/_delta_log"
        self.error = None
        self.thread = threading.Thread(target=self.run)

    def run(self):
        try:
            while not self.until.is_set():
                least = min(self.deaths[point] for point in self.points)
                if least >= HITS:
                    break
                points = [point for point in self.points if self.deaths[point] == least]
                if any(point in CHECKPOINT_POINTS for point in points):
                    self.make_checkpoint_due()
                self.die_at(points)
                if self.role.name in STAGES and self.held.is_set():
                    self.live_until(lambda: not self.held.is_set())
            self.live()
        except Exception as error:
            self.error = error
            self.until.set()

    def live(self, crash_points=None):
        self.kill()
        self.role.start(crash_points)

    def kill(self):
        self.role.stop(signal.SIGKILL)
        code = self.role.process.returncode
        assert code == -signal.SIGKILL, f"{self.role.name} ended by itself with {code}"

    def live_until(self, condition):
        self.live()
        while not condition() and not self.until.is_set():
            time.sleep(0.02)

    def die_at(self, points):
        """Gives way to a plain SIGKILL when none of them is passed for a while: some are passed in certain lives only."""
        self.live(",".join(f"{point}:{1 if point in RARE_POINTS else self.rng.randint(1, HITS_MAX[self.role.name])}"
                           for point in points))
        ends = time.monotonic() + LIFE_SECONDS
        while not self.role.died():
            if self.until.is_set() or time.monotonic() > ends:
                self.plain_kills += 1
                self.kill()
            time.sleep(0.01)
        # One for each of its deaths, also when it was quicker than the plain SIGKILL.
        self.deaths = collections.Counter(self.role.crashes())

    def make_checkpoint_due(self):
        """A checkpoint is due a hundred commits after the last, which takes too long to wait for.  So the last is taken away
        when the lake has gone on from it: it only shortens the way to what the commits say."""
        made = max(self.table_log.glob("*.checkpoint.parquet"), default=None)
        if not made:
            return
        version = int(made.name.split(".")[0])
        if self.newest_commit() >= version + CHECKPOINT_COMMITS:
            return
        self.live_until(lambda: self.newest_commit() > version)
        self.kill()
        made.unlink()
        (self.table_log / "_last_checkpoint").unlink(missing_ok=True)

    def newest_commit(self):
        return max(int(commit.stem) for commit in self.table_log.glob("*.json"))


class Throttle:
    """Holds the senders while a stage has too much to do, so that retention never passes it."""

    def __init__(self, server, until):
        self.server, self.until, self.held = server, until, threading.Event()
        self.thread = threading.Thread(target=self.run)

    def run(self):
        while not self.until.is_set():
            try:
                lag = self.server.health()["lag"]
                fullness = max(lag[name] / most for name, most in LAG_MAX.items())
                if fullness > 1:
                    self.held.set()
                elif fullness < 0.5:
                    self.held.clear()
            except (OSError, http.client.HTTPException, AssertionError, ValueError):
                pass  # the gateway or control is dead just now
            time.sleep(0.1)
        self.held.clear()


def patiently(call):
    """Once more after a timeout: everything may have been stopped for a while."""
    try:
        return call()
    except (OSError, subprocess.TimeoutExpired):
        return call()


@pytest.mark.broad
def test_nothing_is_lost_wherever_a_role_dies():
    with Roles(settings=SETTINGS) as server:
        until = threading.Event()
        throttle = Throttle(server, until)
        everyone = [Dying(server, name, throttle.held, until) for name in CRASH_POINTS]

        def edit_along():
            while any(each.thread.is_alive() for each in everyone):
                server.edit()
                time.sleep(0.1)
        editor = threading.Thread(target=edit_along)
        for each in [*everyone, throttle]:
            each.thread.start()
        editor.start()
        ends = time.monotonic() + 60 * MINUTES_MAX
        recording = record_hour(1_000, SEED, int(time.time() * 1000),
                                lambda: editor.is_alive() and time.monotonic() < ends, padding=PADDING)
        try:
            ledger = send(recording, ("127.0.0.1", server.port), server.sdk_key, payloads_per_second=PAYLOADS_PER_SECOND,
                          paused=throttle.held.is_set)
        finally:
            until.set()
            for each in [*everyone, throttle]:
                each.thread.join()
            editor.join()
        for each in everyone:
            if each.error:
                raise each.error
        wait_until(server.is_ready, PATIENCE_SECONDS, "all roles serve again")
        patiently(lambda: server.wait_until_processed(PATIENCE_SECONDS))
        rows = patiently(lambda: server.sql("SELECT CAST(metric_value AS INTEGER), count(*) FROM events "
                                            "WHERE kind = 'custom' AND key = 'recorded' GROUP BY 1", all_rows=True))
        found = {n: count for n, count in rows["rows"]}
        missing = ledger.acknowledged - found.keys()
        twice = {n for n, count in found.items() if count != 1}
        phantoms = found.keys() - ledger.features.keys()
        wrong = (len(missing), len(twice), len(phantoms))
        if any(wrong):
            server.owns_data = False
            print(f"left: {server.data}; lost {sorted(missing)}, twice {sorted(twice)}, phantoms {sorted(phantoms)}")
        print("".join(f"\n{each.deaths[point]:6} {point} ({each.role.name})" for each in everyone for point in each.points))
        times = sum(each.deaths.total() for each in everyone)
        least = min(each.deaths[point] for each in everyone for point in each.points)
        unmet = sorted({point for each in everyone for point in each.points if each.deaths[point] < HITS})
        if "POINT_HITS" in os.environ:
            record_part("points", f"deaths at {len(points_in_sources())} named points of the real binary", times,
                        len(ledger.acknowledged), *wrong, least_hit_of_each_role=least,
                        plain_kills=sum(each.plain_kills for each in everyone), unmet=unmet)
        assert wrong == (0, 0, 0)
        assert not unmet
        assert ledger.acknowledged | ledger.unknown == ledger.features.keys()
