"""The rule: which readings let a device train, what unknown means, and that stopped work needs some room to go on."""

from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accord.errors import UsageError
from edge_sdk.conditions import Conditions
from edge_sdk.constraints import Constraints

ALL = Constraints(
    requires_charging=True,
    requires_battery_not_low=True,
    requires_device_idle=True,
    requires_storage_not_low=True,
    network_type="unmetered",
    max_temperature=60,
    min_free_memory=100.0,
)
FINE = Conditions(
    charging=True,
    battery=80,
    connected=True,
    metered=False,
    busy=0.01,
    temperature=45.0,
    throttled=False,
    free_memory=300.0,
    free_storage=5_000.0,
    total_storage=32_000.0,
)


def unmet(constraints: Constraints, now: Conditions, *, resting: bool = False) -> list[str]:
    return [found.name for found in constraints.unmet(now, resting=resting)]


def test_a_device_at_the_charger_trains() -> None:
    assert unmet(ALL, FINE) == []
    assert unmet(ALL, FINE, resting=True) == []


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"charging": False}, "requires_charging"),
        ({"battery": 15}, "requires_battery_not_low"),
        ({"connected": False, "metered": None}, "network_type"),
        ({"metered": True}, "network_type"),
        ({"busy": 0.2}, "requires_device_idle"),
        ({"free_storage": 499.0}, "requires_storage_not_low"),
        ({"free_storage": 99.0, "total_storage": 2_000.0}, "requires_storage_not_low"),
        ({"temperature": 60.1}, "max_temperature"),
        ({"throttled": True}, "max_temperature"),
        ({"free_memory": 99.0}, "min_free_memory"),
    ],
)
def test_each_constraint_stops_alone_and_only_where_it_is_asked_for(change: dict[str, object], name: str) -> None:
    now = replace(FINE, **change)
    assert unmet(ALL, now) == [name]
    assert ALL.unmet(now)[0].detail
    assert unmet(Constraints(), now) == []
    off = {"network_type": "not_required", "max_temperature": None, "min_free_memory": None}
    assert unmet(replace(ALL, **{name: off.get(name, False)}), now) == []


def test_what_is_unknown_is_forbidden_where_it_would_cost_the_owner_something() -> None:
    assert unmet(ALL, Conditions()) == [
        "requires_charging",
        "requires_battery_not_low",
        "network_type",
        "requires_device_idle",
        "requires_storage_not_low",
    ]
    assert all("can't be read" in found.detail for found in ALL.unmet(Conditions()))
    open_ones = Constraints(network_type="connected", max_temperature=50, min_free_memory=64)
    assert unmet(open_ones, Conditions()) == []
    assert unmet(open_ones, Conditions(connected=False)) == ["network_type"]


def test_stopped_work_starts_again_with_some_room() -> None:
    warm, low = replace(FINE, temperature=58.0), replace(FINE, battery=18)
    assert unmet(ALL, warm) == unmet(ALL, low) == []
    assert unmet(ALL, warm, resting=True) == ["max_temperature"]
    assert unmet(ALL, low, resting=True) == ["requires_battery_not_low"]


@given(
    st.builds(
        Conditions,
        **{
            field.name: st.none() | (st.booleans() if "bool" in str(field.type) else st.floats(0, 1e4))
            for field in fields(Conditions)
        },
    )
)
def test_who_may_start_again_may_go_on(now: Conditions) -> None:
    assert set(unmet(ALL, now)) <= set(unmet(ALL, now, resting=True))
    assert unmet(Constraints(), now) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"network_type": "wifi"},
        {"requires_charging": 1},
        {"max_temperature": "hot"},
        {"max_temperature": 0},
        {"min_free_memory": True},
    ],
)
def test_a_constraint_that_can_not_be_meant_is_refused_by_name(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        Constraints(**wrong)
