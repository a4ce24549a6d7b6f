"""Hundreds of millions of events through faults: payloads of up to 10,000 tiny events are sent while roles are killed, die
at crash points, are stopped, and the disk fills up.  The ledger knows of each payload by its number whether it was
acknowledged; the lake is asked how many events of each number it holds.

VOLUME_EVENTS: how many must be acknowledged (300,000,000)."""
import gzip
import http.client
import os
import random
import signal
import sys
import threading
import time
import uuid

from disks import LoopDisk, can_mount
from harness import temporary_folder, wait_until
from reliability import record_part
from roles import CRASH_POINTS, RARE_POINTS, Roles

EVENTS = int(os.environ.get("VOLUME_EVENTS", "300000000"))
EACH = 10_000  # the most that a payload may hold
CONNECTIONS, SEED = 4, 20261126
LAG_MAX = 4_000_000  # events that may wait for the lake, so that retention never passes it
DISK_MEGABYTES, RESERVE_MEGABYTES = 8_000, 512
EVENTS_PER_FAULT = 500_000  # acknowledged: as many faults on a slow machine as on a quick one
STOP_SECONDS = 2
CHECKED_AT_ONCE = 5_000  # payloads, so that no query is long
# User keys that differ, or the body would shrink to less than a hundredth, which is refused.
TEMPLATE = ("[" + ",".join('{"kind":"custom","key":"v","creationDate":@,"contextKeys":{"user":"%x"},"metricValue":#}' % key
                           for key in random.Random(SEED).choices(range(100_000), k=EACH)) + "]").encode()


def after(seconds):
    until = time.monotonic() + seconds
    return lambda: time.monotonic() >= until


class Volume:
    def __init__(self, server):
        self.server, self.lock = server, threading.Lock()
        self.next, self.acknowledged, self.unknown, self.refused = 0, set(), set(), 0
        self.wrong = []  # answers that are neither 202 nor "later"
        self.lag = {}  # events that wait for the stages
        self.holding, self.stopping = threading.Event(), threading.Event()
        self.faults = {"SIGKILL": 0, "crash point": 0, "stop": 0, "full disk": 0}

    def payload(self, n):
        at = str(int(time.time() * 1000)).encode()
        return gzip.compress(TEMPLATE.replace(b"@", at).replace(b"#", str(n).encode()), 1)

    def send_all(self):
        connection = None
        while not self.stopping.is_set():
            if self.holding.is_set():
                time.sleep(0.05)
                continue
            with self.lock:
                if len(self.acknowledged) * EACH >= EVENTS:
                    return
                n, self.next = self.next, self.next + 1
            body, identity = self.payload(n), str(uuid.uuid4())
            give_up, acknowledged = time.monotonic() + 60, False
            while not acknowledged and time.monotonic() < give_up:
                try:
                    connection = connection or http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=30)
                    connection.request("POST", "/bulk", body, {
                        "Authorization": self.server.sdk_key, "Content-Type": "application/json",
                        "Content-Encoding": "gzip", "X-LaunchDarkly-Event-Schema": "4",
                        "X-LaunchDarkly-Payload-ID": identity})
                    answer = connection.getresponse()
                    answer.read()
                    acknowledged = answer.status == 202
                    if not acknowledged:
                        if answer.status not in (429, 503):
                            self.wrong.append(answer.status)
                            return
                        with self.lock:
                            self.refused += 1
                        time.sleep(0.1)
                except (OSError, http.client.HTTPException):
                    connection = None
                    time.sleep(0.1)
            with self.lock:
                (self.acknowledged if acknowledged else self.unknown).add(n)

    def watch_lag(self):
        """Holds the senders while the stages have too much to do."""
        while not self.stopping.is_set():
            try:
                lag = self.server.health()["lag"]
                self.lag = {"payloads": lag["payloads"] * EACH, "lake": lag["lake"]}
                self.holding.set() if sum(self.lag.values()) > LAG_MAX else self.holding.clear()
            except (OSError, AssertionError, KeyError, ValueError):
                pass  # control is dead just now
            time.sleep(0.25)

    def start_again(self, until):
        """What dies at its crash point, or of an error, until until()."""
        while not until() and not self.stopping.wait(0.05):
            for role in self.server.roles.values():
                if role.died():
                    self.faults["crash point"] += role.process.returncode == -signal.SIGKILL
                    role.start()

    def break_things(self, disk):
        rng = random.Random(SEED)
        while not self.stopping.is_set():
            due = len(self.acknowledged) * EACH + rng.uniform(0.5, 1.5) * EVENTS_PER_FAULT
            self.start_again(lambda due=due: len(self.acknowledged) * EACH >= due)
            self.server.edit()
            role = self.server.roles[rng.choice(list(self.server.roles))]
            kind = rng.choices(["SIGKILL", "SIGKILL, then a crash point", "stop", "full disk"], [4, 4, 1, 1 if disk else 0])[0]
            if role.died():
                continue
            if kind == "stop":
                self.faults["stop"] += 1
                role.process.send_signal(signal.SIGSTOP)
                self.start_again(after(STOP_SECONDS))
                role.process.send_signal(signal.SIGCONT)
            elif kind == "full disk":
                self.faults["full disk"] += 1
                disk.fill(leave=(RESERVE_MEGABYTES // 2) << 20)
                self.start_again(after(STOP_SECONDS))
                disk.empty()
            else:
                self.faults["SIGKILL"] += 1
                role.stop(signal.SIGKILL)
                points = [point for point in CRASH_POINTS[role.name] if point not in RARE_POINTS]
                role.start(f"{rng.choice(points)}:{rng.randint(1, 4)}" if kind != "SIGKILL" else None)


def check(volume, server):
    """Events of each payload in the lake, in ranges that a query can answer."""
    lost = twice = phantoms = 0
    for first in range(0, volume.next, CHECKED_AT_ONCE):
        rows = server.sql(f"SELECT CAST(metric_value AS INTEGER) AS n, count(*) FROM events WHERE key = 'v' AND "
                          f"metric_value >= {first} AND metric_value < {first + CHECKED_AT_ONCE} GROUP BY 1", all_rows=True)["rows"]
        found = {int(n): int(count) for n, count in rows}
        wanted = range(first, min(first + CHECKED_AT_ONCE, volume.next))
        lost += sum(max(0, EACH - found.get(n, 0)) for n in wanted if n in volume.acknowledged)
        lost += sum(1 for n in wanted if n not in volume.acknowledged and found.get(n, 0) not in (0, EACH))  # half a payload
        twice += sum(max(0, count - EACH) for count in found.values())
    rows = server.sql(f"SELECT count(*) FROM events WHERE key = 'v' AND (metric_value >= {volume.next} OR metric_value < 0)",
                      all_rows=True)
    phantoms += int(rows["rows"][0][0])
    return lost, twice, phantoms


def run(data, disk):
    settings = {"log.segment_size": "16MiB", "log.pool_segments": "2", "pipeline.checkpoint_interval": "2s",
                "log.retention_size": "1GiB", "log.reserve": f"{RESERVE_MEGABYTES}MiB" if disk else "0",
                "lake.commit_interval": "2s"}
    began = time.monotonic()
    with Roles(settings=settings, data=data) as server:
        volume = Volume(server)
        senders = [threading.Thread(target=volume.send_all) for _ in range(CONNECTIONS)]
        others = [threading.Thread(target=volume.watch_lag), threading.Thread(target=volume.break_things, args=(disk,))]
        for thread in senders + others:
            thread.start()
        try:
            while any(thread.is_alive() for thread in senders):
                time.sleep(5)
                print(f"  {time.monotonic() - began:5.0f} s  {len(volume.acknowledged) * EACH:>12,} acknowledged, "
                      f"{volume.lag} wait, {volume.refused} times refused, {volume.faults}", flush=True)
        finally:
            volume.stopping.set()
            for thread in others:
                thread.join()
        if disk:
            disk.empty()
        for role in server.roles.values():
            role.stop(signal.SIGKILL)
            role.start()
        wait_until(server.is_ready, 60, "all roles serve again")
        server.wait_until_processed(300)
        lost, twice, phantoms = check(volume, server)
    acknowledged, faults = len(volume.acknowledged) * EACH, sum(volume.faults.values())
    bound, bound_of_faults = 3 / max(acknowledged, 1), 3 / max(faults, 1)
    print(f"acknowledged {acknowledged:,}, lost {lost}, counted twice {twice}, phantoms {phantoms}; {faults} faults "
          f"({', '.join(f'{count} {kind}' for kind, count in volume.faults.items())}) in {time.monotonic() - began:.0f} s")
    if lost == 0:
        print(f"no loss: at 95 % fewer than {bound:.1e} of the events are lost if each is a trial of its own, and fewer "
              f"than {bound_of_faults:.1e} of the faults lose any (rule of three)")
    record_part("volume", "faults while payloads of 10,000 events are sent", faults, acknowledged, lost, twice, phantoms,
                events_lost_below=f"{bound:.1e}", faults_that_lose_below=f"{bound_of_faults:.1e}", **{kind.replace(" ", "_"): n for kind, n in volume.faults.items()})
    if volume.wrong:
        print(f"answered with {volume.wrong}")
    return 0 if (lost, twice, phantoms) == (0, 0, 0) and acknowledged >= EVENTS and not volume.wrong else 1


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # mounts must go
    if can_mount():
        with LoopDisk(DISK_MEGABYTES) as disk:
            return run(disk.data, disk)
    print("without a disk that fills up: that needs root and loop devices")
    with temporary_folder() as folder:
        return run(folder / "data", None)


if __name__ == "__main__":
    sys.exit(main())
