"""The files of a residual: whose they are, what is damaged, what goes from the disk, and how much is written."""

import numpy as np
import pytest

from accord.update import feedback
from edge_sdk.residual import RESIDUAL, VECTORS, Flight, Kept, Residual
from edge_sdk.session_values import Forget, Keep
from tests.edge_sdk.residual_disk import BUNDLE, SIZE, apply, update


def kept(job: str = "j", bundle: bytes = BUNDLE) -> dict[str, bytes]:
    """Return the files of a device that holds 1, 1, 1."""
    residual, files = Residual(job, bundle, SIZE), {}
    apply(files, residual.sends(bytes(32), np.ones(SIZE, np.float32)))
    apply(files, residual.settled(bytes(32), included=True))
    return files


def damaged() -> list[dict[str, bytes]]:
    files = kept()
    (vector,) = set(files) - {RESIDUAL}
    return [
        files | {RESIDUAL: files[RESIDUAL][:-1]},
        files | {RESIDUAL: b"noise"},
        files | {vector: files[vector][:-1]},
        {RESIDUAL: files[RESIDUAL]},
        {vector: files[vector]},
    ]


def test_another_job_or_bundle_or_a_damaged_file_begins_with_nothing() -> None:
    assert Residual("j", BUNDLE, SIZE, kept()).base(b"c" * 32) is not None
    for job, bundle, size, files in (
        ("other", BUNDLE, SIZE, kept()),
        ("j", b"b" * 32, SIZE, kept()),
        ("j", BUNDLE, SIZE + 1, kept()),
        *(("j", BUNDLE, SIZE, files) for files in damaged()),
    ):
        assert Residual(job, bundle, size, files).base(b"c" * 32) is None


def test_erased_is_gone_for_good() -> None:
    files = kept()
    residual = Residual("j", BUNDLE, SIZE, dict(files))
    apply(files, residual.sends(b"c" * 32, np.ones(SIZE, np.float32)))
    apply(files, residual.erase())
    assert set(files) == {RESIDUAL}
    assert residual.settled(b"c" * 32, included=True) == ()
    assert Residual("j", BUNDLE, SIZE, files).base(b"d" * 32) is None
    assert residual.erase() == ()


def test_what_is_left_behind_goes_from_the_disk_too() -> None:
    empty = Kept(job="j", bundle=BUNDLE, line=0, held=0, flights=()).encode()
    for data in (kept(job="other"), kept(bundle=b"b" * 32), *damaged()):
        for forgets in (
            Residual.tidied,
            Residual.erase,
            lambda residual: residual.only(()),
            lambda residual: residual.follows(update(0, 0)),
        ):
            residual, files = Residual("j", BUNDLE, SIZE, data), dict(data)
            apply(files, forgets(residual))
            assert files == {RESIDUAL: empty}
            assert forgets(residual) == ()


def test_what_is_left_behind_is_taken_for_no_vector_of_ones_own() -> None:
    residual, files = Residual("j", BUNDLE, SIZE, kept(job="other")), kept(job="other")
    apply(files, residual.sends(b"c" * 32, np.full(SIZE, 2, np.float32)))
    apply(files, residual.settled(b"c" * 32, included=True))
    found = Residual("j", BUNDLE, SIZE, files).base(b"d" * 32)
    assert found is not None
    assert found.tolist() == [2.0] * SIZE


def test_an_update_that_was_under_way_when_they_were_erased_leaves_nothing() -> None:
    residual = Residual("j", BUNDLE, SIZE, kept())
    residual.erase(under_way=b"c" * 32)
    assert residual.base(b"c" * 32) is None
    residual.sends(b"c" * 32, np.ones(SIZE, np.float32))
    residual.settled(b"c" * 32, included=True)
    assert residual.base(b"d" * 32) is None
    residual.sends(b"d" * 32, np.ones(SIZE, np.float32))
    residual.settled(b"d" * 32, included=True)
    assert residual.base(b"e" * 32) is not None, "what is found from then on is kept again"


@pytest.mark.parametrize(
    ("feeds", "line", "stays"), [(10, 3, True), (1, 3, True), (10, 0, False), (10, 4, False), (0, 0, False)]
)
def test_a_plan_of_its_own_line_leaves_it_and_any_other_drops_it_with_what_is_in_flight(
    feeds: int, line: int, stays: bool
) -> None:
    residual, files = Residual("j", BUNDLE, SIZE), {}
    assert residual.follows(update(10, 3)) == (), "nothing was left so far"
    apply(files, residual.sends(b"a" * 32, np.ones(SIZE, np.float32)))
    apply(files, residual.settled(b"a" * 32, included=True))
    apply(files, residual.sends(b"b" * 32, np.ones(SIZE, np.float32)))
    residual = Residual("j", BUNDLE, SIZE, dict(files))
    effects = residual.follows(update(feeds, line))
    assert (effects == ()) is stays
    apply(files, effects)
    if not stays:
        assert Kept.decode(files.pop(RESIDUAL)) == Kept(job="j", bundle=BUNDLE, line=line, held=0, flights=())
        assert not files
    residual.settled(b"b" * 32, included=True)
    assert (residual.base(b"c" * 32) is not None) is stays, "a late RESULT brings nothing back"


def test_a_round_writes_one_vector_whatever_becomes_of_it() -> None:
    """A card wears out with what is written to it: what is held already is named, and not written again."""
    for included in (True, False):
        residual = Residual("j", BUNDLE, SIZE, kept())
        residual.base(b"c" * 32)
        effects = residual.sends(b"c" * 32, np.ones(SIZE, np.float32))
        assert [e.name for e in effects if isinstance(e, Keep)] == [VECTORS[1], RESIDUAL]
        effects = residual.settled(b"c" * 32, included=included)
        assert [e.name for e in effects if isinstance(e, Keep)] == [RESIDUAL]
        assert effects[-1] == Forget(names=(VECTORS[0 if included else 1],))


def test_it_is_not_shown() -> None:
    assert repr(Residual("j", BUNDLE, SIZE, kept())) == "Residual(...)"
    data = feedback.encode(np.ones(SIZE, np.float32))
    assert repr(data) not in repr(Keep(name=VECTORS[0], data=data))
    assert Flight(context=bytes(32), before=0, after=1).before == 0
