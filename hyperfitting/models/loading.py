"""Loading causal LMs, for training and for inference, and saving them."""

import warnings
from pathlib import Path

import torch
from torch import nn

from ..builtin import explained, resolve
from ..errors import UserError
from ..hardware import use_all_cores
from ..model_folder import check_model_folder, check_not_quantised
from ..processes import local_rank
from .fingerprints import open_weights
from .quiet import disable_dropout
from .saving import save_pretrained
from .ties import check_ties, with_true_ties


def load_config(
    name: str | None,
    revision: str | None = None,
    trust_remote_code: bool = False,
    weights: bool = True,
    flag: str = "--model",
):
    """The transformers config of a Hub id or local folder, alone: no weights are read, and with `weights` False none need be there.

    Raises:
        UserError: when the model does not exist or is not readable.
    """
    from transformers import AutoConfig

    if name is None:
        raise UserError("no model: give --model a Hub id or a local folder")
    check_model_folder(name, flag, weights)
    with explained(name, flag):
        config = AutoConfig.from_pretrained(resolve(name), revision=revision, trust_remote_code=trust_remote_code)
        _check_no_adapter(name, revision)
    return config


def _check_no_adapter(name: str, revision: str | None) -> None:
    """Refuse a Hub model that holds an adapter beside its weights, as `check_model_folder` does a local one."""
    from transformers.utils import cached_file

    quiet = {f"_raise_exceptions_for_{what}": False for what in ("gated_repo", "missing_entries", "connection_errors")}
    if cached_file(resolve(name), "adapter_config.json", revision=revision, **quiet):
        raise UserError(
            f"{name!r} holds an adapter (adapter_config.json) beside a whole model, and whether it is applied would depend on whether peft "
            "is installed: download it, and merge the adapter or remove its files"
        )


def check_stored(
    name: str, revision: str | None = None, trust_remote_code: bool = False, flag: str = "--model"
) -> None:
    """Whether a model's config and weights, which `flag` asks for, are there and can be opened; no weights are read.

    Raises:
        UserError: naming what is not.
    """
    load_config(name, revision, trust_remote_code, flag=flag)
    with explained(name, flag), open_weights(name, revision) as files:
        if not files:
            raise UserError(f"{name!r} holds no safetensors weights")


def load_for_training(name: str, config, revision: str | None = None, trust_remote_code: bool = False) -> nn.Module:
    """The model in fp32 with every dropout off; under ZeRO-3 it is sharded while it loads, so the Accelerator must exist
    before.

    Raises:
        UserError: when there are no safetensors weights, they cannot be read, or they are not this model's.
    """
    check_not_quantised(config, name)
    model = _load(name, revision, trust_remote_code, torch.float32, config)
    check_loads_again(model, name)
    check_ties(model, name)
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
    return _load(name, revision, trust_remote_code, kind, **options).eval()


def causal_lm() -> type:
    """transformers' AutoModelForCausalLM. It chooses a class by the `model_type` of the config, and knows none of the causal
    models of images, which transformers keeps in a map of their own: from here on it knows them too."""
    from transformers import MODEL_FOR_CAUSAL_IMAGE_MODELING_MAPPING, AutoModelForCausalLM

    for config_class, model_class in MODEL_FOR_CAUSAL_IMAGE_MODELING_MAPPING.items():
        AutoModelForCausalLM.register(config_class, model_class, exist_ok=True)
    return AutoModelForCausalLM


def _load(
    name: str, revision: str | None, trust_remote_code: bool, dtype: torch.dtype | str, config=None, **options
) -> nn.Module:
    source = dict(revision=revision, trust_remote_code=trust_remote_code)
    config = config or load_config(name, **source)
    try:
        with explained(name, "--model"):
            config = with_true_ties(config, _class_of(config), name, revision)
            model, found = causal_lm().from_pretrained(
                resolve(name),
                config=config,
                use_safetensors=True,
                output_loading_info=True,
                dtype=dtype,
                **source,
                **options,
            )
    except UserError as error:
        folder = Path(resolve(name))
        if "safetensors" in str(error) and (not folder.is_dir() or any(folder.glob("*.bin"))):
            raise UserError(
                f"{error}; `hyperfitting convert` makes safetensors of a checkpoint's .bin weights"
            ) from error
        raise
    _check_weights(name, model, found)
    return model


def check_loads_again(model: nn.Module, name: str) -> None:
    """Refuse a model that transformers could not load once it is saved: of some models for text and images it loads the part for text,
    under a config of its own that no causal LM is known by.

    Raises:
        UserError: naming model and class.
    """
    if type(model.config).__module__.startswith("transformers.") and _class_of(model.config) is None:
        raise UserError(
            f"{name!r} is loaded as {type(model).__name__}, which transformers saves as {model.config.model_type!r} and cannot load again as "
            "a causal LM: give --model a model for text alone"
        )


def _class_of(config) -> type | None:
    """transformers' own class of the model that a config describes; None where the class comes with the checkpoint."""
    found = causal_lm()._model_mapping.get(type(config), None)
    return found[0] if isinstance(found, list | tuple) else found


def convert_to_safetensors(name: str, revision: str | None, codec, folder: Path) -> list[str]:
    """Write a model that is stored as pickled .bin weights as a folder of safetensors, in the checkpoint's dtype.

    Nothing but tensors is unpickled: a file that holds anything else, which could run code, is an error.

    Returns:
        Names of tensors that the model does not have, such as masks that older versions stored: they are left out.

    Raises:
        UserError: there are no such weights, they hold more than tensors, or tensors of the model are missing.
    """
    check_model_folder(name, "--model")
    source = Path(resolve(name))
    if any(source.glob("*.safetensors")) and not any(source.glob("*.bin")):
        raise UserError(f"--model {name} holds safetensors weights already: give it to the other commands as it is")
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
