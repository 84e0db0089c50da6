"""Writes a device's first configuration, for a person to go on from. Reading it is `edge_sdk.config`."""

import json
from pathlib import Path

from accord.files import DISK, Disk
from accord.link.session import Session
from accord.values import dataclass
from accord.wire.enrolment import Invite

CONFIG = "device.toml"


@dataclass(frozen=True, kw_only=True)
class Work:
    """What a device trains, the floor below which it refuses, and its session; None leaves what is usual."""

    bundle: Path | None = None
    data: Path | None = None
    smallest_cohort: int | None = None
    session: Session = "plain"


@dataclass(frozen=True, kw_only=True)
class Way:
    """The way to the broker where it is not straight; see `edge_sdk.reach`."""

    server_name: str = ""
    websocket: str = ""
    proxy: str = ""
    proxy_login: Path | None = None


STRAIGHT = Way()


def write(path: Path, invite: Invite, work: Work, way: Way = STRAIGHT, disk: Disk = DISK) -> None:
    """Write the configuration of a device that was enrolled, into its state folder.

    Raises:
        FileError: it can't be written.
    """
    bundle = "bundle" if work.bundle is None else str(work.bundle.resolve())
    lines = [
        "[device]",
        f"id = {_text(invite.device)}",
        f"tenant = {_text(invite.tenant)}",
        f"job = {_text(invite.job)}",
        'state = "."',
        "[broker]",
        f"host = {_text(invite.host)}",
        f"port = {invite.port}",
        *([] if work.session == "plain" else [f"session = {_text(work.session)}"]),
        *_way(invite, way),
        "[work]",
        f"bundle = {_text(bundle)}",
    ]
    if work.data is not None:
        lines.append(f"data = {_text(str(work.data.resolve()))}")
    if work.smallest_cohort is not None:
        lines += ["[limits]", f"smallest_cohort = {work.smallest_cohort}"]
    disk.write_atomic(path, "\n".join([*lines, ""]).encode())


def _way(invite: Invite, way: Way) -> list[str]:
    lines = [] if invite.ca else ["insecure = true"]
    if invite.mutual_port:
        lines.append(f"mutual_port = {invite.mutual_port}")
    login = "" if way.proxy_login is None else str(way.proxy_login.resolve())
    given = {"server_name": way.server_name, "websocket": way.websocket, "proxy": way.proxy, "proxy_login": login}
    return lines + [f"{name} = {_text(value)}" for name, value in given.items() if value]


def _text(value: str) -> str:
    """Return a TOML string: JSON's escapes are TOML's, except that DEL must be escaped too (TOML 1.0)."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")
