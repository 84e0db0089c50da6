"""A device that was revoked or barred is left out at once: nobody waits for it, and the others close the round."""

from crash_world import World

NAME = "dev-01"


def test_a_revoked_device_is_left_out_from_the_next_round_on_and_nobody_waits_for_it() -> None:
    world = World(5, rounds=3)
    world.run(until=lambda: len(world.books.records) == 2)
    world.revocations = world.fleet.revocations(2, (1,))
    begun = world.broker.now
    world.run()
    assert [r["status"] for r in world.books.records] == ["closed"] * 4
    assert [NAME in r["included"] for r in world.books.records] == [True, True, False, False]
    assert [r["reason"] for r in world.told if r["event"] == "refused" and r["device"] == NAME][-1] == "Revoked"
    assert world.broker.now - begun < 15.0, "no join window was waited for"


def test_the_list_of_a_round_under_way_stays_when_the_aggregator_dies() -> None:
    calm = World(5, rounds=1)
    calm.revocations = calm.fleet.revocations(2, (1,))
    calm.run()
    for at in range(3, calm.fuse.count - 1, 9):
        world = World(5, rounds=1)
        world.revocations = world.fleet.revocations(2, (1,))
        world.fuse.at = at
        world.run()
        assert world.crashes == 1, at
        assert [r["included"] for r in world.books.records] == [r["included"] for r in calm.books.records], at
