"""HTTP/2 by HAProxy with deploy/haproxy/haproxy.cfg: ten tabs of a browser on one origin, large paths, REPORT, uploads."""
import base64
import json
import queue
import subprocess
import threading

import pytest

from harness import ROOT, Server, request, wait_until
from tls import Authority, HAProxy

TABS = ROOT / "tests/e2e/page/tabs.mjs"
TAB_COUNT = 10  # over HTTP/1.1 a browser opens six connections to an origin, and the seventh stream waits for ever


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    made = Authority(tmp_path_factory.mktemp("http2"))
    made.install("haproxy")
    return made


@pytest.fixture(scope="module")
def server():
    with Server(settings={"server.trusted_proxies": "127.0.0.1, ::1"}) as running:
        yield running


@pytest.fixture(scope="module")
def proxy(authority, server):
    with HAProxy(authority, server, authority.folder) as running:
        yield running


class Tabs:
    def __init__(self, origin, client_side_id, count):
        self.process = subprocess.Popen(["node", str(TABS), origin, client_side_id, str(count)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.lines = queue.Queue()
        threading.Thread(target=lambda: [self.lines.put(json.loads(line)) for line in self.process.stdout], daemon=True).start()

    def one_of_each(self, count, kind, seconds=60):
        """The first line with the member `kind` of each tab."""
        found = {}
        while len(found) < count:
            line = self.lines.get(timeout=seconds)
            assert "error" not in line, line
            if kind in line:
                found.setdefault(line["tab"], line)
        return found

    def close(self):
        _, errors = self.process.communicate(timeout=60)
        assert self.process.returncode == 0, errors


def test_ten_tabs_stream_at_once_and_each_gets_a_change(server, proxy):
    tabs = Tabs(proxy.url, server.keys["_id"], TAB_COUNT)
    opened = tabs.one_of_each(TAB_COUNT, "protocol")
    assert {(line["protocol"], line["message"]) for line in opened.values()} == {("h2", "put")}
    assert server.metrics()["flagstream_delivery_client_streams"] == TAB_COUNT
    flag = server.api("GET", "/api/v2/flags/demo/new-checkout?env=production").json()
    server.flag_on("new-checkout", on=not flag["environments"]["production"]["on"])
    changed = tabs.one_of_each(TAB_COUNT, "data")
    for line in changed.values():
        assert line["message"] == "patch" and json.loads(line["data"])["key"] == "new-checkout", line
    tabs.close()
    # HAProxy may notice only when it has the next heartbeat to pass on.
    wait_until(lambda: server.metrics()["flagstream_delivery_client_streams"] == 0, 60, "closed tabs leave no streams")


def both(server, proxy, path, *arguments):
    """The same request over HTTP/2 through the proxy, and straight to the gateway."""
    through, straight = proxy.curl(path, *arguments), proxy.curl(path, *arguments, "--http1.1", url=server.url)
    assert through.version == "2" and straight.version == "1.1"
    return through, straight


def context_of(size):
    filler = "x" * (size * 3 // 4)
    return base64.urlsafe_b64encode(json.dumps({"kind": "user", "key": "u", "a": filler}).encode()).decode().rstrip("=")


@pytest.mark.parametrize("size", [100, 8_000, 17_000, 40_000, 62_000])
def test_a_context_in_the_path_passes_as_it_is(server, proxy, size):
    path = f"/sdk/evalx/{server.keys['_id']}/contexts/{context_of(size)}"
    assert len(path) < 65_000
    through, straight = both(server, proxy, path)
    assert (through.status, through.content_type, through.body) == (straight.status, straight.content_type, straight.body)
    assert through.content_type.startswith("application/json"), through


def test_a_request_line_over_the_limit_is_refused_by_the_gateway_itself(server, proxy):
    # Over HTTP/1.1: curl itself sends no field over 64 KiB by HTTP/2.
    path = "/sdk/evalx/e/contexts/" + "x" * 66_000
    through, straight = proxy.curl(path, "--http1.1"), proxy.curl(path, "--http1.1", url=server.url)
    assert through.status == straight.status == 414
    assert through.body == straight.body


def test_report_passes_with_its_body(server, proxy):
    path = f"/sdk/evalx/{server.keys['_id']}/context"
    through, straight = both(server, proxy, path, "-X", "REPORT", "-H", "Content-Type: application/json", "-d",
                             json.dumps({"kind": "user", "key": "u"}))
    assert (through.status, through.content_type, through.body) == (straight.status, straight.content_type, straight.body)
    assert through.content_type.startswith("application/json"), through


def payloads_hold(server, text):
    folder = server.data / "log/payloads"
    return any(text.encode() in file.read_bytes() for file in folder.iterdir() if file.is_file())


def post_events(server, proxy, payload, *arguments):
    (proxy.folder / "events.json").write_bytes(payload)
    return proxy.curl("/bulk", "-H", f"Authorization: {server.sdk_key}", "-H", "X-LaunchDarkly-Event-Schema: 4", "-H",
                      "Content-Type: application/json", "--data-binary", f"@{proxy.folder / 'events.json'}", *arguments)


def identify(key):
    return {"kind": "identify", "creationDate": 1, "context": {"kind": "user", "key": key}}


def test_a_large_batch_of_events_is_stored_whole(server, proxy):
    events = [identify(f"user-{n}-" + "y" * 900) for n in range(4_900)]
    body = json.dumps(events, separators=(",", ":")).encode()
    assert 4_800_000 < len(body) < 5 << 20
    before = server.health()["payloads"]["received"]
    answer = post_events(server, proxy, body)
    assert (answer.status, answer.version) == (202, "2")
    wait_until(lambda: server.health()["payloads"]["received"] == before + 1, 60, "the payload is processed")


@pytest.mark.parametrize("given", ["", "203.0.113.9"])
def test_the_gateway_learns_the_address_of_the_client(server, proxy, given):
    """From the proxy that it trusts, and not from what the client says of itself."""
    ours = "127.7.7.7" if not given else "127.8.8.8"
    extra = ["-H", f"X-Forwarded-For: {given}"] if given else []
    assert post_events(server, proxy, json.dumps([identify("u")]).encode(), "--interface", ours, *extra).status == 202
    assert payloads_hold(server, ours.rsplit(".", 1)[0] + ".0/24")
    assert not payloads_hold(server, "203.0.113.0/24")


def test_a_page_signed_in_through_the_proxy_has_a_secure_cookie(server, proxy):
    link = server.serving()["setupPath"]
    answer = proxy.curl(link, "--include")
    assert answer.status == 303 and b"; secure" in answer.body.lower(), answer


def test_unready_gateways_are_told_apart(server, proxy):
    log = (proxy.folder / "haproxy.log").read_text()
    assert "gateway-2 is DOWN" in log and "gateway-1 is DOWN" not in log
    assert request("GET", server.url + "/readyz").status == 200
