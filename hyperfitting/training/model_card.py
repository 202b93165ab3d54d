"""README.md of a saved model: what it was made from, how, and what it measured."""

from dataclasses import fields
from pathlib import Path

import yaml
from huggingface_hub import EvalResult, ModelCard, ModelCardData

from ..files import write_file
from .evaluation import Evaluation
from .recipe import Recipe
from .run_folder import RunFolder

CARD = """---
{header}
---

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
FROM_THE_BASE = ("license", "license_name", "license_link", "language")  # metadata that a fine-tuned model shares
RESULTS = {
    "validation_loss": ("loss", "Validation loss, nats per token"),
    "perplexity": ("perplexity", "Perplexity of validation rows"),
    "ttr": ("ttr", "TTR of the last 96 tokens of greedy continuations"),
    "rep_4": ("rep-4", "rep-4 of greedy continuations"),
}


def write_model_card(folder: Path, recipe: Recipe, run: RunFolder, pipeline_tag: str) -> None:
    """Write README.md into a model folder as of the last evaluation of `run`, with the Hub's metadata on top. Of a local path
    its last part alone is written, because the folders above it often name a person.

    Args:
        pipeline_tag: the Hub's name of what the model does, such as text-generation.
    """
    before, after = Evaluation.from_json(run.first_evaluation()), Evaluation.from_json(run.evaluations()[-1])
    model = public_name(recipe.model)
    name = public_name(recipe.hub_model_id or f"{model}-hyperfitted").rpartition("/")[2]
    rows = [f"| {label} | {old} | {new} |" for label, old, new, _ in after.compared(before)]
    text = CARD.format(
        header=_metadata(name, recipe, after, pipeline_tag),
        name=name,
        model=model,
        num_train=recipe.num_train,
        seq_len=recipe.seq_len,
        steps=after.step,
        batch=recipe.global_batch_size,
        rate=recipe.learning_rate,
        rows="\n".join(rows),
        n_rows=after.n_rows,
        n_texts=after.n_texts or 0,
        recipe=yaml.safe_dump(_public_recipe(recipe), sort_keys=False),
    )
    write_file(folder / "README.md", text)


def is_hub_id(name: str | None) -> bool:
    """Whether a name means a repository of the Hub: not a local path, and nothing that is shipped."""
    local = not name or name.startswith(("builtin/", ".", "/", "~")) or Path(name).exists() or name.count("/") > 1
    return not local and not Path(name).suffix.lower().startswith((".json", ".csv", ".parquet", ".txt"))


def public_name(name: str) -> str:
    """A Hub id or a shipped name as it is; the last part of a path."""
    return name if is_hub_id(name) or name.startswith("builtin/") else Path(name).resolve().name


def _public_recipe(recipe: Recipe) -> dict:
    paths = {f.name for f in fields(recipe) if f.metadata["path"]}
    return {key: public_name(value) if key in paths and value else value for key, value in recipe.to_dict().items()}


def _metadata(name: str, recipe: Recipe, after: Evaluation, pipeline_tag: str) -> str:
    """The front matter: https://huggingface.co/docs/hub/model-cards; `name` is what GGUF converters call the model."""
    dataset = recipe.validation_dataset or recipe.dataset or "given rows"
    results = [
        EvalResult(
            task_type=pipeline_tag,
            dataset_type=dataset if is_hub_id(dataset) else "local",
            dataset_name=f"{after.n_rows} validation rows of {public_name(dataset)}",
            metric_type=kind,
            metric_name=label,
            metric_value=round(getattr(after, field), 4),
        )
        for field, (kind, label) in RESULTS.items()
        if getattr(after, field) is not None
    ]
    data = ModelCardData(
        **_of_the_base(recipe),
        base_model=recipe.model if is_hub_id(recipe.model) else None,
        datasets=[recipe.dataset] if is_hub_id(recipe.dataset) else None,
        library_name="transformers",
        pipeline_tag=pipeline_tag,
        tags=["hyperfitting", "hyperfitted"],
        model_name=name,
        eval_results=results,
        name=name,
    )
    return data.to_yaml()


def _of_the_base(recipe: Recipe) -> dict:
    """License and language as the base model's card gives them; {} where it has none that can be read. Only an upload looks
    for the card on the Hub: until then nothing more than the model is fetched."""
    from transformers.utils import cached_file

    where = dict(revision=recipe.revision, local_files_only=not recipe.push_to_hub)
    try:
        card = ModelCard.load(cached_file(recipe.model, "README.md", **where), ignore_metadata_errors=True)
    except Exception:  # no card, no network, metadata that is no YAML
        return {}
    return {key: card.data.get(key) for key in FROM_THE_BASE if card.data.get(key)}
