"""The findings of the doctor, as people and programs see them."""

from __future__ import annotations

import shutil
import sys
from collections import Counter
from textwrap import wrap
from typing import Final

from medledger.cli.output import count_text, emit, printable, say, style

from .doctor import worst
from .findings import Finding, Verdict

COLOURS: Final = {Verdict.OK: "green", Verdict.SKIPPED: "bright_black", Verdict.WARNING: "yellow", Verdict.FAULT: "red"}
MAX_COLUMNS: Final = 110
MIN_COLUMNS: Final = 50
UNBROKEN: Final = 10_000
NOUNS: Final = {Verdict.FAULT: "fault", Verdict.WARNING: "warning"}


def show(findings: list[Finding]) -> None:
    """One line for each, what to do under it, and what it comes to in the end.

    Lines are broken for a terminal alone: whoever searches the output finds a finding in one line.
    """
    terminal = min(MAX_COLUMNS, max(MIN_COLUMNS, shutil.get_terminal_size((MAX_COLUMNS, 24)).columns))
    columns = terminal if sys.stdout.isatty() else UNBROKEN
    names = max(len(each.check) for each in findings if len(each.check) <= terminal // 4)
    for each in findings:
        _show(each, names, columns)
    say()
    say(style(summary(findings), bold=True, fg=COLOURS[worst(findings)]))


def _show(finding: Finding, names: int, columns: int) -> None:
    verdict = style(finding.verdict.value.ljust(7), fg=COLOURS[finding.verdict], bold=finding.verdict.exit > 0)
    check = printable(finding.check)
    indent = " " * (names + 11)
    text = printable(finding.text)
    if len(check) > names:  # a long name has a line to itself
        say(f"{verdict}  {check}")
        lines = _wrap(text, columns - len(indent))
    else:
        first, *lines = _wrap(text, columns - len(indent)) or [""]
        say(f"{verdict}  {check.ljust(names)}  {first}")
    for line in lines:
        say(f"{indent}{line}")
    if finding.advice:
        for number, line in enumerate(_wrap(printable(finding.advice), columns - len(indent) - 3)):
            say(f"{indent}{'-> ' if number == 0 else '   '}{line}")


def _wrap(text: str, columns: int) -> list[str]:
    """Broken at blanks alone: an option or a name that is broken at its hyphen cannot be typed."""
    return wrap(text, columns, break_on_hyphens=False)


def summary(findings: list[Finding]) -> str:
    """What it comes to, in a sentence."""
    counts = Counter(each.verdict for each in findings)
    bad = [count_text(counts[verdict], noun) for verdict, noun in NOUNS.items() if counts[verdict]]
    rest = f"{counts[Verdict.OK]} ok, {counts[Verdict.SKIPPED]} skipped"
    return f"{', '.join(bad)}; {rest}." if bad else f"All is well: {rest}."


def show_json(findings: list[Finding]) -> None:
    """One object."""
    verdict = worst(findings)
    emit(
        {
            "verdict": verdict.value,
            "exit_code": verdict.exit,
            "checks": [
                {"check": each.check, "verdict": each.verdict.value, "text": each.text, "advice": each.advice or None}
                for each in findings
            ],
        }
    )
