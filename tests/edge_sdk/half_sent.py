"""A device whose updates leave half of the change out, and the files that it has written."""

import dataclasses

import numpy as np

from accord.plan import Update
from accord.prg import digest
from accord.update import feedback
from accord.update.pipeline import Contribution
from aggregator import coordinator_values as agg
from edge_sdk import session_values as dev
from edge_sdk.residual import RESIDUAL, VECTORS, Kept
from edge_sdk.saved import FILES, UNSETTLED, Saved, Unsettled
from tests.edge_sdk.restarts import restarted
from tests.edge_sdk.scene import ME, Scene
from tests.fleet.queue_world import LAYOUT

HALF = LAYOUT.size // 2
SUPPORT = b"\x01"
"""The first of two blocks."""
UPDATE = Update(
    kind="block-score", block=HALF, share=500_000, feedback=100, score_exponent=-8, support_digest=digest(SUPPORT)
)


class Half(Scene):
    """Its rounds ask for the first half of the parameters; `files` is what dev-00 has written, in `order`."""

    def __init__(self, profile: str = "standard") -> None:
        self.files: dict[str, bytes] = {}
        self.order: list[str] = []
        self.update, self.fewest = UPDATE, 1
        super().__init__(profile)

    def request(self, **changes: object) -> agg.Request:
        return super().request(update=self.update, support=SUPPORT, fewest_cohorts=self.fewest, **changes)

    def contribution(self, name: str) -> Contribution:
        return dataclasses.replace(super().contribution(name), delta=np.full(LAYOUT.size, 0.25, np.float32))

    def take(self, event: dev.Event) -> tuple[dev.Effect, ...]:
        effects = super().take(event)
        for effect in effects:
            match effect:
                case dev.Keep(name=name, data=data):
                    self.files[name] = data
                    self.order.append(name)
                case dev.Forget(names=names):
                    for name in names:
                        self.files.pop(name, None)
                case dev.Send():
                    self.order.append("sent")
        return effects

    @property
    def kept(self) -> Kept:
        return Kept.decode(self.files[RESIDUAL])

    def held(self) -> list[float]:
        """What is held of the first parameter, that was sent, and of the last, that was not; rounding aside."""
        if not self.kept.held:
            return [0.0, 0.0]
        found = feedback.decode(self.files[VECTORS[self.kept.held - 1]], LAYOUT.size)
        return [round(float(found[0]), 2), round(float(found[-1]), 2)]

    def restarted(self, *without: str) -> tuple[dev.Effect, ...]:
        """Switch dev-00 off and on: its session is made from its files, but for those that were not written yet."""
        files = {name: data for name, data in self.files.items() if name not in without}
        residual = {name: files[name] for name in (RESIDUAL, *VECTORS) if name in files}
        self.session = self.sessions[ME] = restarted(self, residual=residual)
        found = {name: record.decode(files[name]) for name, record in FILES.items() if name in files}
        if UNSETTLED in files:
            found[UNSETTLED] = Unsettled.decode(files[UNSETTLED])
        effects = self.session.resume(Saved(**found))  # type: ignore[arg-type]
        for effect in effects:
            if isinstance(effect, dev.Keep):
                self.files[effect.name] = effect.data
            elif isinstance(effect, dev.Forget):
                for name in effect.names:
                    self.files.pop(name, None)
            elif isinstance(effect, dev.Work):
                self.mail.append(dev.Worked(found=self.contribution(ME)))
            elif isinstance(effect, dev.Send):
                self.queue.append(("aggregator:" + ME, effect.data))
        self.settle()
        return effects
