"""Which addresses may be connected to: those of the public internet, and hosts named by settings.

Source: the IANA IPv4 and IPv6 Special-Purpose Address Registries (RFC 6890).
"""

import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import urlsplit

from pipeline_assets.errors import InvalidConfigError

_ADDRESSES_TRIED = 4  # a name with a hundred dead addresses may not hold a worker for long
_SHOWN_CHARACTERS = 200

Resolve = Callable[[str], Iterable[str]]
"""The IP addresses of a host name. Raises: socket.gaierror when it has none."""


class AddressRefusedError(InvalidConfigError):
    """The address is none that may be read: not http(s), not parsable, or not public."""


def system_addresses(host: str) -> list[str]:
    """What the system's resolver answers. Raises: socket.gaierror."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


_NEVER = {
    ip_network(network): what
    for network, what in {
        "169.254.0.0/16": "a link-local or metadata address",
        "100.100.100.200/32": "a metadata address",
        "168.63.129.16/32": "a metadata address",  # Azure's, though not marked special by IANA
        "fd00:ec2::254/128": "a metadata address",
        "0.0.0.0/8": "an address of this host",
        "192.0.0.0/24": "a reserved address",
        "192.0.2.0/24": "a reserved address",
        "192.88.99.0/24": "a reserved address",
        "198.18.0.0/15": "a reserved address",
        "198.51.100.0/24": "a reserved address",
        "203.0.113.0/24": "a reserved address",
        "224.0.0.0/4": "a multicast address",
        "240.0.0.0/4": "a reserved address",
        "2001::/23": "a reserved address",  # Teredo and other protocols' own
        "2001:db8::/32": "a reserved address",
        "2002::/16": "a 6to4 address",
        "3fff::/20": "a reserved address",
    }.items()
}
_LOCAL = {
    ip_network(network): what
    for network, what in {
        "127.0.0.0/8": "a loopback address",
        "::1/128": "a loopback address",
        "10.0.0.0/8": "a private address",
        "172.16.0.0/12": "a private address",
        "192.168.0.0/16": "a private address",
        "100.64.0.0/10": "a private address",  # carrier-grade NAT
        "fc00::/7": "a private address",
    }.items()
}
_GLOBAL_IPV6 = ip_network("2000::/3")
"""The only part of IPv6 that IANA hands out; IPv4-mapped, NAT64, link-local and multicast are
outside of it."""


def _what_is_wrong(address: IPv4Address | IPv6Address, *, may_be_local: bool) -> str | None:
    """What kind of address it is, when it is none that may be connected to."""
    for networks, allowed in ((_NEVER, False), (_LOCAL, may_be_local)):
        for network, what in networks.items():
            if address in network:
                return None if allowed else what
    if address.version == 6 and address not in _GLOBAL_IPV6:
        return "not a public IPv6 address"
    return None


@dataclass(frozen=True)
class AddressGuard:
    """Decides which IP addresses stand behind a host and port and may be connected to."""

    local_hosts: frozenset[tuple[str, int]]
    resolve: Resolve

    def addresses(self, host: str, port: int) -> list[str]:
        """The addresses to connect to, in the resolver's order; never one that is not allowed.

        One bad address among good ones refuses the host.

        Raises: AddressRefusedError, socket.gaierror.
        """
        may_be_local = (host.rstrip(".").lower(), port) in self.local_hosts
        try:
            found = [ip_address(text) for text in dict.fromkeys(self.resolve(host))]
        except ValueError:  # also what the standard library says to names that cannot be names
            raise AddressRefusedError(f"'{host[:_SHOWN_CHARACTERS]}' is no host name.") from None
        for address in found:
            if wrong := _what_is_wrong(address, may_be_local=may_be_local):
                raise AddressRefusedError(
                    f"{host[:_SHOWN_CHARACTERS]}:{port} leads to {address}, {wrong}; "
                    "only public addresses are read.",
                    advice="Correct the address; a host of your own network that should be read "
                    "belongs into PIPELINE_ALLOW_PRIVATE_HOSTS as host:port.",
                )
        return [str(address) for address in found[:_ADDRESSES_TRIED]]


def parse_local_host(entry: str) -> tuple[str, int]:
    """The host and port of a `host:port` entry. Raises: InvalidConfigError."""
    try:
        parts = urlsplit(f"//{entry}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or port is None or parts.netloc != entry or "@" in entry:
        raise InvalidConfigError(
            f"'{entry}' does not name a host that may be private.",
            advice="Write it as host:port, for example 127.0.0.1:8080 or [::1]:8080.",
        )
    return host.rstrip("."), port
