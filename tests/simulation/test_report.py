"""The report is one page that loads nothing, shows every round, and runs no text that was put into it."""

import re
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from accord.errors import UsageError
from simulation.baselines import Curve, Point
from simulation.charts import Series, lines
from simulation.history import Abort, DeviceRow, History, RoundRow
from simulation.metrics import Evaluation
from simulation.report import render

ROUNDS = 10


def reached(number: int, top: float) -> Evaluation:
    hits = top * (1 - np.exp(-number / 3))
    return Evaluation(rows=2000, accuracy=hits, auroc=hits, auprc=hits, mae=10 / number, r2=hits, loss=2.3 - 2 * hits)


def curve(name: str, top: float) -> Curve:
    points = [Point(round=n, evaluation=reached(n, top), seconds=0.8) for n in range(1, ROUNDS + 1)]
    return Curve(name=name, points=tuple(points))


def invented(kind: Any = "classification", **changes: Any) -> History:
    """A run that never was."""
    tale = "6 of 12 survived, 7 are needed"
    rounds = tuple(
        RoundRow(
            round=n,
            attempt=2 if n == 6 else 1,
            evaluation=reached(n, 0.79),
            participants=12 - n % 3,
            dropouts=n % 3,
            recovered=n % 3 // 2,
            payload_bytes_up=29_300,
            payload_bytes_down=58_900,
            control_bytes_up=3100,
            control_bytes_down=5200,
            seconds=9.0 + n / 3,
            aborted=(Abort(attempt=1, reason="TooFewSurvivors", detail=tale),) if n == 6 else (),
        )
        for n in range(1, ROUNDS + 1)
    )
    devices = [
        DeviceRow(device=f"dev-{i:03d}", train_rows=100 * i, test_rows=90, participations=8, dropouts=i % 3)
        for i in range(1, 12)
    ]
    devices.append(
        DeviceRow(
            device="clinic-9", origin="Clinic 9", train_rows=0, test_rows=40, dropped_rows=3, notes=("test only",)
        )
    )
    values: dict[str, Any] = {
        "kind": kind, "rounds": rounds, "final": reached(ROUNDS, 0.79), "devices": tuple(devices),
        "model_digest": "5e" * 32, "fedavg": curve("FedAvg, float32, no masks", 0.8),
        "centralized": curve("centralized", 0.84),
        "notes": ("task classification: y holds 10 distinct whole numbers that repeat", "clinic-9 has no training row"),
    }  # fmt: skip
    return History(**{**values, **changes})


class Page(HTMLParser):
    """Collects tags, ids and attributes, and refuses tags that are not closed in order."""

    VOID = frozenset({"meta", "br"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        self.ids += [value for name, value in attrs if name == "id" and value]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("kind", ["classification", "binary", "regression"])
def test_the_page_is_whole_and_loads_nothing(kind: Any) -> None:
    text = render(invented(kind), title="Fashion-MNIST", settings={"devices": 12, "masks": "on"})
    page = Page(text)
    assert page.tags.count("svg") == 4
    assert not {"script", "link", "img", "iframe", "image", "object"} & set(page.tags)
    assert len(set(page.ids)) == len(page.ids)
    assert not any(name in {"src", "srcset", "action"} or name.startswith("on") for name, _ in page.attributes)
    assert all(value.startswith("#") for name, value in page.attributes if name in {"href", "xlink:href"})
    assert "http:" not in text
    assert "https:" not in text
    assert not re.search(r"url\((?!#)", text)
    references = set(re.findall(r'(?:url\(|href=")#([^)"]+)', text))
    assert references <= set(page.ids)
    assert text == render(invented(kind), title="Fashion-MNIST", settings={"devices": 12, "masks": "on"})


def test_every_number_that_matters_is_on_it() -> None:
    text = render(invented(), title="Fashion-MNIST, 12 devices", settings={"model": "cnn:small"})
    for part in (
        "Fashion-MNIST, 12 devices", "cnn:small", "TooFewSurvivors", "6 of 12 survived", "FedAvg, float32, no masks",
        "centralized", "clinic-9", "Clinic 9", "test only", "5e5e5e", "32.4", "64.1", "has no training row", "76.2 %",
        "−1.0 <small>points", "3 recovered", "1 attempt aborted",  # noqa: RUF001
    ):  # fmt: skip
        assert part in text, part
    assert text.count("<tr") == 1 + ROUNDS + 1 + 3 + 1 + 12


def test_both_colour_schemes_name_every_colour() -> None:
    text = render(invented(), title="x", settings={})
    light, dark = (set(re.findall(r"(--[a-z-]+):", part)) for part in re.findall(r":root \{(.*?)\}", text, re.DOTALL))
    assert light == dark
    assert set(re.findall(r"var\((--[a-z-]+)\)", text)) <= light
    assert not re.search(r"#0[123]0[13]\w\w", text)


def test_text_of_others_is_shown_and_never_run() -> None:
    evil = "<script>alert('x')</script>"
    device = DeviceRow(device="a", origin=evil, train_rows=1, test_rows=1, notes=(evil,))
    abort = Abort(attempt=1, reason="Bad", detail=evil)
    lost = RoundRow(
        round=1, evaluation=Evaluation(rows=0), participants=0, dropouts=0, payload_bytes_up=0, payload_bytes_down=0,
        control_bytes_up=0, control_bytes_down=0, seconds=0, aborted=(abort,),
    )  # fmt: skip
    changes: dict[str, Any] = {"devices": (device,), "rounds": (lost,), "notes": (evil,)}
    named = Curve(name=evil, points=(Point(round=1, evaluation=Evaluation(rows=0), seconds=0),))
    text = render(invented(fedavg=named, centralized=None, **changes), title=evil, settings={evil: evil}, lead=evil)
    assert "<script" not in text
    assert text.count("&lt;script&gt;") == 10
    assert 'class="lost"' in text
    Page(text)


def test_a_run_without_rounds_or_baselines_has_a_page_too() -> None:
    text = render(invented(rounds=(), fedavg=None, centralized=None, devices=()), title="x", settings={})
    Page(text)
    assert "against" not in text


def test_a_gap_in_a_line_is_a_gap() -> None:
    drawn = lines([Series(name="a", variable="accord", x=[1, 2, 3], y=[0.5, None, 0.7])], label="a & <b>", key="k")
    assert "nan" not in drawn
    assert 'aria-label="a &amp; &lt;b>"' in drawn
    with pytest.raises(UsageError, match="2 positions for 1 values"):
        Series(name="a", variable="accord", x=[1, 2], y=[1])
