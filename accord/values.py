"""Frozen values whose methods are shared code: a dataclass in all but how it is made. Holds no rule about any value.

The standard library writes and compiles six methods for each class. A device has a hundred classes, and that was nearly
half of the time that it took to start.
"""

import dataclasses
from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypeVar

_Made = TypeVar("_Made")


def value(*, frozen: bool, kw_only: bool = False, eq: bool = True) -> Callable[[type[_Made]], type[_Made]]:
    """Make a class a frozen dataclass, with `fields`, `replace` and `asdict` as ever.

    Fields are given to the constructor, all of them; there is no `init=False`, `order` or `slots`. Methods that the
    class or `__post_init__` defines are kept.

    Args:
        frozen: must be true, and is written where the class is, as readers and type checkers look for it there.
        kw_only: whether fields are given by name only.
        eq: whether equal fields make equal values; else two values are two.
    """
    if not frozen:
        raise TypeError("use the standard library's dataclass for what can be changed")

    def made(cls: type[_Made]) -> type[_Made]:
        own = {name for name, method in vars(cls).items() if method is not None}  # __eq__ alone sets __hash__ to None
        bare = dataclasses.dataclass(cls, init=False, repr=False, eq=False, match_args=False, kw_only=kw_only)
        fields = dataclasses.fields(bare)  # type: ignore[arg-type]
        methods: dict[str, Any] = {"__repr__": _repr([f.name for f in fields if f.repr])}
        if eq:
            methods |= _compared([f.name for f in fields if f.compare])
        methods = {name: method for name, method in methods.items() if name not in own}
        methods |= {"__init__": _init(fields, kw_only=kw_only), "__setattr__": _refuse, "__delattr__": _refuse}
        for name, method in methods.items():
            setattr(bare, name, method)
        return bare

    return made


if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass  # noqa: PLC0414 - checkers know its fields, and `replace`
else:
    dataclass = value


def _init(fields: tuple[dataclasses.Field[Any], ...], *, kw_only: bool) -> Callable[..., None]:
    names = tuple(field.name for field in fields)
    asked = frozenset(names)
    order = () if kw_only else names
    defaults = {field.name: field.default for field in fields if field.default is not dataclasses.MISSING}
    factories = {
        field.name: field.default_factory for field in fields if field.default_factory is not dataclasses.MISSING
    }

    def complete(self: object, given: tuple[Any, ...], values: Mapping[str, Any]) -> dict[str, Any]:
        if len(given) > len(order):
            raise TypeError(f"{type(self).__name__} takes {len(order)} values without a name, not {len(given)}")
        placed = dict(zip(order, given, strict=False))
        if twice := placed.keys() & values.keys():
            raise TypeError(f"{type(self).__name__} is given {', '.join(sorted(twice))} twice")
        found = {**defaults, **placed, **values}
        found |= {name: make() for name, make in factories.items() if name not in found}
        if unknown := found.keys() - asked:
            raise TypeError(f"{type(self).__name__} has no {', '.join(sorted(unknown))}")
        if missing := [name for name in names if name not in found]:
            raise TypeError(f"{type(self).__name__} needs {', '.join(missing)}")
        return found

    def __init__(self: Any, *given: Any, **values: Any) -> None:  # noqa: N807 - it becomes that
        if given or values.keys() != asked:
            plain = {**defaults, **values}
            values = complete(self, given, values) if given or plain.keys() != asked else plain
        self.__dict__.update(values)
        after = getattr(self, "__post_init__", None)
        if after is not None:
            after()

    return __init__


def _repr(names: list[str]) -> Callable[[object], str]:
    def __repr__(self: object) -> str:  # noqa: N807 - it becomes that
        shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in names)
        return f"{type(self).__qualname__}({shown})"

    return __repr__


def _compared(names: list[str]) -> dict[str, Any]:
    values = attrgetter(*names) if names else lambda _self: ()

    def __eq__(self: object, other: object) -> bool:  # noqa: N807 - it becomes that
        return values(self) == values(other) if type(other) is type(self) else NotImplemented

    def __hash__(self: object) -> int:  # noqa: N807 - it becomes that
        return hash(values(self))

    return {"__eq__": __eq__, "__hash__": __hash__}


def _refuse(self: object, name: str, *_value: object) -> None:
    raise dataclasses.FrozenInstanceError(f"{type(self).__name__}.{name} can't be changed: use dataclasses.replace")
