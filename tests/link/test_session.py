"""Where a broker is reached and under which name it keeps a session: both are decided before anything connects."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accord.entropy import SeededEntropy
from accord.errors import UsageError
from accord.link.address import Address
from accord.link.places import Places, place, places
from accord.link.session import checked_session, session_id


def test_a_derived_session_needs_the_password_and_the_name_stays_who_we_are() -> None:
    mine = session_id("dev-1", "secret", "derived")
    assert session_id("dev-1", "secret", "plain") == "dev-1"
    assert mine == "dev-1-43f0cd9ff7b01bea22a8ce44c9ee5491"
    assert session_id("dev-1", "secret", "unqueued") == mine
    others = {session_id("dev-1", "other", "derived"), session_id("dev-2", "secret", "derived")}
    assert mine not in others
    assert len(others) == 2
    address = Address(host="h", port=1, client_id="dev-1", password="secret", session="derived")
    assert (address.client_id, address.session_id) == ("dev-1", mine)
    assert "secret" not in repr(address)


def test_an_unknown_kind_of_session_is_refused_by_name() -> None:
    assert checked_session("derived") == "derived"
    with pytest.raises(UsageError, match="'clever' is unknown"):
        checked_session("clever")


@given(st.integers(1, 65_535), st.sampled_from(["broker-2", "10.0.0.7", "::1", "a.b.example"]))
def test_a_place_is_read_as_it_is_written(port: int, host: str) -> None:
    assert place(f"[{host}]:{port}" if ":" in host else f"{host}:{port}") == (host, port)


@pytest.mark.parametrize(
    "text", ["", "host", "host:", ":1", "host:0", "host:65536", "host:x", "host:\u0661", "host:-1"]
)
def test_what_is_no_place_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="HOST:PORT"):
        place(text)


@pytest.mark.parametrize("texts", ["host:1", 7, [7], {"host": 1}])
def test_what_is_no_list_of_places_is_refused(texts: object) -> None:
    with pytest.raises(UsageError, match="others"):
        places(texts)


def test_every_client_begins_somewhere_and_tries_all_in_turn() -> None:
    nodes = [("a", 1), ("b", 2), ("c", 3)]
    begun = set()
    for seed in range(30):
        turn = Places(nodes, SeededEntropy(seed))
        tried = [turn.next() for _ in range(6)]
        assert sorted(tried) == sorted(2 * nodes)
        assert tried[:3] == tried[3:]
        begun.add(tried[0])
    assert begun == set(nodes)
