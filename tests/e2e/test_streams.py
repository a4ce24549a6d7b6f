"""Many streams at once: what each costs, that a change reaches all of them, and that a stopping gateway lets them go one
after the other, so that their clients do not all come back together.

    STREAMS          of the soak test, half of server-side and half of client-side SDKs (1000)
    STREAM_SECONDS   of the soak test, with a change every second (20)
"""
import os
import resource
import selectors
import socket
import time

import pytest

from harness import Server
from measure import cpu_seconds, private_bytes
from streams import HeldStreams, context_segment

COUNT = min(2000, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2 - 200)
PATIENCE = 60
STREAMS = int(os.environ.get("STREAMS", "1000"))
STREAM_SECONDS = int(os.environ.get("STREAM_SECONDS", "20"))


class Stream:
    def __init__(self, server, target):
        self.socket = socket.create_connection(("127.0.0.1", server.port), PATIENCE)
        self.socket.sendall(f"GET {target} HTTP/1.1\r\nHost: x\r\nAuthorization: {server.sdk_key}\r\n"
                            "User-Agent: NodeJSClient/9.13.7\r\nAccept: text/event-stream\r\n\r\n".encode())
        self.tail = b""
        self.ended_at = None

    def read(self):
        """What has come, or None at the end."""
        data = self.socket.recv(1 << 20)
        self.tail = (self.tail + data)[-200:]
        if not data:
            self.ended_at = time.monotonic()
        return data or None


class WatchedStreams:
    def __init__(self, server, target, count):
        self.selector = selectors.DefaultSelector()
        self.all = []
        for _ in range(count):
            stream = Stream(server, target)
            self.all.append(stream)
            self.selector.register(stream.socket, selectors.EVENT_READ, stream)
            self.read_until(stream, b"\n\n\r\n")

    def read_until(self, stream, text):
        while text not in stream.tail:
            assert stream.read() is not None

    def until_all(self, is_done, what):
        waiting = {id(stream) for stream in self.all}
        deadline = time.monotonic() + PATIENCE
        while waiting:
            assert time.monotonic() < deadline, f"{len(waiting)} of {len(self.all)} streams: not {what}"
            for key, _ in self.selector.select(1):
                if key.data.read() is None:
                    self.selector.unregister(key.fileobj)
                if is_done(key.data):
                    waiting.discard(id(key.data))

    def forget(self):
        for stream in self.all:
            stream.tail = b""

    def close(self):
        for stream in self.all:
            stream.socket.close()


@pytest.mark.parametrize("target", ["/all", "/sdk/stream"])
def test_many_streams(target):
    with Server(settings={"delivery.heartbeat": "60s"}) as server:
        # A few first: what the process needs once is no stream's.
        first = WatchedStreams(server, target, 50)
        gateway = server.pid("gateway")
        before = private_bytes(gateway)
        streams = WatchedStreams(server, target, COUNT)
        each = (private_bytes(gateway) - before) / COUNT
        print(f"{target}: {each:.0f} bytes of private memory a stream")
        assert each < 4_500

        streams.forget()
        cpu = cpu_seconds(gateway)
        assert server.api("POST", "/api/v2/flags/demo", {"key": "new-one", "name": "New one"}).status == 201
        streams.until_all(lambda stream: stream.tail, "told of the change")
        print(f"{target}: {(cpu_seconds(gateway) - cpu) / COUNT * 1e6:.1f} us of CPU a stream and change")
        assert not any(stream.ended_at for stream in streams.all)

        first.close()
        server.process.terminate()
        streams.until_all(lambda stream: stream.ended_at, "ended")
        assert all(stream.tail.endswith(b"0\r\n\r\n") for stream in streams.all), "none is broken off"
        ends = sorted(stream.ended_at for stream in streams.all)
        spread = ends[-1] - ends[0]
        print(f"{target}: ended over {spread:.2f} s")
        assert spread > 1
        busiest = max(sum(at <= end < at + 0.25 for end in ends) for at in ends[::20])
        assert busiest < COUNT / 2, "they did not end together"
        streams.close()


def test_streams_last():
    """No stream is lost, every change reaches every stream once and in order, and memory stays."""
    half = STREAMS // 2
    contexts = [context_segment({"kind": "user", "key": f"user-{n}", "country": "fr" if n % 3 else "pl"}) for n in range(half)]
    with Server(settings={"server.connections_max": "0"}) as server:
        gateway = server.pid("gateway")
        version = server.flag_on("new-checkout")["_version"]
        server_side = HeldStreams(server.port, half, key=server.sdk_key)
        client_side = HeldStreams(server.port, half, paths=[f"/eval/{server.keys['_id']}/{each}" for each in contexts])
        server_side.record('"version":')
        client_side.record('"flagVersion":')
        memory = []
        first = version + 1
        for turn in range(STREAM_SECONDS):
            began = time.monotonic()
            version = server.flag_on("new-checkout", on=turn % 2 == 1)["_version"]
            for streams in (server_side, client_side):
                streams.say(f"until {version}")
            for streams in (server_side, client_side):
                came = streams.answer()
                assert (came["got"], came["lost"]) == (half, 0), (turn, came)
            memory.append(private_bytes(gateway))
            time.sleep(max(0.0, began + 1 - time.monotonic()))  # the pace, not what is waited for
        for streams in (server_side, client_side):
            all_of_it = streams.stop()
            assert (all_of_it["lost"], all_of_it["stale"]) == (0, 0)
            assert all_of_it["messages"] == half * STREAM_SECONDS, "nothing but the changes, each once"
            assert [(each["number"], each["got"]) for each in all_of_it["numbers"]] == [
                (number, half) for number in range(first, version + 1)]
            streams.close()
        settled = memory[len(memory) // 4:]
        growth = (settled[-1] - settled[0]) / (len(settled) - 1)
        print(f"{STREAMS} streams: {memory[-1] / 1e6:.1f} MB of private memory, {growth:.0f} bytes more with each change")
        assert growth < 16_384, memory
