"""A fleet outlives its roles document: the next one reaches every device, and the one before counts no more."""

import dataclasses

import pytest
from crash_world import CLOCK, TENANT, World

from accord.entropy import SeededEntropy
from accord.errors import Refusal
from accord.link import Delivery
from accord.signing import SigningKey
from accord.wire import topics
from accord.wire.messages import Outcome
from aggregator.desk import Desk
from aggregator.enrolment import Fleet, new_fleet
from edge_sdk.session_values import Stage

NAME = "dev-01"
OTHER_KEY = SigningKey(SeededEntropy(77)(32))


def following(fleet: Fleet, **changes: object) -> Fleet:
    fields = {"roles_version": fleet.roles_version + 1, "expires": fleet.expires + 50_000}
    return dataclasses.replace(fleet, **(fields | changes))  # type: ignore[arg-type]


def come_to_rest(world: World) -> None:
    """End the round under way, as an aggregator does while a document waits for its turn."""
    assert world.runner is not None
    world.runner.superseded = True
    world.run()
    assert not world.runner.coordinator.busy
    for device in world.devices.values():  # the last answers are on their way
        device.pump()


def turn(world: World, fleet: Fleet) -> None:
    """Put another document in force: every job is made anew under it."""
    world.link.die()
    world.fleet = fleet
    world.start_aggregator()
    world.link.publish(topics.roles(TENANT), fleet.roles(), retain=True)


def give(world: World, data: bytes) -> list[str]:
    device = world.devices[NAME]
    before = len(device.refused)
    device.agent.handle(Delivery(topic=topics.roles(TENANT), payload=data))
    return [refused.reason for refused in device.refused[before:]]


def versions(world: World) -> list[int]:
    return [device.agent.session._state.roles.version for device in world.devices.values()]


@pytest.mark.parametrize("changes", [{}, {"aggregator": OTHER_KEY}], ids=["the same keys", "another aggregator key"])
def test_a_fleet_lives_past_its_first_expiry(changes: dict[str, object]) -> None:
    world = World(rounds=4)
    first = world.fleet
    world.run(until=lambda: len(world.books.records) == 2)
    come_to_rest(world)
    turn(world, following(first, **changes))
    world.run(until=lambda: len(world.books.records) == 3)
    world.clock = first.expires + 1
    for device in world.devices.values():  # all of them start anew, with the file that they were given at first
        device.link.die()
        device.boot()
    world.run()
    world.check()
    assert [len(r["included"]) for r in world.books.records] == [4] * 5
    assert versions(world) == [2] * 4
    assert not any(device.refused for device in world.devices.values())


def test_without_the_next_document_no_device_starts_after_the_end() -> None:
    world = World(rounds=2)
    world.run(until=lambda: len(world.books.records) == 1)
    world.clock = world.fleet.expires + 1
    device = world.devices[NAME]
    device.link.die()
    with pytest.raises(Refusal, match="Expired"):
        device.boot()


def test_a_document_that_comes_in_the_middle_of_an_attempt_counts_from_the_next_one_on() -> None:
    world = World(rounds=2)
    session = world.devices[NAME].agent.session
    world.run(until=lambda: session.stage is Stage.MASKED)
    assert give(world, following(world.fleet).roles()) == []
    assert session._state.roles.version == 1
    come_to_rest(world)
    assert [len(r["included"]) for r in world.books.records] == [4]
    assert world.devices[NAME].agent.session._state.roles.version == 2
    turn(world, following(world.fleet))
    world.run()
    world.check()
    assert [len(r["included"]) for r in world.books.records] == [4] * 3


def test_a_device_that_was_away_takes_the_document_first_and_then_the_opening() -> None:
    world = World(5, rounds=3)
    world.run(until=lambda: len(world.books.records) == 1)
    come_to_rest(world)
    away = world.devices.pop(NAME)
    away.link.die()
    turn(world, following(world.fleet, aggregator=OTHER_KEY))
    world.run(until=lambda: len(world.books.records) == 2)
    world.devices[NAME] = away
    away.boot()
    world.run()
    assert NAME in world.books.records[-1]["included"]
    assert not away.refused


def test_documents_that_do_not_hold_change_nothing() -> None:
    world = World(rounds=2)
    world.run(until=lambda: len(world.books.records) == 1)
    come_to_rest(world)
    second = following(world.fleet)
    assert give(world, second.roles()) == []
    assert give(world, second.roles()) == [], "the broker hands it out again"
    assert give(world, world.fleet.roles()) == ["OldRoles"]
    assert give(world, following(second, root=OTHER_KEY).roles()) == ["NotTheRoot"]
    assert give(world, following(second, tenant="other").roles()) == ["ForeignTenant"]
    assert give(world, following(second, expires=CLOCK).roles()) == ["Expired"]
    assert give(world, b"noise") == ["NotTheRoot"]
    assert world.devices[NAME].agent.session._state.roles.version == 2


def test_a_replaced_aggregator_key_opens_nothing_any_more() -> None:
    world = World(rounds=3)
    world.run(until=lambda: len(world.books.records) == 1)
    come_to_rest(world)
    old = Desk(world.fleet.aggregator)
    turn(world, following(world.fleet, aggregator=OTHER_KEY))
    world.run(until=lambda: len(world.books.records) == 2)
    device, told = world.devices[NAME], len(world.devices[NAME].refused)
    message = Outcome(job="j", round=9, attempt=1, status="closed", reason="", included=1, transcript=bytes(32))
    device.agent.handle(Delivery(topic=topics.down(TENANT, NAME, "cmd"), payload=old.sealed(message, NAME)))
    assert [refused.reason for refused in device.refused[told:]] == ["BadSignature"]


def test_another_enrolment_key_is_spoken_of_by_the_device_whose_certificate_it_ends() -> None:
    world = World(rounds=2)
    world.run(until=lambda: len(world.books.records) == 1)
    other = new_fleet(TENANT, SeededEntropy(5), CLOCK + 10**6)
    come_to_rest(world)
    assert give(world, following(world.fleet, enrolment=other.enrolment).roles()) == ["NotEnrolled"]
