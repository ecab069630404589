"""The documentation, held to the code: its Python runs, its bytes are the bytes, its links and limits are right."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest

import limits_page
from brokers import Broker
from medledger import limits, validation
from vector_checks import read

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", *DOCS.glob("*.md")])
EVERY_PAGE = sorted({*PAGES, *DOCS.glob("**/*.md"), ROOT / "tests" / "vectors" / "README.md"})
FENCE = re.compile(r"^(`{3,})([a-z]*)\s*$")
LINK = re.compile(r"\]\(([^)#\s]+)?(#[^)\s]*)?\)")
PLACEHOLDER = re.compile(r"mqtts?://broker\.example(:[0-9]+)?")
SECONDS = 60


def blocks(text: str, language: str) -> list[tuple[int, str]]:
    """(first line's number, content) of the fenced blocks in a language."""
    found, lines, inside, start = [], text.splitlines(), None, 0
    for number, line in enumerate(lines, 1):
        match = FENCE.match(line)
        if match is None:
            continue
        if inside is None:
            inside, start = match, number + 1
        elif match[1] == inside[1] and not match[2]:
            if inside[2] == language:
                found.append((start, "\n".join(lines[start - 1 : number - 1])))
            inside = None
    assert inside is None, f"a block that starts at line {start} has no end"
    return found


def script_of(text: str) -> str:
    """The Python of a page as one script, each line at its own number, so that a traceback points into the page."""
    lines = [""] * len(text.splitlines())
    for start, content in blocks(text, "python"):
        for offset, line in enumerate(content.splitlines()):
            lines[start - 1 + offset] = line
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_python_of_each_page_runs(page: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """A page's blocks, one after the other, in an empty directory; a real broker runs where they name the example's."""
    script = script_of(page.read_text(encoding="utf-8"))
    if not script.strip():
        return
    if PLACEHOLDER.search(script):
        broker: Broker = request.getfixturevalue("broker")
        script = PLACEHOLDER.sub(broker.url, script)
    (tmp_path / page.with_suffix(".py").name).write_text(script, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "error", page.with_suffix(".py").name],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.environ.get("PYTHONPATH", str(ROOT))},
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stderr


def test_the_pages_of_this_test_are_there() -> None:
    """A page that is renamed must not drop out of the tests unseen."""
    assert {"format.md", "rules.md", "life-of-a-block.md", "limits.md"} <= {page.name for page in PAGES}


def test_the_example_of_the_format_is_the_golden_vector() -> None:
    """The annotated bytes are the vector's, whole and in order; the ids beside them are right; the block is valid."""
    text = (DOCS / "format.md").read_text(encoding="utf-8")
    [(_, dump)] = blocks(text, "hex")
    raw = bytes.fromhex("".join(line.split()[0] for line in dump.splitlines()))
    vector = json.loads((ROOT / "tests/vectors/block/accepted-first.json").read_text())
    assert raw == read(vector["inputs"])["block"]
    assert f"`{vector['inputs']['ledger_id']}`" in text
    assert f"`{vector['expected']['id']}`" in text
    header = raw[3:180]
    assert (header[:1], sha256(header).hexdigest()) == (b"\xd2", vector["expected"]["id"])
    inputs = read(vector["inputs"])
    assert validation.validate_block(inputs["ledger_id"], inputs["feed"], None, raw).seq == 0
    python = "".join(content for _, content in blocks(text, "python"))
    quoted = "".join(re.findall(r'^    "([0-9a-f]+)"$', python, re.MULTILINE))
    assert bytes.fromhex(quoted) == raw


def test_every_limit_is_listed_with_its_value() -> None:
    """docs/limits.md is what limits.py says."""
    assert limits_page.PAGE.read_text(encoding="utf-8") == limits_page.page(), (
        "run: python tests/limits_page.py, after a change of medledger/limits.py"
    )
    names = {name for name in vars(limits) if name.isupper()}
    assert {limit.name for limit in limits_page.read_limits()} == names


def test_every_rule_and_reason_that_the_code_knows_is_in_the_rules() -> None:
    """Errors of validation, numbered checks, and why an entry is void or a block does not stand."""
    text = (DOCS / "rules.md").read_text(encoding="utf-8")
    source = (ROOT / "medledger" / "validation.py").read_text(encoding="utf-8")
    for number in re.findall(r"^ ?\((\d+)\)", source, re.MULTILINE):
        assert f"**({number})**" in text, f"check ({number}) of validation.py"
    for error in re.findall(r"raise (\w+Error)\(", source):
        assert f"`{error}`" in text, error
    membership = (ROOT / "medledger" / "membership.py").read_text(encoding="utf-8")
    for reason in re.findall(r'^[A-Z_]+: Final = "([a-z-]+)"', membership, re.MULTILINE):
        assert f"`{reason}`" in text, reason
    interpretation = (ROOT / "medledger" / "interpretation.py").read_text(encoding="utf-8")
    for reason in ("hidden", "malformed", "unknown-type", "class"):
        assert f'"{reason}"' in interpretation
        assert f"`{reason}`" in text


@pytest.mark.parametrize("page", EVERY_PAGE, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    """Each link to a file of the project names one that is there, and each anchor a heading."""
    text = page.read_text(encoding="utf-8")
    for target, anchor in LINK.findall(text):
        if "://" in target:
            continue
        path = (page.parent / target).resolve() if target else page
        assert path.exists(), f"{page.name} links to {target}"
        if anchor and path.suffix == ".md":
            headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor[1:] in {slug(heading) for heading in headings}, f"{page.name} links to {target}{anchor}"


def slug(heading: str) -> str:
    """A heading as an anchor."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_the_modules_that_the_docs_name_are_there() -> None:
    """`medledger.x` in a page is a module of the library, or something in one."""
    missing = []
    for page in PAGES:
        for name in set(
            re.findall(r"`(medledger(?:_agents|_bridge)?(?:\.[a-z_]+)+)`", page.read_text(encoding="utf-8"))
        ):
            package, *rest = name.split(".")
            area = {"medledger_agents": ROOT / "agents", "medledger_bridge": ROOT / "firmware_bridge"}.get(
                package, ROOT
            )
            home = area / package
            first = home / rest[0]
            if not (first.is_dir() or first.with_suffix(".py").is_file()) and name not in (
                "medledger.records",
                "medledger.commands",
            ):
                missing.append(f"{page.name}: {name}")
    assert missing == []
