"""A release is dated in three places, and they are held to each other: the changelog, the version, and `RELEASED`."""

from __future__ import annotations

import re
import tomllib
from datetime import UTC, date, datetime, time
from pathlib import Path

import pytest

from medledger.clock import FORMAT_BEGAN, RELEASED

ROOT = Path(__file__).resolve().parent.parent
HEADING = re.compile(r"^## \[([^\]]+)\](?: - (\d{4}-\d{2}-\d{2}))?$", re.MULTILINE)


def release_problem(changelog: str, version: str, released: int) -> str | None:
    """What does not fit between changelog, version of the package and `RELEASED` (UTC ms), or None."""
    day = datetime.fromtimestamp(released / 1000, UTC)
    if day.time() != time():
        return "RELEASED is no day's beginning, UTC"
    found = [(name, date.fromisoformat(text)) for name, text in HEADING.findall(changelog) if name != "Unreleased"]
    if not found:
        return None if HEADING.search(changelog) else "the changelog has no heading"
    name, last = max(found, key=lambda each: each[1])
    if name != version:
        return f"the changelog's last release is {name}, and the package's version {version}"
    return None if day.date() == last else f"{name} was released on {last}, and RELEASED is {day.date()}"


def test_released_is_the_day_of_the_last_release() -> None:
    """A clock that shows less has not been set: whoever releases moves it along with the changelog and the version."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert release_problem((ROOT / "CHANGELOG.md").read_text(), version, RELEASED) is None
    assert RELEASED >= FORMAT_BEGAN


@pytest.mark.parametrize(
    ("changelog", "version", "problem"),
    [
        ("## [Unreleased]\n", "0.1.0", None),
        ("# Changelog\n", "0.1.0", "no heading"),
        ("## [Unreleased]\n\n## [0.1.0] - 2026-11-22\n", "0.1.0", None),
        ("## [0.2.0] - 2026-11-22\n\n## [0.1.0] - 2026-11-01\n", "0.2.0", None),
        ("## [0.1.0] - 2026-12-01\n", "0.1.0", "RELEASED is 2026-11-22"),
        ("## [0.2.0] - 2026-11-22\n", "0.1.0", "version 0.1.0"),
    ],
)
def test_a_release_that_forgets_something_is_seen(changelog: str, version: str, problem: str | None) -> None:
    """The day, or the version."""
    found = release_problem(changelog, version, 1_795_305_600_000)
    assert found is None if problem is None else problem in str(found)
