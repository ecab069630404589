"""Every error that medledger raises, and whose fault each one is.

Rules:

- One family: whatever leaves the library is a `MedledgerError`. Anything else that escapes is a bug of ours.
- An error says what is wrong in one sentence (`str(error)`), whose fault it is (`error.fault`), and, where there is
  something to do, what to do next (`error.hint`).
- `Fault.AUTHOR` is used only where an author's own signature proves it. Bytes damaged on the way, or forged by
  somebody without the key, are `Fault.RELAY`: they say nothing about the author they name.
- This module imports nothing of ours, so that every layer can use it.
"""

from __future__ import annotations

from enum import Enum


class Fault(Enum):
    """The party at fault for an error."""

    CALLER = "caller"  # the program or person who called us
    RELAY = "relay"  # whoever handed us these bytes
    AUTHOR = "author"  # the author named in the block, proved by the author's own signature
    STORE = "store"  # this machine's disk or database
    NOBODY = "nobody"  # an order of arrival, an outage: nobody did anything wrong


class MedledgerError(Exception):
    """Base of every error of this library.

    `fault` is the party at fault; `hint` is one sentence on what to do next, or None.
    """

    fault: Fault = Fault.CALLER

    def __init__(self, message: str, *, fault: Fault | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        if fault is not None:
            self.fault = fault
        self.hint = hint


class UsageError(MedledgerError):
    """The library was called wrongly: a bad argument, a closed ledger, a missing key."""


class ConfigurationError(UsageError):
    """A configuration file or option cannot be used; the message names the key."""


class KeyFileError(UsageError):
    """A key file is missing, damaged, readable by others, or its passphrase is wrong."""


# --- bytes ------------------------------------------------------------------------------------------------------


class MalformedError(MedledgerError):
    """Bytes that are not in the one encoding the format accepts."""

    fault = Fault.RELAY


class LimitError(MalformedError):
    """Bytes, a depth or a count beyond a limit of `medledger.limits`."""


class NeedsNewerError(MedledgerError):
    """An unknown version, algorithm or extension. The bytes may be right: newer software could read them."""

    fault = Fault.NOBODY


class SignatureError(MedledgerError):
    """A signature does not verify under the key it is claimed for."""

    fault = Fault.RELAY


class ProofError(MedledgerError):
    """A Merkle inclusion or consistency proof does not prove what it claims."""

    fault = Fault.RELAY


class SealError(MedledgerError):
    """Sealed bytes do not open under the key given: not meant for us, or changed on the way."""

    fault = Fault.RELAY


# --- blocks -----------------------------------------------------------------------------------------------------


class BlockError(MedledgerError):
    """A block is refused. `feed` (32 bytes) and `seq` name it where they are known."""

    fault = Fault.RELAY

    def __init__(
        self,
        message: str,
        *,
        feed: bytes | None = None,
        seq: int | None = None,
        fault: Fault | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, fault=fault, hint=hint)
        self.feed = feed
        self.seq = seq


class MalformedBlockError(BlockError, MalformedError):
    """A block is not in the one encoding that version 1 accepts."""


class NewerBlockError(BlockError, NeedsNewerError):
    """A block of a version, algorithm or extension not known here: kept apart, never called bad."""

    fault = Fault.NOBODY


class BlockSignatureError(BlockError, SignatureError):
    """No signature of the block's author stands behind these bytes."""


class BodyError(BlockError):
    """The body is not what the header commits to: count, Merkle root or size differ, or a control leaf is hidden."""


class RuleError(BlockError):
    """An author signed a block that breaks a rule of the chain (an epoch that decreases, for one)."""

    fault = Fault.AUTHOR


class UnknownAuthorError(BlockError):
    """No effective enrolment names the author. The block waits until the enrolment arrives."""

    fault = Fault.NOBODY


class GapError(BlockError):
    """Blocks between our head and this one are missing: pull the range, nothing is wrong with the block."""

    fault = Fault.NOBODY


class DivergedError(BlockError):
    """An authenticated block does not link to ours: pull the author's blocks back to the split to learn why.

    `seq` is the first block of the segment that does not link.
    """

    fault = Fault.NOBODY


class ForkedError(BlockError):
    """The feed's author signed two different blocks at one position: nothing after it stands.

    The proof accuses the author, not this error: the block may be honest, or nobody's.
    """

    fault = Fault.NOBODY


class CutError(BlockError):
    """The block lies beyond the revocation of its author, who may not have heard of it when signing."""

    fault = Fault.NOBODY


# --- entries and members ----------------------------------------------------------------------------------------


class SchemaError(MedledgerError):
    """An entry's content is not what its type's schema says."""


class MembershipError(MedledgerError):
    """A governance or membership act cannot be made as asked."""


class JoinError(MembershipError):
    """A join request or its reply is damaged, forged, or meant for somebody else."""


# --- store ------------------------------------------------------------------------------------------------------


class StoreError(MedledgerError):
    """The database cannot be used: missing, locked by another process, full, or of another ledger."""

    fault = Fault.STORE


class InUseError(StoreError):
    """Another process has the ledger open."""


class CorruptError(StoreError):
    """Stored bytes do not verify. `feed` and `seq` name the first bad block where it is known."""

    def __init__(
        self, message: str, *, feed: bytes | None = None, seq: int | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.feed = feed
        self.seq = seq


class RecoveringError(StoreError):
    """The store is behind what its key has signed (a restored backup, a cloned card): signing would fork the feed."""


# --- network ----------------------------------------------------------------------------------------------------


class FrameError(MedledgerError):
    """A gossip frame is refused. The reason is the message; nothing changed."""

    fault = Fault.RELAY


class TransportError(MedledgerError):
    """The broker cannot be reached or refuses us."""

    fault = Fault.NOBODY
