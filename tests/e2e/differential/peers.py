"""Our evaluator and those of official SDKs, asked alike: evaluate(document, [(flag, context), ...]) -> answers."""
import functools
import json
import os
import pathlib
import shutil
import subprocess
import tempfile

from harness import BINARY, ROOT

HERE = pathlib.Path(__file__).parent


def dump(value):
    return json.dumps(value, ensure_ascii=False)  # Go's reader does not join escaped surrogates


@functools.lru_cache(maxsize=100_000)
def answer(text):
    return normal(json.loads(text))


def normal(value):
    """Numbers as doubles and no empty rule id, so that == compares what an application sees."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return ("number", float(value))
    if isinstance(value, bool):
        return ("boolean", value)
    if isinstance(value, list):
        return [normal(each) for each in value]
    if isinstance(value, dict):
        return {name: normal(each) for name, each in value.items() if (name, each) != ("ruleId", "")}
    return value


class Ours:
    def evaluate_cases(self, cases):
        """The same for cases of (document, flag, context)."""
        lines = [dump(document | {"flag": flag, "context": context}) for document, flag, context in cases]
        return self._run([], "\n".join(lines) + "\n", len(lines))

    def evaluate(self, document, pairs):
        with tempfile.NamedTemporaryFile("w", suffix=".json") as data:
            data.write(dump(document))
            data.flush()
            return self._run(["--data", data.name], lines_of(pairs), len(pairs))

    @staticmethod
    def _run(arguments, lines, count):
        done = subprocess.run([str(BINARY), "evaluate", "--batch", *arguments], input=lines, capture_output=True, text=True,
                              timeout=120)
        assert done.returncode == 0, done.stderr[-2000:] + done.stdout[-2000:]
        answers = [answer(line) for line in done.stdout.split("\n") if line]
        assert len(answers) == count
        return answers


def lines_of(pairs):
    texts = {}  # a context comes with many flags
    for _, context in pairs:
        if id(context) not in texts:
            texts[id(context)] = dump(context)
    return "".join(f'{{"flag":{dump(flag)},"context":{texts[id(context)]}}}\n' for flag, context in pairs)


class Peer:
    """A process that takes jobs as lines; see node_peer.mjs."""

    def __init__(self, command):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="flagstream-differential-"))
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def evaluate(self, document, pairs):
        job = {name: str(self.folder / name) for name in ("data", "pairs", "answers")}
        pathlib.Path(job["data"]).write_text(dump(document))
        pathlib.Path(job["pairs"]).write_text(lines_of(pairs))
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "done\n", "the SDK's process ended"
        answers = [answer(line) for line in pathlib.Path(job["answers"]).read_text().split("\n") if line]
        assert len(answers) == len(pairs)
        return answers

    def close(self):
        self.process.stdin.close()
        self.process.wait(20)
        self.process.stdout.close()
        shutil.rmtree(self.folder)


def node_peer():
    return Peer(["node", str(HERE / "node_peer.mjs")])


def go_peer():
    """None with the reason: Go is not here, or its modules cannot be had."""
    go = shutil.which("go", path=os.environ.get("PATH", "") + ":/usr/local/go/bin")
    if go is None:
        return None, "Go is not installed"
    program = ROOT / "build/differential_go_peer"
    program.parent.mkdir(exist_ok=True)
    built = subprocess.run([go, "build", "-o", str(program), "."], cwd=HERE / "go_peer", capture_output=True, text=True, timeout=600)
    if built.returncode != 0:
        return None, f"the Go evaluator could not be built: {built.stderr[-500:]}"
    return Peer([str(program)]), ""
