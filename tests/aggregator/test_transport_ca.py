"""The transport CA: what it certifies, what it refuses, and that its certificates open connections and nothing else."""

import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accord.entropy import SeededEntropy
from accord.errors import CodecError, Refusal, SignatureError, UsageError
from accord.files import FileError
from accord.link.tls_key import named, new_key, private, request
from accord.secagg.authority import Authority, trusted_roles
from accord.signing import SigningKey
from accord.wire.envelope import Envelope, seal
from accord.wire.messages import TAG_OF, Certificate, Revocations, Roles, opened
from aggregator.enrolment import new_fleet
from aggregator.fleet_folder import FleetFolder
from aggregator.fleet_making import NewFleet, create, create_in_parts
from aggregator.tls_folder import TlsFolder
from aggregator.transport_ca import TransportCA, days_left, number_of

NOW, DAY = 1_800_000_000, 86_400
ONE_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)


@pytest.fixture
def ca(tmp_path: Path) -> TransportCA:
    return TransportCA.create(tmp_path / "transport", "t", NOW, SeededEntropy(1), now=NOW)


def key(number: int) -> bytes:
    return private(new_key(SeededEntropy(number)))


def shaken(
    server: tuple[Path, Path], ca: Path, client: tuple[Path, Path] | None = None, name: str = "b.example"
) -> str:
    """Shake hands in memory, with a certificate of the client's asked for, and return the name that it showed."""
    there = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    there.load_cert_chain(*server)
    there.load_verify_locations(ca)
    there.verify_mode = ssl.CERT_REQUIRED
    here = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    here.load_verify_locations(ca)
    if client is not None:
        here.load_cert_chain(*client)
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours, theirs = here.wrap_bio(down, up, server_hostname=name), there.wrap_bio(up, down, server_side=True)
    for _ in range(3):
        for side in (ours, theirs):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    subject = dict(part[0] for part in (theirs.getpeercert() or {}).get("subject", ()))
    return str(subject.get("commonName", ""))


def files(folder: Path, stem: str, certificate: bytes, secret: bytes) -> tuple[Path, Path]:
    paths = folder / f"{stem}.pem", folder / f"{stem}.key"
    paths[0].write_bytes(certificate)
    paths[1].write_bytes(secret)
    return paths


def test_a_device_asks_with_its_own_key_and_the_broker_hears_its_id(ca: TransportCA, tmp_path: Path) -> None:
    secret = key(2)
    found = ca.certify("pi-7", request(secret, "pi-7"), 5, NOW + DAY)
    device = files(tmp_path, "device", ssl.DER_cert_to_PEM_cert(found).encode(), secret)
    pair = ca.server(("b.example", "10.0.0.1"), NOW + DAY)
    server = files(tmp_path, "server", pair.certificate, pair.key)
    pinned = tmp_path / "transport" / "ca.pem"
    assert shaken(server, pinned, device) == "pi-7"
    assert shaken(server, pinned, device, "10.0.0.1") == "pi-7"
    with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
        shaken(server, pinned, device, "c.example")
    with pytest.raises(ssl.SSLError):
        shaken(server, pinned)
    with pytest.raises(ssl.SSLCertVerificationError, match="purpose"):
        shaken(device, pinned, device, "pi-7")  # a device that poses as the broker


def test_the_same_request_gets_the_same_certificate_and_a_renewed_one_is_for_the_same_key(ca: TransportCA) -> None:
    csr = request(key(2), "pi-7")
    first = ca.certify("pi-7", csr, 5, NOW + DAY)
    assert ca.certify("pi-7", csr, 5, NOW + 2 * DAY) == first
    again = ca.certify_again("pi-7", 6, NOW + 90 * DAY)
    one, two = (x509.load_der_x509_certificate(found) for found in (first, again))
    assert (one.serial_number, two.serial_number) == (5, 6)
    assert one.public_key() == two.public_key()
    assert two.not_valid_after_utc > one.not_valid_after_utc
    assert ca.certify_again("pi-8", 6, NOW + DAY) == b"", "who never asked logs in by password"


@pytest.mark.parametrize(
    ("csr", "says"),
    [
        (b"\x30\x00", "damaged"),
        (request(key(3), "pi-8"), "asks for a TLS certificate of pi-8"),
        (
            x509.CertificateSigningRequestBuilder()
            .subject_name(named("pi-7"))
            .sign(ec.generate_private_key(ec.SECP384R1()), SHA256())
            .public_bytes(Encoding.DER),
            "P-256",
        ),
        (
            x509.CertificateSigningRequestBuilder()
            .subject_name(x509.Name([]))
            .sign(new_key(SeededEntropy(4)), SHA256())
            .public_bytes(Encoding.DER),
            "nobody",
        ),
    ],
    ids=["noise", "another device", "another curve", "no name"],
)
def test_other_requests_are_refused(ca: TransportCA, csr: bytes, says: str) -> None:
    with pytest.raises(CodecError, match=says):
        ca.certify("pi-7", csr, 1, NOW + DAY)


REQUEST = request(key(2), "pi-7")


@ONE_FOLDER
@given(st.integers(0, len(REQUEST) - 1), st.integers(1, 255))
def test_no_changed_byte_of_a_request_is_certified_for_another_key(ca: TransportCA, at: int, change: int) -> None:
    changed = bytearray(REQUEST)
    changed[at] ^= change
    with pytest.raises(CodecError):
        ca.certify("pi-7", bytes(changed), 1, NOW + DAY)


def test_what_a_request_wants_beside_its_key_is_not_given(ca: TransportCA) -> None:
    csr = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(named("pi-7"))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("b.example")]), critical=False)
        .sign(new_key(SeededEntropy(2)), SHA256())
    )
    found = x509.load_der_x509_certificate(ca.certify("pi-7", csr.public_bytes(Encoding.DER), 1, NOW + DAY))
    assert not found.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    with pytest.raises(x509.ExtensionNotFound):
        found.extensions.get_extension_for_class(x509.SubjectAlternativeName)


def test_certificates_hold_where_a_clock_says_1970_and_never_longer_than_the_ca(ca: TransportCA) -> None:
    pair = ca.server(("b.example",), NOW + 99 * 365 * DAY)
    found, own = (x509.load_pem_x509_certificate(pem) for pem in (pair.certificate, ca.pem))
    assert found.not_valid_before_utc.timestamp() == 0
    assert found.not_valid_after_utc == own.not_valid_after_utc
    assert days_left(ca.server(("b.example",), NOW + 10 * DAY + 5).certificate, NOW) == 10
    with pytest.raises(UsageError, match="no certificate"):
        days_left(b"x", NOW)
    for names in ((), ("bücher.example",)):
        with pytest.raises(UsageError, match="name"):
            ca.server(names, NOW)


def test_revoked_certificates_are_on_the_list(ca: TransportCA, tmp_path: Path) -> None:
    first = x509.load_pem_x509_crl(ca.revoked)
    assert (len(first), first.last_update_utc.timestamp()) == (0, NOW - 3_600)
    ca.revoke((7,), NOW + 5)
    ca.revoke((7, 3, 3), NOW + DAY)
    assert ca.revoked == (tmp_path / "transport" / "crl.pem").read_bytes()
    found = x509.load_pem_x509_crl(ca.revoked)
    assert [(one.serial_number, one.revocation_date_utc.timestamp()) for one in found] == [(3, NOW + DAY), (7, NOW + 5)]
    assert found.last_update_utc.timestamp() == NOW + DAY - 3_600, "of two lists the newer one counts"
    assert (number_of(first), number_of(found)) == (1, 3)
    own = x509.load_pem_x509_certificate(ca.pem)
    assert found.is_signature_valid(own.public_key())  # type: ignore[arg-type]
    assert found.next_update_utc == own.not_valid_after_utc, "a list that ends would turn everybody away"
    ca.revoke((), NOW, NOW + 30 * DAY)
    ending = x509.load_pem_x509_crl(ca.revoked).next_update_utc
    assert ending is not None
    assert ending.timestamp() == NOW + 30 * DAY
    (tmp_path / "transport" / "crl.pem").write_text("nothing")
    with pytest.raises(FileError, match="no list of revoked"):
        ca.revoke((), NOW)


def test_the_folder_is_private_and_whole(ca: TransportCA, tmp_path: Path) -> None:
    folder = tmp_path / "transport"
    assert (folder / "key").stat().st_mode & 0o777 == 0o600
    with pytest.raises(UsageError, match="devices pin it"):
        TransportCA.create(folder, "t", NOW, SeededEntropy(2), now=NOW)
    TransportCA.create(tmp_path / "other", "t", NOW, SeededEntropy(2), now=NOW)
    (folder / "ca.pem").write_bytes((tmp_path / "other" / "ca.pem").read_bytes())
    with pytest.raises(FileError, match="not the key of"):
        TransportCA(folder, SeededEntropy(3))
    (folder / "key").chmod(0o644)
    with pytest.raises(FileError, match="chmod 600"):
        TransportCA(folder, SeededEntropy(3))
    assert "PRIVATE" not in repr(ca.client("aggregator", NOW))


@pytest.mark.parametrize("together", [True, False])
def test_a_fleet_has_one_beside_its_root_and_the_aggregators_part_has_not(together: bool, tmp_path: Path) -> None:
    fleet, ends = tmp_path / "fleet", NOW + 90 * DAY
    if together:
        folder = create(fleet, NewFleet(tenant="t", devices=("dev-0",), now=NOW, expires=ends), SeededEntropy(1))
        assert (folder.device("dev-0") / "tls.key").stat().st_mode & 0o777 == 0o600
    else:
        folder = create_in_parts(fleet, "t", ends, SeededEntropy(1), ("b.example",), now=NOW)
        part = FleetFolder(path=fleet / "aggregator")
        assert part.tls == folder.tls
        assert not list((fleet / "aggregator").rglob("transport*"))
    assert folder.tls.whole
    assert folder.tls.days_left(NOW) == 90
    assert folder.tls.ca.read_bytes() == (fleet / "transport" / "ca.pem").read_bytes()
    assert not TlsFolder(path=tmp_path).whole


def test_whoever_has_the_transport_ca_has_no_power_in_the_fleet(tmp_path: Path) -> None:
    """It could let strangers connect; what they say there is refused, as letters are signed under the fleet's root."""
    keys = new_fleet("t", SeededEntropy(5), NOW + DAY)
    folder = create_in_parts(tmp_path / "fleet", "t", NOW + DAY, SeededEntropy(6), now=NOW)
    ca = TransportCA(folder.path / "transport", SeededEntropy(7))
    seed = ca._key.private_numbers().private_value.to_bytes(32, "big")
    thief = SigningKey(seed)  # its secret, used in every way that a fleet's key is
    stranger = seal(
        TAG_OF[Certificate],
        Certificate(device="pi-7", identity=thief.public, serial=1, expires=NOW + DAY).encode(),
        key=thief,
        sender="enrolment",
        recipient="pi-7",
    ).encode()
    roles = opened(Envelope.decode(keys.roles()), Roles)
    authority = Authority(roles=roles, revocations=Revocations(version=1, serials=()), now=NOW)
    for forged in (stranger, ca.certify("pi-7", request(key(8), "pi-7"), 1, NOW + DAY), ca.pem):
        with pytest.raises((Refusal, SignatureError, CodecError)):
            authority.certificate(forged, "pi-7")
    own = seal(TAG_OF[Roles], roles.encode(), key=thief, sender="root", recipient="t").encode()
    with pytest.raises(Refusal, match="NotTheRoot"):
        trusted_roles(own, keys.root.public, "t", now=NOW, seen=0)
    public = {keys.root.public, roles.enrolment, roles.aggregator, roles.publisher}
    assert thief.public not in public
