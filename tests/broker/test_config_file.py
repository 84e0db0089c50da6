"""The broker's TOML file: what it says, what it may not say, and that the page for people says the same."""

from dataclasses import asdict
from pathlib import Path

import pytest

from accord.cli import main
from accord.errors import AccordError
from broker.attempts import REASONS
from broker.config import BrokerConfig, Limits, Listener, Tls
from broker.config_file import _LISTENER, load

PAGE = Path(__file__).parents[2] / "docs" / "brokers.md"
PLAIN = "[[listener]]\nport = 1883\ninsecure = true\n"


def test_a_file_is_read_with_paths_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "broker.toml"
    text = PAGE.read_text()
    path.write_text(text[text.index("```toml") + 7 : text.index("```", text.index("```toml") + 7)])
    pair = {"certificate": tmp_path / "server.crt", "key": tmp_path / "server.key"}
    asking = Tls(clients=tmp_path / "transport-ca.crt", revoked=tmp_path / "crl.pem", **pair)
    assert load(path) == BrokerConfig(
        state=tmp_path / "broker",
        tenant="fleet",
        listeners=(
            Listener(host="0.0.0.0", port=8883, tls=asking),
            Listener(host="0.0.0.0", port=443, tls=Tls(**pair), websocket=True),
        ),
        limits=Limits(clients=500),
    )
    assert [one.scheme for one in load(path).listeners] == ["mqtts", "wss"]


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("[broker", "is not TOML"),
        ("[broker]\n", r"\[broker\] state is missing"),
        ('[broker]\nstate = "s"\n', "without a listener"),
        ('[broker]\nstate = "s"\n[[listener]]\nport = 1883\n', r"\[\[listener\]\] 1: .* is plain: .*insecure"),
        ('[broker]\nstate = "s"\n[listener]\nport = 1883\n', "in two brackets"),
        ('[broker]\nstate = "s"\nport = 1\n' + PLAIN, r"\[broker\] port is unknown; use state, tenant"),
        ('[broker]\nstate = "s"\n[other]\n' + PLAIN, "other is unknown"),
        ('[broker]\nstate = "s"\ntenant = "a/b"\n' + PLAIN, "tenant"),
        ('[broker]\nstate = "s"\n' + PLAIN + 'certificate = "c"\n', "come together"),
        ('[broker]\nstate = "s"\n' + PLAIN + 'clients = "c"\n', "come together"),
        ('[broker]\nstate = "s"\n' + PLAIN + 'certificate = "c"\nkey = "k"\n', "which is it"),
        ('[broker]\nstate = "s"\n[[listener]]\nport = "1883"\n', r"\[\[listener\]\] 1 port is not an integer"),
        ('[broker]\nstate = "s"\n' + PLAIN + "[limits]\npacket = 0\n", "more than 0"),
        ('[broker]\nstate = "s"\n' + PLAIN + "[limits]\nlogin = true\n", r"\[limits\] login is not a number"),
        ('[broker]\nstate = "s"\n' + PLAIN + "[limits]\nspeed = 1\n", "speed is unknown"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, match: str) -> None:
    path = tmp_path / "broker.toml"
    path.write_text(text)
    with pytest.raises(AccordError, match=match):
        load(path)


@pytest.mark.parametrize(
    ("words", "match"),
    [
        ([], "give --config FILE, or --state DIR"),
        (["--state", "s"], "is plain: without TLS"),
        (["--state", "s", "--certificate", "c"], "--certificate and --key come together"),
        (["--state", "s", "--insecure", "--clients", "c"], "--clients and --revoked need --certificate"),
        (["--config", "f", "--insecure"], "give nothing else"),
    ],
)
def test_a_command_that_can_not_be_followed_says_why(
    words: list[str], match: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["broker", "run", *words]) == 1
    assert match in capsys.readouterr().err


def test_the_page_names_every_key_with_its_default_and_every_reason() -> None:
    page = PAGE.read_text()
    for name, value in asdict(Limits()).items():
        assert f"| `{name}` | {value} |" in page, name
    for name in (*_LISTENER, *REASONS):
        assert f"`{name}`" in page, name
