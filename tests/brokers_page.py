"""What docs/brokers.md tells people to put into files and to run, for tests that run just that.

A configuration is taken from the page and changed in the places that a machine must differ in: names, ports, files.
Each change names text that must be there, so that a test cannot go on with a page that says something else.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

PAGE = Path(__file__).resolve().parent.parent / "docs" / "brokers.md"
BLOCK = re.compile(r"^```(conf|sh|toml)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PASSWORD = "s3cret/@"


def page_blocks(language: str) -> list[str]:
    """The page's blocks in a language, in order."""
    found = [content for kind, content in BLOCK.findall(PAGE.read_text()) if kind == language]
    assert found, f"{PAGE} shows no {language}"
    return found


def page_file(name: str, changes: dict[str, str]) -> str:
    """The file of that name as the page shows it, with these changes."""
    (text,) = [content for content in page_blocks("conf") if content.startswith(f"# {name}\n")]
    return changed(text, changes)


def changed(text: str, changes: dict[str, str]) -> str:
    """The text with each of these replaced, wherever it stands. All must be there."""
    for old, new in changes.items():
        assert old in text, f"{PAGE} does not say {old!r} any more"
        text = text.replace(old, new)
    return text


def make_certificates(directory: Path) -> None:
    """Run the page's commands: ca.crt, broker.crt and bed-7.crt for 127.0.0.1, and their keys, in `directory`."""
    (script,) = page_blocks("sh")
    script = changed(script, {"subjectAltName=DNS:$broker": "subjectAltName=IP:127.0.0.1,DNS:$broker"})
    subprocess.run(["bash", "-euc", script], cwd=directory, check=True, capture_output=True)
