"""The counter's view of the replica: what it knows of any prescription, pack and shelf is what reading all of the
ledger gives, however often it was closed, killed or put back in between; and a start reads only what came since.
"""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from counter_world import GTIN, RX, copy
from medledger import Ledger
from medledger.block import Hidden, encode_body, join_block, split_block, split_body
from medledger.errors import StoreError
from medledger.merkle import leaf_hash
from medledger.records import Dispense, DispenseReturn, Prescription, Recall
from medledger_agents.pharmacy import reading
from medledger_agents.pharmacy import view as view_module
from medledger_agents.pharmacy.view import Budget, View
from view_world import Counting, any_record, assert_says_what_is_there, numbered, start
from worlds import found, join, sync


@pytest.mark.parametrize("many", [5, view_module.MANY_BLOCKS], ids=["by the index", "by blocks"])
def test_what_is_read_bit_by_bit_is_what_is_there(
    tmp_path: Path, rng: random.Random, monkeypatch: pytest.MonkeyPatch, many: int
) -> None:
    """Three pharmacies write, copy, merge in any order, one is revoked and another joins; the view reads a part at a
    time, is closed now and then, and now and then its transaction fails. After each step it says what reading
    everything anew says.
    """
    monkeypatch.setattr(view_module, "MANY_BLOCKS", many)
    monkeypatch.setattr(view_module, "COMMIT_ENTRIES", rng.choice([0, 5, 5_000]))
    monkeypatch.setattr(reading, "INDEX_BLOCKS", 3)
    monkeypatch.setattr(reading, "SPAN_BLOCKS", 4)
    with found(tmp_path) as founder:
        ledgers = [join(founder, tmp_path, f"p{n}", "pharmacy") for n in range(3)]
        sync(founder, ledgers[0])
        founder.append(Prescription(prescription=RX, product=GTIN, quantity=30, unit="{tablet}", repeats=3))
        view = View(ledgers[0], tmp_path / "register.db")
        written: list[bytes] = []
        try:
            for step in range(80):
                ledger = rng.choice(ledgers)
                if ledger.state == "ready":
                    named = [leaf_hash(raw) for raw in written]
                    block = ledger.append(*(any_record(rng, named) for _ in range(rng.randint(1, 3))))
                    written += [raw for raw in block.body if isinstance(raw, bytes)]
                    if rng.random() < 0.3:
                        copy(ledger, rng.choice(written))
                if rng.random() < 0.5:
                    giver = rng.choice([founder, *ledgers])
                    sync(giver, ledgers[0])
                if step == 30:
                    assert ledgers[2].me is not None
                    sync(ledgers[2], founder)
                    founder.revoke(ledgers[2].me, reason="lost")
                if step == 45:
                    ledgers.append(join(founder, tmp_path, "late", "pharmacy"))
                if rng.random() < 0.2:
                    fail(view)
                for _ in range(rng.choice([0, 0, 1, 3])):
                    view.catch_up(Budget(rng.choice([1, 1, 60, 300])))
                if rng.random() < 0.2:
                    view.close()
                    view = View(ledgers[0], tmp_path / "register.db")
                view.catch_up()
                assert view.behind is None
                assert_says_what_is_there(view, ledgers[0])
        finally:
            view.close()
            for ledger in ledgers:
                ledger.close()


def fail(view: View) -> None:
    """A look whose transaction is not carried out, as with a full disk."""

    def full(*_: object) -> None:
        raise StoreError("the disk is full")

    with pytest.MonkeyPatch.context() as broken:
        broken.setattr(view, "_judge", full)
        with suppress(StoreError):
            view.catch_up()


def test_it_says_how_old_what_it_heard_is(tmp_path: Path) -> None:
    """The newest block of anybody else, never one of its own; after a start, too."""
    with found(tmp_path) as founder, join(founder, tmp_path, "p", "pharmacy") as mine:
        view = View(mine, tmp_path / "register.db")
        view.catch_up()
        assert founder.me is not None
        newest = max(block.header.time for block in mine.blocks(founder.me))
        assert view.as_of == newest
        mine.append(Recall(product=GTIN))
        view.catch_up()
        assert view.as_of == newest
        block = founder.append(Recall(product=GTIN))
        sync(founder, mine)
        view.catch_up()
        assert view.as_of == block.header.time
        view.close()
        view = View(mine, tmp_path / "register.db")
        view.catch_up()
        assert view.as_of == block.header.time
        view.close()


def test_what_we_took_back_of_others_is_in_a_conflict_of_theirs(tmp_path: Path) -> None:
    """Two others supplied one serial number, and a part of it was brought here: told when it comes, and after a start
    without a register, too.
    """
    with (
        found(tmp_path) as founder,
        join(founder, tmp_path, "p", "pharmacy") as mine,
        join(founder, tmp_path, "q", "pharmacy") as one,
        join(founder, tmp_path, "r", "pharmacy") as two,
    ):
        part = Dispense(product=GTIN, quantity=3, unit="{tablet}", serial="S1")
        (raw,) = one.append(part).body
        assert isinstance(raw, bytes)
        sync(founder, mine)
        sync(one, mine)
        mine.append(DispenseReturn(issue=leaf_hash(raw), quantity=1, action="return"))
        view = View(mine, tmp_path / "register.db")
        assert view.catch_up() == []
        two.append(part)
        sync(two, mine)
        (finding,) = view.catch_up()
        assert finding.kind == "serial supplied twice"
        assert {place.feed for place in finding.places} == {one.me, two.me, mine.me}
        assert_says_what_is_there(view, mine)
        view.close()


# --- starts -----------------------------------------------------------------------------------------------------------


def test_a_start_reads_what_came_since(tmp_path: Path) -> None:
    """However much was read before; also when a member was enrolled meanwhile."""
    path = tmp_path / "register.db"
    with found(tmp_path) as founder, join(founder, tmp_path, "p", "pharmacy") as mine:
        for number in range(200):
            mine.append(numbered(number))
        assert start(mine, path).blocks_read >= 200
        assert start(mine, path).blocks_read <= 5
        mine.append(numbered(201))
        join(founder, tmp_path, "other", "bedside").close()
        sync(founder, mine)
        assert start(mine, path).blocks_read <= 12
        assert start(mine, path).blocks_read <= 5


def test_a_start_judges_nothing_again(tmp_path: Path) -> None:
    """What is known not to fit is still known, and not one of the supplies that a recall named is read for it; nor is
    it news. Where the members are others, it is looked at again.
    """
    path = tmp_path / "register.db"
    with found(tmp_path) as founder, join(founder, tmp_path, "p", "pharmacy") as mine:
        for number in range(50):
            mine.append(numbered(number))
        founder.append(Recall(product=GTIN))
        sync(founder, mine)
        view = View(mine, path)
        assert len(view.catch_up()) == 50
        told = list(view.conflicts())
        assert {finding.kind for finding in told} == {"recalled supplied"}
        view.close()
        assert start(mine, path).blocks_read <= 5
        join(founder, tmp_path, "other", "bedside").close()
        sync(founder, mine)
        for read_again in (True, False):
            counting = Counting(mine)
            view = View(counting, path)  # type: ignore[arg-type]
            assert view.catch_up() == []
            assert list(view.conflicts()) == told
            assert view.count_conflicts() == 50
            assert (counting.blocks_read >= 50) is read_again
            view.close()


def test_what_a_hostile_pharmacy_writes_costs_no_square(tmp_path: Path) -> None:
    """Copies of one supply of a pack of ours that we took back, returns of it, and recalls that stop nobody but itself:
    of the ledger is read in proportion, three times as much for three times as many; and its recalls are none of ours.
    """

    def cost(many: int) -> int:
        place = tmp_path / str(many)
        place.mkdir()
        with (
            found(place) as founder,
            join(founder, place, "p", "pharmacy") as mine,
            join(founder, place, "q", "pharmacy") as hostile,
        ):
            (raw,) = hostile.append(numbered(1)).body
            assert isinstance(raw, bytes)
            mine.append(numbered(1), DispenseReturn(issue=leaf_hash(raw), quantity=1, action="return"))
            for _ in range(many):
                copy(hostile, raw)
                hostile.append(DispenseReturn(issue=leaf_hash(raw), quantity=1, action="return"))
                hostile.append(Recall(product=GTIN))
            sync(founder, mine)
            sync(hostile, mine)
            found_anew = start(mine, place / "register.db").blocks_read
            view = View(mine, place / "register.db")
            view.catch_up()
            assert [finding.kind for finding in view.conflicts()] == []  # its own came back: ours is the only one
            assert view.book(("recalls", GTIN)).recalled(view.me, GTIN, None, None) is None
            assert not view.register.holds(("recalls", GTIN))
            view.close()
            return found_anew

    few, many = cost(12), cost(36)
    assert many < 3.2 * few


def _other_ledger(path: Path, mine: Ledger, _founder: Ledger) -> None:
    db = sqlite3.connect(path)
    with db:
        db.execute("UPDATE about SET value = x'00' WHERE name = 'ledger'")
    db.close()


def _other_format(path: Path, mine: Ledger, _founder: Ledger) -> None:
    db = sqlite3.connect(path)
    with db:
        db.execute("UPDATE about SET value = x'00' WHERE name = 'format'")
    db.close()


def _damaged(path: Path, mine: Ledger, _founder: Ledger) -> None:
    path.write_bytes(b"no database at all" * 1000)


def _other_blocks(path: Path, mine: Ledger, _founder: Ledger) -> None:
    db = sqlite3.connect(path)
    with db:
        db.execute("UPDATE feeds SET id = zeroblob(32) WHERE used")
    db.close()


def _longer_than_the_ledger(path: Path, mine: Ledger, _founder: Ledger) -> None:
    db = sqlite3.connect(path)
    with db:
        db.execute("UPDATE feeds SET seq = seq + 7 WHERE used")
    db.close()


def _other_epochs(path: Path, mine: Ledger, _founder: Ledger) -> None:
    db = sqlite3.connect(path)
    with db:
        db.execute("UPDATE about SET value = x'81420000' WHERE name = 'epochs'")
    db.close()


def _other_rights(path: Path, mine: Ledger, _founder: Ledger) -> None:
    db = sqlite3.connect(path)
    with db:
        db.execute("UPDATE feeds SET rights = x'00' WHERE used")
    db.close()


def _something_else(path: Path, mine: Ledger, _founder: Ledger) -> None:
    path.unlink()
    db = sqlite3.connect(path)
    with db:
        db.execute("CREATE TABLE other (x)")
    db.close()


@pytest.mark.parametrize(
    "spoil",
    [
        _other_ledger,
        _other_format,
        _damaged,
        _other_blocks,
        _longer_than_the_ledger,
        _other_epochs,
        _other_rights,
        _something_else,
    ],
)
def test_a_register_that_does_not_fit_is_made_anew(
    tmp_path: Path, rng: random.Random, spoil: Callable[[Path, Ledger, Ledger], None]
) -> None:
    """Nothing of it is believed, and nothing is counted twice."""
    path = tmp_path / "register.db"
    with found(tmp_path) as founder, join(founder, tmp_path, "p", "pharmacy") as mine:
        supplies: list[bytes] = []
        for _ in range(40):
            block = mine.append(any_record(rng, supplies))
            supplies += [leaf_hash(raw) for raw in block.body if isinstance(raw, bytes)]
        start(mine, path)
        assert start(mine, path).blocks_read < 10
        shutil.copy(path, tmp_path / "again.db")
        for each in (path, tmp_path / "again.db"):
            spoil(each, mine, founder)
        assert start(mine, tmp_path / "again.db").blocks_read >= 40
        view = View(mine, path)
        view.catch_up()
        assert_says_what_is_there(view, mine)
        view.close()


def test_a_ledger_that_was_put_back(tmp_path: Path) -> None:
    """The register is newer than the ledger of a backup: what is no more there is not believed."""
    with found(tmp_path) as founder, join(founder, tmp_path, "p", "pharmacy") as mine:
        other = join(founder, tmp_path, "q", "pharmacy")
        other.append(numbered(1))
        sync(other, mine)
        mine.backup(tmp_path / "backup.db")
        other.append(numbered(2))
        sync(other, mine)
        start(mine, tmp_path / "register.db")
        other.close()
        identity = mine.identity
    with Ledger.open(tmp_path / "backup.db", identity) as before:
        shutil.copy(tmp_path / "register.db", tmp_path / "copied.db")
        view = View(before, tmp_path / "copied.db")
        view.catch_up()
        assert len(view.book(("pack", (GTIN, "N1"))).issues()) == 1
        assert view.book(("pack", (GTIN, "N2"))).issues() == []
        assert_says_what_is_there(view, before)
        view.close()


# --- entries that come one by one ------------------------------------------------------------------------------------


def _only(raw: bytes, *shown: int) -> bytes:
    """A block with these entries alone, the others hidden."""
    header, body = split_block(raw)
    items = enumerate(split_body(body))
    hidden = [e if at in shown or isinstance(e, Hidden) else Hidden(leaf_hash(e)) for at, e in items]
    return join_block(header, encode_body(hidden))


@pytest.mark.parametrize("restart", [False, True])
def test_a_block_whose_entries_come_one_by_one(tmp_path: Path, restart: bool) -> None:
    """Of a block of which all was withheld, and then a part less, what came is known, though a part is still hidden."""
    with found(tmp_path) as founder, join(founder, tmp_path, "p", "pharmacy") as mine:
        with join(founder, tmp_path, "q", "pharmacy") as other:
            sync(founder, mine)
            raw = other.append(*map(numbered, range(3))).raw
        view = View(mine, tmp_path / "register.db")
        try:
            for shown in ((), (1,), (1, 2), (0, 1, 2)):
                mine.import_blocks([_only(raw, *shown)])
                if restart:
                    view.close()
                    view = View(mine, tmp_path / "register.db")
                view.catch_up()
                assert {n for n in range(3) if view.book(("pack", (GTIN, f"N{n}"))).issues()} == set(shown)
        finally:
            view.close()


def test_a_register_of_another_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the system refuses is an error of ours, which every request hears of, and not the end of the connection."""

    def refuse(_path: Path, _mode: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    with found(tmp_path) as founder, join(founder, tmp_path, "p", "pharmacy") as mine:
        monkeypatch.setattr(Path, "chmod", refuse)
        with pytest.raises(StoreError, match="not permitted"):
            View(mine, tmp_path / "register.db").catch_up()


@pytest.mark.parametrize("restart", [False, True])
def test_damage_that_is_found_later(tmp_path: Path, restart: bool) -> None:
    """A register with bad pages that can be opened: who comes upon them hears of it, and then it is made anew."""
    path = tmp_path / "register.db"
    with found(tmp_path) as founder, join(founder, tmp_path, "p", "pharmacy") as mine:
        mine.append(*map(numbered, range(300)))
        start(mine, path)
        damaged = bytearray(path.read_bytes())
        with sqlite3.connect(path) as opened:
            (size,), (root,) = (
                opened.execute("PRAGMA page_size").fetchone(),
                opened.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'places'").fetchone(),
            )
        opened.close()
        damaged[(root - 1) * size : root * size] = b"\xff" * size
        path.write_bytes(damaged)
        view = View(mine, path)
        try:
            view.catch_up()
            with pytest.raises(StoreError, match="malformed"):
                view.book(("pack", (GTIN, "N7")))
            if restart:
                view.close()
                view = View(mine, path)
            view.catch_up()
            assert_says_what_is_there(view, mine)
        finally:
            view.close()
