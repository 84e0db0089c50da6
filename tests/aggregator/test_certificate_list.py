"""The list of revoked certificates that a broker is given: the newest, of its own CA, and never an older one again."""

from pathlib import Path

import pytest
from cryptography import x509

from accord.entropy import SeededEntropy
from accord.errors import UsageError
from aggregator.certificate_list import CertificateList
from aggregator.transport_ca import TransportCA

NOW = 1_800_000_000


def test_the_newest_list_of_the_fleets_ca_is_kept_across_restarts(tmp_path: Path) -> None:
    ca = TransportCA.create(tmp_path / "ca", "t", NOW, SeededEntropy(1), now=NOW)
    other = TransportCA.create(tmp_path / "other", "t", NOW, SeededEntropy(2), now=NOW)
    pinned, kept, one, two = (tmp_path / name for name in ("ca.pem", "broker/crl.pem", "one", "two"))
    pinned.write_bytes(ca.pem)
    lists = CertificateList(pinned, kept, one, two)
    assert lists.file is None

    def serials() -> list[int]:
        lists.look()
        return [found.serial_number for found in x509.load_pem_x509_crl(kept.read_bytes())]

    one.write_bytes(ca.revoked)
    lists.look()
    assert (lists.file, serials()) == (kept, [])
    ca.revoke((7,), NOW)
    older = ca.revoked
    ca.revoke((7, 8), NOW)
    two.write_bytes(ca.revoked)
    assert serials() == [7, 8]
    for _ in range(5):
        other.revoke((9,), NOW)
    for data in (older, other.revoked, b"noise", b""):
        one.write_bytes(data)
        assert serials() == [7, 8]
    lists = CertificateList(pinned, kept, one)
    assert serials() == [7, 8], "and after a restart"
    pinned.write_bytes(other.pem)
    assert CertificateList(pinned, kept, one).file is None, "a broker would let nobody in by the list of another CA"
    pinned.write_bytes(b"")
    with pytest.raises(UsageError, match="no certificate"):
        CertificateList(pinned, kept)
