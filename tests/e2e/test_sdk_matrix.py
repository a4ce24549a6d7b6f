"""The published SDKs of other languages, unmodified, against the real server: what docs/protocols/compatibility.md says.

All (SDK, mode) run at once against one server, phase by phase, because an SDK that polls does so every 30 s.  Each is told
apart by its application id, which the SDK sends with its events.
"""
import collections
import concurrent.futures
import json
import os
import subprocess
import time

import pytest

import compatibility
from compatibility import (CHANGE, COUNTS, CUSTOM, DELETE, EVALUATE, IDENTIFY, INITIALIZE, LISTENER, RECONNECT,
                           ROTATED_KEY, WRONG_KEY)
from driver import BUILT, SDKS, Driver
from harness import BINARY, Server, request, wait_until
from test_reference_docs import load_tool

FLAGS = {"new-checkout": "boolean", "banner-text": "string", "search-config": "object", "dark-mode": "boolean",
         "free-shipping": "boolean"}
METRICS, METRIC_VALUE = 3, 12.5
# A wrong key costs a request for flags, or a few with FDv2 and its fallback, and some for diagnostics and events.
WRONG_KEY_REQUESTS = 12


class Runner:
    """How to start an SDK's driver.  `built` is there once the driver can run."""

    def __init__(self, command, built, needs, agent=None, environment=None, listener=True):
        self.command, self.built, self.needs, self.agent = command, built, needs, agent
        self.environment, self.listener = environment, listener


NODE, PYTHON, JAVA = SDKS / "node", BUILT / "python/bin/python", BUILT / "java"
RUNNERS = {
    "Node.js": Runner(["node", NODE / "server.mjs"], NODE / "node_modules", "Node.js 18", "NodeJSClient"),
    "Node.js, older": Runner(["node", NODE / "server.mjs"], NODE / "node_modules", "Node.js 18", "NodeJSClient",
                             {"FLAGSTREAM_PACKAGE": "launchdarkly-node-server-sdk"}),
    "Python": Runner([PYTHON, SDKS / "python/driver.py", "server"], PYTHON, "Python 3.10", "PythonClient"),
    "Go": Runner([BUILT / "go-driver"], BUILT / "go-driver", "Go 1.24", "GoClient"),
    "Java": Runner(["java", "-Xmx128m", "-XX:TieredStopAtLevel=1", "-cp", f"{JAVA}/jars/*:{JAVA}/classes", "Driver"],
                   JAVA / "classes/Driver.class", "Java 11 and Maven", "JavaClient"),
    "Rust": Runner([BUILT / "rust-driver"], BUILT / "rust-driver", "Rust 1.95", "RustServerClient", listener=False),
    "OpenFeature for Node.js": Runner(["node", NODE / "openfeature.mjs"], NODE / "node_modules", "Node.js 18"),
    "OpenFeature for Python": Runner([PYTHON, SDKS / "python/driver.py", "openfeature"], PYTHON, "Python 3.10"),
}


class Case:
    """One SDK in one mode: its driver, what it answered, and what it passed and failed."""

    def __init__(self, sdk, mode):
        self.sdk, self.mode, self.runner = sdk, mode, RUNNERS[sdk.name]
        self.id = f"{sdk.name}, {mode}"
        self.application = f"{sdk.name}-{mode}".lower().replace(" ", "-").replace(",", "")
        self.context = {"kind": "user", "key": self.application}
        self.is_openfeature = sdk.group == compatibility.OPENFEATURE
        # Polling is every 30 s, and the first try after a restart of the gateway may fail.
        self.patience = 60 if mode == "streaming" else 120
        self.answered = collections.Counter()  # (flag, variation) -> evaluations
        self.passed, self.failed = [], {}

    def missing(self):
        if self.runner.built.exists():
            return None
        return f"needs {self.runner.needs} or newer, then tools/install_test_packages --broad"

    def start(self, server, sdk_key=None, patience=20):
        return Driver(self.runner.command, server.url, sdk_key or server.sdk_key, self.mode, self.application,
                      {"FLAGSTREAM_PATIENCE": str(patience)} | (self.runner.environment or {}))

    def evaluate(self, flag, kind="boolean"):
        answer = self.driver.evaluate(flag, self.context, kind)
        self.answered[flag, answer["variationIndex"]] += 1
        return answer

    def sees(self, flag, value):
        wait_until(lambda: self.evaluate(flag)["value"] is value, self.patience, f"{self.id} has {flag} = {value}")


CASES = [Case(sdk, mode) for sdk in compatibility.SDKS if sdk.name in RUNNERS for mode in sdk.modes]


def contexts():
    for n in range(100):
        yield {"kind": "multi",
               "user": {"key": f"user-{n}" if n % 10 else f"ключ-{n}", "country": ["us", "de", "fr", "gb"][n % 4],
                        "anonymous": n % 5 == 0},
               "organization": {"key": f"org-{n % 37}", "plan": ["free", "pro"][n % 2]},
               "device": {"key": f"device-{n}", "os": ["ios", "android", "linux"][n % 3]}}


QUESTIONS = [(flag, context, kind) for flag, kind in FLAGS.items() for context in contexts()]


def our_answers(server):
    data = request("GET", server.url + "/sdk/latest-all", headers={"Authorization": server.sdk_key}).json()
    assert set(data["flags"]) == set(FLAGS), "the demo has other flags than FLAGS"
    document = server.data / "flags.json"
    document.write_text(json.dumps({"flags": data["flags"], "segments": data["segments"]}))
    lines = "".join(json.dumps({"flag": flag, "context": context}) + "\n" for flag, context, _ in QUESTIONS)
    done = subprocess.run([str(BINARY), "evaluate", "--batch", "--data", str(document)], input=lines, text=True,
                          capture_output=True, check=True, timeout=60)
    return [json.loads(line) for line in done.stdout.splitlines()]


def lake(server):
    """What the lake holds of each application: (flag, variation) -> evaluations, and how many events of other kinds."""
    rows = server.sql(f"""SELECT application_id, kind, key, variation, sum(count)::BIGINT, count(*),
        count(*) FILTER (metric_value = {METRIC_VALUE} AND json_extract_string(data, '$.step') IS NOT NULL),
        max(sdk_name || '/' || sdk_version) FROM events GROUP BY ALL""", all_rows=True)["rows"]
    found = collections.defaultdict(lambda: collections.defaultdict(collections.Counter))
    for application, kind, key, variation, evaluations, events, measured, sdk in rows:
        one = found[application]
        one["sdk"][sdk] += 1
        if kind == "summary":
            one["evaluations"][key, variation] += int(evaluations)
        elif kind == "custom":
            one["custom"][key] += int(measured)
        else:
            one["kinds"][kind] += int(events)
    return found


class Run:
    """The phases of all cases against one server."""

    def __init__(self, server, cases):
        self.server, self.cases = server, cases
        self.pool = concurrent.futures.ThreadPoolExecutor(max_workers=len(cases))
        self.ours = our_answers(server)

    def alive(self):
        return [case for case in self.cases if not case.failed]

    def each(self, check, action):
        """Does `action` for every case at once, and notes who passed the check."""
        doing = {case: self.pool.submit(action, case) for case in self.alive()}
        for case, done in doing.items():
            self.note(case, check, done.exception())

    def note(self, case, check, error):
        if error is not None:
            case.failed[check] = f"{type(error).__name__}: {error}"
        elif check not in case.passed:
            case.passed.append(check)

    def all_phases(self):
        assert self.server.api("POST", "/api/v2/flags/demo", {"key": "short-lived", "name": "Short lived"}).status == 201
        self.each(INITIALIZE, self.initialize)
        self.each(EVALUATE, self.evaluate)
        self.change_and_delete()
        self.each(IDENTIFY, self.identify)
        self.each(CUSTOM, self.track)
        self.check_counts()
        self.restart_gateway()
        for case in self.alive():
            case.driver.close()
        self.check_counts()
        self.check_totals()
        for case in self.cases:
            self.try_wrong_key(case)

    def initialize(self, case):
        case.driver = case.start(self.server)
        assert case.driver.started() == "ready"
        assert case.evaluate("short-lived")["value"] is False

    def evaluate(self, case):
        for (flag, context, _), ours, theirs in zip(QUESTIONS, self.ours, case.driver.evaluate_all(QUESTIONS)):
            case.answered[flag, theirs["variationIndex"]] += 1
            where = (flag, context, ours, theirs)
            assert (theirs["value"], theirs["variationIndex"]) == (ours["value"], ours["variationIndex"]), where
            if case.is_openfeature:
                # OpenFeature has a word of its own for OFF.
                assert theirs["reason"]["kind"] in (ours["reason"]["kind"], "DISABLED"), where
            else:
                assert theirs["reason"] == ours["reason"], where

    def change_and_delete(self):
        for case in self.alive():
            case.driver.forget_updates()
        self.server.flag_on("free-shipping")
        assert self.server.api("DELETE", "/api/v2/flags/demo/short-lived").status == 204
        self.each(CHANGE, lambda case: case.sees("free-shipping", True))
        self.each(DELETE, self.misses_deleted_flag)
        self.each(LISTENER, lambda case: case.runner.listener and case.driver.wait_for_update("free-shipping", 30))

    @staticmethod
    def misses_deleted_flag(case):
        wait_until(lambda: case.evaluate("short-lived")["reason"].get("errorKind") == "FLAG_NOT_FOUND", case.patience,
                   f"{case.id} has lost the flag")

    @staticmethod
    def identify(case):
        if not case.is_openfeature:
            case.driver.do("identify", context=case.context)

    @staticmethod
    def track(case):
        for step in range(METRICS):
            case.driver.do("track", key="purchase", context=case.context, value=METRIC_VALUE, data={"step": step})
        case.driver.do("flush")

    def differences(self, case, found):
        """Between what the SDK was asked for and what the lake holds; empty: none."""
        one = found[case.application]
        expected = {"evaluations": dict(case.answered), "purchases": METRICS, "identify": 0 if case.is_openfeature else 1}
        have = {"evaluations": dict(one["evaluations"]), "purchases": one["custom"]["purchase"],
                "identify": one["kinds"]["identify"]}
        return {what: (expected[what], have[what]) for what in expected if have[what] != expected[what]}

    def check_counts(self):
        """Waits until every event is in the lake, which is before anything is killed."""
        cases, deadline = self.alive(), time.monotonic() + 90
        while True:
            self.server.wait_until_processed()
            found = lake(self.server)
            if not any(self.differences(case, found) for case in cases) or time.monotonic() > deadline:
                break
        for case in cases:
            wrong = self.differences(case, found)
            agents = set(found[case.application]["sdk"])
            if not wrong and case.runner.agent and agents != {f"{case.runner.agent}/{case.sdk.version}"}:
                wrong = agents
            self.note(case, COUNTS, AssertionError(f"expected, found: {wrong}") if wrong else None)

    def check_totals(self):
        """The results that people see, over all SDKs together."""
        if any(case.failed for case in self.cases):
            return  # whose evaluations are not all known
        for flag in FLAGS:
            expected = collections.Counter()
            for case in self.cases:
                for (key, variation), count in case.answered.items():
                    if key == flag:
                        expected[str(variation)] += count
            assert self.server.evaluations(flag) == dict(expected)

    def restart_gateway(self):
        """Kills it and makes a change past it while it is away."""
        self.server.kill("gateway")
        done = self.server.cli("flag", "off", "free-shipping", "--data", str(self.server.data))
        assert done.returncode == 0, done.stderr
        wait_until(self.answers, 30, "the gateway serves again")
        self.each(RECONNECT, lambda case: case.sees("free-shipping", False))

    def answers(self):
        try:
            return self.server.api("GET", "/api/v2/projects").status == 200
        except OSError:
            return False

    def refused(self):
        return sum(value for name, value in self.server.metrics().items()
                   if name.startswith("flagstream_http_requests_total") and '"public"' in name and '"4xx"' in name)

    def try_wrong_key(self, case):
        before = self.refused()
        try:
            # Python and Go with FDv2 wait as long as they are told to, though they were refused at once.
            wrong = "sdk-00000000-0000-4000-8000-000000000000"
            with case.start(self.server, wrong, patience=5) as driver:
                assert driver.started() == "failed"
                driver.send("evaluate", flag="new-checkout", context=case.context, type="boolean")
                driver.send("flush")
                driver.close()
            made = self.refused() - before
            assert 0 < made <= WRONG_KEY_REQUESTS, f"{made} requests were refused"
        except Exception as error:
            self.note(case, WRONG_KEY, error)
        else:
            self.note(case, WRONG_KEY, None)

    def close(self):
        for case in self.cases:
            if hasattr(case, "driver"):
                case.driver.__exit__()
        self.pool.shutdown()


@pytest.fixture(scope="module")
def finished(request):
    """Has run all cases that were asked for, and written down what they passed."""
    asked = [item.callspec.params["case"] for item in request.session.items if item.originalname == "test_sdk"]
    cases = [case for case in asked if not case.missing()]
    if not cases:
        return
    with Server() as server:
        run = Run(server, cases)
        try:
            run.all_phases()
        finally:
            run.close()
    for case in cases:
        left_out = ([IDENTIFY] if case.is_openfeature else []) + ([] if case.runner.listener else [LISTENER])
        compatibility.record(case.sdk.name, case.sdk.version, case.mode,
                             [check for check in case.passed if check not in case.failed and check not in left_out],
                             case.failed)


def skip_without(reason):
    if reason:
        assert not os.environ.get("CI"), f"CI runs every SDK, but: {reason}"
        pytest.skip(reason)


@pytest.mark.broad
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_sdk(case, finished):
    skip_without(case.missing())
    assert not case.failed


def rotate_sdk_key(server, expiry_seconds):
    """The environment's new SDK key; the one before it stays valid for the time given."""
    expiry = int((time.time() + expiry_seconds) * 1000)
    answer = server.api("POST", f"/api/v2/projects/demo/environments/production/apiKey?expiry={expiry}")
    if answer.status in (404, 405):
        pytest.skip("this server does not rotate keys yet")
    assert answer.status == 200, answer.body
    return answer.json()["apiKey"]


@pytest.mark.broad
@pytest.mark.parametrize("name", RUNNERS)
def test_a_rotated_key_cuts_nobody_off(name):
    case = Case(compatibility.find(name), "streaming")
    skip_without(case.missing())
    with Server() as server:
        new_key = rotate_sdk_key(server, expiry_seconds=3600)
        assert new_key != server.sdk_key
        for key in (server.sdk_key, new_key):
            with case.start(server, key) as case.driver:
                assert case.driver.started() == "ready"
                on = not case.evaluate("free-shipping")["value"]
                server.flag_on("free-shipping", on)
                case.sees("free-shipping", on)
                case.driver.close()
    compatibility.add(name, case.mode, ROTATED_KEY)


def test_the_page_lists_what_is_tested():
    """Without running an SDK: the page has the SDKs, versions and modes of the list, and no others."""
    tool = load_tool("compatibility_page")
    listed = [(sdk.name, sdk.version, mode) for sdk in compatibility.SDKS for mode in sdk.modes]
    assert sorted(tool.listed_on(tool.PAGE.read_text())) == sorted(listed), "stale: make test-all; tools/compatibility_page"


def test_the_page_is_made_of_what_was_recorded(tmp_path, monkeypatch):
    tool = load_tool("compatibility_page")
    monkeypatch.setattr(compatibility, "RECORDED", tmp_path / "recorded.json")
    monkeypatch.setattr(tool, "PAGE", tmp_path / "page.md")
    cases = [(sdk.name, sdk.version, mode) for sdk in compatibility.SDKS for mode in sdk.modes]
    for name, _, mode in cases[1:]:
        compatibility.add(name, mode, INITIALIZE)
        compatibility.add(name, mode, COUNTS)
    assert tool.main() == 1 and not tool.PAGE.exists()  # the first has not run
    compatibility.record(*cases[0], [INITIALIZE], failed=[COUNTS])
    assert tool.main() == 1 and not tool.PAGE.exists()  # it failed
    compatibility.record(*cases[0], [INITIALIZE])
    assert tool.main() == 0
    page = tool.PAGE.read_text()
    assert sorted(tool.listed_on(page)) == sorted(cases)
    assert [line.split("|")[5:7] for line in page.splitlines() if line.startswith("| Node.js | ")] == [
        [" yes ", " – "], [" yes ", " yes "], [" yes ", " yes "]]
