"""How the aggregator's time and memory grow with the number of devices and of coordinates: a grid, fits and a picture.

Each cohort has a sparse graph for a tenth of corrupt devices and a tenth of dropouts, and a tenth drops out.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from secagg_case import Case
from secagg_sides import measured

from accord.plan import Graph
from accord.secagg.graph import rule

GRAPH = Graph(complete_up_to=0, corrupt=100_000, dropout=100_000)
CLIENTS, SIZES = (50, 100, 200, 500, 1_000), (10_000, 100_000, 1_000_000, 10_000_000)
USUAL_CLIENTS, USUAL_SIZE = 50, 100_000
"""Where the two arms of the grid cross: all numbers of devices at one size, and all sizes at one number."""
BITS, DROPOUT = 16, 0.1


def scaling(plot: Path | None, *, quiet: bool) -> dict[str, Any]:
    """Measure the grid and return {"rows", "exponents"}.

    Args:
        plot: the file of a picture, if one is asked for.
        quiet: whether to print nothing on the way.
    """
    grid = [(clients, USUAL_SIZE) for clients in CLIENTS]
    grid += [(clients, SIZES[0]) for clients in CLIENTS]
    grid += [(USUAL_CLIENTS, size) for size in SIZES[2:]]
    rows = []
    for clients, size in grid:
        found = measured(Case(clients=clients, size=size, bits=BITS, dropout=DROPOUT, graph=GRAPH, seed=1))
        neighbours = rule(clients, GRAPH)[0]
        rows.append(
            {
                "clients": clients,
                "size": size,
                "neighbours": neighbours,
                "server_cpu_s": round(found["server_cpu_s"], 4),
                "client_cpu_s": round(found["client_cpu_s"], 4),
                "peak_rss_mb": round(found["peak_rss_mb"], 1),
                "exact": found["exact"],
            }
        )
        if not quiet:
            print(rows[-1], flush=True)
    by_clients = [row for row in rows if row["size"] == USUAL_SIZE]
    by_size = sorted((row for row in rows if row["clients"] == USUAL_CLIENTS), key=lambda row: row["size"])
    exponents = {
        "server_cpu_by_clients": exponent(by_clients, "clients", "server_cpu_s"),
        "server_cpu_by_size": exponent(by_size[-2:], "size", "server_cpu_s"),
        "peak_rss_by_clients": exponent(by_clients, "clients", "peak_rss_mb"),
        "peak_rss_by_size": exponent(by_size[-2:], "size", "peak_rss_mb"),
    }
    if plot:
        draw(by_clients, by_size, plot)
    return {"rows": rows, "exponents": exponents}


def exponent(rows: Sequence[dict[str, Any]], of: str, name: str) -> float:
    """Return e of the least-squares fit c·x^e to one column by another, on logarithms."""
    x, y = ([math.log(row[key]) for row in rows] for key in (of, name))
    return round(float(np.polyfit(x, y, 1)[0]), 2)


def draw(by_clients: list[dict[str, Any]], by_size: list[dict[str, Any]], file: Path) -> None:
    """Draw time and memory over both arms of the grid."""
    import matplotlib as mpl  # noqa: PLC0415 - of the dev group, and slow to import

    mpl.use("Agg")
    mpl.rcParams["svg.hashsalt"] = "accord"
    from matplotlib import pyplot as plt  # noqa: PLC0415

    figure, axes = plt.subplots(2, 2, figsize=(9, 6), sharex="col", sharey="row", layout="constrained")
    arms = (
        (by_clients, "clients", f"devices, {USUAL_SIZE:,} coordinates"),
        (by_size, "size", f"coordinates, {USUAL_CLIENTS} devices"),
    )
    marks = (("server_cpu_s", "aggregator, CPU seconds"), ("peak_rss_mb", "aggregator, peak memory, MB"))
    for column, (rows, of, about) in enumerate(arms):
        for line, (name, unit) in enumerate(marks):
            panel = axes[line][column]
            panel.loglog([row[of] for row in rows], [row[name] for row in rows], "o-", color="#1f5fa8")
            for row in rows:
                panel.annotate(
                    f"{row[name]:.3g}", (row[of], row[name]), xytext=(0, 7), textcoords="offset points", ha="center"
                )
            panel.grid(visible=True, which="major", alpha=0.3)
            panel.margins(x=0.12, y=0.25)
            panel.set_xticks([row[of] for row in rows], [f"{row[of]:,}" for row in rows])
            panel.yaxis.set_major_formatter("{x:g}")
            panel.minorticks_off()
            if column == 0:
                panel.set_ylabel(unit)
        axes[1][column].set_xlabel(about)
    axes[1][0].set_ylim(10, 1_000)
    figure.suptitle("A secure sum: a tenth of the devices corrupt, a tenth drops out, 16 bits")
    figure.savefig(file, metadata={"Date": None} if file.suffix == ".svg" else None)
    plt.close(figure)
