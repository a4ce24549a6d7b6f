"""What this disk's own flush costs: beside it every durability figure is to be read."""
import os
import pathlib
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]


def disk_sync_us(size):
    """p50 and p99 of write + fdatasync into a preallocated file of this disk, one at a time."""
    with tempfile.NamedTemporaryFile(dir=ROOT / "build") as file:
        block = os.urandom(size)
        os.pwrite(file.fileno(), bytes(size * 256), 0)
        os.fsync(file.fileno())
        times = []
        for n in range(400):
            began = time.perf_counter()
            os.pwrite(file.fileno(), block, n % 256 * size)
            os.fdatasync(file.fileno())
            times.append((time.perf_counter() - began) * 1e6)
    times.sort()
    return times[len(times) // 2], times[int(len(times) * 0.99)]
