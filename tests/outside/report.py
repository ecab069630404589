"""What both outside verifiers share: read blocks' headers as JSON, ask a COSE library about each, report as JSON.

Nothing of medledger is imported here or in the two scripts: they know the written format only, and run in an
environment where medledger is not installed. Input, from the file named on the command line or from standard input:

    {"ledger_id": hex, "blocks": [{"name": text, "header": hex, "author": hex}, ...]}

`author` is the Ed25519 key that the block is expected to be by. The verdict of each block is `valid` or `refused`:

1. the COSE library checks the signature over the header's bytes, external_aad = CBOR ["medledger/block/1", ledger_id]
2. the algorithm in the protected header is -19 (Ed25519, RFC 9864)
3. the payload is an array of 13 items, its version is 1 and its author is the expected one

Exit code 0: all valid. 1: at least one refused. 2: the input cannot be used.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path

import cbor2

ALG_ED25519 = -19
DOMAIN = "medledger/block/1"
PAYLOAD_ITEMS = 13


class Refused(Exception):
    """A block that this verifier does not accept, and why."""


# (header bytes, public key, external_aad) -> (algorithm in the protected header, payload); raises when not verified
Verifier = Callable[[bytes, bytes, bytes], tuple[int, bytes]]


def judge(header: bytes, author: bytes, ledger_id: bytes, verify: Verifier) -> dict[str, object]:
    """Verify one header from its bytes alone and say what it states; raises `Refused`."""
    external_aad = cbor2.dumps([DOMAIN, ledger_id])
    try:
        algorithm, payload = verify(header, author, external_aad)
    except Exception as error:  # whatever a library raises on hostile bytes, it has refused them
        raise Refused(f"{type(error).__name__}: {error}") from error
    if algorithm != ALG_ED25519:
        raise Refused(f"algorithm {algorithm} is not {ALG_ED25519}")
    try:
        items = cbor2.loads(payload)
    except Exception as error:  # as above
        raise Refused(f"the payload is not CBOR: {error}") from error
    if not isinstance(items, list) or len(items) != PAYLOAD_ITEMS or items[0] != 1:
        raise Refused("the payload is not a block header of version 1")
    if items[1] != author:
        raise Refused("the payload names another author")
    return {"author": author.hex(), "seq": items[2], "id": hashlib.sha256(header).hexdigest()}


def run(name: str, verify: Verifier) -> int:
    """Judge every block of the input and print the report."""
    try:
        source = json.loads(Path(sys.argv[1]).read_text() if len(sys.argv) > 1 else sys.stdin.read())
        ledger_id = bytes.fromhex(source["ledger_id"])
        blocks = [(b["name"], bytes.fromhex(b["header"]), bytes.fromhex(b["author"])) for b in source["blocks"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        print(f"{name}: the input cannot be used: {error!r}", file=sys.stderr)
        return 2
    results: list[dict[str, object]] = []
    for block_name, header, author in blocks:
        try:
            stated = judge(header, author, ledger_id, verify)
            results.append({"name": block_name, "verdict": "valid", **stated})
        except Refused as refusal:
            results.append({"name": block_name, "verdict": "refused", "reason": str(refusal)})
    print(json.dumps({"verifier": name, "results": results}))
    return 0 if all(result["verdict"] == "valid" for result in results) else 1
