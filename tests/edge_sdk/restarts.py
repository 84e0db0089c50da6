"""A device's session after a restart."""

from accord.entropy import SeededEntropy
from edge_sdk import session_values as dev
from edge_sdk.session import Session
from tests.edge_sdk.scene import Scene
from tests.fleet.queue_world import BUNDLE, CLOCK, LAYOUT


def restarted(scene: Scene, job: str = "j") -> Session:
    """Return the session of a device that was restarted: of the one before only the ledger is left."""
    return Session(
        job=job,
        identity=scene.session.identity,
        limits=dev.Limits(smallest_cohort=3, allow_unmasked=True),
        layout=LAYOUT,
        bundle_digest=BUNDLE,
        entropy=SeededEntropy(9),
        ledger=scene.session.ledger,
        now=CLOCK,
    )
