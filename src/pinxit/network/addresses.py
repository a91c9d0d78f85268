"""Which addresses are out in the public Internet, and which are somebody's inside.

The standard library's `is_global` changes between patch releases of Python and lets forms through that carry an IPv4
address inside. So the list is our own, from the registries of special-purpose addresses
(https://www.iana.org/assignments/iana-ipv4-special-registry, …/iana-ipv6-special-registry).
"""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_NOT_PUBLIC_V4 = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8",  # this network; Linux takes 0.0.0.0 for itself
        "10.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT, and a cloud's metadata
        "127.0.0.0/8",
        "168.63.129.16/32",  # Azure's platform, inside every machine there
        "169.254.0.0/16",  # link-local, and most clouds' metadata
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",  # relays of 6to4
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
    )
)
_PUBLIC_V6 = IPv6Network("2000::/3")
"""Global unicast, all that has been given out. Loopback, unique local, link-local, multicast and most forms that carry
an IPv4 address inside lie elsewhere."""
_NOT_PUBLIC_V6 = tuple(
    IPv6Network(text)
    for text in (
        "2001::/23",  # protocol assignments, Teredo among them
        "2001:db8::/32",
        "2002::/16",  # 6to4: an IPv4 address inside
        "3fff::/20",
    )
)
_MAPPED = IPv6Network("::ffff:0:0/96")
_NAT64 = IPv6Network("64:ff9b::/96")


def is_public(address: Address) -> bool:
    """Whether anybody in the Internet could go there too."""
    plain = unwrap(address)
    if isinstance(plain, IPv4Address):
        return not any(plain in network for network in _NOT_PUBLIC_V4)
    return plain in _PUBLIC_V6 and not any(plain in network for network in _NOT_PUBLIC_V6)


def is_in(address: Address, networks: tuple[Network, ...]) -> bool:
    """Whether one of `networks` has the address, in whichever form it is written."""
    plain = unwrap(address)
    return any(plain in network for network in networks)


def unwrap(address: Address) -> Address:
    """The IPv4 address that a mapped (::ffff:0:0/96) or NAT64 address (64:ff9b::/96, RFC 6052) leads to."""
    if isinstance(address, IPv6Address) and (address in _MAPPED or address in _NAT64):
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address
