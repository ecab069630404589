"""The programs around the ledger: bedside and pharmacy agents, and a demonstration with a hospital and an auditor.

An agent is one process that owns one replica, one key and one database of what it received. Its settings are in
config.py, its life in runtime.py, what it received in inbox.py; bedside/ and pharmacy/ are what it listens to.
"""

from __future__ import annotations

from datetime import date
from typing import Final

RELEASED: Final = date(2026, 11, 1)
"""This software is not older: a clock that shows an earlier date is wrong."""
