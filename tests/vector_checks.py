"""How each kind of vector is run through the library's public functions: `CHECKS[kind](inputs)` gives what must come.

A check returns what an accepted vector's `expected` says beside its verdict, and raises the library's error for one
that is refused. Hexadecimal in the files is turned into bytes by name: see `TEXTS` and `read`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from medledger import cbor, cose, fork, keys, merkle, validation
from medledger.block import parse_block, split_block
from medledger.bundle import decode_manifest, split_segment
from medledger.entry import decode_entry
from medledger.header import Head
from medledger.records import lookup, witness_message
from vector_checks_gossip import CHECKS as GOSSIP_CHECKS
from vector_checks_members import CHECKS as MEMBER_CHECKS

TEXTS = frozenset(
    (
        *("type", "text", "topic", "broker", "name", "label", "organisation", "roles", "reason", "state"),
        *("verdict", "error", "fault", "beacons", "queries", "live", "forks", "inbox", "outcomes"),
    )
)
"""Fields that are text, not bytes."""

RUN = re.compile(r"\(([0-9a-f]{2})\*([0-9]+)\)")

Inputs = dict[str, Any]


def unhex(text: str) -> bytes:
    """Bytes of a vector's hexadecimal, in which (xx*n) is a byte repeated."""
    return bytes.fromhex(RUN.sub(lambda run: run[1] * int(run[2]), text))


def read(value: Any, name: str = "") -> Any:
    """A vector's JSON with its hexadecimal as bytes."""
    if isinstance(value, dict):
        return {key: read(item, key) for key, item in value.items()}
    if isinstance(value, list):
        return [read(item, name) for item in value]
    return unhex(value) if isinstance(value, str) and name not in TEXTS else value


def value_json(value: Any) -> Any:
    """A decoded CBOR value as vectors write it."""
    if isinstance(value, bytes):
        return {"bytes": value.hex()}
    if isinstance(value, dict):
        return {"map": [[value_json(key), value_json(item)] for key, item in value.items()]}
    return [value_json(item) for item in value] if isinstance(value, list) else value


def head_of(inputs: Inputs) -> Head | None:
    """The head that a vector gives."""
    return None if inputs["head"] is None else Head(**inputs["head"])


# --- bytes --------------------------------------------------------------------------------------------------------


def check_cbor(inputs: Inputs) -> Inputs:
    """Strict decoding; what comes out encodes to what went in."""
    value = cbor.decode(inputs["cbor"], max_size=1 << 16)
    assert cbor.encode(value) == inputs["cbor"]
    return {"value": value_json(value)}


def check_cose(inputs: Inputs) -> Inputs:
    """A COSE_Sign1 under a key."""
    payload = cose.verify1(
        inputs["message"], inputs["public_key"], external_aad=inputs["external_aad"], strict=inputs["strict"]
    )
    return {"payload": payload}


def check_signature(inputs: Inputs) -> Inputs:
    """The verifier rule."""
    keys.verify(inputs["public_key"], inputs["message"], inputs["signature"])
    return {}


def check_public_key(inputs: Inputs) -> Inputs:
    """Which keys may be enrolled."""
    keys.check_public_key(inputs["public_key"])
    return {}


def check_root(inputs: Inputs) -> Inputs:
    """A Merkle root, from what the leaves hold."""
    leaves = [merkle.leaf_hash(data) for data in inputs["data"]]
    return {"leaf_hashes": leaves, "root": merkle.root(leaves)}


def check_inclusion(inputs: Inputs) -> Inputs:
    """An inclusion proof."""
    merkle.verify_inclusion(**inputs)
    return {}


def check_consistency(inputs: Inputs) -> Inputs:
    """A consistency proof."""
    merkle.verify_consistency(**inputs)
    return {}


# --- entries and blocks -------------------------------------------------------------------------------------------


def check_entry(inputs: Inputs) -> Inputs:
    """An entry's envelope."""
    entry = decode_entry(inputs["entry"])
    content = cbor.encode(entry.content)
    return {"salt": entry.salt, "type": entry.type, "time": entry.time, "subject": entry.subject, "content": content}


def check_content(inputs: Inputs) -> Inputs:
    """An entry's content against the schema of its type."""
    record = lookup(inputs["type"])
    assert record is not None
    content = cbor.decode(inputs["content"], max_size=1 << 16)
    record.SCHEMA.check(content)
    assert cbor.encode(record.from_content(content).to_content()) == inputs["content"]
    return {"control": record.CONTROL}


def check_witness(inputs: Inputs) -> Inputs:
    """What a witness signs of an entry, and that nothing else is what its signature verifies."""
    content = cbor.decode(inputs["content"], max_size=1 << 16)
    lookup(inputs["type"]).SCHEMA.check(content)  # type: ignore[union-attr]
    message = witness_message(
        inputs["ledger_id"], inputs["author"], inputs["type"], inputs["time"], inputs["subject"], content
    )
    keys.verify(inputs["key"], message, inputs["signature"])
    return {"message": message}


def check_block(inputs: Inputs) -> Inputs:
    """A block that is to stand by its own signature."""
    feed, head, raw = inputs["feed"], head_of(inputs), inputs["block"]
    valid = validation.validate_block(inputs["ledger_id"], feed, head, raw)
    block = parse_block(raw)
    assert block.raw == raw
    fields = block.header._asdict()
    fields["class"] = fields.pop("block_class")
    fields["parents"] = [list(parent) for parent in fields["parents"]]
    fields["clock"] = list(fields["clock"])
    assert (valid.seq, valid.id, valid.epoch) == (block.seq, block.id, block.header.epoch)
    return {"id": block.id, "has_holes": valid.has_holes, **fields}


def check_unsigned(inputs: Inputs) -> Inputs:
    """A block that differs from an honest one in something that the signature does not cover."""
    honest = inputs.pop("honest")
    check_block({**inputs, "block": honest})
    assert inputs["block"] != honest
    assert split_block(inputs["block"])[1] == split_block(honest)[1]
    return check_block(inputs)


def check_segment(inputs: Inputs) -> Inputs:
    """A range of a feed: always an answer, never an error."""
    accepted, error = validation.validate_range(inputs["ledger_id"], inputs["feed"], head_of(inputs), inputs["blocks"])
    stopped = error and {"error": type(error).__name__, "fault": error.fault.value, "seq": error.seq}
    return {"ids": [block.id for block in accepted], "stopped_by": stopped}


def check_fork(inputs: Inputs) -> Inputs:
    """A fork proof."""
    proof = fork.read_proof(inputs["ledger_id"], inputs["proof"])
    return {"feed": proof.feed, "seq": proof.seq, "prev": proof.prev, "ids": list(proof.ids)}


def check_fork_choice(inputs: Inputs) -> Inputs:
    """Which of two proofs about one feed is kept, whichever came first."""
    one, other = (fork.read_proof(inputs["ledger_id"], raw) for raw in inputs["proofs"])
    kept = fork.canonical(inputs["ledger_id"], one, other)
    assert kept.rank == fork.canonical(inputs["ledger_id"], other, one).rank
    return {"seq": kept.seq, "ids": list(kept.ids)}


# --- bundles ------------------------------------------------------------------------------------------------------


def check_manifest(inputs: Inputs) -> Inputs:
    """A bundle's manifest."""
    manifest = decode_manifest(inputs["manifest"])
    return {
        "genesis": manifest.genesis,
        "segments": [[*segment[:3], [list(span) for span in segment.spans]] for segment in manifest.segments],
        "frontier": [[feed, seq, block_id] for feed, (seq, block_id) in manifest.frontier.items()],
        "fork_proofs": list(manifest.fork_proofs),
    }


def check_bundle_segment(inputs: Inputs) -> Inputs:
    """The blocks in a bundle's segment."""
    return {"blocks": list(split_segment(inputs["segment"]))}


CHECKS: dict[str, Callable[[Inputs], Inputs]] = {
    "cbor": check_cbor,
    "cose": check_cose,
    "signature": check_signature,
    "public-key": check_public_key,
    "merkle-root": check_root,
    "merkle-inclusion": check_inclusion,
    "merkle-consistency": check_consistency,
    "entry": check_entry,
    "content": check_content,
    "witness": check_witness,
    "block": check_block,
    "unsigned": check_unsigned,
    "segment": check_segment,
    "fork": check_fork,
    "fork-choice": check_fork_choice,
    "bundle-manifest": check_manifest,
    "bundle-segment": check_bundle_segment,
    **MEMBER_CHECKS,
    **GOSSIP_CHECKS,
}
