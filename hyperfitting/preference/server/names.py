"""The names of a server: what browsers send as Host and Origin when they mean it, in one spelling."""

import ipaddress
import re
from urllib.parse import urlsplit

PORTS = {"http": 80, "https": 443}
_NAME = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+?)\.?(?::(\d{0,5}))?")


def spelled(host: str) -> str | None:
    """A Host header in lower case, without a dot at the end of its name, IPv6 compressed; None for what is no host."""
    found = _NAME.fullmatch(host.lower())
    if found is None:
        return None
    name, port = found.groups()
    if name.startswith("["):
        try:
            name = f"[{ipaddress.IPv6Address(name[1:-1]).compressed}]"
        except ValueError:
            return None
    return f"{name}:{int(port)}" if port else name


def names_of(scheme: str, host: str) -> frozenset[str]:
    """All Host headers, as `spelled`, that mean the same: browsers leave out the port that their scheme has by default. Empty for
    what is no host."""
    try:
        name = spelled(host if host.isascii() else host.encode("idna").decode())
    except UnicodeError:
        name = None
    if name is None:
        return frozenset()
    default = f":{PORTS[scheme]}"
    if not re.search(r":\d+$", name):
        return frozenset({name, name + default})
    return frozenset({name, name.removesuffix(default)})


def origin_names(origin: str) -> frozenset[str]:
    """`names_of` an Origin header; empty for what is none, such as `null`."""
    scheme, _, host = origin.lower().partition("://")
    return names_of(scheme, host) if scheme in PORTS else frozenset()


def public_names(url: str) -> frozenset[str]:
    """`names_of` the address of a page; empty for what is no http or https address of a host with at most a path behind it."""
    try:
        parts = urlsplit(url)
        named = parts.scheme in PORTS and parts.hostname and parts.port != 0  # which raises for a port that none can be
    except ValueError:
        return frozenset()
    return names_of(parts.scheme, parts.netloc) if named and not re.search(r"[\s\\<>\"?#]", url) else frozenset()
