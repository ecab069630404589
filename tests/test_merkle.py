"""Merkle trees: against a slow recursive reference, against published probes, and against three real logs."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

import reference_merkle as reference
from medledger import keys, merkle
from medledger.errors import ProofError, SignatureError, UsageError

SIZES = range(1, 34)


def tree(size: int) -> list[bytes]:
    """The leaf hashes of the numbers below `size`."""
    return [merkle.leaf_hash(number.to_bytes(4, "big")) for number in range(size)]


hashes = st.binary(min_size=32, max_size=32)


class TestRoot:
    def test_no_leaves(self) -> None:
        """The root of nothing is SHA-256 of nothing."""
        assert merkle.root([]) == sha256(b"").digest()

    def test_one_leaf_is_its_own_root(self) -> None:
        """No hash is spent on a block of one entry."""
        leaf = merkle.leaf_hash(b"entry")
        assert merkle.root([leaf]) is leaf
        assert leaf == sha256(b"\x00entry").digest()

    def test_two_leaves(self) -> None:
        """A node's hash has the prefix 0x01."""
        one, two = tree(2)
        assert merkle.root([one, two]) == sha256(b"\x01" + one + two).digest()

    @pytest.mark.parametrize("size", [*range(70), 127, 128, 129, 1023, 1024])
    def test_every_shape_agrees_with_the_reference(self, size: int) -> None:
        """Level by level is the same tree as RFC 9162's recursive split."""
        assert merkle.root(tree(size)) == reference.root(tree(size))

    def test_a_tuple_serves_and_the_leaves_are_left_alone(self) -> None:
        """Any sequence; it is not changed."""
        leaves = tree(7)
        copy = list(leaves)
        assert merkle.root(tuple(leaves)) == merkle.root(leaves)
        assert leaves == copy


class TestInclusion:
    @pytest.mark.parametrize("size", SIZES)
    def test_every_leaf_is_proved(self, size: int) -> None:
        """The proof is the reference's, and verifies."""
        leaves = tree(size)
        root = merkle.root(leaves)
        for index, leaf in enumerate(leaves):
            path = merkle.inclusion_proof(leaves, index)
            assert path == reference.inclusion_proof(leaves, index)
            merkle.verify_inclusion(leaf, index, size, path, root)

    @pytest.mark.parametrize("size", range(1, 18))
    def test_no_proof_serves_another_place(self, size: int) -> None:
        """Another leaf or index of the tree never verifies."""
        leaves = tree(size)
        root = merkle.root(leaves)
        for index in range(size):
            path = merkle.inclusion_proof(leaves, index)
            for other in range(size):
                if other != index:
                    with pytest.raises(ProofError):
                        merkle.verify_inclusion(leaves[index], other, size, path, root)
                    with pytest.raises(ProofError):
                        merkle.verify_inclusion(leaves[other], index, size, path, root)

    @given(hashes, st.integers(0, 300), st.integers(1, 300), st.lists(hashes, max_size=11))
    def test_verdict_agrees_with_the_reference(self, leaf: bytes, index: int, size: int, path: list[bytes]) -> None:
        """For any path, the fast verifier accepts exactly the root that the recursive one computes."""
        try:
            root = reference.root_from_inclusion(leaf, index, size, path) if index < size else None
        except ValueError:
            root = None
        if root is not None:
            merkle.verify_inclusion(leaf, index, size, path, root)
        with pytest.raises(ProofError):
            merkle.verify_inclusion(leaf, index, size, path, sha256(b"other").digest())

    @pytest.mark.parametrize(("index", "size"), [(-1, 3), (3, 3), (4, 3), (0, 0), (0, -1), (0, 2**63), (2**64, 2**65)])
    def test_positions_outside_the_tree(self, index: int, size: int) -> None:
        """Refused as a wrong proof, whatever the numbers."""
        with pytest.raises(ProofError):
            merkle.verify_inclusion(tree(1)[0], index, size, [], tree(1)[0])

    @pytest.mark.parametrize("index", [-1, 3])
    def test_proving_a_leaf_that_is_not_there(self, index: int) -> None:
        """Is the caller's mistake."""
        with pytest.raises(UsageError):
            merkle.inclusion_proof(tree(3), index)


class TestConsistency:
    @pytest.mark.parametrize("size", SIZES)
    def test_every_prefix_is_proved(self, size: int) -> None:
        """The proof is the reference's, and verifies."""
        leaves = tree(size)
        for old_size in range(1, size + 1):
            path = merkle.consistency_proof(leaves, old_size)
            assert path == reference.consistency_proof(leaves, old_size)
            merkle.verify_consistency(old_size, size, merkle.root(leaves[:old_size]), merkle.root(leaves), path)

    @given(st.integers(2, 60), st.data())
    def test_a_changed_history_is_refused(self, size: int, data: st.DataObject) -> None:
        """An old tree with one leaf changed is no prefix, with whichever proof."""
        old_size = data.draw(st.integers(1, size - 1))
        leaves = tree(size)
        changed = list(leaves)
        changed[data.draw(st.integers(0, old_size - 1))] = merkle.leaf_hash(b"changed")
        for proving in (leaves, changed):
            with pytest.raises(ProofError):
                merkle.verify_consistency(
                    old_size,
                    size,
                    merkle.root(changed[:old_size]),
                    merkle.root(leaves),
                    merkle.consistency_proof(proving, old_size),
                )

    @given(st.integers(2, 60), st.data())
    def test_a_damaged_proof_is_refused(self, size: int, data: st.DataObject) -> None:
        """A hash changed, dropped, doubled or of another length."""
        old_size = data.draw(st.integers(1, size - 1))
        leaves = tree(size)
        path = merkle.consistency_proof(leaves, old_size)
        at = data.draw(st.integers(0, len(path) - 1))
        flipped = bytes((path[at][0] ^ 1,)) + path[at][1:]
        for wrong in (
            [*path[:at], flipped, *path[at + 1 :]],
            path[:at] + path[at + 1 :],
            [*path[:at], path[at], *path[at:]],
            [*path[:at], path[at][:31], *path[at + 1 :]],
            [],
        ):
            with pytest.raises(ProofError):
                merkle.verify_consistency(old_size, size, merkle.root(leaves[:old_size]), merkle.root(leaves), wrong)

    @pytest.mark.parametrize(("old_size", "new_size"), [(0, 0), (0, 5), (-1, 5), (6, 5), (1, 2**63)])
    def test_sizes_without_a_proof(self, old_size: int, new_size: int) -> None:
        """Size 0 proves nothing and is an error, and so is a tree that shrank."""
        root = merkle.root(tree(5))
        with pytest.raises(ProofError):
            merkle.verify_consistency(old_size, new_size, root, root, [])

    @pytest.mark.parametrize("old_size", [-1, 0, 6])
    def test_proving_a_size_without_a_proof(self, old_size: int) -> None:
        """Is the caller's mistake."""
        with pytest.raises(UsageError):
            merkle.consistency_proof(tree(5), old_size)

    def test_equal_sizes_need_no_proof_and_allow_none(self) -> None:
        """One tree is consistent with itself by an empty proof only."""
        root, other = merkle.root(tree(5)), merkle.root(tree(4))
        merkle.verify_consistency(5, 5, root, root, [])
        for old, path in ((other, []), (root, [other])):
            with pytest.raises(ProofError):
                merkle.verify_consistency(5, 5, old, root, path)


class TestProbes:
    """The probes of transparency-dev/merkle: one good proof each, and every way to spoil it."""

    @staticmethod
    def inclusion(case: dict[str, Any]) -> None:
        merkle.verify_inclusion(
            b64decode(case["leafHash"]),
            case["leafIdx"],
            case["treeSize"],
            [b64decode(item) for item in case["proof"] or []],
            b64decode(case["root"]),
        )

    @staticmethod
    def consistency(case: dict[str, Any]) -> None:
        merkle.verify_consistency(
            case["size1"],
            case["size2"],
            b64decode(case["root1"]),
            b64decode(case["root2"]),
            [b64decode(item) for item in case["proof"] or []],
        )

    @staticmethod
    def run(folder: Path, check: Callable[[dict[str, Any]], None]) -> tuple[int, int]:
        """How many probes were accepted and refused, each as its file says."""
        accepted = refused = 0
        for path in sorted(folder.rglob("*.json")):
            case = json.loads(path.read_bytes())
            if case["wantErr"]:
                with pytest.raises(ProofError):
                    check(case)
                refused += 1
            else:
                check(case)
                accepted += 1
        return accepted, refused

    def test_inclusion(self, shared_data: Callable[[str], Path]) -> None:
        """All 53."""
        assert self.run(shared_data("04-merkle/probes/inclusion"), self.inclusion) == (4, 49)

    def test_consistency(self, shared_data: Callable[[str], Path]) -> None:
        """All 43."""
        assert self.run(shared_data("04-merkle/probes/consistency"), self.consistency) == (3, 40)


class Checkpoint(NamedTuple):
    """A signed note that names a tree (C2SP tlog-checkpoint), as far as these tests need it."""

    text: bytes
    size: int
    root: bytes
    signatures: dict[bytes, bytes]  # key hint of 4 bytes -> signature


def checkpoint(note: str) -> Checkpoint:
    """Take a note apart; ValueError when a field is missing."""
    text, _, lines = note.partition("\n\n")
    fields = text.split("\n")
    signatures = [b64decode(line.rsplit(" ", 1)[1]) for line in lines.splitlines()]
    return Checkpoint(
        f"{text}\n".encode(), int(fields[1]), b64decode(fields[2]), {item[:4]: item[4:] for item in signatures}
    )


def verifier(vkey: str) -> tuple[bytes, bytes]:
    """The key hint and the Ed25519 key of a note's verifier key, the hint recomputed."""
    name, hint, encoded = vkey.split("+", 2)
    key = b64decode(encoded)
    assert sha256(name.encode() + b"\n" + key).digest()[:4].hex() == hint
    return bytes.fromhex(hint), key[1:]


class TestRealLogs:
    VKEY = "example.com/log/testdata+33d7b496+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx"

    @staticmethod
    def entries(bundle: bytes) -> list[bytes]:
        """A tile of entries: each after its length in two bytes."""
        found = []
        while bundle:
            size = int.from_bytes(bundle[:2], "big")
            found.append(bundle[2 : 2 + size])
            bundle = bundle[2 + size :]
        return found

    def test_a_tiled_log_at_every_size(self, shared_data: Callable[[str], Path]) -> None:
        """Leaves, tiles, roots, signatures and consistency of the 15-leaf log, at all of its 15 sizes."""
        log = shared_data("04-merkle/tessera/log")
        hint, key = verifier(self.VKEY)
        entries = self.entries((log / "tile/entries/000.p/15").read_bytes())
        leaves = [merkle.leaf_hash(entry) for entry in entries]
        empty = checkpoint((log / "checkpoint.0").read_text())
        keys.verify(key, empty.text, empty.signatures[hint])
        assert (empty.size, empty.root) == (0, merkle.root([]))
        roots: dict[int, bytes] = {}
        for size in range(1, 16):
            assert self.entries((log / f"tile/entries/000.p/{size}").read_bytes()) == entries[:size]
            assert (log / f"tile/0/000.p/{size}").read_bytes() == b"".join(leaves[:size])
            note = checkpoint((log / f"checkpoint.{size}").read_text())
            keys.verify(key, note.text, note.signatures[hint])
            assert (note.size, note.root) == (size, merkle.root(leaves[:size]))
            roots[size] = note.root
            for old_size, old_root in roots.items():
                path = merkle.consistency_proof(leaves[:size], old_size)
                merkle.verify_consistency(old_size, size, old_root, note.root, path)

    def test_the_worked_examples_of_signed_notes(self, shared_data: Callable[[str], Path]) -> None:
        """The specification's note verifies; with one letter changed it does not. Its checkpoint parses."""
        examples = json.loads(shared_data("04-merkle/c2sp-examples.json").read_bytes())
        hint, key = verifier(examples["signed_note"]["vkey"])
        text, _, line = examples["signed_note"]["note"].partition("\n\n")
        signature = b64decode(line.rsplit(" ", 1)[1])
        assert signature[:4] == hint
        keys.verify(key, f"{text}\n".encode(), signature[4:])
        with pytest.raises(SignatureError):
            keys.verify(key, f"{text}!\n".encode(), signature[4:])
        note = checkpoint(examples["checkpoint_no_key"])
        assert (note.size, len(note.root)) == (20852163, 32)


class TestTransparencyBundles:
    """Inclusion proofs of a public log in trees of up to tens of millions of leaves."""

    @staticmethod
    def entry(folder: Path) -> dict[str, Any]:
        bundle = json.loads((folder / "bundle.sigstore.json").read_bytes())
        (entry,) = bundle["verificationMaterial"]["tlogEntries"]
        assert isinstance(entry, dict)
        return entry

    @staticmethod
    def verify(entry: dict[str, Any]) -> None:
        proof = entry["inclusionProof"]
        merkle.verify_inclusion(
            merkle.leaf_hash(b64decode(entry["canonicalizedBody"])),
            int(proof["logIndex"]),
            int(proof["treeSize"]),
            [b64decode(item) for item in proof["hashes"]],
            b64decode(proof["rootHash"]),
        )

    def test_good_proofs_and_their_checkpoints(self, shared_data: Callable[[str], Path]) -> None:
        """Both good bundles, and their checkpoint names the same tree."""
        for name in ("happy-path-v0.3", "rekor2-checkpoint-cosigned"):
            entry = self.entry(shared_data(f"04-merkle/sigstore/{name}"))
            self.verify(entry)
            note = checkpoint(entry["inclusionProof"]["checkpoint"]["envelope"])
            assert note.size == int(entry["inclusionProof"]["treeSize"])
            assert note.root == b64decode(entry["inclusionProof"]["rootHash"])

    def test_the_log_key_signs_beside_an_unknown_witness(self, shared_data: Callable[[str], Path]) -> None:
        """The Ed25519 line of the log verifies; the line of a cosigner that nobody knows changes nothing."""
        folder = shared_data("04-merkle/sigstore/rekor2-checkpoint-cosigned")
        note = checkpoint(self.entry(folder)["inclusionProof"]["checkpoint"]["envelope"])
        logs = json.loads((folder / "trusted_root.json").read_bytes())["tlogs"]
        verified = 0
        for log in logs:
            hint = b64decode(log["logId"]["keyId"])[:4]
            if hint in note.signatures:
                # The last 32 bytes of an Ed25519 SubjectPublicKeyInfo are the key.
                keys.verify(b64decode(log["publicKey"]["rawBytes"])[-32:], note.text, note.signatures[hint])
                verified += 1
        assert (verified, len(note.signatures)) == (1, 2)

    def test_a_corrupted_hash(self, shared_data: Callable[[str], Path]) -> None:
        """One flipped bit in the proof."""
        entry = self.entry(shared_data("04-merkle/sigstore/inclusion-proof-corrupted-hash_fail"))
        with pytest.raises(ProofError):
            self.verify(entry)

    def test_bundles_whose_fault_is_in_the_checkpoint(self, shared_data: Callable[[str], Path]) -> None:
        """Their inclusion proofs hold; the note is signed under another key's hint, or names no size."""
        entry = self.entry(shared_data("04-merkle/sigstore/checkpoint-bad-keyhint_fail"))
        self.verify(entry)
        note = checkpoint(entry["inclusionProof"]["checkpoint"]["envelope"])
        assert b64decode(entry["logId"]["keyId"])[:4] not in note.signatures
        entry = self.entry(shared_data("04-merkle/sigstore/rekor2-checkpoint-missing-size_fail"))
        self.verify(entry)
        with pytest.raises(ValueError, match="invalid literal"):
            checkpoint(entry["inclusionProof"]["checkpoint"]["envelope"])
