"""A process with one official client-side SDK, driven over its standard streams."""
import json
import os
import queue
import subprocess
import threading

from harness import ROOT

DRIVE = ROOT / "tests/e2e/client_sdk/drive.mjs"


class ClientSdk:
    """Use as a context manager.  `name`: js3, js4 (both in headless Chromium) or node."""

    def __init__(self, name, server, client_side_id):
        self.name, self.env = name, client_side_id
        self.uris = {"baseUrl" if name != "js4" else "baseUri": server.url, "streamUrl" if name != "js4" else "streamUri": server.url,
                     "eventsUrl" if name != "js4" else "eventsUri": server.url}
        self.seen = []  # every line so far

    def __enter__(self):
        self.process = subprocess.Popen(["node", str(DRIVE), self.name], env=dict(os.environ), stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        self.lines = queue.Queue()
        threading.Thread(target=lambda: [self.lines.put(json.loads(line)) for line in self.process.stdout],
                         daemon=True).start()
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def act(self, what, **arguments):
        self.process.stdin.write(json.dumps({"do": what} | arguments) + "\n")
        self.process.stdin.flush()

    def expect(self, *events, seconds=40):
        """The next of these events; what else comes is kept in `seen`."""
        while True:
            try:
                line = self.lines.get(timeout=seconds)
            except queue.Empty:
                raise AssertionError(f"{self.name}: no {events} within {seconds} s; last: {self.seen[-8:]}") from None
            self.seen.append(line)
            if line["event"] in events:
                return line

    def start(self, context, hash=None, **options):
        """Whether it was initialized with what the server says."""
        self.act("start", env=self.env, context=context, hash=hash, options=self.uris | options)
        return self.expect("ready", "failed")["event"] == "ready"

    def evaluate(self, flag, times=1):
        self.act("evaluate", flag=flag, times=times)
        return self.expect("evaluation")

    def all_flags(self):
        self.act("all")
        return self.expect("all")["flags"]

    def identify(self, context, hash=None):
        self.act("identify", context=context, hash=hash)
        return self.expect("identified", "failed")["event"] == "identified"

    def flush(self):
        self.act("flush")
        self.expect("flushed")

    def stop(self):
        self.act("stop")
        self.expect("stopped")

    def expect_change(self, flag, seconds=40):
        while flag not in self.expect("change", seconds=seconds)["flags"]:
            pass

    def requests(self):
        """Of a browser: (method, path without its query, status) of every answer so far."""
        return [(line["method"], "/" + line["url"].split("/", 3)[3].split("?")[0], line["status"])
                for line in self.seen if line["event"] == "request"]

    def refused_by_cors(self):
        return [line["text"] for line in self.seen if line["event"] == "console" and "CORS" in line["text"]]
