"""Reading scans as the counter's scanner sends them: as its self-test found it set, where a test is demanded."""

from __future__ import annotations

from datetime import date

from medledger_bridge.gs1 import Scan, parse_scan
from medledger_bridge.scanner.settings import read_scan

from ..scannerrecord import demand_test
from .config import ScannerSection
from .desk import ReadScan


def scan_reader(section: ScannerSection) -> ReadScan:
    """What reads a scan on a day. It raises `ScanError`, and `ConfigurationError` where no self-test counts.

    The test's record is read with each scan, so that a test runs out, and a new one counts, while the agent runs.
    """

    def read(text: str, today: date) -> Scan:
        if section.test_record is None:
            return parse_scan(text, today=today, sends_separators=section.sends_separators)
        record = demand_test(section.test_record, today=today, max_days=section.test_days)
        return read_scan(text, record.arriving(), today=today)

    return read
