"""`medledger key status`, `rotate` and `share`: the key that the members of a ledger share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from medledger import Identity, Ledger
from medledger.acts import GovTransport
from medledger.cli.commands import key as commands
from medledger.keys import seal_to
from medledger.rekeying import DAY_MS
from medledger.transport_key import TransportKey

from .conftest import Done, Run


def test_the_first_key_is_shown(run: Run, ward: Path) -> None:
    """Generation 0, since the ledger was founded; nobody is warned about anything."""
    done = run("key", "status", ward)
    assert "0, as replies brought it" in done.out
    assert "held here      yes" in done.out
    assert done.err == ""
    told = run("key", "status", ward, "--json").json
    assert (told["generation"], told["held"], told["overdue"], told["lacking"]) == (0, True, False, [])


def test_a_new_key_is_handed_out(run: Run, ward: Path, admit: Callable[..., Path]) -> None:
    """To all members; and its acts can be read in the log."""
    admit("box", "bedside")
    assert run("key", "rotate", ward).out == "Transport key 1 is in use, sealed to 2 members.\n"
    told = run("key", "status", ward, "--json").json
    assert (told["generation"], told["held"], told["lacking"], told["leaked"]) == (1, True, [], [])
    assert "Hospital" in run("key", "status", ward).out
    assert "transport key 1 for 2 members" in run("log", ward).out
    assert run("key", "rotate", ward, "--yes", "--json").json["generation"] == 2


def test_a_revocation_says_what_it_means_for_the_key(run: Run, ward: Path, admit: Callable[..., Path]) -> None:
    """Who is revoked lacks the next one."""
    admit("box", "bedside")
    done = run("member", "revoke", ward, "box", "--reason", "stolen")
    assert "sealed with transport key 1, which it lacks" in done.err
    assert run("key", "status", ward, "--json").json["leaked"] == []


def test_a_member_that_lacks_the_key_is_named_and_given_it(run: Run, ward: Path, admit: Callable[..., Path]) -> None:
    """With a warning that says what to do; once done, nobody lacks it."""
    admit("box", "bedside")
    identity = Identity.load("ward.key")
    transport = TransportKey(b"k" * 32)
    with Ledger.open(ward, identity) as ledger:
        boxes = [(identity.public_key, seal_to(identity.kem_public_key, transport.key))]
        ledger.append(GovTransport(epoch=0, generation=1, key=transport.name, boxes=boxes))
    done = run("key", "status", ward)
    assert "lacked by      box (" in done.out
    assert "medledger key share" in done.err
    assert run("key", "share", ward).out.startswith("Sealed it to box (")
    assert run("key", "share", ward).out == "Nobody lacks it.\n"
    assert run("key", "share", ward, "--json").json == {"given": []}
    assert run("key", "status", ward).err == ""


def test_an_old_key_is_warned_about(run: Run, ward: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a month."""
    now = commands._now()
    monkeypatch.setattr(commands, "_now", lambda: now + 32 * DAY_MS)
    assert "at least monthly" in run("key", "status", ward).err
    assert "32 days ago" in run("key", "status", ward).out
    assert run("key", "status", ward, "--json").json["overdue"]


def test_an_auditors_copy_tells_all_but_the_key(
    run: Run, ward: Path, carry: Callable[[Path, Path], Done], here: Path
) -> None:
    """Without any key: generation, id, since when and by whom."""
    run("key", "rotate", ward)
    run("bundle", "export", ward, "all.bundle")
    (here / "audit").mkdir()
    run("bundle", "import", "audit/audit.db", "all.bundle", "--new")
    done = run("key", "status", "audit/audit.db")
    assert "held here      no" in done.out
    told = run("key", "status", "audit/audit.db", "--json").json
    assert {**told, "held": True} == run("key", "status", ward, "--json").json


def test_a_bad_copy_is_told_of(run: Run, ward: Path) -> None:
    """A governor's mistake: what the act names is not what it holds. Everything goes on under the key before."""
    identity = Identity.load("ward.key")
    with Ledger.open(ward, identity) as ledger:
        boxes = [(identity.public_key, seal_to(identity.kem_public_key, b"x" * 32))]
        ledger.append(GovTransport(epoch=0, generation=1, key=TransportKey(b"y" * 32).name, boxes=boxes))
    done = run("key", "status", ward)
    assert "held here      no" in done.out
    assert "A copy of transport key 1 holds another key than its act names." in done.err
    run("key", "rotate", ward)
    assert run("key", "status", ward, "--json").json["held"]


def test_only_a_governor_hands_keys_out(run: Run, ward: Path, admit: Callable[..., Path]) -> None:
    """A member is told to ask one."""
    box = admit("box", "bedside")
    for command in ("rotate", "share"):
        done = run("key", command, box, code=1)
        assert "only a governor" in done.err.lower()
