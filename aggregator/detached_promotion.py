"""A promotion whose signature is made on another machine: the request that travels there, and what is signed of it.

Nothing in a request is secret, and nobody believes it for where it lies: whoever signs checks each letter in it under
the fleet root's public key. See docs/registry.md.
"""

from typing import ClassVar

from sqlalchemy import Connection, select

from accord.errors import CodecError, Refusal, SignatureError
from accord.records import Octets, OneOf, Record, field
from accord.secagg.authority import trusted_roles
from accord.signing import SigningKey
from accord.values import dataclass
from accord.wire.envelope import Envelope, seal
from accord.wire.messages import TAG_OF, Roles, opened
from accord.wire.versions import Promotion, Version
from aggregator.registry_values import Registered, RegistryError
from aggregator.schema import ROLES

FORM = "promotion-request/1"
_LETTER = Octets(1, 1 << 16)


@dataclass(frozen=True, kw_only=True)
class PromotionRequest(Record):
    """What the publisher is asked to sign, and what shows that it is about a version of this fleet's aggregator."""

    LIMIT: ClassVar[int] = 1 << 23

    form: str = field(OneOf((FORM,)))
    statement: bytes = field(_LETTER)  # the encoded Promotion
    version: bytes = field(Octets(1, 1 << 22))  # the letter that the aggregator signed
    signer: bytes = field(_LETTER)  # the roles document under which it did
    roles: bytes = field(_LETTER)  # the newest one, which names the publisher


def requested(connection: Connection, entry: Registered, statement: Promotion) -> bytes:
    """Return the file to carry to the publisher's machine.

    Raises:
        RegistryError: the registry lacks a roles document.
    """
    found: list[bytes] = []
    for version in (entry.version.roles_version, statement.roles_version):
        letter = connection.execute(select(ROLES.c.letter).where(ROLES.c.version == version)).scalar_one_or_none()
        if letter is None:
            raise RegistryError(f"the registry holds no roles document {version}: `accord model verify` tells more")
        found.append(letter)
    signer, roles = found
    request = PromotionRequest(
        form=FORM, statement=statement.encode(), version=entry.letter, signer=signer, roles=roles
    )
    return request.encode()


def signed(data: bytes, key: SigningKey, root: bytes, now: int) -> tuple[Promotion, bytes]:
    """Return what a request asks for, and the letter with it that is carried back, once everything was checked.

    Args:
        data: the request.
        key: the publisher's.
        root: the fleet root's public key, 32 bytes, from a place that the publisher trusts.
        now: wall time in seconds.

    Raises:
        Refusal: `BadMessage`, it is no request; `NotTheRoot`, `ForeignTenant` or `Expired`, a roles document does not
            hold; `NotThePublisher`, the newest one names another key; `ForeignVersion`, the version is not the
            aggregator's, or the statement is about another one; `ForeignRoles`, the statement names another document.
    """
    try:
        request = PromotionRequest.decode(data)
        statement = Promotion.decode(request.statement)
        letter = Envelope.decode(request.version)
        version = opened(letter, Version)
    except CodecError as error:
        raise Refusal("BadMessage", f"this is no request of `accord model promote --request`: {error}") from error
    tenant = statement.tenant
    roles = trusted_roles(request.roles, root, tenant, now=now, seen=0)
    signer: Roles = trusted_roles(request.signer, root, tenant, now=-1, seen=0)  # it may have ended since
    if roles.publisher != key.public:
        raise Refusal("NotThePublisher", f"roles version {roles.version} names another publisher's key than this one")
    if (statement.roles_version, version.roles_version) != (roles.version, signer.version):
        raise Refusal("ForeignRoles", "the statement or the version names a roles document that is not in the request")
    try:
        letter.check(signer.aggregator)
    except SignatureError as error:
        raise Refusal("ForeignVersion", f"the fleet's aggregator did not make this version: {error}") from error
    about = (statement.tenant, statement.job, statement.version, statement.digest)
    if about != (version.tenant, version.job, version.version, version.digest):
        raise Refusal("ForeignVersion", "the statement is about another version than the request holds")
    envelope = seal(TAG_OF[Promotion], statement.encode(), key=key, sender="publisher", recipient=statement.job)
    return statement, envelope.encode()


def promotion_in(letter: bytes) -> Promotion:
    """Return what an answer says; whose it is, `Registry.promote` checks.

    Raises:
        Refusal: `BadMessage`, it is no answer.
    """
    try:
        return opened(Envelope.decode(letter), Promotion)
    except CodecError as error:
        raise Refusal("BadMessage", f"this is no answer of `accord model sign`: {error}") from error
