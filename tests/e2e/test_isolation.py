"""A processor that hangs does not touch the front door."""
import signal
import statistics
import time

from harness import Server
from recording import record_hour, send

SECONDS = 30


def p99(values):
    return statistics.quantiles(values, n=100)[98]


def test_stopped_processor_fails_no_request_and_lag_returns_to_zero():
    with Server() as server:
        address = ("127.0.0.1", server.port)

        def run(seconds, seed, rate):
            recording = record_hour(int(seconds * rate), seed, int(time.time() * 1000))
            return send(recording, address, server.sdk_key, rate, connections=4, patience=0.001)

        peak = measure_peak(server, address)
        rate = max(50, int(peak * 0.3))
        before = run(SECONDS, 1, rate)
        for role in ("processor", "lake"):
            server.kill(role, signal.SIGSTOP)
        try:
            during = run(SECONDS, 2, rate)
        finally:
            for role in ("processor", "lake"):
                server.kill(role, signal.SIGCONT)
        assert not before.unknown and not during.unknown
        assert p99(during.latencies) <= 2 * p99(before.latencies) + 0.002
        server.wait_until_processed(60)


def measure_peak(server, address):
    """Payloads a second that this generator and server reach together, closed loop."""
    began = time.monotonic()
    count = 2000
    ledger = send(record_hour(count, 3, int(time.time() * 1000)), address, server.sdk_key, 1e9, connections=4)
    assert not ledger.unknown
    return count / (time.monotonic() - began)
