"""Runs the real binary for end-to-end tests: on free loopback ports, in a temporary data folder, stopped by
process id.  Nothing here stands in for a part of the product."""
import contextlib
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = pathlib.Path(os.environ.get("FLAGSTREAM_BINARY", ROOT / "build/release/src/app/flagstream"))
SHOP = ROOT / "examples/shop/shop.mjs"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until(condition, seconds, what):
    """Returns the first true value of condition(); fails the test when it stays false."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"after {seconds} s still not: {what}")
        time.sleep(0.05)


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def json(self):
        return json.loads(self.body)


def request(method, url, body=None, headers=None, timeout=10):
    """One HTTP request; an error status is an Answer too, a lost connection raises OSError."""
    data = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
    call = urllib.request.Request(url, data=data, method=method, headers=headers or {})
    if data is not None and not call.has_header("Content-type"):
        call.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(call, timeout=timeout) as answer:
            return Answer(answer.status, answer.headers, answer.read())
    except urllib.error.HTTPError as error:
        return Answer(error.code, error.headers, error.read())


class Server:
    """`flagstream serve` with its supervisor.  Use as a context manager."""

    def __init__(self, demo=True, settings=None, data=None, environment=None, binary=BINARY):
        self.owns_data = data is None
        self.data = pathlib.Path(data or tempfile.mkdtemp(prefix="flagstream-"))
        self.port, self.admin_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.admin_url = f"http://127.0.0.1:{self.admin_port}"
        self.binary = binary
        self.arguments = ["serve", "--data", str(self.data)] + (["--demo"] if demo else [])
        everything = {
            "server.listen": f"127.0.0.1:{self.port}",
            "server.admin_listen": f"127.0.0.1:{self.admin_port}",
            "log.segment_size": "1MiB",
            "log.pool_segments": "1",
            "log.reserve": "0",
            "lake.commit_interval": "1s",
        } | (settings or {})
        for key, value in everything.items():
            self.arguments += ["--set", f"{key}={value}"]
        self.environment = dict(os.environ) | (environment or {})
        self.process = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()
        if self.owns_data:
            shutil.rmtree(self.data, ignore_errors=True)

    def start(self, seconds=30):
        (self.data / "run/serving.json").unlink(missing_ok=True)
        self.log = open(self.data.with_suffix(".log"), "ab")
        self.process = subprocess.Popen([str(self.binary), *self.arguments], stdout=self.log, stderr=self.log,
                                        env=self.environment, cwd=ROOT)

        def serving():
            if self.process.poll() is not None:
                raise AssertionError(f"flagstream ended with {self.process.returncode}:\n{self.log_text()[-3000:]}")
            return (self.data / "run/serving.json").exists()
        wait_until(serving, seconds, "flagstream serves")
        self.keys = None if "--demo" not in self.arguments else self.api("GET", "/api/v2/projects/demo/environments/production").json()

    def stop(self, seconds=20):
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise AssertionError(f"flagstream did not stop within {seconds} s:\n{self.log_text()[-3000:]}")
        self.log.close()
        self.process = None

    def log_text(self):
        return self.data.with_suffix(".log").read_text(errors="replace")

    def serving(self):
        return json.loads((self.data / "run/serving.json").read_text())

    def pid(self, role):
        """Process id of a role: gateway, control, processor, lake."""
        return self.serving()["roles"][role]

    def kill(self, role, how=signal.SIGKILL):
        os.kill(self.pid(role), how)

    def token(self):
        return (self.data / "run/admin-token").read_text().strip()

    def api(self, method, path, body=None, headers=None):
        return request(method, self.url + path, body, {"Authorization": self.token()} | (headers or {}))

    def semantic_patch(self, flag, instructions, project="demo", environment="production"):
        answer = self.api("PATCH", f"/api/v2/flags/{project}/{flag}",
                          {"environmentKey": environment, "instructions": instructions},
                          {"Content-Type": "application/json; domain-model=launchdarkly.semanticpatch"})
        assert answer.status == 200, answer.body
        return answer.json()

    def flag_on(self, flag, on=True):
        return self.semantic_patch(flag, [{"kind": "turnFlagOn" if on else "turnFlagOff"}])

    @property
    def sdk_key(self):
        return self.keys["apiKey"]

    def post_events(self, body, payload_id=None, headers=None, timeout=10):
        everything = {"Authorization": self.sdk_key, "X-LaunchDarkly-Event-Schema": "4"} | (headers or {})
        if payload_id:
            everything["X-LaunchDarkly-Payload-ID"] = payload_id
        return request("POST", self.url + "/bulk", body, everything, timeout)

    def cli(self, *arguments, **options):
        return subprocess.run([str(self.binary), *arguments], capture_output=True, text=True, timeout=60, **options)

    def sql(self, query, all_rows=False):
        """Rows of a query over the lake; all_rows lifts the default caps on rows and time."""
        limits = ["--rows-max", "1000000", "--bytes-max", "256MiB", "--timeout", "50s"] if all_rows else []
        done = self.cli("sql", "--data", str(self.data), "-o", "json", *limits, query)
        assert done.returncode == 0, done.stderr
        answer = json.loads(done.stdout)
        assert not answer["truncated"]
        return answer

    def evaluations(self, flag, project="demo", environment="production"):
        """Totals per variation as REST answers them."""
        now = int(time.time() * 1000)
        answer = self.api("GET", f"/api/v2/usage/evaluations/{project}/{environment}/{flag}?from={now - 7_000_000}&to={now + 60_000}")
        assert answer.status == 200, answer.body
        totals = {}
        for point in answer.json()["series"]:
            for name, value in point.items():
                if name != "time":
                    totals[name] = totals.get(name, 0) + value
        return totals

    def health(self):
        answer = self.api("GET", "/api/internal/health?project=demo&environment=production")
        assert answer.status == 200, answer.body
        return answer.json()

    def wait_until_processed(self, seconds=60):
        """Until transform, analytics and the lake have taken everything that was acknowledged."""
        wait_until(lambda: self.health()["lag"]["payloads"] == 0 and self.health()["lag"]["lake"] == 0, seconds, "lag is 0")

    def metrics(self):
        samples = {}
        for line in request("GET", self.admin_url + "/metrics").body.decode().split("\n"):
            if line and not line.startswith("#"):
                name, value = line.rsplit(" ", 1)
                samples[name] = float(value)
        return samples


def start_shop(server, *arguments):
    environment = dict(os.environ) | {"FLAGSTREAM_SDK_KEY": server.sdk_key, "FLAGSTREAM_URL": server.url}
    return subprocess.Popen(["node", str(SHOP), *arguments], env=environment, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True)


@contextlib.contextmanager
def temporary_folder():
    with tempfile.TemporaryDirectory(prefix="flagstream-test-") as folder:
        yield pathlib.Path(folder)
