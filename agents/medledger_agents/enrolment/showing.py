"""Showing a request to the person who carries it to a governor: as a QR code, and as text.

The code is drawn in half blocks, dark on light whatever the terminal's colours are, since not every reader takes an
inverted one. Where the terminal is too small for it, it is left out and that is said: a code that is wrapped or cut
reads as nothing. An image of it holds the request's secret as the text does: its file is for its owner alone.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, Final

from medledger import files
from medledger.errors import StoreError, UsageError
from medledger_bridge.errors import ExtraMissingError

BORDER: Final = 2  # modules; the standard asks for four, readers for less
IMAGES: Final = ("png", "svg")
_COLOURS: Final = "\x1b[0;97;40m"  # bright white on black: the blocks are the light modules
_PLAIN: Final = "\x1b[0m"


def code_lines(text: str) -> list[str]:
    """The code as lines for a terminal: as many columns as `width` says. Raises `ExtraMissingError`."""
    code = _code(text)
    drawn = io.StringIO()
    code.terminal(out=drawn, border=BORDER, compact=True)
    return [f"{_COLOURS}{line}{_PLAIN}" for line in drawn.getvalue().splitlines()]


def width(lines: list[str]) -> int:
    """The columns that a code takes."""
    return len(lines[0]) - len(_COLOURS) - len(_PLAIN)


def write_image(text: str, path: Path) -> None:
    """The code as a PNG or SVG file, by the name's ending. Raises `UsageError`, `StoreError`, `ExtraMissingError`."""
    form = path.suffix.lstrip(".").lower()
    if form not in IMAGES:
        raise UsageError(f"{path.name} names no kind of image that can be made", hint="End it in .png or .svg.")
    image = io.BytesIO()
    _code(text).save(image, kind=form, scale=6, border=4)
    try:
        files.create(path, image.getvalue())
    except FileExistsError as error:
        if files.read(path, 1 << 20).data != image.getvalue():
            raise UsageError(f"{path} exists already", hint="Choose another name, or remove it.") from error
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror or error}") from error


def _code(text: str) -> Any:
    try:
        import segno
    except ImportError as error:
        raise ExtraMissingError(
            "a QR code takes segno, which is not installed",
            hint="Install it: pip install 'medledger[agents]'. Or hand over the text.",
        ) from error
    return segno.make(text, error="l", boost_error=False, micro=False)
