"""Whether a replica is shut out: it hears members that only hail, and none of them answers."""

from __future__ import annotations

from typing import Any

import pytest

from medledger.cli.netdata import unanswered

HAILING = {"gone": False, "stranger": False, "heard_seconds": 7.0, "feeds": 0, "failures": 3}


@pytest.mark.parametrize(
    "other",
    [
        {"feeds": 4},  # shows what it holds: it speaks under our key, or in envelopes
        {"feeds": None},  # no beacon yet
        {"failures": 2},  # asked, and may still answer
    ],
)
def test_one_member_that_may_answer_is_enough(other: dict[str, Any]) -> None:
    """Every member that is heard has to be silent to us before anybody is told that the key may be revoked."""
    assert unanswered({"peer_list": [HAILING]})
    assert not unanswered({"peer_list": [HAILING, {**HAILING, **other}]})


@pytest.mark.parametrize("other", [{"gone": True}, {"stranger": True}, {"heard_seconds": 161.0}])
def test_who_is_not_there_or_no_member_says_nothing(other: dict[str, Any]) -> None:
    """A peer that has gone, that was not heard for long, or whose enrolment is not here: neither for nor against it."""
    assert not unanswered({"peer_list": []})
    assert not unanswered({"peer_list": [{**HAILING, **other}]})
    assert unanswered({"peer_list": [HAILING, {**HAILING, **other, "feeds": 4}]})
