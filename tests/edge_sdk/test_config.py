"""The configuration: every limit with its unit, defaults in the keystore, and wrong keys by name."""

from pathlib import Path

import pytest

from accord.errors import UsageError
from edge_sdk import Bounds, Constraints, load

SHORT = """[device]
id = "dev-1"
tenant = "t"
job = "j"
state = "state"
[broker]
host = "broker.example"
port = 1883
[work]
bundle = "bundle"
"""
LONG = (
    SHORT.replace("[broker]", 'heartbeat = 5\npoll = 0.5\n[trust]\nidentity = "secret"\n[broker]\npassword = "pass"')
    + """data = "rows.npz"
[limits]
smallest_cohort = 5
[constraints]
requires_charging = true
requires_battery_not_low = true
requires_device_idle = false
requires_storage_not_low = true
network_type = "unmetered"
max_temperature = 70    # degrees Celsius
min_free_memory = 64.0  # MB
[examples]
max_examples = 500
max_bytes = 1_000_000   # bytes
max_age = 86_400        # seconds
"""
)


def loaded(folder: Path, text: str) -> object:
    path = folder / "device.toml"
    path.write_text(text)
    return load(path)


def test_a_short_file_finds_its_secrets_in_the_keystore(tmp_path: Path) -> None:
    found = loaded(tmp_path, SHORT)
    assert found.identity == tmp_path / "state" / "keys" / "identity"
    assert found.password == found.keys / "password"
    assert (found.data, found.constraints, found.examples) == (None, Constraints(), Bounds())
    assert (found.heartbeat, found.poll, found.limits.smallest_cohort) == (30.0, 1.0, 20)


def test_a_long_file_says_everything(tmp_path: Path) -> None:
    found = loaded(tmp_path, LONG)
    assert (found.identity, found.password) == (tmp_path / "secret", tmp_path / "pass")
    assert found.data == tmp_path / "rows.npz"
    assert found.constraints.max_temperature == 70
    assert found.constraints.network_type == "unmetered"
    assert found.examples == Bounds(max_examples=500, max_bytes=1_000_000, max_age=86_400)
    assert (found.heartbeat, found.poll) == (5.0, 0.5)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("max_temperature = 70 ", "max_temp = 70 ", r"\[constraints\] max_temp is unknown; use .*max_temperature"),
        ("max_temperature = 70 ", 'max_temperature = "70" ', r"\[constraints\] max_temperature is a number"),
        ("max_age = 86_400", "max_age = 1.5", r"\[examples\] max_age is not a whole number"),
        ("max_bytes = 1_000_000", "max_bytes = 1", r"\[examples\] .*raise"),
        ("poll = 0.5", 'poll = "often"', r"\[device\] poll is not a number of seconds"),
        ("heartbeat = 5", "heartbeat = 0", r"\[device\] heartbeat"),
        ('id = "dev-1"', "id = 7", r"\[device\] id is not text"),
        ("port = 1883", "port = 0", "port 0"),
        ("[limits]", "[limit]", r"\[limit\] is unknown"),
        ("smallest_cohort = 5", 'smallest_cohort = "5"', r"\[limits\]"),
        ("[limits]", "[limits", "not TOML"),
    ],
)
def test_what_is_wrong_is_named(old: str, new: str, says: str, tmp_path: Path) -> None:
    assert old in LONG
    with pytest.raises(UsageError, match=says):
        loaded(tmp_path, LONG.replace(old, new))
