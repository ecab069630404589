"""Asking to join, and being let in: what is refused at each step."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import blake2b
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.bindings import crypto_box_keypair, crypto_box_seal_open

from governance_world import World, key, person
from medledger import cbor, cose
from medledger.errors import Fault, JoinError, MalformedError, MedledgerError, NeedsNewerError, SignatureError
from medledger.joining import (
    KEM_DERIVED,
    KEM_SEPARATE,
    make_reply,
    make_request,
    open_reply,
    read_request,
    read_request_text,
)
from medledger.keys import Identity, seal_to

SECRET = b"0123456789abcdef"
AAD = cbor.encode("medledger/request/1")
KEYS = [(b"\x01", b"t" * 32), (b"\x02", b"u" * 32)]


class SecureElement:
    """A signer whose X25519 key has nothing to do with its signing key."""

    def __init__(self, identity: Identity) -> None:
        self._identity = identity
        self.public_key = identity.public_key
        self.kem_public_key, self._secret_key = crypto_box_keypair()

    def sign(self, message: bytes) -> bytes:
        return self._identity.sign(message)

    def unseal(self, sealed: bytes) -> bytes:
        return crypto_box_seal_open(sealed, self.kem_public_key, self._secret_key)


@pytest.fixture(scope="module")
def genesis() -> bytes:
    """The genesis of a ledger to join."""
    return World("ada").genesis.raw


def payload_of(name: str = "box", **changes: Any) -> list[Any]:
    """What a request signs, with some fields changed."""
    box = person(name)
    fields = {
        "version": 1,
        "sig": [-19, box.public_key],
        "kem": [1, box.kem_public_key],
        "label": "",
        "org": "",
        "roles": [],
        "succeeds": None,
    }
    return list({**fields, **changes}.values())


def signed(payload: Any, name: str = "box", aad: bytes = AAD) -> bytes:
    """A proof over any payload."""
    return cose.sign1(cbor.encode(payload), person(name), external_aad=aad)


class TestRequest:
    def test_it_says_what_the_applicant_asks_for(self) -> None:
        """Keys, names, roles and the old feed arrive as they were asked, with the secret beside them."""
        text = make_request(
            person("box"), secret=SECRET, label="box 7", organisation="ICU", roles=["b", "a", "b"], succeeds=key("old")
        )
        request, secret = read_request_text(text)
        assert text.startswith("mlreq1:")
        assert secret == SECRET
        assert (request.feed, request.kem) == (key("box"), (KEM_DERIVED, person("box").kem_public_key))
        assert (request.label, request.organisation, request.roles) == ("box 7", "ICU", ("a", "b"))
        assert request.succeeds == key("old")
        assert read_request(request.proof) == request

    def test_the_secret_is_not_in_the_proof(self) -> None:
        """What goes on the ledger does not hold the secret."""
        request, _ = read_request_text(make_request(person("box"), secret=SECRET))
        assert SECRET not in request.proof

    def test_a_separate_key_is_another_algorithm(self, genesis: bytes) -> None:
        """A secure element's X25519 key is asked for as algorithm 2, and opens the reply."""
        element = SecureElement(person("box"))
        request, secret = read_request_text(make_request(element, secret=SECRET))
        assert request.kem == (KEM_SEPARATE, element.kem_public_key)
        assert open_reply(make_reply(request, secret, genesis=genesis), element, SECRET).genesis == genesis

    def test_wrapped_text_is_read(self) -> None:
        """White space, as a mail or a terminal adds it, changes nothing."""
        text = make_request(person("box"), secret=SECRET)
        wrapped = "  " + "\r\n ".join(text[at : at + 60] for at in range(0, len(text), 60)) + "\n"
        assert read_request_text(wrapped) == read_request_text(text)

    @pytest.mark.parametrize(
        ("payload", "error"),
        [
            (payload_of(kem=[1, b"k" * 32]), MalformedError),  # not the image of the signing key
            (payload_of(kem=[2, bytes(32)]), MalformedError),  # small order: everybody shares its secret
            (payload_of(kem=[2, b"\x01" + bytes(31)]), MalformedError),
            (payload_of(kem=[3, b"k" * 32]), MalformedError),
            (payload_of(sig=[-8, key("box")]), MalformedError),
            (payload_of(sig=[-19, bytes(32)]), MalformedError),  # not a usable key
            (payload_of(roles=["b", "a"]), MalformedError),
            (payload_of(label="two\nlines"), MalformedError),
            (payload_of(label="x" * 129), MalformedError),
            (payload_of(succeeds=key("box")), MalformedError),
            (payload_of(succeeds=b"short"), MalformedError),
            (payload_of()[:-1], MalformedError),
            (payload_of(version=2), NeedsNewerError),
            (payload_of(version=0), MalformedError),
            ({}, MalformedError),
            ([], MalformedError),
            (payload_of("eve"), SignatureError),  # eve's keys, signed by the box
        ],
    )
    def test_wrong_requests_are_refused(self, payload: Any, error: type[MedledgerError]) -> None:
        """Each wrong field is refused although the signature is good."""
        with pytest.raises(error):
            read_request(signed(payload))

    def test_a_signature_for_another_purpose_is_refused(self) -> None:
        """A block or genesis signature cannot be passed off as a request."""
        with pytest.raises(SignatureError):
            read_request(signed(payload_of(), aad=cbor.encode("medledger/genesis/1")))

    def test_a_proof_has_one_encoding(self) -> None:
        """An untagged proof verifies as COSE and is refused: its bytes go into an act's id."""
        proof = signed(payload_of())
        read_request(proof)
        with pytest.raises(MalformedError):
            read_request(proof[1:])

    @pytest.mark.parametrize("secret", [b"", b"short", b"x" * 17, "0123456789abcdef"])
    def test_the_secret_has_sixteen_bytes(self, secret: Any) -> None:
        """Any other secret cannot be asked with."""
        with pytest.raises(JoinError, match="cannot be made"):
            make_request(person("box"), secret=secret)

    def test_what_a_caller_asks_wrongly_is_a_join_error(self) -> None:
        """A label that is too long is the caller's fault and says so."""
        with pytest.raises(JoinError, match="cannot be made") as caught:
            make_request(person("box"), secret=SECRET, label="x" * 129)
        assert caught.value.fault is Fault.CALLER


class TestText:
    @pytest.mark.parametrize(
        "text", ["", "mlreq1", "mlrep1:AAAA", "hello", "mlreq1:", "mlreq1:!!!!", "mlreq1:é", "mlreq1:AAAAA"]
    )
    def test_other_texts_are_refused(self, text: str) -> None:
        """What is not a request text is refused with a hint on what one looks like."""
        with pytest.raises(JoinError) as caught:
            read_request_text(text)
        assert caught.value.hint is not None

    def test_a_text_has_one_spelling(self) -> None:
        """Padding, another alphabet and stray last bits are refused: whoever changed the text might have meant it."""
        text = make_request(person("box"), secret=SECRET)
        for other in (text + "=", text.replace("-", "+").replace("_", "/") + "/", text[:-1]):
            with pytest.raises(JoinError):
                read_request_text(other)

    @given(st.text(max_size=200))
    def test_no_text_raises_anything_else(self, text: str) -> None:
        """Whatever people paste, the error is a JoinError."""
        for prefix in ("", "mlreq1:"):
            with pytest.raises(JoinError):
                read_request_text(prefix + text)

    @given(st.binary(max_size=200))
    def test_no_bytes_raise_anything_else(self, raw: bytes) -> None:
        """The same for well-spelt texts of any bytes."""
        letters = urlsafe_b64encode(raw).rstrip(b"=").decode()
        with pytest.raises(JoinError):
            read_request_text("mlreq1:" + letters)
        with pytest.raises(JoinError):
            open_reply("mlrep1:" + letters, person("box"), SECRET)

    def test_an_endless_text_is_refused(self) -> None:
        """A text beyond the limit is refused, and not decoded for long."""
        with pytest.raises(JoinError):
            read_request_text("mlreq1:" + "A" * 10_000_000)


class TestReply:
    def reply(self, genesis: bytes, **changes: Any) -> str:
        request, secret = read_request_text(make_request(person("box"), secret=SECRET))
        return make_reply(request, changes.pop("secret", secret), genesis=genesis, **changes)

    def test_it_lets_the_applicant_in(self, genesis: bytes) -> None:
        """The ledger, its transport keys and the broker arrive."""
        reply = open_reply(
            self.reply(genesis, transport_keys=KEYS, broker="mqtts://broker.example:8883"), person("box"), SECRET
        )
        assert (reply.genesis, reply.ledger_id) == (genesis, World("ada").genesis.ledger_id)
        assert reply.transport_keys == tuple(KEYS)
        assert reply.broker == "mqtts://broker.example:8883"

    def test_nobody_without_the_secret_enrols_a_box(self, genesis: bytes) -> None:
        """A thief knows the request's proof from the ledger, but not the secret: its reply does not open."""
        with pytest.raises(JoinError, match="somebody who has our request"):
            open_reply(self.reply(genesis, secret=b"guessed secret!!"), person("box"), SECRET)

    def test_a_reply_to_an_earlier_request_is_refused(self, genesis: bytes) -> None:
        """Each request has its own secret, so an old reply cannot be replayed to it."""
        with pytest.raises(JoinError):
            open_reply(self.reply(genesis), person("box"), b"another secret!!")

    def test_it_is_for_one_applicant(self, genesis: bytes) -> None:
        """Another box with the same secret cannot open it."""
        with pytest.raises(JoinError):
            open_reply(self.reply(genesis), person("eve"), SECRET)

    def test_it_is_for_one_kem_key(self, genesis: bytes) -> None:
        """Nor can the same signing key with another X25519 key."""
        with pytest.raises(JoinError):
            open_reply(self.reply(genesis), SecureElement(person("box")), SECRET)

    def test_no_byte_can_be_changed(self, genesis: bytes) -> None:
        """A flip of any bit of the reply is refused."""
        text = self.reply(genesis, transport_keys=KEYS)
        letters = text.removeprefix("mlrep1:")
        raw = urlsafe_b64decode(letters + "=" * (-len(letters) % 4))
        for at in range(len(raw)):
            changed = raw[:at] + bytes([raw[at] ^ 1 << at % 8]) + raw[at + 1 :]
            with pytest.raises(JoinError) as caught:
                open_reply("mlrep1:" + urlsafe_b64encode(changed).rstrip(b"=").decode(), person("box"), SECRET)
            assert caught.value.fault is Fault.RELAY

    @pytest.mark.parametrize("wrong", ["other ledger", "not a genesis", "version"])
    def test_what_is_inside_is_checked(self, genesis: bytes, wrong: str) -> None:
        """Even a reply under the right secret must bring a genesis that is the ledger that it names."""
        box, ledger_id = person("box"), World("ada").genesis.ledger_id
        inside = {
            "other ledger": [1, b"l" * 32, genesis, [], None],
            "not a genesis": [1, ledger_id, genesis[:-1], [], None],
            "version": [2, ledger_id, genesis, [], None],
        }[wrong]
        sealed = seal_to(box.kem_public_key, cbor.encode(inside))
        covered = cbor.encode([box.public_key, [1, box.kem_public_key], sealed])
        mac = blake2b(covered, key=SECRET, person=b"medledger/reply1", digest_size=32).digest()
        text = "mlrep1:" + urlsafe_b64encode(cbor.encode([sealed, mac])).rstrip(b"=").decode()
        with pytest.raises(JoinError):
            open_reply(text, box, SECRET)

    def test_a_reply_that_cannot_be_opened_is_not_made(self, genesis: bytes) -> None:
        """Wrong transport keys and broker addresses are the governor's mistake, told at once."""
        for changes in (
            {"transport_keys": [(b"", b"t" * 32)]},
            {"transport_keys": [(b"i", b"t")]},
            {"broker": "x" * 300},
        ):
            with pytest.raises(JoinError, match="cannot be made"):
                self.reply(genesis, **changes)
