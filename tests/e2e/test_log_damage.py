"""A byte of the log goes bad on the disk: the scrub finds it before a reader does, and it stays known."""
import os

from harness import Server, wait_until

QUARANTINED = 'flagstream_log_quarantined_bytes{topic="payloads"}'
SCRUBBED = 'flagstream_log_scrubbed_bytes_total{topic="payloads"}'
PLACE = 500_000  # in a frame that is large, not in a tick


def send(server):
    answer = server.post_events([{"kind": "custom", "key": "large", "creationDate": 1_700_000_000_000,
                                  "data": os.urandom(100_000).hex(), "context": {"kind": "user", "key": "u"}}])
    assert answer.status == 202, answer.body


def test_a_byte_gone_bad_in_a_sealed_file_is_found_and_known_after_a_restart():
    with Server(settings={"log.scrub_interval": "1s"}) as server:
        topic = server.data / "log/payloads"
        for _ in range(24):
            send(server)
        assert (topic / "0000000000000002.idx").exists()
        wait_until(lambda: server.metrics()[SCRUBBED] > 1 << 20, 20, "sealed files were scrubbed")
        assert server.metrics()[QUARANTINED] == 0
        server.wait_until_processed()

        with open(topic / "0000000000000001.seg", "r+b") as file:
            file.seek(PLACE)
            byte = file.read(1)
            file.seek(PLACE)
            file.write(bytes([byte[0] ^ 1]))
        found = wait_until(lambda: server.metrics()[QUARANTINED], 20, "the scrub has found it")
        assert 50_000 < found < 300_000
        assert "damage found in a topic" in server.log_text()
        send(server)

        server.stop()
        server.start()
        assert server.metrics()[QUARANTINED] == found
        send(server)
