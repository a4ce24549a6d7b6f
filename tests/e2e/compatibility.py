"""Which SDKs the tests run, and where what they found is written down.

SDKS is the one list: docs/protocols/compatibility.md has a line for each of its (SDK, mode), and a test sees to that.  A
test that drives an SDK calls record() or add(); tools/compatibility_page makes the page from what was recorded.
"""
import contextlib
import dataclasses
import fcntl
import json
import re

from harness import ROOT

RECORDED = ROOT / "build/logs/compatibility.json"

SERVER, OPENFEATURE = "Server-side SDKs", "OpenFeature providers over a server-side SDK"
CLIENT, OFREP = "Client-side SDKs", "OpenFeature providers that evaluate remotely (OFREP)"
# The checks of tests/e2e/test_sdk_matrix.py, in the order of the page's columns.
INITIALIZE, EVALUATE, CHANGE, DELETE, LISTENER, IDENTIFY, CUSTOM, COUNTS, RECONNECT, WRONG_KEY, ROTATED_KEY = (
    "initialize", "evaluate", "change", "delete", "listener", "identify", "custom", "counts", "reconnect", "wrong key",
    "rotated key")


@dataclasses.dataclass(frozen=True)
class Sdk:
    name: str  # for people; unique
    package: str  # as its registry names it
    lock: str  # the file that pins its version, below tests/e2e
    modes: tuple
    group: str = SERVER

    @property
    def version(self):
        return pinned_version(ROOT / "tests/e2e" / self.lock, self.package)


SDKS = [
    Sdk("Node.js", "@launchdarkly/node-server-sdk", "sdks/node/package-lock.json", ("streaming", "polling", "fdv2")),
    Sdk("Node.js, older", "launchdarkly-node-server-sdk", "sdks/node/package-lock.json", ("streaming", "polling")),
    Sdk("Python", "launchdarkly-server-sdk", "sdks/python/requirements.txt", ("streaming", "polling", "fdv2")),
    Sdk("Go", "github.com/launchdarkly/go-server-sdk/v7", "sdks/go/go.mod", ("streaming", "polling", "fdv2")),
    Sdk("Java", "launchdarkly-java-server-sdk", "sdks/java/pom.xml", ("streaming", "polling", "fdv2")),
    Sdk("Rust", "launchdarkly-server-sdk", "sdks/rust/Cargo.lock", ("streaming", "polling")),
    Sdk("OpenFeature for Node.js", "@launchdarkly/openfeature-node-server", "sdks/node/package-lock.json",
        ("streaming", "polling"), OPENFEATURE),
    Sdk("OpenFeature for Python", "launchdarkly-openfeature-server", "sdks/python/requirements.txt",
        ("streaming", "polling"), OPENFEATURE),
    Sdk("JavaScript in Chromium", "@launchdarkly/js-client-sdk", "client_sdk/package-lock.json",
        ("streaming", "report", "secure"), CLIENT),
    Sdk("JavaScript in Chromium, 3.x", "launchdarkly-js-client-sdk", "client_sdk/package-lock.json",
        ("streaming", "report", "secure"), CLIENT),
    Sdk("Node.js, client-side", "launchdarkly-node-client-sdk", "client_sdk/package-lock.json",
        ("streaming", "report", "secure"), CLIENT),
    Sdk("OFREP for servers", "@openfeature/ofrep-provider", "ofrep/package-lock.json", ("single",), OFREP),
    Sdk("OFREP for the web", "@openfeature/ofrep-web-provider", "ofrep/package-lock.json", ("stream", "poll"), OFREP),
]


def find(name):
    return next(sdk for sdk in SDKS if sdk.name == name)


def pinned_version(lock, package):
    text, name = lock.read_text(), re.escape(package)
    if lock.name == "package-lock.json":
        return json.loads(text)["packages"]["node_modules/" + package]["version"]
    pattern = {"requirements.txt": rf"^{name}==(\S+)$",
               "go.mod": rf"^\s*{name} v(\S+)",
               "pom.xml": rf"<artifactId>{name}</artifactId>\s*<version>([^<]+)<",
               "Cargo.lock": rf'^name = "{name}"\nversion = "([^"]+)"'}[lock.name]
    return re.search(pattern, text, re.M)[1]


def record(name, version, mode, covered, failed=()):
    """Writes down one run of an SDK of SDKS: the checks that it passed, and those that it failed.  What was recorded of it
    before is forgotten."""
    sdk = find(name)
    assert mode in sdk.modes and version == sdk.version, f"{name} {version} {mode} is not in compatibility.SDKS"
    row = {"sdk": name, "version": version, "mode": mode, "covered": list(covered), "failed": list(failed)}
    with recorded_rows() as rows:
        rows[:] = [other for other in rows if (other["sdk"], other["mode"]) != (name, mode)] + [row]


def add(name, mode, *checks):
    """For SDKs whose checks are spread over several tests: the last line of such a test, which gets there if it passed."""
    sdk = find(name)
    assert mode in sdk.modes, f"{name} {mode} is not in compatibility.SDKS"
    with recorded_rows() as rows:
        mine = [row for row in rows if (row["sdk"], row["version"], row["mode"]) == (name, sdk.version, mode)]
        if not mine:
            mine = [{"sdk": name, "version": sdk.version, "mode": mode, "covered": [], "failed": []}]
            rows[:] = [row for row in rows if (row["sdk"], row["mode"]) != (name, mode)] + mine
        mine[0]["covered"] += [check for check in checks if check not in mine[0]["covered"]]


@contextlib.contextmanager
def recorded_rows():
    """The rows, to be changed in place.  Several processes may come at once."""
    RECORDED.parent.mkdir(parents=True, exist_ok=True)
    with open(RECORDED, "a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        rows = json.loads(file.read() or "[]")
        yield rows
        file.truncate(0)
        json.dump(rows, file, indent=1)
