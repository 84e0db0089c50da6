"""`accord up`: the embedded broker and the aggregator, with one configuration, until stopped."""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from accord.entropy import SystemEntropy
from accord.errors import AccordError, UsageError
from accord.files import FolderLock, make_folder
from accord.link.notify import Notifier
from aggregator.certificate_list import CertificateList
from aggregator.cli import stop_by_signal, text_of, told_to
from aggregator.config import PLAIN_PORT, SECURE_PORT, AggregatorConfig, load
from aggregator.fleet_folder import FleetFolder
from aggregator.service import AggregatorService
from aggregator.succession import ENDS_SOON
from aggregator.tls_folder import TlsFolder
from aggregator.transport_ca import CRL
from aggregator.up_broker import UpBroker, throwaway

PLAIN = (
    "everybody on the network between the devices and this machine can read the passwords, log in with them, and see "
    "who takes part. That is for tests on one machine"
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = (
        "Start the embedded broker, with TLS, and the aggregator. The broker lets in the clients of the fleet's "
        "folder; jobs are started by `accord job start`, and go on where they were after a restart. Its certificate is "
        "that of the fleet's folder (`accord fleet init --name HOST`), or of a throw-away CA in the state folder."
    )
    parser.epilog = "example: accord up --fleet fleet --state state --port 8883"
    parser.add_argument("--config", type=Path, metavar="FILE", help="TOML with [aggregator] and [broker]")
    parser.add_argument("--fleet", type=Path, metavar="DIR", help="the fleet's folder, made by `accord fleet init`")
    parser.add_argument("--state", type=Path, metavar="DIR", help="the folder for all that is kept")
    parser.add_argument("--host", help="address that the broker listens on (default 127.0.0.1)")
    parser.add_argument(
        "--port", type=int, help="for logins by password; 0 takes any free one (default 8883; 1883 with --insecure)"
    )
    parser.add_argument(
        "--mutual-port",
        type=int,
        metavar="PORT",
        help="a second one, where every client shows a certificate of the fleet",
    )
    parser.add_argument(
        "--insecure", action="store_true", help="plain MQTT: passwords can be read by everybody on the network between"
    )


def run(arguments: argparse.Namespace) -> int:
    """Run both; SIGTERM and SIGINT end them in an orderly way."""
    config = _config(arguments)
    state = make_folder(config.state)
    FolderLock(state).close()  # before a broker is started for nothing
    folder = FleetFolder(path=config.fleet)
    tenant = folder.office().tenant
    tls = _tls(config, folder, tenant)
    _accord("broker", "add", "--state", str(state / "broker"), "--fleet", str(config.fleet))
    lists = None if tls is None else _lists(state, folder, tls)
    broker = UpBroker(state, tenant, config, tls, None if lists is None else lists.file)
    try:
        port, *more = broker.ports()

        def told(fact: Mapping[str, Any]) -> None:
            print(json.dumps(fact) if arguments.json else text_of(fact), flush=True)

        notifier = Notifier()

        def turned() -> None:
            broker.check()
            if lists is not None:
                lists.look()
            notifier.alive()

        mutual = more[0] if more else None
        own = replace(
            config, port=port, mutual_port=mutual, server_name="localhost", tls=None if tls is None else tls.path
        )
        service = AggregatorService(own, told_to(notifier, told), turned=turned)
        stop_by_signal(notifier, service)
        notifier.ready(f"broker on {config.host}:{port}")
        ca = "" if tls is None else str(tls.ca)
        up = {"event": "up", "tenant": tenant, "host": config.host, "port": port, "mutual_port": mutual, "ca": ca}
        print(json.dumps(up) if arguments.json else _said(up, state), flush=True)
        try:
            service.run()
        finally:
            service.close()
    finally:
        broker.end()
    return 0


def _said(up: Mapping[str, Any], state: Path) -> str:
    secured = f"with TLS, devices pin {up['ca']}" if up["ca"] else "WITHOUT TLS"
    mutual = f" ({up['mutual_port']} with certificates)" if up["mutual_port"] else ""
    where = f"broker on {up['host']}:{up['port']}{mutual}, {secured}"
    return f"{where}; aggregator of tenant {up['tenant']} in {state}; Ctrl-C stops both"


def _config(arguments: argparse.Namespace) -> AggregatorConfig:
    if arguments.config is not None:
        config = load(arguments.config)
        if config.job is not None:
            raise UsageError(f"{arguments.config}: start jobs with `accord job start --config FILE`")
    elif arguments.fleet is None or arguments.state is None:
        raise UsageError("give --fleet DIR and --state DIR, or --config FILE that names them")
    else:
        port = PLAIN_PORT if arguments.insecure else SECURE_PORT
        config = AggregatorConfig(fleet=arguments.fleet, state=arguments.state, host="127.0.0.1", port=port)
    given = {name: getattr(arguments, name) for name in ("fleet", "state", "host", "port", "mutual_port")}
    given |= {"insecure": True} if arguments.insecure else {}
    return replace(config, **{name: value for name, value in given.items() if value is not None})


def _tls(config: AggregatorConfig, folder: FleetFolder, tenant: str) -> TlsFolder | None:
    """Return the TLS files of both, and tell what a person should know of them."""
    if config.insecure:
        print(f"without TLS: {PLAIN}", file=sys.stderr, flush=True)
        return None
    now, given = int(time.time()), folder.tls if config.tls is None else TlsFolder(path=config.tls)
    if config.tls is None and not given.whole:
        found = throwaway(config.state, tenant, config.host, now, SystemEntropy())
        print(f"the fleet has no transport CA, so a throw-away one is made: devices pin {found.ca}", file=sys.stderr)
        return found
    config.secured(folder.tls)  # says what lacks
    days = given.days_left(now)
    if days < ENDS_SOON:
        print(f"TLS certificates in {given.path} end in {days} days: `accord fleet tls` makes others", file=sys.stderr)
    return given


def _lists(state: Path, folder: FleetFolder, tls: TlsFolder) -> CertificateList:
    """Return what keeps the broker's list of revoked certificates: it comes with answers, or lies in the fleet."""
    kept = state / "broker" / CRL
    return CertificateList(tls.ca, kept, state / CRL, tls.revoked, folder.revoked)


def _accord(*words: str) -> None:
    done = subprocess.run([sys.executable, "-m", "accord", *words], capture_output=True, text=True, check=False)  # noqa: S603 - our own program
    if done.returncode:
        raise AccordError(done.stderr.strip().removeprefix("accord: ") or f"accord {words[0]} failed")
