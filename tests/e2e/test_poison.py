"""A payload that crashes the stage is set aside; everything around it counts."""
import json

from harness import BINARY, Server, wait_until
from recording import record_hour

POISON_BINARY = BINARY.with_name("flagstream_poison")


def test_a_payload_that_crashes_transform_is_rejected_and_the_rest_counts():
    with Server(binary=POISON_BINARY) as server:
        now = 1795407364720
        poison = [{"kind": "custom", "creationDate": now, "key": "__poison__", "context": {"kind": "user", "key": "u"}}]
        for n, payload_id, body, _ in record_hour(200, 7, now):
            assert server.post_events(body, payload_id).status == 202
            if n == 100:
                assert server.post_events(json.dumps(poison).encode(), "poison").status == 202
        server.wait_until_processed(90)
        assert server.sql("SELECT count(*) FROM events WHERE key = 'recorded'")["rows"] == [[200]]
        assert server.sql("SELECT count(*) FROM events WHERE key = '__poison__'")["rows"] == [[0]]
        health = server.health()
        assert health["payloads"]["rejected"] == 1
        assert health["payloads"]["accepted"] >= 200
        rejected = wait_until(lambda: server.cli("log", "cat", "rejects.transform", "--data", str(server.data)).stdout, 5,
                              "the reject can be read")
        assert "crash" in rejected and "__poison__" in rejected
