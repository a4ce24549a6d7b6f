"""Every named crash point kills the real binary, again and again, while payloads are sent; an outside ledger knows what
was acknowledged.  POINT_HITS: how often each must be met (1)."""
import collections
import os
import random
import re
import threading
import time

import pytest

from harness import ROOT, wait_until
from recording import record_hour, send
from reliability import record_part
from roles import ARMED_SECONDS, CRASH_POINTS, RARE_POINTS, Roles

HITS = int(os.environ.get("POINT_HITS", "1"))
MINUTES_MAX = 10 + HITS  # for all of them
RARE_SECONDS = 45  # until a point that is passed now and then counts as not met in this life
LIVES_BETWEEN_BREATHS, BREATH_SECONDS = 5, 2  # the stages must get on, too
SEED = 20261125


def points_in_sources():
    sources = [*(ROOT / "src").glob("*/*.cc"), *(ROOT / "src").glob("*/*.h")]
    return {name for source in sources if not source.name.endswith("_test.cc") and source.name != "crash_point.h"
            for name in re.findall(r'FS_CRASH_POINT\("([^"]+)"\)', source.read_text())}


def test_every_crash_point_of_the_sources_is_met_by_some_role():
    assert points_in_sources() == {point for points in CRASH_POINTS.values() for point in points}


class Dying:
    """Lets one role die at one of its points after the other, always at that which was met least."""

    def __init__(self, server, name, met, until):
        self.server, self.role, self.met, self.until = server, server.roles[name], met, until
        self.points, self.rng = CRASH_POINTS[name], random.Random(SEED)
        self.thread = threading.Thread(target=self.run)
        self.plain_kills = 0

    def run(self):
        lives = 0
        while not self.until.is_set():
            point = min(self.points, key=lambda each: (self.met[each], self.rng.random()))
            if self.met[point] >= HITS:
                break
            self.role.stop(9)
            passage = 1 if point in RARE_POINTS else self.rng.randint(1, 4)
            self.role.start(f"{point}:{passage}")
            deadline = time.monotonic() + (RARE_SECONDS if point in RARE_POINTS else ARMED_SECONDS)
            while not self.role.died() and time.monotonic() < deadline and not self.until.is_set():
                time.sleep(0.02)
            if self.role.died():
                self.met[point] += 1
            else:
                self.plain_kills += 1
            lives += 1
            if lives % LIVES_BETWEEN_BREATHS == 0:
                self.role.stop(9)
                self.role.start()
                self.until.wait(BREATH_SECONDS)
        self.role.stop(9)
        self.role.start()


@pytest.mark.broad
def test_nothing_is_lost_wherever_a_role_dies():
    settings = {"pipeline.checkpoint_interval": "1s", "log.retention_size": "128MiB"}
    with Roles(settings=settings) as server:
        met, until = collections.Counter(), threading.Event()
        everyone = [Dying(server, name, met, until) for name in CRASH_POINTS]

        def edit_along():
            while any(each.thread.is_alive() for each in everyone):
                server.edit()
                time.sleep(0.1)
        for each in everyone:
            each.thread.start()
        editor = threading.Thread(target=edit_along)
        editor.start()
        ends = time.monotonic() + 60 * MINUTES_MAX
        recording = record_hour(1_000, SEED, int(time.time() * 1000),
                                lambda: editor.is_alive() and time.monotonic() < ends, padding=30_000)
        try:
            ledger = send(recording, ("127.0.0.1", server.port), server.sdk_key, payloads_per_second=150)
        finally:
            until.set()
            for each in everyone:
                each.thread.join()
            editor.join()
        wait_until(server.is_ready, 30, "all roles serve again")
        crashes = server.data.with_suffix(".crash-points").read_text().split()
        server.wait_until_processed(120)
        rows = server.sql("SELECT CAST(json_extract(data, '$.n') AS INTEGER), count(*) FROM events "
                          "WHERE kind = 'custom' AND key = 'recorded' GROUP BY 1", all_rows=True)
        found = {n: count for n, count in rows["rows"]}
        missing = ledger.acknowledged - found.keys()
        twice = {n for n, count in found.items() if count != 1}
        phantoms = found.keys() - ledger.features.keys()
        counted = collections.Counter(crashes)
        print("\n".join(f"{counted[name]:6} {name}" for name in sorted(points_in_sources())))
        unmet = sorted(name for name in points_in_sources() if counted[name] < HITS)
        if "POINT_HITS" in os.environ:
            record_part("points", f"deaths at {len(counted)} named points of the real binary", len(crashes),
                        len(ledger.acknowledged), len(missing), len(twice), len(phantoms),
                        least_hit=min(counted.values()), unmet=unmet)
        assert (len(missing), len(twice), len(phantoms)) == (0, 0, 0)
        assert not unmet
