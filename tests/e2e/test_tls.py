"""TLS of the server itself: official SDKs over it, directly and through HAProxy, and certificates replaced while they stream."""
import signal
import subprocess
import types

import pytest

from harness import BINARY, Server, free_port, request, wait_until
from sdk import Sdk
from tls import Authority, HAProxy, TlsServer

USER = {"kind": "user", "key": "u1"}


@pytest.fixture
def authority(tmp_path, monkeypatch):
    made = Authority(tmp_path)
    made.install("first")
    monkeypatch.setenv("NODE_EXTRA_CA_CERTS", str(made.root))
    return made


def over_tls(server):
    return types.SimpleNamespace(url=server.tls_url, sdk_key=server.sdk_key)


def sees_the_next_change(sdk, server):
    before = sdk.evaluate("free-shipping", USER)["value"]
    server.flag_on("free-shipping", on=not before)
    assert sdk.expect("update")["key"] == "free-shipping"
    assert sdk.evaluate("free-shipping", USER)["value"] is not before


def public_streams(server):
    return server.metrics()['flagstream_http_streams{server="public"}']


@pytest.mark.parametrize("mode", ["streaming", "polling"])
def test_the_node_sdk_over_tls(authority, mode):
    with TlsServer(authority) as server:
        sdk = Sdk(over_tls(server), mode)
        sdk.expect("ready")
        if mode == "streaming":
            sees_the_next_change(sdk, server)
        assert sdk.evaluate("new-checkout", USER)["variationIndex"] in (0, 1)
        wait_until(lambda: sum(server.evaluations("new-checkout").values()) > 0, 60, "its events are counted")
        sdk.close()


def test_a_certificate_is_replaced_while_an_sdk_streams(authority):
    with TlsServer(authority) as server:
        sdk = Sdk(over_tls(server), "streaming")
        sdk.expect("ready")
        sees_the_next_change(sdk, server)
        roles = server.serving()["roles"]
        handshakes = 'flagstream_http_tls_handshakes_total{server="public",outcome="completed"}'
        before = server.metrics()[handshakes]
        authority.install("second")
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: authority.served_name(server.tls_port) == "second", 30, "the new certificate is served")
        sees_the_next_change(sdk, server)
        assert public_streams(server) == 1
        after = Sdk(over_tls(server), "streaming")
        after.expect("ready")
        sees_the_next_change(after, server)
        assert server.metrics()[handshakes] > before
        assert server.metrics()['flagstream_http_tls_reloads_total{server="public",outcome="taken"}'] >= 1
        assert server.serving()["roles"] == roles, "SIGHUP ended a role"
        sdk.close()
        after.close()


def test_a_bad_new_certificate_is_told_and_the_old_one_stays(authority):
    with TlsServer(authority) as server:
        authority.certificate.write_text("not yet whole")
        stale = 'flagstream_http_tls_certificate_stale{server="public"}'
        wait_until(lambda: server.metrics()[stale] == 1, 30, "the gateway has noticed")
        assert authority.served_name(server.tls_port) == "first"
        assert "is no certificate in PEM" in server.log_text()
        authority.install("second")
        wait_until(lambda: authority.served_name(server.tls_port) == "second", 30, "the new certificate is served")
        wait_until(lambda: server.metrics()[stale] == 0, 30, "all is well again")


def test_without_a_plain_listener_everything_is_reached_by_tls(authority):
    with TlsServer(authority, demo=False, settings={"server.listen": ""}) as server:
        assert server.serving()["url"] == server.serving()["tlsUrl"] == server.tls_url
        done = server.cli("project", "list", "--data", str(server.data))
        assert done.returncode == 0, done.stderr
        with pytest.raises(OSError):
            request("GET", server.url + "/readyz", timeout=2)


def test_plain_http_on_the_tls_port_is_told_so(authority):
    with TlsServer(authority) as server:
        answer = request("GET", f"http://127.0.0.1:{server.tls_port}/readyz")
        assert answer.status == 400 and "https" in answer.json()["message"]


def start_with(tmp_path, **settings):
    everything = {"server.listen": f"127.0.0.1:{free_port()}", "server.admin_listen": f"127.0.0.1:{free_port()}"} | settings
    arguments = [part for key, value in everything.items() for part in ("--set", f"{key}={value}")]
    return subprocess.run([str(BINARY), "serve", "--data", str(tmp_path / "data"), *arguments], capture_output=True, text=True,
                          timeout=60)


def test_what_cannot_be_served_is_one_sentence_and_exit_status_78(authority, tmp_path):
    def refusal(certificate=authority.certificate, key=authority.key):
        done = start_with(tmp_path, **{"server.tls_listen": f"127.0.0.1:{free_port()}", "server.tls_certificate": certificate,
                                       "server.tls_key": key})
        assert done.returncode == 78, done
        return done.stderr
    assert refusal(certificate="/nowhere.pem") == "flagstream: the TLS certificate /nowhere.pem cannot be read: No such file or directory\n"
    assert refusal(certificate=authority.root).startswith(f"flagstream: the TLS key {authority.key} does not belong to the certificate")
    authority.key.chmod(0o644)
    assert refusal() == (f"flagstream: the TLS key {authority.key} is open to every user of this machine (mode 0644): "
                         "chmod 640 it\n")


@pytest.mark.parametrize("settings,sentence", [
    ({"server.tls_listen": "127.0.0.1:0"}, "server.tls_listen: needs server.tls_certificate and server.tls_key"),
    ({"server.tls_key": "k.pem"}, "server.tls_certificate: is served nowhere; set server.tls_listen, too"),
    ({"server.listen": ""}, "server.listen: is empty, and so is server.tls_listen; one of them must be set"),
    ({"server.tls_min_version": "1.1"}, "server.tls_min_version: '1.1' is neither 1.2 nor 1.3"),
    ({"server.trusted_proxies": "10.0.0.1/8"}, "'10.0.0.1/8' has bits set behind its prefix length"),
])
def test_settings_that_do_not_fit_together_are_refused(tmp_path, settings, sentence):
    done = start_with(tmp_path, **settings)
    assert done.returncode == 78 and sentence in done.stderr, done


@pytest.mark.parametrize("mode", ["streaming", "polling"])
def test_the_node_sdk_through_haproxy(authority, tmp_path, mode):
    with Server() as server, HAProxy(authority, server, tmp_path) as proxy:
        sdk = Sdk(proxy, mode)
        sdk.expect("ready")
        if mode == "streaming":
            sees_the_next_change(sdk, server)
            server.kill("gateway")
            wait_until(lambda: proxy.curl("/readyz").status == 200, 60, "the gateway serves again")
            wait_until(lambda: public_streams(server) == 1, 60, "the SDK is back")
            sees_the_next_change(sdk, server)
        assert sdk.evaluate("new-checkout", USER)["variationIndex"] in (0, 1)
        wait_until(lambda: sum(server.evaluations("new-checkout").values()) > 0, 60, "its events are counted")
        sdk.close()
