"""The parser against python-hl7: slow, complete, and not ours. Every piece of every message, recorded and invented."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import hl7
from hypothesis import example, given
from hypothesis import strategies as st

from hl7_messages import recorded
from medledger_bridge.errors import Hl7Error
from medledger_bridge.message import Message, parse


def piece(segment: Any, field: int, repeat: int, component: int, sub: int) -> str:
    """One piece of python-hl7's tree, as sent: what is not divided is its own first part."""
    if field >= len(segment):
        return ""
    node = segment[field]
    for place in (repeat, component, sub):
        if isinstance(node, str):
            if place != 1:
                return ""
        elif place > len(node):
            return ""
        else:
            node = node[place - 1]
    while not isinstance(node, str):
        node = node[0] if node else ""
    return node


def leaves(node: Any) -> list[str]:
    """All text in a tree, in order."""
    return [node] if isinstance(node, str) else [text for each in node for text in leaves(each)]


def compare(message: Message) -> None:
    """Every piece within reach, and some beyond."""
    text = "\r".join(message.fields[1].join(segment) for segment in message.segments[1:])
    head = message.fields[1].join((message.fields[0], *message.fields[2:]))
    tree = [each for each in hl7.parse(f"{head}\r{text}") if isinstance(each, hl7.Segment)]
    assert len(tree) == len(message.segments)
    for ours, theirs in zip(message.segments[1:], tree[1:], strict=True):
        for field in range(max(len(ours), len(theirs)) + 1):
            assert message.repeats(ours, field) == (len(theirs[field]) if field < len(theirs) else 0)
            if field < len(theirs):
                found = [message.unescape(each).strip() for each in leaves(theirs[field])]
                assert message.leaves(ours, field) == [each for each in found if each and each != '""']
            assert message.components(ours, field, 7) == [message.part(ours, field, part) for part in range(1, 8)]
            for repeat in (1, 2, 3):
                for component in (1, 2, 3, 5):
                    for sub in (1, 2):
                        expected = message.unescape(piece(theirs, field, repeat, component, sub)).strip()
                        got = message.part(ours, field, component, repeat=repeat, sub=sub)
                        assert got == ("" if expected == '""' else expected)


def test_recorded_messages_are_read_as_python_hl7_reads_them(shared_data: Callable[[str], Path]) -> None:
    """Whole messages of a dozen vendors, with all their habits."""
    messages = recorded(shared_data)
    assert len(messages) > 60
    for raw in messages.values():
        compare(parse(raw))


TEXT = st.text(st.sampled_from('ab1 ^~&\\|#"é'), max_size=14)


@given(
    st.lists(st.tuples(st.sampled_from(("PID", "OBX", "ZZZ")), TEXT), max_size=5),
    st.sampled_from(("^~\\&", "^~\\", "#~\\&")),
)
@example([("PID", "a&b~c^d&e|&&|~|^")], "^~\\&")
def test_any_message_is_read_as_python_hl7_reads_it(lines: list[tuple[str, str]], marks: str) -> None:
    """Empty pieces, delimiters in every order, escapes that are never closed, other delimiters than the usual."""
    raw = "\r".join([f"MSH|{marks}|A|B|||20260101||ORU^R01|1|P|2.6", *(f"{name}|{text}x" for name, text in lines)])
    try:
        message = parse(raw.encode())
    except Hl7Error:
        raise AssertionError("a message with a usable header can be read") from None
    compare(message)
