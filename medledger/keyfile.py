"""The file that holds an identity's secret.

    ["medledger/key/1", public key, null, seed]
    ["medledger/key/1", public key, ["argon2id", passes, memory in bytes, salt], nonce || sealed seed]

in deterministic CBOR. The second form is for a passphrase: Argon2id makes a key of it, XChaCha20-Poly1305 seals the
seed under that key, and the encoding of the first three fields is authenticated with it.

Rules:

- The file belongs to its owner alone: one that group or others can read or write is refused, with how to mend it.
- Creation is atomic and durable, and never overwrites: losing a key is losing a feed. What a killed process may have
  left unflushed is flushed before the key is used.
- The cost of Argon2id is stored so that it can grow later; a file that asks for more than `MAX_PASSES` or
  `MAX_MEMORY_BYTES` is refused before anything is computed, so that opening a hostile file cannot exhaust a small box.
- Whatever is wrong is a `KeyFileError` that says what to do; a file of a later version is a `NeedsNewerError`. Only
  `FileNotFoundError` from `read` and `FileExistsError` from `create` pass through, for `load_or_create` to act on.
"""

from __future__ import annotations

import errno
import unicodedata
from os import urandom
from pathlib import Path
from typing import Any, Final, NamedTuple

from nacl.bindings import (
    crypto_aead_xchacha20poly1305_ietf_decrypt,
    crypto_aead_xchacha20poly1305_ietf_encrypt,
)
from nacl.exceptions import CryptoError
from nacl.pwhash import argon2id

from medledger import cbor, files
from medledger.errors import KeyFileError, MalformedError, NeedsNewerError, UsageError
from medledger.limits import MAX_KEY_FILE_BYTES

PASSES: Final = 3
MEMORY_BYTES: Final = 64 * 1024 * 1024
"""RFC 9106's second recommended option: 64 MiB, which a box with 1 GiB has to spare for a moment."""

MAX_PASSES: Final = 16
MAX_MEMORY_BYTES: Final = 256 * 1024 * 1024

_FORMAT: Final = "medledger/key/1"
_FAMILY: Final = "medledger/key/"
_ARGON2ID: Final = "argon2id"
_SALT_BYTES: Final = 16
_NONCE_BYTES: Final = 24
_SEED_BYTES: Final = 32
_SEALED_BYTES: Final = _NONCE_BYTES + _SEED_BYTES + 16


class StoredKey(NamedTuple):
    """What a key file holds: the seed, and the public key that it must lead to."""

    public_key: bytes
    seed: bytes

    def __repr__(self) -> str:
        return f"StoredKey({self.public_key.hex()})"  # the seed never shows


def create(path: Path, public_key: bytes, seed: bytes, passphrase: str | None) -> None:
    """Write a new key file, durable on return; `FileExistsError` when the name is taken."""
    fields: list[Any] = [_FORMAT, public_key, None]
    secret = seed
    if passphrase is not None:
        fields[2] = [_ARGON2ID, PASSES, MEMORY_BYTES, urandom(_SALT_BYTES)]
        nonce = urandom(_NONCE_BYTES)
        key = _stretched(passphrase, *fields[2][1:])
        secret = nonce + crypto_aead_xchacha20poly1305_ietf_encrypt(seed, cbor.encode(fields), nonce, key)
    try:
        files.create(path, cbor.encode([*fields, secret]))
    except FileExistsError:
        raise
    except OSError as error:
        raise KeyFileError(
            f"the key file {path} cannot be written: {error.strerror or error}",
            hint="Choose a directory that exists, that you may write to, and that supports hard links.",
        ) from error


def is_protected(path: Path) -> bool:
    """Whether a key file asks for a passphrase. Raises as `read` does, without computing anything."""
    return _fields(path)[2] is not None


def read(path: Path, passphrase: str | None) -> StoredKey:
    """Read a key file; `FileNotFoundError` when there is none. The caller compares the two halves of the key."""
    fields = _fields(path)
    _keep_name(path)
    if fields[2] is None:
        if passphrase is not None:
            raise KeyFileError(f"the key file {path} has no passphrase", hint="Open it without one.")
        return StoredKey(fields[1], fields[3])
    if passphrase is None:
        raise KeyFileError(f"the key file {path} needs its passphrase", hint="Give it with the file's name.")
    return StoredKey(fields[1], _opened(path, fields, passphrase))


def _fields(path: Path) -> list[Any]:
    """What stands in a key file, checked in shape, with the secret as it is stored."""
    try:
        found = files.read(path, MAX_KEY_FILE_BYTES)
        fields = cbor.decode(found.data, max_size=MAX_KEY_FILE_BYTES)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise KeyFileError(
            f"the key file {path} cannot be read: {error.strerror or error}",
            hint="Check the path, who owns the file, and the disk.",
        ) from error
    except MalformedError as error:
        raise _damaged(path, "it is not in the format of a key file") from error
    if found.mode & 0o077:
        raise KeyFileError(
            f"the key file {path} can be used by others than its owner (mode {found.mode:04o})",
            hint=f"Run: chmod 600 {path}",
        )
    return _check_shape(path, fields)


def _keep_name(path: Path) -> None:
    """Make the file's name durable before the key is used: whoever made it may have been killed before that.

    A key in a directory that we may not read, or on a medium that cannot be written, is somebody else's to keep.
    """
    try:
        files.sync_directory(path.parent)
    except PermissionError:
        return
    except OSError as error:
        if error.errno != errno.EROFS:
            raise KeyFileError(
                f"the key file {path} cannot be made durable: {error.strerror or error}",
                hint="A power cut could take the key with it: mend the disk, then try again.",
            ) from error


def _check_shape(path: Path, fields: object) -> list[Any]:
    if not isinstance(fields, list) or len(fields) != 4 or not isinstance(fields[0], str):
        raise _damaged(path, "it is not in the format of a key file")
    if fields[0] != _FORMAT:
        if fields[0].startswith(_FAMILY):
            raise NeedsNewerError(f"the key file {path} was written by newer software ({fields[0]})")
        raise _damaged(path, "it is not in the format of a key file")
    _, public_key, protection, secret = fields
    if not _is_bytes(public_key, 32) or not _is_bytes(secret, _SEED_BYTES if protection is None else _SEALED_BYTES):
        raise _damaged(path, "a key has the wrong length")
    if protection is None:
        return fields
    if not isinstance(protection, list) or not protection or not isinstance(protection[0], str):
        raise _damaged(path, "its passphrase settings make no sense")
    if protection[0] != _ARGON2ID:
        raise NeedsNewerError(f"the key file {path} uses an unknown protection ({protection[0]!r})")
    if len(protection) != 4 or not _is_bytes(protection[3], _SALT_BYTES):
        raise _damaged(path, "its passphrase settings make no sense")
    _, passes, memory, _ = protection
    if type(passes) is not int or type(memory) is not int:
        raise _damaged(path, "its passphrase settings make no sense")
    if not 1 <= passes <= MAX_PASSES or not argon2id.MEMLIMIT_MIN <= memory <= MAX_MEMORY_BYTES:
        raise _damaged(path, f"its passphrase settings ({passes} passes over {memory} bytes) are out of bounds")
    return fields


def _opened(path: Path, fields: list[Any], passphrase: str) -> bytes:
    sealed: bytes = fields[3]
    key = _stretched(passphrase, *fields[2][1:])
    try:
        return crypto_aead_xchacha20poly1305_ietf_decrypt(
            sealed[_NONCE_BYTES:], cbor.encode(fields[:3]), sealed[:_NONCE_BYTES], key
        )
    except CryptoError as error:
        raise KeyFileError(
            f"the key file {path} does not open: the passphrase is wrong, or the file is damaged",
            hint="Try the passphrase again, then a backup of the file.",
        ) from error


def _stretched(passphrase: str, passes: int, memory: int, salt: bytes) -> bytes:
    """The key that Argon2id makes of a passphrase, in NFC: keyboards disagree on how to compose a letter."""
    try:
        password = unicodedata.normalize("NFC", passphrase).encode()
    except (TypeError, UnicodeEncodeError) as error:
        raise UsageError("a passphrase must be text that can be encoded") from error
    if not password:
        raise UsageError("a passphrase must not be empty")
    try:
        return argon2id.kdf(32, password, salt, passes, memory)
    except CryptoError as error:
        raise KeyFileError(
            f"there is not enough memory to use the passphrase ({memory // 2**20} MiB)",
            hint="Close other programs and try again.",
        ) from error


def _is_bytes(value: object, size: int) -> bool:
    return type(value) is bytes and len(value) == size


def _damaged(path: Path, reason: str) -> KeyFileError:
    return KeyFileError(
        f"the key file {path} cannot be used: {reason}",
        hint="Check that it is the right file, or restore it from a backup.",
    )
