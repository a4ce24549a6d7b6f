"""docs/reference says what the binary says: no setting, metric, command or option is missing, and none is made up."""
import importlib.machinery
import importlib.util
import re
import subprocess

from harness import BINARY, ROOT, Server, wait_until

REFERENCE = ROOT / "docs/reference"


def load_tool(name):
    loader = importlib.machinery.SourceFileLoader(name, str(ROOT / "tools" / name))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(name, loader))
    loader.exec_module(module)
    return module


def help_of(*command):
    return subprocess.run([str(BINARY), *command, "--help"], capture_output=True, text=True, check=True).stdout


def subcommands(*above):
    """Every command that can be given as it is, with its help."""
    text = help_of(*above)
    listed = re.search(r"^Subcommands:\n((?:  .*\n)+)", text, re.M)
    if not listed or "[SUBCOMMAND]" in text:
        yield above, text
    if not listed:
        return
    for name in re.findall(r"^  (\w\S*)", listed[1], re.M):
        yield from subcommands(*above, name)


def options_in(text):
    return set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", text))


def test_the_settings_page_is_the_table_of_settings():
    written = subprocess.run([str(BINARY), "config", "reference"], capture_output=True, text=True, check=True).stdout
    page = (REFERENCE / "configuration.md").read_text()
    assert page == written, "stale: flagstream config reference > docs/reference/configuration.md"


def test_the_commands_page_has_every_command_and_option():
    page = (REFERENCE / "cli.md").read_text()
    commands = dict(subcommands())
    named = {tuple(word for word in text.split() if re.fullmatch("[a-z]+", word))
             for text in re.findall(r"`flagstream ([a-z][^`]*)`", page)}
    assert named == set(commands)
    offered = set().union(*(options_in(text) for text in commands.values())) | options_in(help_of())
    assert options_in(page) == offered


def test_the_metrics_page_has_every_metric_of_a_running_server():
    tool = load_tool("metrics_page")
    page = (REFERENCE / "metrics.md").read_text()
    with Server() as server:
        answer = server.post_events([{"kind": "identify", "creationDate": 1, "context": {"kind": "user", "key": "u"}}])
        assert answer.status == 202
        wait_until(lambda: server.health()["payloads"]["received"] == 1, 30, "the payload is processed")
        readers = "`config`, `events`, `memberships`, `payloads`; `reader`: `analytics`, `gateway`, `lake`, `transform`"
        wait_until(lambda: readers in tool.page(tool.scrape(server.admin_url)), 20, "the readers of every topic are watched")
        running = tool.page(tool.scrape(server.admin_url))
    assert page == running, "stale: tools/metrics_page ADMIN_URL > docs/reference/metrics.md"


def test_pages_name_no_metric_or_setting_that_is_not_there():
    metrics = set(re.findall(r"^\| `(\w+)`", (REFERENCE / "metrics.md").read_text(), re.M))
    settings = set(re.findall(r"^\| `([\w.]+)`", (REFERENCE / "configuration.md").read_text(), re.M))
    sections = {key.split(".")[0] for key in settings if "." in key}
    strangers = []
    for page in sorted(ROOT.glob("docs/**/*.md")):
        text = page.read_text()
        strangers += [(page.name, name) for name in re.findall(r"\b(flagstream_[a-z]+_\w+)", text) if name not in metrics]
        strangers += [(page.name, key) for key in re.findall(r"[`=( ](\w+\.\w+)[`=]", text)
                      if key.split(".")[0] in sections and key not in settings and not re.search(r"\.(h|cc|md|db|bin)$", key)]
    assert not strangers
