"""Vectors of the Ed25519 verifier rule: libsodium's `crypto_sign_open`, cofactorless and strict about encodings.

Verifiers disagree on signatures that nobody makes by accident (small-order points, mixed-order keys, encodings that are
not canonical). Replicas must not, so one verdict is written down for each kind. The arithmetic is libsodium's own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from nacl.bindings import crypto_core_ed25519_add, crypto_scalarmult_ed25519_base_noclamp

from .making import Vector, accepted, key, refused, sign

L = 2**252 + 27742317777372353535851937790883648493
P = 2**255 - 19
ORDER_8 = bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a")
SMALL_ORDER = {
    "order-1": (1).to_bytes(32, "little"),
    "order-2": (P - 1).to_bytes(32, "little"),
    "order-4": bytes(32),
    "order-4-negative": bytes(31) + b"\x80",
    "order-8": ORDER_8,
    "order-8-negative": ORDER_8[:31] + bytes([ORDER_8[31] | 0x80]),
    "order-8-other": bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
    "order-1-not-canonical": (P + 1).to_bytes(32, "little"),
    "order-4-not-canonical": P.to_bytes(32, "little"),
    "order-1-negative-zero": (1).to_bytes(31, "little") + b"\x80",
}
"""Encodings of the points whose order divides 8, some of them not canonical."""

MESSAGE = b"a message that was signed"


def scalar(value: int) -> bytes:
    """A scalar's encoding."""
    return value.to_bytes(32, "little")


def point(value: int) -> bytes:
    """value times the base point."""
    return crypto_scalarmult_ed25519_base_noclamp(scalar(value))


def challenge(r: bytes, public_key: bytes, message: bytes) -> int:
    """The hash that ties R, the key and the message together."""
    return int.from_bytes(hashlib.sha512(r + public_key + message).digest(), "little") % L


def number(text: str) -> int:
    """A scalar that is fixed by its name."""
    return int.from_bytes(hashlib.sha512(text.encode()).digest(), "little") % L


def messages() -> Iterator[bytes]:
    """Messages without end, to search a challenge among."""
    n = 0
    while True:
        yield b"message %d" % n
        n += 1


def bad(name: str, why: str, public_key: bytes, message: bytes, signature: bytes) -> Vector:
    """A signature that does not verify."""
    inputs = {"public_key": public_key, "message": message, "signature": signature}
    return refused("signature", name, why, inputs, "SignatureError")


def good(name: str, why: str, public_key: bytes, message: bytes, signature: bytes) -> Vector:
    """A signature that verifies."""
    return accepted("signature", name, why, {"public_key": public_key, "message": message, "signature": signature})


def plain_cases() -> list[Vector]:
    """An honest signature, and its bytes changed."""
    public_key, signature = key("box"), sign("box", MESSAGE)
    r, s = signature[:32], int.from_bytes(signature[32:], "little")
    flips = {at: signature[:at] + bytes([signature[at] ^ 1]) + signature[at + 1 :] for at in (0, 32)}
    above = ((s + L) & (2**256 - 1)).to_bytes(32, "little")
    return [
        good("honest", "A signature as the author makes it.", public_key, MESSAGE, signature),
        good("honest-empty-message", "Of no bytes.", public_key, b"", sign("box", b"")),
        bad("another-message", "A signature of another message.", public_key, MESSAGE + b".", signature),
        bad("another-key", "A signature under another key.", key("thief"), MESSAGE, signature),
        bad("r-flipped", "One bit of R.", public_key, MESSAGE, flips[0]),
        bad("s-flipped", "One bit of S.", public_key, MESSAGE, flips[32]),
        bad("s-plus-l", "S + L, the same scalar in an encoding that is not canonical.", public_key, MESSAGE, r + above),
        bad("s-is-l", "S = L.", public_key, MESSAGE, r + scalar(L)),
        bad(
            "s-high-bits",
            "The three highest bits of S set.",
            public_key,
            MESSAGE,
            signature[:63] + bytes([signature[63] | 0xE0]),
        ),
        bad("63-bytes", "A signature of 63 bytes.", public_key, MESSAGE, signature[:63]),
        bad(
            "65-bytes",
            "A signature of 65 bytes: its last byte may not slide into the message.",
            public_key,
            MESSAGE[1:],
            signature + MESSAGE[:1],
        ),
        bad("key-31-bytes", "A key of 31 bytes.", public_key[:31], MESSAGE, signature),
        bad("zeros", "A signature of zeros.", public_key, MESSAGE, bytes(64)),
    ]


def small_order() -> list[Vector]:
    """Signatures that a lax verifier takes, because a point of small order vanishes."""
    vectors = []
    r = number("r")
    for name, encoded in SMALL_ORDER.items():
        # R = r B and S = r: good for every message whose challenge is a multiple of 8, under a key of small order.
        message = next(m for m in messages() if challenge(point(r), encoded, m) % 8 == 0)
        why = "A public key of small order: this signature would be anybody's."
        vectors.append(bad(f"key-{name}", why, encoded, message, point(r) + scalar(r)))
        # R of small order and S = h a: whoever holds the key can make it, and verifiers disagree on it.
        secret = number("a")
        public_key = point(secret)
        s = challenge(encoded, public_key, MESSAGE) * secret % L
        why = "R of small order."
        vectors.append(bad(f"r-{name}", why, public_key, MESSAGE, encoded + scalar(s)))
    return vectors


def mixed_order() -> list[Vector]:
    """A key with a part of small order: only the verdicts of cofactorless verifiers agree with libsodium's."""
    secret, r = number("a"), number("r")
    public_key = crypto_core_ed25519_add(point(secret), ORDER_8)
    whole = next(m for m in messages() if challenge(point(r), public_key, m) % 8 == 0)
    partial = next(m for m in messages() if challenge(point(r), public_key, m) % 8 == 4)
    signatures = {
        message: point(r) + scalar((r + challenge(point(r), public_key, message) * secret) % L)
        for message in (whole, partial)
    }
    plain_key = point(secret)
    mixed_r = crypto_core_ed25519_add(point(r), ORDER_8)
    s = scalar((r + challenge(mixed_r, plain_key, MESSAGE) * secret) % L)
    return [
        good(
            "mixed-key-vanishing",
            "A key of mixed order whose part of small order vanishes. It verifies; it cannot be enrolled.",
            public_key,
            whole,
            signatures[whole],
        ),
        bad(
            "mixed-key",
            "A key of mixed order, whose part of small order does not vanish: cofactored verifiers accept this.",
            public_key,
            partial,
            signatures[partial],
        ),
        bad("mixed-r", "R of mixed order: cofactored verifiers accept this.", plain_key, MESSAGE, mixed_r + s),
    ]


def public_keys() -> list[Vector]:
    """Which 32 bytes are a key that may be enrolled or hold an office."""
    vectors = [accepted("public-key", "honest", "A key of the main subgroup.", {"public_key": key("box")})]
    cases = {f"small-{name}": (f"A point of small order ({name}).", encoded) for name, encoded in SMALL_ORDER.items()}
    cases["mixed-order"] = ("A point of mixed order.", crypto_core_ed25519_add(point(number("a")), ORDER_8))
    cases["not-on-the-curve"] = ("No point has these bytes.", (2).to_bytes(32, "little"))
    cases["not-canonical"] = ("A coordinate of p + 3.", (P + 3).to_bytes(32, "little"))
    cases["all-ones"] = ("256 ones.", b"\xff" * 32)
    cases["31-bytes"] = ("A byte short.", key("box")[:31])
    cases["33-bytes"] = ("A byte too many.", key("box") + b"\x00")
    for name, (why, encoded) in cases.items():
        vectors.append(refused("public-key", name, why, {"public_key": encoded}, "MalformedError"))
    return vectors


def make() -> list[Vector]:
    """All of them."""
    return [*plain_cases(), *small_order(), *mixed_order(), *public_keys()]
