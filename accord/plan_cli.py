"""`accord plan`: what a secure sum needs for a number of devices, what it costs, and what it cannot prevent."""

import argparse
import json
from typing import Any

from accord.errors import UsageError
from accord.plan import CLASSIC, HYBRID, KEYS
from accord.secagg import secrecy
from accord.secagg.costs import cost
from accord.secagg.planner import AUTO, MERGES, PRESETS, PROFILES, Choice, Question, propose, tolerated

_DESCRIPTION = """Choose graph, threshold, floor, invitations and modulus of the secure sums of a round.

--corrupt is the share of devices that may work together with the aggregator, --dropout the share that is gone between
ROSTER and UNMASK. Where they would end more than one round in a thousand without a sum, more devices are invited; where
that does not help, the plan is refused with what would."""
_EPILOG = """examples:
  accord plan secagg --devices 100 --corrupt 0.1 --dropout 0.3
  accord plan secagg --devices 700 --cohorts 7 --merge median
  accord plan secagg --devices 1000 --largest-cohort 1000 --dropout 0.1
  accord plan secagg --devices 100 --dropout 0.2 --profile strict
  accord plan secagg --devices 100 --keys x25519+mlkem768
  accord plan secagg --devices 5 --preset sites"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add `secagg`."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    parser.epilog = "example: accord plan secagg --devices 100 --dropout 0.3"
    action = actions.add_parser(
        "secagg",
        help="Plan the secure sums of a round.",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = action.add_argument
    add("--devices", type=int, required=True, help="devices that a round wants")
    add("--cohorts", type=int, default=0, help="secure sums that they are dealt into (default: as few as possible)")
    add("--corrupt", type=float, default=0.1, help="share of corrupt devices (default %(default)s)")
    add("--dropout", type=float, default=0.0, help="share of devices that drop out (default %(default)s)")
    add("--floor", type=int, default=0, help="fewest devices of a sum (default: chosen, 20 at least)")
    add("--available", type=int, help="devices that exist, beyond which nobody is invited")
    add("--largest-cohort", type=int, default=100, help="most members of a cohort (default %(default)s)")
    add("--complete-up-to", type=int, default=100, help="members up to which all mask with all (default %(default)s)")
    add(
        "--profile",
        choices=(AUTO, *PROFILES),
        default=AUTO,
        help="strict: nobody answers before a quorum has signed the survivor set; auto: strict where it is feasible "
        "(default %(default)s)",
    )
    add(
        "--keys",
        choices=KEYS,
        default=CLASSIC,
        help="x25519+mlkem768: what is recorded today stays secret from the quantum computers of later, too, for "
        "longer letters; every device needs cryptography with ML-KEM (default %(default)s)",
    )
    add("--preset", choices=PRESETS, default="fleet", help="fleet, or sites: 3 to 20 that are all waited for")
    add("--merge", choices=MERGES, default="mean", help="how the cohorts' means are merged (default %(default)s)")
    add("--value-bits", type=int, default=16, help="bits of one value (default %(default)s)")
    add("--length", type=int, default=100_000, help="coordinates of a vector, for the costs (default %(default)s)")
    action.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print JSON instead of text")


def run(arguments: argparse.Namespace) -> int:
    """Print the plan and return 0."""
    if arguments.cohorts < 0 or arguments.devices < 1 or arguments.length < 1 or arguments.largest_cohort < 1:
        raise UsageError("--devices, --length and --largest-cohort are at least 1, --cohorts at least 0")
    cohorts = arguments.cohorts or -(-arguments.devices // arguments.largest_cohort)
    bad = tolerated(arguments.merge, cohorts)
    proposal = propose(_question(arguments, cohorts), arguments.profile)
    found = facts(
        proposal.choice,
        why=proposal.why,
        cohorts=cohorts,
        merge=arguments.merge,
        bad_devices=bad,
        length=arguments.length,
        keys=arguments.keys,
    )
    print(json.dumps(found) if getattr(arguments, "json", False) else text(found))
    return 0


def _question(arguments: argparse.Namespace, cohorts: int) -> Question:
    wanted = -(-arguments.devices // cohorts)
    more = {} if arguments.available is None else {"available": arguments.available // cohorts}
    return Question(
        devices=wanted,
        corrupt=arguments.corrupt,
        dropout=arguments.dropout,
        preset=arguments.preset,
        floor=arguments.floor,
        largest=arguments.largest_cohort,
        complete_up_to=arguments.complete_up_to,
        value_bits=arguments.value_bits,
        **more,
    )


def facts(
    choice: Choice, *, why: str, cohorts: int, merge: str, bad_devices: int, length: int, keys: str
) -> dict[str, Any]:
    """Return everything that the plan says, ready for JSON; rates are chances per cohort and round."""
    costs = cost(choice, length, keys)
    question = choice.question
    return {
        "profile": question.profile,
        "why": why,
        "keys": keys,
        "preset": question.preset,
        "devices": question.devices * cohorts,
        "cohorts": cohorts,
        "invited": choice.invited * cohorts,
        "roster": choice.invited,
        "graph": "complete" if choice.complete else "sparse",
        "neighbours": choice.neighbours,
        "threshold": choice.threshold,
        "quorum": choice.quorum,
        "floor": choice.floor,
        "cap": choice.cap,
        "modulus_bits": choice.modulus_bits,
        "value_bits": question.value_bits,
        "corrupt": question.corrupt,
        "corrupt_devices": choice.corrupt,
        "dropout": question.dropout,
        "few_survivors": choice.few_survivors,
        "few_answers": choice.few_answers,
        "merge": merge,
        "bad_devices": bad_devices,
        "lies": lies(choice),
        "length": length,
        "vector_bytes": costs.vector,
        "control_bytes_up": costs.up,
        "control_bytes_down": costs.down,
        "device_seconds": round(costs.device_seconds, 4),
        "aggregator_seconds": round(costs.aggregator_seconds * cohorts, 4),
    }


def lies(choice: Choice) -> list[str]:
    """Return what an aggregator that lies could still do."""
    found = []
    profile, of_holders = choice.question.profile, 2 * choice.threshold - (choice.neighbours + 1)
    allies, size = min(((secrecy.allies(n, profile), n) for n in choice.sizes), default=(of_holders, choice.invited))
    if choice.quorum:
        found.append(
            f"show two groups two survivor sets if {2 * choice.threshold - choice.invited} devices or more of "
            f"{choice.invited} are corrupt, or {allies} where it lets {size} join; with fewer no two sets can both "
            "have a quorum, without which nobody answers"
        )
    else:
        found.append(
            f"show two groups two survivor sets and so open both secrets of one device, with {allies} corrupt devices "
            "or more among its holders: honest ones answer once, corrupt ones twice"
        )
        if any(secrecy.isolable(members, choice.floor) for members in choice.sizes):
            found.append(
                "isolate a device without any corrupt one, and nobody can tell: it tells that one that few dealt "
                "shares, and the others, in survivor sets of their own, that those few dropped out; a higher floor "
                "leaves less room for that, and profile strict none"
            )
    if not choice.complete:
        found.append(
            "isolate a device: call all of its neighbours dropped out to it alone, or try rosters until its "
            "neighbours are corrupt; a device vouches for its neighbours only, not for the whole roster"
        )
    found += [
        "enrol devices that do not exist, if it holds the enrolment key",
        "compare sums that differ by one device, or offer a model made to memorise: both need noise",
    ]
    return found


def text(found: dict[str, Any]) -> str:
    """Return the plan as text."""
    each = f"in {found['cohorts']} cohorts of {found['roster']}" if found["cohorts"] > 1 else "in one cohort"
    more = found["invited"] - found["devices"]
    near = found["neighbours"]
    complete = found["graph"] == "complete"
    least = max(found["floor"], found["threshold"] if complete else 0)
    waits = (
        "; all are waited for, and a round that can't close is aborted by name" if found["preset"] == "sites" else ""
    )
    bad = f"{found['bad_devices']} per round" if found["bad_devices"] else "none: see --merge median"
    vectors, answers = _odds(found["few_survivors"]), _odds(found["few_answers"])
    names = ("vector_bytes", "control_bytes_up", "control_bytes_down")
    up, more_up, down = (f"{found[name] / 1e3:,.1f} kB" for name in names)
    bits, width = found["modulus_bits"], found["value_bits"]
    fewer = ", or as large a share of a smaller roster"
    lines = [
        f"{found['devices']} devices asked for, {found['invited']} invited {each}",
        f"profile {found['profile']}, as {found['why']}",
        *([f"keys {HYBRID}: what is recorded stays secret unless both are broken"] if found["keys"] == HYBRID else []),
        *([f"{more} more than asked for, so that dropouts leave enough"] if more else []),
        "",
        f"graph        {found['graph']}: each device masks with {near} of {found['roster'] - 1} others",
        f"threshold    {found['threshold']} of {near + 1} shares open a secret",
        *([f"quorum       {found['quorum']} signatures on the survivor set"] if found["quorum"] else []),
        f"floor        a sum holds {least} devices at least (n_min {found['floor']})",
        f"modulus      {bits} bits for values of {width} from up to {found['cap']} devices",
        f"secrecy      holds against {found['corrupt_devices']} corrupt devices of {found['roster']}{fewer}",
        f"dropouts     {found['dropout']:.0%}: too few vectors {vectors}, too few answers {answers}{waits}",
        f"bad devices  that the merge {found['merge']} tolerates: {bad}",
        "",
        "a lying aggregator could still",
        *(f"- {lie}" for lie in found["lies"]),
        "",
        f"cost of {found['length']:,} coordinates, estimated for a core of a small x86 server",
        f"- each device: {up} up, and beside them {more_up} up and {down} down; {found['device_seconds']:.2f} s",
        f"- aggregator: {found['aggregator_seconds']:.2f} s",
    ]
    return "\n".join(lines)


def _odds(chance: float) -> str:
    if chance < 1e-9:
        return "practically never"
    return f"in one of {1 / chance:,.0f} rounds" if chance < 0.5 else "in most rounds"
