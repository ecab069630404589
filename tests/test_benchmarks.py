"""The benchmarks run and print what they promise; their time is nobody's business here."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from benchmarks.__main__ import BENCHMARKS, main, run
from benchmarks.scale import SMALL

KEYS = {"name", "value", "unit", "reference", "ratio", "bar", "holds", "method", "result"}
REQUIRED = {  # the lines that carry the project's bars
    "import-1-entry": 0.3,
    "import-1-entry-moonshot": 0.2,
    "import-16-entry": 1.0,
    "interpret-small-entry": 0.25,
    "interpret-small-entry-of-16": 0.25,
    "live-validation-1": 1.25,
    "live-validation-16": 1.6,
    "every-signature-2-cores": 1.7,
    "durable-append": 1.0,
    "opening-large-ledger": 1.0,
    "import-memory": 1.05,
    "agent-idle-cpu": 1.0,
    "agent-start": 1.0,
    "counter-start": 2.0,
    "findings": 4.0,
    "findings-memory": 1.0,
    "bedside-agent-growth": 1.05,
    "bedside-agent-pace": 0.7,
    "bedside-agent-resident": 1.0,
    "sync-full-replica": 0.6,
    "live-2-replicas": 3.0,
    "in-sync-beacon": 1.0,
    "in-sync-other-frames": 0.0,
    "catch-up-1-percent": 1.1,
}
ELSEWHERE = {"hypercore"}  # what needs a package registry


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, object]]:
    """Every line of a run too small to tell anything."""
    place = tmp_path_factory.mktemp("benchmarks")
    return [
        json.loads(line.as_json()) for line in run([name for name in BENCHMARKS if name not in ELSEWHERE], SMALL, place)
    ]


def test_every_line_has_its_form(lines: list[dict[str, object]]) -> None:
    """Name, figure, unit, reference, ratio, bar and verdict, and a hash of what was computed."""
    assert len({line["name"] for line in lines}) == len(lines)
    for line in lines:
        assert line.keys() == KEYS
        assert isinstance(line["value"], float)
        assert line["unit"]
        assert line["reference"]
        assert line["method"]
        assert isinstance(line["result"], str)
        assert len(line["result"]) == 16
        if line["bar"] is not None:
            assert isinstance(line["ratio"], float)
            assert isinstance(line["holds"], bool)


def test_every_bar_has_its_line(lines: list[dict[str, object]]) -> None:
    """The bars are the project's, not this run's."""
    bars = {line["name"]: line["bar"] for line in lines if line["bar"] is not None}
    assert bars == REQUIRED


def test_the_same_work_is_measured_each_time(lines: list[dict[str, object]], tmp_path: Path) -> None:
    """Blocks, replicas and indexes are the same in every run: the hashes of the results are equal."""
    names = ["large-ledger", "import-16-entry", "interpretation", "every-signature"]
    again = {line.name: line.result for line in run(names, SMALL, tmp_path)}
    first = {line["name"]: line["result"] for line in lines}
    assert again == {name: first[name] for name in again}


def test_programs_get_one_object_a_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """`--json` prints nothing else, and the exit status says whether every bar holds."""
    status = main(["--small", "--json", "--directory", str(tmp_path), "live-validation"])
    found = [json.loads(text) for text in capsys.readouterr().out.splitlines()]
    assert [line["name"] for line in found] == ["live-validation-1", "live-validation-16"]
    assert status == (0 if all(line["holds"] for line in found) else 1)


def test_an_unknown_name_is_the_callers_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    """The message lists the names that there are."""
    with pytest.raises(SystemExit):
        main(["no-such-benchmark"])
    assert "interpretation" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("npm") is None or shutil.which("node") is None, reason="needs npm and node")
def test_peers_are_installed_by_name_and_measured(tmp_path: Path) -> None:
    """Hypercore replicates as many blocks as we do; its line carries the bar."""
    lines = {line.name: line for line in run(["hypercore"], SMALL, tmp_path)}
    assert lines["hypercore"].bar == 10.0
    assert "hypercore 10.37." in lines["hypercore"].reference


def test_without_npm_a_peer_is_skipped(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One sentence says so, and nothing fails."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert list(run(["hypercore"], SMALL, tmp_path)) == []
    assert "npm and node not found" in capsys.readouterr().err
