"""The pages for people are true: every block runs, every link leads somewhere, every name and section exists."""

import argparse
import ast
import importlib.util
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from accord import cli
from aggregator.audit.entries import KINDS
from tests import field_tables, pages
from tests.pages import PAGES, ROOT

PACKAGES = ("accord", "edge_sdk", "aggregator", "broker", "tools")
PROTOCOL, THREATS = ROOT / "docs" / "protocol.md", ROOT / "docs" / "threats.md"
EVERY_PAGE = (*PAGES, ROOT / "CHANGELOG.md", *sorted((ROOT / "docs" / "adr").glob("*.md")))
NAMED_BY_CALLS = {"Refusal", "Aborted", "Failed", "Refused", "Recall", "Log", "_refuse", "_leave", "_unleft"}
CAMEL = re.compile(r"[A-Z][a-z]+(?:[A-Z][A-Za-z]*)?")


def sources() -> list[Path]:
    return [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def names_in_code() -> dict[str, str]:
    """Return each name of a refusal or abort, and a place where it is raised."""
    found = {}
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            given = [*node.args[:1], *(word.value for word in node.keywords if word.arg == "reason")]
            for value in given if called in NAMED_BY_CALLS else ():
                if isinstance(value, ast.Constant) and CAMEL.fullmatch(str(value.value)):
                    found[str(value.value)] = f"{path.relative_to(ROOT)}:{node.lineno}"
    return found


def parsers() -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Yield every command and subcommand with its parser."""

    def below(name: str, parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
        yield name, parser
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                for word, child in action.choices.items():
                    yield from below(f"{name} {word}", child)

    for command in cli.ALONE:
        alone = argparse.ArgumentParser(prog=f"accord {command.name}")
        cli._load(command).configure(alone)
        yield f"accord {command.name}", alone
    for command in cli.COMMANDS:
        top = dict(below("accord", cli._parser(command.name)))
        yield from ((name, p) for name, p in top.items() if name.split()[1:2] == [command.name])


PARSERS = dict(parsers())


@pytest.mark.timeout(500)
@pytest.mark.parametrize("page", [p for p in PAGES if pages.script(p, 1)], ids=lambda page: page.name)
def test_every_block_of_a_page_runs(page: Path, tmp_path: Path) -> None:
    ended = pages.run(pages.script(page, pages.free_port()), tmp_path, timeout=460)
    assert ended.returncode == 0, f"the block that was told last failed:\n{ended.stdout[-4000:]}"
    assert not pages.alive(tmp_path), "a process outlives its page"


def test_every_fence_says_what_it_is_and_nothing_is_left_out_for_no_reason() -> None:
    every = [(page, block) for page in EVERY_PAGE for block in pages.blocks(page)]
    for page, block in every:
        known = {"sh", "python", "toml", "mermaid", ""}
        assert block.language in known, f"{page.name}, line {block.line}: use one of {known}"
        if not block.language:
            commands = [line for line in block.text.splitlines() if re.match(r"(accord|make|pip|python) ", line)]
            assert not commands, f"{page.name}, line {block.line}: mark commands as sh, so that they are run"
    lines = {line for _, block in every if block.language == "sh" for line in block.text.splitlines()}
    text = "".join(block.text for _, block in every)
    assert all(line in text for line in pages.LEFT_OUT), "a block on the list of those left out is no longer there"
    assert set(pages.SKIPPED) <= lines, "a line on the list of those left out is no longer there"


@pytest.mark.parametrize("name", PARSERS)
def test_the_help_of_every_command_shows_an_example_that_parses(name: str) -> None:
    examples = re.findall(rf"{name}\b[^\n]*", PARSERS[name].epilog or "")
    assert examples, f"`{name} --help` shows no example"
    for example in examples:
        called = max((n for n in PARSERS if f"{example} ".startswith(f"{n} ")), key=len)
        PARSERS[called].parse_args(shlex.split(example.removeprefix(called)))
    assert "example" in PARSERS[name].format_help()


def test_commands_in_the_text_exist_with_their_options() -> None:
    seen = 0
    for page in PAGES:
        for command in re.findall(r"`(accord [a-z][^`]*)`", page.read_text()):
            words = command.split()
            name = max((n for n in PARSERS if command == n or command.startswith(f"{n} ")), key=len, default="")
            assert name, f"{page.name}: there is no `{command}`"
            options = {option for action in PARSERS[name]._actions for option in action.option_strings}
            missing = {word for word in words if word.startswith("--")} - options
            assert not missing, f"{page.name}: `{command}` has no {missing}"
            seen += 1
    assert seen > 10


def test_links_lead_somewhere() -> None:
    for page in EVERY_PAGE:
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text()):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), f"{page.name} links to {target}, which is not there"


def test_every_section_that_is_cited_exists() -> None:
    there = set(re.findall(r"^#{2,3} (\d+(?:\.\d+)?)\.? ", PROTOCOL.read_text(), re.MULTILINE))
    assert {"1", "7.2", "15"} <= there
    cited = {}
    for path in (*sources(), *EVERY_PAGE):
        text = path.read_text()
        pattern = r"\(?sections? (\d[\d.]*)" if path == PROTOCOL else r"protocol(?:\.md,)?,? sections? (\d[\d.]*)"
        for found in re.finditer(pattern, text):
            if "RFC" not in text[max(0, found.start() - 60) : found.start()]:
                cited[found[1].rstrip(".")] = path.name
    assert len(cited) > 15
    assert not {section: where for section, where in cited.items() if section not in there}


def test_every_name_of_a_refusal_is_explained() -> None:
    names = names_in_code()
    assert len(names) > 60
    explained = set(re.findall(r"`([A-Z]\w+)`", PROTOCOL.read_text() + THREATS.read_text()))
    missing = {name: place for name, place in names.items() if name not in explained}
    assert not missing, "say in docs/threats.md what each is for, and in docs/protocol.md when it is raised"


def test_no_name_in_the_tables_is_one_that_nobody_raises() -> None:
    rows = [line for line in PROTOCOL.read_text().splitlines() if re.match(r"\| `[A-Z]", line)]
    told = {name for line in rows for name in re.findall(r"`([A-Z]\w+)`", line.split("|")[1])}
    told |= set(re.findall(r"`([A-Z]\w+)`", "".join(re.findall(r"\([^()]*\)", THREATS.read_text()))))
    logged_by_class = {"CodecError", "SignatureError"}
    assert len(told) > 60
    assert told - logged_by_class <= set(names_in_code())


def test_the_tables_of_fields_are_those_of_the_code() -> None:
    page = PROTOCOL.read_text()
    tables = field_tables.found(page)
    assert set(tables) == {"tags", *(f"record {name}" for name in field_tables.RECORDS)}
    assert field_tables.renewed(page) == page, "run: python -m tests.field_tables --write"
    unexplained = [
        f"{title}: {row}" for title, text in tables.items() for row in re.findall(r"^.*\|  \|.*$", text, re.MULTILINE)
    ]
    assert not unexplained, "say what these mean, in docs/protocol.md"


def test_every_kind_of_entry_in_the_audit_log_is_explained_and_no_other() -> None:
    told = re.findall(r"^\| `(\w+)` \|.*\|.*\|$", PROTOCOL.read_text().partition("**Entry**")[2], re.MULTILINE)
    assert told[: len(KINDS)] == list(KINDS)


def test_what_the_threats_point_to_is_there() -> None:
    text = THREATS.read_text()
    for path in set(re.findall(r"`(tests/[\w/.]+)`", text)):
        assert (ROOT / path).exists(), path
    for name in set(re.findall(r"`((?:accord|edge_sdk|aggregator|broker)(?:\.\w+)+)`", text)):
        assert importlib.util.find_spec(name) is not None, name
