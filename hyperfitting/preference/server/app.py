"""The answers of the server. Nothing leaves it but the page, opaque ids, the two texts of a pair and how far a person is."""

import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass

import anyio
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse
from starlette.routing import Route

from ...errors import UserError
from ..ballots import Ballot
from ..database import Displaced, Unavailable
from ..page import Page
from ..study import Annotator, Study
from .clients import Guesses, Proxies
from .desk import Desk
from .guard import Guard, refused

BODY = 64 * 1024  # bytes of a request; the longest comment fits in
DRAINED = 4 * 1024 * 1024  # bytes that are read of a longer one and thrown away: who is still sending hears no answer
BODY_SECONDS = 20.0


@dataclass(frozen=True)
class Service:
    """What is served.

    Args:
        places: that people without a link may take; 0: none.
        code: shown to those who have answered everything.
        voted: called after each vote that was stored.
        trouble: called with what keeps votes from being stored.
        proxies: trusted to say whose request they send on.
    """

    desk: Desk
    page: Page
    places: int
    code: str | None
    voted: Callable[[], None]
    trouble: Callable[[str], None]
    proxies: Proxies
    guesses: Guesses

    def app(self, hosts: frozenset[str]) -> Guard:
        """The ASGI application, for requests to these hosts."""
        routes = [Route("/", self.show)]
        for name, endpoint in (("open", self.open), ("consent", self.consent), ("vote", self.vote)):
            routes.append(Route(f"/api/{name}", endpoint, methods=["POST"]))
        if self.places:
            routes.append(Route("/api/register", self.register, methods=["POST"]))
        handlers = {
            UserError: lambda request, error: refused(422, str(error)),
            HTTPException: lambda request, error: refused(error.status_code, error.detail, **(error.headers or {})),
            Unavailable: self._not_saved,
        }
        return Guard(Starlette(routes=routes, exception_handlers=handlers), hosts, self.page.policy)

    async def show(self, request: Request) -> HTMLResponse:
        return HTMLResponse(self.page.html)

    async def open(self, request: Request) -> JSONResponse:
        return JSONResponse(await self._serve(request, self._state))

    async def consent(self, request: Request) -> JSONResponse:
        def work(study: Study, annotator: Annotator) -> dict:
            study.consent(annotator)
            return self._state(study, annotator, consented=True)

        return JSONResponse(await self._serve(request, work, writes=True))

    async def vote(self, request: Request) -> JSONResponse:
        ballot = Ballot.read(await _read_json(request))

        def work(study: Study, annotator: Annotator) -> dict:
            if annotator.consented is None:
                raise UserError("this annotator has not agreed to take part yet")
            stored = ballot.cast(study, annotator)
            return {**self._state(study, annotator), "stored": stored}

        answer = await self._serve(request, work, writes=True)  # only now is it on the disk, and may be acknowledged
        if answer["stored"]:
            self.voted()
        return JSONResponse(answer)

    async def register(self, request: Request) -> JSONResponse:
        panel = (await _read_json(request)).get("panel") or secrets.token_urlsafe(24)
        if not (isinstance(panel, str) and panel.isascii() and panel.isprintable() and len(panel) <= 64):
            raise UserError("the id of a participant has up to 64 letters and digits")
        annotator = await self.desk.ask(lambda study: study.claim(panel, self.places), writes=True)
        if annotator is None:
            raise UserError("All places of this study are taken. Thank you for your interest.")
        return JSONResponse({"secret": annotator.secret})

    async def _serve(self, request: Request, work: Callable[[Study, Annotator], dict], writes: bool = False) -> dict:
        """What `work` finds for the annotator whose secret comes with a request."""
        kind, _, secret = request.headers.get("authorization", "").partition(" ")
        client = self.proxies.client(request.client and request.client.host, request.headers.getlist("x-forwarded-for"))
        if wait := self.guesses.wait(client, secret):
            raise HTTPException(429, "Too many wrong links were tried from here.", {"Retry-After": str(wait)})

        def job(study: Study) -> dict | None:
            annotator = study.annotator(secret)
            return annotator and work(study, annotator)

        answer = await self.desk.ask(job, writes) if kind == "Bearer" else None
        if answer is None:
            if wait := self.guesses.wrong(client):
                said = "This link is not known here, and too many wrong ones were tried."
                raise HTTPException(429, said, {"Retry-After": str(wait)})
            raise HTTPException(401, "this link is not known here", {"WWW-Authenticate": "Bearer"})
        self.guesses.right(secret)
        return answer

    def _state(self, study: Study, annotator: Annotator, consented: bool = False) -> dict:
        """What a person is shown next, and nothing that says more; nothing where the answer could not be stored."""
        study.check_in_place()
        if not (consented or annotator.consented is not None):
            return {"consented": False}
        done, total = study.progress(annotator)
        item = next(study.items(annotator), None)
        shown = item and {"assignment": item.assignment, "context": item.context, "a": item.a, "b": item.b}
        code = self.code if item is None else None
        return {"consented": True, "done": done, "total": total, "item": shown, "code": code}

    async def _not_saved(self, request: Request, error: Unavailable) -> JSONResponse:
        """Nothing was acknowledged, and the page tries again."""
        self.trouble(str(error))
        if isinstance(error, Displaced):
            return refused(
                503,
                "This study is interrupted and cannot save answers. Keep this page open, and tell those who gave you the link; it is tried "
                "again in a moment.",
            )
        return refused(503, "Your answer could not be saved yet; keep this page open. It is tried again in a moment.")


async def _read_json(request: Request) -> dict:
    """The JSON object in the body of a request, of which no more is kept than it may be long."""
    body, read = b"", 0
    try:
        with anyio.fail_after(BODY_SECONDS):
            async for part in request.stream():
                read += len(part)
                body = body + part if read <= BODY else b""
                if read > DRAINED:
                    break
    except TimeoutError:
        raise HTTPException(408, "the request came too slowly", {"Connection": "close"}) from None
    if read > BODY:
        raise HTTPException(413, f"a request has at most {BODY} bytes", {"Connection": "close"})
    try:
        values = json.loads(body)
    except (ValueError, RecursionError):
        raise HTTPException(400, "the request is not JSON") from None
    if not isinstance(values, dict):
        raise HTTPException(400, "the request is no JSON object")
    return values
