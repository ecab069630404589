"""Entries as lines, for people and for programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from .describe import Names, summary
from .output import emit, printable, say, short, style, time_json, time_text
from .recordjson import to_json

if TYPE_CHECKING:
    from medledger.attribution import Attributed
    from medledger.block import Block
    from medledger.indexing import LoggedEntry
    from medledger.membership import Membership
    from medledger.replica import Replica

UNREADABLE: Final = frozenset({"hidden", "malformed"})  # entries of which only the hash, or only bytes, can be shown
HEADINGS: Final = ("TIME", "AUTHOR", "BLOCK", "TYPE", "WHAT")
_MAX_AUTHOR: Final = 24


def logged_entries(replica: Replica, block: Block) -> list[LoggedEntry]:
    """The entries of a block with their verdicts, as `Replica.entries` would give them, void and hidden ones too."""
    from medledger.block import Hidden
    from medledger.entry import Entry, decode_entry
    from medledger.governance import Point
    from medledger.indexing import LoggedEntry
    from medledger.interpretation import interpret

    membership = replica.membership
    fallen = membership.fallen(block.author, Point(block.seq, block.id), replica.is_ancestor)

    def refusal(type_name: str) -> str | None:
        return fallen or membership.refusal(block.author, block.header.epoch, type_name)

    found = []
    for index, verdict in enumerate(interpret(block.header.block_class, block.body, refusal)):
        item = block.body[index]
        raw = item.leaf if isinstance(item, Hidden) else item
        readable = verdict.void not in UNREADABLE
        entry = decode_entry(raw) if readable else Entry(b"", "", 0, None, None, raw)
        found.append(LoggedEntry(block.author, block.seq, index, verdict.void, entry, block.id))
    return found


class EntryPrinter:
    """Prints entries in pages; columns only grow from page to page. `membership` may be renewed."""

    def __init__(self, membership: Membership, *, as_json: bool, headings: bool = True) -> None:
        self.membership = membership
        self._as_json = as_json
        self._headings = headings and not as_json
        self._widths = [24, 8, 10, 8]

    def print(self, entries: Sequence[LoggedEntry]) -> None:
        """These entries, in order."""
        names = Names(self.membership)
        if self._as_json:
            for entry in entries:
                emit(entry_json(entry, names))
            return
        rows = [_row(entry, names) for entry in entries]
        for at, width in enumerate(self._widths):
            self._widths[at] = max([width, *(len(row[at]) for row in rows)])
        if self._headings and rows:
            say(style(self._line(HEADINGS), bold=True))
            self._headings = False
        for entry, row in zip(entries, rows, strict=True):
            line = self._line(row)
            say(line if entry.void is None else f"{line}{style(void_text(entry.void), fg='yellow')}")

    def _line(self, row: Sequence[str]) -> str:
        *columns, what = row
        return "  ".join([*(cell.ljust(width) for cell, width in zip(columns, self._widths, strict=True)), what])


def _row(entry: LoggedEntry, names: Names) -> tuple[str, ...]:
    author = names.of(entry.author)
    return (
        time_text(entry.time) if entry.type else "-",
        author if len(author) <= _MAX_AUTHOR else author[: _MAX_AUTHOR - 1] + "…",
        f"{short(entry.author)}/{entry.seq}",
        printable(entry.type) or "-",
        summary(entry.type, entry.content, names),
    )


def void_text(reason: str) -> str:
    """Why an entry does not count."""
    return f" [void: {printable(reason)}]"


def entry_json(entry: LoggedEntry, names: Names) -> dict[str, Any]:
    """An entry for programs."""
    return {
        "time": time_json(entry.time) if entry.type else None,
        "type": entry.type or None,
        "author": entry.author.hex(),
        "label": names.of(entry.author),
        "seq": entry.seq,
        "index": entry.index,
        "block": entry.block_id.hex(),
        "subject": None if entry.subject is None else entry.subject.hex(),
        "content": to_json(entry.type, entry.content),
        "void": entry.void,
    }


def attributed_line(found: Attributed, names: Names) -> str:
    """A reading and whose it is, for people: time, subject, place, what it says."""
    logged = found.entry.subject
    whose = f"nobody ({found.reason or 'never assigned'})" if found.subject is None else found.subject.hex()
    was = "" if logged in (None, found.subject) else f", logged under {logged.hex()}"
    time, _, place, _, what = _row(found.entry, names)
    return "  ".join((time.ljust(24), whose.ljust(32), place.ljust(10), what + was))


def attributed_json(found: Attributed, names: Names) -> dict[str, Any]:
    """The same for programs: the entry, with whose it is as `subject`."""
    said = entry_json(found.entry, names)
    subject = None if found.subject is None else found.subject.hex()
    return {**said, "subject": subject, "reason": found.reason, "logged_subject": said["subject"]}
