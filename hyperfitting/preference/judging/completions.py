"""What endpoints answer: chat completions, and refusals that say what the model takes instead.

Servers differ in this: OpenAI, vLLM, llama.cpp and others word the same refusal in ways of their own, so words are looked for, not codes.
"""

import email.utils
import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime

_OVERLONG = re.compile(
    r"(?i)context[_ ](?:length|size|window|limit)|input length|exceed_context|maximum context|max_model_len|(?:prompt|input|request)s? (?:is |are )?too (?:long|large)"
    r"|too many (?:input )?tokens|reduce the length|string_above_max_length|(?:input )?token count|`inputs` tokens|longer than the (?:model|max)"
)
_REFUSES = re.compile(
    r"(?i)unsupported|not support|unrecognized|unexpected|unknown|not permitted|not allowed|not compatible|deprecated|instead|only the default"
    r"|extra (?:inputs|fields)|must be|should be|strictly positive|invalid|greater than|only supports?|can(?:no|')t be"
)
_UNKNOWN = re.compile(
    r"(?i)unsupported parameter|unrecognized|unexpected|unknown|not permitted|extra (?:inputs|fields)"
)


@dataclass(frozen=True)
class Completion:
    """The text that was answered, which may be empty, and the rest that is kept of it: plain JSON values."""

    text: str
    details: dict


class NoCompletion(Exception):
    """An answer that is no chat completion; says what it is."""


def read_completion(body: bytes) -> Completion:
    """The first choice of an answer. Thoughts that stand in a field of their own are left out.

    Raises:
        NoCompletion: whatever else these bytes are.
    """
    try:
        found = json.loads(body)
        # Half a character, which JSON may hold and a file may not, becomes "?".
        found = json.loads(json.dumps(found, ensure_ascii=False).encode(errors="replace"))
        choice = found["choices"][0]
        message, reason = choice["message"], choice.get("finish_reason")
        text = _text_of(message)
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError) as error:
        raise NoCompletion(f"its answer is no chat completion ({type(error).__name__}): {message_of(body)}") from None
    reason = reason if isinstance(reason, str) else None
    if text is None and reason != "length":  # with "length" its thoughts took all that it was given
        raise NoCompletion("its answer holds no text")
    model = found.get("model") if isinstance(found.get("model"), str) else None
    return Completion(text or "", {"model": model, "finish_reason": reason, "usage": found.get("usage")})


def _text_of(message: dict) -> str | None:
    content = message["content"] if "content" in message else message.get("refusal")
    if isinstance(content, list):  # parts, of which some may be thoughts
        parts = [part["text"] for part in content if part.get("type") == "text" and isinstance(part["text"], str)]
        content = "".join(parts) if parts else None
    if content is None:
        content = message.get("refusal")
    return content if isinstance(content, str) else None


def message_of(body: bytes) -> str:
    """What an answer that is no completion says, in one line of at most 200 characters."""
    text = body[:4096].decode(errors="replace")
    try:
        found = json.loads(body)
        while isinstance(found, dict) and (
            inner := [found[key] for key in ("error", "message", "detail") if key in found]
        ):
            found = inner[0]
        text = found if isinstance(found, str) else text
    except (ValueError, RecursionError):
        pass
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return repr(line[:200]) if line else "no words"


def is_overlong(status: int, body: bytes) -> bool:
    """Whether a refusal (400, 413, 422) says that the prompt is longer than the model reads."""
    return status == 413 or _OVERLONG.search(_words(body)) is not None


def adapt(parameters: dict, body: bytes) -> tuple[dict, str] | None:
    """(the parameters that a refusal asks for, a sentence that says so); None where it is about something else."""
    words = _words(body)
    if not _REFUSES.search(words):
        return None
    if "temperature" in parameters and "temperature" in words.lower():
        rest = {name: value for name, value in parameters.items() if name != "temperature"}
        return rest, "the model takes no temperature 0 and was asked without one: asked again, it may answer otherwise"
    named = "max_completion_tokens" in words or ("max_tokens" in words and _UNKNOWN.search(words))
    if "max_tokens" in parameters and named and "too large" not in words:
        rest = {name: value for name, value in parameters.items() if name != "max_tokens"}
        rest["max_completion_tokens"] = parameters["max_tokens"]
        return (
            rest,
            "the model takes no max_tokens: --max_tokens was sent as max_completion_tokens, which counts thoughts too",
        )
    return None


def _words(body: bytes) -> str:
    """All that a refusal says, without what some servers repeat of the request."""

    def walk(found) -> list[str]:
        if isinstance(found, dict):
            return [word for key, value in found.items() if key != "input" for word in walk(value)]
        if isinstance(found, list):
            return [word for value in found for word in walk(value)]
        return [found] if isinstance(found, str) else []

    try:
        return " ".join(walk(json.loads(body)))[:4096]
    except (ValueError, RecursionError):
        return body[:4096].decode(errors="replace")


def seconds_asked(retry_after: str) -> float:
    """Of a Retry-After header, which holds seconds or a date; 0 where it holds neither."""
    if retry_after.isascii() and retry_after.isdigit():
        return float(retry_after)
    try:
        return max((email.utils.parsedate_to_datetime(retry_after) - datetime.now(UTC)).total_seconds(), 0.0)
    except (ValueError, TypeError, OverflowError):
        return 0.0
