"""A device's session after a restart."""

from collections.abc import Mapping
from types import MappingProxyType

from accord.entropy import SeededEntropy
from edge_sdk import session_values as dev
from edge_sdk.session import Session
from tests.edge_sdk.scene import Scene
from tests.fleet.queue_world import BUNDLE, CLOCK, LAYOUT

EMPTY: Mapping[str, bytes] = MappingProxyType({})


def restarted(scene: Scene, job: str = "j", residual: Mapping[str, bytes] = EMPTY) -> Session:
    """Return the session of a device that was restarted: the ledger is left, and the files of its residual."""
    return Session(
        job=job,
        identity=scene.session.identity,
        limits=dev.Limits(smallest_cohort=3, allow_unmasked=True),
        layout=LAYOUT,
        bundle_digest=BUNDLE,
        entropy=SeededEntropy(9),
        ledger=scene.session.ledger,
        now=CLOCK,
        residual=residual,
    )
