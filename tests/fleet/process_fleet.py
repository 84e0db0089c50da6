"""Three devices and an aggregator as real processes, led step by step through a round by holding some of them still.

A device that is held (SIGSTOP) keeps the round in its stage for as long as the test needs; where the round stands is
read from the aggregator's store and the devices' journals, never guessed from the time.
"""

import functools
import json
import os
import signal
import subprocess
import threading
from pathlib import Path
from typing import Any

import numpy as np

from accord.entropy import SeededEntropy
from accord.wire.envelope import Envelope
from aggregator import journal
from aggregator.store import FILE, Store, database_of
from aggregator.tables import rounds
from quantize import make_bundle
from simulation.partition import DeviceData
from simulation.rig import JOB, Rig, RigSettings
from tests import waiting

NAMES = ("dev-0", "dev-1", "dev-2")
FIRST, SECOND, VICTIM = "dev-0", "dev-2", "dev-1"
"""Two that are held in turns, and one that never is."""
STAGES = ("joining", "sharing", "collecting", "unmasking")
FILES = ("joined", "shared", "masked", "answered")
"""What the victim has written last in each stage."""
_TAGS = ("join/2", "share/2", "masked/1", "unmask/1")
TEST_ROWS = {"dev-0": 11, "dev-1": 17, "dev-2": 23}

until = functools.partial(waiting.until, seconds=90)
"""Processes share the cores with others."""


def rows(seed: int, test: int, train: int = 40) -> DeviceData:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, train + test)
    x = (rng.normal(size=(train + test, 6)) + y[:, None]).astype(np.float32)
    return DeviceData(device=NAMES[seed], x_train=x[:train], y_train=y[:train], x_test=x[train:], y_test=y[train:])


class ProcessFleet:
    def __init__(self, folder: Path, *, rounds: int) -> None:
        windows = {"gather": 90.0, "join": 90.0, "share": 90.0, "collect": 90.0, "unmask": 90.0, "grace": 60.0}
        self.rig = Rig(
            folder,
            RigSettings(
                broker="embedded",
                devices=3,
                rounds=rounds,
                floor=3,
                learning_rate=0.1,
                momentum=0.5,
                batch_size=8,
                epochs=1,
                windows=windows,
            ),
            NAMES,
        )
        bundle = make_bundle("mlp:16", (6,), 3, "softmax", 8, SeededEntropy(5), self.rig.fleet.publisher())
        self.rig.prepare(bundle, {name: rows(seed, TEST_ROWS[name]) for seed, name in enumerate(NAMES)})
        self.rig.start_broker()
        self.facts: list[dict[str, Any]] = []
        self._readers: list[threading.Thread] = []
        self._store: Store | None = None

    @property
    def store(self) -> Store:
        if self._store is None:
            until((self.rig.state / FILE).exists, "the aggregator makes its store")
            self._store = Store(database_of(self.rig.state))
        return self._store

    def start_aggregator(self) -> subprocess.Popen[bytes]:
        process = self.rig.start_aggregator()

        def read() -> None:
            assert process.stdout is not None
            with process.stdout:
                self.facts.extend(json.loads(line) for line in process.stdout if line.endswith(b"\n"))

        self._readers.append(threading.Thread(target=read))
        self._readers[-1].start()
        return process

    def kill_aggregator(self) -> None:
        process = self.rig._aggregator
        assert process is not None
        process.kill()
        assert process.wait() == -signal.SIGKILL

    def hold(self, name: str) -> None:
        os.kill(self.rig._devices[name].pid, signal.SIGSTOP)

    def let_go(self, *names: str) -> None:
        for name in names:
            os.kill(self.rig._devices[name].pid, signal.SIGCONT)

    def letters(self, stage: int) -> set[str]:
        """Return whose letter of a stage is in the journal of the round under way."""
        with self.store.read() as connection:
            found = [entry for entry in journal.replay(connection, JOB) if entry.kind == "letter"]
        return {entry.device for entry in found if Envelope.decode(entry.data).tag == _TAGS[stage]}

    @property
    def under_way(self) -> bool:
        with self.store.read() as connection:
            return journal.under_way(connection, JOB)

    def ended(self) -> list[rounds.RoundRow]:
        with self.store.read() as connection:
            return list(rounds.of_job(connection, JOB))

    def climb(self, stage: int) -> int:
        """Lead the next round into a stage, keep it there, and return its number.

        The victim's letter has come then, and that of another has not.
        """
        until(lambda: not self.under_way, "the round before is over")
        self.hold(FIRST)
        if self.under_way and FIRST in self.letters(0):  # held too late: this round goes by
            count = len(self.ended())
            self.let_go(FIRST)
            until(lambda: len(self.ended()) > count, "the round is over")
            return self.climb(stage)
        held, moving = FIRST, SECOND
        for step in range(stage + 1):
            if step:
                self.hold(moving)
                self.let_go(held)
                held, moving = moving, held
            wanted = {VICTIM, moving}
            until(lambda step=step, wanted=wanted: self.letters(step) >= wanted, f"{wanted} are in {STAGES[step]}")
            assert held not in self.letters(step), f"{held} was held too late in {STAGES[step]}"
        return len(self.ended()) + 1

    def go_on(self) -> rounds.RoundRow:
        """Let everybody go, and return the round that then ends."""
        count = len(self.ended())
        self.let_go(FIRST, SECOND)
        until(lambda: len(self.ended()) > count, "the round is over")
        return self.ended()[count]

    def joined(self) -> None:
        """Wait until all that ended processes have printed is in `facts`."""
        for reader in self._readers:
            reader.join(20)

    def joined_last(self) -> None:
        """Wait until all that the newest process has printed is in `facts`."""
        self._readers[-1].join(20)

    def forget_store(self) -> None:
        """Let go of the aggregator's store."""
        if self._store is not None:
            self._store.close()
            self._store = None

    def close(self) -> None:
        for name in NAMES:
            process = self.rig._devices.get(name)
            if process is not None and process.poll() is None:
                self.let_go(name)
        self.rig.close()
        self.joined()
        self.forget_store()
