"""The options of what `accord fleet` does where enrolment's key lies; what they do is `aggregator.enrolment_cli`."""

import argparse
from pathlib import Path


def configure(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the actions."""

    def add(
        name: str, sentence: str, example: str, *, key: bool = True, transport: bool = True
    ) -> argparse.ArgumentParser:
        found = commands.add_parser(
            name, help=sentence, description=sentence, epilog=f"example: accord fleet {name} {example}"
        )
        if key:
            found.add_argument("--enrolment", type=Path, required=True, metavar="DIR", help="enrolment's folder")
        if key and transport:
            where = "the transport CA's folder (default: transport, in enrolment's folder or beside it)"
            found.add_argument("--transport", type=Path, metavar="DIR", help=where)
        found.add_argument("--json", action="store_true", help="print one JSON object instead of text")
        return found

    def state(parser: argparse.ArgumentParser, *, required: bool = False) -> None:
        parser.add_argument("--state", type=Path, required=required, metavar="DIR", help="the aggregator's state")
        parser.add_argument("--database", default="", metavar="URL", help="of its store, if that is not in the folder")

    def out(parser: argparse.ArgumentParser) -> None:
        state(parser)
        parser.add_argument("--out", type=Path, metavar="FILE", help="instead of --state: a file for `fleet answers`")

    def days(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--days", type=int, default=90, help="until a certificate ends (default %(default)s)")

    invite = add(
        "invite",
        "write an invitation, which enrols one device once; carry it there by hand, as it holds two secrets",
        "pi-7 --enrolment fleet/enrolment --broker broker.example:8883 --out pi-7.invite",
    )
    invite.add_argument("name", metavar="NAME", help="the device's id")
    invite.add_argument("--broker", required=True, metavar="HOST:PORT", help="where the device finds the broker")
    invite.add_argument(
        "--mutual-port", type=int, default=0, metavar="PORT", help="where the broker asks for the device's certificate"
    )
    invite.add_argument(
        "--insecure", action="store_true", help="the broker has no TLS: passwords can be read on the network between"
    )
    invite.add_argument("--out", type=Path, required=True, metavar="FILE", help="the file to write")
    invite.add_argument("--hours", type=int, default=24, help="until it ends (default %(default)s)")
    invite.add_argument("--job", default="job", help="the job that the device shall take part in (default %(default)s)")
    invite.add_argument("--clients", type=Path, metavar="DIR", help="let it log in at the broker of this folder")

    approve = add(
        "approve",
        "answer devices that ask: a certificate for whoever holds the token of its invitation",
        "--all --enrolment fleet/enrolment --state state",
    )
    approve.add_argument("names", nargs="*", metavar="NAME", help="devices to answer")
    approve.add_argument("--all", action="store_true", help="answer all that ask")
    approve.add_argument("--in", type=Path, dest="source", metavar="FILE", help="with --out: from `fleet requests`")
    days(approve)
    out(approve)

    shown = add(
        "list",
        "show devices, certificates and waiting requests",
        "--enrolment fleet/enrolment --state state",
        transport=False,
    )
    state(shown)

    revoke = add(
        "revoke",
        "revoke a device's certificates: it is refused from the next round on, and at once by the broker of --state",
        "pi-7 --enrolment fleet/enrolment --state state",
    )
    revoke.add_argument("names", nargs="+", metavar="NAME", help="devices to revoke")
    revoke.add_argument(
        "--clients", type=Path, metavar="DIR", help="also let it log in no more at the broker of this folder"
    )
    out(revoke)

    renew = add(
        "renew",
        "certify the keys again whose certificates end soon; devices take them up by `accord device renew`",
        "--enrolment fleet/enrolment --state state",
    )
    renew.add_argument("--within", type=int, default=30, metavar="DAYS", help="how soon (default %(default)s)")
    days(renew)
    out(renew)

    requests = add("requests", "write the requests that wait into a file", "--state state --out requests", key=False)
    state(requests, required=True)
    requests.add_argument("--out", type=Path, required=True, metavar="FILE", help="the file to write")
    answers = add("answers", "give the aggregator answers from a file", "--in answers --state state", key=False)
    answers.add_argument("--in", type=Path, dest="source", required=True, metavar="FILE", help="of `fleet approve`")
    answers.add_argument(
        "--clients", type=Path, metavar="DIR", help="who is revoked logs in no more at the broker of this folder, too"
    )
    state(answers, required=True)
