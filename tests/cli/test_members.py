"""Members: asking, approving alone and together, joining, changing roles, and revoking."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import READING, Done, Run

Admit = Callable[..., Path]
Carry = Callable[[Path, Path], Done]


def members(run: Run, ledger: Path) -> dict[str, dict[str, object]]:
    """The members by label, as `member list --json` tells them."""
    return {line["label"]: line for line in run("member", "list", ledger, "--json").lines}


def test_a_request_is_the_same_until_it_is_answered(run: Run, ward: Path) -> None:
    """Printing it again changes nothing; another one has to be asked for, and makes the first reply useless."""
    ask = ("member", "request", "--key", "box.key", "--label", "box 7", "--role", "bedside")
    first = run(*ask).out
    assert run(*ask).out == first
    assert "another request" in run(*ask, "--role", "laboratory", code=2).err
    late = run("member", "approve", ward, first.strip(), "--key", "ward.key").out
    second = run(*ask, "--replace").out
    assert second != first
    done = run("join", "box.db", late.strip(), "--key", "box.key", code=1)
    assert "cannot be trusted" in done.err
    assert not Path("box.db").exists()
    reply = run("member", "approve", ward, second.strip(), "--key", "ward.key")
    assert "member already" in reply.err
    run("join", "box.db", reply.out.strip(), "--key", "box.key")
    assert not Path("box.key.request").exists()


def test_a_lost_reply_is_printed_again(run: Run, ward: Path, admit: Admit) -> None:
    """Approving the same request again writes nothing and gives a reply that works."""
    run("member", "request", "--key", "box/own.key", code=2)
    Path("box").mkdir()
    run("member", "request", "--key", "box/own.key", "--label", "box", "--role", "bedside")
    run("member", "approve", ward, "box/own.key.request")
    before = run("verify", ward, "--json").json["blocks"]
    reply = run("member", "approve", ward, "box/own.key.request", "--json").json
    assert run("verify", ward, "--json").json["blocks"] == before
    assert reply["effective"]
    run("join", "box/own.db", "-", stdin=reply["reply"])


def test_a_request_or_reply_may_be_wrapped_or_piped(run: Run, ward: Path) -> None:
    """Text, file and stdin are one; white space that mail adds does no harm."""
    Path("box").mkdir()
    request = run("member", "request", "--key", "box/own.key", "--label", "box", "--role", "bedside", "--json").json
    text = request["request"]
    Path("wrapped.txt").write_text("\n".join(text[at : at + 60] for at in range(0, len(text), 60)))
    by_file = run("member", "approve", ward, "wrapped.txt").out
    by_stdin = run("member", "approve", ward, "-", stdin=text).out
    by_text = run("member", "approve", ward, text).out
    assert by_file.startswith("mlrep1:")
    for reply in (by_file, by_stdin, by_text):
        assert reply.count("\n") == 1
    run("join", "box/own.db", by_text.strip())


def test_a_reply_for_somebody_else_does_not_open(run: Run, ward: Path) -> None:
    """Nothing is created, and the waiting request is kept."""
    for name in ("one", "two"):
        Path(name).mkdir()
        run("member", "request", "--key", f"{name}/own.key", "--label", name, "--role", "bedside")
    reply = run("member", "approve", ward, "one/own.key.request").out
    done = run("join", "two/own.db", "-", stdin=reply, code=1)
    assert "cannot be trusted" in done.err
    assert sorted(path.name for path in Path("two").iterdir()) == ["own.key", "own.key.request"]


def test_a_governor_may_grant_other_roles(run: Run, ward: Path) -> None:
    """--role and --label override what was asked; a role that the policy lacks is refused."""
    run("member", "request", "--key", "box.key", "--label", "x", "--role", "hospital")
    refused = run("member", "approve", ward, "box.key.request", "--role", "king", "--key", "ward.key", code=1)
    assert "no role 'king'" in refused.err
    run("member", "approve", ward, "box.key.request", "--role", "auditor", "--label", "Eve", "--key", "ward.key")
    assert members(run, ward)["Eve"]["roles"] == ["auditor"]


def test_enrol_takes_a_request_too(run: Run, ward: Path) -> None:
    """With a request, `member enrol` is `member approve`."""
    run("member", "request", "--key", "box.key", "--label", "box", "--role", "bedside")
    assert run("member", "enrol", ward, "box.key.request", "--key", "ward.key").out.startswith("mlrep1:")


def test_the_broker_of_the_ledger_is_named_in_replies(run: Run) -> None:
    """`init --broker` is passed on; `approve --broker` names another."""
    run("init", "a.db", "--name", "A", "--broker", "mqtts://broker.example:8883")
    Path("box").mkdir()
    run("member", "request", "--key", "box/b.key", "--label", "b", "--role", "bedside")
    reply = run("member", "approve", "a.db", "box/b.key.request", "--no-deliver").out
    told = run("join", "box/b.db", "-", "--json", stdin=reply).json
    assert told["broker"] == "mqtts://broker.example:8883"
    naming = ("--broker", "mqtt://10.0.0.5", "--no-deliver")
    other = run("member", "approve", "a.db", "-", *naming, stdin=another_request(run)).out
    assert run("join", "box/c.db", "-", "--key", "box/c.key", "--json", stdin=other).json["broker"] == "mqtt://10.0.0.5"


def another_request(run: Run) -> str:
    """A request of a key that lies beside another one."""
    return run("member", "request", "--key", "box/c.key", "--label", "c", "--role", "bedside").out


def test_two_governors_decide_together(run: Run, ward: Path, admit: Admit, carry: Carry) -> None:
    """With a threshold of two an act waits, is listed, and takes effect with the second approval."""
    pharmacy = admit("Pharmacy", "pharmacy")
    run("governance", "change", ward, "--add-governor", "Pharmacy", "--threshold", "2")
    carry(ward, pharmacy)
    box = admit("box 7", "bedside")  # approved by one: the reply comes, the membership waits
    assert "box 7" not in members(run, ward)
    carry(ward, pharmacy)
    (act,) = run("member", "list", pharmacy, "--pending", "--json").lines
    assert (act["type"], act["missing"], act["state"]) == ("gov.enrol", 1, "open")
    assert "enrol box 7 as bedside" in run("member", "list", pharmacy, "--pending").out
    assert "Proposed" not in run("member", "approve", pharmacy, act["act"][:8]).out
    carry(pharmacy, ward)
    assert members(run, ward)["box 7"]["roles"] == ["bedside"]
    assert run("member", "list", ward, "--pending", "--json").out == ""
    assert run("member", "list", ward, "--pending").out == "Nothing waits for an approval.\n"
    carry(ward, box)
    run("append", box, "reading", READING)


def test_the_second_governor_may_approve_the_request_itself(run: Run, ward: Path, admit: Admit, carry: Carry) -> None:
    """The same request at the second governor approves what the first proposed, rather than proposing a rival."""
    pharmacy = admit("Pharmacy", "pharmacy")
    run("governance", "change", ward, "--add-governor", "Pharmacy", "--threshold", "2")
    run("member", "request", "--key", "box.key", "--label", "box 7", "--role", "bedside")
    first = run("member", "approve", ward, "box.key.request", "--label", "bed 7", "--key", "ward.key")
    assert "It waits for 1 more approval" in first.err
    again = run("member", "approve", ward, "box.key.request", "--key", "ward.key", "--json").json
    assert not again["effective"]
    carry(ward, pharmacy)
    second = run("member", "approve", pharmacy, "box.key.request", "--json").json
    assert second["effective"]
    assert members(run, pharmacy)["bed 7"]["roles"] == ["bedside"]


def test_the_second_governor_grants_no_role_unseen(run: Run, ward: Path, admit: Admit, carry: Carry) -> None:
    """What the first proposed beyond the request takes an approval of that act, by its id; scripts grant it neither."""
    pharmacy = admit("Pharmacy", "pharmacy")
    run("governance", "change", ward, "--add-governor", "Pharmacy", "--threshold", "2")
    run("member", "request", "--key", "box.key", "--label", "box 7", "--role", "bedside")
    run("member", "approve", ward, "box.key.request", "--key", "ward.key", "--role", "hospital")
    carry(ward, pharmacy)
    (act,) = run("member", "list", pharmacy, "--pending", "--json").lines
    refused = run("member", "approve", pharmacy, "box.key.request", "--yes", code=1)
    assert "hospital" in refused.err
    assert act["act"][:8] in refused.err
    assert run("member", "list", pharmacy, "--pending", "--json").lines == [act]
    run("member", "approve", pharmacy, act["act"][:8], "--yes")
    assert members(run, pharmacy)["box 7"]["roles"] == ["hospital"]


def test_a_member_is_enrolled_anew_with_other_roles(run: Run, ward: Path, admit: Admit) -> None:
    """After a new epoch, on the request that it once signed; the roles are those given and no others."""
    admit("box 7", "bedside")
    Path("policy.json").write_text('{"bedside": ["reading"], "lab": ["reading"], "hospital": ["*"]}')
    run("governance", "change", ward, "--policy", "policy.json", "--json")
    told = run("member", "enrol", ward, "box 7", "--role", "lab", "--json").json
    assert told["effective"]
    assert members(run, ward)["box 7"]["roles"] == ["lab"]
    assert run("governance", "show", ward, "--json").json["policy"]["hospital"] == ["*"]


def test_a_revoked_member_stays_revoked(run: Run, ward: Path, admit: Admit, carry: Carry) -> None:
    """Its later blocks are refused everywhere, kept as evidence where they were held, and its key is dead."""
    box = admit("box 7", "bedside")
    carry(ward, box)
    for _ in range(3):
        run("append", box, "reading", READING)
    carry(box, ward)
    told = run("member", "revoke", ward, "box 7", "--after", "0", "--reason", "stolen", "--json").json
    assert told["effective"]
    assert told["last"] == 0
    found = members(run, ward)["box 7"]
    assert (found["revoked"], found["revoked_after"], found["revocations"], found["blocks"]) == (True, 0, ["stolen"], 1)
    assert "revoked after block 0" in run("member", "list", ward).out
    assert "2 blocks kept as evidence" in run("verify", ward).err
    run("bundle", "export", ward, "all.bundle")
    run("bundle", "import", "new.db", "all.bundle", "--new")
    assert "3 entries" not in run("audit", "report", "new.db").out
    run("member", "revoke", ward, "box 7", "--after", "2", code=1)


@pytest.mark.parametrize("by", ["label", "fingerprint", "start"])
def test_a_member_is_named_as_people_do(run: Run, ward: Path, admit: Admit, by: str) -> None:
    """By its label, its fingerprint in either case, or the start of its key."""
    admit("box 7", "bedside")
    found = members(run, ward)["box 7"]
    name = {"label": "box 7", "fingerprint": str(found["fingerprint"]).lower(), "start": str(found["feed"])[:6].upper()}
    run("member", "revoke", ward, name[by])


def test_an_ambiguous_name_is_not_guessed(run: Run, ward: Path, admit: Admit) -> None:
    """Two members of one label have to be told apart by their keys."""
    admit("box 7", "bedside")
    run("member", "request", "--key", "twin.key", "--label", "box 7", "--role", "bedside")
    run("member", "approve", ward, "twin.key.request", "--key", "ward.key")
    done = run("member", "revoke", ward, "box 7", "--key", "ward.key", code=2)
    assert "several members are meant by 'box 7'" in done.err


def test_a_successor_is_named(run: Run, ward: Path, admit: Admit) -> None:
    """A new key that carries on an old one is shown with it."""
    admit("box 7", "bedside")
    old = str(members(run, ward)["box 7"]["feed"])
    run("member", "request", "--key", "new.key", "--label", "box 7b", "--role", "bedside", "--succeeds", old)
    run("member", "approve", ward, "new.key.request", "--key", "ward.key")
    assert members(run, ward)["box 7b"]["succeeds"] == old
    assert "succeeded by box 7b" in run("member", "list", ward).out
