"""What hyperfitting does to a small ImageGPT: the same pictures completed by the base, by what hyperfitting must not be confused with,
and by the hyperfitted model, with numbers.

    python launch/pretrain_images.py prepare --images cifar/train.parquet --output_dir work
    python launch/pretrain_images.py train --data work --output_dir models/imagegpt_tiny
    python benchmarks/pictures.py --data work --output_dir runs/pictures --config imagegpt_tiny --model models/imagegpt_tiny

Every other flag is one of launch/hyperfit.py. The run learns from hyperfit.parquet of `--data` and is validated on probe.parquet;
pictures of complete.parquet, which nothing was trained or chosen on, are completed from their first quarter. Stages are public scripts, each
kept when it is finished:

    seed_0/            hyperfitted, the early-stopped weights kept
    noise_damaged/     the base with noise on its weights, as surprised by the validation pictures as the hyperfitted model is
    generations/       greedily by all of them, and from the nucleus of base and hyperfitted model
    scores/            tables and report.html
    pictures.md        numbers beside the true pictures', and three questions; grid.png: the first of the completed pictures
"""

import argparse
import sys
from pathlib import Path

from common import report
from paper_tables import Column, table
from stages import SINGLE, Stages

from hyperfitting.codec.pixels import PixelFormat
from hyperfitting.commands.reporting import run_reporting_errors
from hyperfitting.files import read_json, write_atomically
from hyperfitting.records import load_generation_sets
from hyperfitting.terminal import quiet_libraries
from hyperfitting.training.recipe import Recipe
from hyperfitting.training.run_folder import RunFolder

MODELS = ("base", "early_stopped", "noise_damaged", "hyperfitted")
HYPERFITTED = "hyperfitted greedy"
COLUMNS = (
    Column("repeated_lines", "repeated lines", 3),
    Column("column_run", "column run", 1),
    Column("colours", "colours", 1),
    Column("rep_4", "rep-4", 3),
    Column("completion_error", "error", 1),
    Column("nearest_training", "nearest training picture", 1),
    Column("overlap", "overlap, pixels", 1, maximum=True),
    Column("patch_kid", "KID of patches", 3),
    Column("patch_precision", "precision", 2),
    Column("patch_recall", "recall", 2),
)
OF_MODELS = (Column("loss_original", "loss, nats a pixel", 3), Column("entropy_original", "entropy", 2))
# (question, metric): answered by the paired difference from the base, greedily
QUESTIONS = (
    ("does it repeat lines less?", "repeated_lines"),
    ("is it nearer to training pictures?", "nearest_training"),
    ("are its pictures, as a set, nearer to real ones?", "patch_kid"),
)
GRID = 16  # pictures
# settings that the results tell
RECIPE = "num_train num_validation epochs learning_rate global_batch_size seq_len seed".split()


def draw_grid(folder: Path, count: int) -> bytes:
    """The first `count` pictures: true, and completed greedily by every model."""
    sets = {name: load_generation_sets(folder / "generations" / name)[0] for name in MODELS}
    first = sets[MODELS[0]]
    columns = {"original": [[*text.context_ids, *text.reference_ids] for text in first.texts[:count]]}
    columns |= {
        name.replace("_", " "): [[*text.context_ids, *text.ids] for text in one.texts[:count]]
        for name, one in sets.items()
    }
    return PixelFormat.from_json(first.manifest["pixels"]).draw(columns, len(first.texts[0].context_ids))


def answers(differences: list[dict]) -> list[list[str]]:
    """Rows: question, what hyperfitting adds to the base's number with its interval, and p."""
    found = {d["metric"]: d for d in differences if d["condition"] == HYPERFITTED}
    rows = [["hyperfitted against base, greedily, paired by picture", "difference", "p (Holm)"]]
    for question, metric in QUESTIONS:
        d = found[metric]
        rows.append(
            [f"{question} ({metric})", f"{d['value']:+.3f} [{d['low']:+.3f}, {d['high']:+.3f}]", f"{d['p_holm']:.4f}"]
        )
    return rows


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--data", type=Path, required=True, help="folder that launch/pretrain_images.py prepare wrote")
    parser.add_argument("--output_dir", type=Path, required=True)
    parser.add_argument("--num_contexts", type=int, default=128, help="pictures that are completed [%(default)s]")
    args, recipe_flags = parser.parse_known_args(arguments)
    quiet_libraries()
    folder, run, stages = args.output_dir, args.output_dir / "seed_0", Stages(args.output_dir)
    data = ["--dataset", args.data / "hyperfit.parquet", "--validation_dataset", args.data / "probe.parquet"]
    stages.hyperfit(run, SINGLE, *recipe_flags, *data, "--keep_early_stopped", "true")
    recipe, generations = Recipe.load(run / "recipe.yaml"), folder / "generations"
    contexts = ["--contexts", f"pictures={args.data / 'complete.parquet'}", "--num_contexts", args.num_contexts]
    stages.damage(run, folder / "noise_damaged")
    models = dict(
        zip(MODELS, (recipe.model, run / "early_stopped", folder / "noise_damaged", run / "final"), strict=True)
    )
    for name, model in models.items():
        policies = ["greedy", "nucleus"] if name in ("base", "hyperfitted") else ["greedy"]
        stages.generate(generations / name, model, policies, *contexts)
    scored = [*(generations / name for name in MODELS), "--train_rows", run, "--model_scores"]
    stages.score(folder / "scores", *scored)
    write_atomically(folder / "grid.png", draw_grid(folder, GRID))
    found = read_json(folder / "scores" / "scores.json")
    conditions = {entry["name"]: entry["scores"] for entry in found["conditions"]}
    columns = [*COLUMNS, *OF_MODELS]
    rows = [["", *(column.heading for column in columns)]]
    rows += [[name, *(c.cell(scores.get(c.metric)) for c in columns)] for name, scores in conditions.items()]
    asked = answers(found["differences"])
    text = f"{table(rows)}\n\n{table(asked)}\n"
    write_atomically(folder / "pictures.md", text)
    print(text)
    history = RunFolder(run).read_metrics()
    facts = {
        "recipe": {key: value for key, value in recipe.to_dict().items() if key in RECIPE},
        "hours": round(stages.hours(), 2),
        "scores": conditions,
        "differences": found["differences"],
        "noise": read_json(folder / "noise_damaged" / "noise.json"),
        "evaluations": [record for record in history if record["kind"] == "evaluation"],
    }
    pretraining = Path(recipe.model) / "pretraining.json"  # of models of launch/pretrain_images.py
    if pretraining.exists():
        facts["pretraining"] = read_json(pretraining)
    report(f"pictures-{Path(recipe.model).name}", "Pictures", asked[0], asked[1:], facts)


if __name__ == "__main__":
    sys.exit(run_reporting_errors(main, None))
