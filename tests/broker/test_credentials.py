"""What is kept of who logged in before."""

from pathlib import Path

from accord.entropy import SystemEntropy
from broker import credentials
from broker.credentials import CredentialsFile, Login


def test_who_came_before_with_the_same_secret_is_known_without_hashing_until_the_entry_changes(tmp_path: Path) -> None:
    path, entropy = tmp_path / "clients", SystemEntropy()
    credentials.add(path, [Login(client="dev-1", secret="first"), Login(client="dev-2", secret="2")], entropy, now=0)
    credentials.add(path, [Login(client="dev-1", secret="token", expires=100)], entropy, now=0)
    file = CredentialsFile(path)
    assert file.recalled("dev-1", b"first", 0) is None
    assert file.recalled("", b"", 0) is None
    entry = file.known().check("dev-1", b"first", 0)
    assert entry is not None
    file.recall(entry, b"first")
    assert file.recalled("dev-1", b"first", 0) == entry
    assert file.recalled("dev-1", b"wrong", 0) is None
    assert file.recalled("dev-2", b"first", 0) is None
    token = file.known().check("dev-1", b"token", 0)
    assert token is not None
    file.recall(token, b"token")
    assert file.recalled("dev-1", b"token", 99) == token
    assert file.recalled("dev-1", b"token", 100) is None
    file.recall(entry, b"first")
    credentials.remove(path, ["dev-2"])
    assert file.recalled("dev-1", b"first", 0) == entry
    credentials.add(path, [Login(client="dev-1", secret="second")], entropy, now=0)
    assert file.recalled("dev-1", b"first", 0) is None
