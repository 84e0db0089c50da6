"""What `accord fleet` does where enrolment's key lies: invite, approve, list, revoke, renew; and files in between."""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from accord.entropy import SystemEntropy
from accord.errors import AccordError, CodecError, SignatureError, UsageError
from accord.files import read_limited, write_atomic
from accord.wire.envelope import Envelope
from aggregator.fleet_folder import PUBLIC
from aggregator.parcels import Answers, Decision, Requests
from aggregator.post import Post
from aggregator.registrar import Registrar
from aggregator.succession import ENDS_SOON
from aggregator.transport_ca import FOLDER as TRANSPORT
from aggregator.transport_ca import KEY as CA_KEY

DAY, HOUR = 86_400, 3_600
MOST_DAYS = 36_500


def run(arguments: argparse.Namespace) -> int:
    """Carry out one action; 1 if a device was refused, or has asked again meanwhile."""
    if arguments.action == "requests":
        return _requests(arguments)
    if arguments.action == "answers":
        answers = Answers.decode(read_limited(arguments.source, Answers.LIMIT))
        missed = _post(arguments, answers)
        _shut_out(_clients(arguments), answers.gone)
        return _said(arguments, {"missed": list(missed)}, ["answers and revocations are with the aggregator"])
    transport = _transport(arguments) if arguments.action != "list" else None
    registrar = Registrar(arguments.enrolment, SystemEntropy(), _now(), transport=transport)
    try:
        actions = {"invite": _invite, "approve": _approve, "list": _list, "revoke": _revoke, "renew": _renew}
        return actions[arguments.action](arguments, registrar)
    finally:
        registrar.close()


def _transport(arguments: argparse.Namespace) -> Path | None:
    """Return the transport CA's folder: the named one, or where `accord fleet init` makes it; None if there is none."""
    if arguments.transport is not None:
        return Path(arguments.transport)
    own, beside = arguments.enrolment / TRANSPORT, arguments.enrolment.resolve().parent / TRANSPORT
    return next((folder for folder in (own, beside) if (folder / CA_KEY).exists()), None)


def _now() -> int:
    return int(time.time())


def _invite(arguments: argparse.Namespace, registrar: Registrar) -> int:
    host, _, port = arguments.broker.rpartition(":")
    if not host or not port.isdigit():
        raise UsageError(f"--broker {arguments.broker} is not HOST:PORT, such as broker.example:8883")
    if arguments.insecure and arguments.mutual_port:
        raise UsageError("--mutual-port asks for certificates, and --insecure is plain MQTT: which is it?")
    if not 1 <= arguments.hours <= MOST_DAYS * 24:
        raise UsageError("--hours is 1 or more")
    if arguments.out.exists():
        raise UsageError(f"{arguments.out} is there already: use another name, or delete it")
    invite = registrar.invite(
        arguments.name,
        host=host.strip("[]"),
        port=int(port),
        job=arguments.job,
        mutual_port=arguments.mutual_port,
        tls=not arguments.insecure,
        expires=_now() + arguments.hours * HOUR,
    )
    write_atomic(arguments.out, invite.encode())
    if arguments.clients is not None:
        _broker("add", "--invite", str(arguments.out), "--state", str(arguments.clients))
    until = time.strftime("%Y-%m-%d %H:%M", time.localtime(invite.expires))
    login = f"accord broker add --invite {arguments.out} --state BROKER"
    lines = [f"{arguments.out} enrols {invite.device} once, until {until}; it holds two secrets: delete it afterwards"]
    if arguments.clients is None:
        lines.append(f"let it log in: {login}")
    lines.append(f"on the device: accord device enrol {arguments.out.name} --state state")
    facts = {"device": invite.device, "file": str(arguments.out), "expires": invite.expires, "login": login}
    return _said(arguments, facts, lines)


def _broker(*words: str) -> None:
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-m", "accord", "broker", *words], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise AccordError(done.stderr.strip().removeprefix("accord: ") or f"accord broker {words[0]} failed")


def _approve(arguments: argparse.Namespace, registrar: Registrar) -> int:
    if arguments.all == bool(arguments.names):
        raise UsageError("give the NAMEs to answer, or --all")
    _destination(arguments)
    if arguments.source is not None:
        letters = Requests.decode(read_limited(arguments.source, Requests.LIMIT)).letters
    elif arguments.state is None:
        raise UsageError("give --state DIR to answer what waits there, or --in FILE and --out FILE")
    else:
        letters = _collected(arguments).letters
    senders = [_sender(letter) for letter in letters]
    absent = sorted(set(arguments.names) - set(senders))
    if absent:
        raise UsageError(f"{', '.join(absent)} does not ask: `accord fleet list` shows who does")
    decisions, refused = [], []
    for letter, device in zip(letters, senders, strict=True):
        if arguments.all or device in arguments.names:
            try:
                decision = registrar.decide(letter, _ends(arguments))
            except (CodecError, SignatureError) as error:
                refused.append({"device": device, "reason": "BadMessage", "detail": str(error)})
                continue
            decisions.append(decision)
            if decision.reason:
                refused.append({"device": decision.answer.device, "reason": decision.reason})
    missed = _sent(arguments, registrar, decisions)
    approved = [{"device": d.answer.device, "serial": d.serial} for d in decisions if not d.reason]
    lines = [f"{one['device']}: certificate {one['serial']}" for one in approved]
    lines += [f"{one['device']}: refused, {one['reason']}" for one in refused]
    facts = {"approved": approved, "refused": refused, "missed": list(missed)}
    return _said(arguments, facts, lines or ["nobody asks"])


def _list(arguments: argparse.Namespace, registrar: Registrar) -> int:
    waiting = [] if arguments.state is None else [_sender(letter) for letter in _collected(arguments).letters]
    rows = [vars(row) | {"waiting": row.device in waiting} for row in registrar.every()]
    known = {row["device"] for row in rows}
    strangers = sorted(set(waiting) - known)
    rows += [
        {"device": name, "serial": 0, "expires": 0, "status": "not invited", "waiting": True} for name in strangers
    ]
    days = (registrar.roles_expires - _now()) // DAY
    if arguments.json:
        roles = {"version": registrar.roles_version, "expires": registrar.roles_expires, "days_left": days}
        print(json.dumps({"roles": roles, "devices": rows}))
        return 0
    advice = ": `accord fleet roles` where the root lies signs the next one" if days < ENDS_SOON else ""
    print(f"roles version {registrar.roles_version}, {days} days left{advice}")
    print(f"{'device':24}  {'serial':>6}  {'until':16}  status")
    for row in rows:
        until = time.strftime("%Y-%m-%d %H:%M", time.localtime(row["expires"])) if row["expires"] else "-"
        print(f"{row['device']:24}  {row['serial']:6}  {until:16}  {row['status']}{', asks' * row['waiting']}")
    return 0


def _revoke(arguments: argparse.Namespace, registrar: Registrar) -> int:
    _destination(arguments)
    serials = sorted(serial for name in arguments.names for serial in registrar.revoke(name))
    _sent(arguments, registrar, [])
    lines = [f"certificates {', '.join(map(str, serials))} are revoked" if serials else "none was left to revoke"]
    clients = _clients(arguments)
    _shut_out(clients, arguments.names)
    if clients is None:
        lines.append(
            "where the broker runs: " + "; ".join(f"accord broker remove --client {n}" for n in arguments.names)
        )
    return _said(arguments, {"revoked": serials, "missed": []}, lines)


def _shut_out(clients: Path | None, names: Sequence[str]) -> None:
    """Let devices log in no more at the broker of a folder, running or not; those that are out already stay out."""
    if clients is None or not names:
        return
    try:
        _broker("remove", *(word for name in names for word in ("--client", name)), "--state", str(clients))
    except AccordError as error:
        if "not among the clients" not in str(error):  # they were invited and never let in, or are out already
            raise


def _clients(arguments: argparse.Namespace) -> Path | None:
    """Return the folder of the broker to tell: the named one, or that of `accord up`; None if there is none."""
    if arguments.clients is not None:
        return Path(arguments.clients)
    own = None if arguments.state is None else arguments.state / "broker"
    return own if own is not None and (own / "clients").exists() else None


def _renew(arguments: argparse.Namespace, registrar: Registrar) -> int:
    _destination(arguments)
    decisions = registrar.renew(_now() + arguments.within * DAY, _ends(arguments))
    missed = _sent(arguments, registrar, decisions)
    renewed = [{"device": d.answer.device, "serial": d.serial} for d in decisions]
    lines = [f"{one['device']}: certificate {one['serial']}" for one in renewed]
    return _said(arguments, {"renewed": renewed, "missed": list(missed)}, lines or ["no certificate ends soon"])


def _requests(arguments: argparse.Namespace) -> int:
    found = _collected(arguments)
    write_atomic(arguments.out, found.encode(), PUBLIC)
    devices = [_sender(letter) for letter in found.letters]
    return _said(arguments, {"devices": devices, "missed": []}, [f"{len(devices)} requests in {arguments.out}"])


def _ends(arguments: argparse.Namespace) -> int:
    if not 1 <= arguments.days <= MOST_DAYS:
        raise UsageError(f"--days is from 1 to {MOST_DAYS}")
    return _now() + int(arguments.days) * DAY


def _destination(arguments: argparse.Namespace) -> None:
    """Refuse what could not be delivered, before anything is signed."""
    if (arguments.state is None) == (arguments.out is None):
        raise UsageError("give --state DIR, or --out FILE for a file that `accord fleet answers` takes there")


def _collected(arguments: argparse.Namespace) -> Requests:
    post = Post(arguments.state, arguments.database)
    try:
        return post.collect()
    finally:
        post.close()


def _post(arguments: argparse.Namespace, answers: Answers) -> tuple[str, ...]:
    post = Post(arguments.state, arguments.database)
    try:
        return post.deliver(answers)
    finally:
        post.close()


def _sent(arguments: argparse.Namespace, registrar: Registrar, decisions: Sequence[Decision]) -> tuple[str, ...]:
    answers = registrar.parcel(*decisions)
    if arguments.out is not None:
        write_atomic(arguments.out, answers.encode(), PUBLIC)
        return ()
    return _post(arguments, answers)


def _sender(letter: bytes) -> str:
    try:
        return Envelope.decode(letter).sender
    except CodecError:
        return ""


def _said(arguments: argparse.Namespace, facts: dict[str, Any], lines: Sequence[str]) -> int:
    missed = facts.get("missed", [])
    if arguments.json:
        print(json.dumps(facts))
    else:
        for line in (*lines, *(f"{name} has asked again meanwhile: approve it again" for name in missed)):
            print(line)
    return 1 if missed or facts.get("refused") else 0
