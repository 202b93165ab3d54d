"""Self-BLEU and overlap: against nltk and fast-bleu where they are installed, and cost against the number of texts.

    OMP_NUM_THREADS=1 python benchmarks/score_speed.py
    OMP_NUM_THREADS=1 PYTHONPATH=DIR python benchmarks/score_speed.py   # after `pip install --target DIR nltk fast-bleu`

The peers are no dependencies of this library; a row is left out when its package is not there.
"""

import argparse
from collections import defaultdict
from pathlib import Path

import numpy as np
from blocker_speed import zipf_rows
from common import alternate, median_range, report

from hyperfitting.scoring import longest_overlaps, self_bleu
from hyperfitting.scoring.scores import score


def nltk_self_bleu(texts: list[list[int]]) -> np.ndarray:
    from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu

    smooth = SmoothingFunction().method1
    weights = [0.25] * 4
    return np.array([sentence_bleu(texts[:i] + texts[i + 1 :], t, weights, smooth) for i, t in enumerate(texts)])


def fast_self_bleu(texts: list[list[int]]) -> np.ndarray:
    from fast_bleu import SelfBLEU

    words = [[str(token) for token in text] for text in texts]
    return np.array(SelfBLEU(words, {"four": (0.25,) * 4}).get_score()["four"])


def measure_growth(texts: list[list[int]], sizes: list[int], rounds: int) -> dict[str, list[list[float]]]:
    """Seconds of each round for the first 100, 300, … texts, after a warm-up of each size: of the two costly scores, and of
    all metrics with their intervals."""
    training = zipf_rows(2000).tolist()
    records = [{"token_ids": text} for text in texts]
    growth = defaultdict(list)
    for size in sizes:
        costs = {
            "Self-BLEU-4": lambda size=size: self_bleu(texts[:size]),
            "overlap with 2000 x 256": lambda size=size: longest_overlaps(texts[:size], training),
            "all metrics of tokens, with intervals": lambda size=size: score(records[:size], train_rows=training),
        }
        for name, measured in alternate(costs, rounds).items():
            growth[name].append(measured["wall"])
    return dict(growth)


def draw_growth(path: Path, sizes: list[int], growth: dict[str, list[list[float]]]) -> None:
    """Medians, with the lowest and highest around them."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.5, 3.6), layout="constrained")
    axis = figure.subplots()
    for name, seconds in growth.items():
        axis.loglog(sizes, [np.median(rounds) for rounds in seconds], marker=".", label=name)
        axis.fill_between(sizes, [min(rounds) for rounds in seconds], [max(rounds) for rounds in seconds], alpha=0.2)
    first = np.median(growth["Self-BLEU-4"][0])
    axis.loglog(sizes, [first * size / sizes[0] for size in sizes], ":", color="grey", label="linear")
    axis.set(xlabel="texts of 224 tokens", ylabel="seconds")
    axis.legend(frameon=False, fontsize=8)
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 300, 1000, 3000, 10_000])
    args = parser.parse_args()
    texts = zipf_rows(max(args.sizes), 224).tolist()
    sides = {"ours": lambda: self_bleu(texts[:300])}
    for name, side in (("nltk", nltk_self_bleu), ("fast_bleu", fast_self_bleu)):
        try:
            __import__(name)
        except ImportError:
            print(f"{name} is not installed: left out")
        else:
            sides[name] = lambda side=side: side(texts[:300])
    measured = alternate(sides, args.rounds)
    ours = measured["ours"]
    rows = []
    for name, side in measured.items():
        ratio = np.median(np.array(side["wall"]) / ours["wall"])
        difference = np.abs(side["result"] - ours["result"]).max()
        rows.append([name, median_range(side["wall"], 3), f"{ratio:,.0f}", f"{difference:.1e}"])
    title = "Self-BLEU-4 of 300 texts x 224 tokens"
    columns = ["side", "seconds", "ours is faster by", "largest difference"]
    report("self-bleu", title, columns, rows, {"seconds": {name: side["wall"] for name, side in measured.items()}})

    growth = measure_growth(texts, args.sizes, args.rounds)
    rows = [
        [f"{size:,}", *(median_range(seconds[i], 2) for seconds in growth.values())]
        for i, size in enumerate(args.sizes)
    ]
    columns = ["texts of 224 tokens", *(f"{name}, s" for name in growth)]
    path = report("score-growth", "Cost against the number of texts", columns, rows, {"seconds": growth})
    if path is not None:
        draw_growth(path.with_suffix(".svg"), args.sizes, growth)


if __name__ == "__main__":
    main()
