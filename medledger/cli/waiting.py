"""The request that a key has made and not joined with yet: kept beside the key file, for its owner alone.

It holds the secret under which the reply will be authenticated, so it is kept until a ledger has been joined, and then
removed. A key has one at most: a second request would make the reply to the first one unreadable without a word.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from medledger.errors import JoinError, MedledgerError, StoreError
from medledger.limits import MAX_JOIN_BYTES

if TYPE_CHECKING:
    from medledger.joining import Request


def place(key: Path) -> Path:
    """Where the request of a key file lies."""
    return key.with_name(f"{key.name}.request")


def keep(key: Path, text: str, *, replace: bool) -> None:
    """Keep a request, durably, before it is shown to anybody. Raises `StoreError`; `FileExistsError` passes through."""
    from medledger import files

    path = place(key)
    try:
        if replace:
            with files.locked_directory(path.parent) as directory:
                files.replace(path, text.encode(), directory)
        else:
            files.create(path, text.encode())
    except FileExistsError:
        raise
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror or error}") from error


def find(key: Path) -> str | None:
    """The text of the request that waits, or None. Raises `StoreError`."""
    from medledger import files

    try:
        return files.read(place(key), 2 * MAX_JOIN_BYTES).data.decode("ascii").strip()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError, MedledgerError) as error:
        raise StoreError(f"{place(key)} cannot be read: {error}") from error


def secret_of(key: Path) -> tuple[Request, bytes]:
    """The waiting request and its secret. Raises `JoinError` where none waits."""
    from medledger.joining import read_request_text

    text = find(key)
    if text is None:
        raise JoinError(
            f"the key {key} has not asked to join any ledger, or has joined already",
            hint="Make a request with `medledger member request`, and have a governor approve that one.",
        )
    return read_request_text(text)


def forget(key: Path) -> None:
    """The request was answered."""
    place(key).unlink(missing_ok=True)
