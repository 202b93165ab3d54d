"""Whose wrong secrets are counted: the address of a client, which a header may say where a trusted proxy wrote it."""

import ipaddress
import re
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence

from ...errors import UserError

GUESSES = 20  # wrong secrets that a client has, and all clients whose address is not known have together
WINDOW = 60.0  # seconds after which it has them again
_ADDRESSES = 10_000  # that are remembered at a time
_PORT = re.compile(r"(?:\[(.+)\]|([^:]+))(?::\d+)?")  # some proxies write the client's port too
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Proxies:
    """Proxies that are trusted to say in X-Forwarded-For whom they ask for.

    Args:
        listed: addresses and networks with commas between them, as uvicorn's and gunicorn's `--forwarded-allow-ips`; None: there is
            no such proxy, and nobody's address is known.

    Raises:
        UserError: one is neither, or names everybody.
    """

    def __init__(self, listed: str | None):
        self._trusted = [] if listed is None else [_network(one.strip()) for one in listed.split(",")]

    def client(self, peer: str | None, forwarded: Sequence[str]) -> str | None:
        """Who sent a request: the last address on its way that is no trusted proxy's; None where that is not known.

        Args:
            peer: the address that the request came from.
            forwarded: values of X-Forwarded-For. Whoever is no trusted proxy can write into it what he likes, so it is read from its
                end, and no further than to the first address that is not trusted.
        """
        hops = [hop for value in forwarded for hop in value.split(",")]
        for hop in (peer or "", *reversed(hops)) if self._trusted else ():
            address = _address(hop)
            if address is None:
                return None
            if not any(address in network for network in self._trusted):
                # A home or a phone has a whole /64, and could count as 2^64 clients.
                return str(
                    address if address.version == 4 else ipaddress.ip_network((address.packed[:8] + bytes(8), 64))
                )
        return None


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    try:
        found = ipaddress.ip_network(text, strict=False)
    except ValueError:
        found = None
    if found is None or found.prefixlen == 0:
        raise UserError(
            f"--forwarded_allow_ips must be addresses or networks of your proxies, as 127.0.0.1,10.0.0.0/8, not {text!r}: anybody else "
            "could choose the address that wrong links are counted by"
        )
    return found


def _address(text: str) -> _Address | None:
    """An address with or without a port; one of IPv4 in its IPv6 clothes is one of IPv4."""
    text = text.strip()
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        match = _PORT.fullmatch(text)
        try:
            found = ipaddress.ip_address(match[1] or match[2]) if match else None
        except ValueError:
            found = None
    return (found and getattr(found, "ipv4_mapped", None)) or found


class Guesses:
    """Counts wrong secrets by client. A client that has had its share waits before another secret is compared. Who is unknown never
    waits with a right secret, or somebody who guesses would shut out everybody: only the answer to a wrong one changes. A secret
    that was right once stays welcome, or one person who guesses would shut out all who share an address."""

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock = clock
        self._wrong: OrderedDict[str | None, deque[float]] = OrderedDict()
        self._right: set[str] = set()

    def wait(self, client: str | None, secret: str) -> int:
        """Seconds until this client may try a secret; 0: now."""
        return 0 if client is None or secret in self._right else self._left(client)

    def right(self, secret: str) -> None:
        self._right.add(secret)

    def wrong(self, client: str | None) -> int:
        """Count a wrong secret; seconds until another one is compared or told apart, 0 while there is still one."""
        if wait := self._left(client):
            return wait
        self._wrong.setdefault(client, deque(maxlen=GUESSES)).append(self._clock())
        self._wrong.move_to_end(client)
        if len(self._wrong) > _ADDRESSES:
            self._wrong.popitem(last=False)
        return 0

    def _left(self, client: str | None) -> int:
        times = self._wrong.get(client, ())
        return 0 if len(times) < GUESSES else max(0, int(times[0] + WINDOW - self._clock() + 1))
