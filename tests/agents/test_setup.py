"""Setting up a box: from a blank directory to a member that logs, whatever happens in between."""

from __future__ import annotations

import json
import stat
import subprocess
import time
import tomllib
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.publish import single

from boxes import oru
from brokers import Broker
from medledger import Identity, Ledger, make_request
from medledger.cli import delivering
from medledger.joining import read_request_text
from medledger.sync.topics import rendezvous
from medledger.transport.rendezvous import Rendezvous
from medledger_agents.enrolment import home
from medledger_agents.enrolment.doctor import examine
from medledger_agents.enrolment.findings import Finding, Verdict
from medledger_agents.inbox import Inbox, Received
from medledger_agents.settings import keys_of, section_of
from setups import PROGRAM, Hospital, NewBox, program
from waiting import until


def finding(box: NewBox, check: str) -> Finding:
    """What the doctor says of one thing."""
    return next(each for each in examine(box.config) if each.check == check)


def nothing_is_left(broker: Broker, request: str) -> bool:
    """Whether the reply was removed from the broker."""
    asked, secret = read_request_text(request)
    with Rendezvous(broker.url, asked.feed, secret).open(must_connect=True) as place:
        return [text for _ in range(5) for text in place.texts(0.1)] == []


def spoil(broker: Broker, request: str, *texts: bytes) -> None:
    """Leave other things where the reply is awaited, as whoever reads the broker's traffic can."""
    asked, secret = read_request_text(request)
    for text in texts:
        single(rendezvous(asked.feed, secret), text, qos=1, retain=True, hostname=broker.host, port=broker.port)


# --- the whole way ------------------------------------------------------------------------------------------------


def test_from_a_blank_directory_to_a_reading_at_the_hospital(broker: Broker, tmp_path: Path) -> None:
    """Setup asks, one command approves, the box is a member; its agent logs, and the hospital holds the reading."""
    hospital, box = Hospital.found(tmp_path / "hospital", broker.url), NewBox(tmp_path / "box")
    with box.setup("--label", "bed 7", "--organisation", "St. Anna", "--broker", broker.url) as setup:
        request = setup.until_asked()
        told = hospital.approve(request)
        assert (told["delivered"], told["held"], told["arrived"]) == (True, True, True)
        now = setup.enrolled()
    assert (now["ledger"]["name"], now["label"], now["roles"]) == ("St. Anna", "bed 7", ["bedside"])
    assert now["fingerprint"] == box.identity().fingerprint
    assert now["start"] == f"medledger agent bedside --config {box.config}"
    assert nothing_is_left(broker, request)
    assert not list(box.home.glob("*.request"))
    with box.start() as agent:
        assert agent.monitor().ask(oru(1))[0] == "AA"
        program("sync", hospital.ledger)
        agent.stop()
    with hospital.open() as ledger:
        (entry,) = ledger.entries("reading")
        assert entry.author == box.identity().public_key


def test_files_are_the_owners_and_the_configuration_explains_every_key(tmp_path: Path) -> None:
    """The key, the request, the configuration and the QR code hold secrets; every key of the file is there to read."""
    for name, kind in home.KINDS.items():
        box = NewBox(tmp_path / name, name)
        url, image = "mqtt://user:p%C3%A4ss@127.0.0.1:1", tmp_path / f"{name}.png"
        with box.setup("--broker", url, "--no-wait", "--qr-out", image) as setup:
            setup.until_asked()
            setup.end()
        for path in (*box.home.iterdir(), image):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
        assert stat.S_IMODE(box.home.stat().st_mode) == 0o700
        config = kind.load(box.config)
        assert config.gossip.broker == (url,)
        text = box.config.read_text()
        for declared in kind.config.__dataclass_fields__.values():
            assert f"[{declared.name}]" in text
            for key, (about, _) in keys_of(section_of(declared)).items():
                assert f"{key} = " in text
                assert about.doc.split()[0] in text


def test_a_directory_that_others_can_write_to_is_refused(tmp_path: Path) -> None:
    """Whoever puts another configuration or key there decides what the box does; nothing is made in it."""
    box = NewBox(tmp_path / "box")
    box.home.mkdir()
    box.home.chmod(0o777)
    with box.setup("--no-wait") as setup:
        assert "chmod 700" in setup.end(2)[1]
    assert list(box.home.iterdir()) == []


def test_two_governors_have_to_approve(broker: Broker, tmp_path: Path) -> None:
    """The first one's reply lets the box join; it waits, and says for what, until the second has approved, too."""
    hospital = Hospital.found(tmp_path / "hospital", broker.url)
    second, box = NewBox(tmp_path / "second", "pharmacy"), NewBox(tmp_path / "box")
    with second.setup("--label", "Pharmacy", "--broker", broker.url) as setup:
        hospital.approve(setup.until_asked())
        setup.enrolled()
    program("governance", "change", hospital.ledger, "--add-governor", "Pharmacy", "--threshold", "2", "--yes")
    with box.setup("--label", "bed 7", "--broker", broker.url) as setup:
        told = hospital.approve(setup.until_asked(), "--wait", "2s")
        assert (told["effective"], told["delivered"]) == (False, True)
        setup.heard("Waiting for its enrolment")
        with hospital.staying():
            program("sync", second.ledger)
            program("member", "approve", second.ledger, told["pending_act"], "--yes")
            program("sync", second.ledger)
            assert setup.enrolled()["roles"] == ["bedside"]


@given(name=st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip))
def test_whatever_is_typed_stands_in_the_configuration(name: str) -> None:
    """Quotes, control characters, anything that is text: the file says what was answered, and is right."""
    for kind in home.KINDS.values():
        answers: dict[str, dict[str, Any]] = {
            "gossip": {"username": name, "broker": ["mqtt://a", "mqtt://b"]},
            "ledger": {"path": "/x/" + name},
        }
        document = tomllib.loads(home.config_text(kind, answers))
        assert document["gossip"]["username"] == name
        assert document["gossip"]["broker"] == ["mqtt://a", "mqtt://b"]
        assert document["ledger"]["path"] == "/x/" + name


# --- cut off and gone on with ---------------------------------------------------------------------------------------


def test_killed_at_every_step_it_goes_on(broker: Broker, tmp_path: Path) -> None:
    """SIGKILL as soon as each file is there: one key, one request, one member come of it, and nothing is left."""
    hospital, box = Hospital.found(tmp_path / "hospital", broker.url), NewBox(tmp_path / "box")
    options = ("--label", "bed 7", "--broker", broker.url)
    for name in ("agent.toml", "box.key", "box.key.request"):
        with box.setup(*options) as setup:
            setup.kill_when(box.home / name)
    key, config = box.key.read_bytes(), box.config.read_bytes()
    with box.setup(*options) as setup:
        request = setup.until_asked()
        setup.kill()
    hospital.approve(request, "--wait", "1s")
    with box.setup(*options) as setup:
        assert setup.until_asked() == request
        killed = setup.kill_when(box.ledger)
    assert killed
    with hospital.staying(), box.setup(*options) as setup:
        setup.enrolled()
    assert (box.key.read_bytes(), box.config.read_bytes()) == (key, config)
    assert hospital.members()["bed 7"]["feed"] == box.identity().public_key.hex()
    assert nothing_is_left(broker, request)
    assert not list(box.home.glob("*.request"))


@pytest.mark.slow
def test_killed_at_any_moment_it_goes_on(own_broker: Broker, tmp_path: Path, rng: Random) -> None:
    """The same at moments that chance chooses, with an approval that waits on the broker; the end is the same."""
    hospital, box = Hospital.found(tmp_path / "hospital", own_broker.url), NewBox(tmp_path / "box")
    with box.setup("--label", "bed 7", "--broker", own_broker.url) as setup:
        request = setup.until_asked()
    hospital.approve(request, "--wait", "0s")
    with hospital.staying():
        for _ in range(12):
            with box.setup("--broker", own_broker.url) as setup:
                time.sleep(rng.uniform(0.15, 1.2))
                setup.kill()
        with box.setup("--broker", own_broker.url) as setup:
            setup.enrolled()
    assert set(hospital.members()) == {"Hospital", "bed 7"}
    program("fsck", box.ledger)
    assert nothing_is_left(own_broker, request)


def test_setup_again_after_the_end_tells_what_the_box_is(broker: Broker, tmp_path: Path) -> None:
    """Nothing is asked, made or changed; while the agent runs it says so."""
    hospital, box = Hospital.found(tmp_path / "hospital", broker.url), NewBox(tmp_path / "box")
    with box.setup("--label", "bed 7", "--broker", broker.url) as setup:
        hospital.approve(setup.until_asked())
        first = setup.enrolled()
    with box.setup() as setup:
        assert setup.enrolled() == first
    with box.start() as agent, box.setup() as setup:
        _, err = setup.end(3)
        assert "its agent runs" in err
        assert "medledger agent doctor" in err
        agent.stop()
    with box.setup("--kind", "pharmacy") as setup:
        assert "is the configuration of a bedside box" in setup.end(2)[1]


def test_two_setups_at_once(tmp_path: Path) -> None:
    """The second is refused: two requests of one key would make the reply to the first unreadable."""
    box = NewBox(tmp_path / "box")
    with box.setup("--broker", "mqtt://127.0.0.1:1") as first:
        first.until_asked()
        with box.setup() as second:
            assert "another setup is at work" in second.end(3)[1]


def test_other_answers_than_before_are_refused(tmp_path: Path) -> None:
    """A request that somebody may be looking at is not changed behind their back."""
    box = NewBox(tmp_path / "box")
    for options, code, said in (
        (("--label", "bed 7"), 0, "bring it with --reply"),
        ((), 0, "called 'bed 7'"),
        (("--label", "bed 8"), 2, "with another label"),
        (("--username", "bed-7"), 2, "under [gossip]"),
    ):
        done = program("agent", "setup", "--directory", box.home, "--kind", "bedside", *options, code=code)
        assert said in done.stderr


# --- what comes instead of the reply --------------------------------------------------------------------------------


def test_what_is_forged_is_passed_over(broker: Broker, tmp_path: Path) -> None:
    """Rubbish, and true replies to other requests, on the broker before and after: only its own lets the box in."""
    hospital, box = Hospital.found(tmp_path / "hospital", broker.url), NewBox(tmp_path / "box")
    forger = Ledger.create(tmp_path / "forged.db", Identity.generate(), name="Forged")
    with forger, box.setup("--label", "bed 7", "--broker", broker.url) as setup:
        request = setup.until_asked()
        asked, _ = read_request_text(request)
        own = make_request(Identity.generate(), secret=bytes(16), roles=["bedside"])
        guessed = forger.enrol(own)  # sealed to another key, under another secret
        # The last is what a box finds that subscribes only now: one that it looks at.
        spoil(broker, request, b"x" * 100_000, b"mlrep1:AAAA", b"\x00" * 30_000, guessed.encode())
        setup.heard("no reply to this request")
        assert not box.ledger.exists()
        told = hospital.approve(request)
        assert told["feed"] == asked.feed.hex()
        assert setup.enrolled()["ledger"]["name"] == "St. Anna"


def test_a_reply_for_another_box_is_refused(tmp_path: Path) -> None:
    """Carried to the wrong box it opens nothing there; to the right one it does; the wrong one has lost nothing."""
    hospital = Hospital.found(tmp_path / "hospital")
    boxes = [NewBox(tmp_path / name) for name in ("one", "two")]
    requests, replies = [], []
    for box in boxes:
        with box.setup("--label", box.home.name, "--no-wait") as setup:
            requests.append(setup.until_asked())
            setup.end()
        replies.append(hospital.approve(requests[-1])["reply"])
    (tmp_path / "reply.txt").write_text(replies[1] + "\n")
    with boxes[0].setup("--reply", tmp_path / "reply.txt") as setup:
        assert "cannot be trusted" in setup.end(1)[1]
    assert not boxes[0].ledger.exists()
    with boxes[0].setup("--reply", replies[0]) as setup:
        told = json.loads(setup.end()[0])
        assert (told["state"], told["lacks"]) == ("joined", "its enrolment has not arrived")
    with boxes[1].setup("--reply", "nowhere.txt") as setup:
        assert "neither a reply nor a file" in setup.end(1)[1]
    with boxes[1].setup("--reply", tmp_path / "reply.txt") as setup:
        assert json.loads(setup.end()[0])["ledger"]["name"] == "St. Anna"


def test_a_broker_that_comes_late(own_broker: Broker, tmp_path: Path) -> None:
    """Both sides do what can be done without it; the text carried by hand works meanwhile, the broker afterwards."""
    own_broker.kill()
    hospital = Hospital.found(tmp_path / "hospital", own_broker.url)
    one, two = NewBox(tmp_path / "one"), NewBox(tmp_path / "two")
    with one.setup("--label", "one", "--broker", own_broker.url) as setup:
        request = setup.until_asked()
        told = hospital.approve(request)
        assert (told["delivered"], told["effective"]) == (False, True)
        setup.kill()
    with (
        one.setup("--reply", told["reply"]) as carried,
        two.setup("--label", "two", "--broker", own_broker.url) as waits,
    ):
        asked = waits.until_asked()
        assert until(one.ledger.exists)
        own_broker.start()
        assert hospital.approve(asked)["arrived"]
        assert waits.enrolled()["label"] == "two"
        assert carried.enrolled()["label"] == "one"


def test_patience_ends(own_broker: Broker, tmp_path: Path) -> None:
    """Nobody replies; then somebody does and nobody has the enrolment: each is an error that says what is lacking."""
    hospital, box = Hospital.found(tmp_path / "hospital", own_broker.url), NewBox(tmp_path / "box")
    with box.setup("--broker", own_broker.url, "--label", "bed 7", "--patience", "1s") as setup:
        request = setup.until_asked()
        assert "no reply has come within 1 s" in setup.end(4)[1]
    own_broker.kill()
    with box.setup("--patience", "1s") as setup:
        setup.until_asked()
        said = setup.end(4)[1]
        assert said.count("Warning: the broker") == said.count("cannot be reached") == 1
    own_broker.start()
    reply = hospital.approve(request, "--no-deliver")["reply"]
    with box.setup("--reply", reply, "--patience", "2s") as setup:
        assert "no other replica of this ledger is on that broker" in setup.end(4)[1]


def test_a_role_that_does_not_fit_is_said(broker: Broker, tmp_path: Path) -> None:
    """The governor granted another role: the box is a member, and says that it may not do what it is there for."""
    hospital, box = Hospital.found(tmp_path / "hospital", broker.url), NewBox(tmp_path / "box")
    with box.setup("--label", "bed 7", "--broker", broker.url) as setup:
        hospital.approve(setup.until_asked(), "--role", "auditor")
        told = json.loads(setup.end()[0].splitlines()[-1])
    assert told["lacks"] == "its roles (auditor) may not write a reading"


# --- a key that was lost --------------------------------------------------------------------------------------------


def test_a_new_box_for_one_that_was_lost(broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The old key is revoked in the same command, the new box holds the old one's readings, and writes its own.

    Those, too, that had not reached the hospital: what others hold is brought before the old key is cut off.
    """
    monkeypatch.setattr(delivering, "PEER_SECONDS", 60)
    hospital = Hospital.found(tmp_path / "hospital", broker.url)
    old, new = NewBox(tmp_path / "old"), NewBox(tmp_path / "new")
    with old.setup("--label", "bed 7", "--broker", broker.url) as setup:
        hospital.approve(setup.until_asked())
        setup.enrolled()
    with old.start() as agent:
        assert agent.monitor().ask(oru(1))[0] == "AA"
        lost = old.identity().public_key
        with new.setup("--label", "bed 7", "--broker", broker.url, "--succeeds", lost.hex()) as setup:
            told = hospital.approve(setup.until_asked(), "--revoke-old")
            assert told["revoked"] == lost.hex()
            assert setup.enrolled()["roles"] == ["bedside"]
        agent.stop()
    with new.start() as agent:
        assert agent.monitor().ask(oru(2))[0] == "AA"
        program("sync", hospital.ledger)
        agent.stop()
    me = new.identity().public_key
    for path in (new.ledger, hospital.ledger):
        with Ledger.open(path) as ledger:
            assert [entry.author for entry in ledger.entries("reading")] == [lost, me]
            assert ledger.membership.members[lost].revoked
            assert ledger.membership.members[me].succeeds == lost
    with hospital.staying(), old.start() as agent:  # found again in a drawer: nobody listens to it any more
        assert agent.monitor().ask(oru(3))[0] == "AA"
        assert until(lambda: "may have been revoked" in finding(old, "peers").text, 60)
        assert finding(old, "peers").verdict is Verdict.FAULT
        assert "medledger agent setup --replace" in finding(old, "peers").advice
        seen = subprocess.run([*PROGRAM, "net", "status", old.ledger], capture_output=True, text=True, timeout=60)
        assert (seen.returncode, "may have been revoked" in seen.stdout) == (5, True)
        agent.stop()
    with hospital.open() as ledger:
        assert [entry.author for entry in ledger.entries("reading")] == [lost, me]


def test_a_box_goes_on_in_its_own_directory_under_a_new_key(
    broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """--replace puts the old key and replica aside, whenever it is killed meanwhile, and the new key succeeds it."""
    monkeypatch.setattr(delivering, "PEER_SECONDS", 0.1)  # nobody else is there who could hold more
    hospital, box = Hospital.found(tmp_path / "hospital", broker.url), NewBox(tmp_path / "box")
    with box.setup("--label", "bed 7", "--broker", broker.url) as setup:
        hospital.approve(setup.until_asked())
        setup.enrolled()
    old, config = box.identity(), box.config.read_bytes()
    with box.start() as agent:
        with box.setup("--replace") as setup:
            assert "the agent runs" in setup.end(3)[1]
        agent.stop()
    config = box.config.read_bytes()
    with Inbox.open(box.home / "inbox.db") as inbox:  # received just before the key died
        inbox.store([Received("MON", "1", bytes(32), b"raw", 0)], after=1041)
    retired = box.home / f"retired-{old.fingerprint}"
    for place in (box.home / "succession", retired, retired / "ledger.db", retired / "box.key"):
        with box.setup("--replace", "--label", "bed 7") as setup:
            setup.kill_when(place)
    with box.setup("--label", "bed 7") as setup:  # the note of it is enough
        told = hospital.approve(setup.until_asked(), "--revoke-old")
        setup.enrolled()
    assert told["revoked"] == old.public_key.hex()
    assert Identity.load(retired / "box.key").public_key == old.public_key
    assert box.identity().public_key != old.public_key
    assert box.config.read_bytes() == config
    assert not (box.home / "succession").exists()
    with Ledger.open(retired / "ledger.db") as ledger:
        assert ledger.name == "St. Anna"
    with Ledger.open(box.ledger) as ledger:
        assert ledger.membership.members[box.identity().public_key].succeeds == old.public_key
    with Inbox.open(box.home / "inbox.db") as inbox:
        assert [(each.raw, each.after) for each in inbox.unlogged()] == [(b"raw", -1)]  # looked for in all of the feed


def test_replacing_again_goes_on_with_the_same_new_key(tmp_path: Path) -> None:
    """As setup says when it is cut off: before the reply, and while its enrolment has not arrived."""
    hospital, box = Hospital.found(tmp_path / "hospital"), NewBox(tmp_path / "box")
    with box.setup("--no-wait") as setup:
        reply = hospital.approve(setup.until_asked())["reply"]
        setup.end()
    with box.setup("--reply", reply) as setup:
        assert setup.next()["state"] == "joined"
        setup.end()
    old, requests = box.identity().public_key, []
    for _ in range(2):
        with box.setup("--replace", "--no-wait") as setup:
            requests.append(setup.until_asked())
            setup.end()
    new = box.identity().public_key
    assert requests[0] == requests[1]
    assert new != old
    reply = hospital.approve(requests[0], "--revoke-old")["reply"]
    for options in (("--replace", "--reply", reply), ("--replace",)):
        with box.setup(*options) as setup:
            assert setup.next()["feed"] == new.hex()
            setup.end()
    assert len(list(box.home.glob("retired-*"))) == 1


def test_there_is_nothing_to_replace_or_revoke(tmp_path: Path) -> None:
    """Mistakes, each with what to do."""
    hospital, box = Hospital.found(tmp_path / "hospital"), NewBox(tmp_path / "box")
    with box.setup("--replace") as setup:
        assert "--succeeds" in setup.end(2)[1]
    with box.setup("--no-wait") as setup:
        request = setup.until_asked()
        setup.end()
    refused = program("member", "approve", hospital.ledger, "-", "--revoke-old", stdin=request, code=2)
    assert "succeeds no key" in refused.stderr
    assert set(hospital.members()) == {"Hospital"}
