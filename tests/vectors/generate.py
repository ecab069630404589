"""Writes the golden vectors: one scenario a file, with what must come of it. Run: python tests/vectors/generate.py

The makers (`of_*.py`) build every byte from the specification, with cbor2 and libsodium and nothing of medledger, and
say by hand what the verdict must be; `tests/test_vectors.py` then holds the library to it. The same files come out of
every run. A change of a file that is in use is a change of the format.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))


def makers() -> list[str]:
    """The modules that make vectors."""
    return sorted(path.stem for path in HERE.glob("of_*.py"))


def build() -> dict[str, str]:
    """Every file's text by its path below this folder."""
    files: dict[str, str] = {}
    for maker in makers():
        for vector in import_module(f"vectors.{maker}").make():
            assert vector.path not in files, f"{vector.path} is made twice"
            files[vector.path] = json.dumps(vector.document(), indent=1, ensure_ascii=False) + "\n"
    return files


def ours(files: dict[str, str]) -> list[Path]:
    """The vectors that lie in the folders of these makers."""
    folders = {name.partition("/")[0] for name in files}
    return sorted(path for folder in folders for path in (HERE / folder).glob("*.json"))


def main() -> None:
    """Write the files, and remove what these makers made once and make no more. Other folders are not theirs."""
    files = build()
    for path in ours(files):
        if path.relative_to(HERE).as_posix() not in files:
            path.unlink()
    for name, text in files.items():
        target = HERE / name
        target.parent.mkdir(exist_ok=True)
        target.write_text(text, encoding="utf-8")
    print(f"{len(files)} vectors")


if __name__ == "__main__":
    main()
