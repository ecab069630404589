"""A checker for the part of CDDL (RFC 8610) that docs/wire.cddl uses. Anything else in a schema is an error.

Types: literals, ranges, names, choices with "/", arrays, maps, #6.n(...), .size, .regexp and .cbor; group entries with
"?", "*", "+" and n*m, and groups by name. Every outside validator that runs on the Pythons we support misjudges part of
this (`.cbor` inside arrays, the empty map, negative ranges), so the verdicts come from here, and the outside one is
asked to parse the schema (see test_cddl.py).

`Schema.conforms(rule, value)` says yes or no, and `seen` collects for each rule the values that conformed to it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from medledger import cbor
from medledger.errors import MedledgerError

TOKENS = re.compile(
    r"""\s+ | ;[^\n]* | (?P<text>"[^"]*") | (?P<tag>\#6\.[0-9]+) | (?P<op>\.\.|=>|[=:/*?+,()\[\]{}])
    | (?P<control>\.[a-z]+) | (?P<number>-?[0-9]+) | (?P<name>[A-Za-z][A-Za-z0-9-]*)""",
    re.VERBOSE,
)
PRELUDE: dict[str, Any] = {
    "any": lambda _: True,
    "bstr": lambda value: type(value) is bytes,
    "tstr": lambda value: type(value) is str,
    "bool": lambda value: type(value) is bool,
    "null": lambda value: value is None,
}


@dataclass(frozen=True)
class Literal:
    """Exactly this value."""

    value: Any


@dataclass(frozen=True)
class Range:
    """An integer from `low` to `high`, both included."""

    low: int
    high: int


@dataclass(frozen=True)
class Name:
    """What the rule of this name says."""

    name: str


@dataclass(frozen=True)
class Choice:
    """One of several types."""

    options: tuple[Any, ...]


@dataclass(frozen=True)
class Controlled:
    """A type, narrowed by a control operator."""

    target: Any
    control: str
    argument: Any


@dataclass(frozen=True)
class Tagged:
    """A tag around a type."""

    number: int
    inner: Any


@dataclass(frozen=True)
class Entry:
    """A part of a group: `low` to `high` times a type, in maps under a key."""

    low: int
    high: float
    key: Any
    type: Any


@dataclass(frozen=True)
class Container:
    """An array or a map of group entries; a bare group where `kind` is "(" ."""

    kind: str
    entries: tuple[Entry, ...]


class Parser:
    """Reads a schema into rules."""

    def __init__(self, text: str) -> None:
        self.tokens: list[tuple[str, str]] = []
        at = 0
        while at < len(text):
            match = TOKENS.match(text, at)
            assert match, f"not in the part of CDDL that is known here: {text[at : at + 40]!r}"
            if match.lastgroup is not None:
                self.tokens.append((match.lastgroup, match[0]))
            at = match.end()
        self.at = 0

    def peek(self, ahead: int = 0) -> tuple[str, str]:
        return self.tokens[self.at + ahead] if self.at + ahead < len(self.tokens) else ("end", "")

    def take(self, text: str | None = None) -> str:
        kind, found = self.peek()
        assert kind != "end", "the schema ends early"
        assert text is None or found == text, f"{found!r} where {text!r} was expected, at token {self.at}"
        self.at += 1
        return found

    def rules(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while self.peek()[0] != "end":
            name = self.take()
            self.take("=")
            assert name not in found, f"{name} is defined twice"
            is_group = self.peek()[1] == "(" and self.peek(2)[1] == ":"
            found[name] = self.container("(") if is_group else self.type()
        return found

    def type(self) -> Any:
        options = [self.type1()]
        while self.peek()[1] == "/":
            self.take()
            options.append(self.type1())
        return options[0] if len(options) == 1 else Choice(tuple(options))

    def type1(self) -> Any:
        target = self.type2()
        kind, text = self.peek()
        if text == "..":
            self.take()
            return Range(target.value, self.type2().value)
        if kind == "control":
            assert text in (".size", ".regexp", ".cbor"), text
            self.take()
            return Controlled(target, text, self.type2())
        return target

    def type2(self) -> Any:
        kind, text = self.peek()
        if text in ("[", "{"):
            return self.container(text)
        self.take()
        if kind == "number":
            return Literal(int(text))
        if kind == "text":
            return Literal(text[1:-1])
        if kind == "name":
            return Name(text)
        if kind == "tag":
            self.take("(")
            inner = self.type()
            self.take(")")
            return Tagged(int(text[3:]), inner)
        assert text == "(", f"a type cannot start with {text!r}"
        inner = self.type()
        self.take(")")
        return inner

    def container(self, opening: str) -> Container:
        closing = {"[": "]", "{": "}", "(": ")"}[opening]
        self.take(opening)
        entries = []
        while self.peek()[1] != closing:
            entries.append(self.entry())
            if self.peek()[1] == ",":
                self.take()
        self.take(closing)
        return Container(opening, tuple(entries))

    def entry(self) -> Entry:
        low, high = self.occurrence()
        if self.peek(1)[1] == ":":  # "name": type, or a bare word that in an array is only a label
            key = Literal(self.take().strip('"'))
            self.take(":")
            return Entry(low, high, key, self.type())
        found = self.type()
        if self.peek()[1] == "=>":
            self.take()
            return Entry(low, high, found, self.type())
        return Entry(low, high, None, found)

    def occurrence(self) -> tuple[int, float]:
        kind, text = self.peek()
        if text in ("?", "*", "+"):
            self.take()
            return {"?": (0, 1), "*": (0, float("inf")), "+": (1, float("inf"))}[text]
        if kind == "number" and self.peek(1)[1] == "*":
            low = int(self.take())
            self.take("*")
            return low, int(self.take())
        return 1, 1


class Schema:
    """A parsed schema."""

    def __init__(self, text: str) -> None:
        self.rules = Parser(text).rules()
        self.seen: dict[str, list[Any]] = {name: [] for name in self.rules}
        for name in self._mentioned(list(self.rules.values())):
            assert name in self.rules or name in PRELUDE, f"{name} is not defined"

    def conforms(self, rule: str, value: Any) -> bool:
        """Whether a decoded value conforms to a rule."""
        return self._matches(Name(rule), value)

    def conforms_bytes(self, rule: str, data: bytes) -> bool:
        """Whether encoded CBOR conforms to a rule."""
        try:
            value = cbor.parse_foreign(data, max_size=1 << 24)
        except MedledgerError:
            return False
        return self.conforms(rule, value)

    def _mentioned(self, node: Any) -> Iterator[str]:
        if isinstance(node, Name):
            yield node.name
        for part in (
            node if isinstance(node, list | tuple) else vars(node).values() if hasattr(node, "__dict__") else ()
        ):
            yield from self._mentioned(part)

    def _matches(self, node: Any, value: Any) -> bool:
        match node:
            case Literal(expected):
                return type(value) is type(expected) and bool(value == expected)
            case Range(low, high):
                return type(value) is int and low <= value <= high
            case Name(name) if name in self.rules:
                found = self._matches(self.rules[name], value)
                if found and len(self.seen[name]) < 50:
                    self.seen[name].append(value)
                return found
            case Name(name):
                return bool(PRELUDE[name](value))
            case Choice(options):
                return any(self._matches(option, value) for option in options)
            case Tagged(number, inner):
                return isinstance(value, cbor.Tag) and value.number == number and self._matches(inner, value.value)
            case Controlled(target, control, argument):
                return self._matches(target, value) and self._controlled(control, argument, value)
            case Container("[", entries):
                return is_array(value) and any(at == len(value) for at in self._sequence(entries, value, 0))
            case Container("{", entries):
                return isinstance(value, Mapping) and self._map(entries, value)
        raise AssertionError(f"{node} is not a type")

    def _controlled(self, control: str, argument: Any, value: Any) -> bool:
        if control == ".size":
            return self._matches(argument, len(value.encode() if isinstance(value, str) else value))
        if control == ".regexp":
            return re.fullmatch(argument.value, value) is not None
        try:
            inner = cbor.parse_foreign(value, max_size=1 << 24)
        except MedledgerError:
            return False
        return self._matches(argument, inner)

    def _sequence(self, entries: tuple[Entry, ...], items: Any, at: int) -> Iterator[int]:
        """Where the items may end that these entries take from `at` on."""
        if not entries:
            yield at
            return
        first, rest = entries[0], entries[1:]
        ends, count = {at}, 0
        while True:
            if count >= first.low:
                for end in ends:
                    yield from self._sequence(rest, items, end)
            if count >= first.high:
                return
            ends = {after for end in ends for after in self._once(first.type, items, end)}
            count += 1
            if not ends:
                return

    def _once(self, node: Any, items: Any, at: int) -> Iterator[int]:
        group = self.rules.get(node.name) if isinstance(node, Name) else None
        if isinstance(group, Container) and group.kind == "(":
            for end in self._sequence(group.entries, items, at):
                self.seen[node.name].append(items[at:end])
                yield end
        elif at < len(items) and self._matches(node, items[at]):
            yield at + 1

    def _map(self, entries: tuple[Entry, ...], value: Mapping[Any, Any]) -> bool:
        left = dict(value)
        for entry in entries:
            found = [
                key for key, item in left.items() if self._matches(entry.key, key) and self._matches(entry.type, item)
            ]
            if not entry.low <= len(found) <= entry.high:
                return False
            for key in found:
                del left[key]
        return not left


def is_array(value: Any) -> bool:
    """Whether a decoded value is an array: inside a tag arrays are tuples, and so is a tag itself."""
    return isinstance(value, list | tuple) and not isinstance(value, cbor.Tag)
