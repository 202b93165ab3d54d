"""A vote as it comes from outside: from a page, a file or another tool. One reading for all of them, and one way in."""

import hashlib
import re
from dataclasses import dataclass

from ..errors import UserError
from .study import Annotator, Study, check_answer

_ASSIGNMENT = re.compile(r"[A-Za-z0-9_-]{32}")


@dataclass(frozen=True)
class Ballot:
    """What somebody answered to one assignment, checked as far as that goes without the study. Attributes as in `Study.vote`."""

    assignment: str
    choice: str
    strength: int | None = None
    comment: str = ""
    seconds: float | None = None

    @classmethod
    def read(cls, values: object) -> "Ballot":
        """A ballot of the values of a JSON object.

        Raises:
            UserError: it has other keys or kinds of values, or is an answer that no vote holds; the message quotes no text of it.
        """
        if not isinstance(values, dict) or values.keys() - cls.__dataclass_fields__.keys():
            raise UserError(f"a vote is an object with {', '.join(cls.__dataclass_fields__)} and nothing else")
        strength, comment, seconds = values.get("strength"), values.get("comment", ""), values.get("seconds")
        assignment = values.get("assignment")
        if not (isinstance(assignment, str) and _ASSIGNMENT.fullmatch(assignment)):
            raise UserError("the vote names no assignment: its id is a text of 32 letters, digits, - and _")
        if not isinstance(comment, str):
            raise UserError("the comment of a vote is a text")
        if not (strength is None or type(strength) is int) or not (seconds is None or type(seconds) in (int, float)):
            raise UserError("the strength and the seconds of a vote are numbers or null")
        check_answer(values.get("choice"), strength, seconds)
        return cls(assignment, values["choice"], strength, comment, seconds)

    def cast(self, study: Study, annotator: Annotator, received: float | None = None) -> bool:
        """Give the vote; as `Study.vote`."""
        return study.vote(
            annotator,
            self.assignment,
            self.choice,
            strength=self.strength,
            comment=self.comment,
            seconds=self.seconds,
            received=received,
        )


def ticket(annotator: Annotator) -> str:
    """Names an annotator in files that go elsewhere and come back; it is known of no other one, and opens no link."""
    return hashlib.sha256(f"ticket of {annotator.secret}".encode()).hexdigest()[:32]
