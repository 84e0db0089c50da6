"""An aggregator that shows devices an old model again, or another one under the same number, is refused by name."""

import dataclasses
from pathlib import Path

import numpy as np
from forked_fleet import BUNDLE, LAYOUT, Fleet, refused
from hypothesis import given
from hypothesis import strategies as st
from queue_world import World

from accord import prg
from accord.wire.messages import Opening
from edge_sdk import session_values as dev
from edge_sdk.journal import DiskRecords
from edge_sdk.session import Session


def model(number: int) -> bytes:
    """Return the parameters of one version."""
    return np.full(LAYOUT.size, number, "<f4").tobytes()


def shown(fleet: Fleet, session: Session, version: int, params: bytes) -> tuple[dev.Effect, ...]:
    """Announce a version in the next round to a device that fetches what it names; return what it does at last."""
    fleet.round += 1
    opening = Opening(
        job="j",
        round=fleet.round,
        attempt=1,
        base_version=version,
        bundle_digest=BUNDLE,
        bundle_size=1,
        params_digest=prg.digest(params),
        params_size=len(params),
    )
    effects = session.step(dev.Arrived(data=fleet.desk.sealed(opening, "j")))
    if [type(effect) for effect in effects] == [dev.Refused]:
        return effects
    return session.step(dev.Fetched(params_digest=prg.digest(params), bundle_digest=BUNDLE))


def kept(records: DiskRecords, effects: tuple[dev.Effect, ...]) -> None:
    """Write what is to be written before anything leaves, and assert that it comes before."""
    for effect in effects:
        if isinstance(effect, dev.Charge):
            records.charge(effect.ledger)
    kinds = [type(effect) for effect in effects]
    assert kinds in ([dev.Charge, dev.Send], [dev.Send])


def test_an_old_model_is_refused_by_name_and_a_rollback_under_a_new_number_is_not() -> None:
    fleet = Fleet()
    session = fleet.session()
    for version in (0, 1, 2):
        assert [type(effect) for effect in shown(fleet, session, version, model(version))][-1] is dev.Send
    assert refused(shown(fleet, session, 1, model(1))) == "OldVersion"
    assert refused(shown(fleet, session, 0, model(0))) == "OldVersion"
    assert refused(shown(fleet, session, 2, model(1))) == "VersionChanged", "an old model under the newest number"
    assert (session.ledger.version, session.ledger.params) == (2, prg.digest(model(2)))
    assert isinstance(shown(fleet, session, 2, model(2))[-1], dev.Send), "a second round on the same version"
    assert isinstance(shown(fleet, session, 3, model(1))[-1], dev.Send), "a rollback is a new version"
    assert refused(shown(fleet, session, 2, model(2))) == "OldVersion"


def test_a_device_remembers_the_version_over_a_power_cut_before_it_says_that_it_has_it(tmp_path: Path) -> None:
    fleet = Fleet()
    kept(DiskRecords(tmp_path, "j"), shown(fleet, fleet.session(), 5, model(5)))
    again = fleet.session(ledger=DiskRecords(tmp_path, "j").ledger())
    assert refused(shown(fleet, again, 4, model(4))) == "OldVersion"
    assert refused(shown(fleet, again, 5, model(4))) == "VersionChanged"
    assert isinstance(shown(fleet, again, 5, model(5))[-1], dev.Send)


def test_each_job_has_its_own_versions_and_rounds(tmp_path: Path) -> None:
    one, other = DiskRecords(tmp_path, "one"), DiskRecords(tmp_path, "other")
    one.charge(dev.Ledger(round=9, attempt=2, participations=4, roles_version=3, version=7, params=bytes(32)))
    fresh = other.ledger()
    assert (fresh.round, fresh.attempt, fresh.version, fresh.params) == (0, 0, 0, b"")
    assert (fresh.participations, fresh.roles_version) == (4, 3), "what counts for the device counts in every job"
    other.charge(dataclasses.replace(fresh, round=1, attempt=1, participations=5, version=1, params=b"p" * 32))
    assert one.ledger() == dev.Ledger(
        round=9, attempt=2, participations=5, roles_version=3, version=7, params=bytes(32)
    )


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 2)), max_size=12))
def test_whatever_is_announced_the_version_never_goes_back_nor_changes(announced: list[tuple[int, int]]) -> None:
    fleet = Fleet()
    session = fleet.session()
    seen: dict[int, int] = {}
    for version, content in announced:
        effects = shown(fleet, session, version, model(content))
        newest = max(seen, default=-1)
        if version < newest:
            assert refused(effects) == "OldVersion"
        elif seen.get(version, content) != content:
            assert refused(effects) == "VersionChanged"
        else:
            seen[version] = content
            assert isinstance(effects[-1], dev.Send)


class LyingAggregator(World):
    """A fleet whose aggregator holds versions 0 to 2, and may be told to open a round on any model that it likes."""

    def __init__(self) -> None:
        super().__init__(4)
        self.models = [self.coordinator.model]
        for version in (1, 2):
            assert self.run() is not None
            self.coordinator.release(model(version), version)
            self.models.append(self.coordinator.model)

    def names(self) -> list[str]:
        return [effect.reason for effect in self.of(dev.Refused)]


def test_a_fleet_refuses_an_old_model_signed_anew_and_goes_on_with_an_honest_aggregator() -> None:
    fleet = LyingAggregator()
    honest = fleet.coordinator.model
    assert fleet.run() is not None
    assert not fleet.names()
    fleet.coordinator.model = fleet.models[1]
    assert fleet.run() is None, "nobody trains the old model"
    assert set(fleet.names()) == {"OldVersion"}
    assert len(fleet.names()) == 4 * fleet.coordinator.settings.max_attempts, "every device refuses every attempt"
    fleet.coordinator.model = dataclasses.replace(fleet.models[1], version=honest.version)
    assert fleet.run() is None
    assert set(fleet.names()) == {"OldVersion", "VersionChanged"}
    fleet.coordinator.model = honest
    closed = fleet.run()
    assert closed is not None
    assert closed.included == tuple(fleet.sessions)
    assert {session.ledger.version for session in fleet.sessions.values()} == {honest.version}


def test_what_was_refused_is_not_written_down() -> None:
    fleet = Fleet()
    session = fleet.session()
    shown(fleet, session, 2, model(2))
    before = session.ledger
    assert refused(shown(fleet, session, 1, model(1))) == "OldVersion"
    assert refused(shown(fleet, session, 2, model(1))) == "VersionChanged"
    assert session.ledger == before
