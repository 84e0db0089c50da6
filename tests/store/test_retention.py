"""What may be deleted: files that nothing durable refers to, and the parameters that a person lets go."""

import dataclasses
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from registry_under_test import TASK, History
from test_model_cli import Desktop

from accord import cli
from accord.errors import UsageError
from accord.prg import digest
from aggregator import retention
from aggregator.advances import Kept
from aggregator.blobs import Blobs
from aggregator.job_state import JobState
from aggregator.registry import Registry
from aggregator.store import Store
from aggregator.tables import jobs, pruned
from aggregator.verification import verify

STATE = JobState(
    form=4,
    done=1,
    exponents=(0,),
    offset=3,
    support=b"s",
    powers=(),
    largest_weight=1,
    task=TASK,
    round=1,
    transcript=bytes(32),
    version=2,
    line=0,
    params=digest(b"params"),
    grid=(0,),
    residual=digest(b"residual"),
    advances=(Kept(base=bytes(32), advance=digest(b"advance")),),
)
LATER = retention.GRACE + 60
VERSIONS = retention.LEAST + 8


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(Blobs(tmp_path / "blobs"))


def test_what_a_version_or_a_job_needs_stays_and_the_rest_goes_after_its_grace(store: Store, history: History) -> None:
    blobs = history.registry.blobs
    with store.begin() as connection:
        made = history.rounds(connection, 2)
        jobs.add(connection, "k", {"bundle": blobs.put(b"of a job that waits").hex()}, 1.0)
        jobs.checkpoint(connection, "j", state=STATE.encode(), closed=1)
    kept = {history.bundle_digest, *(entry.version.params for entry in made)}
    kept |= {blobs.put(data) for data in (b"of a job that waits", b"params", b"residual", b"advance")}
    loose = blobs.put(b"put before a commit that a kill prevented")
    with store.read() as connection:
        assert retention.needed(connection) == kept
    assert retention.tidied(store, blobs, time.time()).names() == {*kept, loose}, "its commit may still come"
    assert retention.tidied(store, blobs, time.time() + LATER).names() == kept
    with store.read() as connection:
        assert verify(connection, history.registry, "j", None) == ()


def test_where_nobody_knows_what_a_job_needs_nothing_goes(
    store: Store, history: History, caplog: pytest.LogCaptureFixture
) -> None:
    blobs = history.registry.blobs
    loose = blobs.put(b"may be an older form's")
    with store.begin() as connection:
        jobs.checkpoint(connection, "j", state=STATE.encode()[:-1], closed=1)
    assert loose in retention.tidied(store, blobs, time.time() + LATER)
    assert "nothing is deleted" in caplog.text


@pytest.fixture
def long(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Desktop]:
    """A job of some forty versions, of which the third is in production."""
    desk = Desktop(tmp_path, capsys)
    with desk.store.begin() as connection:
        for number in range(4, VERSIONS + 1):
            desk.made.append(desk.history.register(connection, number, desk.made[-1]))
        statement = desk.history.registry.statement(connection, desk.made[3], "production", 2_000)
        desk.history.registry.promote(connection, desk.history.signed(statement))
    yield desk
    desk.store.close()


def there(desk: Desktop) -> list[int]:
    blobs = Blobs(desk.state / "blobs")
    return [entry.version.version for entry in desk.made if entry.version.params in blobs]


def test_old_parameters_go_and_their_records_stay_and_verify(long: Desktop) -> None:
    old = [1, 2, 4, 5, 6, 7]
    found = long.json("prune", "--keep", str(retention.LEAST + 1), "--dry-run")
    size = long.made[1].version.params_size
    assert (found["versions"], found["bytes"], found["files"]) == (old, len(old) * size, 0)
    assert there(long) == list(range(VERSIONS + 1)), "nothing went yet"
    assert long.json("prune", "--keep", str(retention.LEAST + 1))["files"] == len(old)
    assert there(long) == [0, 3, *range(8, VERSIONS + 1)], "the first, the promoted, and the newest"
    assert long.json("verify")["faults"] == []
    assert len(long.json("list")["versions"]) == VERSIONS + 1  # type: ignore[arg-type]
    assert long.json("prune", "--keep", str(retention.LEAST + 1))["versions"] == [], "once is enough"
    assert "let go" in long.run("rollback", "2", "--fleet", str(long.fleet), code=1)
    assert "let go" in long.run("export", "2", "--out", str(long.state / "m.onnx"), code=1)
    assert long.json("rollback", "3", "--fleet", str(long.fleet))["version"] == VERSIONS + 1
    (missing,) = (long.state / "blobs").glob(f"*/{long.made[3].version.params.hex()[2:]}")
    missing.unlink()
    assert [fault["version"] for fault in long.json("verify", code=1)["faults"]] == [3, VERSIONS + 1]  # type: ignore[attr-defined]


def test_a_prune_that_was_killed_before_it_deleted_is_done_at_the_next_start(long: Desktop) -> None:
    with long.store.begin() as connection:
        found = retention.prunable(connection, Registry(Blobs(long.state / "blobs")), "j", retention.LEAST)
        pruned.put(connection, "j", (entry.version.version for entry in found), 2_000.0)
    gone = [entry.version.version for entry in found]
    assert gone == [1, 2, 4, 5, 6, 7, 8]
    assert long.json("verify")["faults"] == [], "killed here: all files are there, and may be missing"
    retention.tidied(long.store, Blobs(long.state / "blobs"), time.time() + LATER)
    assert there(long) == [number for number in range(VERSIONS + 1) if number not in gone]
    assert long.json("verify")["faults"] == []


def test_versions_that_devices_get_deltas_from_are_not_let_go(long: Desktop) -> None:
    assert "deltas" in long.run("prune", "--keep", str(retention.LEAST - 1), code=1)
    assert there(long) == list(range(VERSIONS + 1))


def test_a_rollback_keeps_what_it_brought_back(long: Desktop) -> None:
    long.run("rollback", "2", "--fleet", str(long.fleet))
    assert 2 not in long.json("prune")["versions"]  # type: ignore[operator]
    assert 2 in there(long)


def test_nothing_is_noted_where_nothing_could_be_deleted(long: Desktop) -> None:
    with long.store.begin() as connection:
        jobs.checkpoint(connection, "j", state=dataclasses.replace(STATE).encode() + b"x", closed=1)
    assert "nothing is deleted" in long.run("prune", code=1)
    with long.store.read() as connection:
        assert pruned.of(connection, "j") == frozenset()
        with pytest.raises(UsageError):
            retention.needed(connection)
    assert os.listdir(long.state / "blobs")  # noqa: PTH208 - names


def test_what_is_let_go_is_promoted_and_rolled_back_to_no_more_even_before_its_file_goes(long: Desktop) -> None:
    """Else a prune that runs beside it deletes what the new record refers to."""
    with long.store.begin() as connection:
        pruned.put(connection, "j", (1, 2, 4), 2_000.0)
    refused = (
        ("rollback", "2", "--fleet", str(long.fleet)),
        ("promote", "2", "--publisher", long.publisher),
        ("promote", "4", "--publisher", long.publisher, "--stage", "staging"),
        ("promote", "4", "--request", str(long.state / "request")),
    )
    for words in refused:
        assert "let go" in long.run(*words, code=1)
    assert len(long.json("list")["versions"]) == VERSIONS + 1  # type: ignore[arg-type]
    assert long.json("promote", "5", "--publisher", long.publisher)["stage"] == "production"
    assert 5 not in long.json("prune")["versions"]  # type: ignore[operator]
    assert long.json("promote", "4", "--publisher", long.publisher, "--stage", "archived")["stage"] == "archived"


def test_an_answer_that_comes_after_the_parameters_went_promotes_nothing(
    long: Desktop, capsys: pytest.CaptureFixture[str]
) -> None:
    request, answer = long.state / "request", long.state / "answer"
    long.run("promote", "2", "--request", str(request))
    signing = ("model", "sign", str(request), "--key", long.publisher, "--root", long.root, "--out", str(answer))
    assert cli.main(list(signing)) == 0
    assert "signed" in capsys.readouterr().out
    assert 2 in long.json("prune")["versions"]  # type: ignore[operator]
    assert "let go" in long.run("promote", "--answer", str(answer), code=1)


def test_parameters_that_another_version_keeps_may_be_referred_to_again(long: Desktop) -> None:
    long.run("rollback", "2", "--fleet", str(long.fleet))
    with long.store.begin() as connection:
        pruned.put(connection, "j", (2,), 2_000.0)
    assert long.json("promote", "2", "--publisher", long.publisher)["stage"] == "production"


def test_a_job_that_is_done_stops_nobody_whoever_wrote_its_state(long: Desktop) -> None:
    with long.store.begin() as connection:
        jobs.add(connection, "old", {}, 1.0)
        jobs.checkpoint(connection, "old", state=b"of an older Accord", closed=9)
    for status in ("stopped", "failed", "waiting", "running"):
        with long.store.begin() as connection:
            jobs.set_status(connection, "old", status)
        assert "nothing is deleted" in long.run("prune", "--dry-run", code=1)
    with long.store.begin() as connection:
        jobs.set_status(connection, "old", "done")
    assert long.json("prune")["versions"] == [1, 2, 4, 5, 6, 7, 8]


def test_a_job_that_is_not_there_is_refused_by_name(long: Desktop) -> None:
    for more in ((), ("--dry-run",)):
        assert "there is no job 'k'" in long.run("prune", "--job", "k", *more, code=1)


def test_what_another_job_refers_to_stays_where_it_is(long: Desktop) -> None:
    with long.store.begin() as connection:
        jobs.add(connection, "k", {}, 1.0)
        long.history.rounds(connection, 2, "k")
    freed = 5 * long.made[1].version.params_size
    assert long.json("prune", "--job", "j", "--dry-run")["bytes"] == freed
    found = long.json("prune", "--job", "j")
    assert (found["versions"], found["bytes"]) == ([1, 2, 4, 5, 6, 7, 8], freed)
    assert found["files"] == 5, "two of them are versions 1 and 2 of the other job, too"
    assert there(long)[:4] == [0, 1, 2, 3]
    assert long.json("verify")["faults"] == []
