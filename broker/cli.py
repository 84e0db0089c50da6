"""`accord broker`: the embedded broker as a command, and who may log in to it."""

import argparse
import asyncio
import json
import logging
import os
import resource
import signal
import sys
import threading
import time
from pathlib import Path

from accord.entropy import SystemEntropy
from accord.errors import UsageError
from accord.files import make_folder, read_private
from accord.wire.enrolment import Invite
from broker import config_cli, credentials, password_files
from broker.config import BrokerConfig, Listener, Tls
from broker.config_file import load
from broker.credentials import Login
from broker.service import CLIENTS, GOODBYE, serve
from broker.status import ask

STDIN = 0
DAY = 86_400  # seconds
SPARE = 64  # open files beside connections


def configure(parser: argparse.ArgumentParser) -> None:
    """Add `run`, `add`, `remove`, `status` and `config`."""
    parser.epilog = "example: accord broker run --config broker.toml"
    commands = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    _configure_run(commands)
    _configure_clients(commands)
    config_cli.configure(commands)


def _configure_run(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "run",
        help="run the embedded broker until stopped",
        description="Run the embedded broker. DIR/clients holds who may log in; the port is printed, and stands in "
        "DIR/broker.port while the broker runs. Give a file with --config for several listeners, WebSockets and "
        "limits, or the one listener here. docs/brokers.md shows a file.",
        epilog="example: accord broker run --state broker --port 8883 --certificate server.crt --key server.key",
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="TOML with [broker] and [[listener]]")
    parser.add_argument("--state", type=Path, metavar="DIR", help="instead of a file: the broker's folder")
    parser.add_argument("--tenant", default="fleet", help="whose topics it carries (default %(default)s)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default %(default)s)")
    parser.add_argument("--port", type=int, help="0 takes any free one (default 8883 with a certificate, 1883 without)")
    parser.add_argument("--certificate", type=Path, metavar="FILE", help="the broker's certificate, PEM")
    parser.add_argument("--key", type=Path, metavar="FILE", help="its key, PEM, for nobody else to read")
    parser.add_argument(
        "--clients",
        type=Path,
        metavar="FILE",
        help="authorities of clients' certificates: each must show one whose common name is its client id",
    )
    parser.add_argument(
        "--revoked",
        type=Path,
        metavar="FILE",
        help="the list of revoked certificates (CRL) of these authorities; read again while the broker runs",
    )
    parser.add_argument(
        "--insecure", action="store_true", help="plain MQTT: whoever is between reads passwords and letters"
    )
    parser.add_argument("--leashed", action="store_true", help="end with whoever started it: when standard input ends")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")


def _configure_clients(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    adding = commands.add_parser(
        "add",
        help="let a client log in",
        description="Let a client log in, or change its password. A running broker takes note within a second. With "
        "--days the secret is a token, which is over after so long and stands beside a password.",
        epilog="example: accord broker add --state broker --fleet fleet",
    )
    adding.add_argument("--client", metavar="ID", help="a device id, or `aggregator`")
    adding.add_argument(
        "--password", type=Path, metavar="FILE", help="the file that holds its password or token, for nobody else"
    )
    adding.add_argument("--days", type=float, metavar="N", help="with --password: it is a token, over after N days")
    adding.add_argument(
        "--certificate", action="store_true", help="instead of a password: its certificate is all that it needs"
    )
    adding.add_argument("--invite", type=Path, metavar="FILE", help="instead: the device of an invitation")
    adding.add_argument(
        "--fleet", type=Path, metavar="DIR", help="instead of one client, all those of a fleet's folder"
    )
    removing = commands.add_parser(
        "remove",
        help="let a client log in no more",
        description="Take a client out of DIR/clients. A running broker ends its connection within a second, and "
        "forgets its subscriptions and what waits for it.",
        epilog="example: accord broker remove --state broker --client dev-7",
    )
    removing.add_argument("--client", metavar="ID", required=True, action="append", help="a device id; may be repeated")
    asking = commands.add_parser(
        "status",
        help="show what a running broker does",
        description="Show the listeners, clients, letters, what waits and what was refused by a running broker.",
        epilog="example: accord broker status --state broker",
    )
    for sub in (adding, removing, asking):
        sub.add_argument("--state", type=Path, required=True, metavar="DIR", help="the broker's folder")
        sub.add_argument("--json", action="store_true", help="print one JSON object instead of text")


def run(arguments: argparse.Namespace) -> int:
    """Run the broker until SIGTERM or SIGINT, or add or remove a client."""
    if arguments.action == "run":
        logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(asctime)s %(message)s")
        asyncio.run(_run(_config(arguments), leashed=arguments.leashed, as_json=arguments.json))
    elif arguments.action == "config":
        return config_cli.run(arguments)
    else:
        {"add": _add, "remove": _remove, "status": _status}[arguments.action](arguments)
    return 0


def _status(arguments: argparse.Namespace) -> None:
    found = ask(arguments.state)
    if arguments.json:
        print(json.dumps(found))
        return
    places = ", ".join(f"{one['scheme']}://{one['host']}:{one['port']}" for one in found["listeners"])
    print(f"listening on {places} for the tenant {found['tenant']}")
    print(f"{found['clients']} clients, {found['strangers']} not logged in yet, {found['sessions']} sessions")
    for way in ("in", "out"):
        print(f"{found[f'letters_{way}']} letters of {found[f'bytes_{way}'] / 1e6:.1f} MB {way}")
    print(f"{found['retained']} letters of {found['retained_bytes'] / 1e3:.1f} kB retained")
    print(f"{found['waiting_bytes'] / 1e6:.1f} MB wait, {found['dropped']} letters dropped")
    for client, size in found["waiting"].items():
        print(f"  {client}: {size / 1e6:.1f} MB")
    for reason, count in found["refused"].items():
        print(f"refused, {reason}: {count}")


def _config(arguments: argparse.Namespace) -> BrokerConfig:
    if arguments.config is not None:
        if arguments.state is not None or arguments.certificate is not None or arguments.insecure:
            raise UsageError("with --config the file names the folder and the listeners: give nothing else")
        return load(arguments.config)
    if arguments.state is None:
        raise UsageError("give --config FILE, or --state DIR and what the one listener needs")
    if (arguments.certificate is None) != (arguments.key is None):
        raise UsageError("--certificate and --key come together")
    tls = None
    if arguments.certificate is not None:
        tls = Tls(
            certificate=arguments.certificate, key=arguments.key, clients=arguments.clients, revoked=arguments.revoked
        )
    elif arguments.clients is not None or arguments.revoked is not None:
        raise UsageError("--clients and --revoked need --certificate and --key: clients show certificates over TLS")
    port = arguments.port if arguments.port is not None else 8_883 if tls else 1_883
    listener = Listener(host=arguments.host, port=port, tls=tls, insecure=arguments.insecure)
    return BrokerConfig(state=arguments.state, tenant=arguments.tenant, listeners=(listener,))


def _remove(arguments: argparse.Namespace) -> None:
    removed = credentials.remove(arguments.state / CLIENTS, arguments.client)
    if not removed:
        raise UsageError(f"{', '.join(arguments.client)} is not among the clients of {arguments.state}")
    print(json.dumps({"removed": list(removed)}) if arguments.json else f"{', '.join(removed)} may log in no more")


def _add(arguments: argparse.Namespace) -> None:
    one = arguments.client is not None and (arguments.password is not None) != arguments.certificate
    if one + (arguments.fleet is not None) + (arguments.invite is not None) != 1:
        raise UsageError(
            "give --client ID with --password FILE or --certificate, or --invite FILE, or --fleet DIR for a whole fleet"
        )
    if arguments.days is not None and (arguments.password is None or arguments.days <= 0):
        raise UsageError("--days N is for a token: more than 0, with --client and --password")
    now = time.time()
    if arguments.invite is not None:
        invite = Invite.decode(read_private(arguments.invite, Invite.LIMIT))
        logins = [Login(client=invite.device, secret=invite.password)]
    elif arguments.fleet is not None:
        logins = [
            Login(client=client, secret=password_files.password(file))
            for client, file in password_files.of_fleet(arguments.fleet).items()
        ]
    elif arguments.certificate:
        logins = [Login(client=arguments.client)]
    else:
        expires = int(now + arguments.days * DAY) if arguments.days is not None else 0
        logins = [Login(client=arguments.client, secret=password_files.password(arguments.password), expires=expires)]
    clients = make_folder(arguments.state) / CLIENTS
    credentials.add(clients, logins, SystemEntropy(), now)
    if arguments.fleet is not None:
        _keep_out(arguments.fleet, clients, now)
    names = [login.client for login in logins]
    if arguments.json:
        print(json.dumps({"clients": names}))
    else:
        print(f"{', '.join(names) if len(names) < 5 else f'{len(names)} clients'} may log in")


def _keep_out(fleet: Path, clients: Path, now: float) -> None:
    """Take out those of a fleet's folder that are revoked, unless they were enrolled anew and have another password."""
    known, gone = credentials.read(clients), password_files.revoked(fleet)
    credentials.remove(clients, [name for name, secret in gone.items() if known.check(name, secret.encode(), now)])


def _read(loop: asyncio.AbstractEventLoop, stopping: asyncio.Event) -> None:
    """Take what comes on standard input, and stop where it ends."""
    if not os.read(STDIN, 1_024):
        loop.remove_reader(STDIN)
        stopping.set()


def _room_for(config: BrokerConfig) -> None:
    """Ask for as many open files as there may be connections: systems give 1024 where nobody asks."""
    wanted = config.limits.clients + config.limits.strangers + SPARE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


async def _run(config: BrokerConfig, *, leashed: bool, as_json: bool) -> None:
    _room_for(config)
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    if leashed:
        loop.add_reader(STDIN, _read, loop, stopping)

    def listening(ports: tuple[int, ...]) -> None:
        opened = [
            {"scheme": listener.scheme, "host": listener.host, "port": port}
            for listener, port in zip(config.listeners, ports, strict=True)
        ]
        if as_json:
            facts = {"state": str(config.state), "tenant": config.tenant, "listeners": opened, **opened[0]}
            print(json.dumps(facts), flush=True)
        else:
            places = ", ".join(f"{one['scheme']}://{one['host']}:{one['port']}" for one in opened)
            print(f"listening on {places} for the tenant {config.tenant}", flush=True)

    serving = asyncio.create_task(serve(config, stopping, listening))
    ended = asyncio.create_task(stopping.wait())
    await asyncio.wait({serving, ended}, return_when=asyncio.FIRST_COMPLETED)
    if not serving.done():
        # A task of a client that does not take its end would keep the process, and with it the clients, for good.
        last = threading.Timer(2 * GOODBYE, os._exit, (0,))
        last.daemon = True
        last.start()
    ended.cancel()
    await serving
