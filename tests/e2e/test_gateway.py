"""The front door on its own: bad inputs, and kills under load with a ledger kept outside."""
import json
import random
import signal
import threading
import time

import bad_inputs
from gateway import Gateway
from harness import request, wait_until
from recording import record_hour, send
from roles import RoleProcess

PAYLOADS, KILLS, SEED = 8_000, 20, 20261124
CRASH_POINTS = ["ingest.before_append", "ingest.after_durable_before_ack", "log.after_write_before_sync",
                "log.after_sync_before_ack"]


def test_bad_inputs_get_the_expected_status_and_leave_no_memory_behind():
    with Gateway() as gateway:
        keys = {"sdk": gateway.sdk_key, "mobile": gateway.mobile_key, "env": gateway.client_side_id}
        faults = bad_inputs.run(("127.0.0.1", gateway.port), keys, gateway.pid("gateway"))
        assert faults == []
        assert gateway.post_events(b'[{"kind":"index"}]').status == 202


def test_nothing_acknowledged_is_lost_through_kills_and_crash_points():
    rng = random.Random(SEED)
    with Gateway() as gateway:  # makes the data folder; then the test starts every life itself
        gateway.stop()
        role = RoleProcess(gateway, "gateway")
        role.start()
        done, on_points = threading.Event(), []

        def kill_all_along():
            while len(on_points) + role.kills < KILLS or len(on_points) < KILLS // 2:
                wait_until(lambda: answers(gateway), 20, "the gateway serves")
                time.sleep(rng.uniform(0.05, 0.3))
                role.process.kill()
                role.process.wait()
                role.kills += 1
                point = CRASH_POINTS[len(on_points) % len(CRASH_POINTS)]
                role.start(f"{point}:{rng.randint(1, 40)}")
                role.process.wait(30)  # traffic goes on, so it gets there
                on_points.append(point)
                role.start()
            done.set()

        killer = threading.Thread(target=kill_all_along)
        killer.start()
        recording = list(record_hour(PAYLOADS, SEED, int(time.time() * 1000)))
        ids = {n: payload_id for n, payload_id, _, _ in recording}
        ledger = send(iter(recording), ("127.0.0.1", gateway.port), gateway.sdk_key, payloads_per_second=300)
        killer.join()
        assert done.is_set() and len(set(on_points)) == len(CRASH_POINTS)
        wait_until(lambda: answers(gateway), 20, "the gateway serves again")
        found = gateway.payloads()
        missing = [n for n in ledger.acknowledged if ids[n] not in found]
        phantoms = found.keys() - set(ids.values())
        assert (missing, phantoms) == ([], set())
        assert len(ledger.acknowledged) + len(ledger.unknown) == PAYLOADS
        role.stop(signal.SIGTERM)
        assert role.process.returncode == 0


def answers(gateway):
    try:
        return request("GET", gateway.url + "/readyz").status == 200
    except OSError:
        return False


def test_the_last_known_configuration_is_served_without_the_topic():
    with Gateway() as gateway:
        address = gateway.url + "/sdk/latest-all"
        before = request("GET", address, headers={"Authorization": gateway.sdk_key})
        assert before.status == 200 and set(json.loads(before.body)["flags"]) == set(gateway.flags["flags"])
        wait_until(lambda: (gateway.data / "state/gateway-config").exists(), 5, "the state is saved")
        gateway.stop()
        (gateway.data / "log/config/control").unlink()
        Gateway.__mro__[1].start(gateway)  # without importing again
        after = request("GET", address, headers={"Authorization": gateway.sdk_key})
        assert (after.status, after.body) == (before.status, before.body)
        # What cannot be told now is no reason to send an SDK away for good.
        assert request("GET", address, headers={"Authorization": "sdk-unknown"}).status == 503
