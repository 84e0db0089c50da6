"""`accord up`: the embedded broker and the aggregator, with one configuration, until stopped."""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from accord.errors import AccordError, UsageError
from accord.files import FolderLock, make_folder
from accord.link.notify import Notifier
from aggregator.cli import stop_by_signal, text_of, told_to
from aggregator.config import AggregatorConfig, load
from aggregator.fleet_folder import FleetFolder
from aggregator.service import AggregatorService

GOODBYE = 10
"""Seconds in which the broker must have ended after it was asked to."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = (
        "Start the embedded broker and the aggregator. The broker lets in the clients of the fleet's folder; jobs are "
        "started by `accord job start`, and go on where they were after a restart."
    )
    parser.epilog = "example: accord up --fleet fleet --state state --port 1883"
    parser.add_argument("--config", type=Path, metavar="FILE", help="TOML with [aggregator] and [broker]")
    parser.add_argument("--fleet", type=Path, metavar="DIR", help="the fleet's folder, made by `accord fleet init`")
    parser.add_argument("--state", type=Path, metavar="DIR", help="the folder for all that is kept")
    parser.add_argument("--host", help="address that the broker listens on (default 127.0.0.1)")
    parser.add_argument("--port", type=int, help="0 takes any free one (default 1883)")


def run(arguments: argparse.Namespace) -> int:
    """Run both; SIGTERM and SIGINT end them in an orderly way."""
    config = _config(arguments)
    state = make_folder(config.state)
    FolderLock(state).close()  # before a broker is started for nothing
    tenant = FleetFolder(path=config.fleet).office().tenant
    _accord("broker", "add", "--state", str(state / "broker"), "--fleet", str(config.fleet))
    broker = _broker(state, tenant, config)
    try:
        port = _port(broker)

        def told(fact: Mapping[str, Any]) -> None:
            print(json.dumps(fact) if arguments.json else text_of(fact), flush=True)

        notifier = Notifier()

        def turned() -> None:
            if broker.poll() is not None:
                raise AccordError(f"the broker ended: look at {state / 'broker.log'}, and start both again")
            notifier.alive()

        service = AggregatorService(replace(config, port=port), told_to(notifier, told), turned=turned)
        stop_by_signal(notifier, service)
        notifier.ready(f"broker on {config.host}:{port}")
        if arguments.json:
            print(json.dumps({"event": "up", "tenant": tenant, "host": config.host, "port": port}), flush=True)
        else:
            said = f"broker on {config.host}:{port}, aggregator of tenant {tenant} in {state}; Ctrl-C stops both"
            print(said, flush=True)
        try:
            service.run()
        finally:
            service.close()
    finally:
        _end(broker)
    return 0


def _config(arguments: argparse.Namespace) -> AggregatorConfig:
    if arguments.config is not None:
        config = load(arguments.config)
        if config.job is not None:
            raise UsageError(f"{arguments.config}: start jobs with `accord job start --config FILE`")
    elif arguments.fleet is None or arguments.state is None:
        raise UsageError("give --fleet DIR and --state DIR, or --config FILE that names them")
    else:
        config = AggregatorConfig(fleet=arguments.fleet, state=arguments.state, host="127.0.0.1", port=1883)
    given = {name: getattr(arguments, name) for name in ("fleet", "state", "host", "port")}
    return replace(config, **{name: value for name, value in given.items() if value is not None})


def _accord(*words: str) -> None:
    done = subprocess.run([sys.executable, "-m", "accord", *words], capture_output=True, text=True, check=False)  # noqa: S603 - our own program
    if done.returncode:
        raise AccordError(done.stderr.strip().removeprefix("accord: ") or f"accord {words[0]} failed")


def _broker(state: Path, tenant: str, config: AggregatorConfig) -> subprocess.Popen[str]:
    words = ["broker", "run", "--state", str(state / "broker"), "--tenant", tenant, "--host", config.host]
    with (state / "broker.log").open("ab") as log:
        return subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-m", "accord", *words, "--port", str(config.port), "--insecure", "--leashed", "--json"],
            stdin=subprocess.PIPE,  # it ends when this does, as after SIGKILL: nobody else would end the broker
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
            start_new_session=True,
        )


def _port(broker: subprocess.Popen[str]) -> int:
    if broker.stdout is None:
        raise AccordError("the broker has no pipe to read from")
    line = broker.stdout.readline()
    try:
        found = json.loads(line)
        return int(found["port"])
    except (ValueError, KeyError, TypeError) as error:
        reason = json.loads(line)["error"] if "error" in line else "look at broker.log in the state folder"
        raise AccordError(f"the broker did not start: {reason}") from error


def _end(broker: subprocess.Popen[str]) -> None:
    broker.terminate()
    try:
        broker.wait(GOODBYE)
    except subprocess.TimeoutExpired:
        broker.kill()
        broker.wait()
    for pipe in (broker.stdin, broker.stdout):
        if pipe is not None:
            pipe.close()
