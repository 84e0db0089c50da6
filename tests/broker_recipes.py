"""The public files of each broker's configuration, kept in tests/brokers/recipes for people to see what changes.

`python -m tests.broker_recipes --write` brings them up to date.
"""

import sys
from pathlib import Path

from accord.entropy import SystemEntropy
from broker.config import Listener, Tls
from broker.mosquitto import plugin
from broker.recipe import RECIPES, Wanted

FOLDER = Path(__file__).parent / "brokers" / "recipes"
_TLS = Tls(certificate=Path("/tls/broker.pem"), key=Path("/tls/broker.key"), clients=Path("/tls/ca.pem"))
WANTED = Wanted(
    tenant="fleet", listener=Listener(host="0.0.0.0", port=8883, tls=_TLS), folder=Path("/accord"), user="mosquitto"
)
CASES = {
    **{kind: (kind, WANTED) for kind in RECIPES},
    "mosquitto-files": (
        "mosquitto",
        Wanted(tenant="fleet", listener=WANTED.listener, folder=WANTED.folder, user="mosquitto", access="files"),
    ),
    "nats-cluster": (
        "nats",
        Wanted(tenant="fleet", listener=WANTED.listener, folder=WANTED.folder, nodes=("nats-1", "nats-2", "nats-3")),
    ),
}


def made() -> dict[str, str]:
    """Return every file of every case, by its path; the plugin's folder depends on the machine."""
    return {
        f"{case}/{name}": text.replace(str(plugin()), "/usr/lib/mosquitto_dynamic_security.so")
        for case, (kind, wanted) in CASES.items()
        for name, text in RECIPES[kind](wanted, SystemEntropy()).files.items()
    }


if __name__ == "__main__" and "--write" in sys.argv:
    for path, content in made().items():
        (FOLDER / path).parent.mkdir(parents=True, exist_ok=True)
        (FOLDER / path).write_text(content)
