"""Who sends too much, too slowly, or while the server stops; and settings that change while it runs."""
import http.client
import json
import os
import resource
import select
import selectors
import signal
import socket
import statistics
import threading
import time
import uuid

import noisy_neighbour
from gateway import Gateway
from harness import Server, request, temporary_folder, wait_until
from measure import resident_bytes

EVENTS = b'[{"kind":"index"},{"kind":"index"}]'
STOPS = 2  # under load


def head(server, path="/bulk", length=None, more=""):
    body = "" if length is None else f"Content-Length: {length}\r\n"
    return (f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {server.sdk_key}\r\n"
            f"X-LaunchDarkly-Payload-ID: {uuid.uuid4()}\r\n{body}{more}\r\n").encode()


def connect(server):
    return socket.create_connection(("127.0.0.1", server.port), timeout=20)


def answer_of(link):
    text = b""
    while b"\r\n\r\n" not in text:
        part = link.recv(65536)
        if not part:
            break
        text += part
    return text


def test_over_its_rate_an_environment_gets_429_and_keeps_its_connection():
    with Server(settings={"ingest.environment_events_per_second": "10"}) as server:
        other = noisy_neighbour.environments(server)
        other = next(key for key in other if key != server.sdk_key)
        link = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        statuses = []
        for _ in range(12):
            link.request("POST", "/bulk", EVENTS, {"Authorization": server.sdk_key})
            answer = link.getresponse()
            answer.read()
            statuses.append(answer.status)
            if answer.status == 429:
                assert 1 <= int(answer.headers["Retry-After"]) <= 3
                assert answer.headers.get("Connection") is None
        assert statuses[:5] == [202] * 5 and 429 in statuses, statuses
        wait_until(lambda: request("POST", server.url + "/bulk", EVENTS, {"Authorization": other}).status == 202, 5,
                   "another environment gets in")
        metrics = server.metrics()
        assert metrics['flagstream_ingest_payloads_total{outcome="rejected",reason="rate_limited"}'] == statuses.count(429)
        assert sum(value for name, value in metrics.items() if name.startswith("flagstream_ingest_environment_refused_total")
                   and "rate_limited" in name) == statuses.count(429)
        wait_until(lambda: server.post_events(EVENTS).status == 202, 10, "the debt is paid")


def test_bodies_that_wait_take_the_memory_of_their_environment_only():
    """Slow uploads of one environment fill its half; another one and small rests go on, and memory stays bounded."""
    with Server(settings={"ingest.in_flight_size": "16MiB"}) as server:
        other = next(key for key in noisy_neighbour.environments(server) if key != server.sdk_key)
        wait_until(lambda: request("POST", server.url + "/bulk", EVENTS, {"Authorization": other}).status == 202, 10, "it is known")
        before = resident_bytes(server.pid("gateway"))
        links = []
        refused = 0
        for _ in range(12):  # each takes 2 MiB of room for its 1.1 MB
            link = connect(server)
            link.sendall(head(server, length=4_000_000) + b"[" + b" " * 1_100_000)
            links.append(link)
        time.sleep(0.5)
        for link in links:
            if select.select([link], [], [], 0)[0]:
                text = answer_of(link)
                assert text.startswith(b"HTTP/1.1 429 ") and b"Retry-After: " in text, text[:200]
                refused += 1
        assert 6 <= refused < 12, refused
        assert request("POST", server.url + "/bulk", EVENTS, {"Authorization": other}).status == 202
        assert resident_bytes(server.pid("gateway")) - before < 32 << 20
        for link in links:
            link.close()
        wait_until(lambda: server.metrics()["flagstream_ingest_in_flight_bytes"] == 0, 10, "all is given back")
        assert server.post_events(EVENTS).status == 202


class Stuck:
    """Many connections that trickle, on one thread."""

    def __init__(self):
        self.links, self.selector, self.done = {}, selectors.DefaultSelector(), threading.Event()
        self.statuses = {}

    def add(self, link, kind, trickles):
        link.setblocking(False)
        self.links[link] = (kind, trickles)
        if trickles:
            self.selector.register(link, selectors.EVENT_READ)

    def trickle(self):
        next_byte = time.monotonic()
        while not self.done.is_set():
            for key, _ in self.selector.select(0.1):
                link = key.fileobj
                try:
                    text = link.recv(4096)
                except OSError:
                    text = b""
                kind, _ = self.links.pop(link)
                self.statuses.setdefault(kind, []).append(text[9:12].decode())
                self.selector.unregister(link)
                link.close()
            if time.monotonic() >= next_byte:
                next_byte += 1
                for link, (_, trickles) in list(self.links.items()):
                    if trickles:
                        try:
                            link.send(b"x")
                        except OSError:
                            pass

    def __enter__(self):
        self.thread = threading.Thread(target=self.trickle)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.done.set()
        self.thread.join()
        for link in self.links:
            link.close()


def latencies(server, seconds):
    """Of a client that behaves, in milliseconds; every payload of it is taken."""
    link = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    out = []
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        begin = time.monotonic()
        link.request("POST", "/bulk", EVENTS, {"Authorization": server.sdk_key})
        answer = link.getresponse()
        answer.read()
        assert answer.status == 202
        out.append(1000 * (time.monotonic() - begin))
        time.sleep(0.002)
    return out


def test_two_thousand_slow_clients_hurt_nobody_and_are_ended():
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 10_000), hard))
    with Gateway() as server, Stuck() as stuck:
        quiet = latencies(server, 1)
        timeouts = server.metrics()['flagstream_http_timeouts_total{server="public"}']
        for _ in range(2_000):
            link = connect(server)
            link.send(b"POST /bulk HTTP/1.1\r\nHost: x\r\nX-Slow: ")
            stuck.add(link, "head", True)
        for _ in range(100):
            link = connect(server)
            link.send(head(server, length=200_000))
            stuck.add(link, "body", True)
        for _ in range(20):  # asks for far more than the kernel keeps, and reads nothing
            link = socket.socket()
            link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            link.connect(("127.0.0.1", server.port))
            link.setblocking(False)
            try:
                link.send(f"GET /sdk/latest-all HTTP/1.1\r\nHost: x\r\nAuthorization: {server.sdk_key}\r\n\r\n".encode() * 3_000)
            except BlockingIOError:
                pass
            stuck.add(link, "reader", False)
        beside = latencies(server, 9)
        wait_until(lambda: len(stuck.statuses.get("head", [])) == 2_000 and len(stuck.statuses.get("body", [])) == 100, 30,
                   "slow heads and bodies are ended")
        assert stuck.statuses["head"].count("408") == 2_000
        assert stuck.statuses["body"].count("408") == 100
        wait_until(lambda: server.metrics()['flagstream_http_timeouts_total{server="public"}'] - timeouts >= 2_120, 30,
                   "slow readers are ended")
        p99 = statistics.quantiles(beside, n=100)[98]
        print(f"p99 of a client that behaves: {statistics.quantiles(quiet, n=100)[98]:.1f} ms alone, {p99:.1f} ms beside them")
        assert p99 < 250 and max(beside) < 2_000


class Sender(threading.Thread):
    """Posts as fast as it is answered, until the server is gone.  A connection that is closed before anything was
    sent into it is opened again, as every client does."""

    def __init__(self, server):
        super().__init__()
        self.server, self.acknowledged, self.cut, self.other = server, [], [], []

    def run(self):
        link = None
        while True:
            if link is None:
                try:
                    link = connect(self.server)
                except OSError:
                    return
            if select.select([link], [], [], 0)[0]:  # closed while nothing was under way
                link.close()
                link = None
                continue
            identity = str(uuid.uuid4())
            try:
                link.sendall(f"POST /bulk HTTP/1.1\r\nHost: x\r\nAuthorization: {self.server.sdk_key}\r\nX-LaunchDarkly-Payload-ID: "
                             f"{identity}\r\nContent-Length: {len(EVENTS)}\r\n\r\n".encode() + EVENTS)
                text = answer_of(link)
            except OSError as error:
                text = b""
                self.cut.append(str(error))
            else:
                if not text:
                    self.cut.append("no answer")
            if text.startswith(b"HTTP/1.1 202"):
                self.acknowledged.append(identity)
            elif text:
                self.other.append(text[:60])
            if not text or b"Connection: close" in text:
                link.close()
                link = None


def test_a_stop_under_load_loses_nothing_and_cuts_nobody_off():
    with Gateway() as server:
        acknowledged, cut, other = [], [], []
        for _ in range(STOPS):
            senders = [Sender(server) for _ in range(16)]
            for sender in senders:
                sender.start()
            slow = [connect(server) for _ in range(4)]
            body = b"[" + b" " * 50_000 + b'{"kind":"index"}]'
            identities = [str(uuid.uuid4()) for _ in slow]
            for link, identity in zip(slow, identities):
                text = head(server, length=len(body)).decode()
                before, _, rest = text.partition("X-LaunchDarkly-Payload-ID: ")
                link.sendall((before + "X-LaunchDarkly-Payload-ID: " + identity + rest[36:]).encode() + body[:20_000])
            time.sleep(0.7)
            began = time.monotonic()
            server.role.process.send_signal(signal.SIGTERM)
            time.sleep(0.3)
            for link, identity in zip(slow, identities):  # under way when it was asked to stop
                link.sendall(body[20_000:])
                text = answer_of(link)
                assert text.startswith(b"HTTP/1.1 202") and b"Connection: close" in text, text
                acknowledged.append(identity)
            assert server.role.process.wait(20) == 0
            assert time.monotonic() - began < 8
            for sender in senders:
                sender.join(20)
                acknowledged += sender.acknowledged
                cut += sender.cut
                other += sender.other
            server.serve()
        print(f"{len(acknowledged)} acknowledged over {STOPS} stops, {len(cut)} cut off, {len(other)} answered otherwise")
        assert not cut, cut[:5]
        assert all(text.startswith(b"HTTP/1.1 503") for text in other), other[:5]
        stored = server.payloads()
        assert [identity for identity in acknowledged if stored.get(identity) != 1] == []


def test_before_it_stops_it_is_not_ready_and_serves_on():
    with Server(settings={"server.drain_delay": "2s"}) as server:
        wait_until(lambda: request("GET", server.url + "/readyz").status == 200, 10, "ready")
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: request("GET", server.url + "/readyz").status == 503, 1.5, "not ready")
        assert server.post_events(EVENTS).status == 202
        assert server.process.wait(20) == 0


def settings_in_force(server):
    return request("GET", server.admin_url + "/settings").body.decode()


def segment_files(server):
    return len(list((server.data / "log/payloads").glob("0*.seg")))


def test_sighup_takes_new_settings_and_names_those_that_need_a_restart():
    with temporary_folder() as folder:
        file = folder / "flagstream.toml"
        file.write_text('[log]\nretention = "7d"\n')
        server = Server()
        server.arguments += ["--config", str(file)]
        with server:
            roles = server.serving()["roles"]
            filler = json.dumps([{"kind": "custom", "key": "k", "data": os.urandom(30_000).hex()} for _ in range(10)]).encode()
            for _ in range(12):
                assert server.post_events(filler).status == 202
            assert segment_files(server) >= 5
            file.write_text('[log]\nretention = "2d"\nretention_size = "2MiB"\n[ingest]\nenvironment_events_per_second = 1\n'
                            '[server]\nshards = 3\n[telemetry]\nlevel = "debug"\n')
            server.process.send_signal(signal.SIGHUP)
            wait_until(lambda: 'log.retention = "2d"' in settings_in_force(server), 10, "the settings are in force")
            assert 'server.shards = "0"' in settings_in_force(server)
            assert [server.post_events(EVENTS).status for _ in range(3)].count(429) >= 1
            wait_until(lambda: segment_files(server) <= 2, 10, "retention takes files by its new bound")
            wait_until(lambda: len(list((server.data / "log/events").glob("0*.seg"))) <= 2, 10, "of the processor's topics, too")
            wait_until(lambda: '"msg":"changed settings need a restart","keys":"server.shards"' in server.log_text(), 10, "it says so")
            assert server.log_text().count("changed settings need a restart") == 1
            assert server.metrics()['flagstream_app_settings_waiting'] == 1

            file.write_text('[log]\nretention = "soon"\n')
            server.process.send_signal(signal.SIGHUP)
            wait_until(lambda: "the new settings cannot be used; nothing was changed" in server.log_text(), 10, "it says why")
            assert "'soon' is not like" in server.log_text()
            assert 'log.retention = "2d"' in settings_in_force(server)

            file.write_text("")
            server.process.send_signal(signal.SIGHUP)
            wait_until(lambda: server.post_events(EVENTS).status == 202, 10, "the limit is gone")
            assert server.serving()["roles"] == roles and server.process.poll() is None


def test_a_role_alone_takes_sighup_too():
    with Gateway() as server:
        server.role.process.send_signal(signal.SIGHUP)
        wait_until(lambda: server.metrics()['flagstream_app_settings_reloads_total{outcome="taken"}'] == 1, 10, "it was read")
        assert server.role.process.poll() is None


def test_a_noisy_neighbour_is_not_noticed():
    """One pair tells who gets in, and a stall, not a tenth of a latency: `tools/torture neighbour` does that with ten."""
    figures, faults = noisy_neighbour.run(pairs=1, seconds=1.5, ratio_max=3)
    print(json.dumps(figures))
    assert not faults, faults
