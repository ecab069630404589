"""docs/adding-a-device.md, word for word: its file and its line, installed, wired to a box, and read from a line."""

from __future__ import annotations

import os
import re
import tomllib
import tty
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from boxes import World
from medledger_bridge.devices import feed
from medledger_bridge.errors import BridgeError
from programs import run_beside
from waiting import until

PAGE = (Path(__file__).resolve().parent.parent.parent / "docs" / "adding-a-device.md").read_text(encoding="utf-8")
SECONDS = 30


def blocks(language: str) -> list[str]:
    """The page's fenced blocks."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


FILE = blocks("python")[0]
PROJECT, WIRING = map(tomllib.loads, blocks("toml"))


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A directory with what `pip install` puts there for the page's package."""
    place, name, version = tmp_path / "site", PROJECT["project"]["name"], PROJECT["project"]["version"]
    [module] = PROJECT["tool"]["setuptools"]["py-modules"]
    information = place / f"{module}-{version}.dist-info"
    information.mkdir(parents=True)
    (place / f"{module}.py").write_text(FILE, encoding="utf-8")
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    groups = PROJECT["project"]["entry-points"]
    points = [f"[{group}]\n" + "".join(f"{name} = {to}\n" for name, to in of.items()) for group, of in groups.items()]
    (information / "entry_points.txt").write_text("".join(points))
    return place


def hears(process: int, terminal: str) -> bool:
    """Whether a process waits for bytes of a terminal: what is sent before is dropped when a port is opened."""
    try:
        open_files = {link.name: os.readlink(link) for link in Path(f"/proc/{process}/fd").iterdir()}
        watched = {
            line.split()[1]
            for number, target in open_files.items()
            if target == "anon_inode:[eventpoll]"
            for line in Path(f"/proc/{process}/fdinfo/{number}").read_text().splitlines()
            if line.startswith("tfd:")
        }
    except FileNotFoundError:  # closed while we looked
        return False
    return any(target == terminal and number in watched for number, target in open_files.items())


def scale() -> Any:
    """The page's driver."""
    names: dict[str, Any] = {}
    exec(compile(FILE, "acme_scale.py", "exec"), names)
    return names["AcmeScale"]("SCALE-3")


def test_one_file_and_one_line_are_enough(installed: Path) -> None:
    """Any program of the environment then finds the driver."""
    program = (
        "from medledger_bridge.devices import known, new_driver\n"
        "assert 'acme-scale' in known()\n"
        "[reading] = new_driver('acme-scale', 'SCALE-3').feed(b'S 71.40 6D\\n', 5)\n"
        "print(reading.device, reading.samples[0])\n"
    )
    done = run_beside(installed, program)
    assert (done.returncode, done.stdout) == (0, "SCALE-3 29463-7 71.40 kg\n"), done.stderr


def test_a_box_logs_what_the_pages_device_says(installed: Path, tmp_path: Path, stack: ExitStack) -> None:
    """Wired as the page says, on a pseudo-terminal: a value, one that is none, and a line that nobody can read."""
    main, side = os.openpty()
    stack.callback(os.close, main)
    stack.callback(os.close, side)
    tty.setraw(side)
    (tmp_path / "scale.tty").symlink_to(os.ttyname(side))
    [(device, wiring)] = WIRING["instruments"]["devices"].items()
    section = {"devices": {device: {**wiring, "port": str(tmp_path / "scale.tty")}}}
    world = World(tmp_path)
    stack.callback(world.close)
    box = world.box("bed-7", "bedside", instruments=section, gossip={"offline": True})
    path = os.pathsep.join([str(installed), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]).rstrip(os.pathsep)
    with box.start(PYTHONPATH=path) as agent:
        assert until(lambda: hears(agent.process.pid, os.ttyname(side)), SECONDS)
        logged = 0
        for sent, readings in ((b"S 71.40 6D\n", 1), (b"S 6553.5 A9\nS 71.40 00\n", 3)):
            os.write(main, sent)
            while logged < readings:
                logged += agent.wait_for("message logged")["readings"]
        agent.stop()
        assert "unhealthy" not in {event["event"] for event in agent.log}
    first, silly, noise = (entry.content for entry in box.entries("reading"))
    assert {content["device"] for content in (first, silly, noise)} == {device}
    assert first["samples"] == [["29463-7", [7140, -2], "kg", {"sent": "weight"}]]
    assert [content["samples"][0][1] for content in (silly, noise)] == [None, None]
    assert silly["samples"][0][3]["sent_value"] == [65535, -1]


def test_the_pages_driver_loses_no_line_before_what_is_none() -> None:
    """Bytes without an end are refused when nothing before them would be lost by that, and never pile up."""
    driver = scale()
    [steady] = feed(driver, b"S 71.40 6D\n" + b"x" * 100, 5)
    assert str(steady.samples[0]) == "29463-7 71.40 kg"
    with pytest.raises(BridgeError, match="more bytes than a line has"):
        feed(driver, b"x", 6)
    assert driver.buffer == b""
    [steady] = feed(driver, b"S 71.40 6D\n", 7)
    assert steady.time == 7
