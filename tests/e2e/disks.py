"""Small disks that fill up, break and are slow, for tests that run as root; and a sender with a ledger."""
import http.client
import json
import os
import pathlib
import random
import shutil
import subprocess
import tempfile
import threading
import time
import uuid

import pytest

from harness import ROOT, Server

PADDING = 20_000  # of each payload, so that a small disk is soon full


def run(*command):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout


def can_mount():
    if os.geteuid() != 0 or shutil.which("mkfs.ext4") is None or not os.path.exists("/dev/loop-control"):
        return False
    with tempfile.TemporaryDirectory(prefix="flagstream-mount-") as folder:
        if subprocess.run(["mount", "-t", "tmpfs", "tmpfs", folder], capture_output=True).returncode != 0:
            return False
        return subprocess.run(["umount", folder], capture_output=True).returncode == 0


needs_root = pytest.mark.skipif(not can_mount(), reason="needs root, mkfs.ext4 and loop devices")


class LoopDisk:
    """An ext4 of its own on a loop device, `path` is where it is mounted.  backing_megabytes: its image lies on a tmpfs
    of that size, smaller than the disk claims to be: what does not fit is taken and fails when it is synced."""

    def __init__(self, megabytes, backing_megabytes=None, journal=True):
        self.megabytes, self.backing_megabytes, self.journal = megabytes, backing_megabytes, journal

    def __enter__(self):
        try:
            return self.make()
        except BaseException:
            self.__exit__()
            raise

    def make(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="flagstream-disk-"))
        self.backing, self.path = self.folder / "backing", self.folder / "disk"
        self.backing.mkdir()
        self.path.mkdir()
        if self.backing_megabytes:
            run("mount", "-t", "tmpfs", "-o", f"size={self.backing_megabytes}m", "tmpfs", self.backing)
        image = self.backing / "image"
        with open(image, "wb") as file:
            file.truncate(self.megabytes << 20)
        features = [] if self.journal else ["-O", "^has_journal"]
        run("mkfs.ext4", "-q", "-F", "-m", "0", "-E", "lazy_itable_init=0,nodiscard", *features, image)
        self.mount()
        (self.path / "data").mkdir()
        self.data = self.folder / "data"  # what is written beside the data folder must not lie on the disk
        self.data.symlink_to(self.path / "data")
        return self

    def mount(self):
        run("mount", "-o", "loop,nodiscard", self.backing / "image", self.path)
        # A loop device says of a write of several pages that it is done when only the first found room below it: one page at
        # a time it tells the truth.
        pathlib.Path(f"/sys/dev/block/{self.device()}/queue/max_sectors_kb").write_text("4")

    def unmount(self):
        run("umount", self.path)

    def grow_backing(self, megabytes):
        run("mount", "-o", f"remount,size={megabytes}m", self.backing)

    def free(self):
        about = os.statvfs(self.path)
        return about.f_bavail * about.f_frsize

    def fill(self, leave=0):
        """Takes all room but `leave` bytes."""
        with open(self.path / "ballast", "ab") as file:
            size, block = file.tell(), 1 << 28
            while block >= 4096 and self.free() > leave:
                try:
                    if self.free() - leave >= block:
                        os.posix_fallocate(file.fileno(), size, block)
                        size += block
                        continue
                except OSError:
                    pass
                block //= 2

    def empty(self):
        (self.path / "ballast").unlink(missing_ok=True)

    def device(self):
        return run("findmnt", "-n", "-o", "MAJ:MIN", self.path).strip()

    def __exit__(self, *_):
        subprocess.run(["umount", "-l", str(self.path)], capture_output=True)
        subprocess.run(["umount", "-l", str(self.backing)], capture_output=True)
        shutil.rmtree(self.folder, ignore_errors=True)


class Sender:
    """Sends numbered payloads one after the other from a few connections, as fast as is said, until it is stopped; each
    is sent once, and what was answered is in the ledger.  Use as a context manager."""

    def __init__(self, server, per_second, connections=4, padding=PADDING):
        self.server, self.per_second, self.padding = server, per_second, padding
        self.acknowledged, self.refused, self.unknown, self.wrong = set(), set(), set(), []
        self.lock, self.next, self.stopping = threading.Lock(), 0, threading.Event()
        self.threads = [threading.Thread(target=self.work, args=(seed,)) for seed in range(connections)]
        self.last_status, self.latencies = None, []

    def __enter__(self):
        self.due = time.monotonic()
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        for thread in self.threads:
            thread.join()

    def work(self, seed):
        rng, connection = random.Random(seed), None
        while not self.stopping.is_set():
            with self.lock:
                n, self.next = self.next, self.next + 1
                due = self.due
                self.due += 1 / self.per_second  # which may change
            if self.stopping.wait(max(0, due - time.monotonic())):
                return
            body = json.dumps([{"kind": "custom", "creationDate": int(time.time() * 1000), "key": "recorded",
                                "context": {"kind": "user", "key": f"user-{n % 1000}"},
                                "metricValue": n, "data": {"padding": rng.randbytes(self.padding // 2).hex()}}])
            sent = time.monotonic()
            try:
                connection = connection or http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=30)
                connection.request("POST", "/bulk", body, {
                    "Authorization": self.server.sdk_key, "Content-Type": "application/json",
                    "X-LaunchDarkly-Event-Schema": "4", "X-LaunchDarkly-Payload-ID": str(uuid.uuid4())})
                answer = connection.getresponse()
                answer.read()
            except (OSError, http.client.HTTPException):
                connection = None
                with self.lock:
                    self.unknown.add(n)
                continue
            with self.lock:
                self.last_status = answer.status
                self.latencies.append(time.monotonic() - sent)
                if answer.status == 202:
                    self.acknowledged.add(n)
                elif answer.status == 503 and answer.headers["Retry-After"]:
                    self.refused.add(n)
                else:
                    self.wrong.append((n, answer.status, dict(answer.headers)))

    def failures(self):
        return len(self.refused) + len(self.unknown)


class Count:
    """What the lake holds of what a sender sent."""

    def __init__(self, server, sender):
        rows = server.sql("SELECT CAST(metric_value AS INTEGER), count(*) FROM events "
                          "WHERE kind = 'custom' AND key = 'recorded' GROUP BY 1", all_rows=True)
        self.found = {n: count for n, count in rows["rows"]}
        self.acknowledged = len(sender.acknowledged)
        self.missing = sender.acknowledged - self.found.keys()
        self.twice = {n for n, count in self.found.items() if count != 1}
        # A refused payload may have been stored (its outcome was unknown), one that was never sent may not.
        self.phantoms = {n for n in self.found if n >= sender.next}
        self.wrong = sender.wrong

    def check(self):
        assert not self.wrong, self.wrong[:3]
        assert (len(self.missing), len(self.twice), len(self.phantoms)) == (0, 0, 0), (sorted(self.missing)[:20], len(self.missing), sorted(self.twice)[:5], sorted(self.phantoms)[:9], len(self.phantoms))
        return self


def preloaded(folder):
    """The environment of a server whose calls fail as the file `folder/calls` says (failing_calls.c)."""
    library = folder / "failing_calls.so"
    run("clang-19", "-O1", "-shared", "-fPIC", "-o", library, ROOT / "tests/e2e/failing_calls.c", "-ldl")
    return {"LD_PRELOAD": str(library), "FAILING_CALLS": str(folder / "calls")}


def server_on(data, settings=None, environment=None):
    return Server(data=data, environment=environment, settings={
        "log.segment_size": "1MiB", "log.pool_segments": "1", "log.partitions": "4",
        "pipeline.checkpoint_interval": "1s"} | (settings or {}))
