"""What is asked of a causal LM before it is used."""

from dataclasses import dataclass

import torch
from torch import nn

from ..errors import UserError
from .loading import causal_lm

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@torch.no_grad()
def check_causal(model: nn.Module, name: str) -> None:
    """Refuse a model in which a later token changes an earlier prediction, such as BERT: its training loss would fall because
    it sees what it is to predict. One forward pass of two short rows; under ZeRO-3 and FSDP2 on every rank.

    Raises:
        UserError: naming the model.
    """
    device, size = next(model.parameters()).device, getattr(model, "module", model).config.get_text_config().vocab_size
    rows = (torch.arange(8, device=device) % size).repeat(2, 1)
    rows[1, -1] = (rows[1, -1] + 1) % size
    training = model.training
    model.eval()
    with torch.compiler.set_stance("force_eager"):  # or a compiled model would be compiled for this shape too
        first, second = model(input_ids=rows, use_cache=False).logits[:, :-1].float()
    model.train(training)
    if (first - second).abs().max() > 1e-3 * first.abs().max():
        raise UserError(
            f"{name!r} is no causal model: a later token changes what it predicts before it; give --model a causal LM"
        )


def window_of(config) -> int | None:
    """The most tokens that a model reads at once; None where its config does not say. A row may have one more: its last token is
    predicted, and read by no one."""
    return getattr(config, "max_position_embeddings", None)


def check_window(config, longest: int, message: str) -> None:
    """Raise UserError when rows of `longest` tokens are beyond the model's window; `message` may name it as {window}."""
    window = window_of(config)
    if window is not None and longest > window + 1:
        raise UserError(message.format(window=window))


def check_vocabulary(config, largest: int, holder: str) -> None:
    """Raise UserError when a token id is beyond the model's vocabulary; `holder` is what holds it, in the plural."""
    size = config.get_text_config().vocab_size
    if largest >= size:
        raise UserError(
            f"{holder} hold token id {largest}, the model knows {size} ids: set --tokenizer to the model's own"
        )


def source_dtype(config) -> torch.dtype:
    """The dtype in which the source checkpoint is stored, as its config says; fp32 when it does not say."""
    dtype = getattr(config, "dtype", None) or torch.float32
    return DTYPES.get(str(dtype).removeprefix("torch."), torch.float32)


def end_ids(model: nn.Module, codec) -> set[int]:
    """The ids that end a text, of the model's generation config and of the codec, as far as the model can choose them."""
    ends = getattr(model.generation_config, "eos_token_id", None)
    ends = set(ends if isinstance(ends, list) else [ends]) | codec.end_ids
    return {end for end in ends if end is not None and end < model.config.get_text_config().vocab_size}


def count_parameters(model: nn.Module) -> int:
    """Parameters of the whole model, tied ones once, however it is sharded."""
    return sum(getattr(p, "ds_numel", p.numel()) for p in model.parameters())


@dataclass(frozen=True)
class ModelSize:
    """What the cost of a model depends on; `parameters` counts tied weights once, `hidden` is the width of a layer."""

    parameters: int
    layers: int
    hidden: int

    @classmethod
    def of(cls, model: nn.Module) -> "ModelSize":
        """The size of a model, however it is sharded."""
        text = model.config.get_text_config()
        return cls(count_parameters(model), text.num_hidden_layers, text.hidden_size)

    @classmethod
    def of_config(cls, config, trust_remote_code: bool = False) -> "ModelSize":
        """Counted on a model without storage, built from its config."""
        with torch.device("meta"):
            return cls.of(causal_lm().from_config(config, trust_remote_code=trust_remote_code))

    def training_flops(self, tokens: int, seq_len: int) -> float:
        """Floating-point operations of a forward and backward pass over rows of `seq_len`, `tokens` in all: 6 per parameter
        and token, and attention's 12 x layers x width x seq_len per token (Chowdhery et al. 2022, appendix B)."""
        return tokens * (6 * self.parameters + 12 * self.layers * self.hidden * seq_len)
