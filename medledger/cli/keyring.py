"""Which key to use, and how it is opened.

One ledger usually has one obvious key. In this order: the option --key, MEDLEDGER_KEY, the file beside the ledger with
its name and the ending .key, the only *.key beside it. Where several could be meant, nothing is guessed.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from medledger.errors import KeyFileError, UsageError

if TYPE_CHECKING:
    from medledger.keys import Identity

PASSPHRASE: Final = "MEDLEDGER_PASSPHRASE"  # noqa: S105 - the variable's name


def find_key(ledger: Path, given: Path | None) -> Path | None:
    """The key file for a ledger, or None. Raises `UsageError` where several could be meant."""
    if given is not None:
        return given
    namesake = ledger.with_suffix(".key")
    if namesake.is_file():
        return namesake
    beside = sorted(ledger.parent.glob("*.key"))
    if len(beside) > 1:
        names = ", ".join(path.name for path in beside)
        raise UsageError(
            f"several keys lie beside {ledger}: {names}", hint="Say which with --key, or set MEDLEDGER_KEY."
        )
    return beside[0] if beside else None


def require_key(ledger: Path, given: Path | None) -> Path:
    """The key file for a ledger. Raises `UsageError` where there is none."""
    found = find_key(ledger, given)
    if found is None:
        raise UsageError(f"there is no key beside {ledger}", hint="Say which with --key, or set MEDLEDGER_KEY.")
    return found


def load(path: Path) -> Identity:
    """The identity in a key file, asking for its passphrase where it has one. Raises `KeyFileError`."""
    return load_protected(path)[0]


def load_protected(path: Path) -> tuple[Identity, bool]:
    """The same, and whether it has a passphrase."""
    from medledger import keyfile
    from medledger.keys import Identity

    try:
        protected = keyfile.is_protected(path)
    except FileNotFoundError:
        protected = False
    return Identity.load(path, _passphrase(path) if protected else None), protected


def load_or_create(path: Path) -> tuple[Identity, bool]:
    """The identity in a key file and whether it was made just now."""
    if path.exists():
        return load(path), False
    return create(path, passphrase=None), True


def create(path: Path, *, passphrase: str | None) -> Identity:
    """A new key in a new file."""
    from medledger.keys import Identity

    identity = Identity.generate()
    identity.save(path, passphrase)
    return identity


def _passphrase(path: Path) -> str:
    given = os.environ.get(PASSPHRASE)
    if given is not None:
        return given
    if not sys.stdin.isatty():
        raise KeyFileError(
            f"the key file {path} needs its passphrase", hint=f"Run this on a terminal, or set {PASSPHRASE}."
        )
    typed: str = click.prompt(f"Passphrase of {path}", hide_input=True, err=True)
    return typed


def new_passphrase() -> str:
    """A passphrase for a new key, typed twice or taken from MEDLEDGER_PASSPHRASE."""
    given = os.environ.get(PASSPHRASE)
    if given is not None:
        return given
    if not sys.stdin.isatty():
        raise UsageError("there is no terminal to type a passphrase on", hint=f"Set {PASSPHRASE}.")
    typed: str = click.prompt("New passphrase", hide_input=True, confirmation_prompt="Once more", err=True)
    return typed
