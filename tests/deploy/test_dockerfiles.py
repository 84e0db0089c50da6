"""The Dockerfiles without Docker: RUN, HEALTHCHECK and CMD in an empty folder, with a fresh venv as the base image.

Nothing is downloaded: what the wheel needs comes from the environment of the tests. What stays untested is the base
image itself, and whether every platform has the wheels.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
FILES = {"device": ROOT / "deploy" / "Dockerfile", "aggregator": ROOT / "deploy" / "aggregator.Dockerfile"}
MACHINES = re.compile(r"x86|amd64|aarch64|arm64|armv|TARGETARCH|TARGETPLATFORM|BUILDPLATFORM|--platform")


def instructions(path: Path) -> list[tuple[str, str]]:
    text = re.sub(r"^#.*\n", "", path.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in text.splitlines() if line.strip()]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    uv = shutil.which("uv") or str(ROOT / ".uv" / "bin" / "uv")
    if not Path(uv).exists():
        pytest.skip("uv is not installed: make venv")
    out = tmp_path_factory.mktemp("dist")
    words = [uv, "build", "--wheel", "--offline", "--python", sys.executable, "--out-dir", str(out), str(ROOT)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode and "network was disabled" in done.stderr:
        pytest.skip("uv has no copy of the build backend: run `uv build` once with a network")
    assert done.returncode == 0, done.stderr
    return next(out.glob("*.whl"))


class Image:
    """A folder that stands for WORKDIR, and a venv that stands for the base image."""

    def __init__(self, path: Path, folder: Path, wheel: Path) -> None:
        self.work = folder / "work"
        self.work.mkdir()
        self.lines = instructions(path)
        venv = folder / "base"
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
        packages = next((venv / "lib").glob("python3*/site-packages"))
        (packages / "tests.pth").write_text(next(p for p in sys.path if p.endswith("site-packages")) + "\n")
        self.environment = {
            "PATH": f"{venv / 'bin'}{os.pathsep}/usr/bin{os.pathsep}/bin",
            "PIP_NO_INDEX": "1",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        }
        self.command: list[str] = []
        self.health = ""
        for name, rest in self.lines:
            match name:
                case "ARG" | "ENV":
                    self.environment |= dict(word.split("=", 1) for word in shlex.split(rest))
                case "COPY":
                    assert rest == "dist/*.whl ./"
                    shutil.copy(wheel, self.work)
                case "RUN":
                    done = self.run(["sh", "-ec", rest])
                    assert done.returncode == 0, done.stdout + done.stderr
                case "HEALTHCHECK":
                    self.health = rest.partition("CMD ")[2]
                case "CMD":
                    self.command = json.loads(rest)

    def run(self, words: list[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            words, cwd=self.work, env=self.environment, capture_output=True, text=True, timeout=240, check=False
        )


@pytest.fixture(scope="module", params=FILES)
def image(request: pytest.FixtureRequest, wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Image:
    if os.getuid() != 0:
        pytest.skip("a step gives the state folder to another user, which only root may")
    return Image(FILES[request.param], tmp_path_factory.mktemp(request.param), wheel)


@pytest.mark.parametrize("kind", FILES)
def test_no_step_depends_on_the_architecture_and_none_runs_as_root(kind: str) -> None:
    found = instructions(FILES[kind])
    assert [line for line in found if MACHINES.search(" ".join(line))] == []
    names = [name for name, _ in found]
    assert names[0] == "FROM"
    assert "slim" in found[0][1]
    user = dict(found)["USER"]
    assert not user.startswith(("0", "root"))
    assert names.index("USER") < names.index("CMD")
    assert not any(name == "RUN" for name in names[names.index("USER") :])
    assert dict(found)["VOLUME"] == "/accord/state"


def test_the_command_starts_and_says_what_it_lacks(image: Image) -> None:
    assert sorted(path.name for path in image.work.iterdir()) == ["state"], "the wheel is not left in the image"
    state = (image.work / "state").stat()
    assert (state.st_uid, state.st_mode & 0o777) == (10001, 0o700)
    where = image.run(["python", "-c", "import accord; print(accord.__file__)"]).stdout
    assert str(image.work.parent / "base") in where, "the wheel is what runs, not the checkout"
    done = image.run([*image.command, "--help"])
    assert done.returncode == 0, done.stderr
    done = image.run(image.command)
    assert done.returncode == 1
    assert "device.toml" in done.stdout or "aggregator.toml" in done.stdout, "the file that nobody has mounted"


def test_the_health_check_tells_the_truth(image: Image) -> None:
    assert image.run(["sh", "-ec", image.health]).returncode != 0, "there is nothing yet"
    if "device" not in image.command:
        return
    (image.work / "device.toml").write_text(
        '[device]\nid = "dev-0"\ntenant = "demo"\njob = "job"\nstate = "state"\n'
        '[broker]\nhost = "127.0.0.1"\nport = 8883\n[work]\nbundle = "bundle"\n'
    )
    done = image.run(["sh", "-ec", image.health])
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["enrolled"] is False
    (image.work / "device.toml").unlink()
