"""Wall clocks that a test sets: libfaketime, preloaded into an agent's process.

Its wall clock alone is faked. Monotonic clocks stay true, as they do on a machine whose clock somebody sets.
(time.sleep does not work under libfaketime 0.9.10; no agent uses it while it runs.)
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

LIBRARY = next(
    (path for path in sorted(Path("/usr").glob("lib*/**/faketime/libfaketimeMT.so.1")) if path.is_file()), None
)
REQUIRED = "CI" in os.environ or os.environ.get("MEDLEDGER_REQUIRE_FAKETIME") == "1"


class WallClock:
    """One wall clock. `set` takes effect at once, in processes that run already as well."""

    def __init__(self, directory: Path) -> None:
        if LIBRARY is None:
            if REQUIRED:
                pytest.fail("clocks cannot be faked: no libfaketime")
            pytest.skip("needs libfaketime (Debian: faketime)")
        self._file = directory / "wall-clock"
        self.environment = {
            "LD_PRELOAD": str(LIBRARY),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
            "TZ": "UTC",
        }
        self.set("+0")

    def set(self, to: str) -> None:
        """As libfaketime writes it: "+1h", "@1970-01-01 00:00:10", or without "@" a clock that stands still."""
        fresh = self._file.with_suffix(".new")
        fresh.write_text(to + "\n")
        fresh.replace(self._file)
