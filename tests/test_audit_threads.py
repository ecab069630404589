"""Verification while others write: no block that comes or goes meanwhile is called damage."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from forge import Chain
from medledger import Ledger, audit
from medledger.keys import Identity
from worlds import found, join, reading

BLOCKS = 300


@pytest.fixture
def founder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    """A governor's replica, verified in small chunks so that much can happen in between."""
    monkeypatch.setattr(audit, "_CHUNK_BLOCKS", 64)
    with found(tmp_path) as ledger:
        yield ledger


@pytest.fixture
def box(founder: Ledger, tmp_path: Path) -> Chain:
    """A member's feed, all of which the founder holds; some of it holds only through successors."""
    with join(founder, tmp_path, "box") as member:
        assert member.identity is not None
        chain = Chain(member.identity, founder.id)
    for n in range(BLOCKS):
        chain.add(sign=n % 64 != 20)
    assert founder.import_blocks(chain.raws).accepted == BLOCKS
    return chain


def _fork(founder: Ledger, box: Chain) -> None:
    branch = box.branch(40)
    branch.add([b"x" * 40])
    founder.import_blocks(branch.raws)


def _revoke(founder: Ledger, box: Chain) -> None:
    founder.revoke(box.author.public_key, after=39)


@pytest.mark.parametrize("take_away", [_fork, _revoke])
@pytest.mark.parametrize("every_signature", [False, True])
def test_a_feed_that_is_cut_while_it_is_read_is_read_again(
    founder: Ledger, box: Chain, take_away: Callable[[Ledger, Chain], None], every_signature: bool
) -> None:
    """And counted as it is then."""
    chunks = 0

    def progress(_: int) -> None:
        nonlocal chunks
        chunks += 1
        if chunks == 3:
            take_away(founder, box)

    report = founder.verify(every_signature=every_signature, progress=progress)
    assert (report.blocks, report.entries) == (2 + 40, 4 + 40)
    assert report.disputed >= BLOCKS - 40
    if every_signature:
        assert report.through_successor == [(box.author.public_key, 20)]
        assert report.own_signatures == report.blocks - 1
    founder.fsck()


def test_a_feed_that_is_taken_away_whole_while_it_is_read_is_left_out(founder: Ledger, box: Chain) -> None:
    """Its blocks are evidence then, and are checked as such."""
    chunks = 0

    def progress(_: int) -> None:
        nonlocal chunks
        chunks += 1
        if chunks == 3:
            branch = Chain(box.author, founder.id)
            branch.add([b"x" * 40])
            founder.import_blocks(branch.raws)

    report = founder.verify(every_signature=True, progress=progress)
    assert (report.feeds, report.blocks, report.own_signatures) == (1, 2, 2)
    assert report.disputed == BLOCKS + 1


def test_checks_beside_writers_raise_no_alarm(founder: Ledger, tmp_path: Path) -> None:
    """One thread appends, one imports feeds and forks or revokes them; verify and fsck go on all the while."""
    stop = threading.Event()
    failures: list[BaseException] = []

    def guarded(work: Callable[[], None]) -> Callable[[], None]:
        def run() -> None:
            try:
                while not stop.is_set():
                    work()
            except BaseException as error:  # noqa: BLE001 - the main thread raises it
                failures.append(error)
                stop.set()

        return run

    def come_and_go() -> None:
        name = f"member-{threading.get_ident()}-{len(list(tmp_path.iterdir()))}"
        with join(founder, tmp_path, name) as member:
            assert isinstance(member.identity, Identity)
            chain = Chain(member.identity, founder.id).grow(150)
        founder.import_blocks(chain.raws)
        founder.index()
        if len(founder.forks) % 2:
            founder.revoke(chain.author.public_key, after=70)
        branch = chain.branch(80)
        branch.add([b"x" * 40])
        founder.import_blocks(branch.raws)

    threads = [threading.Thread(target=guarded(work)) for work in (lambda: founder.append(reading()), come_and_go)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(12):
            founder.verify()
            founder.fsck()
            if stop.is_set():
                break
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not failures
    assert founder.forks
