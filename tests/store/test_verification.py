"""Each way to tamper with a registry is found, by the name of the rule that it breaks."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
from registry_under_test import CLOCK, History
from sqlalchemy import Connection, delete, text, update

from accord.entropy import SeededEntropy
from accord.signing import SigningKey
from accord.wire.envelope import Envelope, seal
from accord.wire.messages import TAG_OF
from accord.wire.versions import Version
from aggregator.blobs import Blobs
from aggregator.desk import Desk
from aggregator.enrolment import new_fleet
from aggregator.schema import MEASUREMENTS, PROMOTIONS, ROLES, VERSIONS
from aggregator.store import Store
from aggregator.verification import verify


@pytest.fixture
def history(store: Store, tmp_path: Path) -> History:
    """Three rounds, a promotion to staging, one to production, a rollback."""
    found = History(Blobs(tmp_path / "blobs"))
    with store.begin() as connection:
        made = found.rounds(connection, 3)
        found.promote(connection, 1, "staging")
        found.promote(connection, 2)
        found.registry.rollback(connection, found.desk, made[1], found.fleet.roles(), "0.1.0", CLOCK + 90)
    return found


def faults(connection: Connection, history: History) -> set[tuple[int | None, str]]:
    return {(f.version, f.rule) for f in verify(connection, history.registry, "j", history.fleet.root.public)}


def resigned(connection: Connection, history: History, number: int, key: SigningKey, **changes: object) -> None:
    """Put a changed record in a version's place, row and all."""
    old = history.registry.get(connection, "j", number).version
    new = dataclasses.replace(old, **changes)
    letter = seal(TAG_OF[Version], new.encode(), key=key, sender="aggregator", recipient="j").encode()
    values = {"letter": letter, "digest": new.digest.hex(), "params": new.params.hex(), "round": new.round}
    connection.execute(text("UPDATE versions SET parent = NULL WHERE parent = :old"), {"old": old.digest.hex()})
    connection.execute(update(VERSIONS).where(VERSIONS.c.version == number).values(**values))


def set_row(number: int, **values: object) -> Callable[[Connection, History], object]:
    return lambda connection, _: connection.execute(
        update(VERSIONS).where(VERSIONS.c.version == number).values(**values)
    )


def flipped(connection: Connection, history: History) -> None:
    letter = bytearray(history.registry.get(connection, "j", 2).letter)
    letter[len(letter) // 2] ^= 1
    connection.execute(update(VERSIONS).where(VERSIONS.c.version == 2).values(letter=bytes(letter)))


def swapped_params(connection: Connection, history: History) -> None:
    """An old model under a new number: only the row is changed."""
    old = history.registry.get(connection, "j", 1).version.params.hex()
    set_row(3, params=old)(connection, history)


def removed_version(connection: Connection, _: History) -> None:
    connection.execute(text("UPDATE versions SET parent = NULL WHERE version = 3"))
    connection.execute(delete(VERSIONS).where(VERSIONS.c.version == 2))


def damaged_params(connection: Connection, history: History) -> None:
    name = history.registry.get(connection, "j", 3).version.params.hex()
    path = history.registry.blobs._folder / name[:2] / name[2:]
    path.write_bytes(b"\x00" * 4)


def foreign_bundle(connection: Connection, history: History) -> None:
    """A bundle that somebody else has signed, vouched for by the aggregator."""
    other = History(history.registry.blobs, new_fleet("t", SeededEntropy(9), CLOCK + 1_000))
    resigned(connection, history, 4, history.fleet.aggregator, bundle=other.bundle_digest)
    set_row(4, bundle=other.bundle_digest.hex())(connection, history)


def other_root(connection: Connection, history: History) -> None:
    """Another fleet's roles document in place of ours."""
    other = new_fleet("t", SeededEntropy(9), CLOCK + 1_000)
    connection.execute(update(ROLES).values(letter=other.roles()))


def measured_by_somebody(connection: Connection, history: History) -> None:
    entry = history.registry.get(connection, "j", 2)
    stranger = Desk(SigningKey(bytes(32)))
    history.registry.measure(connection, stranger, entry, 3, {"accuracy": 1.0}, 1)


def moved_measurement(connection: Connection, _: History) -> None:
    connection.execute(update(MEASUREMENTS).where(MEASUREMENTS.c.version == 3).values(version=4))


def moved_promotion(connection: Connection, _: History) -> None:
    connection.execute(update(PROMOTIONS).where(PROMOTIONS.c.version == 2).values(version=3))


def removed_promotion(connection: Connection, _: History) -> None:
    connection.execute(delete(PROMOTIONS).where(PROMOTIONS.c.number == 1))


STORIES: dict[str, tuple[Callable[[Connection, History], object], set[tuple[int | None, str]]]] = {
    "nothing": (lambda _c, _h: None, set()),
    "one bit of a letter": (
        flipped,
        {(2, "BadSignature"), (2, "BadPromotion"), (3, "BrokenChain"), (2, "BadMeasurement")},
    ),
    "an old model under a new number": (swapped_params, {(3, "RowDiffers")}),
    "another round": (set_row(2, round=9), {(2, "RowDiffers")}),
    "a parent cut off": (set_row(3, parent=None), {(3, "RowDiffers")}),
    "a stage by hand": (set_row(3, stage="production"), {(3, "WrongStage")}),
    "a stage taken back by hand": (set_row(2, stage="candidate"), {(2, "WrongStage")}),
    "noise for a letter": (set_row(4, letter=b"noise"), {(4, "BadSignature")}),
    "a version removed": (
        removed_version,
        {(2, "MissingVersion"), (3, "BrokenChain"), (3, "RowDiffers"), (2, "BadPromotion"), (2, "BadMeasurement")},
    ),
    "parameters overwritten": (damaged_params, {(3, "DamagedParams")}),
    "a bundle of somebody else": (foreign_bundle, {(4, "ForeignBundle"), (4, "BrokenRollback")}),
    "signed by somebody else": (
        lambda c, h: resigned(c, h, 4, SigningKey(bytes(32)), code="9"),
        {(4, "BadSignature")},
    ),
    "another transcript": (
        lambda c, h: resigned(c, h, 3, h.fleet.aggregator, transcript=bytes(32)),
        {(3, "WrongTranscript"), (4, "BrokenChain"), (4, "RowDiffers"), (3, "BadMeasurement")},
    ),
    "history rewritten with the aggregator's key": (
        lambda c, h: resigned(c, h, 1, h.fleet.aggregator, time=CLOCK + 2),
        {
            (2, "BrokenChain"),
            (2, "RowDiffers"),
            (1, "BadPromotion"),
            (1, "BadMeasurement"),
            (4, "BrokenRollback"),
        },
    ),
    "another tenant": (
        lambda c, h: resigned(c, h, 4, h.fleet.aggregator, tenant="other"),
        {(4, "ForeignRoles")},
    ),
    "made after the roles ended": (
        lambda c, h: resigned(c, h, 4, h.fleet.aggregator, time=CLOCK + 1_000),
        {(4, "ForeignRoles")},
    ),
    "figures by somebody else": (measured_by_somebody, {(2, "BadMeasurement")}),
    "figures of another version": (moved_measurement, {(4, "BadMeasurement")}),
    "a promotion moved": (moved_promotion, {(3, "BadPromotion")}),
    "a promotion removed": (removed_promotion, {(2, "MissingPromotion"), (1, "WrongStage")}),
}


@pytest.mark.parametrize("story", STORIES)
def test_it_is_found(story: str, store: Store, history: History) -> None:
    tamper, wanted = STORIES[story]
    with store.begin() as connection:
        tamper(connection, history)
        assert faults(connection, history) == wanted


def test_roles_of_another_root(store: Store, history: History) -> None:
    with store.begin() as connection:
        other_root(connection, history)
        found = faults(connection, history)
        assert (None, "NotTheRoot") in found
        assert {(number, "BadSignature") for number in range(5)} <= found
        assert {(f.version, f.rule) for f in verify(connection, history.registry, "j", None)} >= {(0, "BadSignature")}


def test_a_key_that_changed_leaves_old_versions_believable(store: Store, history: History, tmp_path: Path) -> None:
    old = history.fleet
    fleet = dataclasses.replace(old, aggregator=SigningKey(b"n" * 32), publisher=SigningKey(b"p" * 32), roles_version=2)
    with store.begin() as connection:
        later = History(Blobs(tmp_path / "blobs"), fleet)
        head = later.registry.head(connection, "j")
        later.register(connection, 5, head)
        later.promote(connection, 5)
        later.register(connection, 6, later.registry.head(connection, "j"), bundle=history.bundle_digest)
        assert faults(connection, later) == set()
        assert Envelope.decode(later.registry.get(connection, "j", 5).letter).check(fleet.aggregator.public) is None
