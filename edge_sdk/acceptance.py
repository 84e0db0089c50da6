"""Which plans a device accepts: the rules that need no keys of the attempt. Each refusal has a name."""

from collections.abc import Sequence

from accord import merkle, prg
from accord.errors import Refusal
from accord.plan import HYBRID, STRICT, Plan
from accord.secagg import graph, kem, unmasked
from accord.secagg.authority import Authority
from accord.update.pipeline import Form
from accord.wire.envelope import Envelope
from accord.wire.messages import Checkpoint, Offer, Opening, Revocations, Roles, opened
from edge_sdk.session_values import Identity, Ledger, Limits


def check(  # noqa: C901 - one rule after another
    plan: Plan,
    opening: Opening,
    now: int,
    *,
    identity: Identity,
    limits: Limits,
    ledger: Ledger,
    roles: Roles,
    consistency: Sequence[bytes],
) -> None:
    """Refuse a plan that is not the opening's, is too late, or is below this device's own limits.

    Args:
        plan: the plan, whose bytes the aggregator signed with our nonce.
        opening: what we checked in for; its digests are those of the objects that we fetched and hashed ourselves.
        now: aggregator time in seconds.
        identity: who we are.
        limits: what we refuse whatever a plan says.
        ledger: how far we have gone.
        roles: the verified roles document.
        consistency: the proof that the plan's audit checkpoint continues the ledger's.

    Raises:
        Refusal: named after the rule; `LogForked` and `NoConsistencyProof` are about the audit log.
        SignatureError: the audit checkpoint in the plan is not the aggregator's.
    """
    theirs = (plan.tenant, plan.job, plan.round, plan.attempt, plan.base_version)
    if theirs != (identity.tenant, opening.job, opening.round, opening.attempt, opening.base_version):
        raise Refusal("ForeignPlan", "the plan is for another tenant, job, round, attempt or version")
    if (plan.bundle_digest, plan.params_digest) != (opening.bundle_digest, opening.params_digest):
        raise Refusal("ModelMismatch", "the plan names another model than the one this device holds")
    if (plan.round, plan.attempt) <= (ledger.round, ledger.attempt):
        raise Refusal("OldRound", f"round {plan.round}, attempt {plan.attempt} was charged before")
    if plan.round == ledger.closed_round + 1 and plan.previous != ledger.transcript and ledger.closed_round:
        raise Refusal("WrongTranscript", f"the plan follows another round {ledger.closed_round} than this device's")
    if plan.expires <= now:
        raise Refusal("Expired", "the plan has expired")
    if plan.roles_version != roles.version:
        raise Refusal("OldRoles", f"the plan is for roles version {plan.roles_version}, not {roles.version}")
    if plan.profile == unmasked.PROFILE and not limits.allow_unmasked:
        raise Refusal("Unmasked", "the plan asks for an update without masks; set allow_unmasked to agree")
    if plan.cohort_floor < limits.smallest_cohort:
        raise Refusal("SmallCohort", f"the plan's floor {plan.cohort_floor} is below {limits.smallest_cohort}")
    if plan.graph.complete_up_to < limits.complete_up_to:
        raise Refusal(
            "SparseGraph",
            f"the plan gives cohorts above {plan.graph.complete_up_to} a sparse graph, on which a lying aggregator can "
            f"isolate a device; this one asks for a complete graph up to {limits.complete_up_to}",
        )
    _check_strength(plan, limits)
    if plan.attempt > limits.max_attempts:
        raise Refusal("TooManyAttempts", f"attempt {plan.attempt} is more than {limits.max_attempts}")
    if plan.training.epochs > limits.max_epochs:
        raise Refusal("TooMuchWork", f"{plan.training.epochs} epochs are more than {limits.max_epochs}")
    if plan.checkpoint != ledger.checkpoint:
        _continued(plan.checkpoint, ledger.checkpoint, consistency, identity.tenant, roles)


def check_update(form: Form, limits: Limits, compressors: Sequence[str]) -> None:
    """Refuse a plan whose vector this device would not send, or could not make.

    Args:
        form: of the plan's vector.
        limits: what we refuse whatever a plan says.
        compressors: that this device has.

    Raises:
        Refusal: `LargeUpdate` or `NoCompressor`.
    """
    if form.largest > limits.largest_update:
        raise Refusal(
            "LargeUpdate",
            f"the plan asks for a vector of up to {form.largest} bytes; largest_update is {limits.largest_update}",
        )
    if form.plan.update.open and form.plan.update.compression not in compressors:
        raise no_compressor(f"the plan's updates are compressed with {form.plan.update.compression}")


def no_compressor(asked: str) -> Refusal:
    """Return the refusal of a device that lacks what a round compresses updates with; `asked` says what that is."""
    detail = f"{asked}, which is not here: pip install 'accord-fl[zstd]', or give the job an update without :zstd"
    return Refusal("NoCompressor", detail)


def _check_strength(plan: Plan, limits: Limits) -> None:
    """Refuse a weaker profile or keys than this device asks for, keys that it can't make, and too low a threshold.

    Where one may have it, and on a sparse graph, the roster is looked at instead.
    """
    if limits.profile == STRICT != plan.profile:
        raise Refusal("WeakProfile", f"the plan asks for profile {plan.profile}; this device asks for {STRICT}")
    if limits.keys == HYBRID != plan.keys:
        raise Refusal("WeakKeys", f"the plan asks for keys of {plan.keys}; this device asks for {HYBRID}")
    if plan.keys == HYBRID and not kem.available():
        raise Refusal("NoPostQuantum", kem.MISSING)
    sizes = range(plan.cohort_floor, plan.cohort_cap + 1)
    if plan.profile == unmasked.PROFILE or plan.cohort_cap > plan.graph.complete_up_to:
        return
    if all(100 * graph.rule(n, plan.graph, plan.profile)[1] < limits.smallest_threshold * n for n in sizes):
        raise Refusal(
            "LowThreshold",
            f"in cohorts of {plan.cohort_floor} to {plan.cohort_cap} profile {plan.profile} needs fewer than "
            f"{limits.smallest_threshold} % of the members to open a secret",
        )


def check_version(opening: Opening, ledger: Ledger) -> None:
    """Refuse an older model than this device has held, and another one under the newest number.

    A rollback is a version of its own, with a new number, and passes.

    Raises:
        Refusal: `OldVersion` or `VersionChanged`.
    """
    version = opening.base_version
    if version < ledger.version:
        raise Refusal(
            "OldVersion", f"version {version} of the model, but this device has held version {ledger.version}"
        )
    if version == ledger.version and ledger.params not in (b"", opening.params_digest):
        raise Refusal("VersionChanged", f"version {version} of the model is not the one that this device has held")


def log_head(checkpoint: bytes) -> Checkpoint:
    """Return the head of the audit log that a ledger holds; that of the empty log, which begins every log, if none."""
    if not checkpoint:
        return Checkpoint(size=0, root=merkle.EMPTY_ROOT)
    return opened(Envelope.decode(checkpoint), Checkpoint)


def _continued(shown: bytes, seen: bytes, proof: Sequence[bytes], tenant: str, roles: Roles) -> None:
    """Refuse a checkpoint that is not the tenant's, or whose log does not begin with the one that was seen."""
    letter = Envelope.decode(shown)
    letter.check(roles.aggregator)
    if letter.recipient != tenant:
        raise Refusal("ForeignPlan", f"the plan's audit checkpoint is of {letter.recipient}, not {tenant}")
    new, old = opened(letter, Checkpoint), log_head(seen)
    grown = proof if old.size < new.size else ()
    merkle.check_consistency(old.size, old.root, new.size, new.root, grown)


def authority(plan: Plan, offer: Offer, roles: Roles, ledger: Ledger, known: Authority | None) -> Authority:
    """Return whose certificates count in this attempt; `known` is used again if the list is the same.

    Raises:
        Refusal: `ForeignRevocations` or `OldRevocations`.
        SignatureError: the list is not enrolment's.
    """
    if prg.digest(offer.revocations) != plan.revocations_digest:
        raise Refusal("ForeignRevocations", "the revocation list is not the one that the plan names")
    letter = Envelope.decode(offer.revocations)
    revocations = opened(letter, Revocations)
    if revocations.version < ledger.revocations_version:
        raise Refusal("OldRevocations", "a newer revocation list was seen before")
    if known is not None and known.revocations == revocations and known.roles == roles:
        return known.at(offer.now)
    letter.check(roles.enrolment)
    return Authority(roles=roles, revocations=revocations, now=offer.now)


def check_own_certificate(identity: Identity, roles: Roles, now: int) -> None:
    """Refuse to start with a certificate that no other device would accept: better now than in every round.

    Args:
        identity: who we are.
        roles: the verified roles document.
        now: seconds since 1970, as far as this device knows.

    Raises:
        Refusal: `NotEnrolled`, for another device or another key, or not signed by enrolment; `Expired`.
    """
    nothing = Revocations(version=1, serials=())
    own = Authority(roles=roles, revocations=nothing, now=now).certificate(identity.certificate, identity.device)
    if own.identity != identity.key.public:
        raise Refusal(
            "NotEnrolled", f"the certificate of {identity.device} is for another identity key than the file's"
        )
