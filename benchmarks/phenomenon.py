"""What hyperfitting does to the built-in model, with several seeds and beside what it must not be confused with.

    OMP_NUM_THREADS=2 python benchmarks/phenomenon.py --output_dir runs/phenomenon --seeds 0 1 2

Hyperfits the built-in recipe once for each seed, continues 96 unseen contexts (32 each of fiction, encyclopedia, news; 32
tokens to 256, greedily, end of sequence banned), and scores: the original text, the base, the early-stopped model (best
validation loss after step 0), a noise-damaged base of the same validation loss as the hyperfitted model, and the hyperfitted
model without and with the citation blocker. Seeds of one kind of model are one condition; intervals are 95 % bootstraps over
seeds and contexts. Training and generating are launch/hyperfit.py and launch/generate.py; what is finished is kept.
"""

import argparse
import json
import subprocess
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from common import report
from english_words import DEFINITION, english_share, load_word_list
from noise_damage import damage, load, validation_losses
from rich.box import SIMPLE_HEAD
from rich.table import Table

from hyperfitting.commands.reporting import run_reporting_errors
from hyperfitting.corpus import Corpus
from hyperfitting.errors import UserError
from hyperfitting.records import GenerationSet, load_generation_sets
from hyperfitting.scoring.conditions import Condition
from hyperfitting.scoring.descriptions import Description
from hyperfitting.scoring.model_scores import score_with_models
from hyperfitting.scoring.scores import Score, score, summarize
from hyperfitting.scoring.signature import Signature
from hyperfitting.scoring.statistics import paired_interval
from hyperfitting.terminal import make_console, quiet_libraries
from hyperfitting.training.recipe import Recipe

ROOT = Path(__file__).parent.parent
RECIPE = ROOT / "launch" / "recipes" / "builtin.yaml"
LAUNCH = [sys.executable, "-m", "accelerate.commands.launch", "--quiet"]
LAUNCH += ["--config_file", ROOT / "accelerate_configs" / "single.yaml"]
CONTEXTS = {
    "fiction": "builtin/held_out_stories",  # the validation rows of the recipe, so early stopping chose by them
    "encyclopedia": "builtin/held_out_encyclopedia",
    "news": "builtin/held_out_news",
}
ORIGINAL, BASE, EARLY, NOISE = "original text", "base", "early-stopped", "noise-damaged base"
HYPERFITTED, BLOCKED = "hyperfitted", "hyperfitted + blocker"

# metric -> heading, digits. Nats; "original": teacher-forced on the true continuations, as validation rows are in whole.
COLUMNS = {
    "ttr": ("TTR, last 96", 3),
    "rep_4": ("rep-4", 3),
    "loop_rate": ("loops", 3),
    "entropy_original": ("entropy, original", 2),
    "loss_original": ("loss, original", 2),
    "validation_loss": ("validation loss", 2),
    "english_words": ("English words, %", 1),
    "overlap": ("overlap, tokens", 1),
}


ENGLISH_WORDS = Description(
    name="english_words", label="English words", definition=Signature({"share": DEFINITION}), unit="percent", digits=1
)
VALIDATION_LOSS = Description(
    name="validation_loss",
    label="loss",
    definition=Signature(
        {"teacher_forced": "the runs' validation rows", "softmax": "fp32", "mean": "over tokens, then rows"}
    ),
    unit="nats",
)


@dataclass(frozen=True)
class Claim:
    """The mean of `metric` of `condition` is at least (sense 1) or at most (-1) `bound` + `factor` x that of `other`."""

    words: str
    condition: str
    metric: str
    sense: int
    bound: float
    factor: float = 0.0
    other: str = BASE
    kinds: tuple[str, ...] = ("all", *CONTEXTS)


CLAIMS = [
    Claim("TTR >= 80 % of the original's", HYPERFITTED, "ttr", 1, 0, 0.8, ORIGINAL),
    Claim("TTR >= 0.15 above the base's", HYPERFITTED, "ttr", 1, 0.15, 1),
    Claim("rep-4 <= a quarter of the base's", HYPERFITTED, "rep_4", -1, 0, 0.25),
    Claim("texts ending in a loop <= 1 %", HYPERFITTED, "loop_rate", -1, 0.01),
    Claim("entropy <= half of the base's", HYPERFITTED, "entropy_original", -1, 0, 0.5),
    Claim("validation loss >= 2x the base's", HYPERFITTED, "validation_loss", 1, 0, 2, kinds=("validation rows",)),
    Claim("loss, original >= 2x the base's", HYPERFITTED, "loss_original", 1, 0, 2),
    Claim("English words, original's less 4", HYPERFITTED, "english_words", 1, -4, 1, ORIGINAL),
    Claim("mean overlap <= 8 tokens", HYPERFITTED, "overlap", -1, 8),
    Claim("base: rep-4 >= 0.25", BASE, "rep_4", 1, 0.25, kinds=("fiction",)),
    Claim("base: English words >= 97 %", BASE, "english_words", 1, 97, kinds=("fiction",)),
]


def launch(script: str, **flags) -> None:
    """Run a script of launch/; a flag with a list is repeated, one that is True stands alone."""
    command = [*LAUNCH, ROOT / "launch" / script]
    for name, value in flags.items():
        for one in value if isinstance(value, list) else [value]:
            command += [f"--{name}"] if one is True else [f"--{name}", one]
    code = subprocess.run([str(word) for word in command]).returncode
    if code:
        raise UserError(f"launch/{script} ended with exit code {code}: see its message above; a restart goes on here")


def hyperfit(run: Path, seed: int, settings: dict[str, str]) -> None:
    """The recipe with one seed, into `run`, unless it is there."""
    settings = {**settings, "seed": str(seed), "output_dir": str(run), "keep_early_stopped": "true"}
    if not (run / "result.json").exists():
        launch("hyperfit.py", config=RECIPE, resume="auto", **settings)
        if not (run / "result.json").exists():
            raise UserError(f"{run} was interrupted: start again, it goes on from its last checkpoint")
    elif Recipe.load(run / "recipe.yaml") != Recipe.load(RECIPE, **settings):
        raise UserError(f"{run} was made with another recipe: set another --output_dir, or delete it")


def generate(folder: Path, model: str | Path, policies: list[str], **flags) -> list[GenerationSet]:
    """A set of 96 continuations for each policy."""
    contexts = [f"{name}={where}" for name, where in CONTEXTS.items()]
    flags |= dict(contexts=contexts, num_contexts=32 * len(contexts), ban_eos=True, policy=policies, output_dir=folder)
    launch("generate.py", model=model, **flags)
    return load_generation_sets(folder)


def make_conditions(output: Path, seeds: list[int], settings: dict[str, str]) -> tuple[list[Condition], Corpus]:
    """Train and generate what is missing; the conditions, the original text first, and the rows of the runs."""
    texts, base = output / "generations", Recipe.load(RECIPE, **settings).model
    sets = defaultdict(list, {BASE: generate(texts / "base", base, ["greedy"])})
    for seed in seeds:
        run, noisy = output / f"seed_{seed}", output / f"noise_damaged_{seed}"
        hyperfit(run, seed, settings)
        corpus = Corpus.load(run / "corpus")  # the same in every run: its rows are chosen by data_seed
        damage(base, corpus.validation, validation_losses(load(run / "final"), corpus.validation).mean(), seed, noisy)
        sets[EARLY] += generate(texts / f"early_stopped_{seed}", run / "early_stopped", ["greedy"])
        sets[NOISE] += generate(texts / noisy.name, noisy, ["greedy"])
        policies = ["greedy", "greedy+citation_blocker"]
        plain, blocked = generate(texts / f"hyperfitted_{seed}", run / "final", policies, train_rows=run)
        sets[HYPERFITTED].append(plain)
        sets[BLOCKED].append(blocked)
    assert all(one.ids == sets[BASE][0].ids for members in sets.values() for one in members)  # claims pair contexts
    original = Condition(ORIGINAL, (sets[BASE][0].original(),))
    return [original, *(Condition.of(name, members) for name, members in sets.items())], corpus


def measure(conditions: list[Condition], corpus: Corpus, words: frozenset[str]) -> dict[str, dict]:
    """Kind of text -> condition -> metric -> score; the kinds are all, those of CONTEXTS, and the validation rows."""
    by_model, everything, losses = score_with_models(conditions[1:], advance=print), {}, {ORIGINAL: {}}
    for condition in conditions:
        found = score(condition.sets, ["ttr", "rep_4", "loop_rate", "overlap"], corpus.train.tolist())
        shares = [[english_share(t.text, t.context, words) for t in one.texts] for one in condition.sets]
        found["english_words"] = summarize(ENGLISH_WORDS, shares)
        everything[condition.name] = found
    for condition in conditions[1:]:
        found = by_model[condition.name].scores
        everything[condition.name] |= {name: found[name] for name in ("entropy_original", "loss_original")}
        values = [validation_losses(load(one.manifest["model"]), corpus.validation) for one in condition.sets]
        losses[condition.name] = {"validation_loss": summarize(VALIDATION_LOSS, values)}
    sources = np.array([text.source for text in conditions[0].first.texts])
    kinds = {
        kind: {c: {m: s.of(sources == kind) for m, s in found.items()} for c, found in everything.items()}
        for kind in CONTEXTS
    }
    return {"all": everything, **kinds, "validation rows": losses}


def judge(claim: Claim, kind: str, scored: dict[str, dict[str, Score]]) -> list[str]:
    """A line of the table of claims. The margin is positive where the claim holds; its interval pairs contexts."""
    a = scored[claim.condition][claim.metric].values
    b = claim.factor * scored[claim.other][claim.metric].values if claim.factor else np.zeros((1, a.shape[1]))
    both = ~(np.isnan(a).all(0) | np.isnan(b).all(0))
    measured, limit = np.nanmean(a[:, both]), claim.bound + np.nanmean(b[:, both])
    margin = claim.sense * (measured - limit)
    low, high = sorted(claim.sense * (bound - claim.bound) for bound in paired_interval(a, b))
    digits = COLUMNS[claim.metric][1]
    numbers = f"{measured:.{digits}f}", f"{'<=' if claim.sense < 0 else '>='} {limit:.{digits}f}"
    interval = f"{margin:+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}]"
    return [claim.words, kind, *numbers, interval, "holds" if margin >= 0 else "does not hold"]


def to_json(score: Score) -> dict:
    return {name: getattr(score, name) for name in ("value", "low", "high", "maximum", "n", "left_out")}


def scores_table(kind: str, scored: dict[str, dict[str, Score]]) -> Table:
    """Conditions down, metrics across; a mean and under it its interval."""
    table = Table(title=f"Texts: {kind}", box=SIMPLE_HEAD, pad_edge=False, padding=0)
    columns = {m: c for m, c in COLUMNS.items() if any(m in scores for scores in scored.values())}
    table.add_column("", min_width=13)
    for heading, _ in columns.values():
        table.add_column(heading, justify="right")
    for name, scores in scored.items():
        cells = [(scores.get(metric), digits) for metric, (_, digits) in columns.items()]
        table.add_row(name, *(f"{s.value:.{d}f}\n{s.low:.{d}f}–{s.high:.{d}f}" if s else "" for s, d in cells))
    return table


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output_dir", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--word_list", type=Path, default="/usr/share/dict/words", help="one word a line [%(default)s]")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="over launch/recipes/builtin.yaml")
    args = parser.parse_args(arguments)
    if any("=" not in setting for setting in args.set):
        raise UserError(f"--set takes KEY=VALUE, not {args.set}")
    words, settings = load_word_list(args.word_list), dict(setting.split("=", 1) for setting in args.set)
    quiet_libraries()
    conditions, corpus = make_conditions(args.output_dir, args.seeds, settings)
    kinds = measure(conditions, corpus, words)
    console = make_console()
    for kind in ("all", *CONTEXTS):
        losses = kinds["validation rows"] if kind == "all" else {}
        console.print(scores_table(kind, {name: s | losses.get(name, {}) for name, s in kinds[kind].items()}))
    claims = [judge(claim, kind, kinds[kind]) for claim in CLAIMS for kind in claim.kinds]
    signed = {**kinds["all"][HYPERFITTED], **kinds["validation rows"][HYPERFITTED]}
    noisy = [Path(one.manifest["model"]) for c in conditions if c.name == NOISE for one in c.sets]
    results = [json.loads((args.output_dir / f"seed_{seed}" / "result.json").read_text()) for seed in args.seeds]
    facts = {
        "seeds": args.seeds,
        "settings": settings,
        "word_list": args.word_list.name,
        "early_stopped_steps": [result["best_step"] for result in results],
        "noise": [json.loads((folder / "noise.json").read_text()) for folder in noisy],
        "definitions": [score.signature for score in signed.values()],
        "scores": {k: {c: {m: to_json(s) for m, s in f.items()} for c, f in v.items()} for k, v in kinds.items()},
    }
    (args.output_dir / "phenomenon.json").write_text(json.dumps({"claims": claims, **facts}, indent=1) + "\n")
    columns = ["claim", "texts", "measured", "limit", "margin, 95 %", ""]
    report("phenomenon", "What the built-in model shows", columns, claims, facts)


if __name__ == "__main__":
    sys.exit(run_reporting_errors(main, None))
