"""An aggregator that can be killed: it prints each letter that comes, and settles what came up to one that says so."""

import sys

from accord.entropy import SystemEntropy
from accord.link.address import Address
from accord.link.mqtt import MqttLink
from accord.wire import topics

port, session, password = sys.argv[1:]
link = MqttLink(
    Address(host="127.0.0.1", port=int(port), client_id="aggregator", password=password, session=session),  # type: ignore[arg-type]
    entropy=SystemEntropy(),
    settled=True,
)
link.subscribe("fl/v1/t/dev/+/up/#")
while True:
    found = link.receive(1.0)
    if found is not None:
        sys.stdout.write(found.payload.decode() + "\n")
        sys.stdout.flush()
        if found.payload == b"dealt with":
            link.settle()
            link.publish(topics.down("t", "dev-1", "cmd"), b"so it is")  # goes behind the acknowledgement
