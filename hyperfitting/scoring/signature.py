"""What a number was computed from and how, as text: `metric:ttr|unit:tokens|window:last 96|…`."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from ..errors import UserError

_FIELD = re.compile(r"([^:|\\]+):((?:[^|\\]|\\.)*)(?:\||\Z)", re.DOTALL)
_ESCAPED = str.maketrans({"\\": r"\\", "|": r"\|"})  # a name of a file or of a model may hold what separates fields


@dataclass(frozen=True)
class Signature:
    r"""`key:value|key:value`, in order. Keys hold no `:`, `|` or backslash; in values `|` is written `\|`, and a backslash twice.

    >>> str(Signature({"metric": "ttr", "window": "last 96"}))
    'metric:ttr|window:last 96'
    """

    fields: Mapping[str, str]

    def __str__(self) -> str:
        return "|".join(f"{key}:{value.translate(_ESCAPED)}" for key, value in self.fields.items())

    @classmethod
    def parse(cls, text: str) -> "Signature":
        """The signature that was written as `text`.

        Raises:
            UserError: it is none.
        """
        found = cls({key: re.sub(r"\\(.)", r"\1", value, flags=re.DOTALL) for key, value in _FIELD.findall(text)})
        if not text or str(found) != text:
            raise UserError(f"{text!r} is no signature: write key:value|key:value")
        return found
