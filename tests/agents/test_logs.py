"""The log's three forms: a line, an object, and a line with its priority for journald."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest

from medledger_agents import logs
from medledger_agents.config import LogSection


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """The process's logging is as it was before."""
    root = logging.getLogger()
    loggers = [root, logs.LOGGER, logging.getLogger("medledger")]
    before = [(each, each.level, list(each.handlers)) for each in loggers]
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
