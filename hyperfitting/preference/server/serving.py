"""Starts the server of a study, says where it is, and ends it."""

import contextlib
import signal
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ...errors import UserError
from ...files import lock_file
from ...terminal import Progress
from ..page import PLACEHOLDER, PageOptions, make_page, read_parts
from ..study import Study
from .clients import Guesses, Proxies
from .names import names_of, public_names

LOOPBACK = ("127.0.0.1", "localhost", "::1")
CONNECTIONS = 1000  # at a time; what comes beyond them is told to come again


@dataclass(frozen=True)
class Address:
    """Where a server listens, and under which address its annotators reach it.

    Raises:
        UserError: annotators would not know where to go, or the address is none.
    """

    host: str
    port: int
    public: str | None

    def __post_init__(self):
        if self.public is not None:
            if not public_names(self.public):
                raise UserError(f"--public_url must be as https://study.example.org, not {self.public!r}")
        elif self.host in ("0.0.0.0", "::", ""):
            raise UserError(f"--host {self.host} listens everywhere: say where annotators reach it with --public_url")

    @property
    def url(self) -> str:
        """Of the page, with a slash at its end."""
        return f"{(self.public or f'http://{_name(self.host)}:{self.port}').rstrip('/')}/"

    @property
    def hosts(self) -> frozenset[str]:
        """The Host headers of requests that are meant for it: those of its address, and of loopback, where a proxy stands."""
        own = [names_of("http", f"{_name(host)}:{self.port}") for host in (self.host, *LOOPBACK)]
        return frozenset().union(*own, public_names(self.url))


def _name(host: str) -> str:
    return f"[{host}]" if ":" in host else host


@dataclass(frozen=True)
class Serving:
    """What is served beside the study: see `commands/preference_serve.py`."""

    address: Address
    page: PageOptions
    places: int = 0
    code: str | None = None
    proxies: Proxies = Proxies(None)


def serve(folder: Path, serving: Serving, say: Callable[[str], None], progress: Progress) -> None:
    """Serve a study until SIGTERM or SIGINT; a request that is under way is answered before it ends.

    Raises:
        UserError: it is served already, its address is taken, or a library is missing.
    """
    uvicorn = _import_uvicorn()
    from .app import Service
    from .desk import Desk

    study = Study(folder)
    with (
        lock_file(folder / "server.lock", f"{folder} is being served", "one server at a time serves a study"),
        _listen(serving.address) as listening,
        contextlib.closing(Desk(folder)) as desk,
        progress.task("votes", total=_asked(study), unit="vote", done=_given(study)) as task,
    ):
        port = listening.getsockname()[1]
        address = Address(serving.address.host, port, serving.address.public)
        page = make_page(folder, serving.page, "server", register=serving.places > 0)
        _introduce(study, address, serving, say)
        troubles = _Troubles(say)

        def voted() -> None:
            task.advance()
            troubles.over()

        service = Service(desk, page, serving.places, serving.code, voted, troubles.met, serving.proxies, Guesses())
        server = uvicorn.Server(_config(uvicorn, service.app(address.hosts)))
        with _quiet_signals():
            server.run(sockets=[listening])
    study.check_in_place()  # or what is counted is not in the file that is named
    say(f"the server has ended; {_given(study)} of {_asked(study)} votes are in {study.database}")


def _introduce(study: Study, address: Address, serving: Serving, say: Callable[[str], None]) -> None:
    """Say where each annotator goes. Places that people may take themselves have no link: it would lead two to one place."""
    if PLACEHOLDER in read_parts(study.folder)[0]:
        say(f"note: {study.folder / 'instructions.md'} still says {PLACEHOLDER}: edit it before people read it")
    invited, free = study.invite(serving.places)
    for annotator in invited:
        done, total = study.progress(annotator)
        say(f"annotator {annotator.number}: {address.url}#{annotator.secret}  ({done} of {total} votes)")
    if serving.places:
        say(
            f"up to {serving.places} people register at {address.url} (Prolific: {address.url}?PROLIFIC_PID={{{{%PROLIFIC_PID%}}}}); "
            f"{free} of these places are free"
        )
    if address.host not in LOOPBACK:
        say(
            f"note: {address.host} is reachable from other machines; over http, whoever carries the traffic can read it"
        )
    say(f"serving at {address.url}; Ctrl-C ends it")


def _asked(study: Study) -> int:
    return sum(study.progress(annotator)[1] for annotator in study.annotators())


def _given(study: Study) -> int:
    return sum(study.progress(annotator)[0] for annotator in study.annotators())


def _listen(address: Address) -> socket.socket:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        return socket.create_server((address.host, address.port), family=family, backlog=CONNECTIONS)
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise UserError(f"cannot listen on {address.host}, port {address.port}: {why}; set --port or --host") from None


def _config(uvicorn, app):
    return uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,  # it would keep addresses of people
        server_header=False,
        proxy_headers=False,  # or whoever reaches it directly could choose the address that guesses are counted by
        lifespan="off",
        ws="none",
        limit_concurrency=CONNECTIONS,
        timeout_graceful_shutdown=10,
    )


@contextlib.contextmanager
def _quiet_signals() -> Iterator[None]:
    """Inside, a signal that the server has ended for, and that it raises again after that, does nothing more."""
    before = {one: signal.signal(one, lambda number, frame: None) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


class _Troubles:
    """Says what the database says when it cannot be written, once until a vote was stored again."""

    def __init__(self, say: Callable[[str], None]):
        self.say, self.now = say, ""

    def met(self, what: str) -> None:
        if what != self.now:
            self.say(f"votes cannot be stored: {what}; annotators are asked to wait")
        self.now = what

    def over(self) -> None:
        if self.now:
            self.say("votes are stored again")
        self.now = ""


def _import_uvicorn():
    try:
        import starlette  # noqa: F401
        import uvicorn
    except ImportError as error:
        raise UserError(f'serving a study is an extra: pip install "hyperfitting[preference]" ({error})') from error
    return uvicorn
