"""Decoding policies by name: `greedy`, `nucleus(p=0.95)`, `greedy+citation_blocker`.

A policy is everything that decides a token besides the model: the checkpoint's own generation settings are never read.
"""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..errors import UserError
from ..options import nearest
from .processors import KeyedGumbel, MinP, RepetitionPenalty, Temperature, TopK, TopP

BLOCKER = "citation_blocker"


@dataclass(frozen=True)
class Kind:
    """A named policy: what it is, its parameters with defaults, whether it samples."""

    description: str
    parameters: dict[str, float]
    samples: bool


POLICIES = {
    "greedy": Kind("the likeliest token", {}, False),
    "nucleus": Kind("sampling from the nucleus", {"p": 0.9, "temperature": 1.0}, True),
    "paper_top_p": Kind("the paper's Top-P baseline", {"p": 0.9, "temperature": 0.7, "top_k": 50}, True),
    "repetition_penalty": Kind("the likeliest token, seen ones made less likely", {"penalty": 1.2}, False),
    "min_p": Kind("sampling above a share of the likeliest", {"min_p": 0.1, "temperature": 1.0}, True),
    "temperature": Kind("sampling from the whole distribution", {"temperature": 1.0}, True),
}
RANGES: dict[str, tuple[Callable[[float], bool], str]] = {
    "p": (lambda v: 0 < v <= 1, "in (0, 1]"),
    "min_p": (lambda v: 0 < v <= 1, "in (0, 1]"),
    "temperature": (lambda v: v > 0, "above 0"),
    "penalty": (lambda v: v > 0, "above 0"),
    "top_k": (lambda v: v >= 1 and v == int(v), "a whole number of at least 1"),
}


@dataclass(frozen=True)
class Policy:
    """A policy with its parameters; `signature` names it completely and parses back to it."""

    name: str
    parameters: tuple[tuple[str, float], ...] = ()
    blocked: bool = False

    @classmethod
    def parse(cls, text: str) -> "Policy":
        """Read `name`, `name(key=value,…)` and `…+citation_blocker`.

        Raises:
            UserError: an unknown policy or parameter, with the nearest name, or a value out of range.
        """
        base, plus, suffix = text.strip().partition("+")
        if plus and suffix.strip() != BLOCKER:
            raise UserError(f"policy {text!r}: only +{BLOCKER} can be added to a policy")
        match = re.fullmatch(r"\s*([\w-]+)\s*(?:\((.*)\))?\s*", base)
        name = match.group(1) if match else base
        if name not in POLICIES:
            raise UserError(f"unknown policy {name!r}{nearest(name, POLICIES)} (there are {', '.join(POLICIES)})")
        values = dict(POLICIES[name].parameters)
        for assignment in filter(None, (part.strip() for part in (match.group(2) or "").split(","))):
            key, equals, value = (part.strip() for part in assignment.partition("="))
            if key not in values:
                raise UserError(
                    f"policy {name} has no parameter {key!r}{nearest(key, values)} (it has {', '.join(values) or 'none'})"
                )
            try:
                values[key] = float(value)
            except ValueError:
                raise UserError(f"policy {name}: {key} must be a number, not {value!r}") from None
            holds, wanted = RANGES[key]
            if not math.isfinite(values[key]) or not holds(values[key]):
                raise UserError(f"policy {name}: {key} must be {wanted}, not {value}")
        return cls(name, tuple(values.items()), bool(plus))

    @property
    def signature(self) -> str:
        values = ",".join(f"{key}={_shortest(value)}" for key, value in self.parameters)
        return self.name + (f"({values})" if values else "") + (f"+{BLOCKER}" if self.blocked else "")

    @property
    def folder_name(self) -> str:
        """The signature as the name of a folder."""
        return re.sub(r"[^\w.=+-]+", "_", self.signature).strip("_")

    def processors(self, seed: int, record_ids: Sequence[str], context_len: int, device, blocker=None) -> list:
        """The logits processors of a batch in their order: repetition penalty, citation blocker, temperature, top-k,
        top-p, min-p, noise. The caller takes the arg-max of what they leave."""
        values = dict(self.parameters)
        chain = [RepetitionPenalty(values.pop("penalty"))] if "penalty" in values else []
        if self.blocked:
            chain.append(blocker.block_)  # the decode loop owns its scores
        if (temperature := values.pop("temperature", 1.0)) != 1.0:
            chain.append(Temperature(temperature))
        if "top_k" in values:
            chain.append(TopK(int(values.pop("top_k"))))
        if (p := values.pop("p", 1.0)) < 1.0:
            chain.append(TopP(p))
        if "min_p" in values:
            chain.append(MinP(values.pop("min_p")))
        assert not values, f"policy {self.name}: no processor takes {', '.join(values)}"
        if POLICIES[self.name].samples:
            chain.append(KeyedGumbel(seed, record_ids, context_len, device))
        return chain


def _shortest(value: float) -> str:
    """The shortest decimal that reads back as the same number; 1 for 1.0."""
    return str(int(value)) if value == int(value) else repr(value)
