"""The configuration: every limit with its unit, defaults in the keystore, and wrong keys by name."""

from pathlib import Path

import pytest

from accord.errors import UsageError
from accord.files import FileError
from accord.link.tunnel import Proxy
from edge_sdk import Bounds, Constraints, load
from edge_sdk.reach import Reach

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
    keys = tmp_path / "state" / "keys"
    assert found.reach == Reach(
        host="broker.example",
        port=1883,
        ca=keys / "ca.pem",
        tls_certificate=keys / "tls.pem",
        tls_key=keys / "tls.key",
    )


def test_a_broker_whose_ca_is_not_pinned_is_not_talked_to_unless_it_is_said_to_be_plain(tmp_path: Path) -> None:
    found = loaded(tmp_path, SHORT)
    with pytest.raises(UsageError, match=r"\[broker\] ca\..*insecure = true, but without TLS everybody"):
        found.reach.address("dev-1", "secret")
    plain = loaded(tmp_path, SHORT.replace("port = 1883", "port = 1883\ninsecure = true"))
    address = plain.reach.address("dev-1", "secret")
    assert (address.tls, address.port) == (None, 1883)


def test_the_way_to_a_broker_may_lead_through_a_proxy_and_port_443(tmp_path: Path) -> None:
    more = (
        'port = 443\nwebsocket = "/mqtt"\nproxy = "http://proxy.example:3128"\nproxy_login = "login"\ninsecure = true'
    )
    found = loaded(tmp_path, SHORT.replace("port = 1883", more))
    (tmp_path / "login").write_text("me:secret\n")
    with pytest.raises(FileError, match="chmod 600"):
        found.reach.address("dev-1", "p")
    (tmp_path / "login").chmod(0o600)
    address = found.reach.address("dev-1", "p")
    assert address.shown == "broker.example:443/mqtt through the proxy proxy.example:3128"
    assert address.proxy == Proxy(host="proxy.example", port=3128, login="me:secret")
    assert "secret" not in repr(address)
    for bad in ("proxy.example:3128", "https://p:1", "http://p", "http://me:secret@p:1", "socks5://p:1"):
        with pytest.raises(UsageError, match="is not http://HOST:PORT") as told:
            Proxy.read(bad)
        assert "secret" not in str(told.value)


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
        ("port = 1883", "port = 1883\ninsecure = true\nmutual_port = 8884", "goes with no ca and no mutual_port"),
        ("port = 1883", "port = 1883\ninsecure = 1", r"\[broker\] insecure is not true or false"),
        ("port = 1883", "port = 1883\nca = 1", r"\[broker\] ca is not text"),
        ("port = 1883", "port = 1883\ntls = true", r"\[broker\] tls is unknown; use .*tls_key"),
        ("[limits]", "[limit]", r"\[limit\] is unknown"),
        ("smallest_cohort = 5", 'smallest_cohort = "5"', r"\[limits\]"),
        ("smallest_cohort = 5", 'profile = "off"', r"\[limits\] profile 'off' is not standard or strict"),
        ("smallest_cohort = 5", 'profile = "strict"\nallow_unmasked = true', "contradict each other"),
        ("smallest_cohort = 5", "smallest_threshold = 101", "percentage of the roster"),
        ("[limits]", "[limits", "not TOML"),
    ],
)
def test_what_is_wrong_is_named(old: str, new: str, says: str, tmp_path: Path) -> None:
    assert old in LONG
    with pytest.raises(UsageError, match=says):
        loaded(tmp_path, LONG.replace(old, new))
