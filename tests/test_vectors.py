"""The golden vectors: every file through the library's public functions, and the verdict it must give.

The folder `frames` belongs to the tests of gossip frames, which run it in a form of its own.
"""

from __future__ import annotations

import ast
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from medledger import Ledger, errors
from medledger.errors import Fault, MedledgerError
from vector_checks import CHECKS, read
from vector_checks_members import membership_json
from vectors import generate

FOLDER = Path(__file__).resolve().parent / "vectors"
FILES = sorted(path.relative_to(FOLDER).as_posix() for path in FOLDER.glob("*/*.json") if path.parent.name != "frames")
FIELDS = ["name", "kind", "description", "inputs", "expected"]
FEWEST = {"cbor": 70, "block": 80, "unsigned": 60, "segment": 20, "signature": 35, "membership": 25, "gossip-frame": 45}
"""So that a folder that went missing is noticed."""

FOLDED = ("epochs", "void", "members", "known", "cuts", "pending", "awaited", "refusals")
"""What a replica must say alike. It moves blocks that do not stand out of the feed, so `fallen` is not asked of it."""


def load(name: str) -> dict[str, Any]:
    """One vector."""
    document: dict[str, Any] = json.loads((FOLDER / name).read_text(encoding="utf-8"))
    return document


@pytest.mark.parametrize("name", FILES)
def test_each_vector_gets_its_verdict(name: str) -> None:
    """Accepted with exactly what is expected, or refused with exactly that class of error and that party at fault."""
    vector = load(name)
    kind, expected = vector["kind"], vector["expected"]
    assert kind in CHECKS, f"nobody knows how to run a vector of kind {kind!r}"
    inputs = read(vector["inputs"])
    if expected["verdict"] == "refused":
        with pytest.raises(MedledgerError) as caught:
            CHECKS[kind](inputs)
        assert (type(caught.value).__name__, caught.value.fault.value) == (expected["error"], expected["fault"])
    else:
        result = CHECKS[kind](inputs)
        for field, value in expected.items():
            if field not in ("verdict", "value"):
                assert result[field] == read(value, field), field
        assert result.get("value") == expected.get("value")
        assert result.keys() == expected.keys() - {"verdict"}


@pytest.mark.parametrize("name", FILES)
def test_each_file_is_well_formed(name: str) -> None:
    """Named as it says, with a description, and with an error of ours where one is expected."""
    vector = load(name)
    assert list(vector) == FIELDS
    assert name == f"{vector['kind']}/{vector['name']}.json"
    assert vector["description"].endswith((".", "?"))
    stops = vector["expected"] if vector["expected"]["verdict"] == "refused" else vector["expected"].get("stopped_by")
    if stops:
        assert issubclass(getattr(errors, stops["error"]), MedledgerError)
        assert Fault(stops["fault"])


def test_every_kind_is_there() -> None:
    """No kind that can be run is without vectors, and the large ones are complete."""
    counts = Counter(name.partition("/")[0] for name in FILES)
    assert counts.keys() == CHECKS.keys()
    assert {kind: counts[kind] for kind, least in FEWEST.items() if counts[kind] < least} == {}


def test_the_generator_makes_these_files_again() -> None:
    """Byte for byte, so that a change of a vector is a decision that shows in the history."""
    made = generate.build()
    assert sorted(made) == FILES
    assert [name for name, text in made.items() if (FOLDER / name).read_text(encoding="utf-8") != text] == []


def test_the_makers_know_nothing_of_the_library() -> None:
    """The vectors are a second opinion: not one of their makers imports medledger."""
    for path in [*FOLDER.glob("of_*.py"), FOLDER / "making.py", FOLDER / "generate.py"]:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not any(name.partition(".")[0].startswith("medledger") for name in names), path


# --- the same scenarios in a replica on disk ------------------------------------------------------------------------

MEMBERSHIP = [name for name in FILES if name.startswith("membership/")]


@pytest.mark.parametrize("name", MEMBERSHIP)
def test_a_replica_comes_to_the_same_membership_in_every_order(name: str, tmp_path: Path) -> None:
    """Blocks one by one, shuffled, until nothing changes, then all at once: who may write is what the vector says."""
    vector = load(name)
    inputs = read(vector["inputs"])
    expected = {field: read(value, field) for field, value in vector["expected"].items() if field in FOLDED}
    for seed in range(6):
        raws = list(inputs["blocks"])
        random.Random(seed).shuffle(raws)
        with Ledger.replicate(tmp_path / f"{seed}.db", inputs["genesis"]) as replica:
            before = None
            while replica.digest() != before:
                before = replica.digest()
                for raw in raws:
                    replica.import_blocks([raw])
            replica.import_blocks(raws)
            found = membership_json(replica.membership, inputs["ask"], replica.is_ancestor)
            assert {field: found[field] for field in expected} == expected, f"order {seed}"
