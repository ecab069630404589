"""Ed25519 keys: checking signatures, signing, and the identity that a node keeps in a file.

Rules:

- `verify` is the only place that checks a signature, so that everybody reaches the same verdict: cofactorless, with
  canonical encodings and no small-order key or R, as libsodium's `crypto_sign_open` does it. A second implementation
  that accepts one signature more would split the replicas.
- A key is enrolled only when `check_public_key` accepts it: a point of the main subgroup, canonically encoded.
- An identity is one Ed25519 key; its X25519 key, for what is sealed to it, is derived from it.
- Whatever can sign and knows its public key is a `Signer`: a secure element as well as a file.
- What needs random bytes takes them from a `Randomness` that it is given, the operating system's unless somebody says
  otherwise: a simulation that replays byte for byte gives its own, and nothing else ever should.
- A secret never shows in a representation or an error.

The file that holds an identity is described in `medledger.keyfile`, the signed height beside it in `medledger.witness`.
"""

from __future__ import annotations

from base64 import b32encode
from collections.abc import Callable
from hashlib import blake2b, sha256
from os import PathLike, urandom
from pathlib import Path
from typing import Final, Protocol

from nacl.bindings import (
    crypto_box,
    crypto_box_NONCEBYTES,
    crypto_box_seal_open,
    crypto_box_seed_keypair,
    crypto_box_SEEDBYTES,
    crypto_core_ed25519_is_valid_point,
    crypto_sign,
    crypto_sign_ed25519_pk_to_curve25519,
    crypto_sign_ed25519_sk_to_curve25519,
    crypto_sign_open,
    crypto_sign_seed_keypair,
)
from nacl.exceptions import BadSignatureError, CryptoError

from medledger import keyfile
from medledger.errors import KeyFileError, MalformedError, SealError, SignatureError, UsageError
from medledger.witness import Witness

__all__ = [
    "PUBLIC_KEY_BYTES",
    "SIGNATURE_BYTES",
    "Identity",
    "Randomness",
    "Signer",
    "Witness",
    "check_public_key",
    "fingerprint",
    "seal_to",
    "verify",
]

PUBLIC_KEY_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64
SEED_BYTES: Final = 32

Randomness = Callable[[int], bytes]
"""Gives so many bytes that nobody can guess."""


class Signer(Protocol):
    """Whatever can sign as one Ed25519 key."""

    @property
    def public_key(self) -> bytes:
        """The 32 bytes of the public key."""
        ...

    def sign(self, message: bytes) -> bytes:
        """The 64 bytes of the signature over `message`."""
        ...


class MemberKey(Signer, Protocol):
    """What a ledger needs of a member's key. `Identity` is one in software; a secure element can be another."""

    @property
    def kem_public_key(self) -> bytes:
        """The 32 bytes of the X25519 key that secrets are sealed to: the signing key's image, or one of its own."""
        ...

    @property
    def path(self) -> Path | None:
        """Where the key lives, and beside it its witness. None: the witness lasts as long as the process."""
        ...

    def unseal(self, sealed: bytes) -> bytes:
        """What was sealed to `kem_public_key`. Raises `SealError`."""
        ...


def verify(public_key: bytes, message: bytes, signature: bytes) -> None:
    """Raise `SignatureError` unless `signature` is the signature of `message` under `public_key`."""
    try:
        # The binding checks no length: it would read past a short key, and let bytes slide from message to signature.
        if len(signature) != SIGNATURE_BYTES or len(public_key) != PUBLIC_KEY_BYTES:
            raise SignatureError("a signature has 64 bytes and a public key 32")
        crypto_sign_open(signature + message, public_key)
    except BadSignatureError:
        raise SignatureError("the signature does not verify") from None
    except TypeError as error:
        raise UsageError("a key, a message and a signature must be bytes") from error


def check_public_key(public_key: bytes) -> None:
    """Raise `MalformedError` unless `public_key` is an Ed25519 key that may be enrolled."""
    if type(public_key) is not bytes:
        raise UsageError(f"a public key must be bytes, not {type(public_key).__name__}")
    if len(public_key) != PUBLIC_KEY_BYTES:
        raise MalformedError(f"a public key is {PUBLIC_KEY_BYTES} bytes, not {len(public_key)}")
    if not crypto_core_ed25519_is_valid_point(public_key):
        raise MalformedError("these 32 bytes are not a usable Ed25519 key")


def fingerprint(public_key: bytes) -> str:
    """A key in a form that people compare by eye or aloud: 80 bits of its SHA-256 in four groups of four letters."""
    letters = b32encode(sha256(public_key).digest()[:10]).decode()
    return "-".join(letters[at : at + 4] for at in range(0, 16, 4))


def seal_to(kem_public_key: bytes, plaintext: bytes, *, randomness: Randomness = urandom) -> bytes:
    """Encrypt `plaintext` so that only the holder of the X25519 key can open it (a libsodium sealed box).

    The same construction as `crypto_box_seal`, which takes no randomness from outside: an ephemeral key, in front, and
    BLAKE2b-192 of both public keys as the nonce.
    """
    try:
        ephemeral, secret = crypto_box_seed_keypair(randomness(crypto_box_SEEDBYTES))
        nonce = blake2b(ephemeral + kem_public_key, digest_size=crypto_box_NONCEBYTES).digest()
        return ephemeral + crypto_box(plaintext, nonce, kem_public_key, secret)
    except (CryptoError, TypeError) as error:
        raise SealError("nothing can be sealed to this key: it is not a usable X25519 key") from error


class Identity:
    """An Ed25519 key pair, and the X25519 pair derived from it. `path` is its file, or None."""

    __slots__ = ("_kem_secret_key", "_secret_key", "kem_public_key", "path", "public_key")

    def __init__(self, seed: bytes, path: Path | None = None) -> None:
        if type(seed) is not bytes or len(seed) != SEED_BYTES:
            raise UsageError(f"the seed of an identity is {SEED_BYTES} bytes")
        self.public_key, self._secret_key = crypto_sign_seed_keypair(seed)
        self.kem_public_key = crypto_sign_ed25519_pk_to_curve25519(self.public_key)
        self._kem_secret_key = crypto_sign_ed25519_sk_to_curve25519(self._secret_key)
        self.path = path

    @classmethod
    def generate(cls) -> Identity:
        """A new identity, in memory only until it is saved."""
        return cls(urandom(SEED_BYTES))

    @classmethod
    def from_seed(cls, seed: bytes) -> Identity:
        """The identity of a 32-byte seed, in memory only until it is saved."""
        return cls(seed)

    @classmethod
    def load(cls, path: str | PathLike[str], passphrase: str | None = None) -> Identity:
        """The identity in a key file. `KeyFileError` says what is wrong with the file and how to mend it."""
        place = Path(path)
        try:
            return cls._read(place, passphrase)
        except FileNotFoundError as error:
            raise KeyFileError(
                f"there is no key file {place}", hint="Create one, or give the path of the one that you have."
            ) from error

    @classmethod
    def load_or_create(cls, path: str | PathLike[str], passphrase: str | None = None) -> Identity:
        """The identity in a key file, which is created with a new one when there is none."""
        place = Path(path)
        try:
            return cls._read(place, passphrase)
        except FileNotFoundError:
            identity = cls.generate()
        try:
            identity._create(place, passphrase)
        except FileExistsError:
            # Another process was faster: its key is the one that counts.
            return cls.load(place, passphrase)
        return identity

    def save(self, path: str | PathLike[str], passphrase: str | None = None) -> None:
        """Write a new key file, durable on return, and keep its path. A file that exists is never overwritten."""
        place = Path(path)
        try:
            self._create(place, passphrase)
        except FileExistsError as error:
            raise KeyFileError(
                f"the key file {place} exists and is never overwritten",
                hint="Choose another name, or move the old file to a safe place first.",
            ) from error

    @classmethod
    def _read(cls, path: Path, passphrase: str | None) -> Identity:
        stored = keyfile.read(path, passphrase)
        identity = cls(stored.seed, path)
        if identity.public_key != stored.public_key:
            raise KeyFileError(
                f"the key file {path} is damaged: its public key is not the one of its secret",
                hint="Restore it from a backup.",
            )
        return identity

    def _create(self, path: Path, passphrase: str | None) -> None:
        keyfile.create(path, self.public_key, self._secret_key[:SEED_BYTES], passphrase)
        self.path = path

    def sign(self, message: bytes) -> bytes:
        """The 64 bytes of the signature over `message`."""
        try:
            return crypto_sign(message, self._secret_key)[:SIGNATURE_BYTES]
        except TypeError as error:
            raise UsageError("a message to sign must be bytes") from error

    def unseal(self, sealed: bytes) -> bytes:
        """The plaintext that `seal_to` sealed to this identity; `SealError` when it was not, or was changed."""
        try:
            return crypto_box_seal_open(sealed, self.kem_public_key, self._kem_secret_key)
        except (CryptoError, TypeError) as error:
            raise SealError("this was not sealed to our key, or it was changed on the way") from error

    @property
    def fingerprint(self) -> str:
        """The public key in a form that people compare by eye or aloud."""
        return fingerprint(self.public_key)

    def __repr__(self) -> str:
        return f"<Identity {self.fingerprint}>"
