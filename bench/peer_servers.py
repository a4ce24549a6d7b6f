"""The servers that ours is measured beside: built by tools/build_peers, each on one core."""
import contextlib
import json
import os
import pathlib
import subprocess
import tempfile

from harness import free_port, request, wait_until
from measure import pin

ROOT = pathlib.Path(__file__).resolve().parents[1]
LD_RELAY = ROOT / "build/peers/ld-relay"
FEATURE_FLAG_RELAY = ROOT / "build/peers/feature-flag-relay"


def is_there(peer, job):
    if not peer.exists():
        print(f"  {job}: without {peer.name}, which is not built (tools/build_peers)")
    return peer.exists()


@contextlib.contextmanager
def running(command, environment, is_ready, what):
    process = subprocess.Popen([str(each) for each in command], env=dict(os.environ) | environment | {"GOMAXPROCS": "1"},
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        def ready():
            assert process.poll() is None, f"{what} ended with {process.returncode}"
            with contextlib.suppress(OSError):
                return is_ready()
        pin(process.pid, 0)
        wait_until(ready, 60, f"{what} serves")
        pin(process.pid, 0)
        yield process.pid
    finally:
        process.terminate()
        process.wait(20)


@contextlib.contextmanager
def ld_relay(url, sdk_key, mobile_key, client_side_id, events_to=None):
    """ld-relay, with our own server as LaunchDarkly: its process id and port.  Events go to the other address, if there is one."""
    port = free_port()
    environment = {
        "STREAM_URI": url, "BASE_URI": url, "CLIENT_SIDE_BASE_URI": url, "EVENTS_HOST": events_to or url, "HOST": "127.0.0.1", "PORT": str(port),
        "LD_ENV_production": sdk_key, "LD_MOBILE_KEY_production": mobile_key, "LD_CLIENT_SIDE_ID_production": client_side_id,
        "USE_EVENTS": "true" if events_to else "false", "DISABLE_INTERNAL_USAGE_METRICS": "true", "LOG_LEVEL": "error"}

    def is_ready():
        return request("GET", f"http://127.0.0.1:{port}/status").json()["status"] == "healthy"
    with running([LD_RELAY, "--from-env"], environment, is_ready, "ld-relay") as pid:
        yield pid, port


@contextlib.contextmanager
def feature_flag_relay(flags, key):
    """GO Feature Flag's relay with flags in its own format, which must not change: its process id and port."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="flagstream-bench-") as folder:
        flags_file, config = pathlib.Path(folder) / "flags.json", pathlib.Path(folder) / "relay.json"
        flags_file.write_text(json.dumps(flags))
        config.write_text(json.dumps({
            "listen": port, "host": "127.0.0.1", "pollingInterval": 600_000, "hideBanner": True, "loglevel": "error",
            "fileFormat": "json", "retriever": {"kind": "file", "path": str(flags_file)},
            "authorizedKeys": {"evaluation": [key]}}))

        def is_ready():
            return request("GET", f"http://127.0.0.1:{port}/health").status == 200
        with running([FEATURE_FLAG_RELAY, "--config", config], {}, is_ready, "feature-flag-relay") as pid:
            yield pid, port
