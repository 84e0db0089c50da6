"""A roster's entry and the JOIN that it stands for: each is made of the other, byte for byte.

A certificate's letter says the device's name three times and much that is the same for all; in a roster that was a
quarter of what a device is sent. Holds no rule about who may stand in a roster.
"""

from accord import cbor
from accord.errors import CodecError
from accord.signing import SIGNATURE_SIZE
from accord.wire.envelope import NO_CONTEXT, Envelope
from accord.wire.messages import TAG_OF, Certificate, opened
from accord.wire.secure_sum import Join, Member

ENROLMENT = "enrolment"
"""The sender of a certificate."""


def member_of(letter: Envelope, join: Join | None = None, certificate: Certificate | None = None) -> Member:
    """Return the roster's entry of a JOIN.

    Args:
        letter: that it came in.
        join: its message, where the caller has opened it.
        certificate: the one in it, where the caller has opened that.

    Raises:
        CodecError: the letter is no JOIN, or its certificate has not the form that enrolment gives it, so that others
            could not put it together again.
    """
    join = join or opened(letter, Join)
    certificate = certificate or opened(Envelope.decode(join.certificate), Certificate)
    found = Member(
        device=letter.sender,
        mask_key=join.mask_key,
        seal_key=join.seal_key,
        identity=certificate.identity,
        serial=certificate.serial,
        expires=certificate.expires,
        certified=join.certificate[-SIGNATURE_SIZE:],
        signature=letter.signature,
    )
    if certificate_of(found) != join.certificate:
        raise CodecError(f"the certificate of {letter.sender} is not a letter of enrolment's to it")
    return found


def certificate_of(member: Member) -> bytes:
    """Return the signed certificate of a roster's entry."""
    certificate = cbor.encode_checked([member.device, member.identity, member.serial, member.expires])
    letter = [TAG_OF[Certificate], ENROLMENT, member.device, NO_CONTEXT, certificate, member.certified]
    return cbor.encode_checked(letter)


def join_of(member: Member, certificate: bytes) -> bytes:
    """Return the payload of the JOIN of a roster's entry, given its certificate."""
    return cbor.encode_checked([member.mask_key, member.seal_key, certificate])
