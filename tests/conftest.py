"""What every test may ask for: outside data, a broker, seeded randomness.

- `shared_data("04-merkle/probes")` is that path under `../shared/data`, beside the project. Where the folder is
  absent the test is skipped and says so; where the folder is there, a missing file is a failure.
- `broker` is one running MQTT broker for the whole session: a real Mosquitto where one is installed, else the
  embedded broker. `own_broker` is another, of this test alone, which may kill, stop and restart it.
  With MEDLEDGER_REQUIRE_MOSQUITTO=1 a missing Mosquitto is an error, with MEDLEDGER_REQUIRE_NATS=1 a missing NATS.
  `mosquitto(*settings)` starts a Mosquitto; where there is none the test is skipped.
- `stack` is an ExitStack that ends with the test.
- `rng` is a `random.Random` seeded from the session's seed and the test's name. The seed stands in the report's
  header; MEDLEDGER_SEED=<number> repeats a run.
- Hypothesis runs the profile named by MEDLEDGER_HYPOTHESIS_PROFILE: `default`, or `soak` with many more examples.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import hypothesis
import pytest

from brokers import CHOOSE_BROKER, Broker, Mosquitto, find_mosquitto, new_broker

ROOT = Path(__file__).resolve().parent.parent
SHARED_DATA = ROOT.parent / "shared" / "data"
# Programs that tests start find our packages too, from a checkout that is not installed.
os.environ["PYTHONPATH"] = os.pathsep.join(str(ROOT / area) for area in ("", "agents", "firmware_bridge"))
# Left in the environment, where the processes that share the tests find the same.
SEED = int(os.environ.setdefault("MEDLEDGER_SEED", str(random.SystemRandom().randrange(2**32))))

hypothesis.settings.register_profile("default", max_examples=100, deadline=None, print_blob=True)
hypothesis.settings.register_profile("soak", max_examples=20_000, deadline=None, print_blob=True)
hypothesis.settings.load_profile(os.environ.get("MEDLEDGER_HYPOTHESIS_PROFILE", "default"))


def pytest_report_header() -> list[str]:
    """Say which broker the tests use and how to repeat the run."""
    mosquitto = find_mosquitto()
    absent = "as MEDLEDGER_BROKER asks" if CHOOSE_BROKER in os.environ else "no mosquitto on PATH or in /usr/sbin"
    broker = f"Mosquitto ({mosquitto})" if mosquitto else f"embedded (amqtt): {absent}"
    data = "present" if SHARED_DATA.is_dir() else "absent: tests that read it are skipped"
    return [f"broker: {broker}", f"seed: MEDLEDGER_SEED={SEED}", f"../shared/data: {data}"]


@pytest.fixture(scope="session")
def shared_data() -> Callable[[str], Path]:
    """Paths below `../shared/data`; skips when the folder is absent."""

    def path_of(relative: str) -> Path:
        if not SHARED_DATA.is_dir():
            pytest.skip("../shared/data is absent: the published vectors and recordings are not part of the project")
        path = SHARED_DATA / relative
        assert path.exists(), f"../shared/data is there but holds no {relative}"
        return path

    return path_of


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> random.Random:
    """Randomness of this test alone, repeatable from the session's seed."""
    return random.Random(f"{SEED}:{request.node.nodeid}")


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """One running broker, shared by the session: never kill this one."""
    with new_broker(tmp_path_factory.mktemp("broker")) as running:
        yield running


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """Closes in the end what the test has entered into it, the last first."""
    with ExitStack() as opened:
        yield opened


@pytest.fixture
def mosquitto(tmp_path: Path, stack: ExitStack) -> Callable[..., Mosquitto]:
    """Starts a real Mosquitto with these settings, or one that lets everybody in. A failing test shows its port."""

    def start(*settings: str) -> Mosquitto:
        program = find_mosquitto()
        if program is None:
            pytest.skip("needs mosquitto: the embedded broker has no settings, and cannot be paused")
        broker = Mosquitto(program, tmp_path, settings=settings) if settings else Mosquitto(program, tmp_path)
        print("broker:", broker.url, *settings)
        return stack.enter_context(broker)

    return start


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[Broker]:
    """A running broker of this test alone, free to be killed and restarted on its port."""
    with new_broker(tmp_path) as running:
        yield running
