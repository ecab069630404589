"""Ledgers for tests: a founder, members who joined it, and the traffic between them."""

from __future__ import annotations

import os
from pathlib import Path

from medledger import Identity, Ledger, Reading, make_request


def found(directory: Path, name: str = "founder", **options: object) -> Ledger:
    """A new ledger in `directory`, with its founder's key beside it."""
    identity = Identity.load_or_create(directory / f"{name}.key")
    return Ledger.create(
        directory / f"{name}.db",
        identity,
        name="Test ledger",
        label=name,
        roles=["hospital"],
        **options,  # type: ignore[arg-type]
    )


def join(founder: Ledger, directory: Path, name: str, role: str = "bedside") -> Ledger:
    """A member that the founder enrolled, in sync with it."""
    identity = Identity.load_or_create(directory / f"{name}.key")
    secret = os.urandom(16)
    reply = founder.enrol(make_request(identity, secret=secret, label=name, roles=[role]))
    member = Ledger.join(directory / f"{name}.db", identity, reply, secret)
    sync(founder, member)
    member.peer_has_no_more(0)
    return member


def sync(source: Ledger, target: Ledger) -> None:
    """Hand everything that the source holds to the target, as an honest peer would."""
    electors = source.membership.electors
    for feed, head in sorted(source.frontier().items(), key=lambda item: (item[0] not in electors, item[0])):
        target.import_blocks(source.release(feed, 0, head.seq + 1, max_bytes=1 << 30))
    for proof in source.fork_proofs().values():
        target.import_fork_proof(proof)
    target.import_blocks(source.branches())


def reading(rate: int = 72, **fields: object) -> Reading:
    """A heart rate."""
    return Reading(device="MON-7", samples=[("8867-4", str(rate), "/min")], **fields)  # type: ignore[arg-type]
