"""A base model damaged by noise on its weights until it is as surprised by validation rows as the hyperfitted model is: what
the same damage does when it is not hyperfitting."""

import json
import shutil
from pathlib import Path

import numpy as np
import torch
from common import device

from hyperfitting.builtin import resolve
from hyperfitting.codec import load_codec
from hyperfitting.errors import UserError
from hyperfitting.files import read_json, replace_folder
from hyperfitting.models import causal_lm, save_pretrained
from hyperfitting.scoring.teacher_forced import measure_rows

TOLERANCE = 0.02  # nats between the validation losses of the two


def load(model: str | Path):
    return causal_lm().from_pretrained(resolve(str(model)), dtype="auto", use_safetensors=True).to(device())


def validation_losses(model, rows: torch.Tensor) -> np.ndarray:
    """Of each validation row, as the run measures it but with the saved weights: (rows,) nats per token."""
    return measure_rows(model.float(), rows.to(model.device), 8)[:, 0].double().cpu().numpy()


def damage(base: str, rows: torch.Tensor, target: float, seed: int, folder: Path) -> None:
    """Write the base with Gaussian noise on its weights, in proportion to the spread of each tensor, as strong as makes its
    validation loss `target`; the scale is found by bisection."""
    if folder.exists():
        made = read_json(folder / "noise.json")
        if abs(made["target"] - target) > TOLERANCE:
            raise UserError(
                f"{folder} was damaged to a validation loss of {made['target']:.3f}, and now {target:.3f} is asked: delete it, and "
                "what was generated with it"
            )
        return
    model = load(base)
    stored, generator = model.dtype, torch.Generator().manual_seed(seed)
    clean = [p.detach().float() for p in model.parameters()]
    noise = [torch.randn(p.shape, generator=generator).to(p.device) * p.std() for p in clean]

    def loss_at(scale: float) -> float:
        for p, whole, random in zip(model.parameters(), clean, noise, strict=True):
            p.data = (whole + scale * random).to(stored)  # rounded as it will be saved
        return validation_losses(model, rows).mean().item()

    low, high = 0.0, 0.125
    if loss_at(low) > target:
        raise UserError(f"validation loss {target:.3f} is below the base's, noise cannot reach it: hyperfit for longer")
    while loss_at(high) < target:
        low, high = high, 2 * high
    while abs((loss := loss_at(scale := (low + high) / 2)) - target) > TOLERANCE:
        low, high = (scale, high) if loss < target else (low, scale)
    temporary = folder.with_name(folder.name + ".tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    save_pretrained(model.to(stored), load_codec(base), temporary)
    found = {"scale": scale, "validation_loss": loss, "target": target}
    (temporary / "noise.json").write_text(json.dumps(found) + "\n")
    replace_folder(temporary, folder)
