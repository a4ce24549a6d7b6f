"""The front door on its own: bad inputs, and kills under load with a ledger kept outside."""
import json
import random
import threading
import time

import bad_inputs
from gateway import Gateway
from harness import Server, request, wait_until
from recording import record_hour, send

PAYLOADS, KILLS, SEED = 8_000, 20, 20261124
CRASH_POINTS = ["ingest.before_append", "ingest.after_durable_before_ack", "log.after_write_before_sync",
                "log.after_sync_before_ack"]


def test_bad_inputs_get_the_expected_status_and_leave_no_memory_behind():
    with Gateway() as gateway:
        keys = {"sdk": gateway.sdk_key, "mobile": gateway.mobile_key, "env": gateway.client_side_id}
        faults = bad_inputs.run(("127.0.0.1", gateway.port), keys, gateway.role.process.pid)
        assert faults == []
        assert gateway.post_events(b'[{"kind":"index"}]').status == 202


def test_nothing_acknowledged_is_lost_through_kills_and_crash_points():
    rng = random.Random(SEED)
    with Gateway() as gateway:
        role, done, on_points = gateway.role, threading.Event(), []

        def kill_all_along():
            while len(on_points) + role.kills < KILLS or len(on_points) < KILLS // 2:
                wait_until(gateway.answers, 20, "the gateway serves")
                time.sleep(rng.uniform(0.05, 0.3))
                role.process.kill()
                role.process.wait()
                role.kills += 1
                point = CRASH_POINTS[len(on_points) % len(CRASH_POINTS)]
                gateway.serve(crash_point=f"{point}:{rng.randint(1, 40)}")
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
        wait_until(gateway.answers, 20, "the gateway serves again")
        found = gateway.payloads()
        missing = [n for n in ledger.acknowledged if ids[n] not in found]
        phantoms = found.keys() - set(ids.values())
        assert (missing, phantoms) == ([], set())
        assert len(ledger.acknowledged) + len(ledger.unknown) == PAYLOADS


def test_the_last_known_configuration_is_served_without_the_topic():
    with Gateway() as gateway:
        address = gateway.url + "/sdk/latest-all"
        before = request("GET", address, headers={"Authorization": gateway.sdk_key})
        assert before.status == 200 and set(json.loads(before.body)["flags"]) == set(gateway.flags["flags"])
        wait_until(lambda: (gateway.data / "state/gateway-config").exists(), 5, "the state is saved")
        gateway.stop()
        (gateway.data / "log/config/control").unlink()
        gateway.serve()
        after = request("GET", address, headers={"Authorization": gateway.sdk_key})
        assert (after.status, after.body) == (before.status, before.body)
        # What cannot be told now is no reason to send an SDK away for good.
        assert request("GET", address, headers={"Authorization": "sdk-unknown"}).status == 503


def test_import_is_refused_where_control_keeps_the_flags():
    with Server() as server:
        document = server.data.with_suffix(".json")
        document.write_text('{"flags":{},"segments":{}}')
        server.stop()
        done = server.cli("config", "import", str(document), "--data", str(server.data))
        document.unlink()
        assert done.returncode == 4 and "control" in done.stderr
