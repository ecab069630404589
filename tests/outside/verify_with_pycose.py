"""Verify medledger blocks with pycose: `python verify_with_pycose.py [blocks.json]`. See report.py for the format.

pycose 1.1.0 is older than RFC 9864 and knows Ed25519 as EdDSA (-8) only, so the algorithm -19 is registered first;
the arithmetic is the same, with the curve fixed to Ed25519.
"""

from __future__ import annotations

import sys

from pycose.algorithms import CoseAlgorithm, EdDSA
from pycose.headers import Algorithm
from pycose.keys import OKPKey
from pycose.keys.curves import Ed25519
from pycose.messages import Sign1Message
from report import ALG_ED25519, Refused, run


@CoseAlgorithm.register_attribute()
class Ed25519Algorithm(EdDSA):
    """EdDSA with the curve Ed25519 and nothing else (RFC 9864)."""

    identifier = ALG_ED25519
    fullname = "ED25519"


def verify(header: bytes, public_key: bytes, external_aad: bytes) -> tuple[int, bytes]:
    """Check one COSE_Sign1 with pycose."""
    message = Sign1Message.decode(header)
    message.external_aad = external_aad
    message.key = OKPKey(crv=Ed25519, x=public_key)
    if not message.verify_signature():
        raise Refused("the signature does not verify")
    if Algorithm not in message.phdr:
        raise Refused("the algorithm is not protected by the signature")
    return message.phdr[Algorithm].identifier, message.payload


if __name__ == "__main__":
    sys.exit(run("pycose", verify))
