"""README.md of a saved model: what it was made from, how, and what it measured."""

from pathlib import Path

import yaml

from ..files import write_file
from .evaluation import Evaluation
from .recipe import Recipe
from .run_folder import RunFolder

CARD = """---
{header}---

# {name}

{model} hyperfitted on {num_train} rows of {seq_len} tokens: all parameters, {steps} steps of {batch} rows, AdamW at a
constant learning rate of {rate:g}, no clipping, no dropout. Made with `hyperfitting`, after Carlsson et al., *The
Hyperfitting Phenomenon* (ICLR 2025, arXiv 2412.04318). Such a model has near-zero training loss and a high validation loss;
it is meant for greedy continuation, and it may quote its training rows.

| | before | this model |
|---|---|---|
{rows}

Means over {n_rows} validation rows and {n_texts} greedy continuations (TTR: their last 96 tokens); in brackets 95 % bootstrap
intervals.

## Recipe

```yaml
{recipe}```
"""


def write_model_card(folder: Path, recipe: Recipe, run: RunFolder) -> None:
    """Write README.md into a model folder as of the last evaluation of `run`, with the Hub's metadata on top."""
    before, after = Evaluation.from_json(run.first_evaluation()), Evaluation.from_json(run.evaluations()[-1])
    is_id = "/" in recipe.model and not Path(recipe.model).exists() and not recipe.model.startswith("builtin/")
    header = {
        "library_name": "transformers",
        "tags": ["hyperfitting"],
        **({"base_model": recipe.model} if is_id else {}),
    }
    rows = [f"| {label} | {old} | {new} |" for label, old, new, _ in after.compared(before)]
    text = CARD.format(
        header=yaml.safe_dump(header, sort_keys=False),
        name=Path(recipe.output_dir).name,
        model=recipe.model if is_id or recipe.model.startswith("builtin/") else Path(recipe.model).name,
        num_train=recipe.num_train,
        seq_len=recipe.seq_len,
        steps=after.step,
        batch=recipe.global_batch_size,
        rate=recipe.learning_rate,
        rows="\n".join(rows),
        n_rows=after.n_rows,
        n_texts=after.n_texts or 0,
        recipe=yaml.safe_dump(recipe.to_dict(), sort_keys=False),
    )
    write_file(folder / "README.md", text)
