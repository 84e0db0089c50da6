"""A listener that asks for certificates reads which ones are revoked, while it runs, and cuts those who show one."""

import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

from accord.entropy import SystemEntropy
from accord.errors import UsageError
from accord.files import write_atomic
from broker import credentials
from broker.config import Listener, Tls
from broker.credentials import Login
from broker.revoked import Revoked, read
from broker.status import ask
from tests.broker.authority import Authority
from tests.broker.raw_client import RawClient
from tests.broker.served import Served, reads
from tests.waiting import until

Serve = Callable[..., Served]


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "an authority of its own")


def asking(authority: Authority) -> Listener:
    certificate, key = authority.pair("localhost")
    tls = Tls(certificate=certificate, key=key, clients=authority.path, revoked=authority.revoke())
    return Listener(port=0, tls=tls)


def let_in(broker: Served, context: ssl.SSLContext, client: str) -> bool:
    try:
        with RawClient(broker.port, context) as found:
            return found.login(client) == 0
    except (ssl.SSLError, ConnectionError):
        return False


@pytest.fixture
def broker(serve: Serve, authority: Authority) -> Served:
    """A broker to which clients log in by their certificates alone."""
    found = serve(asking(authority))
    logins = [Login(client="dev-3"), Login(client="dev-4")]
    credentials.add(found.clients, logins, SystemEntropy(), now=0)
    return found


def test_a_certificate_that_is_revoked_while_the_broker_runs_is_cut_and_comes_in_no_more(
    broker: Served, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    goes, stays = authority.client("dev-3"), authority.client("dev-4")
    with RawClient(broker.port, goes) as revoked, RawClient(broker.port, stays) as other:
        assert (revoked.login("dev-3"), other.login("dev-4")) == (0, 0)
        authority.revoke(authority.serial("dev-3"), later=1)
        assert revoked.ended()
        assert "revoked: dev-3 shows a certificate that is revoked and is cut off" in caplog.text
        assert not let_in(broker, goes, "dev-3")
        reads(other)
        assert let_in(broker, stays, "dev-4")
    assert ask(broker.state)["refused"]["tls"] >= 1


def test_one_that_was_revoked_before_the_broker_began_does_not_come_in(serve: Serve, authority: Authority) -> None:
    context = authority.client("dev-3")
    listener = asking(authority)
    authority.revoke(authority.serial("dev-3"), later=1)
    broker = serve(listener)
    credentials.add(broker.clients, [Login(client="dev-3"), Login(client="dev-4")], SystemEntropy(), now=0)
    assert not let_in(broker, context, "dev-3")
    assert let_in(broker, authority.client("dev-4"), "dev-4")


def test_a_list_that_is_damaged_older_or_of_another_authority_is_not_taken(
    broker: Served, authority: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    goes, stays = authority.client("dev-3"), authority.client("dev-4")
    path = authority.revoke(authority.serial("dev-3"), later=2)
    until(lambda: not let_in(broker, goes, "dev-3"), "it is revoked")
    (tmp_path / "other").mkdir()
    other = Authority(tmp_path / "other", "another authority")
    same = Authority(tmp_path / "other", "an authority of its own")
    for data, said in (
        (b"damaged", "holds no list"),
        (authority.path.read_bytes(), "holds no list"),
        (other.revoke(later=9).read_bytes(), "no list of"),
        (same.revoke(later=9).read_bytes(), "is not signed by"),
        (authority.revoke(later=-600).read_bytes(), "is older"),
    ):
        caplog.clear()
        path.write_bytes(data)
        until(lambda said=said: said in caplog.text, f"the log says: {said}")  # type: ignore[misc]
        assert not let_in(broker, goes, "dev-3")
        assert let_in(broker, stays, "dev-4")
    authority.revoke(later=50)
    until(lambda: let_in(broker, goes, "dev-3"), "a newer one counts")


@pytest.mark.parametrize("goes_with", ["old", "new"])
def test_a_serial_is_revoked_by_the_authority_that_gave_it_and_by_no_other_of_its_name(
    serve: Serve, tmp_path: Path, goes_with: str
) -> None:
    """A CA is made anew under its old name, and its serials begin anew; for a while both count."""
    made = {one: Authority(tmp_path / one, "one name", first=1) for one in ("old", "new")}
    certificate, key = made["new"].pair("localhost")
    made["old"].pair("somebody")
    clients, lists = tmp_path / "clients.pem", tmp_path / "lists.pem"
    clients.write_bytes(b"".join(one.path.read_bytes() for one in made.values()))

    def revoke(later: int, **serials: int) -> None:
        found = [one.revoke(*[serials[name]] if name in serials else [], later=later) for name, one in made.items()]
        write_atomic(lists, b"".join(path.read_bytes() for path in found))

    revoke(0)
    broker = serve(Listener(port=0, tls=Tls(certificate=certificate, key=key, clients=clients, revoked=lists)))
    credentials.add(broker.clients, [Login(client="dev-old"), Login(client="dev-new")], SystemEntropy(), now=0)
    sides = {name: one.client(f"dev-{name}") for name, one in made.items()}
    for side in sides.values():
        side.load_verify_locations(made["new"].path)
    serial = made["old"].serial("dev-old")
    assert serial == made["new"].serial("dev-new")
    goes, stays = f"dev-{goes_with}", "dev-new" if goes_with == "old" else "dev-old"
    with RawClient(broker.port, sides[goes[4:]]) as revoked, RawClient(broker.port, sides[stays[4:]]) as other:
        assert (revoked.login(goes), other.login(stays)) == (0, 0)
        revoke(1, **{goes_with: serial})
        assert revoked.ended()
        reads(other)
        assert let_in(broker, sides[stays[4:]], stays)
        assert not let_in(broker, sides[goes[4:]], goes)


def test_a_list_is_older_than_one_of_the_same_authority_and_not_than_another_of_its_name(tmp_path: Path) -> None:
    old, new = (Authority(tmp_path / one, "one name") for one in ("old", "new"))
    clients, lists = tmp_path / "clients.pem", tmp_path / "lists.pem"
    clients.write_bytes(old.path.read_bytes() + new.path.read_bytes())

    def listed(first: int, second: int) -> Revoked:
        write_atomic(lists, old.revoke(later=first).read_bytes() + new.revoke(later=second).read_bytes())
        return read(lists, clients)

    before = listed(50, 20)
    listed(50, 30).follows(before, lists)
    for first, second in ((50, 10), (40, 30)):
        with pytest.raises(UsageError, match="is older"):
            listed(first, second).follows(before, lists)
    write_atomic(lists, old.revoke().read_bytes())
    with pytest.raises(UsageError, match="not signed by CN=one name"):
        read(lists, clients)


@pytest.mark.parametrize("listed_first", ["old", "new"])
def test_an_authority_that_kept_its_key_under_a_new_name_revokes_under_both(tmp_path: Path, listed_first: str) -> None:
    old = Authority(tmp_path / "old", "old name")
    both = {"old": old, "new": Authority(tmp_path / "new", "new name", renamed=old)}
    for one in both.values():
        for client in ("goes", "stays"):
            one.pair(client)
    order = sorted(both.values(), key=lambda one: one is not both[listed_first])
    clients, lists = tmp_path / "clients.pem", tmp_path / "lists.pem"
    clients.write_bytes(b"".join(one.path.read_bytes() for one in order))
    lists.write_bytes(b"".join(one.revoke(one.serial("goes")).read_bytes() for one in order))
    revoked = read(lists, clients)

    def shown(name: str, client: str) -> bytes:
        return ssl.PEM_cert_to_DER_cert((tmp_path / name / f"{client}.crt").read_text())

    assert [shown(name, "goes") in revoked for name in both] == [True, True]
    assert [shown(name, "stays") in revoked for name in both] == [False, False]
    write_atomic(lists, b"".join(one.revoke(later=9 if one is old else -9).read_bytes() for one in order))
    with pytest.raises(UsageError, match="is older than the list of CN=new name"):
        read(lists, clients).follows(revoked, lists)


def test_a_broker_does_not_begin_without_its_list(serve: Serve, authority: Authority, tmp_path: Path) -> None:
    certificate, key = authority.pair("localhost")
    missing = Tls(certificate=certificate, key=key, clients=authority.path, revoked=tmp_path / "missing")
    with pytest.raises(UsageError, match=r"missing .*No such file"):
        serve(Listener(port=0, tls=missing))
    revoked = authority.revoke()
    with pytest.raises(UsageError, match="without clients"):
        Tls(certificate=certificate, key=key, revoked=revoked)
