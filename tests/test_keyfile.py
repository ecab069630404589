"""Key files: what is accepted, what is refused and why, and passphrases."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from medledger import cbor, keyfile
from medledger.errors import (
    KeyFileError,
    NeedsNewerError,
    UsageError,
)
from medledger.keys import Identity

SEED = bytes(range(32))
ME = Identity.from_seed(SEED)
PASSPHRASE = "correct horse"


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
        with pytest.raises(KeyFileError):
            Identity.load(pipe)
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
        with pytest.raises(KeyFileError, match=r"out of bounds|make no sense"):
            Identity.load(place, PASSPHRASE)  # and no key is derived: it would take hours, or more memory than there is

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
