"""Frozen records that are valid at birth, and their one form on the wire: a CBOR array of the fields in order.

A record names the kind of each field once, in `field(kind)`; building it checks the values, and decoding builds it. So
an object that exists is valid, and a field that is missing, unknown, too large or of another type is refused.
See docs/protocol.md, section 2.
"""

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar

from accord import cbor
from accord.errors import CodecError
from accord.ids import checked_name
from accord.values import dataclass

if TYPE_CHECKING:
    from typing_extensions import Self

_BYTES = {bytes}
RecordType = TypeVar("RecordType", bound="Record")


class Kind(Protocol):
    """What one field may hold."""

    def check(self, value: Any, where: str) -> None:
        """Raise CodecError if `value` may not stand in the field called `where`."""
        ...

    def lower(self, value: Any) -> Any:
        """Turn a checked value into one of the types of `accord.cbor`."""
        ...

    def lift(self, value: Any, where: str) -> Any:
        """Turn a decoded value into what the record holds, or raise CodecError."""
        ...


class _Plain:
    """A kind whose value looks the same on the wire."""

    def lower(self, value: Any) -> Any:
        """Return it."""
        return value

    def lift(self, value: Any, _where: str) -> Any:
        """Return it; building the record checks it."""
        return value


@dataclass(frozen=True)
class Int(_Plain):
    """An integer from `low` to `high`, both included."""

    low: int
    high: int

    def check(self, value: Any, where: str) -> None:
        """Refuse other types (booleans too) and other numbers."""
        if type(value) is not int or not self.low <= value <= self.high:
            raise CodecError(f"{where} is {value!r:.40}, not an integer from {self.low} to {self.high}")


@dataclass(frozen=True)
class Flag(_Plain):
    """True or false."""

    def check(self, value: Any, where: str) -> None:
        """Refuse other types."""
        if type(value) is not bool:
            raise CodecError(f"{where} is {value!r:.40}, not true or false")


@dataclass(frozen=True)
class Octets(_Plain):
    """A byte string of `low` to `high` bytes (`high` = `low` if not given)."""

    low: int
    high: int | None = None

    def check(self, value: Any, where: str) -> None:
        """Refuse other types and sizes; the bytes are not shown, as they may be secret."""
        high = self.low if self.high is None else self.high
        if type(value) is not bytes or not self.low <= len(value) <= high:
            raise CodecError(f"{where} is not a byte string of {self.low} to {high} bytes")


@dataclass(frozen=True)
class Sized(_Plain):
    """A byte string of one of a few sizes; which one, the reader knows from elsewhere."""

    sizes: tuple[int, ...]

    def check(self, value: Any, where: str) -> None:
        """Refuse other types and sizes; the bytes are not shown, as they may be secret."""
        if type(value) is not bytes or len(value) not in self.sizes:
            raise CodecError(f"{where} is not a byte string of {' or '.join(map(str, self.sizes))} bytes")


@dataclass(frozen=True)
class Name(_Plain):
    """A name as in protocol section 1."""

    def check(self, value: Any, where: str) -> None:
        """Refuse what is no name."""
        if type(value) is not str:
            raise CodecError(f"{where} is {value!r:.40}, not a name")
        checked_name(value, where)


@dataclass(frozen=True)
class Text(_Plain):
    """Free text of at most `high` characters, for people."""

    high: int

    def check(self, value: Any, where: str) -> None:
        """Refuse other types and sizes."""
        if type(value) is not str or len(value) > self.high:
            raise CodecError(f"{where} is not text of at most {self.high} characters")


@dataclass(frozen=True)
class OneOf(_Plain):
    """One of a few words."""

    words: tuple[str, ...]

    def check(self, value: Any, where: str) -> None:
        """Refuse other words."""
        if type(value) is not str or value not in self.words:
            raise CodecError(f"{where} is {value!r:.40}, not one of {', '.join(self.words)}")


@dataclass(frozen=True)
class Many:
    """A tuple of `low` to `high` values of one kind."""

    kind: Kind
    low: int
    high: int

    def check(self, value: Any, where: str) -> None:
        """Refuse other types, lengths, and members of another kind."""
        if type(value) is not tuple or not self.low <= len(value) <= self.high:
            raise CodecError(f"{where} is not a list of {self.low} to {self.high} entries")
        kind, check = self.kind, self.kind.check
        types = set(map(type, value))  # a SHARE has two hundred members: all are looked at together
        if type(kind) is Octets and types <= _BYTES:
            high = kind.low if kind.high is None else kind.high
            if all(kind.low <= size <= high for size in set(map(len, value))):
                return
        elif type(kind) is Sized and types <= _BYTES:
            if set(map(len, value)) <= set(kind.sizes):
                return
        elif type(kind) is Nested and types <= {kind.record}:
            return
        for item in value:
            check(item, where)

    def lower(self, value: Any) -> Any:
        """Return a list of lowered members."""
        return list(value) if isinstance(self.kind, _Plain) else [self.kind.lower(item) for item in value]

    def lift(self, value: Any, where: str) -> Any:
        """Return a tuple of lifted members."""
        if type(value) is not list or len(value) > self.high:
            raise CodecError(f"{where} is not a list of {self.low} to {self.high} entries")
        return tuple(value) if isinstance(self.kind, _Plain) else tuple(self.kind.lift(item, where) for item in value)


@dataclass(frozen=True)
class Nested:
    """Another record."""

    record: type["Record"]

    def check(self, value: Any, where: str) -> None:
        """Refuse other types; the record checked itself at birth."""
        if type(value) is not self.record:
            raise CodecError(f"{where} is not a {self.record.__name__}")

    def lower(self, value: Any) -> Any:
        """Return the record's array."""
        return value.to_wire()

    def lift(self, value: Any, _where: str) -> Any:
        """Build the record from its array."""
        return self.record.from_wire(value)


def field(kind: Kind, default: Any = dataclasses.MISSING) -> Any:
    """Declare a record's field of one kind; a default is for those who build the record, the wire has every field."""
    return dataclasses.field(metadata={"kind": kind}, default=default)


@dataclass(frozen=True, kw_only=True)
class Record:
    """The base of every value that goes over the wire."""

    LIMIT: ClassVar[int] = 65_536
    """The largest encoding in bytes; a subclass that may be larger says so."""

    def __post_init__(self) -> None:
        values = self.__dict__
        for name, kind, where in self._plan():
            kind.check(values[name], where)

    @classmethod
    def kinds(cls) -> tuple[tuple[str, Kind], ...]:
        """Return the fields in wire order, each with its kind."""
        return tuple((name, kind) for name, kind, _ in cls._plan())

    @classmethod
    def _plan(cls) -> tuple[tuple[str, Kind, str], ...]:
        """Return (name, kind, name for errors) of each field, made once per class: every letter goes through it."""
        try:
            known: tuple[tuple[str, Kind, str], ...] = cls.__dict__["_fields"]
        except KeyError:
            known = tuple((f.name, f.metadata["kind"], f"{cls.__name__}.{f.name}") for f in dataclasses.fields(cls))
            cls._fields = known
        return known

    _fields: ClassVar[Any]

    def to_wire(self) -> list[Any]:
        """Return the array of lowered fields."""
        values = self.__dict__
        return [kind.lower(values[name]) for name, kind, _ in self._plan()]

    @classmethod
    def from_wire(cls, value: Any) -> "Self":
        """Build the record from its decoded array.

        Raises:
            CodecError: not an array, another number of fields, or a field that is refused.
        """
        fields = cls._plan()
        if type(value) is not list or len(value) != len(fields):
            raise CodecError(f"{cls.__name__} is an array of {len(fields)} fields")
        named = zip(fields, value, strict=True)
        return cls(**{name: kind.lift(item, where) for (name, kind, where), item in named})

    def encode(self) -> bytes:
        """Return the one encoding."""
        return cbor.encode_checked(self.to_wire())

    @classmethod
    def decode(cls, data: bytes) -> "Self":
        """Return the record that `data` encodes.

        Raises:
            CodecError: `data` is larger than `LIMIT`, or is not the one encoding of a valid record.
        """
        return cls.from_wire(cbor.decode(data, cls.LIMIT))
