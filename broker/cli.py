"""`accord broker`: the embedded broker as a command, and who may log in to it."""

import argparse
import asyncio
import json
import logging
import os
import signal
import sys
import threading
from pathlib import Path

from accord.entropy import SystemEntropy
from accord.errors import UsageError
from accord.files import make_folder, read_private
from accord.ids import AGGREGATOR
from accord.wire.enrolment import Invite
from broker import credentials
from broker.service import CLIENTS, GOODBYE, BrokerConfig, serve

LARGEST_PASSWORD = 1_024  # bytes
STDIN = 0


def configure(parser: argparse.ArgumentParser) -> None:
    """Add `run` and `add`."""
    parser.epilog = "example: accord broker run --state broker --port 1883"
    commands = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    run_parser = commands.add_parser(
        "run",
        help="run the embedded broker until stopped",
        description="Run the embedded broker. DIR/clients holds the client ids and password hashes that may log in; "
        "the port is printed, and stands in DIR/broker.port while the broker runs.",
        epilog=parser.epilog,
    )
    run_parser.add_argument("--tenant", default="fleet", help="whose topics it carries (default %(default)s)")
    run_parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default %(default)s)")
    run_parser.add_argument("--port", type=int, default=1883, help="0 takes any free one (default %(default)s)")
    run_parser.add_argument(
        "--leashed", action="store_true", help="end with whoever started it: when standard input ends"
    )
    add_parser = commands.add_parser(
        "add",
        help="let a client log in",
        description="Let a client log in, or change its password. A running broker takes note at the next login.",
        epilog="example: accord broker add --state broker --fleet fleet",
    )
    add_parser.add_argument("--client", metavar="ID", help="a device id, or `aggregator`")
    add_parser.add_argument(
        "--password", type=Path, metavar="FILE", help="the file that holds its password, for nobody else"
    )
    add_parser.add_argument("--invite", type=Path, metavar="FILE", help="instead: the device of an invitation")
    add_parser.add_argument(
        "--fleet", type=Path, metavar="DIR", help="instead of one client, all those of a fleet's folder"
    )
    for sub in (run_parser, add_parser):
        sub.add_argument("--state", type=Path, required=True, metavar="DIR", help="the broker's folder")
        sub.add_argument("--json", action="store_true", help="print one JSON object instead of text")


def run(arguments: argparse.Namespace) -> int:
    """Run the broker until SIGTERM or SIGINT, or add a client."""
    if arguments.action == "add":
        _add(arguments)
        return 0
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(asctime)s %(message)s")
    config = BrokerConfig(state=arguments.state, tenant=arguments.tenant, host=arguments.host, port=arguments.port)
    asyncio.run(_run(config, leashed=arguments.leashed, as_json=arguments.json))
    return 0


def _add(arguments: argparse.Namespace) -> None:
    one = arguments.client is not None and arguments.password is not None
    if one + (arguments.fleet is not None) + (arguments.invite is not None) != 1:
        raise UsageError("give --client ID and --password FILE, or --invite FILE, or --fleet DIR for all of a fleet")
    if arguments.invite is not None:
        invite = Invite.decode(read_private(arguments.invite, Invite.LIMIT))
        passwords = {invite.device: invite.password}
    elif arguments.fleet is not None:
        passwords = {client: _password(file) for client, file in _files(arguments.fleet).items()}
    else:
        passwords = {arguments.client: _password(arguments.password)}
    credentials.add(make_folder(arguments.state) / CLIENTS, passwords, SystemEntropy())
    if arguments.json:
        print(json.dumps({"clients": list(passwords)}))
    else:
        print(f"{', '.join(passwords) if len(passwords) < 5 else f'{len(passwords)} clients'} may log in")


def _files(fleet: Path) -> dict[str, Path]:
    """Return the password files of a fleet for development, or of the aggregator's part of one."""
    files = {path.parent.name: path for path in sorted((fleet / "devices").glob("*/password"))}
    places = (fleet / "passwords" / AGGREGATOR, fleet / AGGREGATOR / "password", fleet / "password")
    found = next((path for path in places if path.exists()), None)
    if found is None:
        raise UsageError(f"{fleet} is no fleet's folder: it holds no password of the aggregator")
    return files | {AGGREGATOR: found}


def _password(file: Path) -> str:
    password = read_private(file, LARGEST_PASSWORD).decode(errors="replace").strip()
    if not password:
        raise UsageError(f"{file} is empty: write the password into it")
    return password


def _read(loop: asyncio.AbstractEventLoop, stopping: asyncio.Event) -> None:
    """Take what comes on standard input, and stop where it ends."""
    if not os.read(STDIN, 1_024):
        loop.remove_reader(STDIN)
        stopping.set()


async def _run(config: BrokerConfig, *, leashed: bool, as_json: bool) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    if leashed:
        loop.add_reader(STDIN, _read, loop, stopping)

    def listening(port: int) -> None:
        if as_json:
            facts = {"state": str(config.state), "tenant": config.tenant, "host": config.host, "port": port}
            print(json.dumps(facts), flush=True)
        else:
            print(f"listening on {config.host}:{port} for the tenant {config.tenant}", flush=True)

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
