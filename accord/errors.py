"""The errors of Accord, sorted by who is to blame; no error is raised here.

A message of an error is a sentence for the person who reads it: what happened, and what to do.
"""


class AccordError(Exception):
    """Something in Accord went wrong. Every error that Accord raises on purpose is one of these."""


class UsageError(AccordError):
    """A command, file or argument that a person gave can't be used as it is."""


class ProtocolError(AccordError):
    """A step of a protocol was out of order or wrong. Never raised itself: blame is in the subclass."""


class LocalProtocolError(ProtocolError):
    """Our own side asked for a step that the protocol does not allow: a bug here."""


class RemoteProtocolError(ProtocolError):
    """The other side sent something that the protocol does not allow."""


class CodecError(RemoteProtocolError):
    """Bytes are not the one valid encoding of a value of the expected shape."""


class SignatureError(RemoteProtocolError):
    """A signature does not belong to these bytes under the expected key."""


class Refusal(RemoteProtocolError):  # noqa: N818 - a refusal is a decision; the wire carries its name
    """This side understood the request and refuses it, for a named reason.

    Args:
        reason: the stable name of the rule that was broken, in CamelCase; `docs/threats.md` lists them.
        detail: a sentence for the log, with no secret in it.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class Aborted(AccordError):  # noqa: N818 - the state of a round, which is not always an error
    """A cohort or a round ended without a sum, for a named reason.

    Args:
        reason: the stable name, in CamelCase.
        detail: a sentence for the log and the round record.
        device: who is to blame, if one device is; empty otherwise.
    """

    def __init__(self, reason: str, detail: str, device: str = "") -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
        self.device = device


class CannotTrain(AccordError):  # noqa: N818 - what this device can't do, which need not be an error of anybody
    """A device can't do a round's work, for a named reason, and sits that round out; the round goes on without it.

    Args:
        reason: `OutOfMemory`, `NotFinite` or `WrongLabel`.
        detail: what happened, and what to do on the device; no row's values but a wrong label.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
