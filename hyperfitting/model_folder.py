"""What a local path is that was given as a model: told apart before anything is loaded, with what to give in its place."""

import json
import re
from pathlib import Path

from .builtin import resolve
from .errors import UserError
from .files import is_lfs_pointer

WEIGHTS = (".safetensors", ".safetensors.index.json")
PICKLED = (".bin", ".bin.index.json", ".pt", ".pth")
TRAINERS = "the output folder of a Trainer"
MERGE = "merge it first (peft: `model.merge_and_unload().save_pretrained(FOLDER)`) and give the merged folder"


def check_model_folder(name: str, flag: str, weights: bool = True) -> None:
    """Refuse a path that holds no model that can be loaded: Git-LFS pointers, adapters, GGUF, the folder of a run, …

    Hub ids, and folders in which nothing is wrong at a glance, pass. `weights`: whether they are needed.

    Raises:
        UserError: saying what the path is and what to give instead.
    """
    folder = Path(resolve(name))
    if folder.is_file():
        raise UserError(f"{flag} {name} is {_file(folder)}")
    if not folder.is_dir():
        return
    names = {path.name for path in folder.iterdir() if not path.name.startswith(".")}  # ._x is what macOS adds to an x
    check_no_pointers(folder, name, flag, weights)
    if "config.json" not in names:
        raise UserError(f"{flag} {name} {_without_config(folder, names)}")
    if "adapter_config.json" in names:
        raise UserError(
            f"{flag} {name} holds an adapter (adapter_config.json) beside a whole model, and whether it is applied would depend on "
            f"whether peft is installed: {MERGE}, or remove the adapter's files to use the model without it"
        )
    if _json(folder / "config.json").get("quantization"):
        raise UserError(
            f"{flag} {name} holds weights that MLX quantised: give the folder of the original weights, or those that "
            "`mlx_lm.convert --dequantize` makes"
        )
    if weights and not any(one.endswith(WEIGHTS + PICKLED) for one in names):
        raise UserError(f"{flag} {name} {_without_weights(folder, names)}")


def check_no_pointers(folder: Path, name: str, flag: str, weights: bool = True) -> None:
    """Refuse a folder in which Git-LFS pointers stand for files; for weights too, or only for what a tokenizer reads.

    Raises:
        UserError: naming the files and how to get what they stand for.
    """
    files = [
        path for path in folder.iterdir() if path.is_file() and (weights or not path.name.endswith(WEIGHTS + PICKLED))
    ]
    pointers = sorted(path.name for path in files if is_lfs_pointer(path))
    if pointers:
        are = "are only pointers to the real files" if len(pointers) > 1 else "is only a pointer to the real file"
        raise UserError(
            f"{flag} {name} was cloned without Git LFS: {_some(pointers)} {are}; run `git lfs install` and `git lfs pull` in it, or "
            "download it with `hf download`"
        )


def check_not_quantised(config, name: str) -> None:
    """Refuse to train weights that are stored as integers; those that transformers turns back into numbers at load may pass.

    Raises:
        UserError: naming the method.
    """
    settings = getattr(config, "quantization_config", None) or {}
    settings = settings if isinstance(settings, dict) else settings.to_dict()
    method = settings.get("quant_method") or ("bitsandbytes" if settings.get("load_in_4bit") else None)
    if method is not None and not settings.get("dequantize"):
        raise UserError(
            f"the weights of {name!r} are quantised ({getattr(method, 'value', method)}), and all parameters are trained, in fp32: give "
            "--model the original weights"
        )


def _file(path: Path) -> str:
    if path.suffix.lower() == ".gguf":
        return (
            "a GGUF file, which is made for inference: give the folder (or Hub id) of the original safetensors weights"
        )
    if path.suffix == ".zip" or path.suffixes[-2:-1] == [".tar"] or path.suffix in (".tar", ".tgz"):
        return "an archive: unpack it and give the folder that holds config.json"
    beside = f", {path.parent}," if (path.parent / "config.json").exists() else ""
    return f"a file: give the folder that holds it{beside} with config.json, weights and tokenizer"


def _without_config(folder: Path, names: set[str]) -> str:
    """What a folder without config.json is, as the rest of a sentence."""
    if "adapter_config.json" in names:
        return f"is an adapter alone, {_adapter(folder)}"
    if any(one.startswith("adapter_model") for one in names):
        return f"holds the weights of an adapter without its adapter_config.json: get that as well, and {MERGE}"
    if {"recipe.yaml", "corpus"} <= names:
        if "final" in names:
            return f"is the folder of a run: give its model, {folder / 'final'}"
        return "is the folder of a run that has no final/ yet: end it with --resume auto, and give its final/"
    if "COMPLETED" in names or re.fullmatch(r"step_\d{7,}(\.tmp)?", folder.name):
        final = folder.parent.parent / "final"
        of_run = f"give that run's model, {final}" if final.exists() else "end that run and give its final/"
        return f"is a checkpoint to resume a run from, and no model: {of_run}, or give it to `fit --resume`"
    if any(re.fullmatch(r"step_\d{7,}", one) for one in names):
        return f"holds checkpoints to resume a run from, and no model: give that run's model, {folder.parent / 'final'}"
    if "model_index.json" in names:
        return "is a diffusers pipeline, and no causal language model"
    if "manifest.json" in names and (folder / "manifest.json").is_file():
        made_by = _json(folder / "manifest.json").get("model")
        return "is a folder of generations" + (f": give the model that made them, {made_by}" if made_by else "")
    if any(one.lower().endswith(".gguf") for one in names):
        return "holds GGUF files, which are made for inference: give the folder (or Hub id) of the original safetensors weights"
    models = _folders_with(folder, "config.json")
    if "modules.json" in names:
        return "is a sentence-transformers model, which embeds texts and continues none: give a causal language model"
    if "model" in (path.name for path in models):
        return f"has no config.json: give the folder in it that has, {folder / 'model'}"
    if models:
        kind = f"is {TRAINERS}" if models[-1].name.startswith("checkpoint-") else "has no config.json"
        others = f" (there are {len(models)} such folders)" if len(models) > 1 else ""
        return f"{kind}: give a folder in it that has one, such as {models[-1]}{others}"
    if adapters := _folders_with(folder, "adapter_config.json"):
        return f"holds no model, and in {adapters[-1].name} an adapter alone, {_adapter(adapters[-1])}"
    if "snapshots" in names:
        return f"is a folder of the Hub's cache: give the Hub id, or a folder in {folder / 'snapshots'}"
    if any(one.startswith(("tokenizer", "vocab", "spiece")) for one in names):
        return "holds a tokenizer and no model (no config.json): give it to --tokenizer, and a model to --model"
    if not names:
        return "is an empty folder: give the folder that holds config.json, weights and tokenizer"
    return f"has no config.json, so it is no model of transformers (it holds {_some(sorted(names))})"


def _folders_with(folder: Path, file: str) -> list[Path]:
    """Those in a folder that hold a file, by the last number in their names."""
    found = [path for path in folder.iterdir() if (path / file).is_file() and path.name[0] != "."]
    return sorted(found, key=lambda path: [int(digits) for digits in re.findall(r"\d+", path.name)][-1:])


def _adapter(folder: Path) -> str:
    """What an adapter was made for and what to do with it, as the rest of a sentence."""
    base = _json(folder / "adapter_config.json").get("base_model_name_or_path")
    if not base:
        return f"which does not say what it was made for: load it onto its base model, {MERGE}"
    gone = " (which does not exist here)" if Path(base).is_absolute() and not Path(base).exists() else ""
    return f"of the base model {base}{gone}: {MERGE}, or give the base model"


def _without_weights(folder: Path, names: set[str]) -> str:
    """What a folder with config.json and without weights is, as the rest of a sentence."""
    if checkpoints := [path for path in _folders_with(folder, "config.json") if path.name.startswith("checkpoint-")]:
        return f"is {TRAINERS} that has no weights of its own: give a folder in it that has, such as {checkpoints[-1]}"
    if any(one.lower().endswith(".gguf") for one in names):
        return "holds GGUF weights, which are made for inference: give the original safetensors weights"
    if "zero_to_fp32.py" in names:
        return (
            "holds DeepSpeed's shards and no whole weights: make them with the zero_to_fp32.py in it "
            "(`python zero_to_fp32.py . . --safe_serialization`)"
        )
    if any(one.startswith("pytorch_model_fsdp") for one in names):
        return "holds FSDP's shards and no whole weights: make them with `accelerate merge-weights`"
    of_macos = [path.name for path in folder.iterdir() if path.name.startswith("._") and path.name.endswith(WEIGHTS)]
    if of_macos:
        return f"holds {_some(sorted(of_macos))}, which macOS made beside the weights, but not the weights: copy those as well"
    other = [one for one in names if one.endswith((".h5", ".msgpack", ".onnx", ".nemo", ".npz", ".ckpt.index"))]
    if other:
        return f"holds {_some(sorted(other))} and no weights of PyTorch: give a folder with safetensors weights"
    return (
        f"has a config.json and no weights (it holds {_some(sorted(names))}), so it cannot be loaded: give --model a folder with "
        "*.safetensors files as well"
    )


def _json(path: Path) -> dict:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
