"""Kills every role over and over while a recorded hour of traffic is sent, and asks an outside ledger afterwards."""
import os
import threading
import time

from harness import wait_until
from recording import record_hour, send
from reliability import record_part
from roles import Roles

KILLS = int(os.environ.get("FLAGSTREAM_KILLS", "20"))
PAYLOADS = max(20_000, KILLS * 1000)
SEED = 20261124


def test_nothing_acknowledged_is_lost_or_counted_twice_through_kills_of_every_role():
    with Roles(settings={"pipeline.checkpoint_interval": "1s"}) as server:
        sending_failed = threading.Event()
        deaths = {}
        killer = threading.Thread(target=lambda: deaths.update(server.kill_all_along(KILLS, SEED, sending_failed)))
        killer.start()
        recording = record_hour(PAYLOADS, SEED, int(time.time() * 1000), killer.is_alive)
        try:
            ledger = send(recording, ("127.0.0.1", server.port), server.sdk_key, payloads_per_second=200)
        except BaseException:
            sending_failed.set()
            raise
        finally:
            killer.join()
        assert all(role.kills >= KILLS for role in server.roles.values())
        assert all(died >= KILLS // 2 for died in deaths.values()), deaths

        server.wait_until_processed(60)
        rows = server.sql("SELECT CAST(json_extract(data, '$.n') AS INTEGER), count(*) FROM events "
                          "WHERE kind = 'custom' AND key = 'recorded' GROUP BY 1", all_rows=True)
        found = {n: count for n, count in rows["rows"]}
        missing = ledger.acknowledged - found.keys()
        twice = {n for n, count in found.items() if count != 1}
        phantoms = found.keys() - ledger.features.keys()
        if "FLAGSTREAM_KILLS" in os.environ:
            record_part("kill", "SIGKILLs of the roles at random moments", sum(role.kills for role in server.roles.values()),
                        len(ledger.acknowledged), len(missing), len(twice), len(phantoms))
        assert (len(missing), len(twice), len(phantoms)) == (0, 0, 0)
        assert len(ledger.acknowledged) + len(ledger.unknown) >= PAYLOADS
        expected = ledger.totals(found)
        wait_until(lambda: {f: server.evaluations(f) for f in expected} == expected or None, 10,
                   "results equal the ledger")
