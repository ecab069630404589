"""`medledger recover`: let a replica write where no peer is left to ask, on a person's word.

A replica writes only when nothing of its own feed can be missing: the witness beside the key is this replica's, or a
peer has shown to hold no more of the feed, in a sync or in a bundle. Where there is no peer, only a person can know
that all that this key has signed is here. The question says what a wrong answer costs.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import click

from medledger.errors import ForkedError, RecoveringError, UsageError

from .. import govern
from ..command import Command
from ..opening import signing
from ..options import json_option, key_option, ledger_argument, yes_option
from ..output import count_text, emit, remark, say

_QUESTION: Final = (
    "Say yes only where that is all that this key has ever signed in this ledger: no other copy of it is in use, no\n"
    "backup was put back. Otherwise it signs a second history, and is shut out for it."
)


@click.command(
    cls=Command,
    examples=(
        "medledger recover box.db",
        "medledger recover box.db --yes          a person has decided",
    ),
)
@ledger_argument()
@key_option
@yes_option
@json_option
def recover(ledger: Path, key: Path | None, yes: bool, as_json: bool) -> None:
    """Let LEDGER write where no peer is left to ask: when the .witness file beside its key is lost, for one.

    A sync, or a peer's bundle, needs no such word. What the witness knows to be missing is never waived.
    """
    with signing(ledger, key) as opened:
        assert opened.me is not None  # opened with a key
        head = opened.head(opened.me)
        held = 0 if head is None else head.seq + 1
        if opened.state == "forked":
            raise ForkedError(
                "this key's feed has forked", hint="Enrol this box again under a new key that succeeds the old one."
            )
        waited = opened.state == "recovering"
        if waited:
            remark(f"{ledger} holds {count_text(held, 'block')} of its own feed.")
            remark(_QUESTION)
            if not yes and not sys.stdin.isatty():
                raise UsageError("nobody is here to answer that", hint="Run this on a terminal, or give --yes.")
            govern.confirm("Is that all it has signed?", yes=yes)
            opened.peer_has_no_more(held)
        if opened.state != "ready":
            raise RecoveringError(
                "the witness beside the key knows of blocks that are not here",
                hint="Bring them: sync, or import a bundle of somebody who has them.",
            )
        if as_json:
            emit({"state": opened.state, "blocks": held, "changed": waited})
        else:
            say("It may write." if waited else "It may write already: there was nothing to do.")
