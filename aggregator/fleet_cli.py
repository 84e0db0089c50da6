"""`accord fleet`: a fleet's keys and documents, and who may take part in it."""

import argparse
import json
import time
from pathlib import Path

from accord.entropy import SystemEntropy
from accord.errors import UsageError
from aggregator import enrolment_cli, enrolment_options
from aggregator.fleet_making import NewFleet, create, create_in_parts
from aggregator.root_folder import REPLACEABLE, RootFolder
from aggregator.tls_folder import LOCAL, TlsFolder
from aggregator.transport_ca import KEY as CA_KEY
from aggregator.transport_ca import TransportCA

DAY = 86_400


def configure(parser: argparse.ArgumentParser) -> None:
    """Add `init`, and what enrolment does."""
    parser.epilog = "example: accord fleet init fleet"
    commands = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    init = commands.add_parser(
        "init",
        help="make a fleet's keys and documents",
        description="Make a fleet: a folder each for the root (keep it offline), enrolment, the publisher and the "
        "aggregator, none of which needs another. With --dev every key lies in one folder, with devices beside them: "
        "good for development and demos only, as whoever reads it can enrol devices and sign models.",
        epilog="examples: accord fleet init fleet\naccord fleet init --dev fleet --devices 3",
    )
    init.add_argument("folder", type=Path, nargs="?", metavar="DIR", help="the folder to make it in")
    init.add_argument("--dev", type=Path, metavar="DIR", help="the folder to make one for development in")
    init.add_argument("--tenant", default="fleet", help="its name in topics and documents (default %(default)s)")
    init.add_argument("--devices", type=int, help="with --dev: dev-000, dev-001, ... (default 12)")
    init.add_argument("--days", type=int, default=90, help="until documents and certificates end (default %(default)s)")
    init.add_argument(
        "--name",
        action="append",
        default=[],
        metavar="HOST",
        help="host name or address of the broker, for its certificate; may be repeated (default: this machine alone)",
    )
    init.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    tls = commands.add_parser(
        "tls",
        help="make TLS files for a broker and an aggregator, where the transport CA lies",
        description="Make a key and a certificate for the broker and for the aggregator, in one folder with the "
        "certificate of the CA that devices pin. The CA is made if the fleet has none yet. The embedded broker takes "
        "a new certificate up while it runs.",
        epilog="example: accord fleet tls --transport fleet/transport --name broker.example --out fleet/aggregator/tls",
    )
    tls.add_argument("--transport", type=Path, required=True, metavar="DIR", help="the transport CA's folder")
    tls.add_argument("--name", action="append", default=[], metavar="HOST", help="as for `accord fleet init`")
    tls.add_argument("--out", type=Path, required=True, metavar="DIR", help="the folder to write into")
    tls.add_argument("--tenant", default="fleet", help="for a CA that is made now (default %(default)s)")
    tls.add_argument("--days", type=int, default=90, help="until the certificates end (default %(default)s)")
    tls.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    roles = commands.add_parser(
        "roles",
        help="sign the roles document that follows, where the root lies",
        description="Sign the roles document that follows the one in force, with a later end and, where asked for, "
        "other keys. Carry what is written under --out to the aggregator's and to enrolment's folder: a running "
        "aggregator takes it up between two rounds and hands it to the devices. In a fleet for development, leave "
        "--out away.",
        epilog="examples: accord fleet roles --root fleet/root --out next\n"
        "accord fleet roles --root fleet/root --rotate aggregator --out next",
    )
    roles.add_argument("--root", type=Path, required=True, metavar="DIR", help="the root's folder")
    roles.add_argument("--out", type=Path, metavar="DIR", help="the folder to write into: one folder for each part")
    roles.add_argument("--days", type=int, default=90, help="until it ends (default %(default)s)")
    roles.add_argument(
        "--rotate", action="append", default=[], choices=REPLACEABLE, help="give it another key; may be repeated"
    )
    roles.add_argument("--roles", type=Path, metavar="FILE", help="the one in force, if it is not in the root's folder")
    roles.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    enrolment_options.configure(commands)


def run(arguments: argparse.Namespace) -> int:
    """Make the fleet and return 0, or do what enrolment does."""
    if arguments.action == "roles":
        return _roles(arguments)
    if arguments.action == "tls":
        return _tls(arguments)
    if arguments.action != "init":
        return enrolment_cli.run(arguments)
    if (arguments.folder is None) == (arguments.dev is None):
        raise UsageError("give DIR, or --dev DIR for a fleet in one folder")
    count = 12 if arguments.devices is None else arguments.devices
    if not 1 <= count <= 100_000 or not 1 <= arguments.days <= 36_500:
        raise UsageError("--devices is from 1 to 100000 and --days from 1 to 36500")
    now = int(time.time())
    expires = now + arguments.days * DAY
    if arguments.dev is None:
        return _in_parts(arguments, now, expires)
    names = tuple(f"dev-{number:03d}" for number in range(count))
    fleet = NewFleet(tenant=arguments.tenant, devices=names, now=now, expires=expires, names=(*LOCAL, *arguments.name))
    folder = create(arguments.dev, fleet, SystemEntropy())
    if arguments.json:
        print(json.dumps({"path": str(folder.path), "tenant": fleet.tenant, "devices": list(names)}))
    else:
        print(f"fleet {fleet.tenant} with {len(names)} devices in {folder.path}; note: {fleet.note}")
    return 0


def _tls(arguments: argparse.Namespace) -> int:
    if not 1 <= arguments.days <= 36_500:
        raise UsageError("--days is from 1 to 36500")
    entropy, now = SystemEntropy(), int(time.time())
    expires = now + arguments.days * DAY
    if (arguments.transport / CA_KEY).exists():
        ca = TransportCA(arguments.transport, entropy)
    else:
        ca = TransportCA.create(arguments.transport, arguments.tenant, expires, entropy, now=now)
    folder, names = TlsFolder(path=arguments.out), (*LOCAL, *arguments.name)
    folder.write(ca, names, expires)
    if arguments.json:
        print(json.dumps({"path": str(folder.path), "names": list(names), "expires": expires}))
    else:
        print(f"{folder.path}: the broker is {', '.join(names)}, for {arguments.days} days; devices pin {folder.ca}")
    return 0


def _roles(arguments: argparse.Namespace) -> int:
    if not 1 <= arguments.days <= 36_500:
        raise UsageError("--days is from 1 to 36500")
    root = RootFolder(arguments.root, arguments.roles)
    expires = int(time.time()) + arguments.days * DAY
    signed = root.sign_next(expires, arguments.rotate, SystemEntropy(), arguments.out)
    files = [str(file) for file in signed.files]
    if arguments.json:
        print(json.dumps({"version": signed.roles.version, "expires": signed.roles.expires, "files": files}))
        return 0
    print(f"roles version {signed.roles.version} is signed, until {time.strftime('%Y-%m-%d', time.gmtime(expires))}")
    for file in files:
        print(f"  carry {file}")
    if "enrolment" in arguments.rotate:
        print("  every certificate must be signed again: accord fleet renew, then accord device renew on each device")
    if "publisher" in arguments.rotate:
        print("  bundles must be signed again, and be given to the devices")
    return 0


def _in_parts(arguments: argparse.Namespace, now: int, expires: int) -> int:
    if arguments.devices is not None:
        raise UsageError("--devices goes with --dev: here each device makes its own key, see `accord fleet invite`")
    named = (*LOCAL, *arguments.name)
    folder = create_in_parts(arguments.folder, arguments.tenant, expires, SystemEntropy(), named, now=now)
    parts = {name: str(folder.path / name) for name in ("root", "enrolment", "transport", "publisher", "aggregator")}
    if arguments.json:
        print(json.dumps({"path": str(folder.path), "tenant": arguments.tenant, "parts": parts}))
        return 0
    print(f"fleet {arguments.tenant} in {folder.path}:")
    print(f"  {parts['root']}: signs the roles document; take it offline now")
    print(f"  {parts['enrolment']}: for `accord fleet invite` and `approve`")
    print(f"  {parts['transport']}: certifies TLS keys, and nothing else; lies with enrolment")
    print(f"  {parts['publisher']}: for `accord quantize --sign`")
    print(f"  {parts['aggregator']}: all that the aggregator's machine needs")
    return 0
