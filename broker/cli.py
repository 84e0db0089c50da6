"""`accord broker`: the embedded broker as a command."""

import argparse
import asyncio
import json
import logging
import signal
import sys
from pathlib import Path

from broker.service import BrokerConfig, serve


def configure(parser: argparse.ArgumentParser) -> None:
    """Add `run`."""
    commands = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    run_parser = commands.add_parser(
        "run",
        help="run the embedded broker until stopped",
        description="Run the embedded broker. DIR/clients holds the client ids and password hashes that may log in; "
        "the port is written to DIR/broker.port.",
    )
    run_parser.add_argument("--state", type=Path, required=True, metavar="DIR", help="the broker's folder")
    run_parser.add_argument("--tenant", default="fleet", help="whose topics it carries (default %(default)s)")
    run_parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default %(default)s)")
    run_parser.add_argument("--port", type=int, default=1883, help="0 takes any free one (default %(default)s)")
    run_parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")


def run(arguments: argparse.Namespace) -> int:
    """Run the broker; SIGTERM and SIGINT stop it."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(asctime)s %(message)s")
    config = BrokerConfig(state=arguments.state, tenant=arguments.tenant, host=arguments.host, port=arguments.port)
    asyncio.run(_run(config, as_json=arguments.json))
    return 0


async def _run(config: BrokerConfig, *, as_json: bool) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    if as_json:
        print(json.dumps({"state": str(config.state), "tenant": config.tenant, "host": config.host}), flush=True)
    await serve(config, stopping)
