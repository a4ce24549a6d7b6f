"""Runs each role as a process of its own, so that a test can kill one and choose where it dies next."""
import http.client
import os
import pathlib
import random
import signal
import subprocess
import threading
import time

from harness import BINARY, ROOT, Server, wait_until

ROLES = {
    "gateway": ["--role", "gateway"],
    "control": ["--role", "control"],
    "processor": ["--role", "processor", "--stages", "transform,analytics"],
    "lake": ["--role", "processor", "--stages", "lake"],
}
# Passed when a segment file is full, and when retention has something to delete.
ROLLING_POINTS = ["log.pool.before_sync", "log.after_roll_header", "log.after_roll", "log.after_index", "log.after_recycle",
                  "log.after_expire"]
# Passed once for each topic that is opened, and once a second.
KEEPING_POINTS = ["log.before_quarantine_saved", "log.after_watermark"]
# Passed with every hundredth commit, and with each that follows one which died there.
CHECKPOINT_POINTS = ["lake.checkpoint.before_rename", "lake.checkpoint.after_rename"]
RARE_POINTS = {*ROLLING_POINTS, *KEEPING_POINTS, *CHECKPOINT_POINTS}
# Places where each role may be told to die; but for the rare ones each is passed many times a second under load, or
# at start.
CRASH_POINTS = {
    "gateway": ["ingest.before_append", "ingest.after_durable_before_ack", "log.after_write_before_sync",
                "log.after_sync_before_ack", *ROLLING_POINTS, *KEEPING_POINTS, "file.replace.before_rename",
                "file.replace.after_rename"],
    "control": ["control.after_commit_before_publish", "control.after_publish_before_mark",
                "control.after_memberships_before_mark"],
    "processor": ["pipeline.before_fold", "pipeline.after_sink_append", "pipeline.checkpoint.before_write",
                  "pipeline.checkpoint.after_write", "analytics.before_results_write", "analytics.after_results_write",
                  "log.after_write_before_sync", "log.after_sync_before_ack", *ROLLING_POINTS, *KEEPING_POINTS],
    "lake": ["lake.before_parquet", "lake.after_parquet", "lake.before_commit", "lake.after_link", "lake.after_commit",
             *CHECKPOINT_POINTS],
}
# The lake passes its points with each commit, once a second in these tests; the others pass theirs far more often.
HITS_MAX = {"gateway": 20, "control": 20, "processor": 20, "lake": 4}
ARMED_SECONDS = 10  # a crash point that is not passed for so long gives way to a plain SIGKILL


class RoleProcess:
    def __init__(self, server, name):
        self.server, self.name, self.process, self.kills = server, name, None, 0
        self.log = open(server.data.with_suffix(f".{name}.log"), "ab")
        self.crash_log = server.data.with_suffix(f".{name}.crash-points")

    def start(self, crash_point=None):
        environment = dict(self.server.environment)
        if crash_point:
            environment |= {"FLAGSTREAM_CRASH_POINTS": crash_point,
                            "FLAGSTREAM_CRASH_LOG": str(self.crash_log)}
        arguments = ["serve", *ROLES[self.name], *self.server.arguments[1:]]
        self.process = subprocess.Popen([str(BINARY), *arguments], stdout=self.log, stderr=self.log, env=environment, cwd=ROOT)

    def died(self):
        return self.process is None or self.process.poll() is not None

    def crashes(self):
        """Names of the crash points at which it died, one for each such death."""
        return self.crash_log.read_text().split() if self.crash_log.exists() else []

    def stop(self, how):
        if not self.died():
            self.process.send_signal(how)
        self.process.wait(20)


class Roles(Server):
    """The demo with every role started by the test.  kill_all_along() kills them until each has died often enough."""

    def start(self, seconds=30):
        with Server(demo=True, data=self.data, settings=self.settings_given) as seeded:  # makes folder, catalog and keys
            self.keys = seeded.keys
        self.roles = {name: RoleProcess(self, name) for name in ROLES}
        for role in self.roles.values():
            role.start()
        wait_until(self.is_ready, seconds, "all roles serve")
        answer = self.api("POST", "/api/v2/segments/demo/production", {"key": "edited", "name": "edited", "unbounded": True})
        assert answer.status in (201, 409), answer.body

    def __init__(self, settings=None, **rest):
        self.settings_given, self.edits = settings, 0
        super().__init__(settings=settings, **rest)

    def is_ready(self):
        try:
            return self.api("GET", "/api/internal/health?project=demo&environment=production").status == 200
        except OSError:
            return False

    def stop(self, seconds=20):
        for role in getattr(self, "roles", {}).values():
            role.stop(signal.SIGTERM)
            role.log.close()
        self.roles = {}

    def edit(self):
        """A change of a flag: what control's crash points are passed by."""
        self.edits += 1
        try:
            self.flag_on("free-shipping", on=self.edits % 2 == 0)
            self.api("POST", "/api/v2/segments/demo/production/edited/contexts",
                     {"included": {"add": [f"user-{self.edits}"]}})
        except (OSError, http.client.HTTPException, AssertionError, ValueError):
            pass  # control or the gateway is dead just now

    def kill_all_along(self, kills, seed, until):
        """Until every role has died `kills` times: waits a seeded moment, then kills one, half of the time by a
        crash point in its next life.  `until` is a threading.Event that ends it early (an error of the caller)."""
        rng = random.Random(seed)
        armed = {name: None for name in ROLES}
        on_points = {name: 0 for name in ROLES}
        wanting = list(ROLES)
        while not until.is_set() and wanting:
            time.sleep(rng.uniform(0.05, 0.25))
            self.edit()
            for role in self.roles.values():  # what died at its crash point starts again
                if role.died():
                    role.kills += 1
                    on_points[role.name] += 1
                    armed[role.name] = None
                    role.start()
            wanting = [n for n, role in self.roles.items() if role.kills < kills or on_points[n] < kills // 2]
            name = rng.choice(wanting or list(ROLES))
            role = self.roles[name]
            if armed[name] and time.monotonic() < armed[name]:
                continue  # waits for its crash point
            role.process.kill()
            role.process.wait()
            role.kills += 1
            armed[name] = time.monotonic() + ARMED_SECONDS
            often = [point for point in CRASH_POINTS[name] if point not in RARE_POINTS]
            role.start(f"{rng.choice(often)}:{rng.randint(1, HITS_MAX[name])}")
        for role in self.roles.values():
            role.stop(signal.SIGKILL)
            role.start()
        wait_until(self.is_ready, 30, "all roles serve again")
        return on_points
