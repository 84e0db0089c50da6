"""A device process that starts with wrong files or a wrong configuration says which, before it connects."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from accord.entropy import SeededEntropy
from accord.errors import AccordError
from accord.files import DISK
from accord.runtimes.reference import make_bundle
from aggregator.fleet_making import NewFleet, create
from edge_sdk.client import EdgeClient
from edge_sdk.config import load

Change = Callable[[str], str]


def _home(folder: Path, *, days: float = 1.0) -> Path:
    """Return the folder of a device of which everything fits; nobody listens at its broker's address."""
    entropy = SeededEntropy(0)
    expires = int(time.time() + days * 86_400)
    fleet = create(
        folder / "fleet", NewFleet(tenant="fleet", devices=("dev-000", "dev-001"), now=0, expires=expires), entropy
    )
    bundle = make_bundle("linear", (4,), 3, "softmax", 8, entropy, fleet.publisher())
    DISK.write_atomic(folder / "bundle", bundle)
    _rows(folder / "rows.npz")
    own = folder / "fleet" / "devices" / "dev-000"
    (folder / "device.toml").write_text(f"""[device]
id = "dev-000"
tenant = "fleet"
job = "job"
state = "state"
[trust]
identity = "{own / "identity"}"
certificate = "{own / "certificate"}"
roles = "fleet/roles"
root = "fleet/root.pub"
[broker]
host = "127.0.0.1"
port = 1
password = "{own / "password"}"
insecure = true
[work]
bundle = "bundle"
data = "rows.npz"
""")
    return folder


def _rows(path: Path, **other: object) -> None:
    rng = np.random.default_rng(0)
    parts = {
        "x_train": rng.normal(size=(9, 4)),
        "y_train": np.arange(9) % 3,
        "x_test": np.zeros((0, 4)),
        "y_test": np.zeros(0),
    }
    np.savez(path, **{name: np.asarray(value) for name, value in (parts | other).items() if value is not None})


def _fails(home: Path, says: str, change: Change = lambda text: text) -> None:
    path = home / "changed.toml"
    path.write_text(change((home / "device.toml").read_text()))
    with pytest.raises(AccordError, match=says):
        EdgeClient(load(path))


def test_with_everything_in_place_it_gets_as_far_as_the_broker(tmp_path: Path) -> None:
    _fails(_home(tmp_path), r"no broker at 127\.0\.0\.1:1")


def test_a_configuration_is_refused_with_the_key(tmp_path: Path) -> None:
    home = _home(tmp_path)
    _fails(home, r"\[broker\] port is not a whole number", lambda t: t.replace("port = 1", 'port = "x"'))
    _fails(home, r"\[broker\] port is missing", lambda t: t.replace("port = 1", ""))
    for heartbeat in ('"x"', "-1", "nan", "true"):
        _fails(
            home,
            r"heartbeat is not a number of seconds",
            lambda t, h=heartbeat: t.replace("[trust]", f"heartbeat = {h}\n[trust]"),
        )  # type: ignore[misc]
    _fails(home, "smallest_cohort is not a whole number", lambda t: t + '[limits]\nsmallest_cohort = "x"\n')
    _fails(home, "allow_unmasked is not true or false", lambda t: t + "[limits]\nallow_unmasked = 1\n")


def test_a_certificate_that_nobody_would_accept_is_refused_at_the_start(tmp_path: Path) -> None:
    home = _home(tmp_path)
    _fails(
        home,
        "NotEnrolled: dev-000 shows the certificate of dev-001",
        lambda t: t.replace("dev-000/certificate", "dev-001/certificate"),
    )
    _fails(home, "NotEnrolled: .* another identity key", lambda t: t.replace("dev-000/identity", "dev-001/identity"))
    _fails(home, "NotEnrolled", lambda t: t.replace(f"{home}/fleet/devices/dev-000/certificate", "fleet/roles"))


def test_documents_that_have_ended_are_refused_at_the_start(tmp_path: Path) -> None:
    _fails(_home(tmp_path, days=-1), "Expired")


@pytest.mark.parametrize(
    ("other", "says"),
    [
        ({"x_train": np.ones((9, 5))}, r"x_train .* takes numbers of shape \(rows, 4\)"),
        ({"x_train": np.full((9, 4), np.nan)}, "NaN"),
        ({"y_train": np.arange(9) % 4}, "y_train .* holds 3; .* labels 0 to 2"),
        ({"y_train": np.arange(9) % 3 - 1}, "holds -1"),
        ({"y_train": np.full(9, 0.5)}, r"holds 0\.5"),
        ({"y_train": np.full(9, np.nan)}, "NaN"),
        ({"y_train": np.zeros(8)}, "one number for each row"),
        ({"y_train": np.array(["a"] * 9)}, "one number for each row"),
        ({"y_train": np.array([None] * 9)}, "plain numbers"),
        ({"y_test": None}, "does not hold x_train, y_train, x_test, y_test"),
    ],
)
def test_rows_that_do_not_fit_the_bundle_are_refused_at_the_start(
    other: dict[str, object], says: str, tmp_path: Path
) -> None:
    home = _home(tmp_path)
    _rows(home / "rows.npz", **other)
    _fails(home, says)


def test_a_file_that_is_no_npz_or_is_not_there_is_named(tmp_path: Path) -> None:
    home = _home(tmp_path)
    for noise in (b"", b"a,b\n1,2\n", (home / "rows.npz").read_bytes()[:300]):
        (home / "rows.npz").write_bytes(noise)
        _fails(home, "rows.npz is not a .npz of plain numbers")
    np.save(home / "rows.npy", np.zeros(3))
    _fails(home, "does not hold", lambda t: t.replace("rows.npz", "rows.npy"))
    (home / "rows.npz").unlink()
    _fails(home, "rows.npz can't be read: No such file")
