"""`accord plan update`: bytes and seconds of a round for each way to send a change, for one model and link."""

import argparse
import dataclasses
import json
from pathlib import Path

from accord.bundle.archive import LIMIT, read_bundle
from accord.errors import UsageError
from accord.files import read_limited
from accord.plan import SMALLEST_COHORT
from aggregator.update_plan import OPEN_WAYS, WAYS, Link, Option, UpdatePlan, bits_per_second

_DESCRIPTION = """Show what each way to send a change costs every device in a round, for this model and link.

The first table is with masks: the aggregator learns sums alone. The second is open mode, in which it sees each device's
update: a job asks for it with secure_aggregation = false, and a device agrees with allow_unmasked = true. Control bytes
are keys, shares, signatures and supports; they are apart, as they hardly grow with the model. Sizes of open updates and
of the way down are estimates: they depend on what devices learn. Training time is not in the seconds. In low-rank,
rounds take turns between the sides of each matrix: numbers are the mean of two, and `largest_update` in --json is that
of the larger one.

The way down is that of a device that holds the version before. *factors*: the round's basis and coordinates, as on the
way up. *blocks*: those that the round changed. *whole*: a number for each parameter, as every one changed."""
_EPILOG = """examples:
  accord plan update --bundle bundle --devices 100 --uplink 64kbit/s
  accord plan update --bundle bundle --devices 25 --uplink 64kbit/s --downlink 1Mbit/s --update low-rank:2:4"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description, parser.epilog = _DESCRIPTION, _EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add("--bundle", type=Path, required=True, metavar="FILE", help="the training bundle")
    add("--devices", type=int, required=True, help="devices in a round")
    add("--uplink", required=True, metavar="SPEED", help="of each device, such as 64kbit/s")
    add("--downlink", metavar="SPEED", help="of each device (default: as --uplink)")
    add("--update", action="append", default=[], metavar="FORM", help="another way to show; may be given again")


def run(arguments: argparse.Namespace) -> int:
    """Print the options and return 0."""
    if arguments.devices < SMALLEST_COHORT:
        raise UsageError(f"--devices {arguments.devices} can't be summed: use {SMALLEST_COHORT} or more, such as 25")
    up = _speed("--uplink", arguments.uplink)
    link = Link(up=up, down=up if arguments.downlink is None else _speed("--downlink", arguments.downlink))
    bundle = read_bundle(read_limited(arguments.bundle, LIMIT), limit=LIMIT, publisher=None)
    manifest = bundle.manifest
    plan = UpdatePlan(manifest.layout, bundle.params, manifest.exponents, arguments.devices, link)
    options = [plan.option(text) for text in dict.fromkeys([*WAYS, *OPEN_WAYS, *arguments.update])]
    if arguments.json:
        facts = {
            "parameters": manifest.layout.size,
            "devices": arguments.devices,
            "profile": plan.choice.question.profile,
            "uplink_bits_per_second": link.up,
            "downlink_bits_per_second": link.down,
            "options": [dataclasses.asdict(option) for option in options],
        }
        print(json.dumps(facts))
        return 0
    print(
        f"{manifest.layout.size:,} parameters, {arguments.devices} devices in a round, "
        f"{link.up / 1e3:g} kbit/s up and {link.down / 1e3:g} down; * is the default of a job\n"
    )
    print(f"with masks, profile {plan.choice.question.profile}")
    print(_table([option for option in options if not option.open]))
    print("\nopen mode: the aggregator sees each device's update; up and down are estimates")
    print(_table([option for option in options if option.open]))
    return 0


def _speed(option: str, text: str) -> float:
    try:
        return bits_per_second(text)
    except UsageError as error:
        raise UsageError(f"{option} {error}") from error


def _table(options: list[Option]) -> str:
    names = (
        f"{'up':>11}{'control up':>12}{'down':>11}{'control down':>14}{'s up':>10}{'s down':>10}{'1/f32':>8}  down by"
    )
    head = f"  {'update':20}{names}"
    rows = [
        f"{'*' if one.default else ' '} {one.update:20}{_kilo(one.payload_bytes_up):>11}"
        f"{_kilo(one.control_bytes_up):>12}{_kilo(one.payload_bytes_down):>11}{_kilo(one.control_bytes_down):>14}"
        f"{one.seconds_up:>10,.1f}{one.seconds_down:>10,.1f}{one.ratio_to_float32:>8.1f}  {one.released_as}"
        + ("" if one.update.startswith(one.sent_as.partition(",")[0]) else f"  sent as {one.sent_as}: no support pays")
        for one in options
    ]
    return "\n".join((head, *rows))


def _kilo(size: int) -> str:
    return f"{size / 1e3:,.1f} kB"
