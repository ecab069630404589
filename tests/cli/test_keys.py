"""Keys: made, shown, found beside a ledger, and opened with a passphrase that never is an argument."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from medledger import Identity, keyfile

from .conftest import READING, Run

PASSPHRASE = "correct horse"


@pytest.fixture(autouse=True)
def cheap_argon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Passphrases cost little here; a key file says itself what it costs."""
    monkeypatch.setattr(keyfile, "PASSES", 1)
    monkeypatch.setattr(keyfile, "MEMORY_BYTES", 8192)


def test_a_key_is_made_and_shown(run: Run) -> None:
    """`key new` and `key show` tell the same public side, and nothing else."""
    made = run("key", "new", "box.key", "--json").json
    assert run("key", "show", "box.key", "--json").json == made
    identity = Identity.load("box.key")
    assert made == {
        "key": "box.key",
        "public_key": identity.public_key.hex(),
        "fingerprint": identity.fingerprint,
        "passphrase": False,
    }
    assert identity.fingerprint in run("key", "show", "box.key").out


def test_a_passphrase_comes_from_the_environment(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """MEDLEDGER_PASSPHRASE protects a new key, and opens one that is protected; it disturbs no other."""
    run("key", "new", "plain.key")
    monkeypatch.setenv("MEDLEDGER_PASSPHRASE", PASSPHRASE)
    assert run("key", "new", "safe.key", "--passphrase", "--json").json["passphrase"]
    assert run("key", "show", "safe.key", "--json").json["passphrase"]
    assert not run("key", "show", "plain.key", "--json").json["passphrase"]
    run("init", "safe.db", "--name", "Safe")
    run("append", "safe.db", "reading", READING, code=1)  # the founder has no role that writes readings
    monkeypatch.setenv("MEDLEDGER_PASSPHRASE", "wrong")
    assert "the passphrase is wrong" in run("append", "safe.db", "reading", READING, code=2).err


def test_without_a_terminal_a_passphrase_is_not_waited_for(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that lacks the variable is told so at once."""
    assert "MEDLEDGER_PASSPHRASE" in run("key", "new", "safe.key", "--passphrase", code=2).err
    monkeypatch.setenv("MEDLEDGER_PASSPHRASE", PASSPHRASE)
    run("key", "new", "safe.key", "--passphrase")
    monkeypatch.delenv("MEDLEDGER_PASSPHRASE")
    done = run("key", "show", "safe.key", code=2)
    assert "needs its passphrase" in done.err
    assert "MEDLEDGER_PASSPHRASE" in done.err


def test_on_a_terminal_a_passphrase_is_asked_for_and_not_shown(here: Path) -> None:
    """Typed twice for a new key, once for an old one; what is typed appears nowhere."""
    assert PASSPHRASE not in type_at("key", "new", "safe.key", "--passphrase", answers=[PASSPHRASE, PASSPHRASE])
    shown = type_at("key", "show", "safe.key", answers=[PASSPHRASE])
    assert "passphrase   yes" in shown
    assert PASSPHRASE not in shown


def test_acts_of_governance_are_asked_about_on_a_terminal(run: Run, ward: Path) -> None:
    """A request is shown and approved only with a yes; the screen shows whom it is about."""
    run("member", "request", "--key", "box.key", "--label", "box 7", "--role", "bedside")
    refused = type_at("member", "approve", "ward.db", "box.key.request", "--key", "ward.key", answers=["n"])
    assert "Let it in?" in refused
    assert "mlrep1:" not in refused
    assert len(run("member", "list", ward, "--json").lines) == 1
    approved = type_at("member", "approve", "ward.db", "box.key.request", "--key", "ward.key", answers=["y"])
    assert "box 7" in approved
    assert "mlrep1:" in approved
    assert len(run("member", "list", ward, "--json").lines) == 2


def type_at(*arguments: str, answers: list[str]) -> str:
    """Run the program on a terminal and type these lines; what the screen shows."""
    terminal, line = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "medledger", *arguments], stdin=line, stdout=line, stderr=line, start_new_session=True
    )
    os.close(line)
    shown = b""
    waiting = list(answers)
    while True:
        try:
            part = os.read(terminal, 4096)
        except OSError:  # how Linux says that nobody holds the terminal any more
            break
        if not part:
            break
        shown += part
        if waiting and shown.endswith(b": "):  # a prompt of click's
            os.write(terminal, f"{waiting.pop(0)}\n".encode())
    process.wait(30)
    os.close(terminal)
    return shown.decode()


def test_the_environment_names_the_key(run: Run, ward: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MEDLEDGER_KEY comes before what lies beside the ledger; --key before both."""
    Path("keys").mkdir()
    for path in Path().glob("ward.key*"):
        path.rename(Path("keys") / path.name)
    monkeypatch.setenv("MEDLEDGER_KEY", "keys/ward.key")
    run("append", ward, "reading", READING)
    monkeypatch.setenv("MEDLEDGER_KEY", "nowhere.key")
    run("append", ward, "reading", READING, code=2)
    run("append", ward, "reading", READING, "--key", "keys/ward.key")


def test_reading_needs_no_key(run: Run, ward: Path) -> None:
    """Without any key a ledger can be listed, shown, verified, checked, copied and reported on."""
    for path in Path().glob("ward.key*"):
        path.unlink()
    for command in (["log"], ["member", "list"], ["governance", "show"], ["verify"], ["fsck"], ["audit", "report"]):
        run(*command, ward)
    run("show", ward, "Hospital/1")
    run("backup", ward, "copy.db")


def test_blocks_leave_only_with_the_key_they_were_signed_with(run: Run, ward: Path) -> None:
    """A bundle of one's own blocks needs the key: its witness has to know what is out."""
    for path in Path().glob("ward.key*"):
        path.rename(f"away-{path.name}")
    Path("away-ward.key").rename("away.secret")
    assert "no key beside ward.db" in run("bundle", "export", ward, "x.bundle", code=2).err
    assert not Path("x.bundle").exists()
