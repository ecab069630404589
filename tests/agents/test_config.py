"""Configuration: what is documented is what is read, and what is not declared is refused by name."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medledger.errors import ConfigurationError
from medledger_agents.bedside.config import BedsideConfig
from medledger_agents.config import AgentConfig
from medledger_agents.pharmacy.config import PharmacyConfig
from medledger_agents.settings import first_line, keys_of, read, sample, section_of

SAMPLES = Path(__file__).resolve().parents[2] / "agents" / "etc"
CONFIGS = {"bedside": BedsideConfig, "pharmacy": PharmacyConfig}

parametrize_config = pytest.mark.parametrize("name", CONFIGS)


def load(tmp_path: Path, text: str, config: Any = BedsideConfig) -> AgentConfig:
    """The configuration in a file with this text."""
    path = tmp_path / "agent.toml"
    path.write_text(text)
    found: AgentConfig = config.load(path)
    return found


@parametrize_config
def test_the_sample_file_is_what_the_code_declares(name: str) -> None:
    """agents/etc holds exactly what `--sample` prints, so that it cannot grow stale."""
    assert (SAMPLES / f"{name}.toml").read_text() == sample(CONFIGS[name])


@parametrize_config
def test_the_sample_file_holds_the_defaults(name: str, tmp_path: Path) -> None:
    """Loading the sample gives what a file without a key gives, with every key that has a default."""
    path = tmp_path / "agent.toml"
    path.write_text((SAMPLES / f"{name}.toml").read_text())
    assert CONFIGS[name].load(path) == load(tmp_path, "# no key\n", CONFIGS[name])


@parametrize_config
def test_every_key_is_documented(name: str) -> None:
    """Each key says what it is for and what it may hold, and each section what it is about."""
    for declared in fields(CONFIGS[name]):
        section = section_of(declared)
        assert section.__doc__
        for key, _ in keys_of(section).values():
            assert len(key.doc) > 10
            assert key.kind.allowed


def test_file_names_start_at_the_configuration_file(tmp_path: Path) -> None:
    """A box's directory can be moved: names are relative to the file, absolute ones stay."""
    config = load(tmp_path, '[ledger]\npath = "data/ledger.db"\nkey = "/etc/box.key"\n')
    assert config.ledger.path == tmp_path / "data" / "ledger.db"
    assert config.ledger.key == Path("/etc/box.key")
    assert config.inbox.path == tmp_path / "inbox.db"


def test_a_credential_of_systemd_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`$CREDENTIALS_DIRECTORY/name` lies where systemd says; where it says nothing, the error names LoadCredential."""
    text = '[ledger]\npassphrase_file = "$CREDENTIALS_DIRECTORY/passphrase"\n'
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "/run/credentials/medledger-bedside.service")
    config = load(tmp_path, text)
    assert config.ledger.passphrase_file == Path("/run/credentials/medledger-bedside.service/passphrase")
    monkeypatch.delenv("CREDENTIALS_DIRECTORY")
    with pytest.raises(ConfigurationError, match=r"passphrase_file in \[ledger\].*'passphrase'") as caught:
        load(tmp_path, text)
    assert "LoadCredential=passphrase" in (caught.value.hint or "")


def test_values_are_read(tmp_path: Path) -> None:
    """What stands in the file is what the agent gets."""
    config = load(tmp_path, '[mllp]\nport = 6661\n[batch]\nwindow_seconds = 0\n[gossip]\nbroker = "mqtt://b"\n')
    assert isinstance(config, BedsideConfig)
    assert (config.mllp.port, config.batch.window_seconds, config.gossip.broker) == (6661, 0.0, ("mqtt://b",))
    for several in ('["mqtt://a", "mqtts://b:1"]', '"mqtt://a mqtts://b:1"'):
        config = load(tmp_path, f"[gossip]\nbroker = {several}\n")
        assert isinstance(config, BedsideConfig)
        assert config.gossip.broker == ("mqtt://a", "mqtts://b:1")


@pytest.mark.parametrize(
    ("text", "named", "allowed"),
    [
        ("[mllp]\nprot = 2575\n", "'prot' in [mllp]", "'port'"),
        ("[mlpp]\nport = 2575\n", "section [mlpp]", "'mllp'"),
        ("[mllp]\nport = 70000\n", "port in [mllp]", "from 0 to 65535"),
        ('[mllp]\nport = "2575"\n', "port in [mllp]", "a whole number"),
        ("[mllp]\nport = true\n", "port in [mllp]", "a whole number"),
        ("[mllp]\nport = 2575.0\n", "port in [mllp]", "a whole number"),
        ("[batch]\nwindow_seconds = -1\n", "window_seconds in [batch]", "seconds from 0 to 60"),
        ("[batch]\nwindow_seconds = nan\n", "window_seconds in [batch]", "seconds from 0 to 60"),
        ('[log]\nformat = "xml"\n', "format in [log]", '"plain" or "json"'),
        ('[gossip]\nbroker = " "\n', "broker in [gossip]", "not the address of a broker"),
        ('[gossip]\nbroker = ["mqtt://a", "http://b"]\n', "broker in [gossip]", "'http://b'"),
        ("[gossip]\nbroker = []\n", "broker in [gossip]", "1 to 16"),
        ("[gossip]\nbroker = 1883\n", "broker in [gossip]", "or an array of them"),
        ('[gossip]\nprotocol = "4"\n', "protocol in [gossip]", '"3.1.1" or "5"'),
        ("[gossip]\nprotocol = 5\n", "protocol in [gossip]", '"3.1.1" or "5"'),
        ("[gossip]\noffline = 0\n", "offline in [gossip]", "true or false"),
        ("[ledger]\nkey = []\n", "key in [ledger]", "the name of a file"),
        ('ledger = "ward.db"\n', "[ledger]", "a section"),
        ("[ledger\n", "not TOML", "line 1"),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(tmp_path: Path, text: str, named: str, allowed: str) -> None:
    """The error names the key, what it may hold and what to do; nothing is ignored or converted."""
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, text)
    said = f"{caught.value} {caught.value.hint}"
    assert caught.value.hint
    assert named in said
    assert allowed in said


@pytest.mark.parametrize("broker", ['"mqtt://box:secret@b/path"', '["mqtt://box:secret@b", 5]', '"box:secret@b"'])
def test_a_bad_broker_is_refused_without_its_password(tmp_path: Path, broker: str) -> None:
    """People put accounts into addresses, and send error messages to others."""
    with pytest.raises(ConfigurationError, match=r"broker in \[gossip\]") as caught:
        load(tmp_path, f"[gossip]\nbroker = {broker}\n")
    assert "secret" not in f"{caught.value} {caught.value.hint}"


@pytest.mark.parametrize(
    "content",
    [b"\xff\xfe", b"#" * 70_000, b"", b"\n", bytes(4096), None],
    ids=["not text", "too long", "empty", "blank", "zeros", "missing"],
)
def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path, content: bytes | None) -> None:
    """Whatever the file is, the error is ours."""
    path = tmp_path / "agent.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"agent\.toml"):
        BedsideConfig.load(path)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.7", "pharmacy.example"])
def test_the_counter_is_not_offered_to_the_network(tmp_path: Path, host: str) -> None:
    """Whoever reaches the scanner's port can dispense, so it must be an address of this box alone."""
    with pytest.raises(ConfigurationError, match=r"host in \[scanner\]"):
        load(tmp_path, f'[scanner]\nhost = "{host}"\n', PharmacyConfig)


KEYS = [(each.name, name) for each in fields(BedsideConfig) for name in keys_of(section_of(each))]
VALUES = st.one_of(
    st.integers(), st.floats(), st.booleans(), st.text(max_size=20), st.lists(st.integers(), max_size=2), st.just({})
)


@given(st.sampled_from(KEYS), VALUES)
def test_any_value_is_taken_or_refused_by_name(place: tuple[str, str], value: Any) -> None:
    """No value gets through to the agent unchecked, and none makes another error than ours."""
    section, name = place
    said = ""
    taken = None
    try:
        taken = getattr(getattr(read({section: {name: value}}, BedsideConfig, Path("agent.toml")), section), name)
    except ConfigurationError as error:
        said = str(error)
    assert taken is not None or f"{name} in [{section}]" in said


@pytest.mark.parametrize("text", ["a = " + "9" * 5000, "a = " + "[" * 20_000, "[" * 20_000, "a = {b=" + "{c=" * 9000])
def test_no_text_escapes_the_reader(tmp_path: Path, text: str) -> None:
    """A number of 5,000 digits and brackets without end are no TOML of ours, and no fault of the program."""
    path = tmp_path / "agent.toml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match="is not TOML"):
        BedsideConfig.load(path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"\nsecret", "begins with an empty line"),
        (b"secret\xff", "not UTF-8"),
        (b"s" * 9999, "longer"),
    ],
)
def test_a_file_that_holds_no_secret_is_refused_without_quoting_it(tmp_path: Path, content: bytes, said: str) -> None:
    """An empty password is a mistake, not a password; nothing of the file is in the error."""
    path = tmp_path / "password"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=said) as caught:
        first_line(path, "password_file")
    assert "secret" not in str(caught.value).replace("than a secret", "")
    path.write_bytes(b"correct horse \r\nbattery")
    assert first_line(path, "password_file") == "correct horse "


def test_a_mistake_in_the_file_is_one_sentence_on_the_command_line(tmp_path: Path) -> None:
    """The person at the keyboard sees which key and what to write instead, and exit code 2."""
    path = tmp_path / "bedside.toml"
    path.write_text("[batch]\nwindow = 2\n")
    done = subprocess.run(
        [sys.executable, "-m", "medledger", "agent", "bedside", "--config", str(path)],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 2
    assert "there is no key 'window' in [batch]" in done.stderr
    assert "window_seconds" in done.stderr
    assert "Traceback" not in done.stderr


@parametrize_config
def test_the_command_prints_the_sample(name: str) -> None:
    """`--sample` needs no configuration and prints one to start from."""
    done = subprocess.run(
        [sys.executable, "-m", "medledger", "agent", name, "--sample"], capture_output=True, text=True, timeout=30
    )
    assert (done.returncode, done.stdout) == (0, sample(CONFIGS[name]))
