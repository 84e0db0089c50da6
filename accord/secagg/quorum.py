"""The quorum of profile `strict`: signatures of t members on one survivor set, as a device checks them.

Two sets of t = floor(2n/3) + 1 of n members have 2t - n in common, more than a third of all. Unless that many are
corrupt, one honest device is among them, and it signs one set only: so no two sets can both have a quorum.
See docs/protocol.md, section 7.6.
"""

from accord import prg
from accord.errors import Refusal, SignatureError
from accord.secagg.cohort import Cohort
from accord.signing import verify
from accord.wire.envelope import signed_bytes
from accord.wire.secure_sum import Consistency, Quorum

TAG = "consistency/1"


def check(message: Quorum, cohort: Cohort, survivors: bytes) -> None:
    """Refuse what does not show that enough members signed the set that this device has signed.

    Args:
        message: as it came.
        cohort: whose members' JOINs the caller has verified, all of them.
        survivors: the bitmap that the caller has signed.

    Raises:
        Refusal: `OtherSurvivors`, `BadBitmap`, `WrongShape`, `NotASurvivor`, `TooFewSignatures` or `ForgedSignature`.
    """
    if message.survivors != survivors:
        raise Refusal("OtherSurvivors", "the quorum is for another survivor set than this device has signed")
    signers = cohort.positions(message.signers)
    if len(message.signatures) != len(signers):
        raise Refusal("WrongShape", f"{len(message.signatures)} signatures of {len(signers)} signers")
    if not set(signers) <= set(cohort.positions(survivors)):
        raise Refusal("NotASurvivor", "the quorum names a signer whose vector did not arrive")
    if len(signers) < cohort.threshold:
        raise Refusal("TooFewSignatures", f"{len(signers)} signatures on the survivor set; {cohort.threshold} needed")
    digest = signed_digest(survivors)
    for position, signature in zip(signers, message.signatures, strict=True):
        check_signature(cohort, position, digest, signature)


def signed_digest(survivors: bytes) -> bytes:
    """Return the digest of what each member signs of a survivor set, 32 bytes."""
    return prg.digest(Consistency(survivors=survivors).encode())


def check_signature(cohort: Cohort, position: int, digest: bytes, signature: bytes) -> None:
    """Refuse a signature, 64 bytes, that is not one member's in this cohort.

    Args:
        cohort: whose.
        position: the member's.
        digest: of `signed_digest`.
        signature: that it is said to have made.

    Raises:
        Refusal: `ForgedSignature`.
    """
    device = cohort.devices[position]
    covered = signed_bytes(TAG, device, "aggregator", cohort.context, digest)
    try:
        verify(cohort.identities[position], covered, signature, f"CONSISTENCY of {device}")
    except SignatureError as error:
        raise Refusal("ForgedSignature", str(error)) from error
