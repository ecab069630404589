"""Verification of what decides who may write: control blocks, holes, disputed blocks, fork proofs, limits, indexes."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from hashlib import sha256
from pathlib import Path

import pytest

from forge import Chain, small_entry
from medledger import Identity, Ledger, make_request
from medledger.block import Hidden, encode_body, join_block, split_block, split_body
from medledger.errors import CorruptError
from worlds import found, join, reading, sync

Change = str | Callable[[sqlite3.Connection], None]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a governor's replica with a forked feed, a revoked one, one with a hidden entry, and full indexes."""
    directory = tmp_path_factory.mktemp("evidence")
    with (
        found(directory) as ledger,
        join(ledger, directory, "clone") as clone,
        join(ledger, directory, "thief") as thief,
        join(ledger, directory, "shy") as shy,
    ):
        assert clone.identity is not None
        assert thief.me is not None
        assert shy.me is not None
        clone.append(reading(60))
        branch = Chain(clone.identity, clone.id)
        branch.add([small_entry(1)], sign=False)  # holds only by the one after it
        branch.add([small_entry(2)])
        for _ in range(5):
            thief.append(reading(99))
        sync(clone, ledger)
        sync(thief, ledger)
        ledger.import_blocks(branch.raws)
        ledger.revoke(thief.me, after=1)
        shy.append(reading(70))
        ledger.import_blocks([_hidden(next(shy.raw_blocks(shy.me)))])
        assert len(ledger.disputed()) == 6
        assert ledger.verify().hidden == 1
        ledger.index()
        ledger.fsck()
        return ledger.path


@pytest.fixture
def change(whole: Path, tmp_path: Path) -> Callable[[Change], Path]:
    """Makes a copy of the file, changed."""

    def call(how: Change) -> Path:
        copy = tmp_path / "copy.db"
        shutil.copy(whole, copy)
        with closing(sqlite3.connect(copy)) as database:
            if isinstance(how, str):
                assert database.execute(how).rowcount != 0
            else:
                how(database)
            database.commit()
        return copy

    return call


def _hidden(raw: bytes) -> bytes:
    """A block with its entry withheld."""
    header, body = split_block(raw)
    leaves = []
    for entry in split_body(body):
        assert isinstance(entry, bytes)
        leaves.append(Hidden(sha256(b"\x00" + entry).digest()))
    return join_block(header, encode_body(leaves))


def _flip_bodies(database: sqlite3.Connection) -> None:
    for block_id, body in database.execute("SELECT id, body FROM disputed").fetchall():
        changed = body[:-1] + bytes([body[-1] ^ 1])
        database.execute("UPDATE disputed SET body = ? WHERE id = ?", (changed, block_id))


def _forge(database: sqlite3.Connection) -> None:
    """A disputed block that nobody signed: it would count in the membership, were it a governor's."""
    block_id, header = database.execute("SELECT id, header FROM disputed ORDER BY seq DESC").fetchone()
    forged = header[:-1] + bytes([header[-1] ^ 1])
    database.execute("UPDATE disputed SET id = ?, header = ? WHERE id = ?", (sha256(forged).digest(), forged, block_id))


CHANGES: dict[str, Change] = {
    "control rows gone": "DELETE FROM control",
    "the revocation gone": "DELETE FROM control WHERE pos = (SELECT max(pos) FROM control)",
    "a data block called control": "INSERT INTO control SELECT max(pos) FROM blocks",
    "a control row beyond a feed": "INSERT INTO control VALUES ((1 << 40) + 999)",
    "a control row of no feed": "INSERT INTO control VALUES (99 << 40)",
    "a block beyond a feed": "INSERT INTO blocks SELECT pos + 999, header, body FROM blocks LIMIT 1",
    "a block of no feed": "INSERT INTO blocks SELECT pos + (99 << 40), header, body FROM blocks LIMIT 1",
    "a hole gone": "DELETE FROM holes",
    "a hole too many": "INSERT INTO holes VALUES (1 << 40)",
    "disputed bodies changed": _flip_bodies,
    "disputed class changed": "UPDATE disputed SET class = 0",
    "disputed seq changed": "UPDATE disputed SET seq = seq + 7",
    "disputed feed changed": "UPDATE disputed SET feed = 1",
    "disputed block of no feed": "UPDATE disputed SET feed = 99",
    "disputed block forged": _forge,
    "disputed block missing before another": "DELETE FROM disputed WHERE seq = 3",
    "disputed block missing that vouched": "DELETE FROM disputed WHERE seq = 1",
    "fork proof gone": "DELETE FROM forks",
    "fork proof kept for another place": "UPDATE forks SET seq = seq + 1",
    "fork proof kept for another feed": "UPDATE forks SET feed = 1",
}
FSCK_CHANGES: dict[str, Change] = {
    "ids gone": "DELETE FROM block_ids",
    "an id gone": "DELETE FROM block_ids WHERE pos = (SELECT max(pos) FROM block_ids)",
    "ids wrong": "UPDATE block_ids SET prefix = prefix + 1",
    "an id too many": "INSERT INTO block_ids SELECT prefix + 1, pos FROM block_ids LIMIT 1",
    "ids ahead": "UPDATE feeds SET identified = 99",
    "members changed": "UPDATE member_rows SET label = 'somebody else'",
    "a revocation hidden": "UPDATE member_rows SET revoked_after = NULL",
    "members gone": "DELETE FROM member_rows",
    "powers of ten changed": "UPDATE powers_of_ten SET factor = factor * 10",
    "a view gone": "DROP VIEW readings",
    "a trigger": "CREATE TRIGGER late AFTER INSERT ON blocks BEGIN DELETE FROM control; END",
    "entries gone": "DELETE FROM entries",
    "an entry gone": "DELETE FROM entries WHERE pos = (SELECT max(pos) FROM entries)",
    "an entry too many": "INSERT INTO entries SELECT pos + 999, idx, type, time, NULL, NULL, NULL FROM entries LIMIT 1",
    "entries ahead": "UPDATE feeds SET interpreted = 99",
    "entries behind": "UPDATE feeds SET interpreted = 0",
}


@pytest.mark.parametrize("name", CHANGES)
def test_verify_finds_what_changes_who_may_write(change: Callable[[Change], Path], name: str) -> None:
    """Whatever the tables beside the blocks are made to say."""
    with Ledger.open(change(CHANGES[name])) as ledger, pytest.raises(CorruptError):
        ledger.verify()


@pytest.mark.parametrize("name", FSCK_CHANGES)
def test_fsck_finds_what_changes_what_people_read(change: Callable[[Change], Path], name: str) -> None:
    """The indexes and views that queries go by; the blocks verify all the same."""
    with Ledger.open(change(FSCK_CHANGES[name])) as ledger:
        ledger.verify()
        with pytest.raises(CorruptError):
            ledger.fsck()


def test_blocks_that_stand_beyond_their_limit_are_found(change: Callable[[Change], Path]) -> None:
    """Put back whole and well signed, beyond the revocation."""

    def restore(database: sqlite3.Connection) -> None:
        (no,) = database.execute(
            "SELECT no FROM feeds JOIN member_rows ON feed = author AND label = 'thief'"
        ).fetchone()
        last = database.execute("SELECT seq, id FROM disputed WHERE feed = ? ORDER BY seq DESC", (no,)).fetchone()
        database.execute(
            "INSERT INTO blocks SELECT (feed << 40) + seq, header, body FROM disputed WHERE feed = ?", (no,)
        )
        database.execute("UPDATE feeds SET seq = ?, head = ? WHERE no = ?", (*last, no))
        database.execute("DELETE FROM disputed WHERE feed = ?", (no,))

    with Ledger.open(change(restore)) as ledger, pytest.raises(CorruptError, match="beyond the feed's cut"):
        ledger.verify()


def test_disputed_blocks_that_nothing_disputes_are_found(change: Callable[[Change], Path]) -> None:
    """One branch alone does not tell that there was a fork, but without one nothing took it away."""

    def forget(database: sqlite3.Connection) -> None:
        assert (
            database.execute("DELETE FROM disputed WHERE instr(body, CAST('MON-7' AS BLOB)) AND seq = 0").rowcount == 1
        )
        database.execute("DELETE FROM forks")

    with Ledger.open(change(forget)) as ledger, pytest.raises(CorruptError, match="nothing here says why"):
        ledger.verify()


def test_an_author_cannot_make_it_look_like_damage(tmp_path: Path) -> None:
    """By signing another block where a revocation set aside one that held only through a later one."""
    identity = Identity.generate()
    with found(tmp_path) as ledger:
        ledger.enrol(make_request(identity, secret=bytes(16), roles=["bedside"]))
        chain = Chain(identity, ledger.id).grow(4)
        chain.add(sign=False)
        ledger.import_blocks(chain.grow(2).raws)
        ledger.revoke(identity.public_key, after=4)
        other = chain.branch(4)
        other.add([small_entry(99)])
        ledger.import_blocks(other.raws)
        ledger.revoke(identity.public_key, after=2)
        ledger.fsck()


def test_a_new_replica_passes_before_anything_has_come(whole: Path, tmp_path: Path) -> None:
    """It has its genesis and no more."""
    with Ledger.open(whole) as ledger:
        genesis = ledger.genesis.raw
    with Ledger.replicate(tmp_path / "new.db", genesis) as ledger:
        assert ledger.fsck().blocks == 0
