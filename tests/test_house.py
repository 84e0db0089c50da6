"""The house itself: the command table, the lock, the README's commands."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from accord import cli

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("command", [c.name for c in cli.COMMANDS])
def test_every_command_loads_and_teaches(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main([command, "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert "--json" in text
    assert next(c.sentence for c in cli.COMMANDS if c.name == command).split()[0] in text


def test_version_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["version", "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)) == {"accord", "wire", "python"}


def test_lock_gives_numpy_2_to_all_but_tflite() -> None:
    versions = re.findall(r'name = "numpy"\nversion = "([0-9.]+)"', (ROOT / "uv.lock").read_text())
    assert any(v.startswith("1.") for v in versions), "tflite's numpy 1 is missing"
    assert any(v.startswith("2.") for v in versions), "everyone else's numpy 2 is missing"


def test_ci_runs_the_readme_test_command_and_nothing_more() -> None:
    commands = [
        line for line in (ROOT / ".ci/run").read_text().splitlines() if line and not line.startswith(("#", "set"))
    ]
    assert commands == ["make test"]
    assert "make test" in (ROOT / "README.md").read_text()


def test_every_make_target_of_the_readme_exists() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^make (\w+)", (ROOT / "README.md").read_text(), re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_packages_import_without_a_model_runtime() -> None:
    code = (
        "import sys, accord, edge_sdk, aggregator, broker, accord.cli\n"
        "bad = {'onnxruntime', 'numpy', 'paho'} & set(sys.modules)\n"
        "assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
