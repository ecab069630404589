"""What a scanner's self-test found, kept in a small file, and the demand that it was passed.

Rules:

- `scanner-test.json` is one JSON object: scanner, date, findings. A test that was not passed is written too, and takes
  the place of one that was: the scanner is not set as it was then.
- The record is the configuration: how a scanner's scans are read is taken from it, so that nothing is copied by hand.
- It is worth nothing when it is of another scanner, was made on a later day than today, or is older than is allowed. A
  scanner is set anew by scanning a code of its manual, and nothing tells us: so tests have to be repeated.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final, get_args

from medledger import files
from medledger.errors import ConfigurationError, LimitError
from medledger_bridge.errors import ScanError
from medledger_bridge.scanner.layouts import LAYOUTS
from medledger_bridge.scanner.selftest import MAX_PREFIX_CHARS, Findings, Way
from medledger_bridge.scanner.settings import GS, SEPARATORS, SUFFIXES, ScannerSettings
from medledger_bridge.scanner.symbol import MARK

DEFAULT_DAYS: Final = 90
FORMAT: Final = "medledger/scanner-test/1"
MAX_BYTES: Final = 16 * 1024
_AGAIN: Final = "Run the self-test: medledger agent scanner-test."


@dataclass(frozen=True, slots=True)
class TestRecord:
    """One self-test: of which scanner, on which day, with what result."""

    __test__ = False  # no test case, whatever its name

    scanner: str
    made: date
    findings: Findings

    def reading(self) -> ScannerSettings:
        """How to read what this scanner itself sends. Raises ScanError after a test that was not passed."""
        return self.findings.settings()

    def arriving(self) -> ScannerSettings:
        """How to read this scanner's scans at the counter's port: `medledger agent scan` has made GS1 of them.

        Characters that a till's program passes on are as the scanner typed them.
        """
        settings = self.reading()
        if self.findings.way == "text":
            return settings
        return ScannerSettings(separator=GS, mark=settings.mark, sends_separators=True)

    def check(self, *, today: date, max_days: int = DEFAULT_DAYS, scanner: str | None = None) -> None:
        """Passed, of this scanner, not made later than today, not too old: or a ConfigurationError."""
        if not self.findings.passed:
            raise _unusable("was not passed", " ".join(self.findings.actions))
        if scanner is not None and scanner != self.scanner:
            raise _unusable(f"is of another scanner, {self.scanner}, not {scanner}", _AGAIN)
        if self.made > today:
            raise _unusable(f"is dated {self.made}, and today is {today}", f"Set the clock. {_AGAIN}")
        if today - self.made > timedelta(days=max_days):
            raise _unusable(f"is of {self.made}, more than {max_days} days ago", _AGAIN)


def _unusable(why: str, hint: str) -> ConfigurationError:
    return ConfigurationError(f"scans are not taken: the scanner's self-test {why}", hint=hint)


def demand_test(path: Path, *, today: date, max_days: int = DEFAULT_DAYS, scanner: str | None = None) -> TestRecord:
    """The record at `path`, of a test that was passed and still counts. Raises ConfigurationError.

    A pharmacy agent calls it with each scan, so that a test runs out, and a new one counts, while the agent runs. The
    scan is then read with `read_scan(text, record.arriving())`.
    """
    record = read(path)
    record.check(today=today, max_days=max_days, scanner=scanner)
    return record


def write(path: Path, record: TestRecord) -> None:
    """Put the record at `path`, durable on return. Raises ConfigurationError where it cannot be written."""
    found = {"format": FORMAT, "scanner": record.scanner, "date": record.made.isoformat(), **result(record.findings)}
    data = json.dumps(found, indent=2, ensure_ascii=False).encode() + b"\n"
    try:
        with files.locked_directory(path.parent) as directory:
            files.replace(path, data, directory)
            path.chmod(0o644)  # for the agent, which may run as another user; nothing in it is secret
    except OSError as error:
        raise ConfigurationError(f"the record {path} cannot be written: {error.strerror}") from error


def result(findings: Findings) -> dict[str, Any]:
    """Findings for JSON."""
    return {"passed": findings.passed, **asdict(findings)}


def read(path: Path) -> TestRecord:
    """The record at `path`. Raises ConfigurationError where there is none, or it is not one of ours."""
    try:
        found = json.loads(files.read(path, MAX_BYTES).data)
    except FileNotFoundError as error:
        raise ConfigurationError(
            f"scans are not taken: there is no record of the scanner's self-test, {path}", hint=_AGAIN
        ) from error
    except (OSError, LimitError, ValueError, RecursionError) as error:
        raise ConfigurationError(f"the scanner's test record {path} cannot be read: {error}", hint=_AGAIN) from error
    try:
        return _record(found)
    except (ScanError, KeyError, TypeError, ValueError) as error:
        raise ConfigurationError(f"{path} is not the record of a scanner's self-test", hint=_AGAIN) from error


def _record(found: Any) -> TestRecord:
    if not isinstance(found, dict) or found.pop("format", None) != FORMAT or not isinstance(found["prefix"], str):
        raise ValueError
    scanner, day, passed = found.pop("scanner"), date.fromisoformat(found.pop("date")), found.pop("passed")
    sentences, actions = (_texts(found.pop(name)) for name in ("sentences", "actions"))
    findings = Findings(**found, sentences=sentences, actions=actions)
    if not isinstance(scanner, str) or findings.way not in get_args(Way) or passed is not findings.passed:
        raise ValueError
    if findings.passed and not _consistent(findings):
        raise ValueError
    return TestRecord(scanner, day, findings)


def _consistent(findings: Findings) -> bool:
    """Whether a passed test can have these findings."""
    return (
        findings.separator in SEPARATORS
        and findings.suffix in SUFFIXES
        and (findings.mark == MARK or (findings.mark is None and findings.way == "serial"))
        and (findings.layout in LAYOUTS if findings.way == "keys" else findings.layout is None)
        and len(findings.prefix) <= MAX_PREFIX_CHARS
    )


def _texts(found: Any) -> tuple[str, ...]:
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        raise ValueError
    return tuple(found)
