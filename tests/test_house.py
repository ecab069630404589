"""The rules of the house, as tests: layers, documentation, sizes, and what may import what.

They read the project's own files, so a new module is held to them from the day it appears.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = {
    "medledger": ROOT / "medledger",
    "medledger_agents": ROOT / "agents" / "medledger_agents",
    "medledger_bridge": ROOT / "firmware_bridge" / "medledger_bridge",
}
MAX_LINES = 450
SECONDS = 60

# The pure core: bytes in, verdicts out. `keys`, `keyfile`, `witness` and `files` are left out: key files are their job.
PURE = [
    *["errors", "limits", "cbor", "cose", "merkle", "block", "entry", "schema", "decimals", "samples", "registry"],
    *[
        "acts",
        "devices",
        "supplies",
        "records",
        "governance",
        "ballot",
        "lineage",
        "membership",
        "validation",
        "interpretation",
        "fork",
    ],
    *["decisions", "proposals", "finality", "sync"],
]
IMPURE = {
    *["os", "pathlib", "tempfile", "shutil", "subprocess", "threading", "asyncio"],
    *["time", "random", "secrets", "uuid", "socket", "ssl", "select", "sqlite3", "sqlite_utils", "paho"],
}
PASSED_IN = {"random.Random"}  # the type of a generator that the caller seeds and hands over
BRIDGE_MAY_IMPORT = {"records", "entry", "cbor", "errors", "limits"}


def modules(package: str | None = None) -> list[Path]:
    """The Python files of one package, or of all three."""
    roots = PACKAGES.values() if package is None else [PACKAGES[package]]
    return sorted(path for root in roots for path in root.rglob("*.py"))


def python_files() -> list[Path]:
    """Every Python file of the project."""
    folders = ["medledger", "agents", "firmware_bridge", "tests", "benchmarks"]
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def tracked_files() -> list[Path]:
    """Every file that git tracks and that is still there; the test needs a git checkout."""
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [path for name in listing.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def dotted_name(path: Path) -> str:
    """The import name of a module's file."""
    for package, root in PACKAGES.items():
        if path.is_relative_to(root):
            parts = [package, *path.relative_to(root).with_suffix("").parts]
            return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    raise AssertionError(f"{path} is in none of our packages")


def imports(path: Path) -> Iterator[str]:
    """The full names that a module imports, wherever in the file, except for type checkers only."""
    name = dotted_name(path)
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in _executed(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package.rsplit(".", node.level - 1)[0] if node.level else ""
            source = ".".join(part for part in (base, node.module) if part)
            yield from (f"{source}.{alias.name}" for alias in node.names)


def _executed(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node but those under `if TYPE_CHECKING:`."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            continue
        yield node
        yield from _executed(node)


def belongs(module: str, allowed: set[str]) -> bool:
    """Whether a dotted name is one of `allowed` or lies below one."""
    return any(module == name or module.startswith(name + ".") for name in allowed)


# --- layers ----------------------------------------------------------------------------------------------------------


def test_imports_keep_to_the_layers() -> None:
    """The layer contracts of pyproject.toml hold, and every module of the library stands in one of the layers."""
    done = subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache", "--no-logo"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_only_transport_imports_an_mqtt_client() -> None:
    """paho is imported by medledger.transport and by nothing else of ours."""
    found = {dotted_name(path) for path in modules() for name in imports(path) if belongs(name, {"paho"})}
    assert {name for name in found if not belongs(name, {"medledger.transport"})} == set()


def test_the_core_does_no_io_and_knows_no_clock_and_no_chance() -> None:
    """From cbor to validation, and in sync, nothing imports the operating system, a clock, randomness or a database."""
    core = {f"medledger.{name}" for name in PURE}
    offences = [
        f"{dotted_name(path)} imports {name}"
        for path in modules("medledger")
        if belongs(dotted_name(path), core)
        for name in imports(path)
        if belongs(name, IMPURE) and name not in PASSED_IN
    ]
    assert offences == []


def test_the_core_reads_no_clock_through_datetime() -> None:
    """`datetime` may parse dates in the core; it may not tell the present."""
    core = {f"medledger.{name}" for name in PURE}
    offences = [
        f"{dotted_name(path)}:{node.lineno}"
        for path in modules("medledger")
        if belongs(dotted_name(path), core)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr in {"now", "today", "utcnow"} and _is_datetime(node.value)
    ]
    assert offences == []


def _is_datetime(node: ast.expr) -> bool:
    return ast.unparse(node).rpartition(".")[2] in {"datetime", "date"}


def test_the_bridge_imports_the_records_at_most() -> None:
    """Device bytes become records: the bridge needs no ledger, no store and no network of ours."""
    allowed = {f"medledger.{name}" for name in BRIDGE_MAY_IMPORT}
    offences = [
        f"{dotted_name(path)} imports {name}"
        for path in modules("medledger_bridge")
        for name in imports(path)
        if belongs(name, {"medledger", "medledger_agents"}) and not belongs(name, allowed)
    ]
    assert offences == []


@pytest.mark.parametrize("lazy", ["paho", "sqlite_utils", "click", "asyncio"])
def test_importing_the_library_stays_light(lazy: str) -> None:
    """`import medledger` loads no MQTT client, no sqlite-utils, no command line: they come when they are needed."""
    script = f"import sys, medledger; print([name for name in sys.modules if name.split('.')[0] == {lazy!r}])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=SECONDS, check=True)
    assert done.stdout.strip() == "[]"


# --- what stands in the files ----------------------------------------------------------------------------------------


def test_every_module_says_what_it_is() -> None:
    """Each Python file begins with a docstring; only a package's empty marker may have none."""
    silent = [
        str(path.relative_to(ROOT))
        for path in python_files()
        if path.read_text().strip() and ast.get_docstring(ast.parse(path.read_text())) is None
    ]
    assert silent == []


def test_files_stay_short() -> None:
    """No Python file grows beyond what one can read at a sitting."""
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in python_files()}
    assert {name: lines for name, lines in lengths.items() if lines > MAX_LINES} == {}


def test_no_file_names_a_place_on_somebodys_machine() -> None:
    """Nothing tracked holds the path of this checkout, of a home directory or of a temporary one."""
    places = [re.escape(str(ROOT.parent) + os.sep) if ROOT.parent != Path(ROOT.root) else "", r"/home/\w", r"/Users/\w"]
    places += [r"/root/\w", r"\b[A-Z]:\\\\Users"]
    pattern = re.compile("|".join(place for place in places if place))
    found = []
    for path in tracked_files():
        if path == Path(__file__).resolve():
            continue  # the patterns themselves
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += [f"{path.relative_to(ROOT)}: {match[0]}" for match in pattern.finditer(text)]
    assert found == []


def test_nothing_is_tracked_that_running_leaves_behind() -> None:
    """No database, key, cache or environment is committed."""
    droppings = re.compile(r"(^|/)(__pycache__|\.venv[^/]*|\.hypothesis|\.mypy_cache)/|\.(pyc|db|db-wal|key|witness)$")
    tracked = [path.relative_to(ROOT).as_posix() for path in tracked_files()]
    assert [name for name in tracked if droppings.search(name)] == []


# --- packaging -------------------------------------------------------------------------------------------------------


def test_the_packages_are_marked_as_typed() -> None:
    """Each import package carries py.typed, so that an embedder's type checker reads our annotations."""
    assert [name for name, root in PACKAGES.items() if not (root / "py.typed").is_file()] == []


def test_the_extras_of_the_design_are_there() -> None:
    """Everything optional is an extra, and the core stays at four dependencies."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = {
        "agents",
        "serial",
        "ble",
        "supply",
        "fhir",
        "contracts",
        "web",
        "explore",
        "broker",
        "demo",
        "dev",
    }
    assert set(project["optional-dependencies"]) == extras
    core = {re.split(r"[<>=]", dependency)[0] for dependency in project["dependencies"]}
    assert core == {"pynacl", "cbor2", "paho-mqtt", "sqlite-utils"}
