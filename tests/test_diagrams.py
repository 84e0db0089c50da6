"""The pictures in docs/diagrams.md are those of the tables, and each table can be walked from its start to its end."""

import itertools
import re

from accord.secagg import answering, client, confirming, server, unmasked
from aggregator.round import TRANSITIONS as ROUND
from docs import diagrams
from edge_sdk.session_values import TRANSITIONS as SESSION


def test_the_page_is_what_the_tables_give() -> None:
    page = (diagrams.HERE / "diagrams.md").read_text()
    assert page == diagrams.page(), "run: python -m docs.diagrams --write"


def test_every_transition_is_drawn() -> None:
    for table in (SESSION, ROUND):
        arrows = diagrams.of_table(table)
        assert len(arrows) == sum(len(row) for row in table.values())
        picture = diagrams.drawn("", "", arrows, arrows[0][0]).replace("_", "-")
        for origin, target, event in arrows:
            (line,) = re.findall(rf"^    {origin} --> {target}: (.*)$", picture, re.MULTILINE)
            assert event in line.split(", ")


def test_stage_classes_lead_from_the_first_to_the_last() -> None:
    for modules, paths in (
        (
            (client, answering),
            (["Joining", "Sharing", "Masking", "Unmasking", "Answered", ""], ["Unmasking", "Confirmed", "Answered"]),
        ),
        ((server, confirming), (["Sharing", "Collecting", "Unmasking", ""], ["Confirming", "Unmasking"])),
        ((unmasked,), (["Collecting", "Confirming", ""],)),
    ):
        steps = {step for path in paths for step in itertools.pairwise(path)}
        assert {(a, b) for a, b, _ in diagrams.of_stages(*modules)} == steps
