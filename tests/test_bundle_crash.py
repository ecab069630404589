"""Writing a directory, cut short at any step: the bundle of before or the new one, and nothing is written twice."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bundles import check, founded, grow, small_segments, written
from medledger import Ledger
from medledger.bundle import MANIFEST_NAME, Progress, export_directory, fetch_bundle, open_bundle, verify_bundle


@pytest.fixture(autouse=True)
def _small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    small_segments(monkeypatch)


@pytest.fixture
def founder(tmp_path: Path) -> Iterator[Ledger]:
    """A governor's replica with three feeds and 62 blocks."""
    with founded(tmp_path) as ledger:
        yield ledger


class Crash(BaseException):
    """The power fails."""


def crashing(monkeypatch: pytest.MonkeyPatch, steps: int) -> list[str]:
    """The power fails after so many steps that change the directory: nothing more happens after that."""
    done: list[str] = []

    def wrap(owner: Any, name: str) -> None:
        real: Callable[..., Any] = getattr(owner, name)

        def step(*args: Any, **options: Any) -> Any:
            if len(done) >= steps:
                raise Crash
            done.append(name)
            return real(*args, **options)

        monkeypatch.setattr(owner, name, step)

    for owner, name in ((os, "fsync"), (Path, "replace"), (Path, "unlink"), (Path, "mkdir")):
        wrap(owner, name)
    return done


def test_an_export_may_be_cut_short_anywhere(founder: Ledger, tmp_path: Path) -> None:
    """Before it, between any two steps of it: the directory holds the bundle of before or the new one."""
    target = tmp_path / "all"
    export_directory(founder, target)
    check(target, founder)
    old = founder.digest()
    steps = outcomes = 0
    while True:
        grow(founder, 25)
        with pytest.MonkeyPatch.context() as patch:
            done = crashing(patch, steps)
            try:
                export_directory(founder, target)
            except Crash:
                outcomes += 1
            else:
                if len(done) < steps:
                    break
        with open_bundle(target) as source:
            report = verify_bundle(source)
        assert (report.problems, report.digest in (old, founder.digest())) == ([], True)
        export_directory(founder, target)
        check(target, founder)
        assert not list(target.rglob("*.partial"))
        old = founder.digest()
        steps += 1
    assert outcomes > 8


def test_a_first_export_that_was_cut_short_goes_on(founder: Ledger, tmp_path: Path) -> None:
    """What it wrote is not written again, and no manifest lies there that promises more than there is."""
    steps = 0
    while True:
        target = tmp_path / f"all-{steps}"
        with pytest.MonkeyPatch.context() as patch:
            crashing(patch, steps)
            try:
                export_directory(founder, target)
            except Crash:
                pass
            else:
                break
        if (target / MANIFEST_NAME).exists():
            check(target, founder)
        there = {path.name for path in target.glob("segments/*") if not path.name.endswith(".partial")}
        progress = written(founder, target)
        assert (progress.kept_blocks > 0) == bool(there)
        check(target, founder)
        steps += 1
    assert steps > 10


def test_fetching_goes_on_where_it_was_cut_short(founder: Ledger, tmp_path: Path) -> None:
    """From a file or a directory: after a crash at any step nothing that was fetched is read again."""
    founder.export_bundle(tmp_path / "all.bundle")
    steps = 0
    while True:
        target = tmp_path / f"copy-{steps}"
        with open_bundle(tmp_path / "all.bundle") as source:
            with pytest.MonkeyPatch.context() as patch:
                crashing(patch, steps)
                try:
                    fetch_bundle(source, target)
                except Crash:
                    pass
                else:
                    break
            there = sum(path.stat().st_size for path in target.glob("segments/*") if path.suffix != ".partial")
            told: list[Progress] = []
            fetch_bundle(source, target, told.append)
        assert told[-1].kept_bytes == there
        assert told[-1].bytes == told[-1].total_bytes
        check(target, founder)
        steps += 1
    assert steps > 10
