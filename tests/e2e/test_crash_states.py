"""The crash explorer of the log, over ten times as many states as the unit tests take."""
import os
import subprocess

import pytest

from harness import ROOT


@pytest.mark.broad
def test_a_million_crash_states_lose_and_invent_nothing():
    done = subprocess.run([str(ROOT / "build/release/src/log/log_test"), "--gtest_filter=CrashExplorer.LosesNo*"],
                          env=dict(os.environ) | {"FLAGSTREAM_CRASH_STATES": "1000000"}, capture_output=True, text=True,
                          timeout=600)
    assert done.returncode == 0, done.stdout
