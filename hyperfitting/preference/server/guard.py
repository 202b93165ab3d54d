"""What is refused before a request is looked at: foreign hosts and sites."""

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse

from .names import origin_names, spelled


class Guard:
    """An ASGI application around another: refuses what comes by another name or from another site's page, and adds headers that
    forbid the browser everything that the page does not need.

    A page of another site can be made to send requests here by a browser that reaches this server: with a name of its own that
    it lets point to this machine, which the Host header shows, or across sites, which the Origin header shows.

    Args:
        hosts: values of the Host header that are this server, as `names.py` spells them.
        policy: of the page, as a Content-Security-Policy.
    """

    def __init__(self, app, hosts: frozenset[str], policy: str):
        self.app, self.hosts = app, hosts
        self.headers = {
            "Content-Security-Policy": f"{policy}; frame-ancestors 'none'",
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
            "Referrer-Policy": "no-referrer",
            "Cross-Origin-Opener-Policy": "same-origin",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Cache-Control": "no-store",
        }

    async def __call__(self, scope, receive, send) -> None:
        async def send_with_headers(message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(self.headers)
            await send(message)

        refusal = self._refusal(Headers(scope=scope), scope["method"])
        await (refusal or self.app)(scope, receive, send_with_headers)

    def _refusal(self, headers: Headers, method: str) -> JSONResponse | None:
        if headers.getlist("host") != [headers.get("host")] or spelled(headers["host"]) not in self.hosts:
            return refused(421, "this server has another name")
        if method == "POST":
            origin = headers.get("origin")
            if origin is not None and not origin_names(origin) & self.hosts:
                return refused(403, "requests of other sites are refused")
            if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
                return refused(415, "requests are JSON")
        return None


def refused(status: int, message: str, **headers: str) -> JSONResponse:
    """The answer to a request that is not granted: why, in words that the page can show."""
    return JSONResponse({"message": message}, status, headers=headers or None)
