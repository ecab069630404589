"""Vectors of governance, joining and membership, run through the library. See `vector_checks`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from medledger import cbor
from medledger.acts import GovEnrol, GovEpoch, GovRevoke, GovTransport
from medledger.ballot import ControlBlock, check_act
from medledger.block import Block, parse_block
from medledger.entry import decode_entry
from medledger.errors import MalformedError
from medledger.governance import Point, act_id, read_epoch, read_genesis
from medledger.header import BlockClass
from medledger.joining import open_reply, read_request, read_request_text
from medledger.keychain import Keychain
from medledger.keys import Identity
from medledger.membership import Membership, check_proof, fold
from medledger.rotations import Rotation, Rotations
from medledger.transport_key import TransportKey

Inputs = dict[str, Any]


def content_of(inputs: Inputs, field: str = "content") -> Any:
    """A decoded content."""
    return cbor.decode(inputs[field], max_size=1 << 16)


def check_genesis(inputs: Inputs) -> Inputs:
    """A genesis document."""
    genesis = read_genesis(inputs["genesis"])
    return {
        "ledger_id": genesis.ledger_id,
        "founder": genesis.founder,
        "governors": list(genesis.epoch.governors),
        "threshold": genesis.epoch.threshold,
    }


def check_epoch(inputs: Inputs) -> Inputs:
    """An epoch as the successor of a genesis' epoch 0."""
    genesis = read_genesis(inputs["genesis"])
    document = content_of(inputs, "document")
    check_act(GovEpoch.TYPE, document)
    act = act_id(genesis.ledger_id, GovEpoch.TYPE, document)
    epoch = read_epoch(document, id=act, parent=genesis.epoch)
    return {"act_id": epoch.id, "threshold": epoch.threshold}


def check_enrolment(inputs: Inputs) -> Inputs:
    """An enrolment, with its proof."""
    content = content_of(inputs)
    check_act(GovEnrol.TYPE, content)
    check_proof(content)
    act = act_id(inputs["ledger_id"], GovEnrol.TYPE, content)
    return {"act_id": act, "feed": content["sig"][1], "kem": content["kem"]}


def check_revocation(inputs: Inputs) -> Inputs:
    """A revocation."""
    content = content_of(inputs)
    check_act(GovRevoke.TYPE, content)
    return {"act_id": act_id(inputs["ledger_id"], GovRevoke.TYPE, content)}


def check_request(inputs: Inputs) -> Inputs:
    """A request to join."""
    request = read_request(inputs["request"])
    return {"feed": request.feed, "kem": list(request.kem)}


def check_request_text(inputs: Inputs) -> Inputs:
    """A request to join, as text."""
    request, secret = read_request_text(inputs["text"])
    return {
        "feed": request.feed,
        "secret": secret,
        "label": request.label,
        "organisation": request.organisation,
        "roles": list(request.roles),
    }


def check_reply(inputs: Inputs) -> Inputs:
    """A reply, opened by its applicant."""
    reply = open_reply(inputs["text"], Identity.from_seed(inputs["seed"]), inputs["secret"])
    return {
        "ledger_id": reply.ledger_id,
        "genesis": reply.genesis,
        "transport_keys": [list(pair) for pair in reply.transport_keys],
        "broker": reply.broker,
    }


# --- membership ---------------------------------------------------------------------------------------------------


class Held:
    """The blocks that a vector gives, as a replica that holds exactly these would answer for them."""

    def __init__(self, raws: Iterable[bytes]) -> None:
        self.blocks = [parse_block(raw) for raw in raws]
        self._by_id = {block.id: block for block in self.blocks}

    def control(self) -> list[ControlBlock]:
        """What the fold reads."""
        return [control_block(block) for block in self.blocks if block.header.block_class == BlockClass.CONTROL]

    def is_ancestor(self, feed: bytes, earlier: Point, later: Point) -> bool:
        """Whether `later` is held and `earlier` is it or an ancestor of it."""
        at = self._by_id.get(later.id or b"")
        while at is not None and at.author == feed:
            if (at.seq, at.id) == earlier:
                return True
            at = self._by_id.get(at.header.prev or b"")
        return False


def control_block(block: Block) -> ControlBlock:
    """A control block as the fold reads it; what is no entry is passed over."""
    entries = []
    for index, item in enumerate(block.body):
        assert isinstance(item, bytes)
        try:
            entry = decode_entry(item)
        except MalformedError:
            continue
        entries.append((index, entry.type, entry.content))
    return ControlBlock(block.author, block.seq, block.id, block.header.epoch, tuple(entries))


def check_membership(inputs: Inputs) -> Inputs:
    """A fold, the same in every order; then what it says of the entries and blocks asked about."""
    genesis = read_genesis(inputs["genesis"])
    held = Held(inputs["blocks"])
    control = held.control()
    membership = fold(genesis, control, held.is_ancestor)
    for order in (control[::-1], control[1::2] + control[::2], control + control):
        assert fold(genesis, order, held.is_ancestor) == membership
    return membership_json(membership, inputs["ask"], held.is_ancestor)


def membership_json(membership: Membership, ask: Inputs, is_ancestor: Callable[[bytes, Point, Point], bool]) -> Inputs:
    """A membership as vectors write it."""
    void = membership.void
    return {
        "epochs": [epoch.id for epoch in membership.epochs],
        "void": void
        and {"epoch": void.epoch, "rivals": list(void.rivals), "double_approvers": list(void.double_approvers)},
        "members": [
            {
                "feed": feed,
                "roles": list(member.roles),
                "epoch": member.epoch,
                "governor": member.governor,
                "revoked": member.revoked,
                "succeeds": member.succeeds,
                "planned": member.planned,
            }
            for feed, member in membership.members.items()
        ],
        "known": sorted(membership.known),
        "cuts": [[feed, *cut.last] for feed, cuts in sorted(membership.cuts.items()) for cut in cuts],
        "pending": [{"act_id": act.id, "state": act.state, "missing": act.missing} for act in membership.pending],
        "awaited": [[act, list(by)] for act, by in membership.awaited.items()],
        "refusals": [
            {**asked, "reason": membership.refusal(asked["feed"], asked["epoch"], asked["type"])}
            for asked in ask["refusals"]
        ],
        "fallen": [
            {**asked, "reason": membership.fallen(asked["feed"], Point(asked["seq"], asked["id"]), is_ancestor)}
            for asked in ask["fallen"]
        ],
    }


def check_handing(inputs: Inputs) -> Inputs:
    """An act that hands out a transport key, and what one member finds in it."""
    content = content_of(inputs)
    block = ControlBlock(bytes(32), 0, bytes(32), 0, ((0, GovTransport.TYPE, content),))
    statement = block.statement(bytes(32))
    GovTransport.SCHEMA.check(content)
    assert not statement.ignored
    handed = Rotation(content["generation"], content["key"], statement.handings, (), ())
    founding = TransportKey(bytes(32))
    keychain = Keychain(Identity.from_seed(inputs["seed"]), founding)
    keychain.refresh(Rotations((handed,)))
    best = keychain.keys[-1]
    return {"opens": None if best == founding else best.key}


def check_rotations(inputs: Inputs) -> Inputs:
    """The transport keys that control blocks hand out, in every order of the blocks."""
    held = Held(inputs["blocks"])
    control = held.control()
    membership = fold(read_genesis(inputs["genesis"]), control, held.is_ancestor)
    assert fold(membership.genesis, control[::-1], held.is_ancestor) == membership
    ranked = [
        {"generation": each.generation, "key": each.key, "counts": each.counts, "leaked": list(each.leaked)}
        for each in membership.transport.ranked
    ]
    return {"ranked": ranked}


CHECKS: dict[str, Callable[[Inputs], Inputs]] = {
    "genesis": check_genesis,
    "epoch": check_epoch,
    "enrolment": check_enrolment,
    "revocation": check_revocation,
    "request": check_request,
    "request-text": check_request_text,
    "reply": check_reply,
    "membership": check_membership,
    "handing": check_handing,
    "rotations": check_rotations,
}
