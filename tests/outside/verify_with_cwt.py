"""Verify medledger blocks with cwt: `python verify_with_cwt.py [blocks.json]`. See report.py for the format.

cwt knows the algorithm -19 by itself.
"""

from __future__ import annotations

import sys

from cwt import COSE, COSEKey
from report import ALG_ED25519, Refused, run

KTY, ALG, KEY_OPS, CRV, X = 1, 3, 4, -1, -2
OKP, VERIFY, CURVE_ED25519 = 1, 2, 6
ALG_HEADER = 1


def verify(header: bytes, public_key: bytes, external_aad: bytes) -> tuple[int, bytes]:
    """Check one COSE_Sign1 with cwt."""
    key = COSEKey.new({KTY: OKP, ALG: ALG_ED25519, KEY_OPS: [VERIFY], CRV: CURVE_ED25519, X: public_key})
    protected, _unprotected, payload = COSE.new().decode_with_headers(header, key, external_aad=external_aad)
    if ALG_HEADER not in protected:
        raise Refused("the algorithm is not protected by the signature")
    return protected[ALG_HEADER], payload


if __name__ == "__main__":
    sys.exit(run("cwt", verify))
