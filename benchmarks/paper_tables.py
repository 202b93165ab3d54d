"""Tables and figures of benchmarks/paper.py, from what launch/score.py wrote, beside the numbers of the paper (Carlsson et al.,
ICLR 2025, arXiv 2412.04318; its Tables 1 to 3 and Figures 2 and 9)."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hyperfitting.files import read_json, write_atomically
from hyperfitting.scoring.scores import Score
from hyperfitting.training.curves import add_legend, draw_runs, line_style, panels_of
from hyperfitting.training.run_folder import RunFolder

ORIGINAL, BASE, TOP_P = "original text", "base greedy", "base paper_top_p(p=0.9,temperature=0.7,top_k=50)"
PENALTY, HYPERFITTED = "base repetition_penalty(penalty=1.2)", "hyperfitted greedy"
BLOCKED = "hyperfitted greedy+citation_blocker"
WINDOW = 32  # tokens between the points of a curve of TTR by position


@dataclass(frozen=True)
class Column:
    """A metric of scores.json as it stands in a table: `value` x `scale`, with `digits`, and the largest where that is shown."""

    metric: str
    heading: str
    digits: int
    scale: float = 1
    maximum: bool = False

    def cell(self, score: dict | None) -> str:
        if score is None or score["value"] is None:
            return "–"
        value, low, high = (f"{score[key] * self.scale:.{self.digits}f}" for key in ("value", "low", "high"))
        largest = f", max {score['maximum']:.0f}" if self.maximum else ""
        left_out = f" (n = {score['n']})" if score["left_out"] else ""
        return f"{value} [{low}, {high}]{largest}{left_out}"


TTR = Column("ttr", "TTR, last 96", 3)
TEXTS = (
    TTR,
    Column("rep_4", "rep-4", 3),
    Column("loop_rate", "loops, %", 1, 100),
    Column("self_bleu_4", "Self-BLEU-4", 3),
    Column("overlap", "overlap, tokens", 1, maximum=True),
    Column("dataset_bleu_4", "Dataset-BLEU-4", 3),
    Column("english_words", "English words, %", 1),
)
MODELS = (
    Column("entropy_original", "entropy, nats", 2),
    Column("mass_top1_original", "top-1 mass, %", 1, 100),
    Column("perplexity_original", "perplexity", 1),
)
# (quantity, the paper's base -> hyperfitted, condition for the base, for the hyperfitted, column). Second-hand where marked *.
PAPER = (
    ("TTR, greedy (TinyLlama)", "0.24 → 0.65", BASE, HYPERFITTED, TTR),
    ("TTR, Top-P of the base (TinyLlama)", "0.28", TOP_P, None, TTR),
    ("TTR, original text", "0.735", ORIGINAL, None, TTR),
    ("overlap, tokens (Llama 3.1)*", "4.0 → 5.8, max 37–40", BASE, HYPERFITTED, TEXTS[4]),
    ("Dataset-BLEU*", "about + 0.01", BASE, HYPERFITTED, TEXTS[5]),
    ("entropy, nats*", "2.84–3.48 → 1.32–1.46", BASE, HYPERFITTED, MODELS[0]),
    ("top-1 mass, %*", "48.4 → 74.4", BASE, HYPERFITTED, MODELS[1]),
    ("perplexity (Llama 3.1 8B)*", "13.1 → 103", BASE, HYPERFITTED, MODELS[2]),
)


@dataclass(frozen=True)
class Claim:
    """`metric` of the hyperfitted model, greedy, is at least (sense 1) or at most (-1) `bound` + `factor` x that of `other`; with
    `apart` its interval lies beyond that of `other`."""

    words: str
    metric: Column
    sense: int
    other: str
    bound: float = 0.0
    factor: float = 0.0
    apart: bool = False

    def judge(self, mine: dict, other: dict) -> list[str]:
        """[measured, limit, whether it holds]"""
        scale, digits = self.metric.scale, self.metric.digits
        if self.apart:
            measured, limit = mine["low"] * scale, other["high"] * scale
        else:
            measured, limit = mine["value"] * scale, self.bound + self.factor * (other["value"] * scale)
        sign = "≥" if self.sense > 0 else "≤"
        holds = self.sense * (measured - limit) >= 0
        return [self.metric.cell(mine), f"{sign} {limit:.{digits}f}", "holds" if holds else "does not hold"]


CLAIMS = (
    Claim("TTR ≥ 80 % of the original text's", TTR, 1, ORIGINAL, factor=0.8),
    Claim("TTR ≥ 0.2 above the base's", TTR, 1, BASE, bound=0.2, factor=1),
    Claim("TTR above the base's Top-P, intervals apart", TTR, 1, TOP_P, apart=True),
    Claim("rep-4 ≤ a fifth of the base's", TEXTS[1], -1, BASE, factor=0.2),
    Claim("texts that end in a loop ≤ 2 %", TEXTS[2], -1, BASE, bound=2),
    Claim("English words at most 3 points below the original's", TEXTS[6], 1, ORIGINAL, bound=-3, factor=1),
)


class Tables:
    """The numbers of `folder`, and `english_words`: condition -> corpus or "all" -> score."""

    def __init__(self, folder: Path, english_words: dict[str, dict[str, Score]]):
        self.scored = _conditions(folder / "scores")
        self.long = _conditions(folder / "scores_long") if (folder / "scores_long").exists() else {}
        for name, parts in english_words.items():
            for part, score in parts.items():
                self.of(name, part)["english_words"] = {
                    key: getattr(score, key)
                    for key in ("value", "low", "high", "maximum", "n", "left_out", "signature")
                }
        self.kinds = ["all", *self.scored[BASE].get("by_source", {})]

    def of(self, condition: str, kind: str = "all") -> dict[str, dict]:
        """metric -> score of one condition over all contexts or those of one corpus."""
        entry = self.scored[condition]
        return entry["scores"] if kind == "all" else entry["by_source"][kind]

    def claims(self) -> tuple[list[str], list[list[str]]]:
        """Headings and rows of what was asked of the hyperfitted model, over all texts and by corpus."""
        rows = [
            [
                claim.words,
                kind,
                *claim.judge(
                    self.of(HYPERFITTED, kind)[claim.metric.metric], self.of(claim.other, kind)[claim.metric.metric]
                ),
            ]
            for claim in CLAIMS
            for kind in self.kinds
        ]
        return ["asked", "texts", "measured", "limit", ""], rows

    def markdown(self) -> str:
        """All tables."""
        n, seeds = self.scored[BASE]["contexts"], self.scored[HYPERFITTED]["seeds"]
        each = (
            f"{n} contexts, 95 % bootstrap intervals over contexts, of what has {seeds} seeds over seeds and contexts"
        )
        texts = [["", *(column.heading for column in TEXTS)]]
        texts += [[name, *(c.cell(self.of(name).get(c.metric)) for c in TEXTS)] for name in self.scored]
        sources = [["TTR, last 96", *self.kinds[1:]]]
        sources += [[name, *(TTR.cell(self.of(name, kind)["ttr"]) for kind in self.kinds[1:])] for name in self.scored]
        by_model = {name: scores for name in self.scored if "entropy_original" in (scores := self.of(name))}
        models = [["on the true continuations", *(column.heading for column in MODELS)]]
        seen: set[str] = set()
        for name, scores in by_model.items():
            model = name.split()[0]
            if model not in seen:
                models.append([model, *(c.cell(scores.get(c.metric)) for c in MODELS)])
            seen.add(model)
        parts = [f"Texts: {each}.", table(texts), table(sources), "Models:", table(models)]
        parts += ["Beside the paper (* second-hand):", table(list(self._beside_the_paper()))]
        if self.long:
            count = self.long[BASE]["contexts"]
            rows = [["", *(column.heading for column in TEXTS[:3])]]
            rows += [
                [name, *(c.cell(entry["scores"].get(c.metric)) for c in TEXTS[:3])] for name, entry in self.long.items()
            ]
            parts += [f"Continued to 1,024 tokens: {count} contexts.", table(rows)]
        headings, rows = self.claims()
        return "\n\n".join([*parts, table([headings, *rows])]) + "\n"

    def _beside_the_paper(self) -> Iterator[list[str]]:
        yield ["", "the paper", "here: base", "here: hyperfitted"]
        for quantity, paper, base, hyperfitted, column in PAPER:
            cells = [column.cell(self.of(c).get(column.metric)) if c else "" for c in (base, hyperfitted)]
            yield [quantity, paper, *cells]

    def to_json(self) -> dict:
        """Every number, with n, interval and signature."""
        return {
            "scores": {name: {kind: self.of(name, kind) for kind in self.kinds} for name in self.scored},
            "scores_long": {name: entry["scores"] for name, entry in self.long.items()},
        }


def draw_figures(folder: Path, runs: Sequence[Path]) -> None:
    """figure_2.svg, loss, entropy and TTR over the epochs; figure_9.svg, TTR by position, to 256 and to 1,024 tokens."""
    from matplotlib.figure import Figure

    folders = [RunFolder(run) for run in runs]
    panels = panels_of(folders)
    figure = Figure(figsize=(3.6 * len(panels), 4), layout="constrained")
    add_legend(figure, draw_runs(figure.subplots(1, len(panels)), folders), ncols=3)
    _save(figure, folder / "figure_2.svg")
    scored = [_conditions(path) for name in ("scores", "scores_long") if (path := folder / name).exists()]
    figure, named = Figure(figsize=(4.5 * len(scored), 4.5), layout="constrained"), {}
    styles: dict[str, dict[str, str]] = {}
    for axis, conditions in zip(figure.subplots(1, len(scored), squeeze=False)[0], scored, strict=True):
        for name, entry in conditions.items():
            curve = entry["curves"]["ttr_by_position"]
            style = styles.setdefault(name, line_style(len(styles)))
            (line,) = axis.plot([(i + 1) * WINDOW for i in range(len(curve))], curve, **style, lw=1.6)
            named.setdefault(name, (line, name))
        count = next(iter(conditions.values()))["contexts"]
        axis.set(xlabel="token of the continuation", ylabel=f"TTR of {WINDOW} tokens (n = {count})", ylim=(0, 1))
    add_legend(figure, list(named.values()), ncols=2)
    _save(figure, folder / "figure_9.svg")


def _conditions(folder: Path) -> dict[str, dict]:
    """name -> entry of scores.json, the original text first."""
    found = {entry["name"]: entry for entry in read_json(folder / "scores.json")["conditions"]}
    return dict(sorted(found.items(), key=lambda item: item[0] != ORIGINAL))


def table(rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


def _save(figure, path: Path) -> None:
    image = io.StringIO()
    figure.savefig(image, format="svg", metadata={"Date": None})
    write_atomically(path, image.getvalue())
