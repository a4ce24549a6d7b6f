"""docs/guide/first-flag.md, followed to the letter by a machine.

Every fenced block of that page is run or expected as it stands; what a person reads between them in the form of a list
is done in a browser.  Only addresses, the data folder's place and the SDK key are put in.  A fence says what it is:

    ```sh every-terminal    goes before every command          ```text                what the commands before it print
    ```sh server            terminal 1                         ```text application    what the application prints next
    ```sh                   terminal 2, from the checkout      ```js NAME             the file NAME of the application
    ```sh application       terminal 3, its lines in order     ```sh eventually       repeated until its output is right
"""
import contextlib
import json
import os
import queue
import re
import signal
import subprocess
import threading

from harness import BINARY, ROOT, free_port, temporary_folder, wait_until

GUIDE = ROOT / "docs/guide/first-flag.md"
FOLLOW = ROOT / "tests/e2e/page/follow.mjs"
BLOCK = re.compile(r"^```(?P<info>[^\n]*)\n(?P<body>.*?)^```$", re.S | re.M)
STEP = re.compile(r"^- (?:Choose \*\*(?P<choose>.+?)\*\*|Type `(?P<type>.+?)`|Turn the switch \*\*(?P<turn>.+?)\*\*"
                  r"|Click \*\*(?P<click>.+?)\*\*)(?: in \*\*(?P<where>.+?)\*\*)?\.$", re.M)
SECONDS = 60


def parts(text):
    """(info, body) of blocks and ("page", step) of what is done in the browser, in the order of the page."""
    found = [(match.start(), match["info"], match["body"]) for match in BLOCK.finditer(text)]
    prose = BLOCK.sub(lambda match: " " * len(match[0]), text)
    for match in STEP.finditer(prose):
        verb = next(name for name in ("choose", "type", "turn", "click") if match[name])
        found.append((match.start(), "page", {"do": verb, "what": match[verb], "where": match["where"]}))
    return [(info, body) for _, info, body in sorted(found, key=lambda each: each[0])]


def pattern_of(expected):
    return re.compile(re.escape(expected.strip()).replace("…", ".+"))


class Terminal:
    """A command that goes on, and the lines that it prints."""

    def __init__(self, script, cwd, environment):
        self.process = subprocess.Popen(["bash", "-euc", script], cwd=cwd, env=environment, text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        start_new_session=True)
        self.lines, self.complaints = queue.Queue(), []
        threading.Thread(target=self.read_lines, daemon=True).start()
        threading.Thread(target=lambda: self.complaints.extend(self.process.stderr), daemon=True).start()

    def read_lines(self):
        for line in self.process.stdout:
            self.lines.put(line.rstrip("\n"))
        self.lines.put(None)

    def next_line(self):
        """The next one printed; fails when none comes, or none can come any more."""
        try:
            line = self.lines.get(timeout=SECONDS)
        except queue.Empty:
            line = None
        assert line is not None, f"nothing more is printed; stderr: {''.join(self.complaints)[-3000:]}"
        return line

    def stop(self):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGINT)  # Ctrl-C
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            raise


class Reader:
    """Whoever follows the guide."""

    def __init__(self, folder):
        self.checkout = folder / "flagstream"
        (self.checkout / "build/release/src/app").mkdir(parents=True)
        (self.checkout / "build/release/src/app/flagstream").symlink_to(BINARY)
        self.address = f"127.0.0.1:{free_port()}"
        self.environment = dict(os.environ) | {
            "FLAGSTREAM_SERVER_LISTEN": self.address,
            "FLAGSTREAM_SERVER_ADMIN_LISTEN": f"127.0.0.1:{free_port()}",
            "FLAGSTREAM_LOG_SEGMENT_SIZE": "1MiB",
            "FLAGSTREAM_LOG_POOL_SEGMENTS": "1",
            "FLAGSTREAM_LOG_RESERVE": "0",
            "FLAGSTREAM_LAKE_COMMIT_INTERVAL": "1s",
            "npm_config_prefer_offline": "true",
            "npm_config_audit": "false",
        }
        self.every_terminal = ""
        self.server = self.application = self.browser = None
        self.application_setup = ""
        self.sdk_key = self.output = self.repeatable = None

    def run(self, script):
        done = subprocess.run(["bash", "-euc", self.every_terminal + script], cwd=self.checkout, env=self.environment,
                              capture_output=True, text=True, timeout=SECONDS)
        assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
        return done.stdout

    def serve(self, script):
        self.server = Terminal(self.every_terminal + "exec " + script, self.checkout, self.environment)
        while not (link := re.search(r"^ *page +(http\S+)", self.server.next_line())):
            pass
        self.link = link[1]

    def command(self, script, eventually=False):
        self.output = self.run(script)
        self.repeatable = script if eventually else None
        if key := re.search(r"^SDK key +(sdk-\S+)$", self.output, re.M):
            self.sdk_key = key[1]

    def expect(self, expected):
        pattern = pattern_of(expected)
        if self.repeatable:
            wait_until(lambda: pattern.fullmatch(self.run(self.repeatable).strip()), SECONDS, expected)
        else:
            assert pattern.fullmatch(self.output.strip()), f"{self.output}\nis not\n{expected}"

    def save(self, name, body):
        assert "YOUR-SDK-KEY" in body and "127.0.0.1:8080" in body
        text = body.replace("YOUR-SDK-KEY", self.sdk_key).replace("127.0.0.1:8080", self.address)
        (self.checkout.parent / "first-flag" / name).write_text(text)

    def in_application(self, script):
        if script.startswith("node "):
            self.application = Terminal("exec " + script, self.checkout.parent / "first-flag", self.environment)
        else:
            self.run(script)

    def expect_of_application(self, expected):
        # The SDK's own lines go to stderr.
        for line in expected.strip().split("\n"):
            assert self.application.next_line() == line

    def on_page(self, step):
        if self.browser is None:
            self.browser = Terminal(f"exec node {FOLLOW} '{self.link}'", ROOT, self.environment)
        self.browser.process.stdin.write(json.dumps(step) + "\n")
        self.browser.process.stdin.flush()
        assert json.loads(self.browser.next_line()) == step

    def stop(self):
        if self.browser:
            self.browser.process.stdin.close()
            assert self.browser.process.wait(30) == 0, "".join(self.browser.complaints)
        for terminal in (self.application, self.server):
            if terminal:
                terminal.stop()


def follow(reader, text):
    for info, body in parts(text):
        if info == "sh every-terminal":
            reader.every_terminal = body
        elif info == "sh server":
            reader.serve(body)
        elif info in ("sh", "sh eventually"):
            reader.command(body, eventually=info.endswith("eventually"))
        elif info == "sh application":
            reader.in_application(body)
        elif info.startswith("js "):
            reader.save(info.removeprefix("js "), body)
        elif info == "text application":
            reader.expect_of_application(body)
        elif info == "text":
            reader.expect(body)
        elif info == "page":
            reader.on_page(body)
        else:
            raise AssertionError(f"a block of the guide that is not tested: ```{info}")


def test_the_guide_works_as_it_stands():
    text = GUIDE.read_text()
    kinds = [info for info, _ in parts(text)]
    assert kinds.count("text application") == 4 and kinds.count("page") >= 5, kinds
    prose = BLOCK.sub("", text)
    unread = [line for line in re.findall(r"^- (?:Choose|Type|Turn|Click)\b.*", prose, re.M) if not STEP.fullmatch(line)]
    assert not unread, unread
    with temporary_folder() as folder:
        reader = Reader(folder)
        try:
            follow(reader, text)
        finally:
            reader.stop()
        assert reader.server.process.returncode == 0
