"""`simulate --profile`: a quorum changes no number, `auto` follows the dropouts, contradictions are refused."""

from typing import Any

import pytest

from accord.errors import UsageError
from accord.plan import KEYS
from simulation.in_process import simulate
from simulation.settings import checked
from tests.simulation.small_data import small

QUICK: dict[str, Any] = {"rounds": 2, "model": "linear", "devices_per_round": 9, "local_epochs": 1}


def test_a_quorum_changes_nothing_but_the_bytes() -> None:
    standard, strict = (simulate(small("binary"), profile=profile, **QUICK) for profile in ("standard", "strict"))
    assert standard.model_digest == strict.model_digest
    assert standard.final == strict.final
    assert "profile strict, as it was asked for" in strict.notes
    assert not [note for note in standard.notes if note.startswith("profile")]
    for one, other in zip(standard.rounds, strict.rounds, strict=True):
        assert other.bytes_up_per_device > one.bytes_up_per_device
        assert other.bytes_down_per_device > one.bytes_down_per_device + 6 * 64, "the signatures of a quorum of 9"


def test_keys_against_quantum_computers_change_nothing_but_the_bytes() -> None:
    plain, mixed = (simulate(small("binary"), keys=kind, **QUICK) for kind in KEYS)
    assert plain.model_digest == mixed.model_digest
    assert plain.final == mixed.final
    for one, other in zip(plain.rounds, mixed.rounds, strict=True):
        assert other.bytes_up_per_device > one.bytes_up_per_device + 8 * 1_088, "a ciphertext for each of 8 neighbours"
    with pytest.raises(UsageError, match="--keys rsa is unknown"):
        simulate("digits", keys="rsa")


def test_devices_die_at_every_stage_of_profile_strict() -> None:
    """A fifth dies in each round: it closes, in an attempt or two, with the exact sum that its tail is held against."""
    history = simulate(small("binary"), profile="strict", dropout=0.2, **(QUICK | {"rounds": 8}))
    assert len(history.rounds) == 8
    assert sum(row.dropouts for row in history.rounds) >= 3
    closed = [row for row in history.rounds if row.participants]
    assert len(closed) >= 6
    assert all(row.participants >= 3 for row in closed)


@pytest.mark.parametrize(
    ("devices", "dropout", "profile"), [(9, 0.0, "strict"), (9, 0.2, "standard"), (100, 0.2, "strict")]
)
def test_auto_follows_the_dropouts(devices: int, dropout: float, profile: str) -> None:
    secured = checked(data="digits", profile="auto", dropout=dropout).secured(devices)
    assert secured.profile == profile
    assert ("strict would not do" in secured.why) is (profile == "standard")


def test_what_contradicts_itself_is_refused() -> None:
    with pytest.raises(UsageError, match="--profile strict needs masks"):
        simulate("digits", profile="strict", secure_aggregation=False)
    with pytest.raises(UsageError, match="--profile off is unknown: use one of auto, standard, strict"):
        simulate("digits", profile="off")
