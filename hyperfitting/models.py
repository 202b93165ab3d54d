"""Causal LMs: loading them, for training and for inference, and what is asked of one before it is used."""

import contextlib
import hashlib
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
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
        UserError: when there are no safetensors weights, they cannot be read, or they are not this model's.
    """
    model = _load(name, config=config, revision=revision, trust_remote_code=trust_remote_code, dtype=torch.float32)
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
        UserError: when it cannot be loaded, or the weights are not this model's.
    """
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
    return _load(name, revision=revision, trust_remote_code=trust_remote_code, dtype=kind, **options).eval()


def causal_lm() -> type:
    """transformers' AutoModelForCausalLM. It chooses a class by the `model_type` of the config, and knows none of the causal
    models of images, which transformers keeps in a map of their own: from here on it knows them too."""
    from transformers import MODEL_FOR_CAUSAL_IMAGE_MODELING_MAPPING, AutoModelForCausalLM

    for config_class, model_class in MODEL_FOR_CAUSAL_IMAGE_MODELING_MAPPING.items():
        AutoModelForCausalLM.register(config_class, model_class, exist_ok=True)
    return AutoModelForCausalLM


def _load(name: str, **options) -> nn.Module:
    try:
        with explained(name, "--model"):
            model, found = causal_lm().from_pretrained(
                resolve(name), use_safetensors=True, output_loading_info=True, **options
            )
    except UserError as error:
        if "safetensors" in str(error):
            raise UserError(
                f"{error}; `hyperfitting convert` makes safetensors of a checkpoint's .bin weights"
            ) from error
        raise
    _check_weights(name, model, found)
    return model


def convert_to_safetensors(name: str, revision: str | None, codec, folder: Path) -> list[str]:
    """Write a model that is stored as pickled .bin weights as a folder of safetensors, in the checkpoint's dtype.

    Nothing but tensors is unpickled: a file that holds anything else, which could run code, is an error.

    Returns:
        Names of tensors that the model does not have, such as masks that older versions stored: they are left out.

    Raises:
        UserError: there are no such weights, they hold more than tensors, or tensors of the model are missing.
    """
    with explained(name, "--model"):
        model, found = causal_lm().from_pretrained(
            resolve(name),
            revision=revision,
            use_safetensors=False,
            weights_only=True,
            output_loading_info=True,
            dtype="auto",
        )
    unused = sorted(found.pop("unexpected_keys"))
    _check_weights(name, model, {**found, "unexpected_keys": set()})
    save_pretrained(model, codec, folder)
    return unused


def _check_weights(name: str, model: nn.Module, found: dict) -> None:
    """Refuse a checkpoint whose tensors are not those of the model that its config describes: transformers would fill what
    is missing with random numbers, and go on. `found` is its report, after its own lists of what may be missing.

    A part that the class does not have at all, such as the vision tower of a model for text and images, is said.
    """
    foreign = {key for key in found["unexpected_keys"] if _belongs_to_another_part(key, model)}
    wrong = {
        "are missing": found["missing_keys"],
        "have another shape": {key for key, *_ in found["mismatched_keys"]},
        "are not the model's": found["unexpected_keys"] - foreign,
    }
    problems = [f"{len(keys)} {what} ({_some(keys)})" for what, keys in wrong.items() if keys]
    if problems:
        raise UserError(
            f"the weights of {name!r} do not fit its config: of its tensors {', '.join(problems)}; the checkpoint is damaged, or "
            "belongs to another config.json"
        )
    if foreign:
        parts = sorted({".".join(key.split(".")[:2]) for key in foreign})
        warnings.warn(f"{name}: weights of parts that are not used here are left out: {_some(parts)}", stacklevel=2)


def _belongs_to_another_part(key: str, model: nn.Module) -> bool:
    """Whether a tensor's name leads to a submodule that the model does not have, outside its numbered layers."""
    module = model
    for part in key.split(".")[:-1]:
        if part.isdigit():
            return False
        if not hasattr(module, part):
            return True
        module = getattr(module, part)
    return False


def _some(names) -> str:
    names = sorted(names)
    return ", ".join(names[:3]) + (", …" if len(names) > 3 else "")


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


def check_stored(name: str, revision: str | None = None, trust_remote_code: bool = False) -> None:
    """Whether a model's config and weights are there and can be opened; no weights are read.

    Raises:
        UserError: naming what is not.
    """
    from safetensors import safe_open

    load_config(name, revision, trust_remote_code)
    with explained(name, "--model"):
        for file in _weight_files(name, revision):
            with safe_open(file, framework="pt"):
                pass


def model_fingerprint(model: nn.Module) -> str:
    """The fingerprint of a loaded model: that of its folder, if it was loaded without rounding. See `stored_fingerprint`."""
    kept = {name for name, _ in model.named_parameters()}  # tied weights once, as a folder holds them
    tied = {name for name, _ in model.named_parameters(remove_duplicate=False)} - kept
    return _fingerprint({name: lambda t=t: t for name, t in model.state_dict().items() if name not in tied})


def stored_fingerprint(name: str, revision: str | None = None) -> str:
    """SHA-256 (first 32 hex digits) of the name, shape and values of every tensor that a Hub model or a local folder stores.

    Values are hashed in fp32, so that neither the split into files nor the dtype of a load is in it. Reads all weights once.
    """
    from safetensors import safe_open

    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(safe_open(file, framework="pt")) for file in _weight_files(name, revision)]
        return _fingerprint({key: partial(file.get_tensor, key) for file in files for key in file.keys()})


def _fingerprint(tensors: dict[str, Callable[[], torch.Tensor]]) -> str:
    def digest(name: str) -> bytes:
        tensor = tensors[name]().detach().to("cpu")
        if tensor.is_floating_point():
            tensor = tensor.float()
        head = f"{name}{tuple(tensor.shape)}".encode()
        return hashlib.sha256(head + hashlib.sha256(tensor.contiguous().view(torch.uint8).numpy()).digest()).digest()

    with ThreadPoolExecutor(4) as pool:  # hashing lets other threads run
        return hashlib.sha256(b"".join(pool.map(digest, sorted(tensors)))).hexdigest()[:32]


def _weight_files(name: str, revision: str | None) -> list[str]:
    from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME, cached_file
    from transformers.utils.hub import get_checkpoint_shard_files

    where = dict(revision=revision, _raise_exceptions_for_missing_entries=False)
    whole = cached_file(resolve(name), SAFE_WEIGHTS_NAME, **where)
    if whole:
        return [whole]
    index = cached_file(resolve(name), SAFE_WEIGHTS_INDEX_NAME, **where)
    return get_checkpoint_shard_files(resolve(name), index, revision=revision)[0]


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
