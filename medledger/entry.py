"""An entry: one typed record inside a block.

    entry = [salt, type, time, subject, content]

- `salt`, 16 random bytes: so that the hash of an erased entry cannot be guessed back from what it might have said.
- `type`, text such as `reading`: names the schema of `content`; an unknown type is kept and relayed, and void here.
- `time`, UTC milliseconds: when what is recorded happened, by its author's clock. A claim, never a reason to refuse.
- `subject`, 16 bytes or null: a keyed pseudonym of the patient the entry is about, local to an organisation and period.
- `content`, what the type's schema says.

The bytes that arrived are kept on the entry: hashes and proofs are always taken over them, never over a re-encoding.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from . import cbor
from .errors import LimitError, MalformedError, UsageError
from .limits import MAX_DEPTH, MAX_ENTRY_BYTES, MAX_INT, MAX_TYPE_CHARS, MIN_INT

SALT_BYTES = 16
SUBJECT_BYTES = 16
CONTENT_DEPTH = MAX_DEPTH - 1
"""Containers that a content may nest: its entry is one."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One decoded entry. `raw` is its encoding, whose leaf hash the block's header commits to."""

    salt: bytes = field(repr=False)
    type: str
    time: int
    subject: bytes | None
    content: Any
    raw: bytes = field(repr=False)


def encode_entry(type: str, content: Any, *, time: int, subject: bytes | None, salt: bytes) -> bytes:
    """The one encoding of an entry.

    Raises `UsageError` for a part of the wrong shape, `LimitError` (fault: caller) beyond `MAX_ENTRY_BYTES`.
    """
    return assemble_entry(type, cbor.encode(content, room=CONTENT_DEPTH), time=time, subject=subject, salt=salt)


def assemble_entry(type: str, content: bytes, *, time: int, subject: bytes | None, salt: bytes) -> bytes:
    """`encode_entry` of a content that is encoded already."""
    problem = envelope_problem(salt, type, time, subject)
    if problem is not None:
        raise UsageError(problem)
    try:
        raw = encode_parts(salt, type, time, subject, content)
    except UnicodeEncodeError:
        raise UsageError("an entry's type holds a lone surrogate") from None
    if len(raw) > MAX_ENTRY_BYTES:
        raise LimitError(
            f"an entry of {len(raw)} bytes is over the limit of {MAX_ENTRY_BYTES}",
            fault=UsageError.fault,
            hint="Keep the document in your own database and log its SHA-256.",
        )
    return raw


def decode_entry(raw: bytes) -> Entry:
    """Decode an entry strictly. Raises `MalformedError`; the content's schema is not looked at here."""
    parts = cbor.decode(raw, max_size=MAX_ENTRY_BYTES)
    if type(parts) is not list or len(parts) != 5:
        raise MalformedError("an entry is not an array of five")
    salt, type_name, time, subject, content = parts
    problem = envelope_problem(salt, type_name, time, subject)
    if problem is not None:
        raise MalformedError(problem)
    return Entry(salt, type_name, time, subject, content, raw)


def encode_parts(salt: bytes, type_name: str, time: int, subject: bytes | None, content: bytes) -> bytes:
    """The encoding of an entry whose content is encoded already. For parts that `decode_entry` would accept."""
    return b"".join(
        (
            b"\x85\x50",
            salt,
            cbor.encode_text(type_name),
            cbor.encode_int(time),
            b"\xf6" if subject is None else b"\x50" + subject,
            content,
        )
    )


def envelope_problem(salt: Any, type_name: Any, time: Any, subject: Any) -> str | None:
    """What is wrong with an entry's parts around its content, or None."""
    if type(salt) is not bytes or len(salt) != SALT_BYTES:
        return f"an entry's salt is not {SALT_BYTES} bytes"
    if type(type_name) is not str or not 0 < len(type_name) <= MAX_TYPE_CHARS:
        return f"an entry's type is not a text of 1 to {MAX_TYPE_CHARS} characters"
    if type(time) is not int or not MIN_INT <= time <= MAX_INT:
        return "an entry's time is not a 64-bit integer of UTC milliseconds"
    if subject is not None and (type(subject) is not bytes or len(subject) != SUBJECT_BYTES):
        return f"an entry's subject is neither null nor {SUBJECT_BYTES} bytes"
    return None
