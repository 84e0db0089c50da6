"""A value is a dataclass in all that can be seen of it; only how its class is made is another."""

import ast
import copy
import dataclasses
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accord import values

ROOT = Path(__file__).parent.parent.parent
HOW = {"ours": values.dataclass, "the library's": dataclasses.dataclass}


def made(how: str) -> type[Any]:
    """Return one class, made in one of the two ways."""

    class Pair:
        """Two numbers and what is not compared."""

        first: int
        second: int = 2
        words: list[str] = dataclasses.field(default_factory=list, compare=False)
        secret: bytes = dataclasses.field(default=b"", repr=False)

        def __post_init__(self) -> None:
            if self.first < 0:
                raise ValueError("first is negative")

    Pair.__qualname__ = "Pair"
    return HOW[how](frozen=True, kw_only=True)(Pair)


OURS, THEIRS = (made(how) for how in HOW)
GIVEN = st.fixed_dictionaries(
    {},
    optional={
        "first": st.integers(-1, 2),
        "second": st.integers(0, 2),
        "words": st.lists(st.sampled_from("ab"), max_size=1),
        "secret": st.sampled_from([b"", b"s"]),
        "other": st.none(),
    },
)


def outcome(kind: type[Any], named: dict[str, Any]) -> object:
    """Return what a class makes of some values, or the class of the error."""
    try:
        found = kind(**named)
    except (TypeError, ValueError) as error:
        return type(error)
    return repr(found), dataclasses.asdict(found), hash(found)


@given(GIVEN, GIVEN)
def test_it_takes_shows_and_compares_what_the_librarys_does(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert outcome(OURS, one) == outcome(THEIRS, one)
    if isinstance(outcome(OURS, one), tuple) and isinstance(outcome(OURS, other), tuple):
        assert (OURS(**one) == OURS(**other)) is (THEIRS(**one) == THEIRS(**other))
        assert OURS(**one) != THEIRS(**one)
        changed = dataclasses.replace(OURS(**one), **other)
        assert repr(changed) == repr(dataclasses.replace(THEIRS(**one), **other))


@pytest.mark.parametrize("how", HOW)
def test_nothing_can_be_changed_and_everything_can_be_copied(how: str) -> None:
    found = made(how)(first=1, words=["a"])
    for change in (
        lambda: setattr(found, "first", 2),
        lambda: setattr(found, "new", 2),
        lambda: delattr(found, "first"),
    ):
        with pytest.raises(dataclasses.FrozenInstanceError):
            change()
    assert copy.deepcopy(found) == found
    assert copy.deepcopy(found).words is not found.words
    assert made(how)(first=1).words is not made(how)(first=1).words
    assert [f.name for f in dataclasses.fields(found)] == ["first", "second", "words", "secret"]
    assert "secret" not in repr(made(how)(first=1, secret=b"!"))


@values.dataclass(frozen=True)
class Point:
    """Given in order or by name."""

    x: int
    y: int = 0


@values.dataclass(frozen=True)
class Named(Point):
    """One more, with a repr of its own."""

    name: str = ""

    def __repr__(self) -> str:
        return self.name


@values.dataclass(frozen=True, kw_only=True, eq=False)
class Itself:
    """Equal to nothing but itself."""

    x: int


def test_values_in_order() -> None:
    assert Point(1, y=2) == Point(x=1, y=2) != Point(1)
    assert pickle.loads(pickle.dumps(Point(1, 2))) == Point(1, 2)
    assert {Point(1): "a"}[Point(1, 0)] == "a"
    for bad in (lambda: Point(1, 2, 3), lambda: Point(1, x=1), Point, lambda: Itself(1)):  # type: ignore[call-arg, misc]
        with pytest.raises(TypeError):
            bad()


def test_a_class_adds_to_its_base_and_keeps_its_own_methods() -> None:
    assert repr(Named(1, 2, "here")) == "here"
    assert Named(1, 2) != Point(1, 2)
    assert [f.name for f in dataclasses.fields(Named)] == ["x", "y", "name"]
    one = Itself(x=1)
    assert one == one  # noqa: PLR0124 - that it is equal to itself alone is the point
    assert one != Itself(x=1)
    assert len({one, Itself(x=1)}) == 2


def test_what_can_be_changed_is_not_made_here() -> None:
    with pytest.raises(TypeError, match="standard library"):
        values.value(frozen=False)


def test_a_device_compiles_no_methods_at_its_start() -> None:
    """Values of these two packages are made here, or a device would start more slowly with each one."""
    for path in [*(ROOT / "accord").rglob("*.py"), *(ROOT / "edge_sdk").rglob("*.py")]:
        tree = ast.parse(path.read_text())
        library = {
            alias.asname or alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and node.module == "dataclasses" and path.name != "values.py"
            for alias in node.names
        } | {"dataclasses.dataclass"}
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                for decorator in node.decorator_list:
                    if isinstance(decorator, ast.Call) and any(word.arg == "frozen" for word in decorator.keywords):
                        name = ast.unparse(decorator.func)
                        assert name not in library, f"{path}:{node.lineno}: import dataclass from accord.values"
