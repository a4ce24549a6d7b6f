"""Tests of roles that this build does not have yet are not collected: `flagstream serve --help` names the roles."""
import subprocess

from harness import BINARY

OF_CONTROL_AND_PROCESSOR = ["test_first_light.py", "test_isolation.py", "test_kill_ledger.py", "test_node_sdk_rest.py",
                            "test_page.py", "test_poison.py"]
help_text = subprocess.run([str(BINARY), "serve", "--help"], capture_output=True, text=True, check=True).stdout
collect_ignore = [] if "--demo" in help_text else OF_CONTROL_AND_PROCESSOR
