"""Mistakes that people make: one plain sentence, what to do next, the right exit code, never a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from medledger import Ledger

from .conftest import READING, Done, Run


def told(done: Done, *words: str) -> None:
    """One error of one sentence and what to do next under it, with these words in it."""
    lines = done.err.splitlines()
    assert lines[0].startswith("Error: "), done.err
    assert len(lines) == 2, done.err
    assert lines[1].startswith("       "), done.err
    assert lines[1].strip(), done.err
    assert "Traceback" not in done.err
    for word in words:
        assert word in done.err, done.err


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["log", "nowhere.db"], 3, ["there is no ledger at nowhere.db", "medledger init"]),
        (["log", "."], 3, ["there is no ledger at ."]),
        (["log", "note.txt"], 3, ["note.txt is not a SQLite database"]),
        (["append", "nowhere.db", "reading", READING], 3, ["there is no ledger at nowhere.db"]),
        (["init", "ward.db", "--name", "Again"], 3, ["ward.db exists already"]),
        (["init", "no/where.db", "--name", "X"], 3, ["there is no directory"]),
        (["init", "x.db"], 2, ["Missing option '--name'", "medledger init --help"]),
        (["init", "x.db", "--name", ""], 1, ["genesis"]),
        (["init", "x.db", "--name", "X", "--role", "king"], 1, ["no role 'king'", "Its roles are"]),
        (["init", "x.db", "--name", "X", "--broker", "broker"], 2, ["is not the address of a broker"]),
        (["key", "show", "none.key"], 2, ["there is no key file none.key"]),
        (["key", "show", "note.txt"], 2, ["note.txt"]),
        (["key", "new", "ward.key"], 2, ["exists and is never overwritten"]),
        (["append", "ward.db", "readin", READING], 2, ["no record type 'readin'", "reading"]),
        (["append", "ward.db", "gov.approve", "[]"], 2, ["act of governance", "medledger member"]),
        (["append", "ward.db", "reading", '{"device": '], 2, ["this is not JSON", "quotes"]),
        (["append", "ward.db", "reading", '{"device": "A", "device": "B"}'], 2, ["a field is given twice"]),
        (["append", "ward.db", "reading", "[]"], 2, ["the list of records is empty"]),
        (["append", "ward.db", "reading", '"MON-7"'], 1, ["reading must be a JSON object"]),
        (["append", "ward.db", "reading", '{"samples": []}'], 1, ["reading lacks the field 'device'"]),
        (["append", "ward.db", "reading", '{"device": "A", "name": "Jane"}'], 1, ["reading has no field 'name'"]),
        (["append", "ward.db", "reading", '{"device": "A", "samples": 5}'], 1, ["reading.samples must be a list"]),
        (["append", "ward.db", "reading", '{"device": "A", "samples": [[1]]}'], 1, ["reading.samples[0] must be"]),
        (
            ["append", "ward.db", "reading", '{"device": "A", "samples": [["8867-5", "1", "/min"]]}'],
            1,
            ["reading.samples[0][0] must be a LOINC code"],
        ),
        (
            ["append", "ward.db", "reading", '{"device": "A", "samples": [{"code": "8867-4", "pulse": 1}]}'],
            1,
            ["reading.samples[0] has no field 'pulse'"],
        ),
        (
            ["append", "ward.db", "reading", '{"device": "A", "samples": [["8867-4", "high", "/min"]]}'],
            1,
            ["reading.samples[0][1]: 'high' is not a decimal number"],
        ),
        (["append", "ward.db", "reading", '{"device": "A", "raw": "abcd"}'], 1, ["reading.raw must be 64 hexadecimal"]),
        (["append", "ward.db", "reading", '{"device": "A", "time": "soon"}'], 1, ["reading.time must be a time"]),
        (["append", "ward.db", "reading", '{"device": "A", "subject": "77"}'], 1, ["reading.subject must be 32"]),
        (["append", "ward.db", "reading", READING, "--subject", "77"], 2, ["is not 32 hexadecimal digits"]),
        (["append", "ward.db", "reading", READING, "--lines"], 2, ["--lines reads from stdin"]),
        (["append", "ward.db", "dispense", '{"product": "1"}'], 1, ["dispense lacks the field 'quantity'"]),
        (
            ["append", "ward.db", "dispense", '{"product": "09506000134351", "quantity": 1, "unit": "mL"}'],
            1,
            ["dispense.product must be a GTIN with a right check digit"],
        ),
        (["append", "ward.db", "reading", READING, "--key", "other.key"], 2, ["other.key is not the key that ward.db"]),
        (["append", "ward.db", "reading", READING, "--key", "no.key"], 2, ["there is no key file no.key"]),
        (["log", "ward.db", "--since", "yesterday"], 2, ["'yesterday' is not a time"]),
        (["log", "ward.db", "--subject", "xyz"], 2, ["is not 32 hexadecimal digits"]),
        (["log", "ward.db", "--author", "Nobody"], 2, ["no member is called 'Nobody'", "medledger member list"]),
        (["show", "ward.db", "Hospital/9"], 2, ["does not hold block 9 of Hospital"]),
        (["show", "ward.db", "9"], 2, ["'9' names no block"]),
        (["show", "ward.db", "00112233445566778899"], 2, ["does not hold a block whose id starts with"]),
        (["bundle", "info", "nothing.bundle"], 3, ["nothing.bundle cannot be read"]),
        (["bundle", "info", "note.txt"], 1, ["note.txt is not a bundle"]),
        (["bundle", "import", "nowhere.db", "note.txt"], 3, ["there is no ledger at nowhere.db", "--new"]),
        (["bundle", "export", "ward.db", "note.txt"], 3, ["note.txt exists already"]),
        (["backup", "ward.db", "note.txt"], 3, ["note.txt exists already"]),
        (["backup", "ward.db", "no/where.db"], 3, ["no/where.db"]),
        (["sync", "ward.db"], 2, ["no broker is known for this ledger", "--broker"]),
        (["sync", "ward.db", "--broker", "mqtt://127.0.0.1:1"], 4, ["mqtt://127.0.0.1:1 cannot be reached"]),
        (["sync", "ward.db", "--broker", "http://x"], 2, ["--broker", "is not the address of a broker"]),
        (["sync", "ward.db", "--broker", "mqtt://x", "--broker", "mqtt://u:secret@y/z"], 2, ["--broker", "'y/z'"]),
        (["sync", "ward.db", "--broker", "mqtt://x", "--protocol", "3.1"], 2, ["--protocol", "'3.1.1', '5'"]),
        (["init", "x.db", "--name", "X", *["--broker", f"mqtt://{'b' * 100}"] * 3], 2, ["--broker", "256"]),
        (["sync", "ward.db", "--broker", "mqtt://x", "--ca", "note.txt"], 2, ["ca is given", "mqtts://"]),
        (
            ["net", "status", "ward.db", "--broker", "mqtt://x", "--certificate", "note.txt"],
            2,
            ["certificate is given"],
        ),
        (["sync", "ward.db", "--stay", "--for", "4h"], 2, ["only one of"]),
        (["sync", "ward.db", "--for", "4 weeks"], 2, ["is not a duration"]),
        (["member", "approve", "ward.db", "3fa9c210"], 1, ["no pending act starts with '3fa9c210'", "--pending"]),
        (["member", "approve", "ward.db", "mlreq1:xxxx"], 1, ["this request is damaged"]),
        (["member", "approve", "ward.db", "3fa9c210", "--role", "bedside"], 2, ["go with a request"]),
        (["member", "revoke", "ward.db", "Nobody"], 2, ["no member is called 'Nobody'"]),
        (["member", "enrol", "ward.db", "Hospital"], 1, ["enrolled in epoch 0 already"]),
        (["join", "new.db", "mlrep1:xxxx", "--key", "other.key"], 1, ["other.key has not asked to join"]),
        (["governance", "change", "ward.db"], 2, ["nothing is to change"]),
        (["governance", "change", "ward.db", "--threshold", "3"], 1, ["threshold of 3"]),
        (["governance", "change", "ward.db", "--policy", "note.txt"], 2, ["note.txt is neither TOML nor JSON"]),
        (["frobnicate"], 2, ["No such command 'frobnicate'", "medledger --help"]),
        (["log", "ward.db", "--frob"], 2, ["--frob", "medledger log --help"]),
        (["audit", "report", "ward.db", "--output", "note.txt"], 3, ["note.txt exists already"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_mistake_is_told_plainly(run: Run, ward: Path, arguments: list[str], code: int, words: list[str]) -> None:
    """Wrong paths, keys, JSON, names and options, and what each is told."""
    Path("note.txt").write_text("buy milk\n")
    run("key", "new", "other.key")
    Path("other.key").rename("other.tmp")
    if "other.key" in arguments:
        Path("other.tmp").rename("other.key")
    told(run(*arguments, code=code), *words)
    assert run("verify", ward, "--json").json["blocks"] == 2


def test_a_password_without_a_user(run: Run, ward: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable is named, which may have been set long ago; a user in the address will do."""
    monkeypatch.setenv("MEDLEDGER_BROKER_PASSWORD", "secret")
    broker = "mqtt://127.0.0.1:1"
    told(run("sync", ward, "--broker", broker, code=2), "no user", "MEDLEDGER_BROKER_PASSWORD")
    told(run("sync", ward, "--broker", broker.replace("//", "//bed-7@"), code=4), "cannot be reached")


def test_a_locked_ledger(run: Run, ward: Path, program: Run) -> None:
    """A ledger that another process has open is told as such, at once."""
    with Ledger.open(ward):
        told(program("log", ward, code=3), "ward.db is in use by another process")


def test_a_key_that_is_not_enrolled(run: Run, admit: Callable[..., Path]) -> None:
    """A newcomer that has not synced yet is told to; nothing is written."""
    box = admit("box 7", "bedside")
    told(run("append", box, "reading", READING, code=1), "whether its key has signed more", "sync")
    run("recover", box, "--yes")
    told(run("append", box, "reading", READING, code=1), "not enrolled", "sync")


def test_a_role_that_may_not(run: Run, admit: Callable[..., Path], carry: Callable[[Path, Path], Done]) -> None:
    """What a role may not write is refused before it is signed."""
    box = admit("box 7", "bedside")
    carry(Path("ward.db"), box)
    dispense = '{"product": "09506000134352", "quantity": "1", "unit": "mL"}'
    told(run("append", box, "dispense", dispense, code=1), "may not write 'dispense'", "governor")


def test_a_member_that_governs_nothing(
    run: Run, admit: Callable[..., Path], carry: Callable[[Path, Path], Done]
) -> None:
    """A member who is no governor is refused acts of governance."""
    box = admit("box 7", "bedside")
    carry(Path("ward.db"), box)
    told(run("governance", "change", box, "--threshold", "1", code=1), "not a governor")


def test_a_wrong_key_leaves_nothing_behind(run: Run, ward: Path) -> None:
    """A key that is refused gets no witness: it has signed nothing in this ledger."""
    run("key", "new", "other/other.key", code=2)
    Path("other").mkdir()
    run("key", "new", "other/other.key")
    run("append", ward, "reading", READING, "--key", "other/other.key", code=2)
    assert [path.name for path in Path("other").iterdir()] == ["other.key"]


def test_several_keys_beside_a_ledger(run: Run, ward: Path) -> None:
    """Where two keys could be meant nothing is guessed; the namesake is no guess."""
    run("key", "new", "other.key")
    run("append", ward, "reading", READING)
    Path("ward.key").rename("hospital.key")
    told(run("append", ward, "reading", READING, code=2), "several keys", "hospital.key, other.key", "--key")
    Path("hospital.key").unlink()
    Path("other.key").unlink()
    told(run("append", ward, "reading", READING, code=2), "no key beside ward.db", "MEDLEDGER_KEY")


def test_a_key_that_others_may_read(run: Run, ward: Path) -> None:
    """An exposed key is refused with how to mend it."""
    Path("ward.key").chmod(0o644)
    told(run("append", ward, "reading", READING, code=2), "used by others", "chmod 600 ward.key")


def test_a_restored_backup_does_not_write(run: Run, ward: Path) -> None:
    """A copy put back in place of the ledger is recognised, and told what to do."""
    run("backup", ward, "copy.db")
    run("append", ward, "reading", READING)
    run("bundle", "export", ward, "sent.bundle")
    for name in ("ward.db", "ward.db-wal", "ward.db-shm"):
        Path(name).unlink(missing_ok=True)
    Path("copy.db").rename("ward.db")
    told(
        run("append", ward, "reading", READING, code=1), "whether its key has signed more", "sync", "medledger recover"
    )


def test_a_damaged_ledger_fails_verification(run: Run, ward: Path) -> None:
    """A flipped byte ends verify and fsck with 1, and names the block."""
    with Ledger.open(ward) as ledger:
        row = ledger.store.connection.execute("SELECT pos, body FROM blocks ORDER BY pos DESC LIMIT 1").fetchone()
        body = row[1].replace(b"MON-7", b"MON-8")
        ledger.store.connection.execute("UPDATE blocks SET body = ? WHERE pos = ?", (body, row[0]))
    for command in (["verify", ward], ["fsck", ward], ["audit", "verify", ward], ["audit", "report", ward]):
        told(run(*command, code=1), "block 1 of feed", "does not verify")


def test_nothing_reaches_a_terminal_but_visible_characters(run: Run, ward: Path) -> None:
    """Whatever a path or a name holds, an error stays one line of text."""
    done = run("log", "ward.db", "--author", "\x1b[2J", code=2)
    assert "\x1b" not in done.err


def test_a_bug_is_owned_up_to(run: Run, ward: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception that is not ours is one line and code 70; --debug raises it."""

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("by\nzero")

    monkeypatch.setattr("medledger.ledger.Ledger.open", broken)
    told(run("log", ward, code=70), "this is a bug in medledger (ZeroDivisionError: by zero)", "--debug")
    with pytest.raises(ZeroDivisionError):
        run("--debug", "log", ward)


def test_debug_shows_where_an_error_of_ours_comes_from(program: Run) -> None:
    """`medledger --debug` and MEDLEDGER_DEBUG give the traceback."""
    assert "Traceback" in program("--debug", "log", "nowhere.db", code=1).err
    assert "StoreError" in program("log", "nowhere.db", code=1, MEDLEDGER_DEBUG="1").err


def test_a_directory_that_cannot_be_written(run: Run, here: Path) -> None:
    """A place where nothing can be written is told; root may write anywhere but where the system makes no files."""
    closed = here / "closed"
    closed.mkdir(mode=0o500)
    where = "/proc" if os.access(closed, os.W_OK) else "closed"
    told(run("init", f"{where}/ward.db", "--name", "X", code=2), "cannot be written")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_output_for_which_there_is_no_room_is_no_bug(ward: Path) -> None:
    """A full disk below `medledger ... > file`: said once, by whoever runs it to be mended."""
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "medledger", "member", "list", ward], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.returncode == 3
    assert done.stderr.splitlines()[0] == "Error: the output cannot be written: No space left on device."
    assert len(done.stderr.splitlines()) == 2
