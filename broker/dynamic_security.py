"""Mosquitto's dynamic security: who may log in and do what, changed while it runs, as the file that it starts from.

Mosquitto 2.0 knows no patterns here: what a device alone may do is in a role of its own, `device-ID`, and what all may
hear is in the role `device`. Clients are added and taken out by `mosquitto_ctrl dynsec`; `disableClient` ends a
connection at once.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

from accord.entropy import Entropy
from accord.ids import AGGREGATOR, checked_name
from accord.wire import topics
from broker.pbkdf2 import ITERATIONS, derived

FILE = "dynamic-security.json"
ADMIN = "admin"
DEVICE, _ANY = "device", "any-device"
_CONTROL = "$CONTROL/dynamic-security/#"


def document(tenant: str, passwords: Mapping[str, str], admin: str, entropy: Entropy) -> str:
    """Return the file: `dynamic-security.json`.

    Args:
        tenant: whose topics are carried.
        passwords: of the aggregator and of each device; others come later by `mosquitto_ctrl`.
        admin: the password of `mosquitto_ctrl`.
        entropy: for salts.

    Raises:
        CodecError: a name is none.
    """
    checked_name(tenant, "tenant")
    found: dict[str, Any] = {
        "defaultACLAccess": {
            "publishClientSend": False,
            "publishClientReceive": False,
            "subscribe": False,
            "unsubscribe": True,
        },
        "clients": [
            _client(ADMIN, (ADMIN,), admin, entropy(12)),
            *(
                _client(checked_name(name, "client id"), roles_of(name), text, entropy(12))
                for name, text in sorted(passwords.items())
            ),
        ],
        "groups": [],
        "roles": [
            _role(
                ADMIN, [(kind, _CONTROL) for kind in ("publishClientSend", "publishClientReceive", "subscribePattern")]
            ),
            _role(AGGREGATOR, rules(AGGREGATOR, tenant)),
            _role(DEVICE, [rule for rule in rules(_ANY, tenant) if f"/{_ANY}/" not in rule[1]]),
            *(
                _role(role_of(name), [rule for rule in rules(name, tenant) if f"/{name}/" in rule[1]])
                for name in sorted(passwords)
                if name != AGGREGATOR
            ),
        ],
    }
    return json.dumps(found, indent=1) + "\n"


def _client(name: str, roles: Sequence[str], password: str, salt: bytes) -> dict[str, Any]:
    return {
        "username": name,
        "roles": [{"rolename": role} for role in roles],
        "password": base64.b64encode(derived(password, salt)).decode(),
        "salt": base64.b64encode(salt).decode(),
        "iterations": ITERATIONS,
    }


def role_of(device: str) -> str:
    """Return the name of the role that is one device's alone."""
    return f"{DEVICE}-{device}"


def roles_of(client: str) -> tuple[str, ...]:
    """Return the names of a client's roles."""
    return (AGGREGATOR,) if client == AGGREGATOR else (DEVICE, role_of(client))


def rules(client: str, tenant: str) -> list[tuple[str, str]]:
    """Return what a client may do: kinds of access as the plugin names them, each with a filter."""
    found = [("publishClientSend", grant) for grant in topics.grants(client, tenant, "publish")]
    for grant in topics.grants(client, tenant, "subscribe"):
        found += [("subscribePattern", grant), ("publishClientReceive", grant)]
    return found


def _role(name: str, rules: list[tuple[str, str]]) -> dict[str, Any]:
    acls = [{"acltype": kind, "topic": topic, "priority": 0, "allow": True} for kind, topic in rules]
    return {"rolename": name, "acls": acls}
