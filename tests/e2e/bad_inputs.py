"""Sends every row of tests/bad_inputs.tsv to a running gateway over raw sockets and compares the status.

    bad_inputs.py --address 127.0.0.1:8080 --sdk-key K --mobile-key K --client-side-id ID [--pid PID]

With --pid the resident memory of that process is watched: it must stay bounded while the rows run and come
back afterwards.  Exit status: 0 all as expected, 1 not.

Columns, separated by tabs: name, method, path, headers ("name:value|name:value" or "-"), body, expected status
("400", "400|404"; "close" is a connection closed without an answer).  Paths, headers and texts may hold {sdk},
{mobile}, {env}, @repeat:TEXT:COUNT, and the escapes \\r \\n \\t \\\\ \\xNN.  Bodies:

    empty                       none
    text:TEXT
    repeat:TEXT:COUNT           TEXT, COUNT times
    nest:OPEN:CLOSE:COUNT       OPEN COUNT times, then CLOSE COUNT times
    array:ELEMENT:COUNT         a JSON array
    around:BEFORE|TEXT|COUNT|AFTER
    gzip:BODY, gzip-cut:BODY, gzip-crc:BODY, gzip-trail:BODY
    gzip-bomb:SIZEMB            a JSON string of that size in an array, compressed
    file:PATH                   below the repository's root

With the method RAW the body column is the whole request.
"""
import argparse
import gzip
import pathlib
import re
import select
import socket
import sys
import threading
import time
import zlib

ROOT = pathlib.Path(__file__).resolve().parents[2]
TABLE = ROOT / "tests/bad_inputs.tsv"
ANSWER_SECONDS = 20
MIB = 1 << 20


class Row:
    def __init__(self, line):
        columns = line.rstrip("\n").split("\t")
        if len(columns) != 6:
            raise ValueError(f"{len(columns)} columns: {line[:80]!r}")
        self.name, self.method, self.path, self.headers, self.body, expected = columns
        self.expected = expected.split("|")


def rows_of(table):
    lines = table.read_text(encoding="utf-8").splitlines()
    return [Row(line) for line in lines if line and not line.startswith("#")]


ESCAPES = {"r": b"\r", "n": b"\n", "t": b"\t", "\\": b"\\"}


def bytes_of(text, keys):
    """The bytes that a text of the table stands for."""
    for name, value in keys.items():
        text = text.replace("{" + name + "}", value)
    text = re.sub(r"@repeat:(.+?):(\d+)", lambda m: m[1] * int(m[2]), text)
    out = bytearray()
    at = 0
    while at < len(text):
        escape = text.find("\\", at)
        if escape < 0:
            return bytes(out + text[at:].encode())
        out += text[at:escape].encode()
        if text[escape + 1] == "x":
            out.append(int(text[escape + 2:escape + 4], 16))
            at = escape + 4
        else:
            out += ESCAPES[text[escape + 1]]
            at = escape + 2
    return bytes(out)


def gzip_bomb(megabytes):
    squeeze = zlib.compressobj(9, zlib.DEFLATED, 31)
    parts = [squeeze.compress(b'["')]
    parts += [squeeze.compress(b"x" * 1_000_000) for _ in range(megabytes)]
    parts += [squeeze.compress(b'"]'), squeeze.flush()]
    return b"".join(parts)


def body_of(spec, keys):
    if spec == "empty":
        return b""
    kind, _, rest = spec.partition(":")
    if kind == "text":
        return bytes_of(rest, keys)
    if kind == "repeat":
        text, count = rest.rsplit(":", 1)
        return bytes_of(text, keys) * int(count)
    if kind == "nest":
        opening, closing, count = rest.split(":")
        return bytes_of(opening, keys) * int(count) + bytes_of(closing, keys) * int(count)
    if kind == "array":
        element, count = rest.rsplit(":", 1)
        return b"[" + b",".join([bytes_of(element, keys)] * int(count)) + b"]"
    if kind == "around":
        before, text, count, after = rest.split("|")
        return bytes_of(before, keys) + bytes_of(text, keys) * int(count) + bytes_of(after, keys)
    if kind == "gzip-bomb":
        return gzip_bomb(int(rest.removesuffix("MB")))
    if kind == "file":
        return (ROOT / rest).read_bytes()
    packed = gzip.compress(body_of(rest, keys), mtime=0)
    if kind == "gzip":
        return packed
    if kind == "gzip-cut":
        return packed[:-9]
    if kind == "gzip-crc":
        return packed[:-8] + bytes([packed[-8] ^ 1]) + packed[-7:]
    if kind == "gzip-trail":
        return packed + b"trailing"
    raise ValueError(f"unknown body: {spec[:60]!r}")


def request_of(row, keys):
    if row.method == "RAW":
        return bytes_of(row.body, keys)
    body = body_of(row.body, keys)
    lines = [row.method.encode() + b" " + bytes_of(row.path, keys) + b" HTTP/1.1", b"Host: localhost", b"Connection: close"]
    names = set()
    for header in [] if row.headers == "-" else row.headers.split("|"):
        name, _, value = header.partition(":")
        names.add(name.lower())
        lines.append(name.encode() + b": " + bytes_of(value, keys))
    if "content-length" not in names and (body or row.method not in ("GET", "BREW")):
        lines.append(b"Content-Length: " + str(len(body)).encode())
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def status_in(answer):
    """The first final status, "" while it is not there yet."""
    for line in re.finditer(rb"(?:^|\r\n\r\n)HTTP/1\.[01] (\d{3})[^\r\n]*(?=\r\n)", answer):
        if not line[1].startswith(b"1"):
            return line[1].decode()
    return ""


def exchange(address, request):
    """Sends while listening: a server may answer and close before it has read everything."""
    deadline = time.monotonic() + ANSWER_SECONDS
    answer = b""
    with socket.create_connection(address, timeout=5) as link:
        link.setblocking(False)
        unsent = memoryview(request)
        while time.monotonic() < deadline:
            readable, writable, _ = select.select([link], [link] if unsent else [], [], 0.5)
            try:
                if writable:
                    unsent = unsent[link.send(unsent[:1 << 16]):]
                if readable:
                    part = link.recv(1 << 16)
                    if not part:
                        return status_in(answer) or "close"
                    answer += part
            except BlockingIOError:
                continue
            except OSError:  # reset: what arrived before it counts
                return status_in(answer) or "close"
            if status_in(answer):
                return status_in(answer)
    return "silence"


class MemoryWatch:
    """Samples the resident memory of a process on a thread of its own."""

    def __init__(self, pid):
        self.path = pathlib.Path(f"/proc/{pid}/status")
        self.before = self.most = self.now()
        self.done = threading.Event()
        self.thread = threading.Thread(target=self.sample)
        self.thread.start()

    def now(self):
        for line in self.path.read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise RuntimeError("the process is gone")

    def sample(self):
        while not self.done.wait(0.01):
            try:
                self.most = max(self.most, self.now())
            except (OSError, RuntimeError):
                return

    def stop(self):
        self.done.set()
        self.thread.join()
        return self.now()


def faults_of_memory(watch, growth_max, kept_max):
    after = watch.stop()
    print(f"resident memory: {watch.before / MIB:.0f} MiB before, {watch.most / MIB:.0f} at most, {after / MIB:.0f} after")
    faults = []
    if watch.most - watch.before > growth_max:
        faults.append(f"memory grew by {(watch.most - watch.before) / MIB:.0f} MiB")
    if after - watch.before > kept_max:
        faults.append(f"{(after - watch.before) / MIB:.0f} MiB were not given back")
    return faults


def run(address, keys, pid=None, growth_max=256 * MIB, kept_max=64 * MIB, rows=None):
    """Returns what went wrong, as sentences."""
    rows = rows or rows_of(TABLE)
    watch = MemoryWatch(pid) if pid else None
    faults = []
    try:
        for row in rows:
            try:
                status = exchange(address, request_of(row, keys))
            except OSError as error:
                status = f"no connection ({error})"
            if status not in row.expected:
                faults.append(f"{row.name}: {status}, expected {' or '.join(row.expected)}")
        print(f"{len(rows)} bad inputs, {len(faults)} with another status than expected")
    finally:
        if watch:
            faults += faults_of_memory(watch, growth_max, kept_max)
    return faults


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--address", required=True, help="HOST:PORT")
    parser.add_argument("--sdk-key", required=True)
    parser.add_argument("--mobile-key", required=True)
    parser.add_argument("--client-side-id", required=True)
    parser.add_argument("--pid", type=int, help="the gateway's, to watch its memory")
    parser.add_argument("--rss-growth-max-mib", type=int, default=256)
    parser.add_argument("--rss-kept-max-mib", type=int, default=64)
    options = parser.parse_args()
    host, _, port = options.address.rpartition(":")
    keys = {"sdk": options.sdk_key, "mobile": options.mobile_key, "env": options.client_side_id}
    faults = run((host, int(port)), keys, options.pid, options.rss_growth_max_mib * MIB, options.rss_kept_max_mib * MIB)
    for fault in faults:
        print(fault)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
