"""What a process uses, for tests and benchmarks."""
import os
import pathlib
import re

TICK = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid):
    """Of all threads, in user and kernel mode."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def status_bytes(pid, name):
    return int(re.search(rf"{name}:\s+(\d+) kB", pathlib.Path(f"/proc/{pid}/status").read_text())[1]) * 1024


def resident_bytes(pid):
    return status_bytes(pid, "VmRSS")


def private_bytes(pid):
    return status_bytes(pid, "RssAnon")


def pin(pid, core):
    """Every thread of the process on one core, where the machine has two."""
    if os.cpu_count() > 1:
        for thread in os.listdir(f"/proc/{pid}/task"):
            os.sched_setaffinity(int(thread), {core})
