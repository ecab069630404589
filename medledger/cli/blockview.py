"""A block in full, for people and for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from .describe import Names, summary
from .entrylines import UNREADABLE, logged_entries, void_text
from .output import facts, json_text, printable, say, size_text, style, time_json, time_text
from .recordjson import to_json

if TYPE_CHECKING:
    from medledger.block import Block
    from medledger.indexing import LoggedEntry
    from medledger.replica import Replica

MAX_VALUE: Final = 140  # characters of a field: a request's proof would fill a screen
_CLASSES: Final = {0: "control", 1: "data"}
_SYNCS: Final = {0: "not synchronised", 1: "NTP", 2: "set by hand", 3: "GPS"}


def block_json(replica: Replica, block: Block) -> dict[str, Any]:
    """A block for programs."""
    header = block.header
    return {
        "block": block.id.hex(),
        "feed": header.author.hex(),
        "label": Names(replica.membership).of(header.author),
        "seq": header.seq,
        "previous": None if header.prev is None else header.prev.hex(),
        "epoch": header.epoch,
        "class": _CLASSES[int(header.block_class)],
        "time": time_json(header.time),
        "clock": {
            "monotonic_ms": header.clock.monotonic_ms,
            "boot": header.clock.boot_id.hex(),
            "sync": _SYNCS.get(header.clock.sync, str(header.clock.sync)),
        },
        "parents": [{"feed": each.feed.hex(), "seq": each.seq, "block": each.id.hex()} for each in header.parents],
        "entries_root": header.entries_root.hex(),
        "body_size": header.body_size,
        "bytes": len(block.raw),
        "entries": _entries(replica, block),
    }


def _entries(replica: Replica, block: Block) -> list[dict[str, Any]]:
    """Each entry of the block, with its verdict."""
    return [_entry(logged) for logged in logged_entries(replica, block)]


def _entry(logged: LoggedEntry) -> dict[str, Any]:
    shown: dict[str, Any] = {"index": logged.index, "void": logged.void}
    if logged.void in UNREADABLE:
        shown["leaf" if logged.void == "hidden" else "bytes"] = logged.entry.raw.hex()
        return shown
    return {
        **shown,
        "type": logged.type,
        "time": time_json(logged.time),
        "subject": None if logged.subject is None else logged.subject.hex(),
        "content": to_json(logged.type, logged.content),
        "salt": logged.entry.salt.hex(),
    }


def header_class(block: Block) -> int:
    """The block's class as a number."""
    return int(block.header.block_class)


def print_block(replica: Replica, block: Block) -> None:
    """A block for people."""
    header = block.header
    names = Names(replica.membership)
    say(style(f"block {names.of(header.author)}/{header.seq}", bold=True))
    facts(
        [
            ("id", block.id.hex()),
            ("author", f"{names.of(header.author)}  {header.author.hex()}"),
            ("previous", "none, the first" if header.prev is None else header.prev.hex()),
            ("time", f"{time_text(header.time)}  (clock: {_SYNCS.get(header.clock.sync, 'unknown')})"),
            ("epoch", str(header.epoch)),
            ("class", _CLASSES[header_class(block)]),
            *((("seen", f"{names.of(each.feed)}/{each.seq}")) for each in header.parents),
            ("root", header.entries_root.hex()),
            ("size", f"{size_text(len(block.raw))}, {size_text(header.body_size)} of entries"),
        ],
        indent="  ",
    )
    for logged in logged_entries(replica, block):
        _print_entry(_entry(logged), logged.content, names)


def _print_entry(entry: dict[str, Any], raw: Any, names: Names) -> None:
    say()
    void = "" if entry["void"] is None else style(void_text(entry["void"]), fg="yellow")
    if "type" not in entry:
        what = f"leaf {entry['leaf']}" if "leaf" in entry else f"{len(entry['bytes']) // 2} bytes that are no entry"
        say(f"  {entry['index']}  {what}{void}")
        return
    subject = f"  about {entry['subject']}" if entry["subject"] else ""
    say(f"  {entry['index']}  {style(printable(entry['type']), bold=True)}  {entry['time']}{subject}{void}")
    content = entry["content"]
    if isinstance(content, dict) and content:
        facts([(printable(name), line) for name, value in content.items() for line in _lines(value)], indent="     ")
    else:
        say(f"     {summary(entry['type'], raw, names)}")


def _lines(value: Any) -> list[str]:
    """A field's value in one line, a sample a line."""
    if isinstance(value, list) and value and all(isinstance(each, dict) and "code" in each for each in value):
        return [_sample(each) for each in value]
    text = value if isinstance(value, str) else json_text(value)
    return [printable(text if len(text) <= MAX_VALUE else f"{text[:MAX_VALUE]}… (whole in --json)")]


def _sample(sample: dict[str, Any]) -> str:
    main = [
        str(sample.get("code") or sample.get("sent") or "-"),
        str(sample.get("value") or sample.get("text") or f"({sample.get('absent')})"),
        str(sample.get("unit") or ""),
    ]
    rest = [f"{name} {value}" for name, value in sample.items() if name not in ("code", "value", "text", "unit")]
    return printable("  ".join([" ".join(main).strip(), *([f"[{', '.join(rest)}]"] if rest else [])]))
