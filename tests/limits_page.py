"""docs/limits.md, made from medledger/limits.py. Run: python tests/limits_page.py"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from medledger import limits

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "medledger" / "limits.py"
PAGE = ROOT / "docs" / "limits.md"

HEADER = """# Limits

Every limit of the format and of the library, with its value. The page is made from `medledger/limits.py` by
`tests/limits_page.py`, and a test holds the two together.

Limits of the *format* are constants of version 1: a block beyond one is malformed for everybody, for ever. Limits of
the *library*, and of gossip, protect memory and time and may differ between releases.
"""


class Limit(NamedTuple):
    """One constant: its name, its value, what its declaration says, and the heading that it stands under."""

    name: str
    value: int | float
    meaning: str
    heading: str


def read_limits() -> Iterator[Limit]:
    """The constants in the order of their declaration."""
    text = SOURCE.read_text(encoding="utf-8")
    headings = [
        (number, match[1]) for number, line in enumerate(text.splitlines(), 1) if (match := HEADING.match(line))
    ]
    body = ast.parse(text).body
    for at, node in enumerate(body):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            after = body[at + 1] if at + 1 < len(body) else None
            told = ast.get_docstring(ast.Module([after], [])) if isinstance(after, ast.Expr) else None
            heading = [title for number, title in headings if number < node.lineno][-1]
            yield Limit(node.target.id, getattr(limits, node.target.id), " ".join((told or "").split()), heading)


HEADING = re.compile(r"# --- (.*?) -+$")


def shown(value: int | float) -> str:
    """A value as people read it."""
    if isinstance(value, float) or abs(value) < 10_000:
        return f"{value:g}" if isinstance(value, float) else str(value)
    for power in (63, 40):
        for offset, sign in ((0, ""), (-1, " - 1")):
            if abs(value) == 2**power + offset:
                return f"{'-' if value < 0 else ''}2^{power}{sign}"
    return f"{value:,}"


def page() -> str:
    """The page's text."""
    parts, heading = [HEADER], ""
    for limit in read_limits():
        if limit.heading != heading:
            heading = limit.heading
            parts.append(f"\n## {heading[0].upper()}{heading[1:]}\n\n| limit | value | |\n|---|---:|---|\n")
        parts.append(f"| `{limit.name}` | {shown(limit.value)} | {limit.meaning} |\n")
    return "".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
