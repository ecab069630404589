"""Opening a ledger for a command: to read, without a key; to write, with the one that this replica belongs to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from medledger.errors import SealError, StoreError, UsageError

from . import keyring

if TYPE_CHECKING:
    from medledger.keys import Identity
    from medledger.ledger import Ledger


@contextmanager
def reading(path: Path) -> Iterator[Ledger]:
    """The ledger without a key: nothing can be signed."""
    from medledger.ledger import Ledger

    with Ledger.open(path) as ledger:
        yield ledger


@contextmanager
def signing(path: Path, key: Path | None) -> Iterator[Ledger]:
    """The ledger with the key it belongs to, as `keyring` finds it. Another key is refused before it signs anything."""
    from medledger.ledger import Ledger

    if not path.is_file():  # said before a passphrase is asked for
        raise StoreError(f"there is no ledger at {path}", hint="Create one with `medledger init`, or join one.")
    key_path = keyring.require_key(path, key)
    identity = keyring.load(key_path)
    _check_owner(path, key_path, identity)
    with Ledger.open(path, identity) as ledger:
        yield ledger


def _check_owner(path: Path, key_path: Path, identity: Identity) -> None:
    """Refuse a key that this replica was not made with, before a witness is written beside that key."""
    from medledger.store import Store

    store = Store.open(path)
    try:
        sealed = store.get_meta("transport_key")
    finally:
        store.close()
    if sealed is not None:
        try:
            identity.unseal(sealed)
        except SealError as error:
            raise UsageError(
                f"{key_path} is not the key that {path} was made with", hint="Give the right one with --key."
            ) from error


def is_owned(ledger: Ledger) -> bool:
    """Whether this replica was made with a key, which may have signed blocks in it."""
    return ledger.store.get_meta("transport_key") is not None


def read_text(path: Path) -> str:
    """A small text file's content. Raises `UsageError`."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from error
