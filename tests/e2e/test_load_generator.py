"""The load generator of the benchmarks tells the truth: about stalls, about what it sent, and about itself."""
import http.server
import json
import signal
import subprocess
import threading
import time

import pytest

from harness import BINARY, ROOT, wait_until

LOAD = BINARY.parents[2] / "bench/load"
LARGE, SMALL = (ROOT / "tests/data/sdk-payloads" / name for name in ("node-server-101-events.json", "node-server-6-events.json"))


class Sink(http.server.BaseHTTPRequestHandler):
    """Notes requests and answers 202, when nothing holds it up."""
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        chunked = self.headers.get("Transfer-Encoding") == "chunked"
        body = self.chunks() if chunked else self.rfile.read(int(self.headers["Content-Length"]))
        with self.server.gate:
            self.server.seen.append((self.headers, body, chunked))
        self.send_response(self.server.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def chunks(self):
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            assert self.rfile.readline() == b"\r\n"
        assert self.rfile.readline() == b"\r\n"
        return body

    def log_message(self, *_):
        pass


@pytest.fixture
def sink():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Sink)
    server.daemon_threads = True
    server.gate, server.seen, server.status = threading.Lock(), [], 202
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def start(sink, *options, payloads=(SMALL,), keys=("sdk-1",)):
    command = [str(LOAD), "--port", str(sink.server_address[1])]
    for payload in payloads:
        command += ["--payload", str(payload)]
    for key in keys:
        command += ["--key", key]
    return subprocess.Popen([*command, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def result(process, status=0):
    output, errors = process.communicate(timeout=60)
    assert process.returncode == status, errors + output
    return json.loads(output)


def test_a_stall_counts_for_every_payload_that_was_due_in_it(sink):
    process = start(sink, "--rate", "100", "--fixed", "--seconds", "2", "--connections", "4")
    wait_until(lambda: len(sink.seen) > 20, 30, "the load runs")
    with sink.gate:
        time.sleep(0.6)
    seen = result(process)
    assert seen["payloads"] == 200
    assert seen["queued"] > 30, "most payloads of the stall found no connection free"
    # 60 of 200 payloads waited, evenly up to 600 ms: a load that waits for answers would have seen four of them.
    assert seen["p90_us"] > 250_000
    assert seen["p99_us"] > 500_000


def test_payloads_are_whole_and_none_is_like_another(sink):
    seen = result(start(sink, "--seconds", "0.5", "--connections", "4", "--chunked", payloads=(LARGE, SMALL), keys=("sdk-1", "sdk-2")))
    requests = list(sink.seen)
    assert len(requests) == seen["payloads"] > 20
    assert len({headers["X-LaunchDarkly-Payload-ID"] for headers, _, _ in requests}) == len(requests)
    assert {headers["Authorization"] for headers, _, _ in requests} == {"sdk-1", "sdk-2"}
    assert all(chunked for _, _, chunked in requests)
    assert {len(body) for _, body, _ in requests} == {LARGE.stat().st_size, SMALL.stat().st_size}
    users = {event["context"]["user"]["key"] for _, body, _ in requests for event in json.loads(body) if event["kind"] == "index"}
    assert len(users) > len(requests)
    now = time.time() * 1000
    assert all(abs(event["creationDate"] - now) < 60_000
               for _, body, _ in requests for event in json.loads(body) if event["kind"] == "index")


def test_a_load_that_was_late_by_its_own_fault_is_void(sink):
    process = start(sink, "--rate", "200", "--seconds", "2", "--connections", "8")
    wait_until(lambda: len(sink.seen) > 20, 30, "the load runs")
    process.send_signal(signal.SIGSTOP)
    time.sleep(0.5)
    process.send_signal(signal.SIGCONT)
    seen = result(process)
    assert "late" in seen["void"]
    assert seen["lag_p99_us"] > 100_000


def test_refused_payloads_are_no_throughput(sink):
    sink.status = 429
    seen = result(start(sink, "--seconds", "0.2", "--connections", "2"), status=1)
    assert seen["payloads"] == 0
    assert seen["refused"] > 0
