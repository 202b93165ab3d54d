"""Hyperfitting: full-parameter fine-tuning of a language model on a tiny corpus to near-zero loss."""

import importlib

__version__ = "0.1.0"

_EXPORTS = {
    "Corpus": "corpus",
    "Hyperfitter": "training.hyperfitter",
    "HyperfitResult": "training.result",
    "Recipe": "training.recipe",
    "RecipeError": "training.recipe",
    "TrainingError": "errors",
    "UserError": "errors",
}
__all__ = list(_EXPORTS)


def __getattr__(name: str):
    # Loaded at first use: `--cpu` must be heard before torch looks for a GPU, and importing torch takes seconds.
    if name in _EXPORTS:
        return getattr(importlib.import_module(f".{_EXPORTS[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
