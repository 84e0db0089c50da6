"""The MQTT client id under which a broker keeps a session: the client's own name, or one that nobody else can guess."""

from typing import Literal

from accord import prg
from accord.errors import UsageError

Session = Literal["plain", "derived"]
SESSIONS: tuple[Session, ...] = ("plain", "derived")
"""`plain`: the client's own id, for brokers that bind it to the user name, as the embedded broker and Mosquitto do with
our configuration. `derived`: for brokers that give a session to whoever names it, such as NATS."""
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
    raise UsageError(f'[broker] session {text[:80]!r} is unknown: use "plain", or "derived" for NATS')
