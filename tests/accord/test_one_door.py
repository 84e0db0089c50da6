"""What runs on a device writes through `accord.files` alone: no other module calls what changes a disk."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
CHANGES = frozenset(
    [
        "write_bytes",
        "write_text",
        "unlink",
        "mkdir",
        "makedirs",
        "rmdir",
        "touch",
        "truncate",
        "fsync",
        "mkstemp",
        "rmtree",
        "copyfile",
        "symlink_to",
    ]
)
MODES = frozenset(("w", "a", "x", "wb", "ab", "xb", "r+b"))


def changes(source: str) -> list[str]:
    """Return the calls in `source` that change a disk."""
    found = []
    for call in (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)):
        name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
        modes = [a.value for a in (*call.args, *(k.value for k in call.keywords)) if isinstance(a, ast.Constant)]
        writes = name == "open" and any(
            isinstance(m, str) and m in ("w", "a", "x", "wb", "ab", "xb", "r+b") for m in modes
        )
        if name in CHANGES or writes:
            found.append(f"line {call.lineno}: {name}")
    return found


@pytest.mark.parametrize("package", ["accord", "edge_sdk"])
def test_no_other_module_changes_a_disk(package: str) -> None:
    files = [p for p in (ROOT / package).rglob("*.py") if (ROOT / "accord" / "files") not in p.parents]
    assert len(files) > 20
    assert {str(p.relative_to(ROOT)): found for p in files if (found := changes(p.read_text()))} == {}


def test_the_search_finds_what_it_looks_for() -> None:
    assert changes("path.write_text('x')\nopen(p, 'ab')\nopen(p)\nwith p.open(mode='w') as f: pass") == [
        "line 1: write_text",
        "line 2: open",
        "line 4: open",
    ]
    assert changes((ROOT / "accord" / "files" / "system.py").read_text()) != []
