"""A process with the official Node SDK, driven over its standard streams."""
import json
import os
import queue
import subprocess
import threading

from harness import ROOT

CONNECT = ROOT / "tests/e2e/node_sdk/connect.mjs"


class Sdk:
    def __init__(self, server, mode):
        environment = dict(os.environ) | {"FLAGSTREAM_URL": server.url, "FLAGSTREAM_SDK_KEY": server.sdk_key,
                                          "FLAGSTREAM_MODE": mode}
        self.process = subprocess.Popen(["node", str(CONNECT)], env=environment, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        self.lines = queue.Queue()
        threading.Thread(target=lambda: [self.lines.put(json.loads(line)) for line in self.process.stdout],
                         daemon=True).start()

    def expect(self, event, seconds=20):
        while True:
            line = self.lines.get(timeout=seconds)
            if line.get("event") == event:
                return line

    def evaluate(self, flag, context):
        self.process.stdin.write(json.dumps({"flag": flag, "context": context}) + "\n")
        self.process.stdin.flush()
        return self.expect("evaluation")

    def close(self):
        self.process.stdin.close()
        self.process.wait(20)
