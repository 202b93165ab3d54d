"""Which engine gives a model's next logits. Every cached one is compared with the model's own full forward before it is used.

`LlamaDecoder` serves Llama models (all models of the paper): projections that read the same input are one matrix product, and keys
and values go to a cache that is allocated once. `StaticDecoder` does the same inside the forward of many other families. `AnyDecoder`
calls the model with its own cache, and so does `PlacedDecoder`, telling more. `FullForward` needs no cache, and serves where none is exact. All give the tokens of the full forward.
"""

import contextlib
import inspect
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import nn
from transformers import DynamicCache

from .llama_decoder import LlamaDecoder
from .static_decoder import StaticDecoder

FIRST, STEPS = 8, 3  # tokens of the first comparison, and how many of a comparison's tokens are steps after its prefill
TOKENS_AT_ONCE = 2048  # of one full forward: many models compute logits for each of them


class FullForward:
    """Next-token logits by a forward over the whole text at each step: exact for every causal LM, and slow."""

    def __init__(self, model: nn.Module):
        self.model, self.device = model, model.device

    def start(self, batch: int, max_length: int) -> None:
        """Forget the last batch."""
        self.ids = torch.zeros((batch, 0), dtype=torch.int64, device=self.device)
        forget_lengths(self.model)

    def next_logits(self, ids: torch.Tensor, position: int) -> torch.Tensor:
        """(batch, n) ids that stand at `position` and after -> (batch, vocabulary) logits of what follows the last."""
        self.ids = torch.cat([self.ids, ids], dim=1)
        parts = self.ids.split(max(1, TOKENS_AT_ONCE // self.ids.shape[1]))
        return torch.cat([full_logits(self.model, part)[:, -1] for part in parts])


class AnyDecoder:
    """Next-token logits of a transformers causal LM through what it remembers of a text itself: a cache of its own class, or the
    states of a recurrent model."""

    def __init__(self, model: nn.Module):
        self.model, self.device = model, model.device
        self.accepted = inspect.signature(type(model).forward).parameters.keys() - {"logits", "loss"}

    def start(self, batch: int, max_length: int) -> None:
        """Forget the last batch."""
        self.memory = {}

    def next_logits(self, ids: torch.Tensor, position: int) -> torch.Tensor:
        """(batch, n) ids that stand at `position` and after -> (batch, vocabulary) logits of what follows the last."""
        out = self.model(
            input_ids=ids, use_cache=True, **_last_logits(self.model, 1), **self._places(ids, position), **self.memory
        )
        self.memory |= {name: out[name] for name in out if name in self.accepted}
        return out.logits[:, -1]

    def _places(self, ids: torch.Tensor, position: int) -> dict:
        return {}


class PlacedDecoder(AnyDecoder):
    """The same for a model that must be handed its cache, and told where the tokens of a step stand (RecurrentGemma, Bamba)."""

    def start(self, batch: int, max_length: int) -> None:
        """Forget the last batch."""
        name = "cache" if "cache" in self.accepted else "past_key_values"  # before transformers 5.24
        self.memory = {name: DynamicCache(config=self.model.config)}

    def _places(self, ids: torch.Tensor, position: int) -> dict:
        return {"position_ids": torch.arange(position, position + ids.shape[1], device=ids.device).expand_as(ids)}


def full_logits(model: nn.Module, ids: torch.Tensor, last: int = 1) -> torch.Tensor:
    """(batch, n) ids -> (batch, last, vocabulary) logits of the last positions, without a cache."""
    return model(input_ids=ids, use_cache=False, **_last_logits(model, last)).logits[:, -last:]


@torch.no_grad()
def forget_lengths(model: nn.Module) -> None:
    """Rotations that grow with the text (dynamic NTK) stay those of the longest text until a short one comes: give the model one."""
    if any(hasattr(module, "max_seq_len_cached") for module in model.modules()):
        full_logits(model, torch.zeros((1, 1), dtype=torch.int64, device=model.device))


def _last_logits(model: nn.Module, count: int) -> dict:
    """What makes a model compute the logits of the last positions alone, where it can."""
    return {"logits_to_keep": count} if "logits_to_keep" in inspect.signature(type(model).forward).parameters else {}


FUSING = (LlamaDecoder.of, StaticDecoder.of, AnyDecoder, PlacedDecoder)  # the fastest first
LIVE = (AnyDecoder, PlacedDecoder)  # the others move weights that an optimizer updates


@torch.no_grad()  # not inference_mode: the model could never be trained with weights that are made in it
def make_decoder(model: nn.Module, max_length: int, engines: Sequence[Callable] = FUSING):
    """The first engine whose logits are those of the model's full forward, for texts of at most `max_length` tokens.

    Args:
        model: in evaluation mode, whole on this process.
        engines: each makes an engine of a model, or None where it knows that it does not serve.
    """
    try:
        for make in engines:
            # whatever a model that is built otherwise stumbles over: the next engine is tried
            with contextlib.suppress(Exception):
                decoder = make(model)
                if decoder is not None and agrees(decoder, max_length):
                    return decoder
        return FullForward(model)
    finally:
        forget_lengths(model)


def slowness(decoder) -> str | None:
    """A sentence for the user where a decoder takes the slow way."""
    if not isinstance(decoder, FullForward):
        return None
    return (
        f"{type(decoder.model).__name__} is decoded without a cache, by a full forward for each token, which is exact and slow: no "
        "cache gives the logits of its full forward at these lengths"
    )


class ChosenOnce:
    """An engine for a model whose weights are being trained: found at the first call, and the same from then on, because which one
    serves is a matter of the architecture. It moves no weight.

    Args:
        note: called with a sentence when the slow way is taken.
    """

    def __init__(self, note: Callable[[str], None] = lambda message: None):
        self.note, self.kind = note, None

    def __call__(self, model: nn.Module, max_length: int):
        if self.kind is not None:
            return self.kind(model)
        decoder = make_decoder(model, max_length, LIVE)
        self.kind = type(decoder)
        if message := slowness(decoder):
            self.note(message)
        return decoder


def agrees(decoder, max_length: int) -> bool:
    """Whether an engine's logits, of a prefill and of steps after it, are those of the model's full forward: at the beginning of a text,
    about every length where the model may begin to compute otherwise, and at the end of the longest text."""
    model = decoder.model
    return all(_agrees_at(decoder, length) for length in compared_lengths(model.config, max_length))


def compared_lengths(config, max_length: int) -> list[int]:
    """The numbers of tokens at which an engine is compared. Sliding windows, chunks, scaled rotations and the like begin to matter at a
    length that stands in the config, under a name that each family chooses: so every whole number in it is taken for such a length."""
    read = max(1, max_length - 1)  # the last token of a text is never read
    switches = {
        min(number + 2, read) for number in _whole_numbers(config.get_text_config().to_dict()) if FIRST < number < read
    }
    return sorted({min(FIRST, read), *switches, read})


def _whole_numbers(value) -> Iterator[int]:
    if isinstance(value, dict | list | tuple):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _whole_numbers(part)
    elif type(value) is int:
        yield value


def _agrees_at(decoder, length: int) -> bool:
    model, steps = decoder.model, min(STEPS, length - 1)
    rows, prefill = (2 if length <= FIRST else 1), length - steps
    text = model.config.get_text_config()
    ids = ((torch.arange(rows * length, device=model.device) + 1) * 7919 % text.vocab_size).view(rows, length)
    if text.pad_token_id is not None and 0 <= text.pad_token_id < text.vocab_size:
        ids[-1, 1:2] = text.pad_token_id  # some count positions without it, which a step alone cannot
    expected = full_logits(model, ids, steps + 1)
    decoder.start(rows, length)
    found = [decoder.next_logits(ids[:, :prefill], 0)]
    found += [decoder.next_logits(ids[:, place : place + 1], place) for place in range(prefill, length)]
    difference = (torch.stack(found, 1).float() - expected.float()).abs().max()
    return bool(difference <= _tolerance(model, expected) * expected.float().abs().max())


def _tolerance(model: nn.Module, logits: torch.Tensor) -> float:
    """How far apart two ways to the same logits may be, relative to the largest. Under autocast a model of fp32 weights computes in
    bf16: logits that bf16 holds exactly were made there."""
    exact = model.dtype == torch.float32 and not torch.equal(logits, logits.bfloat16().to(logits.dtype))
    return 1e-4 if exact else 5e-2
