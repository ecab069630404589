"""The doctor's look at the inbox: who can read it, its size, and what waits in it; and at the secret of pseudonyms.

It holds patients' data, so it is never copied. A running agent is asked on its own port. An inbox that was closed is
read where it lies, as a file that nobody writes to (`immutable`): without locks, and leaving nothing beside it.
One with a write-ahead log that no agent answers for is not read: what is in it the agent finds at its next start.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from medledger.cli.output import count_text, size_text
from medledger.errors import MedledgerError

from ..config import AgentConfig
from ..looking import ask
from ..subjects import Subjects
from .findings import Case, Finding, fault, ok, skipped, warning


def subjects(case: Case) -> Iterator[Finding]:
    """Whether patients can be given their pseudonyms."""
    if case.agent is None:
        return
    section = case.agent.subjects
    if not section.secret_file.exists():
        yield skipped("subjects", f"The agent makes the secret of pseudonyms, {section.secret_file}, when it starts.")
        return
    try:
        Subjects.open(section.secret_file, section.period)
    except MedledgerError as error:
        yield fault("subjects", f"{str(error)[:1].upper()}{str(error)[1:]}.", error.hint or "Mend the file.")
    else:
        yield ok("subjects", f"{section.secret_file} names patients, and is the owner's alone.")


def inbox(case: Case) -> Iterator[Finding]:
    """What was received and is not logged, and how much room it takes."""
    config = case.agent
    if config is None:
        return
    path = config.inbox.path
    if not path.exists():
        yield skipped("inbox", "There is no inbox yet: the agent has not run.")
        return
    mode = os.stat(path).st_mode
    if mode & 0o077:
        yield fault(
            "inbox",
            f"{path} holds patients' data, and others can read it (mode {mode & 0o777:04o}).",
            f"Run: chmod 600 {path}",
        )
    size = sum(each.stat().st_size for each in path.parent.glob(f"{path.name}*"))
    most = config.spool.max_bytes
    if most and size > most * 9 // 10:
        yield warning(
            "inbox",
            f"It takes {size_text(size)} of the {size_text(most)} that [spool] allows.",
            "Raise max_bytes in [spool], or lower keep_days in [inbox]: when it is full, nothing is acknowledged.",
        )
    yield _content(case, config, path, size_text(size))


def _content(case: Case, config: AgentConfig, path: Path, size: str) -> Finding:
    log = path.with_name(f"{path.name}-wal")
    if log.exists() and log.stat().st_size:
        return _asked(case, config, size)
    try:
        waits, refused = _unlogged(path)
    except sqlite3.Error as error:
        return skipped("inbox", f"It takes {size}; what is in it could not be read ({error}).")
    text = f"{size}, {count_text(waits, 'message')} not logged yet, {refused or 'none'} refused"
    if waits:
        return warning("inbox", f"{text}.", "Start the agent: it logs them.")
    return ok("inbox", f"{text}.")


def _asked(case: Case, config: AgentConfig, size: str) -> Finding:
    section = config.metrics
    waits = None
    if section.enabled and section.port:
        try:
            seen = ask(section.host, section.port)
            waits = None if seen is None else seen.one("inbox_open")
        except MedledgerError:
            pass  # another program has that port, or the agent hangs: `agent status` says so
    if waits is not None:
        return ok("inbox", f"{size}, {count_text(int(waits), 'message')} not logged yet.")
    if case.runs:
        return skipped("inbox", f"It takes {size}; the agent has it open, and has no port to be asked on.")
    return skipped("inbox", f"It takes {size}, and was not closed: the agent looks through it at its next start.")


def _unlogged(path: Path) -> tuple[int, int]:
    with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro&immutable=1", uri=True)) as database:
        waits = database.execute("SELECT count(*) FROM messages WHERE block IS NULL AND refused IS NULL").fetchone()[0]
        refused = database.execute("SELECT count(*) FROM messages WHERE refused IS NOT NULL").fetchone()[0]
    return waits, refused
