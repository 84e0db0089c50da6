"""`accord broker config`: the whole configuration of a real broker, from the topic rules that all of them share."""

import argparse
import json
from pathlib import Path

from accord.entropy import SystemEntropy
from accord.errors import UsageError
from accord.files import make_folder, write_atomic
from broker import password_files
from broker.config import Listener, Tls
from broker.recipe import RECIPES, Recipe, Wanted

PUBLIC = 0o644
_DESCRIPTION = """Print the whole configuration of a broker: listener and TLS, who may do what, limits, what is kept on
disk. Rights come from the same topic rules as those of the embedded broker. Mosquitto and NATS pass the project's
conformance suite; EMQX, HiveMQ and VerneMQ are written by their manuals, and their files say that nobody ran them.

Without --out the public files are printed. With --out they are written, and with --fleet also those that hold hashes of
passwords, which are never printed. With --clients every client needs a certificate beside its password; NATS, and
Mosquitto with --revoked, take its name from there."""
_EXAMPLES = """examples:
  accord broker config mosquitto --certificate b.crt --key b.key --clients ca.pem --fleet fleet --out mosquitto
  accord broker config nats --certificate b.crt --key b.key --nodes nats-1,nats-2,nats-3 --fleet fleet --out nats
  accord broker config emqx --certificate b.crt --key b.key"""


def configure(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `config`."""
    parser = commands.add_parser(
        "config",
        help="print the configuration of Mosquitto, NATS, EMQX, HiveMQ or VerneMQ",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("kind", choices=tuple(RECIPES), metavar="BROKER", help=f"one of {', '.join(RECIPES)}; the last three untested")
    add("--tenant", default="fleet", help="whose topics it carries (default %(default)s)")
    add("--host", default="0.0.0.0", help="address to listen on (default %(default)s)")  # noqa: S104 - a broker's work
    add("--port", type=int, help="default 8883 with a certificate, 1883 without")
    add("--certificate", type=Path, metavar="FILE", help="the broker's certificate, PEM")
    add("--key", type=Path, metavar="FILE", help="its key, PEM")
    add("--clients", type=Path, metavar="FILE", help="the authority of clients' certificates, which all must then show")
    add(
        "--revoked",
        type=Path,
        metavar="FILE",
        help="mosquitto: the list of revoked certificates of this authority; clients are then who their certificates "
        "say, and need no password",
    )
    add("--insecure", action="store_true", help="plain MQTT: whoever is between reads passwords and letters")
    add("--nodes", metavar="HOSTS", help="nats: a cluster of these hosts, such as a,b,c: an odd number, 3 or more")
    add(
        "--access",
        choices=("dynamic", "files"),
        default="dynamic",
        help="mosquitto: dynamic, clients come and go by mosquitto_ctrl; files, by SIGHUP (default %(default)s)",
    )
    add(
        "--admin-port",
        type=int,
        default=1_884,
        metavar="PORT",
        help="mosquitto: on loopback, for mosquitto_ctrl (default %(default)s)",
    )
    add("--user", default="", help="mosquitto: as whom it runs (default: who calls this)")
    add("--fleet", type=Path, metavar="DIR", help="let the clients of this fleet's folder log in; needs --out")
    add("--out", type=Path, metavar="DIR", help="write the files into this folder, which they then name")
    add("--json", action="store_true", help="print one JSON object instead of text")


def run(arguments: argparse.Namespace) -> int:
    """Print or write the files."""
    wanted = _wanted(arguments)
    recipe = RECIPES[arguments.kind](wanted, SystemEntropy())
    if arguments.out is not None:
        _write(recipe, arguments.out)
    if arguments.json:
        print(json.dumps(_facts(arguments, recipe)))
    elif arguments.out is None:
        for name, text in _public(recipe).items():
            print(f"{_heading(name)}\n{text}")
    else:
        print("\n".join(f"{arguments.out / name}" for name in recipe.files))
        print(f"start it:  {'; '.join(recipe.start)}")
        if recipe.session != "plain":
            print(f'clients:   session = "{recipe.session}" under [broker]')
        if not recipe.tested:
            print("untested:  nobody at Accord ran this")
    return 0


def _wanted(arguments: argparse.Namespace) -> Wanted:
    if (arguments.certificate is None) != (arguments.key is None):
        raise UsageError("--certificate and --key come together")
    if arguments.fleet is not None and arguments.out is None:
        raise UsageError("--fleet needs --out: hashes of passwords are written into private files, not printed")
    tls = None
    if arguments.certificate is not None:
        tls = Tls(
            certificate=arguments.certificate.resolve(),
            key=arguments.key.resolve(),
            clients=None if arguments.clients is None else arguments.clients.resolve(),
            revoked=None if arguments.revoked is None else arguments.revoked.resolve(),
        )
    elif arguments.clients is not None or arguments.revoked is not None:
        raise UsageError("--clients and --revoked need --certificate and --key: clients show certificates over TLS")
    if arguments.revoked is not None and arguments.kind != "mosquitto":
        raise UsageError(f"--revoked is for mosquitto: {arguments.kind} has no such list, or it was never tried here")
    nodes = tuple(arguments.nodes.split(",")) if arguments.nodes else ()
    if nodes and (arguments.kind != "nats" or len(nodes) < 3 or len(nodes) % 2 == 0 or len(set(nodes)) < len(nodes)):
        raise UsageError(
            "--nodes is for nats: an odd number of different hosts, 3 or more, such as nats-1,nats-2,nats-3"
        )
    files = {} if arguments.fleet is None else password_files.of_fleet(arguments.fleet)
    return Wanted(
        tenant=arguments.tenant,
        listener=Listener(
            host=arguments.host,
            port=arguments.port or (8_883 if tls else 1_883),
            tls=tls,
            insecure=arguments.insecure,
        ),
        folder=Path(f"/etc/{arguments.kind}") if arguments.out is None else arguments.out.resolve(),
        passwords={client: password_files.password(file) for client, file in files.items()},
        nodes=nodes,
        access=arguments.access,
        admin_port=arguments.admin_port,
        user=arguments.user,
    )


def _write(recipe: Recipe, out: Path) -> None:
    """Write every file, the private ones for nobody else to read."""
    make_folder(out)
    for name, text in recipe.files.items():
        for parent in reversed((out / name).relative_to(out).parents[:-1]):
            make_folder(out / parent)
        if name in recipe.private:
            write_atomic(out / name, text.encode())
        else:
            write_atomic(out / name, text.encode(), PUBLIC)


def _facts(arguments: argparse.Namespace, recipe: Recipe) -> dict[str, object]:
    return {
        "broker": arguments.kind,
        "tested": recipe.tested,
        "session": recipe.session,
        "start": list(recipe.start),
        "files": dict(_public(recipe)),
        "written": [] if arguments.out is None else [str(arguments.out / name) for name in recipe.files],
    }


def _public(recipe: Recipe) -> dict[str, str]:
    return {name: text for name, text in recipe.files.items() if name not in recipe.private}


def _heading(name: str) -> str:
    return f"# ---- {name} ----"
