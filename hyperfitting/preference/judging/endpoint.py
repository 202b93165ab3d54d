"""A judge behind an OpenAI-compatible endpoint (`POST …/chat/completions`)."""

import json
import os
import random
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from urllib.parse import urlsplit

from ...errors import UserError
from .judge import Reply

TRIES = 6
PAUSE, LONGEST_PAUSE = 1.0, 60.0  # seconds before the second try, twice as long before each later one
FAILURES = 8  # prompts in a row without an answer, after which the endpoint is taken for dead
TIMEOUT = 120.0  # seconds


class EndpointJudge:
    """Asks greedily (temperature 0), several prompts at a time.

    What may pass is tried again, with growing pauses or as long as Retry-After says: 408, 409, 429, 5xx, no connection, no answer in
    time, and an answer that is none. What will not pass, such as a wrong key, ends it.

    Args:
        url: as `https://host/v1`.
        key_variable: name of the environment variable with the key; it is sent where it is set, and kept nowhere.

    Raises:
        UserError: httpx is missing, or the address is none.
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
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.netloc or "@" in parts.netloc:
            raise UserError(f"--endpoint must be as https://host/v1, not {url!r}")
        self.url, self.model, self.max_tokens, self.concurrency = url.rstrip("/"), model, max_tokens, concurrency
        self.pause, self.errors = pause, (httpx.TransportError,)
        self.facts = {"judge": model, "endpoint": self.url, "max_tokens": str(max_tokens)}
        key = os.environ.get(key_variable)
        self.client = httpx.Client(timeout=timeout, headers={"Authorization": f"Bearer {key}"} if key else {})
        self.over = threading.Event()

    def ask(self, prompts: Iterable[tuple[str, str]]) -> Iterator[Reply]:
        failed = 0
        pool = ThreadPoolExecutor(self.concurrency)
        try:
            for done in as_completed([pool.submit(self._ask, key, prompt) for key, prompt in prompts]):
                reply = done.result()
                failed = failed + 1 if reply.answer is None else 0
                yield reply
                if failed == FAILURES:
                    raise UserError(
                        f"{self.url} has not answered {FAILURES} prompts in a row ({reply.details['why']}): what it answered before is kept; "
                        "give the same command again when it works"
                    )
        finally:
            self.over.set()  # or a thread that waits for its next try would be waited for
            pool.shutdown(cancel_futures=True)
            self.client.close()

    def _ask(self, key: str, prompt: str) -> Reply:
        body = {
            "model": self.model,
            "messages": [{"role": "user", "content": prompt}],
            "temperature": 0,
            "max_tokens": self.max_tokens,
        }
        why, pause = "", self.pause
        for _ in range(TRIES):
            if self.over.is_set():
                break
            why, wanted, reply = self._try(key, body)
            if reply is not None:
                return reply
            if self.over.wait(min(max(pause * random.uniform(0.8, 1.2), wanted), LONGEST_PAUSE)):
                break
            pause *= 2
        return Reply(key, None, {"why": why})

    def _try(self, key: str, body: dict) -> tuple[str, float, Reply | None]:
        """(why not, seconds that the endpoint asks to wait, reply) of one request."""
        try:
            answer = self.client.post(f"{self.url}/chat/completions", json=body)
        except self.errors as error:
            return f"{type(error).__name__}: {error}", 0.0, None
        if answer.status_code in (408, 409, 429) or answer.status_code >= 500:
            asked = answer.headers.get("retry-after", "")
            return f"status {answer.status_code}", float(asked) if asked.isdigit() else 0.0, None
        if answer.status_code != 200:
            self.over.set()  # the other threads ask no more
            raise UserError(
                f"{self.url} refuses: status {answer.status_code}, {answer.text[:300]!r}; see --endpoint, --model and --api_key_variable"
            )
        try:
            found = answer.json()
            choice = found["choices"][0]
            text = choice["message"]["content"]
        except (json.JSONDecodeError, UnicodeDecodeError, RecursionError, LookupError, TypeError) as error:
            return f"its answer is no chat completion ({type(error).__name__})", 0.0, None
        if not isinstance(text, str):
            return "its answer holds no text", 0.0, None
        details = {
            "model": found.get("model"),
            "finish_reason": choice.get("finish_reason"),
            "usage": found.get("usage"),
        }
        return "", 0.0, Reply(key, text, details)
