"""Read a DataMatrix with zxing-cpp: its modules from standard input, a line a row, # for dark; the result as JSON."""

from __future__ import annotations

import json
import sys

import zxingcpp

MODULE_PIXELS = 6


def main() -> None:
    """Print the symbology identifier and the text, with 0x1D for FNC1."""
    rows = sys.stdin.read().split()
    lines = (bytes(0 if dark == "#" else 255 for dark in row for _ in range(MODULE_PIXELS)) for row in rows)
    pixels = b"".join(line * MODULE_PIXELS for line in lines)
    shape = (len(rows) * MODULE_PIXELS, len(rows[0]) * MODULE_PIXELS)
    (found,) = zxingcpp.read_barcodes(memoryview(pixels).cast("B", shape))
    print(json.dumps({"mark": found.symbology_identifier, "text": found.bytes.decode("ascii")}))


if __name__ == "__main__":
    main()
