"""The paper's experiments on text, for one model: what hyperfitting does to it, with several seeds, beside what it must not be
confused with and beside the numbers of the paper.

    python benchmarks/paper.py --config smollm2_135m --dataset news.jsonl \\
        --contexts fiction=fiction.jsonl --contexts encyclopedia=wiki.jsonl --contexts news=news_2.jsonl --output_dir runs/paper

Every other flag is one of launch/hyperfit.py. The stages are public scripts, each in a folder of --output_dir; what is finished
is kept, and the same command goes on after a kill. With other flags the stages that they change are gone on with, or say why
they cannot be:

    seed_0/ …                hyperfitted once for each seed (launch/hyperfit.py), the early-stopped weights kept
    noise_damaged/           the base with noise on its weights, as surprised by the validation rows as the first seed is
    generations/             contexts of 32 tokens continued to 256, end of sequence banned (launch/generate.py): the base
                             greedily, from its nucleus, by the paper's Top-P and with a repetition penalty; early-stopped (of
                             the first seed) and noise-damaged greedily; hyperfitted greedily, with the citation blocker, and from
                             its nucleus
    generations_long/        some of them continued to 1,024 tokens, greedily, by the base and the hyperfitted models
    scores/, scores_long/    tables and report.html (launch/score.py); seeds of one kind of model are one condition
    paper.md, paper.json     the paper's Tables 2 and 3 beside these numbers; figure_2.svg, figure_9.svg
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from common import report
from english_words import DEFINITION, english_share, load_word_list
from paper_tables import BASE, HYPERFITTED, Tables, draw_figures
from stages import SINGLE, Stages

from hyperfitting.commands.reporting import run_reporting_errors
from hyperfitting.files import read_json, write_atomically
from hyperfitting.records import GenerationSet, load_generation_sets
from hyperfitting.scoring.descriptions import Description
from hyperfitting.scoring.scores import Score, summarize
from hyperfitting.scoring.signature import Signature
from hyperfitting.terminal import quiet_libraries
from hyperfitting.training.recipe import Recipe
from hyperfitting.training.run_folder import RunFolder

BASE_POLICIES = ["greedy", "nucleus", "paper_top_p", "repetition_penalty"]
HYPERFITTED_POLICIES = ["greedy", "greedy+citation_blocker", "nucleus"]
GREEDY = ["greedy"]
CONTROLS = {
    "early-stopped": "early_stopped",
    "noise-damaged": "noise_damaged",
}  # condition -> folder; of the first seed
LONG = 1024  # tokens
ENGLISH_WORDS = Description(
    name="english_words", label="English words", definition=Signature({"share": DEFINITION}), unit="percent", digits=1
)


class Paper:
    """The experiments of one call."""

    def __init__(self, args: argparse.Namespace, recipe_flags: list[str]):
        self.args, self.recipe_flags, self.folder = args, recipe_flags, args.output_dir
        self.stages = Stages(self.folder)
        self.runs = [self.folder / f"seed_{seed}" for seed in args.seeds]

    def make(self) -> None:
        """Train, generate and score what is missing."""
        for seed, run in zip(self.args.seeds, self.runs, strict=True):
            keep = str(run == self.runs[0]).lower()  # controls are of the first seed
            flags = [*self.recipe_flags, "--seed", seed, "--keep_early_stopped", keep]
            self.stages.hyperfit(run, self.args.config_file, *flags)
        base = Recipe.load(self.runs[0] / "recipe.yaml").model
        self._generate("base", base, BASE_POLICIES)
        for seed, run in zip(self.args.seeds, self.runs, strict=True):
            self._generate(f"hyperfitted_{seed}", run / "final", HYPERFITTED_POLICIES, "--train_rows", run)
        self._generate("early_stopped", self.runs[0] / "early_stopped", GREEDY)
        noisy = self.folder / "noise_damaged"
        self.stages.damage(self.runs[0], noisy)
        self._generate("noise_damaged", noisy, GREEDY)
        models = ["--model_scores", "--model_scores_of", "original", "--latex"]
        self._score("scores", "generations", CONTROLS, "--train_rows", self.runs[0], *models)
        if self.args.long_contexts:
            self._generate("base", base, GREEDY, long=True)
            for seed, run in zip(self.args.seeds, self.runs, strict=True):
                self._generate(f"hyperfitted_{seed}", run / "final", GREEDY, long=True)
            self._score("scores_long", "generations_long", {}, names=(BASE, HYPERFITTED))

    def _generate(self, name: str, model: str | Path, policies: Sequence[str], *more, long: bool = False) -> None:
        folder = self.folder / ("generations_long" if long else "generations") / name
        count = self.args.long_contexts if long else self.args.num_contexts
        flags = ["--ban_eos", "--num_contexts", count, *more, *(["--max_length", LONG] if long else [])]
        flags += [word for contexts in self.args.contexts for word in ("--contexts", contexts)]
        self.stages.generate(folder, model, policies, *flags)

    def _score(
        self, name: str, generations: str, controls: dict[str, str], *flags, names=("base", "hyperfitted")
    ) -> None:
        """Sets of several policies add these to `names`."""
        sets, (base, hyperfitted) = self.folder / generations, names
        seeds = ",".join(str(sets / f"hyperfitted_{seed}") for seed in self.args.seeds)
        beside = [f"{control}={sets / folder}" for control, folder in controls.items()]
        words = [f"{base}={sets / 'base'}", *beside, *flags, "--group", f"{hyperfitted}={seeds}"]
        self.stages.score(self.folder / name, *words)

    def english_words(self, words: frozenset[str]) -> dict[str, dict[str, Score]]:
        """Condition -> corpus, or "all" -> score."""
        texts = self.folder / "generations"
        found = {f"base {one.policy}": [one] for one in load_generation_sets(texts / "base")}
        found["original text"] = [next(iter(found.values()))[0].original()]
        found |= {name: load_generation_sets(texts / folder) for name, folder in CONTROLS.items()}
        seeds = [load_generation_sets(texts / f"hyperfitted_{seed}") for seed in self.args.seeds]
        for sets in zip(*seeds, strict=True):
            found[f"hyperfitted {sets[0].policy}"] = list(sets)
        return {name: _english(sets, words) for name, sets in found.items()}


def _english(sets: list[GenerationSet], words: frozenset[str]) -> dict[str, Score]:
    shares = [[english_share(t.text, t.context, words) for t in one.texts] for one in sets]
    score = summarize(ENGLISH_WORDS, shares)
    sources = [text.source for text in sets[0].texts]
    return {"all": score} | {name: score.of([s == name for s in sources]) for name in sets[0].sources}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--output_dir", type=Path, required=True)
    parser.add_argument("--contexts", action="append", required=True, metavar="NAME=WHERE")
    parser.add_argument("--num_contexts", type=int, default=300, help="in all, an equal share of each [%(default)s]")
    parser.add_argument("--long_contexts", type=int, default=30, help=f"continued to {LONG} tokens [%(default)s]")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--config_file", type=Path, default=SINGLE, help="accelerate config of the training [single]")
    parser.add_argument("--word_list", type=Path, default="/usr/share/dict/words", help="one word a line [%(default)s]")
    args, recipe_flags = parser.parse_known_args(arguments)
    words = load_word_list(args.word_list)
    quiet_libraries()
    paper = Paper(args, recipe_flags)
    paper.make()
    recipe = Recipe.load(paper.runs[0] / "recipe.yaml")
    tables = Tables(paper.folder, paper.english_words(words))
    draw_figures(paper.folder, paper.runs)
    write_atomically(paper.folder / "paper.md", tables.markdown())
    print(tables.markdown())
    facts = {
        "model": Path(recipe.model).name,
        "recipe": {
            key: value
            for key, value in recipe.to_dict().items()
            if key in ("num_train", "epochs", "learning_rate", "global_batch_size", "seq_len")
        },
        "seeds": args.seeds,
        "num_contexts": args.num_contexts,
        "long_contexts": args.long_contexts,
        "hours": round(paper.stages.hours(), 2),
        "word_list": args.word_list.name,
        "noise": read_json(paper.folder / "noise_damaged" / "noise.json"),
        "early_stopped_step": read_json(RunFolder(paper.runs[0]).result)["best_step"],
        **tables.to_json(),
    }
    write_atomically(paper.folder / "paper.json", json.dumps(facts, indent=1) + "\n")
    title = f"{facts['model']}: what hyperfitting does to it"
    report(f"paper-{facts['model']}", title, *tables.claims(), facts)


if __name__ == "__main__":
    sys.exit(run_reporting_errors(main, None))
