"""A judge that is a causal language model on this machine."""

import warnings
from collections.abc import Iterable, Iterator

from ...errors import UserError
from .judge import Reply

_LEAD = "\nAnswer:"  # what a model that was not taught to chat goes on from


class LocalJudge:
    """Answers greedily, one prompt after the other, through the decode loop of `hyperfitting generate`.

    A tokenizer with a chat template gets the prompt as a user's message; any other model goes on from "Answer:".

    Raises:
        UserError: the model cannot be loaded, or is none of text.
    """

    def __init__(self, model: str, max_tokens: int, dtype: str, trust_remote_code: bool):
        from ...codec import TextCodec, load_codec
        from ...models import end_ids, load_for_inference, model_fingerprint, window_of

        self.name, self.max_tokens = model, max_tokens
        self.codec = load_codec(model, trust_remote_code=trust_remote_code)
        if not isinstance(self.codec, TextCodec):
            raise UserError(f"{model!r} is no model of text: a judge reads")
        network = load_for_inference(model, dtype, trust_remote_code=trust_remote_code)
        self.network, self.ends = network, sorted(end_ids(network, self.codec))
        self.window = window_of(network.config)
        self.identity = f"{model} with weights {model_fingerprint(network)}"  # a folder may hold another model tomorrow
        self.notes: list[str] = []
        self.facts = {"judge": model, "dtype": str(network.dtype).removeprefix("torch."), "max_tokens": str(max_tokens)}

    def ask(self, prompts: Iterable[tuple[str, str]]) -> Iterator[Reply]:
        """As `Judge.ask`; a prompt that does not fit into the model's window is skipped.

        Raises:
            UserError: none fits.
        """
        from ...generation.engines import make_decoder, slowness

        encoded = [(key, *self._encode(prompt)) for key, prompt in prompts]
        skipped = {key: why for key, ids, _ in encoded if (why := self._beyond(ids))}
        if encoded and len(skipped) == len(encoded):
            raise UserError(next(iter(skipped.values())))
        longest = max((len(ids) for key, ids, _ in encoded if key not in skipped), default=0)
        decoder = make_decoder(self.network, longest + self.max_tokens)
        if message := slowness(decoder):
            warnings.warn(message, stacklevel=2)
        for key, ids, lead in encoded:
            if key in skipped:
                yield Reply(key, None, {"why": skipped[key], "overlong": True})
            else:
                yield self._answer(decoder, key, ids, lead)

    def _beyond(self, ids: list[int]) -> str | None:
        """Why a prompt and its answer do not fit into the window; None where they do."""
        if self.window is None or len(ids) + self.max_tokens <= self.window + 1:
            return None
        return f"a prompt of {len(ids)} tokens and {self.max_tokens} of an answer are beyond the {self.window} of {self.name!r}"

    def _answer(self, decoder, key: str, ids: list[int], lead: str) -> Reply:
        import torch

        from ...generation.decoding import cut_at_end, decode

        made = decode(decoder, torch.tensor([ids]), len(ids) + self.max_tokens, [], self.ends)
        kept, reason = cut_at_end(made[0, len(ids) :].tolist(), self.ends)
        text, ended = self.codec.decode(kept).lstrip(), reason == "eos"
        if lead:  # such a model ends nothing by itself: the line is its answer, and what it goes on with is none
            text, ended = f"{lead} {text}".split("\n")[0], True
        details = {"model": self.identity, "finish_reason": "stop" if ended else "length"}
        return Reply(key, text, details)

    def _encode(self, prompt: str) -> tuple[list[int], str]:
        """Ids of a prompt, and the part of the answer that it ends with already."""
        tokenizer = self.codec.tokenizer
        if tokenizer.chat_template is None:
            return self.codec.encode_opening([prompt + _LEAD])[0], _LEAD.strip()
        messages = [{"role": "user", "content": prompt}]
        text = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        return self.codec.encode([text], special=False)[0], ""
