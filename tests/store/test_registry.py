"""Versions are signed, follow one another, go through stages that the publisher signs, and can be traced and undone."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from registry_under_test import CLOCK, History

from accord.errors import CodecError
from accord.runtimes import open_runtime
from accord.runtimes.onnx import load_onnxruntime
from accord.signing import SigningKey
from accord.wire.envelope import Envelope, seal
from accord.wire.messages import TAG_OF
from accord.wire.versions import Promotion
from aggregator.blobs import Blobs, DamagedBlobError, MissingBlobError
from aggregator.model_export import exported
from aggregator.registry_values import NEXT_STAGES, RegistryError, differences
from aggregator.store import Store
from aggregator.tables import jobs
from aggregator.verification import verify


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(Blobs(tmp_path / "blobs"))


def test_a_job_makes_versions_that_hold(store: Store, history: History) -> None:
    registry = history.registry
    with store.begin() as connection:
        made = history.rounds(connection, 3)
        assert registry.every(connection) == registry.every(connection, "j") == tuple(made)
        assert registry.head(connection, "j") == made[-1]
        assert [entry.stage for entry in made] == ["candidate"] * 4
        assert verify(connection, registry, "j", history.fleet.root.public) == ()
        assert registry.head(connection, "other") is None
        with pytest.raises(RegistryError, match="accord model list"):
            registry.get(connection, "j", 9)


def test_only_the_next_version_of_the_newest_is_taken(store: Store, history: History) -> None:
    with store.begin() as connection:
        first, second = history.rounds(connection, 1)
        for number, parent in ((1, first), (2, first), (3, second), (0, None)):
            with pytest.raises(RegistryError, match="makes 2 the next"):
                history.register(connection, number, parent)
        with pytest.raises(RegistryError, match="parameters are not those"):
            history.register(connection, 2, second, like=7)
        with pytest.raises(RegistryError, match="not among the blobs"):
            history.register(connection, 2, second, bundle=b"b" * 32)
        with pytest.raises(RegistryError, match="another roles document"):
            history.register(connection, 2, second, roles_version=2)
        history.register(connection, 2, second)


def test_figures_of_two_versions_are_compared(store: Store, history: History) -> None:
    registry = history.registry
    with store.begin() as connection:
        old, new = history.rounds(connection, 1)
        found = [registry.measured(connection, "j", entry.version.version)[0].values for entry in (old, new)]
        changes = differences(*found)
        assert changes["loss"] == (1.0, 0.5, -0.5)
        registry.measure(connection, history.desk, new, 2, {"accuracy": 0.7}, 1)
        assert registry.measured(connection, "j", 1)[0].values == {"accuracy": 0.7}, "a round measures once"
        with pytest.raises(CodecError, match="not a number"):
            registry.measure(connection, history.desk, new, 3, {"loss": float("nan")}, 1)


def test_a_version_goes_through_the_stages_and_one_is_in_production(store: Store, history: History) -> None:
    registry = history.registry

    def stages() -> list[str]:
        return [entry.stage for entry in registry.every(connection)]

    with store.begin() as connection:
        history.rounds(connection, 2)
        history.promote(connection, 1, "staging")
        assert stages() == ["candidate", "staging", "candidate"]
        history.promote(connection, 1)
        history.promote(connection, 2)
        assert stages() == ["candidate", "archived", "production"]
        history.promote(connection, 1)
        assert stages() == ["candidate", "production", "archived"], "an archived one can be brought back"
        for number, stage in ((1, "staging"), (1, "production"), (2, "archived"), (0, "candidate")):
            with pytest.raises(RegistryError, match="from there it goes to"):
                history.promote(connection, number, stage)
        assert [promotion.number for promotion in registry.promotions(connection, "j")] == [1, 2, 3, 4]
        assert verify(connection, registry, "j", history.fleet.root.public) == ()


def test_a_promotion_is_the_publishers_and_is_taken_once(store: Store, history: History) -> None:
    registry = history.registry
    with store.begin() as connection:
        history.rounds(connection, 2)
        statement = registry.statement(connection, registry.get(connection, "j", 1), "staging", CLOCK)
        for key in (history.fleet.aggregator, SigningKey(bytes(32))):
            forged = seal(TAG_OF[Promotion], statement.encode(), key=key, sender="publisher", recipient="j")
            with pytest.raises(RegistryError, match="no promotion by the fleet's publisher"):
                registry.promote(connection, forged.encode())
        with pytest.raises(RegistryError, match="no promotion by the fleet's publisher"):
            registry.promote(connection, b"noise")
        for change in ({"number": 2}, {"digest": bytes(32)}, {"tenant": "other"}):
            with pytest.raises(RegistryError, match="ask for the signature again"):
                registry.promote(connection, history.signed(dataclasses.replace(statement, **change)))
        letter = history.signed(statement)
        registry.promote(connection, letter)
        with pytest.raises(RegistryError):
            registry.promote(connection, letter)
        assert len(registry.promotions(connection, "j")) == 1


def test_stages_lead_only_to_stages() -> None:
    assert {stage for after in NEXT_STAGES.values() for stage in after} <= set(NEXT_STAGES)


def test_a_rollback_is_a_new_version_with_old_parameters(store: Store, history: History) -> None:
    registry = history.registry
    with store.begin() as connection:
        made = history.rounds(connection, 3)
        old, roles = made[1], history.fleet.roles()
        back = registry.rollback(connection, history.desk, old, roles, "0.2.0", CLOCK + 90)
        assert (back.version.version, back.version.origin, back.stage) == (4, "rollback", "candidate")
        assert back.version.parent == made[3].digest
        assert back.version.restored == old.digest
        assert back.version.params == old.version.params
        with pytest.raises(RegistryError, match="already"):
            registry.rollback(connection, history.desk, old, roles, "0.2.0", CLOCK + 91)
        history.register(connection, 5, back)
        assert verify(connection, registry, "j", history.fleet.root.public) == ()


def test_an_exported_version_answers_as_the_device_does(store: Store, history: History) -> None:
    with store.begin() as connection:
        entry = history.rounds(connection, 2)[2]
    data = exported(history.registry, entry)
    session = load_onnxruntime().InferenceSession(data, providers=["CPUExecutionProvider"])
    x = np.random.default_rng(0).normal(2, 2, (11, 5)).astype(np.float32)
    wanted = open_runtime(history.bundle).predict(history.params(2), history.scaling.inputs(x))
    np.testing.assert_allclose(session.run(None, {"input": x})[0], wanted, rtol=1e-4, atol=1e-5)
    assert session.get_modelmeta().custom_metadata_map["accord.digest"] == entry.digest.hex()


def test_parameters_that_are_gone_or_damaged_are_not_exported(store: Store, history: History, tmp_path: Path) -> None:
    with store.begin() as connection:
        entry = history.rounds(connection, 0)[0]
    name = entry.version.params.hex()
    path = tmp_path / "blobs" / name[:2] / name[2:]
    path.write_bytes(path.read_bytes()[:-1] + b"\x00")
    with pytest.raises(DamagedBlobError):
        exported(history.registry, entry)
    path.unlink()
    with pytest.raises(MissingBlobError):
        exported(history.registry, entry)


def test_versions_of_another_job_follow_from_this_one(store: Store, history: History) -> None:
    """A new job that starts from an old job's version has it as its parent."""
    with store.begin() as connection:
        jobs.add(connection, "fine-tuned", {}, 2.0)
        made = history.rounds(connection, 1)
        first = history.register(connection, 0, made[1], "fine-tuned")
        history.register(connection, 1, first, "fine-tuned")
        assert verify(connection, history.registry, "fine-tuned", history.fleet.root.public) == ()
        assert history.registry.jobs(connection) == ["fine-tuned", "j"]


def test_a_letter_shows_nothing_of_the_model(store: Store, history: History) -> None:
    with store.begin() as connection:
        entry = history.rounds(connection, 0)[0]
    assert Envelope.decode(entry.letter).payload == entry.version.encode()
    assert "letter" not in repr(entry)
