"""Whether a registry can be believed: signatures, digests, chain, transcripts and stages of every version of a job.

It cannot see that the newest versions or promotions were cut off: for that compare the newest digest with the one in
the audit log or in a release that a device has kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, select

from accord.bundle.archive import read_bundle
from accord.errors import AccordError, CodecError, Refusal, SignatureError
from accord.records import RecordType
from accord.wire.envelope import Envelope
from accord.wire.messages import Roles, opened
from accord.wire.versions import Measurement, Promotion, Version, transcript_of
from aggregator.registry import Registry
from aggregator.registry_values import FIRST_STAGE, NEXT_STAGES, stages_after
from aggregator.schema import MEASUREMENTS, PROMOTIONS, ROLES, VERSIONS
from aggregator.tables import pruned


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Something that does not hold: the stable name of the rule, and a sentence. `version` is None for a whole job."""

    job: str
    version: int | None
    rule: str
    detail: str


def verify(connection: Connection, registry: Registry, job: str, root: bytes | None) -> tuple[Fault, ...]:
    """Return everything that is wrong with a job's versions; nothing if they can be believed.

    Args:
        connection: in a transaction.
        registry: whose blobs are read, every one that a version names.
        job: its name.
        root: the fleet root's public key, 32 bytes, that must have signed the roles documents; None leaves that open.
    """
    return _Check(connection, registry, job, root).run()


class _Check:
    """One pass over the rows of one job."""

    def __init__(self, connection: Connection, registry: Registry, job: str, root: bytes | None) -> None:
        self._connection, self._registry, self._job = connection, registry, job
        self._faults: list[Fault] = []
        self._roles = self._documents(root)
        self._versions: dict[int, Version] = {}
        self._whole: set[bytes] = set()
        self._pruned = pruned.of(connection, job)

    def run(self) -> tuple[Fault, ...]:
        rows = self._rows(VERSIONS, VERSIONS.c.version)
        for place, row in enumerate(rows):
            if row.version != place:
                self._fault(
                    place, "MissingVersion", f"version {row.version} is where {place} belongs: a row was removed"
                )
                break
        for row in rows:
            self._version(row)
        self._stages(rows)
        for row in self._rows(MEASUREMENTS, MEASUREMENTS.c.version):
            self._measured(row)
        return tuple(self._faults)

    def _rows(self, table: Any, order: Any) -> Sequence[Row[Any]]:
        return self._connection.execute(select(table).where(table.c.job == self._job).order_by(order)).all()

    def _fault(self, version: int | None, rule: str, detail: str) -> None:
        self._faults.append(Fault(job=self._job, version=version, rule=rule, detail=detail))

    def _documents(self, root: bytes | None) -> dict[int, Roles]:
        found = {}
        for row in self._connection.execute(select(ROLES)):
            try:
                letter = Envelope.decode(row.letter)
                roles = opened(letter, Roles)
                if root is not None:
                    letter.check(root)
                found[roles.version] = roles
            except (CodecError, SignatureError) as error:
                self._fault(None, "NotTheRoot", f"roles document {row.version} is not the fleet root's: {error}")
        return found

    def _letter(
        self, data: bytes, record: type[RecordType], version: int, signer: str, rule: str
    ) -> tuple[RecordType, Roles] | None:
        """Return what a letter says and the roles under which it was signed, if both hold."""
        try:
            letter = Envelope.decode(data)
            message: Any = opened(letter, record)
            roles = self._roles.get(message.roles_version)
            if roles is not None:
                letter.check(getattr(roles, signer))
        except (CodecError, SignatureError) as error:
            self._fault(version, rule, str(error))
            return None
        if roles is None:
            self._fault(version, rule, f"roles document {message.roles_version} can't be believed or is not there")
            return None
        if (letter.sender, letter.recipient) != (signer, self._job):
            self._fault(version, rule, f"it is a letter of {letter.sender} to {letter.recipient}")
            return None
        return message, roles

    def _version(self, row: Row[Any]) -> None:
        found = self._letter(row.letter, Version, row.version, "aggregator", "BadSignature")
        if found is None:
            return
        version, roles = found
        said = (version.job, version.version, version.digest.hex(), version.parent.hex() or None, version.round)
        if (*said, version.params.hex(), version.bundle.hex()) != (
            row.job, row.version, row.digest, row.parent, row.round, row.params, row.bundle
        ):  # fmt: skip
            self._fault(row.version, "RowDiffers", "the row says something else than the record that was signed")
        if version.tenant != roles.tenant or version.time >= roles.expires:
            self._fault(row.version, "ForeignRoles", "it is of another tenant, or its roles document had ended")
        self._versions[version.version] = version
        self._chain(version)
        self._content(version)

    def _chain(self, version: Version) -> None:
        number, before = version.version, self._versions.get(version.version - 1)
        if number and (before is None or version.parent != before.digest):
            self._fault(number, "BrokenChain", f"its parent is not version {number - 1} as that is now")
        if not number and version.parent and not self._known(version.parent):
            self._fault(number, "BrokenChain", "its parent, of another job, is not in the registry")
        if version.origin == "rollback":
            old = next((v for v in self._versions.values() if v.digest == version.restored), None)
            if old is None or (old.params, old.bundle) != (version.params, version.bundle):
                self._fault(number, "BrokenRollback", "it does not bring back what the version that it names holds")
        if version.origin == "round":
            made = transcript_of(version.previous, version.plan, version.cohorts)
            if made != version.transcript:
                self._fault(number, "WrongTranscript", "its transcript is not that of its plan and cohorts")

    def _known(self, digest: bytes) -> bool:
        query = select(VERSIONS.c.version).where(VERSIONS.c.digest == digest.hex())
        return self._connection.execute(query).first() is not None

    def _content(self, version: Version) -> None:
        blobs = self._registry.blobs
        let_go = version.version in self._pruned and version.params not in blobs
        try:
            if not let_go and len(blobs.get(version.params)) != version.params_size:
                self._fault(version.version, "DamagedParams", "its parameters have another size")
        except AccordError as error:
            self._fault(version.version, "DamagedParams", str(error))
        if version.bundle in self._whole:
            return
        try:
            data = blobs.get(version.bundle)
        except AccordError as error:
            self._fault(version.version, "DamagedBundle", str(error))
            return
        wrong = ""
        for publisher in {known.publisher for known in self._roles.values()}:  # its key may have changed since
            try:
                read_bundle(data, publisher=publisher)
            except Refusal as error:
                wrong = str(error)
            else:
                self._whole.add(version.bundle)
                return
        self._fault(version.version, "ForeignBundle", f"its bundle is not one of the publisher's: {wrong}")

    def _stages(self, rows: Sequence[Row[Any]]) -> None:
        """Work the stages out anew from what the publisher has signed."""
        promotions: list[Promotion] = []
        for place, row in enumerate(self._rows(PROMOTIONS, PROMOTIONS.c.number), 1):
            found = self._letter(row.letter, Promotion, row.version, "publisher", "BadPromotion")
            if found is None:
                continue
            promotion = found[0]
            stage = stages_after(promotions).get(promotion.version, FIRST_STAGE)
            version = self._versions.get(promotion.version)
            if (promotion.number, promotion.version, promotion.stage) != (row.number, row.version, row.stage):
                self._fault(row.version, "BadPromotion", "the row says something else than what was signed")
            elif promotion.number != place:
                self._fault(row.version, "MissingPromotion", f"promotion {place} of the job was removed")
            elif version is None or promotion.digest != version.digest:
                self._fault(row.version, "BadPromotion", "the publisher signed another version than this one")
            elif promotion.stage not in NEXT_STAGES[stage]:
                self._fault(row.version, "BadPromotion", f"it leads from {stage} to {promotion.stage}")
            promotions.append(promotion)
        stages = stages_after(promotions)
        for row in rows:
            wanted = stages.get(row.version, FIRST_STAGE)
            if row.stage != wanted:
                self._fault(row.version, "WrongStage", f"it stands as {row.stage}; by what was signed it is {wanted}")

    def _measured(self, row: Row[Any]) -> None:
        found = self._letter(row.letter, Measurement, row.version, "aggregator", "BadMeasurement")
        if found is None:
            return
        measurement, version = found[0], self._versions.get(row.version)
        if (measurement.version, measurement.round) != (row.version, row.round):
            self._fault(row.version, "BadMeasurement", "the row says something else than what was signed")
        elif version is None or measurement.digest != version.digest:
            self._fault(row.version, "BadMeasurement", "it was measured of another version than this one")
