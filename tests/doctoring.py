"""Having the doctor look at a box, and what is expected of its findings."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

from boxes import Box
from medledger_agents.enrolment.doctor import examine
from medledger_agents.enrolment.findings import Finding, Verdict


def look(box: Box, **how: Any) -> dict[str, Finding]:
    """The findings by what was looked at; where there are several, the worst."""
    found: dict[str, Finding] = {}
    for each in examine(box.config, **how):
        if each.check not in found or each.verdict.exit > found[each.check].verdict.exit:
            found[each.check] = each
    return found


def assert_bad(finding: Finding, verdict: Verdict, *said: str) -> None:
    """A finding of that kind, which says this, and what to do."""
    assert finding.verdict is verdict, finding
    for text in said:
        assert text in f"{finding.text} {finding.advice}", finding
    assert finding.advice
    assert finding.text.endswith(".")


def run(box: Box, *options: str) -> subprocess.CompletedProcess[str]:
    """The real program."""
    return subprocess.run(
        [sys.executable, "-m", "medledger", "agent", "doctor", "--config", str(box.config), *options],
        capture_output=True,
        text=True,
        timeout=60,
    )
