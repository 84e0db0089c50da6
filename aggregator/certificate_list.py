"""The newest list of revoked TLS certificates (CRL) among the files that enrolment's machine puts there, for a broker.

A broker goes by one file. Here it is kept: nothing that the fleet's CA has not signed gets into it, and it never goes
back to an older list.
"""

from pathlib import Path

from cryptography import x509

from accord.errors import UsageError
from accord.files import FileError, make_folder, read_limited, write_atomic
from aggregator.revocation_list import Stamp, stamp
from aggregator.transport_ca import LARGEST, LARGEST_LIST, PUBLIC, number_of, read_list


class CertificateList:
    """One broker's.

    Args:
        ca: the file of the CA that signs the lists.
        kept: the file by which the broker goes.
        sources: where newer ones may come; a file that is none, or of another CA, is left.

    Raises:
        UsageError: the CA's file holds no certificate.
        FileError: it can't be read, or the kept one not be written.
    """

    def __init__(self, ca: Path, kept: Path, *sources: Path) -> None:
        try:
            self._ca = x509.load_pem_x509_certificate(read_limited(ca, LARGEST))
        except ValueError as error:
            raise UsageError(f"{ca} holds no certificate of a CA: {error}") from error
        self._kept, self._sources = kept, sources
        self._stamps: dict[Path, Stamp] = {}
        found = self._read(kept)
        self._number = -1 if found is None else found[0]
        if found is None:
            kept.unlink(missing_ok=True)
        self.look()

    @property
    def file(self) -> Path | None:
        """The file by which the broker goes; None as long as there is no list."""
        return None if self._number < 0 else self._kept

    def look(self) -> None:
        """Take up a newer list, if one has come."""
        for source in self._sources:
            now = stamp(source)
            if now == self._stamps.get(source):
                continue
            self._stamps[source] = now
            found = self._read(source)
            if found is not None and found[0] > self._number:
                make_folder(self._kept.parent)
                write_atomic(self._kept, found[1], PUBLIC)
                self._number = found[0]

    def _read(self, path: Path) -> tuple[int, bytes] | None:
        """Return the number of a list of our CA, and its bytes."""
        if not path.exists():
            return None
        try:
            data = read_limited(path, LARGEST_LIST)
            found = read_list(data)
        except FileError:
            return None
        ours = found.issuer == self._ca.subject and found.is_signature_valid(self._ca.public_key())  # type: ignore[arg-type]
        return (number_of(found), data) if ours else None
