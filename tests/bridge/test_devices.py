"""The registry of device drivers: ours, an embedder's, an installed package's; and the guide's "one file, one line"."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medledger.errors import MedledgerError, UsageError
from medledger.records import Reading
from medledger_bridge import devices
from medledger_bridge.devices import BUILT_IN, feed, known, lookup, new_driver, register
from medledger_bridge.errors import BleError, BridgeError
from programs import run_beside

OURS = ["blood-pressure", "glucose", "heart-rate", "pulse-oximeter", "thermometer"]


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """The registry, which forgets in the end what the test has added."""
    copy = dict(devices._registry)
    monkeypatch.setattr(devices, "_registry", copy)
    return copy


def stub(name: str = "stub", needs: str = "serial") -> Any:
    """A driver class that gives nothing."""

    class Stub:
        NAME = name
        NEEDS = needs

        def __init__(self, device: str, *, zero: int = 0) -> None:
            self.device, self.zero = device, zero

        def feed(self, data: bytes, at: int, channel: str = "") -> list[Any]:
            raise ZeroDivisionError(data) if self.zero else BridgeError("no scale")

    return Stub


def test_the_bluetooth_profiles_are_drivers() -> None:
    """By name, each needing Bluetooth."""
    assert set(OURS) <= set(known())
    for name in OURS:
        driver = new_driver(name, "DEV-1", utc_offset=0)
        assert (name, "ble") == (driver.NAME, driver.NEEDS)


def test_a_driver_of_an_embedder_is_found(registry: dict[str, Any]) -> None:
    """`register` is a decorator, and twice is once."""
    cls = stub()
    assert register(cls) is cls is register(cls) is lookup("stub")
    assert "stub" in known()
    assert new_driver("stub", "S-1", zero=3).zero == 3  # type: ignore[attr-defined]


def test_a_name_is_taken_once(registry: dict[str, Any]) -> None:
    """Nobody replaces another's driver, and nobody ours, loaded or not."""
    register(stub())
    with pytest.raises(UsageError, match="registered already"):
        register(stub())
    for name in BUILT_IN:
        registry.pop(name, None)
        with pytest.raises(UsageError, match="our own"):
            register(stub(name))


@pytest.mark.parametrize("cls", [stub(""), stub(needs="radio"), stub(name="x" * 65), int, type("Empty", (), {})])
def test_what_is_no_driver_is_refused(cls: Any, registry: dict[str, Any]) -> None:
    """A name, what it needs, and `feed`."""
    with pytest.raises(UsageError, match="is not a driver"):
        register(cls)


def test_unknown_names_and_options_are_named(registry: dict[str, Any]) -> None:
    """With what is known instead."""
    with pytest.raises(UsageError) as caught:
        new_driver("sphygmograph", "S-1")
    assert caught.value.hint is not None
    assert "heart-rate" in caught.value.hint
    with pytest.raises(UsageError, match="colour"):
        new_driver("heart-rate", "HR-1", colour="red")


def test_a_defect_of_a_driver_does_not_end_the_agent(registry: dict[str, Any]) -> None:
    """Its own errors pass; any other exception becomes one of the family, and names the driver."""
    register(stub())
    with pytest.raises(BridgeError, match="no scale"):
        feed(new_driver("stub", "S-1"), b"1", 0)
    with pytest.raises(BridgeError, match="'stub' failed on 3 bytes: ZeroDivisionError"):
        feed(new_driver("stub", "S-1", zero=1), b"123", 0)


def test_unknown_characteristics_are_kept_without_a_value() -> None:
    """The bytes' hash and the UUID stay; text that is no UUID is the caller's mistake."""
    driver = new_driver("heart-rate", "HR-1")
    for uuid in ("2A6E", "6e400003-b5a3-f393-e0a9-e50e24dcca9e"):
        (reading,) = driver.feed(b"abc", 5, uuid)
        assert isinstance(reading, Reading)
        (sample,) = reading.samples
        assert (sample.sent, sample.absent, reading.time) == (f"GATT:{uuid.upper()}", "unsupported", 5)
        assert reading.raw is not None
    for nonsense in ("", "2A3", "heart rate", "00002a37-0000-1000-8000-00805f9b34fc0"):
        with pytest.raises(UsageError):
            driver.feed(b"\x00\x48", 5, nonsense)


def test_the_full_uuid_and_its_number_are_one() -> None:
    """As bleak writes it, in either case."""
    driver = new_driver("heart-rate", "HR-1")
    for uuid in ("2A37", "2a37", "00002a37-0000-1000-8000-00805f9b34fb", "00002A37-0000-1000-8000-00805F9B34FB"):
        (reading,) = driver.feed(b"\x00\x48", 5, uuid)
        assert isinstance(reading, Reading)
        assert reading.samples[0].code == "8867-4"


def test_facts_change_how_later_values_are_read() -> None:
    """A thermometer's static type is its site; a told offset makes its clock UTC, but not over a configured one."""
    warm, stamp = b"\x02\x6f\x01\x00\xff", b"\xea\x07\x0b\x16\x0a\x00\x00"
    told, configured = new_driver("thermometer", "T-1"), new_driver("thermometer", "T-2", utc_offset=0)
    found = {}
    for driver in (told, configured):
        assert driver.feed(bytes((4, 0)), 5, "2A0F") == driver.feed(b"\x08", 5, "2A1D") == []
        (found[driver],) = driver.feed(warm + stamp, 5, "2A1C")
        assert found[driver].samples[0].sent == "GATT:2A1C toe"  # type: ignore[attr-defined]
    one, other = found[told].device_time, found[configured].device_time  # type: ignore[attr-defined]
    assert other - one == 3_600_000


@pytest.mark.parametrize("name", OURS)
@given(data=st.binary(max_size=30), channel=st.sampled_from(["2A37", "2A35", "2A1C", "2A1D", "2A5F", "2A18", "2A52"]))
def test_a_driver_takes_any_value(name: str, data: bytes, channel: str) -> None:
    """Readings or a BleError."""
    try:
        for found in feed(new_driver(name, "DEV-1"), data, 7, channel):
            assert isinstance(found, Reading)
            assert (found.device, found.time) == ("DEV-1", 7)
    except MedledgerError as error:
        if not isinstance(error, BleError):
            raise


def test_an_installed_driver_that_cannot_be_loaded_is_named(tmp_path: Path) -> None:
    """A broken package costs its own driver, and the others work."""
    installed = tmp_path / "broken-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text("[medledger.devices]\nbroken = broken_driver:Nothing\n")
    program = (
        "from medledger.errors import UsageError\n"
        "from medledger_bridge.devices import lookup\n"
        "print(lookup('glucose').NAME)\n"
        "try:\n    lookup('broken')\nexcept UsageError as error:\n    print(error)\n"
    )
    done = run_beside(tmp_path, program)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("glucose\nthe driver 'broken' cannot be loaded: ")
