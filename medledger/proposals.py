"""Making governance acts: contents that will be accepted, or a `MembershipError` that says what to do instead.

The fold ignores what is malformed and counts what is approved; it protects the ledger, not the governor. These
functions protect the governor: they refuse what would have no effect, and above all a second successor of one epoch,
which would make governance void and name its approver. They read a `Membership` and change nothing.

A sole governor decides in one block: append the content and its approval together.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from medledger.acts import GovEnrol, GovEpoch, GovRevoke
from medledger.ballot import check_act
from medledger.errors import MedledgerError, MembershipError
from medledger.governance import NOTHING, Epoch, Point, act_id, epoch_document, leaving, read_epoch
from medledger.joining import Request
from medledger.membership import Membership, check_proof


class Position(Protocol):
    """A head or another point of a feed."""

    @property
    def seq(self) -> int: ...
    @property
    def id(self) -> bytes | None: ...


def propose_epoch(
    membership: Membership,
    *,
    heads: Mapping[bytes, Position],
    governors: Iterable[bytes] | None = None,
    threshold: int | None = None,
    notaries: Iterable[bytes] | None = None,
    policy: Mapping[str, Iterable[str]] | None = None,
) -> list[Any]:
    """The content of a `gov.epoch` that follows the current one; what is not given stays as it is.

    Whoever leaves is closed at its position in `heads`, so that everything seen of it so far counts. When the governors
    change and no threshold is given, a majority of them is needed.
    """
    current = _current(membership)
    new_governors = sorted(set(current.governors if governors is None else governors))
    new_notaries = sorted(set(current.notaries if notaries is None else notaries))
    if threshold is None:
        same = new_governors == list(current.governors)
        threshold = current.threshold if same else len(new_governors) // 2 + 1
    document = epoch_document(
        number=current.number + 1,
        previous=current.id,
        governors=new_governors,
        threshold=threshold,
        notaries=new_notaries,
        policy=current.policy if policy is None else policy,
        closing={feed: _head(feed, heads) for feed in leaving(current, new_governors, new_notaries)},
    )
    dead = sorted(membership.cuts.keys() & {*new_governors, *new_notaries})
    if dead:
        raise MembershipError(
            f"the key {_short(dead[0])} is revoked and can hold no office",
            hint="Have its holder make a new key and ask to join with it.",
        )
    _check(GovEpoch.TYPE, document)
    try:
        read_epoch(document, id=act_id(membership.genesis.ledger_id, GovEpoch.TYPE, document), parent=current)
    except MedledgerError as error:
        raise MembershipError(f"this cannot be the next epoch: {error}") from error
    return document


def enrolment_content(
    membership: Membership,
    request: Request,
    *,
    roles: Iterable[str] | None = None,
    organisation: str | None = None,
    label: str | None = None,
    succeeds: bytes | None = None,
) -> dict[str, Any]:
    """The content of a `gov.enrol` in the current epoch, as the request asks unless something else is given."""
    current = membership.epoch
    if request.feed in membership.cuts:
        raise MembershipError(
            f"the key {_short(request.feed)} is revoked for ever",
            hint="Have the applicant make a new key and a new request.",
        )
    if any(earlier.epoch == current.number for earlier in membership.enrolments.get(request.feed, ())):
        raise MembershipError(
            f"the key {_short(request.feed)} is enrolled in epoch {current.number} already",
            hint="To change its roles, propose a new epoch first and enrol it again in that one.",
        )
    granted = sorted(set(request.roles if roles is None else roles))
    unknown = [role for role in granted if role not in current.policy]
    if unknown:
        raise MembershipError(
            f"the policy of epoch {current.number} knows no role {unknown[0]!r}",
            hint=f"Its roles are: {', '.join(sorted(current.policy)) or 'none'}.",
        )
    old = request.succeeds if succeeds is None else succeeds
    if old is not None and old not in membership.members:
        raise MembershipError(f"the key {_short(old)}, which is to be succeeded, is not a member")
    content = {
        "epoch": current.number,
        "roles": granted,
        "org": request.organisation if organisation is None else organisation,
        "label": request.label if label is None else label,
        "sig": [-19, request.feed],
        "kem": list(request.kem),
        "proof": request.proof,
        "succeeds": old,
    }
    _check(GovEnrol.TYPE, content)
    return content


def revocation_content(
    membership: Membership, feed: bytes, *, last: Position | None, reason: str = ""
) -> dict[str, Any]:
    """The content of a `gov.revoke` in the current epoch. `last` is the last block that stands, None for none."""
    if not membership.knows(feed):
        raise MembershipError(
            f"the key {_short(feed)} is not a member",
            hint="Check the key, and that this replica is in sync.",
        )
    seq, block_id = NOTHING if last is None else (last.seq, last.id)
    earlier = membership.last_seq(feed)
    if earlier is not None and earlier < seq:
        raise MembershipError(
            f"the key {_short(feed)} is revoked already, after its block {earlier}",
            hint="A further revocation can only cut the feed earlier, or on another branch.",
        )
    epoch = membership.epoch.number
    content = {"epoch": epoch, "feed": feed, "seq": seq, "id": block_id, "reason": reason}
    _check(GovRevoke.TYPE, content)
    return content


def approval_content(membership: Membership, act_type: str, content: Any, *, by: bytes) -> list[Any]:
    """The content of a `gov.approve` by the governor `by`, for an act that is pending or about to be proposed."""
    _check(act_type, content)
    epoch = _deciding_epoch(membership, act_type, content)
    if by not in epoch.governors:
        raise MembershipError(
            f"the key {_short(by)} is not a governor of epoch {epoch.number}, which decides this act",
            hint="Only an approval of one of its governors counts.",
        )
    if any(by not in later.governors for later in membership.epochs[epoch.number :]):
        raise MembershipError(f"the key {_short(by)} has left the governors: its approval would not count")
    act = act_id(membership.genesis.ledger_id, act_type, content)
    if any(pending.id == act and by in pending.approved for pending in membership.pending):
        raise MembershipError("this act has your approval already", hint="It waits for other governors.")
    if act_type == GovEpoch.TYPE:
        _check_only_successor(membership, epoch, act, content, by)
    elif act_type == GovEnrol.TYPE:
        try:
            check_proof(content)
        except MedledgerError as error:
            raise MembershipError(f"this enrolment is not to be approved: {error}") from error
    return [act, 0]


def _check_only_successor(membership: Membership, epoch: Epoch, act: bytes, content: Any, by: bytes) -> None:
    """A governor approves one successor of an epoch, ever."""
    if epoch is not _current(membership):
        raise MembershipError(
            f"epoch {epoch.number} has a successor already: a second one would make governance void",
            hint="Propose a successor of the current epoch instead.",
        )
    for other in membership.pending:
        if other.type == GovEpoch.TYPE and other.epoch == epoch.number and other.id != act and by in other.approved:
            raise MembershipError(
                f"you approved another successor of epoch {epoch.number}: approving two could make governance void",
                hint="Ask the other governors to approve the one that you approved.",
            )
    try:
        read_epoch(content, id=act, parent=epoch)
    except MedledgerError as error:
        raise MembershipError(f"this epoch can never be effective: {error}") from error


def _deciding_epoch(membership: Membership, act_type: str, content: Any) -> Epoch:
    number: int = content[0] - 1 if act_type == GovEpoch.TYPE else content["epoch"]
    if not 0 <= number < len(membership.epochs):
        raise MembershipError(
            f"epoch {number}, which decides this act, is not effective here", hint="Sync the governors' feeds first."
        )
    epoch = membership.epochs[number]
    if act_type == GovEpoch.TYPE and content[1] != epoch.id:
        raise MembershipError(f"this act names another epoch {number} than the one that is effective")
    return epoch


def _current(membership: Membership) -> Epoch:
    if membership.void is not None:
        names = ", ".join(_short(key) for key in membership.void.double_approvers)
        raise MembershipError(
            f"governance is void after epoch {membership.void.epoch}: {names} approved two successors",
            hint="Found a new ledger whose genesis continues this one.",
        )
    return membership.epoch


def _check(act_type: str, content: Any) -> None:
    try:
        check_act(act_type, content)
    except MedledgerError as error:
        raise MembershipError(f"this act cannot be proposed: {error}") from error


def _head(feed: bytes, heads: Mapping[bytes, Position]) -> Point:
    if feed not in heads:
        raise MembershipError(
            f"no block of {_short(feed)}, which leaves, is here to close its feed at",
            hint="Sync its feed first; if it never wrote, close it at `governance.NOTHING`.",
        )
    return Point(heads[feed].seq, heads[feed].id)


def _short(key: bytes) -> str:
    return f"{key.hex()[:16]}…"
