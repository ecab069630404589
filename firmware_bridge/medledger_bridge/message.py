"""An HL7 v2 message: bytes in, segments and fields out, and the acknowledgement that answers it.

Rules:

- `parse` makes a Message of any bytes that begin with a usable MSH segment, and raises Hl7Error for all others. No
  other exception leaves it, whatever the bytes are.
- Segments may end in CR, LF, CRLF or a mixture. A line that begins with no segment name continues the line before:
  a line feed inside a field is a common fault of senders. Delimiters are those of MSH-1 and MSH-2.
- A segment is its fields as sent; a field is cut into repetitions, components and subcomponents when it is asked for.
  Most never are. tests/bridge/test_hl7_parsing.py holds this to python-hl7, which builds the whole tree (ADR 0019).
- The character set is MSH-18's. Where it is missing, unknown, or not what the bytes are, UTF-8 is tried and then every
  byte is taken for a character of its own; `certain` is then False, and text that is not ASCII is nobody's result.
- A time without a zone takes the zone of MSH-7, which the standard makes the default of the whole message; without one
  there either, it stays unknown.
- The bytes as received are kept (`raw`): what is mapped from them can be mapped again. What is mapped names them by a
  hash (`raw_hash`), their SHA-256 where the caller gives no other: who logs it gives a salted one, for the bytes hold
  people, and a bare hash of them can be guessed back.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache
from hashlib import sha256
from typing import Final

from medledger.errors import UsageError

from .errors import Hl7Error
from .mllp import MAX_MESSAGE_BYTES

MAX_DELIMITERS: Final = 50_000
"""Delimiters of one message, which bounds the work on it; a monitor's message has some hundreds."""

CHARSETS: Final = {  # HL7 table 0211 to Python codecs; MLLP cannot carry UTF-16 and UTF-32
    "ASCII": "ascii",
    "8859/1": "iso8859-1",
    "8859/2": "iso8859-2",
    "8859/3": "iso8859-3",
    "8859/4": "iso8859-4",
    "8859/5": "iso8859-5",
    "8859/6": "iso8859-6",
    "8859/7": "iso8859-7",
    "8859/8": "iso8859-8",
    "8859/9": "iso8859-9",
    "8859/15": "iso8859-15",
    "GB 18030-2000": "gb18030",
    "KS X 1001": "euc_kr",
    "BIG-5": "big5",
    "UNICODE UTF-8": "utf-8",
    "UNICODE": "utf-8",  # by the standard UCS-2, which MLLP cannot carry; senders mean UTF-8
    "UTF-8": "utf-8",
    "UTF8": "utf-8",
}

USUAL: Final = ("|", "^~\\&")
"""MSH-1 and MSH-2 as the standard recommends them, and nearly all write them."""

_SEGMENT: Final = re.compile(r"[A-Z][A-Z0-9]{2}")
_TIME: Final = re.compile(
    r"([0-9]{4})([0-9]{2})([0-9]{2})([0-9]{2})([0-9]{2})(?:([0-9]{2})(?:\.([0-9]{1,6}))?)?([+-][0-9]{4})?"
)
_ZONE: Final = re.compile(r".*([+-][0-9]{4})")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_HEX: Final = re.compile(r"(?:[0-9A-Fa-f]{2}){1,64}")


Segment = tuple[str, ...]
"""A segment's fields as sent, not unescaped; the first is its name, and of MSH the second is the delimiter."""


@dataclass(frozen=True, slots=True)
class Message:
    """One parsed message. Fields are counted as HL7 counts them: `header(10)` is MSH-10."""

    raw: bytes
    raw_hash: bytes
    fields: tuple[str, ...]  # MSH as sent, not unescaped; fields[n] is MSH-n, fields[0] the name
    segments: tuple[Segment, ...]
    marks: tuple[str, str, str]  # what parts repetitions, components and subcomponents
    escape: str
    charset: str
    certain: bool
    kind: tuple[str, str]  # MSH-9.1 and MSH-9.2

    def header(self, number: int) -> str:
        """MSH-`number` as sent, or an empty string."""
        return self.fields[number] if number < len(self.fields) else ""

    def envelope(self) -> Message:
        """The message without its content: enough to acknowledge it, and little to keep until then."""
        return Message(
            *(b"", self.raw_hash, self.fields, (), self.marks, self.escape, self.charset, self.certain, self.kind)
        )

    @property
    def message_id(self) -> str:
        """MSH-10, the control id that the acknowledgement repeats; empty where the sender gave none."""
        return self.header(10)

    @property
    def sender(self) -> str:
        """MSH-3 and MSH-4: who numbers these messages.

        With a bar between them, whatever delimiter the message chose: no choice makes it the name of something else.
        """
        return f"{self.header(3)}|{self.header(4)}"

    @property
    def duplicate_key(self) -> tuple[str, str]:
        """What makes two messages the same delivery: sender and control id; without an id, sender and bytes."""
        return self.sender, self.message_id or sha256(self.raw).hexdigest()

    @property
    def type(self) -> str:
        """MSH-9.1, such as ORU."""
        return self.kind[0]

    @property
    def trigger(self) -> str:
        """MSH-9.2, such as R01."""
        return self.kind[1]

    @property
    def zone(self) -> str | None:
        """The offset of MSH-7, the message's default zone."""
        match = _ZONE.fullmatch(self.header(7))
        return match.group(1) if match else None

    def part(self, segment: Segment, field: int, component: int = 1, *, repeat: int = 1, sub: int = 1) -> str:
        """One piece of a segment, unescaped; an empty string where there is none or it is the explicit null `""`."""
        if field >= len(segment):
            return ""
        text = segment[field]
        again, caret, ampersand = self.marks
        if repeat != 1 or again in text:
            text = _piece(text, again, repeat)
        if component != 1 or caret in text:
            text = _piece(text, caret, component)
        if sub != 1 or ampersand in text:
            text = _piece(text, ampersand, sub)
        return self._clean(text)

    def components(self, segment: Segment, field: int, count: int) -> list[str]:
        """The first so many components of a field's first repetition, as `part` gives each."""
        if field >= len(segment):
            return [""] * count
        again, caret, ampersand = self.marks
        text = segment[field]
        pieces = (text.partition(again)[0] if again in text else text).split(caret)[:count]
        found = [self._clean(each.partition(ampersand)[0] if ampersand in each else each) for each in pieces]
        return found + [""] * (count - len(found))

    def _clean(self, text: str) -> str:
        if self.escape in text:
            text = self.unescape(text)
        text = text.strip()
        return "" if text == '""' else text

    def repeats(self, segment: Segment, field: int) -> int:
        """How many repetitions a field has."""
        return segment[field].count(self.marks[0]) + 1 if field < len(segment) else 0

    def leaves(self, segment: Segment, field: int, component: int | None = None) -> list[str]:
        """Every piece of text in a field, or in one component of each of its repetitions."""
        if field >= len(segment) or not segment[field]:
            return []
        again, caret, ampersand = self.marks
        found = []
        for repeat in segment[field].split(again):
            pieces = repeat.split(caret)
            if component is not None:
                pieces = pieces[component - 1 : component]
            found += [self.unescape(text).strip() for piece in pieces for text in piece.split(ampersand)]
        return [text for text in found if text and text != '""']

    def unescape(self, text: str) -> str:
        r"""Text with \F\ \S\ \T\ \R\ \E\ and \Xhh\ resolved; formatting becomes a space, unknown sequences stay."""
        if self.escape not in text:
            return text
        marks = self.fields[2]
        known = {
            "F": self.fields[1],
            "S": marks[0],
            "R": marks[1:2],
            "E": self.escape,
            "T": marks[3:4],
            "P": marks[4:5],
        }
        pieces = text.split(self.escape)
        out = [pieces[0]]
        index = 1
        while index < len(pieces):
            if index == len(pieces) - 1:  # an escape that is never closed: what it says is what it is
                out.append(self.escape + pieces[index])
                break
            out.append(_resolve(pieces[index], known, self.escape, self.charset))
            out.append(pieces[index + 1])
            index += 2
        return "".join(out)

    def time(self, text: str) -> int | None:
        """UTC milliseconds of an HL7 time of at least minutes; None when it is not one, or its zone is unknown."""
        match = _TIME.fullmatch(text)
        if match is None:
            return None
        year, month, day, hour, minute, seconds, fraction, zone = match.groups()
        zone = zone or self.zone
        if zone is None:
            return None
        try:
            date = int(year), int(month), int(day), int(hour), int(minute), int(seconds or 0)
            since = datetime(*date, tzinfo=_offset(zone)) - _EPOCH
        except (ValueError, OverflowError):  # the 30th of February, hour 25, year 0000
            return None
        return (since.days * 86_400 + since.seconds) * 1000 + int((fraction or "0").ljust(3, "0")[:3])


def parse(raw: bytes, *, raw_hash: bytes | None = None) -> Message:
    """The message that `raw` (without its MLLP frame) holds. Raises Hl7Error.

    `raw_hash`, 32 bytes, is what its readings name it by; its SHA-256 where none is given.
    """
    if len(raw) > MAX_MESSAGE_BYTES:
        raise Hl7Error(f"the message is longer than {MAX_MESSAGE_BYTES} bytes")
    head = re.split(rb"[\r\n]", raw.lstrip(b"\r\n \t\xef\xbb\xbf")[:8192], maxsplit=1)[0].decode("latin-1")
    field = _check_header(head)
    text, charset, certain = _decode(raw, _cut(head, field))
    lines = _lines(text, field)
    fields = _cut(lines[0], field)
    if len(text) >= MAX_DELIMITERS and _delimiters(text, lines, fields) > MAX_DELIMITERS:
        raise Hl7Error(f"the message has more than {MAX_DELIMITERS} delimiters")
    segments = (fields, *(tuple(line.split(field)) for line in lines[1:]))
    sent = fields[2]
    marks = sent[1], sent[0], sent[3:4] or "&"  # who names no subcomponents means the usual ones
    named = sha256(raw).digest() if raw_hash is None else raw_hash
    return Message(raw, named, fields, segments, marks, sent[2:3] or "\\", charset, certain, _kind(fields))


def _delimiters(text: str, lines: list[str], fields: Segment) -> int:
    """What a message is cut at: never more than it has characters, but for the end of the last line."""
    return len(lines) + sum(text.count(mark) for mark in {fields[1], *fields[2]})


def acknowledge(message: Message, code: str, text: str = "", *, now: datetime | None = None) -> bytes:
    """The ACK of a message: MSA-1 is `code` (AA accepted, AE error, AR rejected), MSA-2 the message's MSH-10.

    AA promises that what the message said is durably on the ledger: call this after the commit. `text` goes to MSA-3.
    """
    if code not in ("AA", "AE", "AR"):
        raise UsageError(f"{code!r} is not an acknowledgement code: AA, AE or AR")
    field, marks = message.fields[1], message.fields[2]
    moment = (now or datetime.now(UTC)).astimezone(UTC)
    kind = marks[0].join(part for part in ("ACK", message.trigger, "ACK" if message.trigger else "") if part)
    msh = [
        *("MSH", marks, message.header(5), message.header(6), message.header(3), message.header(4)),
        *(_stamp(moment), "", kind, f"A{message.message_id}"[:199]),
        *(message.header(11) or "P", message.header(12) or "2.6"),
    ]
    if message.header(18) and message.certain:
        msh += [""] * 5 + [message.header(18)]
    msa = ["MSA", code, message.message_id]
    if text:
        msa.append("".join(_plain(character, message) for character in text[:80]))
    return f"{field.join(msh)}\r{field.join(msa)}\r".encode(message.charset, errors="replace")


def _stamp(moment: datetime) -> str:
    """A UTC time as HL7 writes it; `strftime` takes as long as all of the rest."""
    date = f"{moment.year:04}{moment.month:02}{moment.day:02}"
    return f"{date}{moment.hour:02}{moment.minute:02}{moment.second:02}+0000"


def _plain(character: str, message: Message) -> str:
    special = message.fields[1] + message.fields[2]
    return character if character.isascii() and character.isprintable() and character not in special else " "


def _check_header(head: str) -> str:
    """The field delimiter, when the first segment is an MSH that can be read."""
    if head[:3] in ("FHS", "BHS"):
        raise Hl7Error("this is a batch of messages, which no device sends: give its messages one by one")
    if head[:3] != "MSH" or len(head) < 8:
        raise Hl7Error("the bytes do not begin with an MSH segment")
    field = head[3]
    marks = head[4:].split(field, 1)[0]
    if (field, marks) != USUAL:
        _check_delimiters(field, marks)
    return field


def _check_delimiters(field: str, marks: str) -> None:
    usable = all(mark.isprintable() and not mark.isalnum() and not mark.isspace() for mark in field + marks)
    if not usable or not 2 <= len(marks) <= 6:
        raise Hl7Error("MSH-1 and MSH-2 do not name usable delimiters")
    if marks[0] == marks[1] or marks[2:3] in (marks[0], marks[1]):
        raise Hl7Error("MSH-1 and MSH-2 name one delimiter twice")


def _cut(line: str, field: str) -> tuple[str, ...]:
    """MSH's fields by number: the delimiter itself is MSH-1."""
    pieces = line.split(field)
    return (pieces[0], field, *pieces[1:])


def _decode(raw: bytes, header: tuple[str, ...]) -> tuple[str, str, bool]:
    """Text, codec and whether the codec is sure."""
    label = header[18] if len(header) > 18 else ""
    label = label.split(header[2][1])[0].strip().upper()
    named = CHARSETS.get(label)
    for codec, certain in ((named, True), ("utf-8", not label or named == "utf-8")):
        if codec is not None:
            try:
                return codecs.decode(raw, codec), codec, certain
            except UnicodeDecodeError:
                continue
    return raw.decode("latin-1"), "latin-1", False


def _lines(text: str, field: str) -> list[str]:
    """The segments, each on its line, stray lines joined to the one they continue."""
    lines: list[str] = []
    for line in re.split(r"[\r\n]+", text.lstrip("\r\n \t\ufeff")):
        if not line.strip():
            continue
        if not lines or (_SEGMENT.fullmatch(line[:3]) and line[3:4] in (field, "")):
            lines.append(line)
        else:
            lines[-1] += " " + line
    if not lines or lines[0][:4] != "MSH" + field:  # a character set in which the header reads otherwise
        raise Hl7Error("the bytes do not begin with an MSH segment in the character set they name")
    return lines


def _kind(fields: Segment) -> tuple[str, str]:
    parts = (fields[9] if len(fields) > 9 else "").split(fields[2][0])
    return parts[0].strip(), parts[1].strip() if len(parts) > 1 else ""


def _piece(text: str, mark: str, place: int) -> str:
    pieces = text.split(mark)
    return pieces[place - 1] if place <= len(pieces) else ""


@lru_cache(maxsize=64)
def _offset(zone: str) -> timezone:
    """Raises `ValueError` for an offset of a day or more."""
    minutes = int(zone[1:3]) * 60 + int(zone[3:])
    if int(zone[3:]) > 59:
        raise ValueError("an hour has sixty minutes")
    return timezone(timedelta(minutes=-minutes if zone[0] == "-" else minutes))


def _resolve(sequence: str, known: dict[str, str], escape: str, charset: str) -> str:
    if sequence in known:
        return known[sequence]
    if sequence[:1] == "X" and _HEX.fullmatch(sequence[1:]):
        return bytes.fromhex(sequence[1:]).decode(charset, errors="replace")
    if sequence[:1] == "." or sequence in ("H", "N"):  # line breaks, indents, highlighting
        return " "
    return f"{escape}{sequence}{escape}"
