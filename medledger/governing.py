"""What a governor does with a ledger: each act is proposed and approved in one block of the governor's own feed.

What an act means for the transport key follows it in the same transaction: see `rekeying`.

Where one governor decides alone, that block makes the act effective. Where it takes several, the act is then pending at
the others (`Membership.pending`), who approve it with `approve`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from .acts import GovApprove, GovEnrol, GovEpoch, GovRevoke
from .block import Block
from .errors import MembershipError, UsageError
from .governance import Genesis
from .header import Head
from .joining import Request, make_reply, make_request, read_request_text
from .membership import PendingAct
from .proposals import approval_content, enrolment_content, propose_epoch, revocation_content
from .registry import Record
from .rekeying import Keyed, upkeep


class Governed(Keyed, Protocol):
    """The ledger that a governor acts on."""

    @property
    def genesis(self) -> Genesis: ...
    @property
    def broker(self) -> str | None: ...
    def frontier(self) -> dict[bytes, Head]: ...
    def head(self, feed: bytes) -> Head | None: ...


def enrol_founder(ledger: Governed, *, label: str, organisation: str, roles: Iterable[str]) -> Block:
    """The first block of a ledger: its founder enrols the founding key, by the same act as anybody's."""
    identity = ledger.identity
    assert identity is not None  # a ledger is founded with one
    text = make_request(identity, secret=ledger.randomness(16), label=label, organisation=organisation, roles=roles)
    request, _ = read_request_text(text)
    content = enrolment_content(ledger.membership, request)
    return decide(ledger, GovEnrol.from_content(content), content)


def enrol(ledger: Governed, text: str, *, roles: Iterable[str] | None, label: str | None, broker: str | None) -> str:
    """See `Ledger.enrol`."""
    request, secret = read_request_text(text)
    if not ledger.transport_keys:
        raise UsageError("this replica has no transport key to pass on", hint="Open it with a member's key.")
    content = enrolment_content(ledger.membership, request, roles=roles, label=label)
    decide(ledger, GovEnrol.from_content(content), content)
    return reply(ledger, request, secret, broker=broker)


def reply(ledger: Governed, request: Request, secret: bytes, *, broker: str | None) -> str:
    """The text that lets an enrolled applicant in, with the transport key in use, as far as we hold it."""
    key = ledger.transport_keys[-1]
    return make_reply(
        request,
        secret,
        genesis=ledger.genesis.raw,
        transport_keys=[(key.id, key.key)],
        broker=broker or ledger.broker,
        randomness=ledger.randomness,
    )


def revoke(ledger: Governed, feed: bytes, *, reason: str, after: int | None) -> Block:
    """See `Ledger.revoke`."""
    content = revocation_content(ledger.membership, feed, last=_last(ledger, feed, after), reason=reason)
    return decide(ledger, GovRevoke.from_content(content), content)


def _last(ledger: Governed, feed: bytes, after: int | None) -> Head | None:
    """The block after which a feed is cut: its head here, or block `after`."""
    if after is None:
        return ledger.head(feed)
    if after < 0:
        return None
    block = ledger.block(feed, after)
    if block is None:
        raise MembershipError(
            f"this replica does not hold block {after} of that feed", hint="Sync first, or cut at an earlier block."
        )
    return Head(after, block.id, block.header.epoch)


def change_epoch(
    ledger: Governed,
    *,
    governors: Iterable[bytes] | None = None,
    threshold: int | None = None,
    notaries: Iterable[bytes] | None = None,
    policy: Mapping[str, Iterable[str]] | None = None,
) -> Block:
    """Propose and approve the epoch that follows the current one; what is not given stays. Raises `MembershipError`."""
    content = propose_epoch(
        ledger.membership,
        heads=ledger.frontier(),
        governors=governors,
        threshold=threshold,
        notaries=notaries,
        policy=policy,
    )
    return decide(ledger, GovEpoch.from_content(content), content)


def approve(ledger: Governed, act_id: bytes) -> Block:
    """See `Ledger.approve`."""
    pending = find_pending(ledger, act_id)
    content = approval_content(ledger.membership, pending.type, pending.content, by=_me(ledger))
    return ledger.writer.append([GovApprove.from_content(content)], lambda: upkeep(ledger))


def find_pending(ledger: Governed, act_id: bytes) -> PendingAct:
    """The pending act with this id, or the only one whose id starts so. Raises `MembershipError`."""
    found = [act for act in ledger.membership.pending if act.id.startswith(act_id)]
    if len(found) != 1:
        problem = "no pending act has" if not found else "several pending acts have"
        raise MembershipError(
            f"{problem} an id that starts with {act_id.hex()}", hint="List them with `medledger member list --pending`."
        )
    return found[0]


def decide(ledger: Governed, act: Record, content: Any) -> Block:
    """Propose and approve in one block. Raises `MembershipError`."""
    approval = approval_content(ledger.membership, act.TYPE, content, by=_me(ledger))
    return ledger.writer.append([act, GovApprove.from_content(approval)], lambda: upkeep(ledger))


def _me(ledger: Governed) -> bytes:
    if ledger.me is None:
        raise UsageError("this ledger was opened without a key", hint="Give a governor's identity.")
    return ledger.me
