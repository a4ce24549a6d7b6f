"""Streams by the thousand, in a process of their own: bench/streams.cc, which a build with tests makes."""
import base64
import json
import subprocess
import tempfile
import time

from harness import ROOT
from measure import pin

PROGRAM = ROOT / "build/release/bench/streams"


def context_segment(context):
    """A context as the last segment of a path."""
    return base64.urlsafe_b64encode(json.dumps(context, separators=(",", ":")).encode()).decode().rstrip("=")


class HeldStreams:
    """Opened when it is made.  Commands and answers are those of the program."""

    def __init__(self, port, count, path="/all", key="", at_once=256, paths=(), core=None, patience=60):
        self.count = count
        with tempfile.NamedTemporaryFile("w", prefix="flagstream-paths-") as file:
            file.write("".join(each + "\n" for each in paths))
            file.flush()
            self.process = subprocess.Popen(
                [str(PROGRAM), "--port", str(port), "--path", path, "--key", key, "--streams", str(count), "--patience",
                 str(patience), "--at-once", str(at_once), *(["--paths", file.name] if paths else [])],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            if core is not None:
                pin(self.process.pid, core)
            self.opened = self.answer()

    def answer(self):
        line = self.process.stdout.readline()
        assert line, f"streams ended with {self.process.wait(10)}"
        return json.loads(line)

    def say(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def ask(self, line):
        self.say(line)
        return self.answer()

    def next(self, change):
        """Calls `change` and returns when its message came on every stream, and when the call began."""
        assert self.ask("next")["armed"]
        began = time.monotonic_ns()
        change()
        return self.answer() | {"began_ns": began}

    def record(self, text):
        """Notes from now on each number that follows the text, on every stream."""
        assert self.ask(f"record {text}")["recording"]

    def until(self, number):
        """Waits until every open stream had the number, or patience ends: `got` says how many had."""
        return self.ask(f"until {number}")

    def stop(self):
        """Ends recording: messages in all, stale and lost ones, and what came of each number."""
        return self.ask("stop")

    def close(self):
        self.process.stdin.close()
        self.process.wait(30)
        self.process.stdout.close()
