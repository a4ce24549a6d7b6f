"""The page in headless Chromium, with a real application running on the official SDK."""
import gzip
import json
import os
import subprocess
import threading

from harness import ROOT, Server, start_shop

DRIVE = ROOT / "tests/e2e/page/drive.mjs"


def test_the_switch_flips_the_application_and_the_chart_moves_within_5_seconds():
    with Server() as server:
        shop = start_shop(server, "--rate", "50")
        lines = []
        reader = threading.Thread(target=lambda: lines.extend(shop.stdout), daemon=True)
        reader.start()
        link = server.url + server.serving()["setupPath"]
        done = subprocess.run(["node", str(DRIVE), link, "free-shipping"], capture_output=True, text=True, timeout=120,
                              env=dict(os.environ))
        shop.terminate()
        shop.wait(20)
        reader.join(5)
        assert done.returncode == 0, done.stderr + done.stdout
        steps = [json.loads(line) for line in done.stdout.splitlines()]
        assert [s["step"] for s in steps] == ["connected", "clicked", "moved", "clicked", "moved", "created", "rotated"]
        assert sum("flag free-shipping changed" in line for line in lines) == 2, lines
        answer = server.api("GET", "/api/v2/flags/demo/made-on-the-page?env=production&summary=0").json()
        weights = [v["weight"] for v in answer["environments"]["production"]["fallthrough"]["rollout"]["variations"]]
        assert weights == [25000, 75000]


def test_the_first_load_is_small():
    """At most 60 kB of compressed JavaScript, everything that any view loads counted."""
    scripts = list((ROOT / "web/dist/assets").glob("*.js"))
    assert scripts and sum(len(gzip.compress(script.read_bytes())) for script in scripts) <= 60_000
