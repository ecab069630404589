"""A box whose key is dead, forked or lost goes on under a new one, in its own directory: `setup --replace`.

The steps, each of which may be the last before the power goes; the next run goes on from what it finds:

 (1) the old public key is noted in `succession`, durably.   Crash before it: nothing has happened.
 (2) messages in the inbox that are not logged yet are told that a new feed begins; the old replica, its witness and
     its key are moved into `retired-<fingerprint>`, the key last.
 (3) the new key is made, and its request, which names the old key (`setup`).
 (4) the note is removed once the replica knows the new key as a member: until then `setup --replace` again goes on with
     this succession, and does not put the new key aside for another one.

Nothing is deleted: blocks that nobody else holds can still be taken from the old replica by hand. The inbox stays where
it is, so that messages that were received and not logged are logged under the new key. (One that the old key logged in
the very moment that it died, before that was noted, is logged twice: once under each.)
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from medledger import files, statusfile
from medledger.cli import keyring, waiting
from medledger.errors import InUseError, StoreError, UsageError
from medledger.keys import check_public_key, fingerprint

from ..config import InboxSection
from ..inbox import Inbox

NOTE: Final = "succession"


def noted(directory: Path) -> bytes | None:
    """The old key of a succession that is under way. Raises `StoreError` for a note that is damaged."""
    path = directory / NOTE
    try:
        old = bytes.fromhex(files.read(path, 256).data.decode("ascii").strip())
        check_public_key(old)
    except FileNotFoundError:
        return None
    except Exception as error:
        raise StoreError(f"{path} is damaged: {error}", hint="Remove it, and begin anew with --replace.") from error
    return old


def begin(directory: Path, key: Path, ledger: Path, inbox: InboxSection | None) -> bytes:
    """Steps 1 and 2, or what is left of them; the old key. Raises `UsageError`, `InUseError`, `StoreError`."""
    try:
        old = noted(directory)
        if old is None:
            if not key.exists():
                raise UsageError(
                    f"there is no key at {key} to replace",
                    hint="Where the old box is gone, name its key: --succeeds PUBLIC_KEY (`medledger member list`).",
                )
            _check_closed(ledger)
            old = keyring.load(key).public_key
            files.create(directory / NOTE, f"{old.hex()}\n".encode())
        if key.exists() and keyring.load(key).public_key == old:
            if inbox is not None and inbox.path.exists():
                with Inbox.open(inbox.path) as messages:
                    messages.begin_feed()
            _retire(directory, key, ledger, old)
    except OSError as error:
        raise StoreError(f"{directory} cannot be used: {error.strerror or error}") from error
    return old


def settle(directory: Path, key: Path, ledger: Path) -> None:
    """Step 4, where it is time. Raises `StoreError`."""
    old = noted(directory)
    if old is None or not key.exists() or not ledger.is_file():
        return
    new = keyring.load(key).public_key
    if new != old and _is_member(ledger, new):
        files.remove(directory / NOTE)


def _is_member(ledger: Path, key: bytes) -> bool:
    from medledger.ledger import Ledger

    try:
        with Ledger.open(ledger) as opened:
            member = opened.membership.members.get(key)
            return member is not None and member.act_id is not None
    except (InUseError, StoreError):
        return False  # an agent runs, or it is damaged: nothing shows that it is over


def _retire(directory: Path, key: Path, ledger: Path, old: bytes) -> None:
    retired = directory / f"retired-{fingerprint(old)}"
    retired.mkdir(mode=0o700, exist_ok=True)
    witnesses = sorted(key.parent.glob(f"{key.name}.*.witness"))
    replica = [ledger.with_name(ledger.name + end) for end in ("", "-wal", "-shm")]
    for path in (statusfile.place(ledger), waiting.place(key), *replica, *witnesses, key):
        if path.exists():
            os.replace(path, retired / path.name)
    files.sync_directory(retired)
    files.sync_directory(directory)


def _check_closed(ledger: Path) -> None:
    """An agent that runs would go on writing to files that were moved away."""
    from medledger.ledger import Ledger

    if not ledger.is_file():
        return
    try:
        Ledger.open(ledger).close()
    except InUseError as error:
        raise InUseError(f"{ledger} is in use: the agent runs", hint="Stop it first, and run this again.") from error
    except StoreError:
        return  # damaged: all the more reason
