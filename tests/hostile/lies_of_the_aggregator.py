"""Every lie that whoever holds the aggregator's key can tell a device, with the name by which it is refused.

A row is the lie, the refusal, and what the bad vectors of that refusal that tell it are about. `docs/threats.md` shows
the rows, and `test_lying_aggregator.py` holds them against the vectors and the page.
"""

from lies_about_cohorts import MEMBERS, SURVIVORS
from lies_about_models import MODELS
from told_lie import Lie

DOORS = ("device", "restarted", "agent", "roles", "assembler", "delta")
"""Where letters and objects of the aggregator reach a device."""
LIES = (
    *SURVIVORS,
    *MODELS,
    *MEMBERS,
    Lie("a cohort floor below the device's", "SmallCohort", ("a floor below the device's own",)),
    Lie("a sparse graph below the device's limit", "SparseGraph", ("few neighbours for 51 devices",)),
    Lie("no masks", "Unmasked", ("no masks, though the device wants them",)),
    Lie(
        "an update of each device's own choice, with masks",
        "OpenUpdate",
        ("values of each device's own choice, though there are masks",),
    ),
    Lie("an update that fills the link", "LargeUpdate", ("a vector larger than the device sends",)),
    Lie("endless work", "TooMuchWork", ("more epochs than the device allows",)),
    Lie(
        "a replay from another round, attempt or cohort",
        "WrongContext",
        (
            "`later` with a context",
            "a roster of another attempt",
            "shares of another cohort",
            "survivors of another attempt",
            "the result of another cohort",
        ),
    ),
    Lie("an attempt before the last one", "OldRound", ("an attempt before the last one",)),
    Lie(
        "an answer to another check-in",
        "StaleNonce",
        ("`later` to another check-in", "a plan that answers another check-in"),
    ),
    Lie("a plan at its end", "Expired", ("a plan at its end",)),
    Lie(
        "letters that are meant for others",
        "NotForUs",
        (
            "the plan of another device",
            "a roster for another cohort",
            "shares of another device",
            "survivors of another cohort",
            "the result of another device",
            "a manifest for another device",
        ),
    ),
    Lie("another job", "ForeignJob", ("an opening of another job", "an opening that was announced to another job")),
    Lie(
        "a false abort, and another attempt, more often than the device allows",
        "TooManyAttempts",
        ("a false abort, and another attempt", "a second attempt where one is allowed"),
    ),
    Lie("another attempt of a round that has closed", "RoundClosed", ("another attempt of a closed round",)),
    Lie(
        "a RESULT that contradicts the survivors",
        "ResultContradicts",
        ("closed without us", "closed with other survivors", "aborted, with us in it", "a result with other survivors"),
    ),
    Lie(
        "a RESULT that includes a vector that was never sent",
        "ResultContradicts",
        ("a vector that never left is in the sum", "a device that withdrew is in the sum"),
    ),
    Lie("answers to nothing", "OutOfOrder", ("a result without an attempt", "`later` without a check-in")),
    Lie("another story of the round before", "WrongTranscript", ("a plan that follows another round",)),
    Lie(
        "an audit log that was rewritten or forked",
        "LogForked",
        ("a shorter audit log than was seen", "another audit log of the same length"),
    ),
    Lie(
        "an audit log that nothing proves to be the same",
        "NoConsistencyProof",
        ("a longer audit log without a proof", "a longer audit log with a wrong proof"),
    ),
    Lie("the audit log of another tenant", "ForeignPlan", ("the audit log of another tenant",)),
    Lie(
        "a lower version of the roles document, or a plan for another",
        "OldRoles",
        ("a plan for other roles", "a lower version than was seen"),
    ),
    Lie("a roles document that has ended", "Expired", ("at its end",)),
    Lie("a roles document of its own making", "NotTheRoot", ("signed by the aggregator", "another document")),
    Lie("a roles document of another tenant", "ForeignTenant", ("for another tenant",)),
    Lie("a lower version of the revocation list", "OldRevocations", ("an older list than was seen",)),
    Lie("another revocation list than the plan's", "ForeignRevocations", ("another list than the plan names",)),
    Lie(
        "letters that a device does not take",
        "Foreign",
        (
            "another device's letter",
            "an unknown tag",
            "a plan of the wire before",
            "a letter that a session has no use for",
        ),
    ),
    Lie(
        "a weaker profile than the device asks for",
        "WeakProfile",
        ("profile standard, though the device asks for a quorum",),
    ),
    Lie(
        "weaker keys than the device asks for",
        "WeakKeys",
        ("keys of X25519 alone, though the device asks for ML-KEM, too",),
    ),
    Lie(
        "a lower threshold than the device asks for",
        "LowThreshold",
        (
            "60 % of five members open a secret",
            "three of the four who came, though of three or five it would be more",
        ),
    ),
    Lie("a survivor set to sign, without the device", "CalledDead", ("survivors without us, to sign",)),
    Lie(
        "the split view: a second survivor set once one is signed",
        "SurvivorsChanged",
        ("a second survivor set, once one is signed", "a second survivor set after a restart"),
    ),
    Lie(
        "the split view: a quorum for another survivor set",
        "OtherSurvivors",
        ("a quorum for another set than we signed", "another set's quorum after a restart"),
    ),
    Lie("a quorum of too few", "TooFewSignatures", ("two where three are needed", "none at all")),
    Lie(
        "a quorum with a forged, foreign or doubled signature",
        "ForgedSignature",
        (
            "one that nobody made",
            "one for each other's name",
            "one of ours, three times",
            "one for another survivor set",
            "one of another attempt",
            "one by the aggregator itself",
        ),
    ),
    Lie(
        "a padded or truncated quorum", "WrongShape", ("more signatures than signers", "fewer signatures than signers")
    ),
    Lie("a quorum with half a signature", "BadMessage", ("half a signature",)),
    Lie("a quorum with a signer who is no survivor", "NotASurvivor", ("a signer whose vector did not arrive",)),
    Lie(
        "a quorum with signers who are nobody",
        "BadBitmap",
        ("a signer behind the last member", "signers in a byte too many"),
    ),
    Lie(
        "a quorum before the survivors, again, or where none is asked for",
        "OutOfOrder",
        ("a quorum before the survivors", "a quorum twice", "a quorum in profile standard"),
    ),
    Lie("a quorum of another attempt", "WrongContext", ("the quorum of another attempt",)),
    Lie("a quorum of another cohort", "NotForUs", ("the quorum of another cohort",)),
    Lie("bytes that are no letter", "BadMessage", ("noise", "nothing", "a plan that is none")),
)
NO_LIES = {
    ("Barred", "told that it is a copy"),
    ("NoCompressor", "told that it lacks what compresses updates"),
    ("TrainingFailed", "an update that is not a number"),
}
"""Vectors at a device's doors that tell no lie of the aggregator's."""


def table() -> str:
    """Return the rows as `docs/threats.md` shows them."""
    return "| lie | refused as |\n|---|---|\n" + "".join(f"| {lie.lie} | `{lie.refusal}` |\n" for lie in LIES)
