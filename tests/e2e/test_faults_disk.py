"""Disks that fail under the real binary.  Whatever happens: 202 or 503 with Retry-After, nothing acknowledged is lost,
and when the disk is well again so is the server, without anybody's doing."""
import contextlib
import errno
import json
import os
import pathlib
import signal
import time

import pytest

from disks import Count, LoopDisk, Sender, needs_root, preloaded, run, server_on
from harness import request, temporary_folder, wait_until
from reliability import record_part

EVERYTHING = "write,sync,open,rename,remove,link,truncate"
totals = {"times": 0, "acknowledged": 0, "lost": 0, "twice": 0, "phantoms": 0, "failed_calls": 0, "told_gaps": 0}
ROUNDS = int(os.environ.get("DISK_ROUNDS", "1"))


@pytest.fixture(autouse=True, scope="module")
def record():
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)  # mounts must go
    yield
    signal.signal(signal.SIGTERM, previous)
    if "DISK_ROUNDS" in os.environ:
        record_part("disk", "disk faults under the real binary", **totals)


def passed(server, sender, seconds=90):
    """Once the sender has stopped."""
    server.wait_until_processed(seconds)
    count = Count(server, sender)
    totals["times"] += 1
    totals["acknowledged"] += count.acknowledged
    for name, numbers in (("lost", count.missing), ("twice", count.twice), ("phantoms", count.phantoms)):
        totals[name] += len(numbers)
    count.check()
    assert count.acknowledged > 0


def count_failed_calls(calls):
    failed = calls.with_name(calls.name + ".failed")
    count = failed.stat().st_size if failed.exists() else 0
    totals["failed_calls"] += count
    return count


def serves_flags(server):
    assert request("GET", server.url + "/sdk/latest-all", headers={"Authorization": server.sdk_key}).status == 200


def is_healthy(server):
    return server.api("GET", "/api/internal/health?project=demo&environment=production").status == 200


def until_refused(sender, seconds=60):
    before = len(sender.refused)
    wait_until(lambda: len(sender.refused) > before + 5, seconds, "appends are refused")


def until_acknowledged(sender, seconds=30):
    before = len(sender.acknowledged)
    wait_until(lambda: len(sender.acknowledged) > before + 5, seconds, "appends are acknowledged again")


@needs_root
@pytest.mark.parametrize("round_", range(ROUNDS))
def test_a_full_disk_is_a_503_and_when_there_is_room_again_everything_goes_on(round_):
    with LoopDisk(384) as disk, server_on(disk.data, {"log.reserve": "32MiB"}) as server:
        with Sender(server, per_second=100) as sender:
            until_acknowledged(sender)
            disk.fill(leave=24 << 20)  # the reserve is in use: stages go on
            until_refused(sender)
            serves_flags(server)
            disk.empty()
            until_acknowledged(sender)
            disk.fill()  # nothing is left to anybody
            until_refused(sender)
            time.sleep(2)
            serves_flags(server)
            disk.empty()
            until_acknowledged(sender)
        passed(server, sender)


@pytest.mark.parametrize("round_", range(ROUNDS))
@pytest.mark.parametrize("error", [errno.EROFS, pytest.param(errno.EIO, marks=pytest.mark.broad)])
def test_every_write_fails_for_a_while(error, round_):
    """As on a disk that was remounted read-only and back: of every process and library, the databases' too."""
    with temporary_folder() as folder:
        (folder / "data").mkdir()
        calls = folder / "calls"
        with server_on(folder / "data", environment=preloaded(folder)) as server:
            with Sender(server, per_second=100) as sender:
                until_acknowledged(sender)
                calls.write_text(f"{error} {EVERYTHING} {folder}/data/ 1 1000000000\n")
                until_refused(sender)
                time.sleep(1)
                serves_flags(server)
                before = len(sender.acknowledged)
                time.sleep(1)
                assert len(sender.acknowledged) == before
                calls.unlink()
                until_acknowledged(sender)
            passed(server, sender)
        assert count_failed_calls(calls) > 0


@pytest.mark.torture
@pytest.mark.parametrize("call", ["write", "sync", "open", "rename", "remove", "link", "truncate"])
@pytest.mark.parametrize("part, role", [("/state/", "processor"), ("/results.db", "processor"), ("/lake/", "lake"),
                                        ("/log/events", "processor"), ("/catalog.db", "control"), ("/log/payloads", "gateway")])
def test_single_calls_fail(part, role, call):
    """The first, second, third, fifth and so on of each process, from its start on; of the stage stores (RocksDB), the
    databases (SQLite), the table (DuckDB) and the log.  Not each of them makes calls of each kind."""
    with temporary_folder() as folder:
        (folder / "data").mkdir()
        with server_on(folder / "data", environment=preloaded(folder)) as server:
            with Sender(server, per_second=50) as sender:
                for first in (1, 2, 3, 5, 8, 13, 21, 34):
                    (folder / "calls").write_text(f"{errno.EIO} {call} {part} {first} 1\n")
                    with contextlib.suppress(OSError, AssertionError, KeyError):  # a role is just being started again
                        server.kill(role)
                        server.flag_on("free-shipping", on=first % 2 == 0)
                    time.sleep(3 if role == "lake" else 1.2)  # it commits once a second
                (folder / "calls").unlink()
                until_acknowledged(sender)
                wait_until(lambda: is_healthy(server), 30, "control serves again")
            passed(server, sender)
        print(f"{part} {call}: {count_failed_calls(folder / 'calls')} calls failed")


@needs_root
@pytest.mark.parametrize("round_", range(ROUNDS))
def test_a_sync_that_fails_is_no_acknowledgement(round_):
    """The page cache takes everything and the disk below it is full: a sync fails once, and a second one would succeed
    over lost data.  At the end the disk is mounted anew, so that only what it holds is read."""
    with LoopDisk(600, backing_megabytes=110, journal=False) as disk, server_on(disk.data) as server:
        with Sender(server, per_second=500) as sender:
            until_acknowledged(sender)
            until_refused(sender)
            time.sleep(2)
            serves_flags(server)
            disk.grow_backing(500)
            until_acknowledged(sender)
        server.stop()
        disk.unmount()
        disk.mount()
        server.start()
        passed(server, sender)
        server.stop()


@needs_root
@pytest.mark.parametrize("round_", range(ROUNDS))
def test_a_disk_that_gives_up_loses_nothing_that_was_acknowledged(round_):
    """The journal is aborted, as after an error of the disk: the file system is read-only until it is mounted anew."""
    with LoopDisk(256) as disk, server_on(disk.data) as server:
        with Sender(server, per_second=100) as sender:
            until_acknowledged(sender)
            run("mount", "-o", "remount,abort", disk.path)
            until_refused(sender)
            serves_flags(server)
        server.stop()
        disk.unmount()
        disk.mount()
        server.start()
        passed(server, sender)
        server.stop()


@needs_root
@pytest.mark.torture
@pytest.mark.skipif(not pathlib.Path("/sys/fs/cgroup/blkio/blkio.throttle.write_bps_device").exists(),
                    reason="needs the blkio controller of cgroup v1")
def test_a_slow_disk_slows_acknowledgements_and_loses_none():
    group = pathlib.Path(f"/sys/fs/cgroup/blkio/flagstream-{os.getpid()}")
    with LoopDisk(384) as disk, server_on(disk.data) as server:
        group.mkdir()
        device = disk.device()
        try:
            with Sender(server, per_second=40) as sender:
                until_acknowledged(sender)
                quick = sorted(sender.latencies)[len(sender.latencies) // 2]
                (group / "blkio.throttle.write_bps_device").write_text(f"{device} 1000000")
                for role in ("gateway", "control", "processor", "lake"):
                    (group / "cgroup.procs").write_text(str(server.pid(role)))
                sender.latencies.clear()
                time.sleep(15)
                slow = sorted(sender.latencies)[len(sender.latencies) // 2]
                (group / "blkio.throttle.write_bps_device").write_text(f"{device} 0")
                until_acknowledged(sender)
            print(f"acknowledgement p50: {1000 * quick:.1f} ms, on the slow disk {1000 * slow:.1f} ms")
            assert slow > 5 * quick
            passed(server, sender, 120)
        finally:
            for pid in (group / "cgroup.procs").read_text().split():
                pathlib.Path("/sys/fs/cgroup/blkio/cgroup.procs").write_text(pid)
            group.rmdir()


@needs_root
@pytest.mark.torture
def test_a_stopped_processor_costs_room_until_the_window_is_over():
    """503 only when the disk is full of what the retention window holds.  Then the processor works its backlog off: in
    the reserve down to the critical mark, the rest just before retention; once the window has passed there is room."""
    settings = {"log.reserve": "280MiB", "log.retention": "1m"}
    with LoopDisk(512) as disk, server_on(disk.data, settings) as server:
        with Sender(server, per_second=400) as sender:
            until_acknowledged(sender)
            for role in ("processor", "lake"):
                server.kill(role, signal.SIGSTOP)
            began = time.monotonic()
            while not sender.refused:
                assert not sender.wrong and time.monotonic() - began < 55, "the disk is not full within the window"
                room = disk.free()
                time.sleep(0.02)
            assert room < (280 << 20) + (8 << 20), room
            time.sleep(1)
            sender.per_second = 5
            for role in ("processor", "lake"):
                server.kill(role, signal.SIGCONT)
            until_acknowledged(sender, 180)
        passed(server, sender)
        assert "retention has deleted" not in server.log_text()


@needs_root
@pytest.mark.torture
@pytest.mark.parametrize("role, reader, metric", [("lake", "lake", "flagstream_lake_gap_records_total"),
                                                  ("processor", "transform", "flagstream_pipeline_gap_records_total")])
def test_a_stage_stopped_for_too_long_costs_no_acknowledgement_and_its_gap_is_told(role, reader, metric):
    settings = {"log.retention": "1m", "pipeline.on_gap": "continue", "log.reserve": "32MiB"}
    with LoopDisk(320) as disk, server_on(disk.data, settings) as server:
        with Sender(server, per_second=50) as sender:
            until_acknowledged(sender)
            server.kill(role, signal.SIGSTOP)
            time.sleep(80)
            server.kill(role, signal.SIGCONT)
            until_acknowledged(sender)
        assert not sender.failures() and not sender.wrong
        server.wait_until_processed(60)
        metrics = request("GET", f"{server.admin_url}/{role}/metrics").body.decode()
        told = sum(float(line.split()[-1]) for line in metrics.splitlines() if line.startswith(metric))
        count = Count(server, sender)
        assert not count.twice and not count.phantoms
        assert len(count.missing) > 0 and told >= len(count.missing), (told, len(count.missing))
        totals["times"] += 1
        totals["told_gaps"] += len(count.missing)
        log = [json.loads(line) for line in server.log_text().splitlines() if line.startswith("{")]
        alarms = {line["msg"] for line in log if line["level"] == "error" and line.get("reader") == reader}
        assert {"a reader is about to lose records to retention", "retention has taken records that a reader had not read"} <= alarms
