#!/usr/bin/env python3
"""Every relative link in the project's Markdown leads to a file.  Exit status 1 and a list if one does not."""
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
pages = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
broken = []
for page in pages:
    text = re.sub(r"```.*?```", "", (ROOT / page).read_text(), flags=re.S)
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
        if "://" not in target and not target.startswith("mailto:") and not (ROOT / page).parent.joinpath(target).exists():
            broken.append(f"{page}: {target}")
print("\n".join(broken) if broken else f"links: {len(pages)} pages, none broken")
sys.exit(1 if broken else 0)
