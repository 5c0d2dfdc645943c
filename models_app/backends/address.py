"""Which addresses may be called.

An endpoint's address is typed in by a person, so calling it is a request that others can steer (SSRF). The policy is
applied twice: to the text when it is entered, and to every resolved IP address at each connection, which then goes to the
very address that was checked. A name that answers differently a moment later gains nothing.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

import httpx

from models_app.backends.errors import AddressRefused

IpAddress = IPv4Address | IPv6Address

MAX_URL_LENGTH = 500

# Where clouds serve credentials to whoever asks from inside: AWS, GCP, Oracle, Alibaba and Azure.
_METADATA_ADDRESSES = frozenset(
    ipaddress.ip_address(text)
    for text in ("192.0.0.192", "100.100.100.200", "168.63.129.16", "fd00:ec2::254", "fd20:ce::254", "fd00:c1::a9fe:a9fe")
)
_PRIVATE_NETWORKS = tuple(
    ipaddress.ip_network(text) for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
)
_NAT64_NETWORKS = (IPv6Address("64:ff9b::"), IPv6Address("64:ff9b:1::"))
_THIS_NETWORK = ipaddress.ip_network("0.0.0.0/8")
_LOW_32_BITS = 0xFFFFFFFF

# What inet_aton reads as an IPv4 address although it is not four decimal numbers: 2130706433, 0x7f.1, 0177.0.0.1.
_ODD_IPV4 = re.compile(r"(?:0x[0-9a-f]*|\d+)(?:\.(?:0x[0-9a-f]*|\d+)){0,3}", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class AddressPolicy:
    """What an endpoint's address may look like. ``allowed_ports`` are inclusive ranges."""

    allowed_schemes: frozenset[str] = frozenset({"http", "https"})
    allowed_ports: tuple[tuple[int, int], ...] = ((80, 80), (443, 443), (1024, 65535))
    allow_loopback: bool = True
    allow_private: bool = True
    allow_public: bool = True

    def check_url(self, url: str) -> str:
        """The address in its canonical form, without a slash at the end. Raises ``AddressRefused``.

        A name is not resolved here: that happens at each connection.
        """
        parsed = _parse(url)
        if parsed.scheme not in self.allowed_schemes:
            raise AddressRefused(f"An address starts with {' or '.join(sorted(self.allowed_schemes))}://.")
        if parsed.userinfo or "@" in url:
            raise AddressRefused("An address holds no user name and no password.", hint="Enter the key in its own field.")
        if parsed.fragment or parsed.query or "#" in url or "?" in url:
            raise AddressRefused("An address ends before any “?” or “#”.")
        self._check_port(port_of(parsed))
        literal = _literal(parsed.raw_host.decode("ascii"))
        if literal is not None:
            self.check_ip(literal)
        return str(parsed).rstrip("/")

    def _check_port(self, port: int) -> None:
        if not any(low <= port <= high for low, high in self.allowed_ports):
            ranges = ", ".join(str(low) if low == high else f"{low}-{high}" for low, high in self.allowed_ports)
            raise AddressRefused(f"Port {port} is not allowed: use one of {ranges}.")

    def check_ip(self, address: IpAddress) -> None:
        """Raises ``AddressRefused`` unless the address, and every IPv4 address inside an IPv6 one, may be called."""
        hidden = list(_embedded(address)) if isinstance(address, IPv6Address) else []
        for ip in hidden or [address]:
            reason = self._reason_against(ip)
            if reason:
                raise AddressRefused(f"{address} may not be called: it is {reason}.")

    def _reason_against(self, ip: IpAddress) -> str:
        if ip in _METADATA_ADDRESSES:
            return "a cloud's metadata service"
        if ip.is_link_local:
            return "link-local, where clouds serve their metadata"
        if ip.is_multicast:
            return "a multicast address"
        if ip.is_unspecified or ip in _THIS_NETWORK:
            return "the unspecified address"
        if ip.is_loopback:
            return "" if self.allow_loopback else "this machine itself"
        if ip.is_reserved:
            return "reserved or the broadcast address"
        if any(ip in network for network in _PRIVATE_NETWORKS):
            return "" if self.allow_private else "in a private network"
        return "" if self.allow_public else "in the public Internet"


def port_of(url: httpx.URL) -> int:
    """The port that a connection goes to."""
    if url.port is not None:
        return url.port
    return 443 if url.scheme == "https" else 80


def _parse(url: str) -> httpx.URL:
    if len(url) > MAX_URL_LENGTH or any(character.isspace() or not character.isprintable() for character in url):
        raise AddressRefused("This is no address: it is too long, or holds spaces or characters that cannot be printed.")
    try:
        parsed = httpx.URL(url)
        host = parsed.raw_host.decode("ascii")
    except (httpx.InvalidURL, UnicodeError, ValueError) as error:
        raise AddressRefused(f"This is no address such as http://gpu-1:11434 ({error}).") from error
    if not host or "\\" in url or "%" in host:
        raise AddressRefused("This is no address such as http://gpu-1:11434.")
    return parsed


def _literal(host: str) -> IpAddress | None:
    """The IP address that the host is, or ``None`` for a name. Raises ``AddressRefused`` for an odd spelling of one."""
    bare = host.rstrip(".")
    try:
        return ipaddress.ip_address(bare)
    except ValueError:
        if _ODD_IPV4.fullmatch(bare):
            raise AddressRefused(f"Write the address {host} as four decimal numbers, such as 192.168.1.20.") from None
        return None


def _embedded(address: IPv6Address) -> Iterator[IpAddress]:
    """Every IPv4 address that an IPv6 address may lead to: mapped, compatible, NAT64, 6to4, Teredo, ISATAP.

    The prefixes of the others mean nothing but the IPv4 address; ISATAP's is any, so that there the whole counts too.
    """
    number = int(address)
    low = IPv4Address(number & _LOW_32_BITS)
    if address.ipv4_mapped:
        yield address.ipv4_mapped
    if address.sixtofour:
        yield address.sixtofour
    if address.teredo:
        yield from address.teredo
    is_compatible = number >> 32 == 0 and number > 1
    is_nat64 = any(number >> 96 == int(network) >> 96 for network in _NAT64_NETWORKS)
    is_isatap = (number >> 32) & 0xFDFFFFFF == 0x5EFE
    if is_compatible or is_nat64 or is_isatap:
        yield low
    if is_isatap:
        yield address
