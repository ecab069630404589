"""docs/pharmacy.md is true: its tables are the program's, and its conversation is held."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from counter_world import desk
from medledger import findings
from medledger_agents.pharmacy import counter as counter_module
from medledger_agents.pharmacy.requests import OPERATIONS
from worlds import found

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "pharmacy.md").read_text()
SOURCES = sorted((ROOT / "agents" / "medledger_agents" / "pharmacy").glob("*.py"))
REFUSED = re.compile(r'RefusedError\(\s*"([a-z-]+)"(?: if [^"]* else "([a-z-]+)")?')


def rows(heading: str) -> list[list[str]]:
    """The cells of the table whose first row has this heading."""
    table = PAGE[PAGE.index(f"\n| {heading} |") :].strip().split("\n\n")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]


def test_the_operations_of_the_page_are_the_programs() -> None:
    """Each with what it needs, may have, and answers."""

    def words(names: tuple[str, ...]) -> str:
        return " ".join(f"`{name}`" for name in names)

    expected = [
        [f"`{name}`", words(each.needs), words(each.may), words((each.result,)) if each.result else "", each.doc]
        for name, each in OPERATIONS.items()
    ]
    assert rows("do") == expected


def test_the_refusals_of_the_page_are_the_programs() -> None:
    """Every code that the source has, and no other."""
    raised = {code for path in SOURCES for match in REFUSED.findall(path.read_text()) for code in match if code}
    raised |= {"malformed", "not-logged", *counter_module._CODES.values()}
    assert {re.sub("`", "", row[0]) for row in rows("code")} == raised


def test_the_findings_of_the_page_are_the_librarys() -> None:
    """Each kind that the folds about medicines can find."""
    folder = Path(findings.__file__).parent
    kinds = {
        kind
        for name in ("prescriptions", "serials", "recalls", "stock", "witnesses")
        for kind in re.findall(r'Finding\(\s*"([a-z ]+)"', (folder / f"{name}.py").read_text())
    }
    assert {kind for row in rows("finding") for kind in re.findall("`([^`]+)`", row[0])} == kinds


def test_the_conversation_is_held(tmp_path: Path) -> None:
    """Each line in its order gets the reply that the page shows; `...` stands for what differs from run to run."""
    (block,) = re.findall(r"^```till\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    lines = block.splitlines()
    assert [line[:2] for line in lines] == ["> ", "< "] * (len(lines) // 2)
    with found(tmp_path) as founder, desk(founder, tmp_path, "north") as till:
        for said, told in zip(lines[::2], lines[1::2], strict=True):
            reply = till.counter.handle(said[2:].encode())
            expected: dict[str, Any] = json.loads(told[2:])
            assert {
                name: "..." if expected.get(name) == "..." else value for name, value in reply.items()
            } == expected, said
