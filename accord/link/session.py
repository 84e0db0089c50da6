"""The MQTT client id under which a broker keeps a session, and whether letters wait there for the client."""

from typing import Literal

from accord import prg
from accord.errors import UsageError

Session = Literal["plain", "derived", "unqueued"]
SESSIONS: tuple[Session, ...] = ("plain", "derived", "unqueued")
"""`plain`: the client's own id, for brokers that bind it to the user name, as the embedded broker and Mosquitto do with
our configuration. `derived`: one that nobody guesses, for brokers that give a session to whoever names it. `unqueued`:
as `derived`, and the client subscribes at QoS 0, for NATS: there each subscription at QoS 1 is a queue with a leader of
its own among the nodes, and for a third of them NATS 2.9 names one that is lost."""
_LABEL = b"accord/1/session "


def session_id(client: str, password: str, session: Session) -> str:
    """Return the MQTT client id of a client: without its password a derived one can't be known.

    Args:
        client: its name, which stays the user name.
        password: at the broker, from which nobody can get back from the id: 24 random bytes in an enrolled fleet.
        session: which of the two.
    """
    if session == "plain":
        return client
    return f"{client}-{prg.kdf(prg.digest(password.encode()), _LABEL + client.encode()).hex()[:32]}"


def checked_session(text: str) -> Session:
    """Return `text` if it names a kind of session.

    Raises:
        UsageError: it does not.
    """
    for session in SESSIONS:
        if text == session:
            return session
    raise UsageError(f'[broker] session {text[:80]!r} is unknown: use "plain", "unqueued" for NATS, or "derived"')


def speakable(name: str, what: str, session: Session) -> str:
    """Return a name that stands in topics, if the broker can take it there.

    Args:
        name: of a tenant, a device or a job.
        what: of these it is, for people.
        session: which kind of broker it is: NATS before 2.10 ends the connection of who publishes to a topic with a
            dot, and it may be NATS unless the session is `plain`.

    Raises:
        UsageError: it has a dot, and the broker may be NATS.
    """
    if session != "plain" and "." in name:
        raise UsageError(
            f"{what} {name[:80]!r} has a dot, which NATS before 2.10 does not take in a topic: choose another name, or "
            'a broker with [broker] session = "plain"'
        )
    return name
