"""The systemd units: what systemd itself says of them, and that they promise what the programs keep."""

import configparser
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from accord import cli

FOLDER = Path(__file__).parent.parent.parent / "deploy" / "systemd"
UNITS = sorted(FOLDER.glob("*.service"))


def read(unit: Path) -> configparser.SectionProxy:
    parser = configparser.ConfigParser(interpolation=None, strict=True)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(unit)
    return parser["Service"]


def analyze(*words: str) -> subprocess.CompletedProcess[str]:
    path = shutil.which("systemd-analyze")
    if path is None:
        pytest.skip("systemd-analyze is not installed: apt-get install systemd")
    return subprocess.run([path, *words], capture_output=True, text=True, check=False)


@pytest.fixture
def installed(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The unit with the path of a program that is there."""
    unit: Path = request.param
    target = tmp_path / unit.name
    accord = shutil.which("accord") or str(Path(sys.executable).parent / "accord")
    target.write_text(unit.read_text().replace("/opt/accord/bin/accord", accord))
    assert accord in target.read_text()
    return target


@pytest.mark.parametrize("installed", UNITS, ids=lambda unit: unit.name, indirect=True)
def test_systemd_has_nothing_to_say_against_them(installed: Path) -> None:
    done = analyze("verify", str(installed))
    assert installed.name not in done.stderr, done.stderr
    assert done.returncode == 0, done.stderr
    installed.write_text(installed.read_text().replace("WatchdogSec=", "WatchDogSeconds="))
    assert "WatchDogSeconds" in analyze("verify", str(installed)).stderr, "it says so where there is something"


@pytest.mark.parametrize("installed", UNITS, ids=lambda unit: unit.name, indirect=True)
def test_they_are_hardened(installed: Path) -> None:
    done = analyze("security", "--offline=true", str(installed))
    level = re.search(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)
    if level is None:
        pytest.skip(f"this systemd-analyze has no offline look at security: {done.stderr.strip()[:200]}")
    assert float(level.group(1)) < 2.5


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_what_they_promise_is_what_the_programs_keep(unit: Path) -> None:
    service = read(unit)
    assert service["Type"] == "notify"
    assert service["Restart"] == "on-failure"
    assert service["DynamicUser"] == service["NoNewPrivileges"] == service["PrivateTmp"] == "yes"
    assert service["ProtectSystem"] == "strict"
    assert {"MemoryMax", "CPUQuota", "Nice", "StateDirectory"} <= set(service)
    assert float(service["WatchdogSec"]) >= 30, "a sign of life each third, and a step of work in between"
    text = unit.read_text()
    assert re.search(r"^After=network-online.target time-sync.target", text, re.MULTILINE)
    assert f"/var/lib/{service['StateDirectory']}" in text, "the state folder in the example is the one it may write"
    words = service["ExecStart"].split()[1:]
    names = [word for word in words if not word.startswith(("-", "/"))]
    with pytest.raises(SystemExit) as stop:
        cli.main([*names, "--help"])
    assert stop.value.code == 0
