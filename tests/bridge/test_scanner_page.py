"""docs/scanners.md says what the programs say: each message of its tables is one of theirs."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from medledger_bridge.scanner.layouts import LAYOUTS
from medledger_bridge.scanner.settings import REPLACEMENTS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "scanners.md").read_text(encoding="utf-8")
SOURCES = [
    *(ROOT / "firmware_bridge" / "medledger_bridge" / "scanner").glob("*.py"),
    *(ROOT / "agents" / "medledger_agents").glob("scan*.py"),
    ROOT / "firmware_bridge" / "medledger_bridge" / "gs1.py",
]


def texts() -> list[str]:
    """Every text in the sources, formatted ones with `...` for what is filled in."""
    found = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                found.append("".join(p.value if isinstance(p, ast.Constant) else "..." for p in node.values))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return found


def test_each_message_of_the_page_is_said_by_the_programs() -> None:
    """Word for word, as far as it is quoted."""
    section = PAGE[PAGE.index("## What the messages mean") : PAGE.index("## What is certain")]
    quoted = [row for row in re.findall(r"^\| (.*?) \|", section, re.MULTILINE) if row != "message"]
    assert len(quoted) >= 20
    known = texts()
    assert [row for row in quoted if not any(row in text for text in known)] == []


def test_the_page_names_the_layouts_and_the_characters_for_fnc1() -> None:
    """No more and no fewer than there are."""
    for layout in LAYOUTS.values():
        assert layout.title in PAGE
    (listed,) = re.findall(r"``(.*?) ``", PAGE)
    assert listed.split() == list(REPLACEMENTS)
