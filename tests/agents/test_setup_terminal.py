"""Setting up a box on a terminal, by hand, and without one, by a script."""

from __future__ import annotations

import io
import os
import pty
import select
import signal
import subprocess
import time
from pathlib import Path

import pytest
import segno

from medledger import Ledger
from medledger_agents.enrolment import showing
from setups import PROGRAM, SECONDS, Hospital, NewBox, program


class Terminal:
    """`agent setup` on a terminal of so many columns and rows."""

    def __init__(self, *options: object, columns: int = 100, rows: int = 60) -> None:
        self._terminal, line = pty.openpty()
        subprocess.run(["stty", "cols", str(columns), "rows", str(rows)], stdin=line, check=True)
        environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
        self.process = subprocess.Popen(
            [*PROGRAM, "agent", "setup", *map(str, options)],
            stdin=line,
            stdout=line,
            stderr=line,
            start_new_session=True,
            env=environment,
        )
        os.close(line)
        self.shown = ""

    def see(self, text: str) -> None:
        """Read on until the screen has shown this."""
        raw = b""
        while text not in self.shown:
            there, _, _ = select.select([self._terminal], [], [], SECONDS)
            assert there, f"never showed {text!r}: {self.shown}"
            try:
                part = os.read(self._terminal, 4096)
            except OSError:
                part = b""
            assert part, f"never showed {text!r}: {self.shown}"
            raw += part
            if raw[-1] < 0x80:  # not amid a character
                self.shown, raw = self.shown + raw.decode(), b""

    def type(self, text: str) -> None:
        """Type or paste."""
        while text:  # what a terminal takes at once is bounded
            os.write(self._terminal, text[:1000].encode())
            text = text[1000:]
            time.sleep(0.02)

    def end(self) -> int:
        """Read to the end; the exit code."""
        while True:
            try:
                if not os.read(self._terminal, 4096):
                    break
            except OSError:
                break
        code = self.process.wait(30)
        os.close(self._terminal)
        return code


def test_asked_and_pasted_on_a_terminal(tmp_path: Path) -> None:
    """It asks, shows a QR code, takes a reply of several lines that is longer than a terminal's line, after rubbish."""
    hospital, box = Hospital.found(tmp_path / "hospital"), NewBox(tmp_path / "box")
    screen = Terminal("--directory", box.home)
    screen.see("Kind (bedside, pharmacy, auditor): ")
    screen.type("bedside\n")
    screen.see("]: ")
    screen.type("bed 7\n")
    screen.see("none): ")
    screen.type("\n")
    screen.see("The broker")
    screen.type("\n")
    screen.see("paste it here")
    assert box.identity().fingerprint in screen.shown
    assert "\u2584" in screen.shown  # the code
    request = (box.home / "box.key.request").read_text()
    reply = hospital.approve(request)["reply"]
    screen.type("rubbish\n")
    screen.see("neither a reply nor a file")
    screen.type(reply[:-4] + "\n")
    screen.see("damaged")
    screen.type("\n".join(reply[at : at + 70] for at in range(0, len(reply), 70)) + "\n")
    screen.see("That is the reply")
    screen.see("its enrolment has not arrived")
    assert screen.end() == 0
    with Ledger.open(box.ledger) as ledger:
        assert ledger.name == "St. Anna"


def test_ctrl_c_loses_nothing(tmp_path: Path) -> None:
    """It says that the same command goes on, and leaves the terminal as it was; a small one is told of --qr-out."""
    box = NewBox(tmp_path / "box")
    screen = Terminal("--directory", box.home, "--kind", "bedside", "--yes", columns=80, rows=24)
    screen.see("paste it here")
    assert "--qr-out" in screen.shown
    assert "\u2584" not in screen.shown
    os.killpg(screen.process.pid, signal.SIGINT)
    screen.see("goes on from here")
    assert screen.end() == 130
    assert (box.home / "box.key.request").exists()


def test_without_a_terminal(tmp_path: Path) -> None:
    """Nothing is asked: what has no default is demanded by name; without a broker the request is all there is."""
    assert "--kind" in program("agent", "setup", "--directory", tmp_path / "box", code=2).stderr
    assert not (tmp_path / "box" / "box.key").exists()
    done = program("agent", "setup", "--directory", tmp_path / "box", "--kind", "bedside")
    assert done.stdout.startswith("mlreq1:")
    assert done.stdout.count("\n") == 1
    (tmp_path / "file").write_text("")
    assert "cannot be used" in program("agent", "setup", "--directory", tmp_path / "file" / "box", code=3).stderr
    assert (
        ".png or .svg"
        in program("agent", "setup", "--directory", tmp_path / "box", "--qr-out", tmp_path / "x.txt", code=2).stderr
    )


def test_root_works_as_the_directorys_owner(tmp_path: Path) -> None:
    """What root makes the agent could not read. Where that user cannot read the program, nothing is done."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    box = tmp_path / "box"
    box.mkdir()
    os.chown(box, 65534, 65534)
    for path in (tmp_path, *tmp_path.parents):
        if path.stat().st_uid == 0 and path != Path("/") and path != Path("/tmp"):
            path.chmod(path.stat().st_mode | 0o011)
    done = subprocess.run(
        [*PROGRAM, "agent", "setup", "--directory", box, "--kind", "bedside", "--no-wait"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    if done.returncode == 2:
        assert "cannot read" in done.stderr
        assert list(box.iterdir()) == []
    else:
        assert done.returncode == 0, done.stderr
        assert "Going on as the user nobody" in done.stderr
        assert {path.stat().st_uid for path in box.iterdir()} == {65534}
        assert (box / "box.key").exists()


def test_the_code_on_the_terminal_is_the_request(tmp_path: Path) -> None:
    """The half blocks say the modules that the standard prescribes for the text, light on dark, in any theme."""
    text = "mlreq1:" + "Ab_-9" * 60
    lines = showing.code_lines(text)
    rows = []
    for line in lines:
        assert line.startswith("\x1b[0;97;40m")
        assert line.endswith("\x1b[0m")
        blocks = line.removeprefix("\x1b[0;97;40m").removesuffix("\x1b[0m")
        rows.append([block in "\u2588\u2580" for block in blocks])
        rows.append([block in "\u2588\u2584" for block in blocks])
    expected = segno.make(text, error="l", boost_error=False, micro=False)
    light = [[module == 0 for module in row] for row in expected.matrix_iter(border=showing.BORDER)]
    assert rows[: len(light)] == light
    assert showing.width(lines) == len(light[0])
    for form in showing.IMAGES:
        path = tmp_path / f"code.{form}"
        showing.write_image(text, path)
        image = io.BytesIO()
        expected.save(image, kind=form, scale=6, border=4)
        assert path.read_bytes() == image.getvalue()
        path.write_bytes(b"another file")
        with pytest.raises(Exception, match="exists already"):
            showing.write_image(text, path)
        assert path.read_bytes() == b"another file"
