"""The signed-height witness: monotone, durable, never silently empty."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from medledger import cbor
from medledger.errors import CorruptError, Fault, NeedsNewerError, RecoveringError, StoreError, UsageError
from medledger.keys import Identity, Witness
from medledger.limits import MAX_SEQ

LEDGER = bytes(range(32))
TOKEN = b"instance token 1"
OTHER_TOKEN = b"instance token 2"


@pytest.fixture
def identity(tmp_path: Path) -> Identity:
    """An identity with a key file."""
    return Identity.load_or_create(tmp_path / "box.key")


@pytest.fixture
def witness(identity: Identity) -> Witness:
    """Its witness in one ledger."""
    return Witness.for_identity(identity, LEDGER)


def file_of(witness: Witness) -> Path:
    """The witness's file."""
    assert witness.path is not None
    return witness.path


class TestInMemory:
    def test_an_identity_without_a_file(self) -> None:
        """Has a witness with the same rules, which is forgotten with the object."""
        identity = Identity.generate()
        witness = Witness.for_identity(identity, LEDGER)
        assert (witness.path, witness.seq, witness.token) == (None, None, None)
        witness.advance(3)
        witness.advance(1)
        witness.bind(TOKEN)
        assert (witness.seq, witness.token) == (3, TOKEN)
        assert Witness.for_identity(identity, LEDGER).seq is None


class TestFile:
    def test_nothing_is_written_before_something_is_known(self, identity: Identity, witness: Witness) -> None:
        """A new witness is empty and has no file; its name says for which key and ledger it is."""
        assert (witness.seq, witness.token) == (None, None)
        assert not file_of(witness).exists()
        assert file_of(witness).name == "box.key.0001020304050607.witness"
        assert identity.path is not None
        assert file_of(witness).parent == identity.path.parent

    def test_it_is_remembered(self, identity: Identity, witness: Witness) -> None:
        """Height and token survive, each without the other, in a file for the owner alone."""
        witness.advance(0)
        assert Witness.for_identity(identity, LEDGER).seq == 0
        witness.bind(TOKEN)
        witness.advance(41)
        again = Witness.for_identity(identity, LEDGER)
        assert (again.seq, again.token) == (41, TOKEN)
        assert stat.S_IMODE(file_of(witness).stat().st_mode) == 0o600

    def test_ledgers_are_apart(self, identity: Identity, witness: Witness) -> None:
        """One key, two ledgers, two witnesses."""
        other = Witness.for_identity(identity, bytes(32))
        witness.advance(7)
        assert other.seq is None
        other.advance(2)
        assert (Witness.for_identity(identity, LEDGER).seq, Witness.for_identity(identity, bytes(32)).seq) == (7, 2)

    def test_it_never_goes_back(self, identity: Identity, witness: Witness) -> None:
        """Advancing to the present height or below writes nothing."""
        witness.advance(9)
        before = file_of(witness).stat()
        for seq in (9, 8, 0):
            witness.advance(seq)
        after = file_of(witness).stat()
        assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
        assert witness.seq == 9
        assert Witness.for_identity(identity, LEDGER).seq == 9

    def test_a_new_token_replaces_the_old(self, identity: Identity, witness: Witness) -> None:
        """Binding keeps the height; the same token again writes nothing."""
        witness.advance(5)
        witness.bind(TOKEN)
        before = file_of(witness).stat().st_ino
        witness.bind(TOKEN)
        assert file_of(witness).stat().st_ino == before
        witness.bind(OTHER_TOKEN)
        again = Witness.for_identity(identity, LEDGER)
        assert (again.seq, again.token) == (5, OTHER_TOKEN)

    @pytest.mark.parametrize("seq", [-1, MAX_SEQ + 1, 2**64, 1.0, "1", None, True])
    def test_what_is_no_height(self, witness: Witness, seq: object) -> None:
        """Is refused and changes nothing."""
        with pytest.raises(UsageError):
            witness.advance(seq)  # type: ignore[arg-type]
        assert witness.seq is None

    @pytest.mark.parametrize("token", [b"", bytes(15), bytes(17), bytearray(16), "t" * 16, None])
    def test_what_is_no_token(self, witness: Witness, token: object) -> None:
        """Is refused and changes nothing."""
        with pytest.raises(UsageError):
            witness.bind(token)  # type: ignore[arg-type]
        assert witness.token is None

    @pytest.mark.parametrize("ledger_id", [b"", bytes(31), bytes(33), "l" * 32])
    def test_what_is_no_ledger_id(self, identity: Identity, ledger_id: bytes) -> None:
        """Is refused."""
        with pytest.raises(UsageError):
            Witness.for_identity(identity, ledger_id)

    @settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(steps=st.lists(st.tuples(st.booleans(), st.integers(0, MAX_SEQ)), max_size=12))
    def test_the_height_is_the_highest_ever(self, tmp_path: Path, steps: list[tuple[bool, int]]) -> None:
        """For any sequence of advances through two objects on one file: whoever has not seen the latest is stopped."""
        identity = Identity.generate()
        path = tmp_path / f"{identity.fingerprint}.key"
        identity.save(path)
        pair = [Witness.for_identity(identity, LEDGER), Witness.for_identity(identity, LEDGER)]
        highest: int | None = None
        for which, seq in steps:
            known = pair[which].seq
            if known != highest and (known is None or seq > known):
                with pytest.raises(RecoveringError):
                    pair[which].advance(seq)
                pair[which] = Witness.for_identity(identity, LEDGER)
                known = highest
            pair[which].advance(seq)
            if known == highest:
                highest = seq if highest is None else max(highest, seq)
            assert Witness.for_identity(identity, LEDGER).seq == highest


class TestSharing:
    def test_two_objects_on_one_file(self, identity: Identity, witness: Witness) -> None:
        """The one whose memory is older has a copy of the database: it releases nothing, and takes nothing back."""
        other = Witness.for_identity(identity, LEDGER)
        other.advance(100)
        assert witness.seq is None
        for seq in (3, 100, 101):
            with pytest.raises(RecoveringError):
                witness.advance(seq)
        other.bind(TOKEN)
        assert Witness.for_identity(identity, LEDGER).seq == 100

    def test_a_database_that_was_replaced_stops(self, identity: Identity, witness: Witness) -> None:
        """Once another database is bound, the program that still runs on the old one can release nothing more."""
        witness.bind(TOKEN)
        witness.advance(5)
        other = Witness.for_identity(identity, LEDGER)
        other.bind(OTHER_TOKEN)
        with pytest.raises(RecoveringError):
            witness.advance(6)
        assert (witness.seq, Witness.for_identity(identity, LEDGER).seq) == (5, 5)
        other.advance(6)
        witness.bind(TOKEN)
        assert (witness.seq, witness.token) == (6, TOKEN)
        with pytest.raises(RecoveringError):
            other.advance(7)

    def test_threads(self, identity: Identity, witness: Witness) -> None:
        """Many threads, one object: the highest wins, and each call returns only when its height is on disk."""
        short: list[int] = []

        def advance(start: int) -> None:
            for seq in range(start, 200, 8):
                witness.advance(seq)
                on_disk = Witness.for_identity(identity, LEDGER).seq
                if on_disk is None or on_disk < seq:
                    short.append(seq)

        threads = [threading.Thread(target=advance, args=(start,)) for start in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert short == []
        assert Witness.for_identity(identity, LEDGER).seq == witness.seq == 199

    def test_processes(self, identity: Identity, witness: Witness) -> None:
        """Of two processes that sign at once one is stopped, the other goes on, and the height is never taken back."""
        script = (
            "import sys; from medledger.keys import Identity, Witness\n"
            "witness = Witness.for_identity(Identity.load(sys.argv[1]), bytes(range(32)))\n"
            "for seq in range(int(sys.argv[2]), 120, 2): witness.advance(seq)\n"
        )
        running = [
            subprocess.Popen([sys.executable, "-c", script, str(identity.path), str(start)], stderr=subprocess.DEVNULL)
            for start in (0, 1)
        ]
        assert 0 in [process.wait(60) for process in running]
        assert Witness.for_identity(identity, LEDGER).seq in (118, 119)


class TestCrash:
    def test_a_leftover_temporary_file(self, identity: Identity, witness: Witness) -> None:
        """Torn, empty or complete, it is neither read nor in the way."""
        witness.advance(5)
        temporary = file_of(witness).with_name(file_of(witness).name + ".tmp")
        good = file_of(witness).read_bytes()
        for seq, leftover in ((6, b""), (7, good[:20]), (8, good), (9, bytes(1000))):
            temporary.write_bytes(leftover)
            again = Witness.for_identity(identity, LEDGER)
            assert again.seq == seq - 1
            again.advance(seq)
            assert not temporary.exists()
        assert Witness.for_identity(identity, LEDGER).seq == 9

    @pytest.mark.parametrize(
        "step", ["before the temporary file", "before its flush", "before the rename", "before the directory's flush"]
    )
    def test_a_crash_at_each_step(
        self, identity: Identity, witness: Witness, step: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Leaves the old height or the new one, whole; and the call does not return."""
        witness.advance(5)

        class Crash(BaseException):
            """The power is cut here."""

        flushes = iter([step == "before its flush", step == "before the directory's flush"])
        real_fsync, real_replace, real_open = os.fsync, os.replace, os.open

        def fsync(descriptor: int) -> None:
            if next(flushes):
                raise Crash
            real_fsync(descriptor)

        def replace(source: Path, target: Path) -> None:
            if step == "before the rename":
                raise Crash
            real_replace(source, target)

        def opened(path: Path, flags: int, mode: int = 0o777) -> int:
            if step == "before the temporary file" and str(path).endswith(".tmp"):
                raise Crash
            return real_open(path, flags, mode)

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", fsync)
            patch.setattr(os, "replace", replace)
            patch.setattr(os, "open", opened)
            with pytest.raises(Crash):
                witness.advance(6)
        again = Witness.for_identity(identity, LEDGER)
        assert again.seq == (6 if step == "before the directory's flush" else 5)
        again.advance(7)
        assert Witness.for_identity(identity, LEDGER).seq == 7

    def test_killed_while_advancing(self, identity: Identity, witness: Witness) -> None:
        """A process killed at any moment has left at least the last height that it reported."""
        script = (
            "import sys; from medledger.keys import Identity, Witness\n"
            "witness = Witness.for_identity(Identity.load(sys.argv[1]), bytes(range(32)))\n"
            "for seq in range((witness.seq or 0) + 1, 10**6): witness.advance(seq); print(seq, flush=True)\n"
        )
        for lines in (1, 5, 20, 60):
            command = [sys.executable, "-c", script, str(identity.path)]
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
                assert process.stdout is not None
                said = "".join(process.stdout.readline() for _ in range(lines))
                process.kill()
                said += process.stdout.read()
            # The last line may be torn; the one before it was printed after `advance` had returned.
            reported = int(said[: said.rindex("\n")].rsplit("\n", 1)[-1])
            seq = Witness.for_identity(identity, LEDGER).seq
            assert seq is not None
            assert reported <= seq <= reported + 2


class TestDamage:
    def test_every_damaged_byte_is_noticed(self, identity: Identity, witness: Witness) -> None:
        """A flipped bit or a cut is a CorruptError of the store that names the file and warns against deleting it."""
        witness.bind(TOKEN)
        witness.advance(1000)
        path = file_of(witness)
        good = path.read_bytes()
        for at in range(len(good)):
            for damaged in (good[:at] + bytes((good[at] ^ 1,)) + good[at + 1 :], good[:at]):
                path.write_bytes(damaged)
                with pytest.raises((CorruptError, NeedsNewerError)) as caught:
                    Witness.for_identity(identity, LEDGER)
                assert str(path) in str(caught.value)
        path.write_bytes(good[:-1])
        with pytest.raises(CorruptError) as last:
            Witness.for_identity(identity, LEDGER)
        assert last.value.fault is Fault.STORE
        assert last.value.hint is not None
        assert "Do not delete" in last.value.hint

    @pytest.mark.parametrize("data", [b"", b"\x00" * 100, bytes(10_000), cbor.encode([]), cbor.encode(["other/1"])])
    def test_other_contents(self, identity: Identity, witness: Witness, data: bytes) -> None:
        """An empty file is not an empty witness."""
        file_of(witness).write_bytes(data)
        with pytest.raises(CorruptError):
            Witness.for_identity(identity, LEDGER)

    def test_a_witness_of_another_key_or_ledger(self, identity: Identity, witness: Witness, tmp_path: Path) -> None:
        """Copied under the right name, it is refused."""
        other = Identity.load_or_create(tmp_path / "other.key")
        foreign = Witness.for_identity(other, LEDGER)
        foreign.advance(5)
        file_of(foreign).rename(file_of(witness))
        with pytest.raises(CorruptError, match="another key or ledger"):
            Witness.for_identity(identity, LEDGER)
        ours = Witness.for_identity(identity, bytes(32))
        ours.advance(5)
        file_of(ours).rename(file_of(witness))
        with pytest.raises(CorruptError, match="another key or ledger"):
            Witness.for_identity(identity, LEDGER)

    def test_a_later_version(self, identity: Identity, witness: Witness) -> None:
        """Is not called damaged."""
        file_of(witness).write_bytes(cbor.encode(["medledger/witness/2", "anything"]))
        with pytest.raises(NeedsNewerError):
            Witness.for_identity(identity, LEDGER)

    def test_damage_while_running(self, identity: Identity, witness: Witness) -> None:
        """An advance over a file that was damaged meanwhile raises and writes nothing."""
        witness.advance(5)
        file_of(witness).write_bytes(b"damaged")
        with pytest.raises(CorruptError):
            witness.advance(6)
        assert file_of(witness).read_bytes() == b"damaged"
        assert witness.seq == 5

    def test_a_file_deleted_while_running(self, identity: Identity, witness: Witness) -> None:
        """Is written again with what the process remembers, token included."""
        witness.bind(TOKEN)
        witness.advance(5)
        file_of(witness).unlink()
        witness.advance(6)
        again = Witness.for_identity(identity, LEDGER)
        assert (again.seq, again.token) == (6, TOKEN)

    def test_a_full_disk(self, witness: Witness, identity: Identity, monkeypatch: pytest.MonkeyPatch) -> None:
        """Is a StoreError; the height stays where it was, in memory and on disk, and the next advance works."""
        witness.advance(5)

        def full(descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            with pytest.raises(StoreError, match="No space left on device"):
                witness.advance(6)
        assert witness.seq == Witness.for_identity(identity, LEDGER).seq == 5
        witness.advance(6)
        assert Witness.for_identity(identity, LEDGER).seq == 6

    def test_a_directory_in_its_place(self, identity: Identity, witness: Witness) -> None:
        """Is a StoreError, not an empty witness."""
        file_of(witness).mkdir()
        with pytest.raises(StoreError, match="cannot be read"):
            Witness.for_identity(identity, LEDGER)
