"""`accord audit`: what people see, and that a proof convinces somebody who has the fleet root's public key alone."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from audited_state import Audited, entry

from accord import cli
from accord.entropy import SeededEntropy
from aggregator.audit import entries, proof
from aggregator.audit.proof import AuditProof
from aggregator.enrolment import new_fleet

Run = tuple[int, str, str]


class Shell:
    """The command in this process, always with the same state folder."""

    def __init__(self, audited: Audited, capsys: pytest.CaptureFixture[str]) -> None:
        self.audited, self._capsys = audited, capsys
        self.root = audited.state / "root.pub"
        self.root.write_text(audited.fleet.root.public.hex())

    def __call__(self, action: str, *words: object) -> Run:
        state = [] if action == "check" else ["--state", str(self.audited.state)]
        self._capsys.readouterr()
        code = cli.main(["audit", action, *state, *(str(word) for word in words)])
        found = self._capsys.readouterr()
        return code, found.out, found.err


@pytest.fixture
def shell(audited: Audited, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(audited, capsys)


def test_tail_prints_the_last_entries(audited: Audited, shell: Shell) -> None:
    audited.filled(30, 7)
    code, out, _ = shell("tail")
    lines = out.splitlines()
    assert code == 0
    assert [int(line.split()[0]) for line in lines] == list(range(10, 30))
    assert lines[-1].split() == [
        "29",
        "1970-01-01",
        "00:17:09",
        "participation",
        entry(29).digest.hex()[:16],
        "job/8/1",
    ]
    assert shell("tail", "-n", 0)[1] == ""
    facts = [json.loads(line) for line in shell("tail", "-n", 2, "--json")[1].splitlines()]
    assert facts[1] == {
        "index": 29,
        "time": 1029,
        "kind": "participation",
        "subject": "job/8/1",
        "digest": entry(29).digest.hex(),
    }
    assert len(shell("tail", "-n", 99)[1].splitlines()) == 30
    assert shell("tail", "-n", -1)[0] == 1


def test_tail_leaves_out_what_is_being_written_and_names_what_is_damaged(audited: Audited, shell: Shell) -> None:
    audited.filled(3, 1)
    audited.close()
    whole = audited.entries_path.read_bytes()
    audited.entries_path.write_bytes(whole + whole[:50])
    assert len(shell("tail")[1].splitlines()) == 3
    audited.entries_path.write_bytes(whole[:-1] + b"?")
    code, out, err = shell("tail")
    assert (code, len(out.splitlines())) == (1, 2)
    assert "entry 2 is damaged: `accord audit verify` tells more" in err


def test_tail_follows_until_it_is_interrupted(audited: Audited) -> None:
    log = audited.filled(2, 1)
    words = ["audit", "tail", "--state", str(audited.state), "-f", "-n", "1", "--json"]
    process = subprocess.Popen([sys.executable, "-m", "accord", *words], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["index"] == 1
    log.append(entry(2), entry(3))
    assert [json.loads(process.stdout.readline())["index"] for _ in range(2)] == [2, 3]
    process.send_signal(signal.SIGINT)
    assert process.communicate()[0] == ""
    assert process.returncode == 0


def test_a_reader_that_has_had_enough_is_no_error(audited: Audited) -> None:
    audited.filled(2_000, 2_000)
    command = f"{sys.executable} -m accord audit tail --state {audited.state} -n 2000 | head -n 1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=True)
    assert (done.stderr, len(done.stdout.splitlines())) == ("", 1)


def test_verify_tells_that_the_log_holds(audited: Audited, shell: Shell) -> None:
    log = audited.filled(8, 4)
    kept = audited.state / "kept"
    kept.write_bytes(log.checkpoint())
    log.append(entry(8))
    code, out, err = shell("verify", "--root", shell.root, "--checkpoint", kept)
    assert (code, err) == (0, "")
    assert out.splitlines()[:2] == [
        "the log holds: 9 entries, as 3 signed checkpoints say",
        "  4 participation, 3 plan, 2 release",
    ]
    assert "  not signed yet: 1" in out
    assert "on trust" not in out
    assert "on trust: give the fleet root's public key with --root" in shell("verify")[1]
    fact = json.loads(shell("verify", "--json")[1])
    assert fact == {
        "ok": True,
        "entries": 9,
        "signed": 8,
        "checkpoints": 2,
        "root": fact["root"],
        "kinds": {"participation": 4, "plan": 3, "release": 2},
        "entry": None,
        "problem": None,
    }


def test_verify_names_what_does_not_fit(audited: Audited, shell: Shell) -> None:
    kept = audited.filled(8, 2).checkpoint()
    leaves = audited.leaves()
    audited.rewrite([*leaves[:5], *leaves[6:]])
    code, out, err = shell("verify")
    assert (code, out) == (1, "")
    assert "accord: the log does not hold: one of the entries 4 to 5 is not what was signed: checkpoint 2" in err
    code, out, _ = shell("verify", "--json")
    fact = json.loads(out)
    assert (code, fact["ok"], fact["entry"], fact["signed"]) == (1, False, 4, 4)
    audited.rewrite(leaves[:6])
    (audited.state / "audit" / "checkpoints").write_bytes(b"")
    assert shell("verify")[0] == 0, "alone it looks right"
    shown = audited.state / "kept"
    shown.write_bytes(kept)
    code, _, err = shell("verify", "--checkpoint", shown)
    assert code == 1
    assert f"entry 6 is missing: {shown} is of 8 entries, and 6 are here" in err


def test_verify_believes_only_the_root(audited: Audited, shell: Shell) -> None:
    audited.filled(4, 2)
    stranger = new_fleet("t", SeededEntropy(9), 5_000)
    other = audited.state / "other"
    other.write_bytes(stranger.roles())
    code, _, err = shell("verify", "--roles", other)
    assert code == 1
    assert "is not signed by the aggregator of the roles documents at hand: give the one of that time" in err
    shell.root.write_text(stranger.root.public.hex())
    code, _, err = shell("verify", "--root", shell.root)
    assert code == 1
    assert "NotTheRoot" in err
    shell.root.write_text("not a key")
    assert "it is the fleet's root.pub" in shell("verify", "--root", shell.root)[2]


def test_a_folder_without_a_log_says_what_to_give(tmp_path: Path, audited: Audited, shell: Shell) -> None:
    assert "holds no audit log: give the aggregator's state folder with --state" in shell("verify")[2]
    audited.log()
    assert "the log holds: 0 entries" in shell("verify")[1]
    assert "no checkpoint was signed yet" in shell("prove", "--entry", 0, "--out", tmp_path / "p")[2]
    (audited.state / "audit" / "roles" / "1").unlink()
    assert "holds no roles document: give one with --roles" in shell("verify")[2]
    (audited.state / "roles").write_bytes(audited.fleet.roles())
    assert shell("verify", "--roles", audited.state / "roles")[0] == 0


@pytest.mark.parametrize(
    ("which", "expected"),
    [
        (("--entry", "5"), [5]),
        (("--release", "2"), [7]),
        (("--release", "job/2"), [7]),
        (("--round", "job/2"), [4, 5, 6]),
    ],
)
def test_what_is_proven_is_checked_without_the_log(
    audited: Audited, shell: Shell, which: tuple[str, str], expected: list[int]
) -> None:
    audited.filled(50, 10)
    out = audited.state / "proof"
    code, text, _ = shell("prove", *which, "--out", out)
    assert code == 0
    assert f"{len(expected)} entries of a log of 50" in text
    assert json.loads(shell("prove", *which, "--out", out, "--json")[1])["entries"] == expected
    for path in (audited.state / "audit").rglob("*"):
        if path.is_file():
            path.unlink()
    code, text, _ = shell("check", out, "--root", shell.root)
    assert code == 0
    assert text.startswith("proven: in the log of tenant t, 50 entries, root ")
    assert [int(line.split()[0]) for line in text.splitlines()[1:]] == expected
    fact = json.loads(shell("check", out, "--root", shell.root, "--json")[1])
    assert [found["index"] for found in fact["entries"]] == expected
    assert fact["entries"][0]["digest"] == entry(expected[0]).digest.hex()
    document = audited.state / "document"
    document.write_bytes(b"%d" % expected[0])
    fact = json.loads(shell("check", out, "--root", shell.root, "--json", "--document", document)[1])
    assert [found["index"] for found in fact["entries"]] == expected[:1]
    document.write_bytes(b"another")
    assert "ForeignDocument" in shell("check", out, "--root", shell.root, "--document", document)[2]


def test_what_can_not_be_proven_says_why(audited: Audited, shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    log, out = audited.filled(8, 4), audited.state / "proof"
    log.append(entry(8))
    for which in (("--entry", 8), ("--entry", -1), ("--release", 9), ("--release", "x/1"), ("--round", "job/9")):
        code, _, err = shell("prove", *which, "--out", out)
        assert code == 1
        assert "no such entry is in the log of 8 that was signed last; newer ones wait for a plan" in err
    assert "is not JOB/ROUND, such as job/3" in shell("prove", "--round", "job", "--out", out)[2]
    monkeypatch.setattr(proof, "MOST", 2)
    assert "prove them with --entry" in shell("prove", "--round", "job/1", "--out", out)[2]
    leaves = audited.leaves()
    audited.rewrite([leaves[1], leaves[0], *leaves[2:]])
    assert "the log is not what was signed" in shell("prove", "--entry", 5, "--out", out)[2]
    assert not out.exists()


def test_a_proof_that_was_changed_does_not_hold(audited: Audited, shell: Shell) -> None:
    audited.filled(20, 10)
    out = audited.state / "proof"
    shell("prove", "--round", "job/2", "--out", out)
    data = out.read_bytes()
    for at in range(0, len(data), 7):
        out.write_bytes(data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :])
        assert shell("check", out, "--root", shell.root)[0] == 1
    found = AuditProof.decode(data)
    stranger = new_fleet("t", SeededEntropy(9), 5_000)
    cases = {
        "NotTheRoot": AuditProof(roles=stranger.roles(), checkpoint=found.checkpoint, entries=found.entries),
        "ForeignCheckpoint": AuditProof(roles=found.roles, checkpoint=stranger.checkpoint(), entries=found.entries),
        "NotInLog": AuditProof(roles=found.roles, checkpoint=audited.fleet.checkpoint(), entries=found.entries),
    }
    for reason, case in cases.items():
        out.write_bytes(case.encode())
        code, text, err = shell("check", out, "--root", shell.root)
        assert (code, text) == (1, "")
        assert reason in err


def test_the_round_and_its_commitments_are_proven_and_name_nobody(audited: Audited, shell: Shell) -> None:
    log, subject = audited.log(), entries.attempt("j", 1, 1)
    salt = b"s" * 32
    made = entries.commitment(salt, "dev-1", "j", 1, 1)
    log.append(entries.of_participation(9, subject, made))
    log.checkpoint()
    out = audited.state / "proof"
    shell("prove", "--round", "j/1", "--out", out)
    data = out.read_bytes()
    assert b"dev-1" not in data
    proven = proof.check(AuditProof.decode(data), audited.fleet.root.public)
    assert proven.entries[0][1].digest == made


def test_missing_files_are_named(audited: Audited, shell: Shell) -> None:
    code, _, err = shell("check", audited.state / "nothing", "--root", shell.root)
    assert code == 1
    assert "nothing can't be read: No such file" in err


def test_a_long_log_shows_how_far_it_is(audited: Audited) -> None:
    log = audited.log()
    log.append(*(entry(number) for number in range(60_000)))
    log.checkpoint()
    command = f"{sys.executable} -m accord audit verify --state {audited.state}"
    done = subprocess.run(
        ["script", "-qec", command, "/dev/null"], capture_output=True, text=True, check=True, env={"TERM": "xterm"}
    )
    assert "verifying" in done.stdout
    assert "the log holds: 60000 entries" in done.stdout
