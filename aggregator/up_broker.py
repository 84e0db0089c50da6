"""The embedded broker as `accord up` runs it: a process with TLS by default, whose files are made where they lack."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

from accord.entropy import Entropy
from accord.errors import AccordError
from accord.files import write_atomic
from aggregator.config import AggregatorConfig
from aggregator.tls_folder import LOCAL, TlsFolder
from aggregator.transport_ca import FOLDER, KEY, TransportCA

GOODBYE = 10
"""Seconds in which the broker must have ended after it was asked to."""
DAY = 86_400
LIFE, FRESH = 90 * DAY, 14
"""Seconds that the files of a throw-away CA hold, and the days before their end from which they are made anew."""


def throwaway(state: Path, tenant: str, host: str, now: int, entropy: Entropy) -> TlsFolder:
    """Return TLS files of a CA in the state folder, both made if they lack: for a fleet that has no transport CA.

    Args:
        state: the aggregator's state folder.
        tenant: stands in the CA's name.
        host: on which the broker listens.
        now: wall time in seconds.
        entropy: keys are drawn from it.

    Raises:
        FileError: a file can't be read or written.
    """
    folder, found = state / FOLDER, TlsFolder(path=state / "tls")
    made = (folder / KEY).exists()
    ca = TransportCA(folder, entropy) if made else TransportCA.create(folder, tenant, now + LIFE, entropy, now=now)
    if not found.whole or found.days_left(now) < FRESH:
        found.write(ca, tuple(dict.fromkeys((*LOCAL, host, socket.gethostname()))), now + LIFE)
    return found


class UpBroker:
    """The process.

    Args:
        state: the aggregator's state folder.
        tenant: whose topics it carries.
        config: where it listens.
        tls: its files; None runs plain MQTT.
        revoked: the list of revoked certificates by which it goes; None if there is none.
    """

    def __init__(
        self,
        state: Path,
        tenant: str,
        config: AggregatorConfig,
        tls: TlsFolder | None,
        revoked: Path | None = None,
    ) -> None:
        self._log = state / "broker.log"
        file = state / "broker.toml"
        where = config.host, config.port, config.mutual_port
        write_atomic(file, listeners(state / "broker", tenant, where, tls, revoked).encode())
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                [sys.executable, "-m", "accord", "broker", "run", "--config", str(file), "--leashed", "--json"],
                stdin=subprocess.PIPE,  # it ends when this does, as after SIGKILL: nobody else would end the broker
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=os.environ | {"PYTHONUNBUFFERED": "1"},
                start_new_session=True,
            )

    def ports(self) -> tuple[int, ...]:
        """Wait until it listens, and return its ports in the order of its listeners.

        Raises:
            AccordError: it did not start.
        """
        if self._process.stdout is None:
            raise AccordError("the broker has no pipe to read from")
        line = self._process.stdout.readline()
        try:
            return tuple(int(one["port"]) for one in json.loads(line)["listeners"])
        except (ValueError, KeyError, TypeError) as error:
            reason = json.loads(line)["error"] if "error" in line else "look at broker.log in the state folder"
            raise AccordError(f"the broker did not start: {reason}") from error

    def check(self) -> None:
        """Refuse to go on without it.

        Raises:
            AccordError: it has ended.
        """
        if self._process.poll() is not None:
            raise AccordError(f"the broker ended: look at {self._log}, and start both again")

    def end(self) -> None:
        """End it, and wait until it is gone."""
        self._process.terminate()
        try:
            self._process.wait(GOODBYE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


def listeners(
    state: Path, tenant: str, where: tuple[str, int, int | None], tls: TlsFolder | None, revoked: Path | None = None
) -> str:
    """Return the configuration of an embedded broker, as TOML.

    Args:
        state: the broker's folder.
        tenant: whose topics it carries.
        where: the address to listen on, the port for logins by password, and that for clients' certificates or None.
        tls: the files of both; None is plain MQTT.
        revoked: the list of revoked certificates, for the second; None if there is none.
    """
    host, port, mutual = where
    lines = ["[broker]", f"state = {_text(state.resolve())}", f"tenant = {_text(tenant)}"]
    listener = ["[[listener]]", f"host = {_text(host)}"]
    if tls is None:
        return "\n".join([*lines, *listener, f"port = {port}", "insecure = true", ""])
    listener += [f"certificate = {_text(tls.server.resolve())}", f"key = {_text(tls.server_key.resolve())}"]
    lines += [*listener, f"port = {port}"]
    if mutual is not None:
        lines += [*listener, f"port = {mutual}", f"clients = {_text(tls.ca.resolve())}"]
        lines += [] if revoked is None else [f"revoked = {_text(revoked.resolve())}"]
    return "\n".join([*lines, ""])


def _text(value: object) -> str:
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007F")
