"""The model that a run leaves: written from the optimizer's own weights, reloaded and compared, uploaded when asked."""

import json
from pathlib import Path

import torch
from torch import nn

from ..codec import Codec
from ..corpus import Corpus
from ..errors import TrainingError
from ..files import replace_folder, write_file, written_by_libraries
from ..models import causal_lm, save_pretrained, with_dropout_of
from ..removal import LIST, discard, listed_files
from ..scoring.teacher_forced import measure_rows, position_losses
from . import launching
from .model_card import write_model_card
from .recipe import Recipe
from .run_folder import RunFolder
from .unsharding import unsharded_copy
from .written import of_model


def write_model(
    folder: Path,
    accelerator,
    model: nn.Module,
    model_class: type,
    dtype: torch.dtype,
    codec: Codec,
    recipe: Recipe,
    run: RunFolder,
    source_config,
) -> None:
    """Write the full weights as a transformers folder in one rename; every rank must call it.

    Args:
        source_config: the model's settings before training turned its dropout off: that is no property of the model.
    """
    copy = unsharded_copy(accelerator.unwrap_model(model), model_class, dtype, "cpu", here=accelerator.is_main_process)
    if accelerator.is_main_process:
        temporary = folder.with_name(folder.name + ".tmp")
        discard(temporary, of_model(temporary), ignore_errors=True)
        needed = sum(p.numel() * p.element_size() for p in copy.parameters())
        try:
            with written_by_libraries(temporary, needed):
                save_pretrained(copy, codec, temporary, with_dropout_of(copy.config, source_config))
            write_model_card(temporary, recipe, run, codec.pipeline_tag)
            names = sorted(str(file.relative_to(temporary)) for file in temporary.rglob("*") if file.is_file())
            write_file(temporary / LIST, json.dumps(names, indent=0) + "\n")
        except OSError:
            discard(temporary, of_model(temporary), ignore_errors=True)
            raise
        replace_folder(temporary, folder, of_model)
    accelerator.wait_for_everyone()


def check_written_model(
    folder: Path, accelerator, dtype: torch.dtype, corpus: Corpus, recipe: Recipe, expected: float
) -> float:
    """Reload a model as a user would, in this process alone, and return its validation loss.

    Args:
        expected: the run's last validation loss, nats per token; in fp32 throughout they agree to 1e-4, else to 5 %.

    Raises:
        TrainingError: when they do not agree.
    """
    on_gpu = accelerator.device.type == "cuda"
    where = {"device_map": "auto", "dtype": dtype} if on_gpu else {"dtype": torch.float32}
    with launching.no_sharding_at_load():
        model = causal_lm().from_pretrained(
            folder, trust_remote_code=recipe.trust_remote_code, use_safetensors=True, **where
        )
        rows = corpus.validation.to(model.device)
        losses = measure_rows(model, rows, recipe.per_device_eval_batch_size, measures=position_losses)[:, 0]
    loss = losses.double().mean().item()
    exact = dtype == torch.float32 and accelerator.mixed_precision == "no"
    if not abs(loss - expected) <= (1e-4 if exact else 0.05) * max(1.0, expected):
        raise TrainingError(
            f"the saved model {folder} has validation loss {loss:.4f}, the run ended at {expected:.4f}: it lost something in "
            f"{dtype}; the last checkpoint is whole, try --resume auto --save_dtype float32"
        )
    return loss


def push_to_hub(folder: Path, name: str) -> str:
    """Upload a model folder to the Hub repository `name`, created if it is missing, and return its address."""
    from huggingface_hub import HfApi

    repository = HfApi().create_repo(name, exist_ok=True)
    HfApi().upload_folder(
        repo_id=repository.repo_id,
        folder_path=folder,
        commit_message="Add hyperfitted model",
        allow_patterns=listed_files(folder),
        ignore_patterns=LIST,
    )
    return str(repository)
