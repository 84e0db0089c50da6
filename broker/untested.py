"""Configuration for EMQX, HiveMQ and VerneMQ from the topic rules, written by their manuals and never run here.

None of the three binds a client id to a user name in what is written here, so clients log in with
`session = "derived"`, and rights follow from the user name. Users are made by each broker's own means.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from xml.sax.saxutils import quoteattr

from accord.ids import AGGREGATOR
from accord.link.port import LARGEST_PAYLOAD
from accord.wire import topics
from broker.config import Listener

LARGEST_PACKET = LARGEST_PAYLOAD + 1_024  # bytes
LABEL = "UNTESTED: written by the manual and never run by Accord. Run the conformance suite against it first."
_DEVICE = "device"


def labelled(name: str, text: str) -> str:
    """Return a file with the label at its head, in its own kind of comment."""
    if name.endswith(".xml"):
        head, body = text.split("\n", 1)
        return f"{head}\n<!-- {LABEL} -->\n{body}"
    return f"{'%%' if name == 'acl.conf' else '#'} {LABEL}\n{text}"


def _rules(tenant: str, shown: str) -> Iterator[tuple[str, bool, str]]:
    """Yield who may do what: a client or empty for every device, whether it hears, and the filter."""
    for client, action in ((AGGREGATOR, "publish"), (AGGREGATOR, "subscribe"), ("", "publish"), ("", "subscribe")):
        hears = action == "subscribe"
        for grant in topics.grants(client or _DEVICE, tenant, "subscribe" if hears else "publish"):
            yield client, hears, grant.replace(f"/{_DEVICE}/", f"/{shown}/")


def emqx(tenant: str, listener: Listener, folder: Path) -> Mapping[str, str]:
    """Return emqx.conf (EMQX 5) and its acl.conf."""
    rules = []
    for client, hears, grant in _rules(tenant, "${username}"):
        who = f'{{user, "{client}"}}' if client else "all"
        rules.append(f'{{allow, {who}, {"subscribe" if hears else "publish"}, ["{grant}"]}}.')
    kind, tls = ("tcp", "") if listener.tls is None else ("ssl", _emqx_tls(listener))
    return {
        "emqx.conf": f"""listeners.{kind}.default {{
  bind = "{listener.host}:{listener.port}"
  max_connections = 100000
{tls}}}
mqtt {{
  max_packet_size = {LARGEST_PACKET}B
  max_inflight = 128
  max_mqueue_len = 10000
  max_qos_allowed = 1
  shared_subscription = false
  session_expiry_interval = 1h
}}
retainer {{
  enable = true
  max_payload_size = 64KB
}}
authentication = [
  {{
    mechanism = password_based
    backend = built_in_database
    user_id_type = username
    password_hash_algorithm {{ name = pbkdf2, mac_fun = sha512, iterations = 10000 }}
  }}
]
authorization {{
  no_match = deny
  deny_action = ignore
  sources = [
    {{ type = file, enable = true, path = "{folder / "acl.conf"}" }}
  ]
}}
""",
        "acl.conf": "\n".join([*rules, "{deny, all}.", ""]),
    }


def _emqx_tls(listener: Listener) -> str:
    if listener.tls is None:
        return ""
    lines = [f'certfile = "{listener.tls.certificate}"', f'keyfile = "{listener.tls.key}"']
    if listener.tls.clients is not None:
        lines += [f'cacertfile = "{listener.tls.clients}"', "verify = verify_peer", "fail_if_no_peer_cert = true"]
    return "  ssl_options {\n" + "".join(f"    {line}\n" for line in lines) + "  }\n"


def vernemq(tenant: str, listener: Listener, folder: Path) -> Mapping[str, str]:
    """Return vernemq.conf and its access list, in which `%u` is the user name."""
    rules, last = [], ""
    for client, hears, grant in _rules(tenant, "%u"):
        if client and client != last:
            rules.append(f"user {client}")
            last = client
        rules.append(f"{'topic' if client else 'pattern'} {'read' if hears else 'write'} {grant}")
    kind = "tcp" if listener.tls is None else "ssl"
    lines = [
        "accept_eula = no # theirs to read; `yes` if you agree",
        "allow_anonymous = off",
        f"listener.{kind}.default = {listener.host}:{listener.port}",
        "listener.max_connections = 100000",
    ]
    if listener.tls is not None:
        lines += [
            f"listener.ssl.default.certfile = {listener.tls.certificate}",
            f"listener.ssl.default.keyfile = {listener.tls.key}",
        ]
        if listener.tls.clients is not None:
            lines += [
                f"listener.ssl.default.cafile = {listener.tls.clients}",
                "listener.ssl.default.require_certificate = on",
            ]
    lines += [
        "plugins.vmq_passwd = on",
        f"vmq_passwd.password_file = {folder / 'vmq.passwd'}",
        "plugins.vmq_acl = on",
        f"vmq_acl.acl_file = {folder / 'vmq.acl'}",
        f"max_message_size = {LARGEST_PACKET}",
        "max_inflight_messages = 128",
        "max_online_messages = 10000",
        "max_offline_messages = 1000",
        "persistent_client_expiration = 1h",
        "",
    ]
    return {"vernemq.conf": "\n".join(lines), "vmq.acl": "\n".join([*rules, ""])}


def hivemq(tenant: str, listener: Listener, folder: Path) -> Mapping[str, str]:
    """Return config.xml, and the roles of its File RBAC extension: the users are for you to fill in."""
    found: dict[str, list[str]] = {AGGREGATOR: [], _DEVICE: []}
    for client, hears, grant in _rules(tenant, "${{username}}"):
        activity = "SUBSCRIBE" if hears else "PUBLISH"
        found[client or _DEVICE].append(
            f"      <permission><topic>{grant}</topic><activity>{activity}</activity></permission>"
        )
    roles = [
        line
        for name, permissions in found.items()
        for line in (
            f"    <role><id>{name}</id><permissions>",
            *permissions,
            "    </permissions></role>",
        )
    ]
    return {
        "config.xml": f"""<?xml version="1.0" encoding="UTF-8" ?>
<hivemq>
  <listeners>
{_hivemq_listener(listener, folder)}  </listeners>
  <mqtt>
    <packets><max-packet-size>{LARGEST_PACKET}</max-packet-size></packets>
    <receive-maximum><server-receive-maximum>16</server-receive-maximum></receive-maximum>
    <queued-messages><max-queue-size>1000</max-queue-size><strategy>discard</strategy></queued-messages>
    <session-expiry><max-interval>3600</max-interval></session-expiry>
    <shared-subscriptions><enabled>false</enabled></shared-subscriptions>
  </mqtt>
</hivemq>
""",
        "extensions/hivemq-file-rbac-extension/credentials.xml": "\n".join(
            [
                '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>',
                "<file-rbac>",
                "  <users>",
                "    <!-- <user><name>dev-1</name><password>HASH</password><roles><id>device</id></roles></user> -->",
                "  </users>",
                "  <roles>",
                *roles,
                "  </roles>",
                "</file-rbac>",
                "",
            ]
        ),
    }


def _hivemq_listener(listener: Listener, folder: Path) -> str:
    where = f"<port>{listener.port}</port><bind-address>{listener.host}</bind-address>"
    if listener.tls is None:
        return f"    <tcp-listener>{where}</tcp-listener>\n"
    asked = "REQUIRED" if listener.tls.clients is not None else "NONE"
    # HiveMQ takes key stores of Java, no PEM: make them from the certificate and its key, and give them passwords.
    return f"""    <tls-tcp-listener>{where}
      <tls>
        <keystore>
          <path>{quoteattr(str(folder / "broker.jks"))[1:-1]}</path>
          <password>CHANGE</password>
          <private-key-password>CHANGE</private-key-password>
        </keystore>
        <truststore>
          <path>{quoteattr(str(folder / "clients.jks"))[1:-1]}</path>
          <password>CHANGE</password>
        </truststore>
        <client-authentication-mode>{asked}</client-authentication-mode>
      </tls>
    </tls-tcp-listener>
"""
