"""Causal LMs: loading them, for training and for inference, and what is asked of one before it is used."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from .builtin import explained, resolve
from .errors import UserError
from .hardware import use_all_cores
from .processes import local_rank

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def load_config(name: str | None, revision: str | None = None, trust_remote_code: bool = False):
    """The transformers config of a Hub id or local folder, alone: no weights are read.

    Raises:
        UserError: when the model does not exist or is not readable.
    """
    from transformers import AutoConfig

    if name is None:
        raise UserError("no model: give --model a Hub id or a local folder")
    with explained(name, "--model"):
        return AutoConfig.from_pretrained(resolve(name), revision=revision, trust_remote_code=trust_remote_code)


def load_for_training(name: str, config, revision: str | None = None, trust_remote_code: bool = False) -> nn.Module:
    """The model in fp32 with every dropout off; under ZeRO-3 it is sharded while it loads, so the Accelerator must exist
    before.

    Raises:
        UserError: when there are no safetensors weights or they cannot be read.
    """
    from transformers import AutoModelForCausalLM

    with explained(name, "--model"):
        model = AutoModelForCausalLM.from_pretrained(
            resolve(name),
            config=config,
            revision=revision,
            trust_remote_code=trust_remote_code,
            dtype=torch.float32,
            use_safetensors=True,
        )
    disable_dropout(model)
    return model


def load_for_inference(
    name: str, dtype: str, revision: str | None = None, trust_remote_code: bool = False, gpus_per_model: int = 1
) -> nn.Module:
    """The model in eval mode on this process's device; a CPU then computes with `hardware.use_all_cores`.

    Args:
        dtype: float32, bfloat16, or auto: the checkpoint's own on a GPU, float32 on a CPU.
        gpus_per_model: above 1 process r spreads the model over GPUs r x gpus_per_model and the following.

    Raises:
        UserError: when it cannot be loaded.
    """
    from transformers import AutoModelForCausalLM

    if dtype not in ("auto", "float32", "bfloat16"):
        raise UserError(f"dtype must be auto, float32 or bfloat16, not {dtype!r}")
    use_all_cores()
    on_gpu, rank, options = torch.cuda.is_available(), local_rank(), {}
    kind = dtype if dtype != "auto" else ("auto" if on_gpu else "float32")
    if on_gpu and gpus_per_model > 1:
        group = range(rank * gpus_per_model, (rank + 1) * gpus_per_model)
        options = {"device_map": "auto", "max_memory": {gpu: torch.cuda.mem_get_info(gpu)[0] for gpu in group}}
    elif on_gpu:
        options = {"device_map": f"cuda:{rank}"}
    with explained(name, "--model"):
        model = AutoModelForCausalLM.from_pretrained(
            resolve(name),
            dtype=kind,
            use_safetensors=True,
            revision=revision,
            trust_remote_code=trust_remote_code,
            **options,
        )
    return model.eval()


def window_of(config) -> int | None:
    """The most tokens that a model reads at once; None where its config does not say."""
    return getattr(config, "max_position_embeddings", None)


def check_window(config, longest: int, message: str) -> None:
    """Raise UserError when `longest` tokens are beyond the model's window; `message` may name it as {window}."""
    window = window_of(config)
    if window is not None and longest > window:
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
    """The ids that end a text, of the model's generation config and of the codec."""
    ends = getattr(model.generation_config, "eos_token_id", None)
    ends = set(ends if isinstance(ends, list) else [ends]) | codec.end_ids
    return {end for end in ends if end is not None}


def model_fingerprint(model: nn.Module) -> str:
    """SHA-256 (first 16 hex digits) of the names, shapes and up to 1024 evenly spaced values of every weight: the same for
    a folder and the model loaded from it, another for any other model."""
    digest = hashlib.sha256()
    for name, weight in sorted(model.named_parameters()):
        flat = weight.detach().flatten()
        values = flat[:: max(1, len(flat) // 1024)][:1024].to("cpu", torch.float32)
        digest.update(f"{name}{tuple(weight.shape)}".encode() + values.numpy().tobytes())
    return digest.hexdigest()[:16]


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
        from transformers import AutoModelForCausalLM

        with torch.device("meta"):
            return cls.of(AutoModelForCausalLM.from_config(config, trust_remote_code=trust_remote_code))

    def training_flops(self, tokens: int, seq_len: int) -> float:
        """Floating-point operations of a forward and backward pass over rows of `seq_len`, `tokens` in all: 6 per parameter
        and token, and attention's 12 x layers x width x seq_len per token (Chowdhery et al. 2022, appendix B)."""
        return tokens * (6 * self.parameters + 12 * self.layers * self.hidden * seq_len)


def disable_dropout(model: nn.Module) -> None:
    """Set every dropout probability of `model` to 0: nn.Dropout modules, and the numbers that functional dropout reads
    from modules and configs (attention_dropout, resid_pdrop, layerdrop, …)."""
    for holder, name in _dropouts(model):
        setattr(holder, name, 0.0)


def check_no_dropout(model: nn.Module) -> None:
    """Assert what `disable_dropout` did."""
    left = [f"{type(holder).__name__}.{name}" for holder, name in _dropouts(model)]
    assert not left, f"dropout is still on: {', '.join(left)}"


def _dropouts(model: nn.Module):
    """(holder, attribute) of every dropout probability above 0."""
    holders = [*model.modules(), *{id(m.config): m.config for m in model.modules() if hasattr(m, "config")}.values()]
    for holder in holders:
        for name, value in list(vars(holder).items()):
            named = "drop" in name.lower() or (isinstance(holder, nn.modules.dropout._DropoutNd) and name == "p")
            if named and isinstance(value, int | float) and not isinstance(value, bool) and value > 0:
                yield holder, name


def save_pretrained(model: nn.Module, codec, folder: Path) -> None:
    """Write a normal transformers folder: safetensors shards, tokenizer, and a generation config that leaves sampling
    off, because a left-over temperature or top_k would change what every later decoding rule means."""
    from transformers import GenerationConfig

    old = model.generation_config
    model.generation_config = GenerationConfig(
        bos_token_id=old.bos_token_id, eos_token_id=old.eos_token_id, pad_token_id=old.pad_token_id, do_sample=False
    )
    model.save_pretrained(folder, safe_serialization=True)
    codec.save(folder)
