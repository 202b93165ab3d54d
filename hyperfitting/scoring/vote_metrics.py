"""What votes say of a condition, as metrics: described here; `preference/` makes their values."""

import re

from .descriptions import Description
from .signature import Signature

# A vote's outcome (1: preferred, 0.5: equal, 0: the other was preferred) -> the share that counts it.
OUTCOMES = {
    "preferred_or_equal": ("preferred or equal", (0.5, 1.0)),
    "win": ("win", (1.0,)),
    "tie": ("tie", (0.5,)),
    "loss": ("loss", (0.0,)),
}
_NAME = re.compile(rf"({'|'.join(OUTCOMES)})_(\d+)")


def vote_metric(
    name: str, against: str = "the other text", unit: str = "tokens", alike: str | None = "characters"
) -> Description | None:
    """The metric `win_256` and the like: the share of votes, in percent, on texts of at most 256 `unit`, cut to as many of `alike`;
    None for another name.

    Args:
        alike: None for studies of earlier versions, which cut both sides to as many of `unit`.
    """
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    outcome, length = found[1], int(found[2])
    what = OUTCOMES[outcome][0]
    cut = f"at most {length} {unit} with the context, then both sides to as many {alike}"
    return Description(
        name=name,
        label=f"{what}, {length} {unit}, %",
        definition=Signature(
            {
                "votes": what,
                "against": against,
                "cut": cut if alike else f"both sides to {length} {unit} with the context",
            }
        ),
        unit="% of votes",
        needs="votes",
        digits=1,
        column=20 + 10 * list(OUTCOMES).index(outcome) + length / 1e6,
        crossed=True,
        paired=outcome
        != "loss",  # 100 less preferred or equal: its differences would only make Holm's correction stricter
    )
