"""Why a broker says no: its reason codes under stable names, each with what to look at."""

from accord.link.port import LinkError, RefusedError, UnreachableError

VERSION = "Unsupported protocol version"
_KNOWN = {
    "Bad user name or password": (
        "WrongPassword",
        "the broker refused the password: look at the password file and the broker's clients",
    ),
    "Not authorized": (
        "NotAuthorized",
        "the broker does not know this client id or its password is another's: was it enrolled there, or revoked?",
    ),
    VERSION: ("WrongVersion", "the broker does not speak MQTT 3.1.1"),
    "Client identifier not valid": ("WrongClientId", "the broker refused the client id"),
    "Server unavailable": ("BrokerUnavailable", "the broker is not ready: try again later"),
    "Server busy": ("BrokerBusy", "the broker is busy: try again later"),
    "Quota exceeded": ("QuotaExceeded", "the broker's quota for this client is used up: ask its operator"),
    "Connection rate exceeded": ("TooManyLogins", "too many logins in a short time: try again later"),
    "Banned": ("Banned", "the broker has banned this client: ask its operator"),
    "Bad authentication method": ("WrongLogin", "the broker wants another way of login than a password"),
    "Use another server": ("UseAnotherBroker", "the broker sends us to another one: change [broker] host"),
    "Server moved": ("UseAnotherBroker", "the broker has moved: change [broker] host"),
    "Packet too large": ("PacketTooLarge", "the broker takes smaller packets only"),
    "Session taken over": ("TakenOver", "another process has logged in under this client id"),
    "Keep alive timeout": ("KeepAlive", "the broker has heard nothing for too long"),
    "Administrative action": ("SentAway", "somebody has ended this connection at the broker"),
}


def named(code: str) -> tuple[str, str]:
    """Return the stable name and a sentence for a reason code, whose standard name (MQTT 5, section 2.4) is given."""
    return _KNOWN.get(code, ("".join(word.capitalize() for word in code.split()), f"the broker said no: {code}"))


def refusal(code: str, where: str) -> LinkError:
    """Return the error for a login that was refused, or, with an empty code, not answered."""
    if not code:
        return UnreachableError(f"{where} did not answer the login: is it a broker?")
    name, sentence = named(code)
    return RefusedError(sentence, name)
