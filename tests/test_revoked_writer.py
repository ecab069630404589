"""A key that learns of its revocation stops signing."""

from __future__ import annotations

from pathlib import Path

import pytest

from medledger.errors import MembershipError
from worlds import found, join, reading, sync


def test_a_revoked_key_signs_nothing_more(tmp_path: Path) -> None:
    """Its blocks beyond the cut are set aside; signing at their positions again would be a fork of its own making."""
    with found(tmp_path) as founder, join(founder, tmp_path, "box") as box:
        sync(founder, box)
        for _ in range(3):
            box.append(reading())
        sync(box, founder)
        assert box.me is not None
        founder.revoke(box.me, reason="lost", after=1)
        sync(founder, box)
        with pytest.raises(MembershipError, match="revoked"):
            box.append(reading())
        assert len(box.disputed()) == 1
        head = box.head(box.me)
        assert head is not None
        assert head.seq == 1
