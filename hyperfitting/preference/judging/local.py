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
        from ...models import end_ids, load_for_inference, window_of

        self.name, self.max_tokens = model, max_tokens
        self.codec = load_codec(model, trust_remote_code=trust_remote_code)
        if not isinstance(self.codec, TextCodec):
            raise UserError(f"{model!r} is no model of text: a judge reads")
        network = load_for_inference(model, dtype, trust_remote_code=trust_remote_code)
        self.network, self.ends = network, sorted(end_ids(network, self.codec))
        self.window = window_of(network.config)
        self.facts = {"judge": model, "dtype": str(network.dtype).removeprefix("torch."), "max_tokens": str(max_tokens)}

    def ask(self, prompts: Iterable[tuple[str, str]]) -> Iterator[Reply]:
        import torch

        from ...generation.decoding import cut_at_end, decode
        from ...generation.engines import make_decoder, slowness

        decoder, reach = None, 0
        for key, prompt in prompts:
            ids, lead = self._encode(prompt)
            length = len(ids) + self.max_tokens
            if self.window is not None and length > self.window + 1:
                raise UserError(
                    f"a prompt of {len(ids)} tokens and {self.max_tokens} of an answer are beyond the {self.window} of {self.name!r}"
                )
            if (
                length > reach
            ):  # an engine is found for texts up to a length; few are needed, because each reaches further
                reach = min(2 * length, self.window + 1 if self.window is not None else 2 * length)
                decoder = make_decoder(self.network, reach)
                if message := slowness(decoder):
                    warnings.warn(message, stacklevel=2)
            made = decode(decoder, torch.tensor([ids]), length, [], self.ends)[0, len(ids) :].tolist()
            kept, reason = cut_at_end(made, self.ends)
            yield Reply(key, lead + self.codec.decode(kept), {"finish_reason": "stop" if reason == "eos" else "length"})

    def _encode(self, prompt: str) -> tuple[list[int], str]:
        """Ids of a prompt, and the part of the answer that it ends with already."""
        tokenizer = self.codec.tokenizer
        if tokenizer.chat_template is None:
            return self.codec.encode_opening([prompt + _LEAD])[0], _LEAD.strip()
        messages = [{"role": "user", "content": prompt}]
        text = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        return self.codec.encode([text], special=False)[0], ""
