"""A device written from docs/protocol.md alone, section by section, sums together with ours: the page says enough."""

import hashlib
from typing import Any

import cbor2
import nacl.bindings as sodium
import numpy as np

from accord.entropy import SeededEntropy
from accord.secagg import client, keys, server
from accord.secagg.authority import Authority
from accord.secagg.cohort import new_roster, verified
from accord.secagg.members import member_of
from accord.signing import SigningKey
from accord.update import packing
from accord.wire.envelope import Envelope, seal
from accord.wire.messages import TAG_OF, Certificate, Revocations, Roles
from accord.wire.secure_sum import Masked, Share, Unmask

BITS, LENGTH, FLOOR = 20, 7, 3
ENROLMENT, SEAL = SigningKey(b"e" * 32), keys.KeyPair(b"a" * 32)
ROLES = Roles(tenant="t", version=1, expires=100, enrolment=ENROLMENT.public, aggregator=bytes(32), publisher=bytes(32))
AUTHORITY = Authority(roles=ROLES, revocations=Revocations(version=1, serials=()), now=10)


def encoded(value: Any) -> bytes:
    return cbor2.dumps(value, canonical=True)


def digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=32).digest()


def kdf(secret: bytes, *label: object) -> bytes:
    return hashlib.blake2b(encoded(list(label)), key=secret, digest_size=32, person=b"accord/1/kdf").digest()


def sealed(key: bytes, data: bytes) -> bytes:
    return sodium.crypto_aead_chacha20poly1305_ietf_encrypt(data, None, bytes(12), key)


def tree_head(leaves: list[bytes]) -> bytes:
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    half = 1
    while half * 2 < len(leaves):
        half *= 2
    return hashlib.sha256(b"\x01" + tree_head(leaves[:half]) + tree_head(leaves[half:])).digest()


def times(a: int, b: int) -> int:
    product = 0
    while b:
        product ^= a if b & 1 else 0
        a, b = a << 1 ^ (0x11B if a & 0x80 else 0), b >> 1
    return product


def bitmap(positions: list[int], members: int) -> bytes:
    found = bytearray(-(-members // 8))
    for position in positions:
        found[position // 8] |= 1 << position % 8
    return bytes(found)


class Stranger:
    """Sections 4 and 7 with hashlib, cbor2 and libsodium, for one device."""

    def __init__(self, name: str, number: int, ctx1: bytes) -> None:
        self.name, self.ctx1, self.number = name, ctx1, number
        self.mask_secret, self.seal_secret, self.b = (digest(b"%d %d" % (number, at)) for at in range(3))
        self.public, signing = sodium.crypto_sign_seed_keypair(digest(b"identity %d" % number))
        body = encoded([name, self.public, number, 50])
        letter = ["certificate/1", "enrolment", name, bytes(32), body]
        covered = encoded(["accord/1/certificate/1", "enrolment", name, bytes(32), digest(body)])
        self.certified = ENROLMENT.sign(covered)
        certificate = encoded([*letter, self.certified])
        self.points = points = [
            sodium.crypto_scalarmult_base(secret) for secret in (self.mask_secret, self.seal_secret)
        ]
        self.join = encoded([*points, certificate])
        covered = encoded(["accord/1/join/2", name, "aggregator", ctx1, digest(self.join)])
        self.signature = sodium.crypto_sign(covered, signing)[:64]

    def letter(self) -> Envelope:
        return Envelope.decode(encoded(["join/2", self.name, "aggregator", self.ctx1, self.join, self.signature]))

    def roster(self, payload: bytes) -> Share:
        cohort, profile, k, t, members, _, _, _ = cbor2.loads(payload)
        self.ids = [member[0] for member in members]
        assert [*self.points, self.public, self.number, 50, self.certified, self.signature] in [m[1:] for m in members]
        self.joins = [member[1:3] for member in members]
        root = tree_head([encoded(member) for member in members])
        self.ctx2 = digest(encoded([self.ctx1, cohort, len(members), root, profile, k, t]))
        self.place = self.ids.index(self.name)
        secret = self.b + self.mask_secret
        drawn = [digest(b"%d" % at) + digest(b"-%d" % at) for at in range(t - 1)]
        self.dealt = []
        for position in range(len(self.ids)):
            share = bytearray(64)
            for at in range(64):
                for row in reversed(drawn):
                    share[at] = times(share[at] ^ row[at], position + 1)
                share[at] ^= secret[at]
            self.dealt.append(bytes(share))
        others = [p for p in range(len(self.ids)) if p != self.place]
        return Share(
            commitment=digest(self.b),
            hashes=tuple(digest(share[:32])[:16] + digest(share[32:])[:16] for share in self.dealt),
            sealed=tuple(sealed(self._direction(p, self.name, self.ids[p]), self.dealt[p]) for p in others),
        )

    def _direction(self, position: int, sender: str, recipient: str) -> bytes:
        mine, theirs = self.joins[self.place][1], self.joins[position][1]
        agreed = sodium.crypto_scalarmult(self.seal_secret, theirs)
        return kdf(agreed, "share", self.ctx2, sender, recipient, *sorted([mine, theirs]))

    def shares(self, payload: bytes) -> None:
        dealers, boxes = cbor2.loads(payload)
        self.dealers = [p for p in range(len(self.ids)) if dealers[p // 8] >> p % 8 & 1]
        self.held = {self.place: self.dealt[self.place]}
        for position, box in zip([p for p in self.dealers if p != self.place], boxes, strict=True):
            key = self._direction(position, self.ids[position], self.name)
            self.held[position] = sodium.crypto_aead_chacha20poly1305_ietf_decrypt(box, None, bytes(12), key)

    def masked(self, vector: np.ndarray) -> Masked:
        total = [int(value) for value in vector]
        seeds = [(1, kdf(self.b, "self", self.ctx2))]
        for position in self.dealers:
            other = self.ids[position]
            if other != self.name:
                mine, theirs = self.joins[self.place][0], self.joins[position][0]
                agreed = sodium.crypto_scalarmult(self.mask_secret, theirs)
                label = ("pair", self.ctx2, *sorted([self.name, other]), *sorted([mine, theirs]))
                seeds.append((1 if other > self.name else -1, kdf(agreed, *label)))
        for sign, seed in seeds:
            stream = sealed(seed, bytes(4 * LENGTH))[:-16]  # ChaCha20 from block 1, over zeros
            for at in range(LENGTH):
                total[at] += sign * int.from_bytes(stream[4 * at : 4 * at + 4], "little")
        number = sum((value % 2**BITS) << (BITS * at) for at, value in enumerate(total))
        packed = number.to_bytes(-(-LENGTH * BITS // 8), "little")
        return Masked(dealers=bitmap(self.dealers, len(self.ids)), vector=packed)

    def answer(self, payload: bytes) -> Unmask:
        (survivors,) = cbor2.loads(payload)
        halves = b""
        for position in self.dealers:
            alive = survivors[position // 8] >> position % 8 & 1
            halves += self.held[position][:32] if alive else self.held[position][32:]
        mine = self.joins[self.place][1]
        agreed = sodium.crypto_scalarmult(self.seal_secret, SEAL.public)
        label = ("unmask", self.ctx2, self.name, "aggregator", *sorted([mine, SEAL.public]))
        return Unmask(sealed=sealed(kdf(agreed, *label), halves))


def ours(name: str, number: int, ctx1: bytes) -> client.Joining:
    entropy = SeededEntropy(number)
    identity = SigningKey(entropy(32))
    body = Certificate(device=name, identity=identity.public, serial=number, expires=50).encode()
    certificate = seal(TAG_OF[Certificate], body, key=ENROLMENT, sender="enrolment", recipient=name).encode()
    return client.Joining(name, identity, certificate, ctx1, entropy)


def test_strangers_and_our_devices_give_the_exact_sum_with_a_dropout_of_either_kind() -> None:
    ctx1 = digest(encoded(["accord/1/ctx", b"plan", digest(b"bundle"), digest(b"params")]))
    strangers = [Stranger(name, at, ctx1) for at, name in enumerate(["b-0", "d-1", "e-2"])]
    joining = [ours(name, 10 + at, ctx1) for at, name in enumerate(["a-0", "c-1", "f-2"])]
    members = [member_of(s.letter()) for s in strangers]
    members += [member_of(j.letter) for j in joining]
    roster = new_roster("c-1", "standard", members)
    cohort = verified(roster, ctx1, "standard", AUTHORITY)
    sharing = [j.roster(roster, AUTHORITY, profile="standard", floor=FLOOR, cap=100) for j in joining]
    stage = server.Sharing(cohort, FLOOR)
    for stranger in strangers:
        stage.add(stranger.name, stranger.roster(roster.encode()))
    for j, s in zip(joining, sharing, strict=True):
        stage.add(j.device, s.message)
    collecting, dealt = stage.close()
    assert strangers[0].ctx2 == cohort.context

    vectors = {name: np.arange(LENGTH, dtype=np.uint32) * 70_001 + at for at, name in enumerate(cohort.devices)}
    for stranger in strangers:
        stranger.shares(dealt[stranger.name].encode())
    for stranger in strangers[1:]:  # b-0 falls silent
        message = stranger.masked(vectors[stranger.name])
        collecting.add(stranger.name, message, packing.unpack(message.vector, LENGTH, BITS))
    waiting = {}
    for j, s in list(zip(joining, sharing, strict=True))[1:]:  # so does a-0
        waiting[j.device], masked, dealers = s.shares(dealt[j.device]).mask(vectors[j.device], BITS)
        collecting.add(j.device, Masked(dealers=dealers, vector=packing.pack(masked, BITS)), masked)
    unmasking, survivors = collecting.close()
    for stranger in strangers[1:]:
        unmasking.add(stranger.name, stranger.answer(survivors.encode()), SEAL)
    for name, following in waiting.items():
        _, answer = following.survivors(survivors, SEAL.public)
        unmasking.add(name, answer, SEAL)
    assert unmasking.recovered == ("a-0", "b-0")
    assert not unmasking.wrong_holders
    expected = sum(vectors[name] for name in ("c-1", "d-1", "e-2", "f-2")) % 2**BITS
    assert (unmasking.close(BITS) == expected).all()


def test_a_strangers_letter_is_read_as_ours() -> None:
    stranger = Stranger("b-0", 1, bytes(32))
    stranger.letter().check(stranger.public)
