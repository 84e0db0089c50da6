"""A connection to a broker that says nothing: to find out whether the network, a proxy and TLS let us through."""

import socket

from accord.link.address import Address
from accord.link.tls import context_of, explained
from accord.link.tunnel import through


def greeted(address: Address, timeout: float) -> socket.socket:
    """Return a connection, with TLS if so told, for the caller to close; no login was sent.

    Args:
        address: of the broker.
        timeout: seconds for each step.

    Raises:
        UnreachableError: nobody answers, or TLS is not spoken there.
        UntrustedError: the broker's certificate does not hold.
    """
    host, port = address.host, address.port
    try:
        if address.proxy is None:
            found = socket.create_connection((host, port), timeout)
        else:
            found = through(address.proxy, host, port, timeout)
        if address.tls is None:
            return found
        try:
            return context_of(address.tls).wrap_socket(found, server_hostname=host)
        except BaseException:
            found.close()
            raise
    except OSError as error:
        raise explained(error, address.shown, host, address.tls) from error
