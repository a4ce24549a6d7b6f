"""A process with a real SDK, driven over its standard streams by the protocol of tests/e2e/sdks/README.md."""
import json
import os
import queue
import subprocess
import threading

from harness import ROOT

SDKS, BUILT = ROOT / "tests/e2e/sdks", ROOT / "build/sdks"


class Driver:
    """Ends its process when the `with` block is left, if it still runs then."""

    def __init__(self, command, url, sdk_key, mode, application="e2e", environment=None, log=subprocess.DEVNULL):
        everything = dict(os.environ) | {"FLAGSTREAM_URL": url, "FLAGSTREAM_SDK_KEY": sdk_key, "FLAGSTREAM_MODE": mode,
                                         "FLAGSTREAM_APPLICATION": application} | (environment or {})
        self.process = subprocess.Popen([str(part) for part in command], env=everything, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=log, text=True)
        self.answers, self.updates = queue.Queue(), queue.Queue()
        self.evaluations = 0
        threading.Thread(target=self.read, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def read(self):
        for line in self.process.stdout:
            if not line.startswith("{"):
                continue  # what an SDK prints on its own
            said = json.loads(line)
            (self.updates if said["event"] == "update" else self.answers).put(said)
        self.answers.put({"event": "ended"})

    def started(self, seconds=90):
        """`ready` or `failed`."""
        return self.answers.get(timeout=seconds)["event"]

    def send(self, command, **arguments):
        self.process.stdin.write(json.dumps({"command": command} | arguments) + "\n")
        self.process.stdin.flush()

    def do(self, command, **arguments):
        self.send(command, **arguments)
        answer = self.answers.get(timeout=60)
        assert answer["event"] in ("done", "evaluation"), answer
        return answer

    def evaluate(self, flag, context, kind="boolean"):
        self.evaluations += 1
        return self.do("evaluate", flag=flag, context=context, type=kind)

    def evaluate_all(self, questions):
        """Answers to many (flag, context, kind), without waiting for each."""
        writer = threading.Thread(target=lambda: [self.send("evaluate", flag=flag, context=context, type=kind)
                                                  for flag, context, kind in questions])
        writer.start()
        answers = [self.answers.get(timeout=60) for _ in questions]
        writer.join()
        self.evaluations += len(answers)
        assert all(answer["event"] == "evaluation" for answer in answers), answers
        return answers

    def forget_updates(self):
        while not self.updates.empty():
            self.updates.get_nowait()

    def wait_for_update(self, flag, seconds):
        while (key := self.updates.get(timeout=seconds)["key"]) != flag:
            assert key

    def close(self):
        """Lets the SDK send what it has and end; its exit status is 0."""
        self.process.stdin.close()
        assert self.process.wait(60) == 0
