"""A judge behind an OpenAI-compatible endpoint (`POST …/chat/completions`)."""

import asyncio
import contextlib
import json
import os
import queue
import random
import threading
from collections.abc import Callable, Iterable, Iterator

from ...errors import UserError
from .addresses import check_address, check_key
from .completions import Completion, NoCompletion, adapt, is_overlong, message_of, read_completion, seconds_asked
from .judge import Reply

TRIES = 6
PAUSE, LONGEST_PAUSE = 1.0, 60.0  # seconds before the second try, twice as long before each later one
FAILURES = 8  # prompts in a row without an answer, after which the endpoint is taken for dead
TIMEOUT = 300.0  # seconds for one answer, from the request to its last byte
LARGEST = 1 << 20  # bytes of an answer
_PASSES = (408, 409, 425, 429)  # and 5xx
_OF_THE_PROMPT = (400, 413, 422)  # what may be about one prompt and not about the endpoint


class EndpointJudge:
    """Asks greedily (temperature 0), several prompts at a time.

    What may pass is tried again, with growing pauses or as long as Retry-After says: 408, 409, 425, 429, 5xx, no connection, no whole
    answer in time, and an answer that is none. What will not pass, such as a wrong key, ends it. A model that refuses `max_tokens` or a
    temperature is asked without from then on; a prompt that is longer than the model reads is skipped.

    Args:
        url: as `https://host/v1`.
        key_variable: name of the environment variable with the key; it is sent where it is set, and kept nowhere.

    Attributes:
        notes: what was asked otherwise than it was meant to be, as sentences.

    Raises:
        UserError: httpx is missing, or the address, the key or the model's name cannot be sent.
    """

    def __init__(
        self,
        url: str,
        model: str,
        max_tokens: int,
        concurrency: int,
        key_variable: str,
        pause: float = PAUSE,
        timeout: float = TIMEOUT,
    ):
        try:
            import httpx
        except ImportError as error:
            raise UserError(
                f'a judge at an endpoint is an extra: pip install "hyperfitting[preference]" ({error})'
            ) from error
        check_address(url)
        key = os.environ.get(key_variable)
        check_key(key, key_variable)
        if not model.isprintable():
            raise UserError(f"--model {model!r} is no name that can be sent")
        self.url, self.model, self.concurrency = url.rstrip("/"), model, concurrency
        self.pause, self.timeout = pause, timeout
        self.no_key = "" if key else f" (no key was sent: {key_variable} is not set)"
        self.facts = {"judge": model, "endpoint": self.url, "max_tokens": str(max_tokens)}
        self.parameters = {"temperature": 0, "max_tokens": max_tokens}
        self.notes: list[str] = []
        self.served: str | None = None
        try:
            self.client = httpx.AsyncClient(
                timeout=timeout, headers={"Authorization": f"Bearer {key}"} if key else {}, limits=httpx.Limits()
            )
        except (ValueError, ImportError) as error:  # of a proxy that the environment names
            raise UserError(f"the proxy in HTTP_PROXY, HTTPS_PROXY or ALL_PROXY cannot be used: {error}") from None
        self.errors = (httpx.HTTPError, httpx.InvalidURL)

    def ask(self, prompts: Iterable[tuple[str, str]]) -> Iterator[Reply]:
        failed = 0
        for reply in _from_a_loop(lambda give: self._ask_all(prompts, give)):
            if not reply.details.get("overlong"):
                failed = failed + 1 if reply.answer is None else 0
            yield reply
            if failed == FAILURES:
                raise UserError(
                    f"{self.url} has not answered {FAILURES} prompts in a row ({reply.details['why']}): what it answered before is kept; "
                    "give the same command again when it works"
                )

    async def _ask_all(self, prompts: Iterable[tuple[str, str]], give: Callable[[Reply], None]) -> None:
        left = iter(prompts)

        async def work() -> None:
            for key, prompt in left:
                give(await self._ask(key, prompt))

        async with self.client:
            self.served = await self._find_served()
            workers = [asyncio.ensure_future(work()) for _ in range(self.concurrency)]
            try:
                await asyncio.gather(*workers)
            finally:
                for worker in workers:
                    worker.cancel()
                await asyncio.gather(*workers, return_exceptions=True)

    async def _find_served(self) -> str | None:
        """What the endpoint says that it serves, where that is one model: some servers answer under any name that they are asked for."""
        try:
            status, _, body = await asyncio.wait_for(self._request("GET", "models", None), min(self.timeout, 10.0))
            names = [model["id"] for model in json.loads(body)["data"]] if status == 200 else []
        except (TimeoutError, *self.errors, NoCompletion, ValueError, RecursionError, LookupError, TypeError):
            return None
        return names[0] if len(names) == 1 and isinstance(names[0], str) else None

    async def _ask(self, key: str, prompt: str) -> Reply:
        why, pause = "", self.pause
        for number in range(TRIES):
            wanted = 0.0
            try:
                answer = await self._try(prompt)
            except _Again as error:
                why, wanted = str(error), error.seconds
            except _Refused as error:
                return Reply(key, None, {"why": str(error), "overlong": error.overlong})
            else:
                return Reply(key, answer.text, answer.details | {"served": self.served})
            if number < TRIES - 1:
                await asyncio.sleep(min(max(pause * random.uniform(0.8, 1.2), wanted), LONGEST_PAUSE))
                pause *= 2
        return Reply(key, None, {"why": why})

    async def _try(self, prompt: str) -> Completion:
        """One request, and another where the model takes none of our parameters.

        Raises:
            _Again: what may pass.
            _Refused: this prompt will not be answered.
            UserError: no prompt will.
        """
        parameters = self.parameters
        body = {"model": self.model, "messages": [{"role": "user", "content": prompt}], **parameters}
        request = self._request("POST", "chat/completions", json.dumps(body).encode())
        try:
            status, headers, answer = await asyncio.wait_for(request, self.timeout)
            if status == 200:
                return read_completion(answer)
        except TimeoutError:
            raise _Again(f"no whole answer in {self.timeout:g} seconds") from None
        except (*self.errors, NoCompletion) as error:
            raise _Again(str(error) or type(error).__name__) from None
        why = f"status {status}: {message_of(answer)}"
        if status in _PASSES or status >= 500:
            raise _Again(why, seconds_asked(headers.get("retry-after", "")))
        if status not in _OF_THE_PROMPT:
            moved = f", which points to {headers['location']}" if "location" in headers else ""
            raise UserError(
                f"{self.url} refuses: {why}{moved}{self.no_key if status in (401, 403) else ''}; "
                "see --endpoint, --model and --api_key_variable"
            )
        if parameters == self.parameters:
            found = adapt(parameters, answer)
            if found is None:
                raise _Refused(why, overlong=is_overlong(status, answer))
            self.parameters, note = found
            self.notes.append(note)
        return await self._try(prompt)  # with the parameters that this answer, or another meanwhile, has changed

    async def _request(self, method: str, path: str, content: bytes | None) -> tuple[int, dict[str, str], bytes]:
        headers = {"Content-Type": "application/json"} if content else {}
        body = bytearray()
        async with self.client.stream(method, f"{self.url}/{path}", content=content, headers=headers) as answer:
            async for part in answer.aiter_bytes():
                body += part
                if len(body) > LARGEST:
                    raise NoCompletion(f"its answer is longer than {LARGEST >> 20} MiB")
        return answer.status_code, answer.headers, bytes(body)


class _Again(Exception):
    def __init__(self, why: str, seconds: float = 0.0):
        super().__init__(why)
        self.seconds = seconds  # that the endpoint asks to wait


class _Refused(Exception):
    def __init__(self, why: str, overlong: bool):
        super().__init__(why)
        self.overlong = overlong


def _from_a_loop(work: Callable[[Callable[[Reply], None]], asyncio.Future]) -> Iterator[Reply]:
    """What `work` gives, as it comes. Its event loop has a thread of its own, since the caller's may be running one; it is ended when
    this iterator is closed, whatever it waits for."""
    found: queue.Queue = queue.Queue()
    task, loop = None, asyncio.new_event_loop()

    def run() -> None:
        nonlocal task
        asyncio.set_event_loop(loop)
        task = loop.create_task(work(found.put))
        started.set()
        try:
            loop.run_until_complete(task)
            found.put(None)
        except BaseException as error:  # raised again where it is waited for
            found.put(error)
        finally:
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()

    started = threading.Event()
    thread = threading.Thread(target=run, name="endpoint", daemon=True)
    thread.start()
    started.wait()
    try:
        while (one := found.get()) is not None:
            if isinstance(one, BaseException):
                raise one
            yield one
    finally:
        with contextlib.suppress(RuntimeError):  # the loop is closed already
            loop.call_soon_threadsafe(task.cancel)
        thread.join(timeout=5.0)
