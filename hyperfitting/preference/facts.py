"""What a study says of itself, in the shape that status and table read."""

import json
from collections.abc import Iterable
from pathlib import Path

from ..errors import UserError

FORMAT = 1
_NUMBER = (int, float)
# A list holds one kind, with … at least one of it; {str: …} has any keys, other objects at least these.
_SHAPES = {
    "conditions": [str, ...],
    "against": str,
    "policies": dict,
    "lengths": [int, ...],
    "unit": str,
    "contexts": int,
    "sources": {str: int},
    "plan": {"votes": int},
    "rule": {"most_failed": _NUMBER},
    "cut": {"endings": {str: int}},
    "tells": {str: {str: int}},
    "left_out": {str: [str]},
}


class Facts(dict):
    """key -> plain JSON value.

    Args:
        database: what a message names.
        rows: (key, JSON).

    Raises:
        UserError: another version made the study, a fact is no JSON or has another shape, or, when it is asked for, is missing.
    """

    def __init__(self, database: Path, rows: Iterable[tuple[str, str]]):
        super().__init__()
        self._database, stored = database, dict(rows)
        self._read("format", stored.get("format"))
        if self["format"] != FORMAT:  # nothing else of it is held against this version
            made_by = str(stored.get("hyperfitting", "a later one")).strip('"')
            raise UserError(
                f"{database} has format {self['format']}, and this version reads {FORMAT}: use the version of hyperfitting that made it "
                f"({made_by})"
            )
        for key, text in stored.items():
            self._read(key, text)

    def _read(self, key: str, text: str | None) -> None:
        if text is None:
            raise self._damaged(key, "is missing")
        try:
            self[key] = json.loads(text)
        except (ValueError, TypeError, RecursionError):
            raise self._damaged(key, "is no JSON") from None
        if key in _SHAPES and not _fits(self[key], _SHAPES[key]):
            raise self._damaged(key, "has another shape than build gives it")

    def check_about(self, condition: str, against: str, length: int) -> None:
        """Raise UserError where pairs of this kind are none of the study."""
        if condition not in self["conditions"] or against != self["against"] or length not in self["lengths"]:
            raise UserError(
                f"{self._database} is damaged: its facts say nothing of {condition} against {against} at {length}, on which there are votes; "
                "put back a copy of the folder"
            )

    def __missing__(self, key: str):
        raise self._damaged(key, "is missing")

    def _damaged(self, key: str, how: str) -> UserError:
        return UserError(f"{self._database} is damaged: its fact {key!r} {how}; put back a copy of the folder")


def _fits(value: object, shape) -> bool:
    if isinstance(shape, list):
        least = 1 if ... in shape else 0
        return isinstance(value, list) and len(value) >= least and all(_fits(one, shape[0]) for one in value)
    if isinstance(shape, dict) and isinstance(value, dict):
        inner = {key: shape[str] for key in value} if str in shape else shape
        return all(key in value and _fits(value[key], kind) for key, kind in inner.items())
    return not isinstance(shape, dict) and isinstance(value, shape) and not isinstance(value, bool)
