"""The log's three forms: a line, an object, and a line with its priority for journald."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest

from medledger_agents import logs
from medledger_agents.config import LogSection
from medledger_agents.logs import BURST, MINUTE_SECONDS, Throttle
from medledger_agents.meters import METERS


@pytest.fixture(autouse=True)
def restored(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The process's logging is as it was before."""
    root = logging.getLogger()
    loggers = [root, logs.LOGGER, logging.getLogger("medledger")]
    before = [(each, each.level, list(each.handlers)) for each in loggers]
    monkeypatch.setattr(logs, "_THROTTLE", Throttle())
    yield
    for each, level, handlers in before:
        each.setLevel(level)
        each.handlers[:] = handlers


def said(capsys: pytest.CaptureFixture[str], form: str, level: str = "debug") -> list[str]:
    """What is written for one event of each level, and one whose field has a line end in it."""
    logs.start(LogSection(format=form, level=level))
    logs.event("blocks", level=logging.DEBUG, last=3)
    logs.event("listening", port=2575, host=None)
    logs.warning("refused", reason="two\nlines")
    logs.event("unhealthy", level=logging.ERROR, what="spool")
    return capsys.readouterr().err.splitlines()


def test_journald_gets_priorities_and_no_time(capsys: pytest.CaptureFixture[str]) -> None:
    """debug 7, info 6, warning 4, error 3 (syslog(3)); one event is one line whatever is in it."""
    assert said(capsys, "journal") == [
        "<7>blocks last=3",
        "<6>listening port=2575",
        '<4>refused reason="two\\nlines"',
        "<3>unhealthy what=spool",
    ]


def test_plain_lines_have_time_and_level(capsys: pytest.CaptureFixture[str]) -> None:
    """For people at a terminal."""
    lines = said(capsys, "plain", "warning")
    assert [line.split(maxsplit=1)[1] for line in lines] == [
        'WARNING refused reason="two\\nlines"',
        "ERROR   unhealthy what=spool",
    ]


def test_json_is_an_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    """For programs."""
    found = [json.loads(line) for line in said(capsys, "json")]
    assert [each["event"] for each in found] == ["blocks", "listening", "refused", "unhealthy"]
    assert found[2]["reason"] == "two\nlines"


def test_an_exception_is_not_quoted(capsys: pytest.CaptureFixture[str]) -> None:
    """Its type and place are logged; its text, which may hold a patient's data, is not."""
    logs.start(LogSection(format="journal"))
    try:
        raise ValueError("P-4711")
    except ValueError as error:
        logs.unforeseen("recorder", error)
    line = capsys.readouterr().err
    assert line.startswith("<3>internal error where=recorder kind=ValueError place=test_an_exception_is_not_quoted:")
    assert "P-4711" not in line


HOSTILE = "P\n<0>forged\r\x1b[2J\x7f\u2028\u202e\x85\x00\udc80 end"


@pytest.mark.parametrize("form", ["plain", "journal", "json"])
def test_hostile_text_is_one_harmless_line(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    """As a field, and as a library's own sentence: no second line, no escape sequence, no forged priority."""
    logs.start(LogSection(format=form))
    logs.warning("not MLLP: connection closed", reason=HOSTILE)
    logging.getLogger("medledger.transport").warning("the broker said %s", HOSTILE)
    told = capsys.readouterr().err
    assert told.count("\n") == 2 == len(told.splitlines())
    assert all(character == "\n" or character.isprintable() for character in told)
    assert told.isascii()


def test_a_flood_of_one_kind_is_held_back_and_counted(capsys: pytest.CaptureFixture[str]) -> None:
    """So many lines a minute, and no more; another kind is not concerned; the meter has the rest."""
    logs.start(LogSection(format="journal"))
    (before,) = METERS.counted("log_held_back").values()
    for _ in range(BURST + 70):
        logs.warning("message refused", code="AE")
    logs.event("unhealthy", level=logging.ERROR, what="spool")
    told = capsys.readouterr().err.splitlines()
    assert told == ["<4>message refused code=AE"] * BURST + ["<3>unhealthy what=spool"]
    assert METERS.counted("log_held_back")[()] == before + 70


def test_debugging_holds_nothing_back(capsys: pytest.CaptureFixture[str]) -> None:
    """Who asks for everything gets everything."""
    logs.start(LogSection(format="json", level="debug"))
    for _ in range(BURST + 70):
        logs.warning("message refused")
    assert len(capsys.readouterr().err.splitlines()) == BURST + 70


def test_the_next_minute_says_how_many_were_held_back() -> None:
    """No line is lost without a trace: each is written, or in the next one's count."""
    throttle = Throttle()
    passed = [throttle.passes("refused", 1000.0 + number / 100) for number in range(500)]
    assert passed == [0] * BURST + [None] * (500 - BURST)
    assert throttle.passes("other", 1000.0) == 0
    assert throttle.passes("refused", 1000.0 + MINUTE_SECONDS) == 500 - BURST
    assert throttle.passes("refused", 1000.1 + MINUTE_SECONDS) == 0
