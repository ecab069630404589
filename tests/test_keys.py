"""Keys: which signatures verify, which keys may be enrolled, sealing, and the file that holds an identity."""

from __future__ import annotations

import json
import os
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import medledger.keys
from medledger import cbor, keyfile, keys
from medledger.errors import (
    KeyFileError,
    MalformedError,
    MedledgerError,
    NeedsNewerError,
    SealError,
    SignatureError,
    UsageError,
)
from medledger.keys import Identity, Witness

SEED = bytes(range(32))
ME = Identity.from_seed(SEED)
PASSPHRASE = "correct horse"

# Points of small order, and encodings that are not canonical (RFC 8032 section 5.1.3 and CCTV's list).
UNUSABLE_KEYS = {
    "identity": "01" + "00" * 31,
    "order 2": "ec" + "ff" * 30 + "7f",
    "order 4": "00" * 32,
    "order 4, sign bit": "00" * 31 + "80",
    "order 8": "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "order 8, the other": "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "identity not canonical": "ee" + "ff" * 30 + "7f",
    "identity with sign bit": "01" + "00" * 30 + "80",
    "y = p": "ed" + "ff" * 30 + "7f",
    "all ones": "ff" * 32,
    "not on the curve": "02" + "00" * 31,
}


class TestVerify:
    @given(st.binary(max_size=300))
    def test_what_was_signed_verifies(self, message: bytes) -> None:
        """And nothing else does: not another message, key or signature."""
        signature = ME.sign(message)
        assert len(signature) == 64
        keys.verify(ME.public_key, message, signature)
        with pytest.raises(SignatureError):
            keys.verify(ME.public_key, message + b"\x00", signature)
        with pytest.raises(SignatureError):
            keys.verify(Identity.from_seed(bytes(32)).public_key, message, signature)

    def test_every_bit_of_key_and_signature_counts(self) -> None:
        """One flipped bit anywhere is refused."""
        signature = ME.sign(b"message")
        for at in range(64 * 8):
            damaged = bytearray(signature)
            damaged[at // 8] ^= 1 << at % 8
            with pytest.raises(SignatureError):
                keys.verify(ME.public_key, b"message", bytes(damaged))
        for at in range(32 * 8):
            damaged = bytearray(ME.public_key)
            damaged[at // 8] ^= 1 << at % 8
            with pytest.raises(SignatureError):
                keys.verify(bytes(damaged), b"message", signature)

    @pytest.mark.parametrize(
        ("key_size", "signature_size"), [(32, 0), (32, 63), (32, 65), (32, 128), (31, 64), (33, 64), (0, 64)]
    )
    def test_lengths(self, key_size: int, signature_size: int) -> None:
        """Checked first: bytes must not slide between signature and message, nor be read past the end of a key."""
        signature = (ME.sign(b"message") + b"message" * 20)[:signature_size]
        with pytest.raises(SignatureError):
            keys.verify((ME.public_key * 2)[:key_size], b"message", signature)

    def test_only_bytes_are_verified(self) -> None:
        """Other types are the caller's mistake."""
        signature = ME.sign(b"message")
        for arguments in (
            (bytearray(ME.public_key), b"message", signature),
            (ME.public_key, "message", signature),
            (ME.public_key, b"message", bytearray(signature)),
            (ME.public_key, b"message", "s" * 64),
            ("k" * 32, b"message", signature),
            (ME.public_key, b"message", None),
        ):
            with pytest.raises(UsageError):
                keys.verify(*arguments)

    def test_wycheproof(self, shared_data: Callable[[str], Path]) -> None:
        """All 151: 88 valid, 63 invalid."""
        groups = json.loads(shared_data("01-ed25519/wycheproof/ed25519_test.json").read_bytes())["testGroups"]
        verdicts = {"valid": 0, "invalid": 0}
        for group in groups:
            public_key = bytes.fromhex(group["publicKey"]["pk"])
            for case in group["tests"]:
                message, signature = bytes.fromhex(case["msg"]), bytes.fromhex(case["sig"])
                if case["result"] == "valid":
                    keys.verify(public_key, message, signature)
                else:
                    with pytest.raises(SignatureError):
                        keys.verify(public_key, message, signature)
                verdicts[case["result"]] += 1
            keys.check_public_key(public_key)
        assert verdicts == {"valid": 88, "invalid": 63}

    def test_speccheck(self, shared_data: Callable[[str], Path]) -> None:
        """All 12 edge cases get the verdict that the published table gives for libsodium."""
        cases = json.loads(shared_data("01-ed25519/speccheck/cases.json").read_bytes())
        table = shared_data("01-ed25519/speccheck/results.md").read_text()
        (row,) = [line for line in table.splitlines() if line.startswith("|LibSodium")]
        verdicts = ""
        for case in cases:
            try:
                keys.verify(*(bytes.fromhex(case[field]) for field in ("pub_key", "message", "signature")))
                verdicts += "V"
            except SignatureError:
                verdicts += "X"
        assert verdicts == row.split("|", 2)[2].replace("|", "").replace(" ", "") == "XXXVXXXXXXXX"

    def test_speccheck_keys_of_small_order_cannot_be_enrolled(self, shared_data: Callable[[str], Path]) -> None:
        """Cases 0 and 1 have a key of small order, 10 and 11 one that is not canonical either."""
        cases = json.loads(shared_data("01-ed25519/speccheck/cases.json").read_bytes())
        for number in (0, 1, 10, 11):
            with pytest.raises(MalformedError):
                keys.check_public_key(bytes.fromhex(cases[number]["pub_key"]))


class TestPublicKeys:
    def test_an_honest_key_is_accepted(self) -> None:
        """Every generated key."""
        for _ in range(50):
            keys.check_public_key(Identity.generate().public_key)

    @pytest.mark.parametrize("hexadecimal", UNUSABLE_KEYS.values(), ids=UNUSABLE_KEYS)
    def test_unusable_keys_are_refused(self, hexadecimal: str) -> None:
        """Small order, mixed order, not canonical, not a point; and nothing verifies under them."""
        with pytest.raises(MalformedError):
            keys.check_public_key(bytes.fromhex(hexadecimal))
        with pytest.raises(SignatureError):
            keys.verify(bytes.fromhex(hexadecimal), b"", bytes.fromhex(hexadecimal) + bytes(32))

    @pytest.mark.parametrize("size", [0, 31, 33, 64])
    def test_lengths(self, size: int) -> None:
        """Other lengths are malformed."""
        with pytest.raises(MalformedError):
            keys.check_public_key(bytes(size))

    def test_types(self) -> None:
        """Other types are the caller's mistake."""
        with pytest.raises(UsageError):
            keys.check_public_key("k" * 32)  # type: ignore[arg-type]

    def test_fingerprint(self) -> None:
        """Four groups of four letters and digits, different for different keys."""
        assert ME.fingerprint == keys.fingerprint(ME.public_key) == "KZDV-VJ2U-MNDU-YAUF"
        assert Identity.generate().fingerprint != ME.fingerprint


class TestIdentity:
    def test_rfc_8032_test_1(self) -> None:
        """Seed, public key and signature of the specification's first test."""
        identity = Identity.from_seed(bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"))
        assert identity.public_key.hex() == "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
        assert identity.sign(b"").hex().startswith("e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155")

    def test_every_generated_identity_is_another(self) -> None:
        """And has no file."""
        one, other = Identity.generate(), Identity.generate()
        assert one.public_key != other.public_key
        assert one.path is None

    @pytest.mark.parametrize("seed", [b"", bytes(31), bytes(33), bytearray(32), "s" * 32, None])
    def test_seeds(self, seed: Any) -> None:
        """A seed is 32 bytes."""
        with pytest.raises(UsageError):
            Identity.from_seed(seed)

    def test_only_bytes_are_signed(self) -> None:
        """Text is the caller's mistake."""
        with pytest.raises(UsageError):
            ME.sign("text")  # type: ignore[arg-type]

    def test_the_secret_does_not_show(self) -> None:
        """Not in the representation, and nobody can add attributes by mistake."""
        assert repr(ME) == "<Identity KZDV-VJ2U-MNDU-YAUF>"
        with pytest.raises(AttributeError):
            ME.seed = SEED  # type: ignore[attr-defined]


class TestSealing:
    @given(st.binary(max_size=2000))
    def test_round_trip(self, plaintext: bytes) -> None:
        """What is sealed to a key opens with it, is different each time, and opens with no other key."""
        sealed = keys.seal_to(ME.kem_public_key, plaintext)
        assert ME.unseal(sealed) == plaintext
        assert sealed != keys.seal_to(ME.kem_public_key, plaintext)
        with pytest.raises(SealError):
            Identity.generate().unseal(sealed)

    def test_every_byte_counts(self) -> None:
        """A changed or missing byte is refused."""
        sealed = keys.seal_to(ME.kem_public_key, b"secret")
        for at in range(len(sealed)):
            with pytest.raises(SealError):
                ME.unseal(sealed[:at] + bytes((sealed[at] ^ 1,)) + sealed[at + 1 :])
            with pytest.raises(SealError):
                ME.unseal(sealed[:at])

    @pytest.mark.parametrize("key", [b"", bytes(31), bytes(33), bytes(32), b"\x01" + bytes(31), "k" * 32])
    def test_unusable_keys(self, key: Any) -> None:
        """Wrong lengths and points of small order."""
        with pytest.raises(SealError):
            keys.seal_to(key, b"secret")

    def test_types(self) -> None:
        """Text neither seals nor opens."""
        with pytest.raises(SealError):
            keys.seal_to(ME.kem_public_key, "text")  # type: ignore[arg-type]
        with pytest.raises(SealError):
            ME.unseal("text")  # type: ignore[arg-type]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where a key file may go."""
    return tmp_path / "box.key"


def rewrite(path: Path, change: Callable[[list[Any]], None]) -> None:
    """Change the fields of a key file."""
    fields = cbor.decode(path.read_bytes(), max_size=4096)
    change(fields)
    path.write_bytes(cbor.encode(fields))


class TestKeyFile:
    def test_round_trip(self, place: Path) -> None:
        """A saved identity loads again, from text as well as from a Path, and knows its file."""
        identity = Identity.generate()
        identity.save(str(place))
        again = Identity.load(str(place))
        assert (again.public_key, again.kem_public_key) == (identity.public_key, identity.kem_public_key)
        assert identity.path == again.path == place
        assert stat.S_IMODE(place.stat().st_mode) == 0o600
        assert list(place.parent.iterdir()) == [place]

    def test_a_lax_umask_changes_nothing(self, place: Path) -> None:
        """The file is the owner's alone from its first moment."""
        before = os.umask(0)
        try:
            Identity.generate().save(place)
        finally:
            os.umask(before)
        assert stat.S_IMODE(place.stat().st_mode) == 0o600

    def test_load_or_create(self, place: Path) -> None:
        """Creates once, loads ever after."""
        first = Identity.load_or_create(place)
        assert Identity.load_or_create(place).public_key == first.public_key
        assert first.path == place

    def test_processes_that_create_at_once_agree(self, place: Path) -> None:
        """All get the one key that was written first."""
        found: list[bytes] = []
        start = threading.Barrier(8)

        def create() -> None:
            start.wait()
            found.append(Identity.load_or_create(place).public_key)

        threads = [threading.Thread(target=create) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == 8
        assert set(found) == {Identity.load(place).public_key}
        assert list(place.parent.iterdir()) == [place]

    def test_nothing_is_overwritten(self, place: Path) -> None:
        """Not a key, not any other file, not where a dangling link points."""
        Identity.generate().save(place)
        before = place.read_bytes()
        with pytest.raises(KeyFileError, match="never overwritten"):
            Identity.generate().save(place)
        assert place.read_bytes() == before
        link = place.with_name("link.key")
        link.symlink_to("nowhere")
        for create in (Identity.generate().save, Identity.load_or_create):
            with pytest.raises(KeyFileError):
                create(link)
        assert sorted(path.name for path in place.parent.iterdir()) == ["box.key", "link.key"]

    def test_a_missing_file(self, place: Path) -> None:
        """Is named."""
        with pytest.raises(KeyFileError, match=r"no key file .*box\.key") as caught:
            Identity.load(place)
        assert caught.value.hint is not None

    @pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o601, 0o644, 0o666])
    def test_files_of_others_are_refused(self, place: Path, mode: int) -> None:
        """With the command that mends it."""
        Identity.generate().save(place)
        place.chmod(mode)
        with pytest.raises(KeyFileError, match=f"{mode:04o}") as caught:
            Identity.load(place)
        assert caught.value.hint == f"Run: chmod 600 {place}"
        place.chmod(0o400)
        Identity.load(place)

    def test_what_is_not_a_file(self, place: Path) -> None:
        """A directory, a named pipe (which must not block), a missing directory."""
        place.mkdir()
        with pytest.raises(KeyFileError):
            Identity.load(place)
        pipe = place / "pipe"
        os.mkfifo(pipe, 0o600)
        started = time.monotonic()
        with pytest.raises(KeyFileError):
            Identity.load(pipe)
        assert time.monotonic() - started < 5
        with pytest.raises(KeyFileError):
            Identity.load_or_create(place / "missing" / "box.key")

    @pytest.mark.parametrize(
        "data", [b"", b"\x00", b"hello", cbor.encode([]), cbor.encode(["medledger/key/1"]), bytes(5000)]
    )
    def test_other_contents(self, place: Path, data: bytes) -> None:
        """Empty, foreign, truncated and huge files."""
        place.touch(0o600)
        place.write_bytes(data)
        with pytest.raises(KeyFileError):
            Identity.load(place)

    @pytest.mark.parametrize("passphrase", [None, PASSPHRASE])
    def test_damage_is_noticed(self, place: Path, passphrase: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
        """Every byte counts: whatever is changed, the file never loads as another key."""
        monkeypatch.setattr(keyfile, "PASSES", 1)
        monkeypatch.setattr(keyfile, "MEMORY_BYTES", 8192)
        # A flipped bit may ask for more work, which is allowed up to the limit and slow: lower that for this test.
        monkeypatch.setattr(keyfile, "MAX_MEMORY_BYTES", 2**20)
        Identity.generate().save(place, passphrase)
        good = place.read_bytes()
        for at in range(len(good)):
            place.write_bytes(good[:at] + bytes((good[at] ^ 1,)) + good[at + 1 :])
            with pytest.raises((KeyFileError, NeedsNewerError)):
                Identity.load(place, passphrase)
            place.write_bytes(good[:at])
            with pytest.raises(KeyFileError):
                Identity.load(place, passphrase)

    def test_a_later_version(self, place: Path) -> None:
        """Is not called damaged."""
        Identity.generate().save(place)
        rewrite(place, lambda fields: fields.__setitem__(0, "medledger/key/2"))
        with pytest.raises(NeedsNewerError):
            Identity.load(place)
        rewrite(place, lambda fields: fields.__setitem__(slice(0, 3), ["medledger/key/1", fields[1], ["tpm2", 1]]))
        rewrite(place, lambda fields: fields.__setitem__(3, bytes(72)))
        with pytest.raises(NeedsNewerError):
            Identity.load(place)

    def test_an_error_while_writing_leaves_nothing(self, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A full disk is a KeyFileError, and the name stays free."""

        def full(descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            with pytest.raises(KeyFileError, match="No space left"):
                Identity.load_or_create(place)
        assert not place.exists()
        Identity.load_or_create(place)

    def test_a_temporary_file_of_a_crash_is_replaced(self, place: Path) -> None:
        """Even when it is a second name of the key file, which must not be touched."""
        temporary = place.with_name("box.key.tmp")
        temporary.write_bytes(b"torn")
        identity = Identity.load_or_create(place)
        os.link(place, temporary)
        with pytest.raises(KeyFileError):
            Identity.generate().save(place)
        assert Identity.load(place).public_key == identity.public_key


class TestPassphrase:
    def test_round_trip(self, place: Path) -> None:
        """With the real cost: the right passphrase opens, in either Unicode form, and the seed is not in the file."""
        identity = Identity.from_seed(SEED)
        identity.save(place, "Blåbær")
        assert SEED not in place.read_bytes()
        assert Identity.load(place, "Bla\u030abær").public_key == identity.public_key
        with pytest.raises(KeyFileError, match="passphrase is wrong"):
            Identity.load(place, "blåbær")
        with pytest.raises(KeyFileError, match="needs its passphrase"):
            Identity.load(place)
        with pytest.raises(KeyFileError, match="needs its passphrase"):
            Identity.load_or_create(place)

    def test_a_file_without_one(self, place: Path) -> None:
        """Is not opened silently for somebody who believes it to be protected."""
        Identity.generate().save(place)
        with pytest.raises(KeyFileError, match="has no passphrase"):
            Identity.load(place, PASSPHRASE)

    @pytest.mark.parametrize("passphrase", ["", "\ud800", b"bytes", 5])
    def test_what_is_no_passphrase(self, place: Path, passphrase: Any) -> None:
        """Is refused, and no file is written."""
        with pytest.raises(UsageError):
            Identity.generate().save(place, passphrase)
        assert not place.exists()

    @pytest.mark.parametrize(
        ("passes", "memory"),
        [
            (0, 8192),
            (-1, 8192),
            (17, 8192),
            (2**32, 8192),
            (1, 0),
            (1, 8191),
            (1, -1),
            (1, 256 * 2**20 + 1),
            (1, 2**40),
            (2**62, 2**62),
            ("1", 8192),
            (1, None),
            (True, 8192),
        ],
    )
    def test_hostile_costs_are_refused_at_once(self, place: Path, passes: Any, memory: Any) -> None:
        """Opening a file cannot be made to take all memory or all day."""
        fields = ["medledger/key/1", ME.public_key, ["argon2id", passes, memory, bytes(16)], bytes(72)]
        place.touch(0o600)
        place.write_bytes(cbor.encode(fields))
        started = time.monotonic()
        with pytest.raises(KeyFileError, match=r"out of bounds|make no sense"):
            Identity.load(place, PASSPHRASE)
        assert time.monotonic() - started < 1

    @pytest.mark.parametrize("protection", [0, "argon2id", [], [1], ["argon2id"], ["argon2id", 1, 8192, bytes(15)], {}])
    def test_settings_of_another_shape(self, place: Path, protection: Any) -> None:
        """Are refused by name."""
        place.touch(0o600)
        place.write_bytes(cbor.encode(["medledger/key/1", ME.public_key, protection, bytes(72)]))
        with pytest.raises(KeyFileError):
            Identity.load(place, PASSPHRASE)

    def test_public_key_and_costs_are_authenticated(self, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Neither can be changed under a right passphrase."""
        monkeypatch.setattr(keyfile, "PASSES", 1)
        monkeypatch.setattr(keyfile, "MEMORY_BYTES", 8192)
        Identity.generate().save(place, PASSPHRASE)
        rewrite(place, lambda fields: fields.__setitem__(1, ME.public_key))
        with pytest.raises(KeyFileError, match="passphrase is wrong, or the file is damaged"):
            Identity.load(place, PASSPHRASE)


def test_everything_is_of_one_family() -> None:
    """The errors of this module are MedledgerErrors, and the witness is offered here too."""
    assert issubclass(KeyFileError, MedledgerError)
    assert keys.Witness is Witness


def test_one_place_checks_signatures() -> None:
    """No other module of the library names libsodium's check, so that no two places can reach two verdicts."""
    library = Path(medledger.keys.__file__).parent
    naming = [path.name for path in library.rglob("*.py") if "crypto_sign_open" in path.read_text().split('"""', 2)[-1]]
    assert naming == ["keys.py"]
