"""The test symbol: a GS1 DataMatrix with every character that a GS1 element may hold, and how it is shown.

Rules:

- It holds (91), internal information, with all 82 characters of GS1's character set 82 in the order of ASCII, then
  FNC1, then (92) with `GS`. A real FNC1, not the character GS: a scanner does with it what it does with a pack's.
- It has no GTIN, so that it names no product: scanned at the counter it is refused.
- The modules are constants, made by an independent encoder and read back by an independent decoder: nothing has to be
  installed to show them.
"""

from __future__ import annotations

from typing import Final

from ..gs1 import FNC1

CHARACTERS: Final = "!\"%&'()*+,-./0123456789:;<=>?ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz"
"""GS1 AI encodable character set 82 (General Specifications, figure 7.11-1)."""
BEFORE: Final = "91" + CHARACTERS
AFTER: Final = "92GS"
TEXT: Final = BEFORE + FNC1 + AFTER
MARK: Final = "]d2"

SIZE: Final = 36
QUIET: Final = 2  # modules of white around it; one is the least

_ROWS: Final = """
aaaaaaaaa e051f3c53 b37bab0b6 daf669427 d36329f84 a7ac63a11 b1f83ebce f30f657e9 d7a82c736
b98576ee1 d1aa2d4d4 af056b9f5 f616addf8 b0d2fb023 c24bb08fe b8577e48f fea1b7492 fffffffff
aaaaaaaaa b100e9e6f f7c43330e e8c5ee267 e3683d568 d7416e7e7 b5ceac266 e9b6f15a5 ed0e2b2ce
e79d7fc17 d39d3921e f4926d77b af8fa185c ae75758d9 ebada7b40 9a846c0f5 9ae529216 fffffffff
"""  # 36 rows of 36 modules in hexadecimal, 1 is dark


def modules() -> list[list[bool]]:
    """The symbol with its quiet zone, row by row; True is dark."""
    rows = [[bit == "1" for bit in f"{int(row, 16):0{SIZE}b}"] for row in _ROWS.split()]
    side, blank = [False] * QUIET, [[False] * (SIZE + 2 * QUIET)] * QUIET
    return [*blank, *(side + row + side for row in rows), *blank]


def terminal() -> str:
    """The symbol in half blocks, dark on light whatever the colours of the terminal are."""
    rows = modules()
    blocks = {(True, True): " ", (True, False): "▄", (False, True): "▀", (False, False): "█"}
    lines = []
    for upper, lower in zip(rows[::2], rows[1::2], strict=True):
        text = "".join(blocks[pair] for pair in zip(upper, lower, strict=True))
        lines.append(f"\x1b[97;40m{text}\x1b[0m")
    return "\n".join(lines) + "\n"


def svg(*, millimetres: float = 30) -> str:
    """The symbol as an SVG image of this width, to be printed. Scanners like modules of 0.4 mm and more."""
    rows = modules()
    side = len(rows)
    path = "".join(f"M{x} {y}h1v1h-1z" for y, row in enumerate(rows) for x, dark in enumerate(row) if dark)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{millimetres:g}mm" height="{millimetres:g}mm" '
        f'viewBox="0 0 {side} {side}" shape-rendering="crispEdges">\n'
        f'<rect width="{side}" height="{side}" fill="#fff"/>\n<path d="{path}" fill="#000"/>\n</svg>\n'
    )
