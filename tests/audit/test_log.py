"""The log: appends, signs, proves; comes back after a crash; never signs a fork of itself."""

from dataclasses import replace
from pathlib import Path

import pytest
from audited_state import Audited, entry

from accord import cbor, merkle, prg
from accord.entropy import SeededEntropy
from accord.errors import CodecError, LocalProtocolError, Refusal
from accord.files import Disk, FileError
from accord.files.crash_points import crash_points
from accord.signing import SigningKey
from accord.wire.envelope import Envelope, seal
from accord.wire.messages import TAG_OF, Checkpoint, Release, Roles, opened
from aggregator.audit import entries
from aggregator.audit.entries import AuditEntry
from aggregator.audit.folder import AuditFiles, AuditFolder
from aggregator.audit.log import AuditError, AuditLog
from aggregator.audit.salts import Salts
from aggregator.audit.verification import verify
from aggregator.enrolment import new_fleet
from tests.plans import PLAN


def head(checkpoint: bytes, key: bytes) -> Checkpoint:
    letter = Envelope.decode(checkpoint)
    letter.check(key)
    assert (letter.sender, letter.recipient) == ("aggregator", "t")
    return opened(letter, Checkpoint)


def test_an_empty_log_has_the_checkpoint_that_a_new_fleet_has(audited: Audited) -> None:
    log = audited.log()
    assert log.checkpoint() == audited.fleet.checkpoint()
    assert log.consistency(0, 0) == ()
    assert log.read(0, 10) == []


def test_each_checkpoint_continues_the_ones_before(audited: Audited) -> None:
    log = audited.log()
    heads = [head(log.checkpoint(), audited.fleet.aggregator.public)]
    for number in range(20):
        assert log.append(entry(2 * number), entry(2 * number + 1)) == 2 * number
        data = log.checkpoint()
        assert log.checkpoint() is data, "the same bytes until there is a new entry"
        heads.append(head(data, audited.fleet.aggregator.public))
    assert [h.size for h in heads] == list(range(0, 41, 2))
    for new in heads:
        for old in heads[: heads.index(new) + 1]:
            proof = log.consistency(old.size, new.size)
            merkle.check_consistency(old.size, old.root, new.size, new.root, proof)
    for index in range(40):
        assert log.read(index, index + 1) == [entry(index)]
        leaf = merkle.leaf_hash(entry(index).encode())
        merkle.check_inclusion(leaf, index, 40, heads[-1].root, log.inclusion(index, 40))
    assert len(log.read(30, 99)) == 10


def test_what_is_not_in_the_log_is_refused_by_name(audited: Audited) -> None:
    log = audited.filled(5, 5)
    for call in (
        lambda: log.consistency(6, 6),
        lambda: log.consistency(3, 6),
        lambda: log.consistency(6, 5),
        lambda: log.consistency(-1, 5),
        lambda: log.inclusion(5, 5),
        lambda: log.inclusion(0, 6),
        lambda: log.inclusion(-1, 5),
    ):
        with pytest.raises(Refusal, match="LogBehind"):
            call()


def test_a_restart_goes_on_where_the_disk_was(audited: Audited) -> None:
    data = audited.filled(6, 4).checkpoint()
    again = audited.log()
    assert again.size == 6
    assert again.checkpoint() == data
    assert again.append(entry(6)) == 6
    report = audited.report(before=data)
    assert (report.finding, report.entries, report.signed) == (None, 7, 6)


def test_a_power_cut_at_any_byte_never_loses_what_was_signed(audited: Audited) -> None:
    log = audited.filled(4, 2)
    log.append(entry(4), entry(5))
    audited.close()
    whole = audited.entries_path.read_bytes()
    ends = [frame.end for frame in AuditFiles(audited.state).entries()]
    for size in range(ends[3], len(whole) + 1):
        audited.entries_path.write_bytes(whole[:size])
        log = audited.log()
        assert log.size == sum(end <= size for end in ends)
        signed = head(log.checkpoint(), audited.fleet.aggregator.public)
        old = merkle.root([entry(number).encode() for number in range(4)])
        merkle.check_consistency(4, old, signed.size, signed.root, log.consistency(4, signed.size))
        audited.close()
        keep = audited.state / "audit" / "checkpoints"
        kept = [frame for frame in AuditFiles(audited.state).checkpoints() if frame.index < 2]
        keep.write_bytes(keep.read_bytes()[: kept[-1].end])
    audited.entries_path.write_bytes(whole[: ends[3] - 1])
    with pytest.raises(FileError, match="record 3 of 4 is damaged or missing: bring back a newer copy"):
        audited.log()


def test_roles_never_go_back(audited: Audited) -> None:
    newer = replace(audited.fleet, roles_version=2)
    folder = AuditFolder(audited.state)
    folder.keep_roles(newer.roles())
    folder.keep_roles(newer.roles())
    with pytest.raises(FileError, match="bring back the newest") as found:
        folder.keep_roles(audited.fleet.roles())
    assert found.value.reason == "OldRoles"
    folder.close()


def test_wherever_the_power_goes_the_log_continues_every_checkpoint_that_it_gave_out() -> None:
    fleet, state = new_fleet("t", SeededEntropy(1), 5_000), Path("/state")
    given_out: list[bytes] = []

    def run(disk: Disk) -> None:
        given_out.clear()
        folder = AuditFolder(state, disk)
        folder.keep_roles(fleet.roles())
        log = AuditLog(folder, key=fleet.aggregator, tenant="t")
        for number in range(3):
            given_out.append(log.checkpoint())
            log.append(entry(3 * number), entry(3 * number + 1))
            log.append(entry(3 * number + 2))
        given_out.append(log.checkpoint())

    points = 0
    for point, how, disk in crash_points(run, lambda disk: disk.make_folder(state)):
        points = point
        log = AuditLog(AuditFolder(state, disk), key=fleet.aggregator, tenant="t")
        for data in given_out:
            old = head(data, fleet.aggregator.public)
            new = head(log.checkpoint(), fleet.aggregator.public)
            merkle.check_consistency(old.size, old.root, new.size, new.root, log.consistency(old.size, new.size))
        assert log.read(0, 99) == [entry(number) for number in range(log.size)], (point, how)
        log.append(entry(log.size))
        log.checkpoint()
        files = AuditFiles(state, disk)
        roles = [opened(Envelope.decode(fleet.roles()), Roles)]
        assert verify(files.entries(), files.checkpoints(), roles).finding is None
    assert points > 30


def test_a_checkpoint_that_was_being_written_is_written_again(audited: Audited) -> None:
    data = audited.filled(6, 3).checkpoint()
    audited.close()
    path = audited.state / "audit" / "checkpoints"
    path.write_bytes(path.read_bytes()[:-1])
    folder = AuditFolder(audited.state)
    assert folder.cut > 0
    folder.close()
    assert audited.log().checkpoint() == data
    assert audited.report().finding is None


def test_an_aggregator_does_not_sign_a_log_that_was_changed_under_it(audited: Audited) -> None:
    audited.filled(6, 3)
    leaves = audited.leaves()
    audited.rewrite([*leaves[:2], entry(99).encode(), *leaves[3:]])
    with pytest.raises(AuditError, match="not the one of 6 entries that was signed last"):
        audited.log()
    audited.rewrite(leaves[:5])
    with pytest.raises(FileError, match="record 5 of 6 is damaged or missing"):
        audited.log()


def test_a_new_key_signs_only_after_its_roles_were_logged(audited: Audited) -> None:
    audited.filled(2, 1)
    audited.close()
    folder, key = AuditFolder(audited.state), SigningKey(b"n" * 32)
    log = AuditLog(folder, key=key, tenant="t")
    with pytest.raises(LocalProtocolError, match="only after its roles document was logged"):
        log.checkpoint()
    log.append(entries.of_roles(9, audited.fleet.roles()))
    assert head(log.checkpoint(), key.public).size == 3
    folder.close()


def test_two_aggregators_do_not_write_one_log(audited: Audited) -> None:
    audited.log()
    with pytest.raises(FileError, match="another process"):
        AuditFolder(audited.state)


def test_entries_say_what_they_are_about(audited: Audited) -> None:
    fleet = audited.fleet
    plan = replace(PLAN, round=3, attempt=2).encode()
    message = Release(
        job="j",
        version=4,
        round=3,
        bundle_digest=bytes(32),
        bundle_size=1,
        params_digest=bytes(32),
        params_size=1,
        transcript=bytes(32),
    )
    release = seal(TAG_OF[Release], message.encode(), key=fleet.aggregator, sender="aggregator", recipient="j").encode()
    certificate, revocations = fleet.certificate("dev-1", bytes(32), 1), fleet.revocations(7, (3,))
    made = [
        (entries.of_enrolment(9, certificate), "enrolment", "dev-1", certificate),
        (entries.of_revocation(9, revocations), "revocation", "7", revocations),
        (entries.of_roles(9, fleet.roles()), "roles", "1", fleet.roles()),
        (entries.of_plan(9, plan), "plan", "j/3/2", plan),
        (entries.of_release(9, release), "release", "j/4", release),
        (entries.of_promotion(9, "j", 4, b"signed"), "promotion", "j/4", b"signed"),
        (entries.of_rollback(9, "j", 5, b"stated"), "rollback", "j/5", b"stated"),
        (entries.of_refusal(9, "dev-1", "BadShare", "\x1b[2J"), "refusal", "dev-1 BadShare", b"\x1b[2J"),
    ]
    for found, kind, subject, about in made:
        assert (found.kind, found.subject, found.digest) == (kind, subject, prg.digest(about))
        assert AuditEntry.decode(found.encode()) == found
    bar = entries.of_bar(9, "dev-1", b"k" * 32, "SeenTwice")
    assert (bar.kind, bar.subject) == ("bar", "dev-1 SeenTwice")
    assert bar.digest == prg.digest(cbor.encode(["accord/1/bar", "dev-1", b"k" * 32, "SeenTwice"]))
    assert entries.of_bundle(9, "j", b"d" * 32).digest == b"d" * 32
    assert {found.kind for found, *_ in made} | {"bundle", "participation", "bar"} == set(entries.KINDS)
    for subject in ("", "\x1b[2J", "é", "a\nb"):
        with pytest.raises(CodecError, match="printable"):
            AuditEntry(kind="plan", time=1, subject=subject, digest=bytes(32))


def test_erasure_deletes_a_salt_and_the_log_stays_valid(audited: Audited) -> None:
    folder = audited.state / "audit" / "salts"
    salts, log = Salts(folder, SeededEntropy(3)), audited.log()
    devices = ["dev-1", "dev-2"]
    made = {device: salts.commit(device, "j", 1, 1) for device in devices}
    subject = entries.attempt("j", 1, 1)
    log.append(*(entries.of_participation(9, subject, made[device]) for device in devices))
    log.checkpoint()
    again = Salts(folder, SeededEntropy(4))
    assert again.commit("dev-1", "j", 1, 1) == made["dev-1"], "asked again after a restart: the same"
    assert len({again.commit("dev-1", job, n, t) for job in "jk" for n in (1, 2) for t in (1, 2)}) == 8
    for device in devices:
        salt = again.salt(device, "j", 1, 1)
        assert salt is not None
        assert entries.commitment(salt, device, "j", 1, 1) == made[device]
        assert entries.commitment(salt, "dev-3", "j", 1, 1) != made[device]
    secret = (folder / "dev-1").read_bytes()
    assert again.erase("dev-1")
    assert not again.erase("dev-1")
    assert again.salt("dev-1", "j", 1, 1) is None
    assert again.salt("dev-2", "j", 1, 1) is not None
    left = b"".join(path.read_bytes() for path in Path(audited.state).rglob("*") if path.is_file())
    assert secret not in left
    assert b"dev-1" not in left
    assert again.commit("dev-1", "j", 1, 1) != made["dev-1"]
    assert audited.report().finding is None
