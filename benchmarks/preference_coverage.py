"""Whether the intervals and tests of preference studies hold what they say: studies of known truth, simulated.

    nice python benchmarks/preference_coverage.py --studies 2000

Each study has two conditions without a difference, 300 contexts and three votes a pair (`hyperfitting.preference.simulation`). Covered: the
share of 95 % intervals that hold the true share. Width: the mean half-width over the ideal one, 1.96 times the deviation of the share over
the studies. Size: how often a test at 5 % finds a difference where there is none.
"""

import argparse

import numpy as np
from common import report

from hyperfitting.preference.power import SAME_VOTERS, Size, quick_voters
from hyperfitting.preference.simulation import Effects, expected_shares, leaning_of, simulate
from hyperfitting.scoring.crossed import (
    crossed_interval,
    crossed_paired_interval,
    crossed_sign_flip_p,
    influence,
    two_way,
)
from hyperfitting.scoring.statistics import permutation_p

PERMUTATIONS = 1000
RESAMPLES, PIGEONHOLE = 400, 8  # of the pigeonhole bootstrap, in every eighth study
SCENARIOS = {
    "nothing correlates": Effects(context=0, text=0, annotator=0, taste=0, tie_spread=0),
    "contexts correlate": Effects(context=0.5, text=0.5, annotator=0, taste=0, tie_spread=0),
    "contexts and annotators": Effects(context=0.5, text=0.5, annotator=0.4, taste=0, tie_spread=0.3),
    "and tastes, weak": Effects(context=0.5, text=0.5, annotator=0.15, taste=0.1, tie_spread=0.1),
    "and tastes, strong": Effects(context=0.5, text=0.5, annotator=0.3, taste=0.3, tie_spread=0.2),
}
METHODS = ("two-way (ours)", "votes alone", "contexts alone", "pigeonhole bootstrap")


def measure(effects: Effects, size: Size, share: float, studies: int, seed: int) -> dict:
    """Coverage and widths of each method, of a share and of a difference, and sizes of the tests."""
    rng = np.random.default_rng(seed)
    leaning = leaning_of(effects, share)
    truth = 1.0 - expected_shares(effects, leaning)[2]
    rows = {what: {method: [] for method in METHODS} for what in ("share", "difference")}  # of (covered, half-width)
    values, sizes = {"share": [], "difference": []}, {"sign flips, two-way (ours)": [], "sign flips of contexts": []}
    for study in range(studies):
        if study % SAME_VOTERS == 0:
            voters = quick_voters(2, size, rng)
        votes = simulate(effects, [leaning, leaning], voters, size.annotators, rng)
        votes = np.where(np.isnan(votes), np.nan, votes >= 0.5)
        means, added = np.nanmean(votes, axis=(1, 2)), [influence(one) for one in votes]
        for what, off, parts in (
            ("share", means[0] - truth, added[0]),
            ("difference", means[0] - means[1], added[0] - added[1]),
        ):
            values[what].append(off)
            for method, half in half_widths(parts).items():
                rows[what][method].append((abs(off) <= half, half))
        intervals = {"two-way (ours)": [part / 100 for part in crossed_interval(100 * votes[0])]}
        if study % PIGEONHOLE == 0:
            intervals["pigeonhole bootstrap"] = pigeonhole(votes[0], rng)
        for method, (low, high) in intervals.items():
            rows["share"][method].append((low <= truth <= high, (high - low) / 2))
        low, high = crossed_paired_interval(votes[0], votes[1])
        rows["difference"]["two-way (ours)"].append((low <= 0 <= high, (high - low) / 2))
        sizes["sign flips, two-way (ours)"].append(crossed_sign_flip_p(votes[0], votes[1], None, PERMUTATIONS, study))
        per_context = np.nanmean(votes, axis=1)
        sizes["sign flips of contexts"].append(permutation_p(per_context[0] - per_context[1], PERMUTATIONS, study))
    found = {"truth": truth, "bias": float(np.mean(values["share"])), "studies": studies}
    for what, methods in rows.items():
        ideal = 1.96 * float(np.std(values[what]))
        found[what] = {"ideal_half_width": ideal}
        for method, pairs in methods.items():
            if pairs:
                covered, half = np.array(pairs, dtype=float).T
                found[what][method] = {
                    "covered": float(covered.mean()),
                    "width": float(half.mean() / ideal),
                    "studies": len(pairs),
                }
    found["size"] = {test: float((np.array(p) <= 0.05).mean()) for test, p in sizes.items()}
    return found


def half_widths(added: np.ndarray) -> dict[str, float]:
    """Of what votes add to a mean, where annotators, or contexts too, are taken for independent."""
    return {
        "votes alone": 1.96 * float((added**2).sum()) ** 0.5,
        "contexts alone": 1.96 * two_way(added).over_contexts ** 0.5,
    }


def pigeonhole(votes: np.ndarray, rng: np.random.Generator) -> tuple[float, float]:
    """Percentile interval of the bootstrap that draws annotators and contexts, each with replacement (Owen 2007)."""
    annotators, contexts = votes.shape
    people = rng.multinomial(annotators, np.full(annotators, 1 / annotators), RESAMPLES).astype(float)
    drawn = rng.multinomial(contexts, np.full(contexts, 1 / contexts), RESAMPLES).astype(float)
    sums, counts = (
        (people @ part * drawn).sum(axis=1) for part in (np.nan_to_num(votes), (~np.isnan(votes)).astype(float))
    )
    low, high = np.quantile(sums / counts, [0.025, 0.975])
    return float(low), float(high)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--studies", type=int, default=2000)
    parser.add_argument("--contexts", type=int, default=300)
    parser.add_argument("--votes", type=int, default=3)
    options = parser.parse_args()
    cells = [(name, annotators, 0.4) for annotators in (6, 20, 50) for name in SCENARIOS]
    cells += [
        ("contexts and annotators", annotators, 0.05) for annotators in (6, 20, 50)
    ]  # as rarely as the paper's TinyLlama is preferred
    columns = [
        "truth, annotators",
        "ideal ±",
        "ours",
        "votes",
        "contexts",
        "pigeonhole",
        "difference",
        "size",
        "flips of contexts",
    ]
    rows, facts = [], []
    for name, annotators, share in cells:
        size = Size(options.contexts, options.votes, annotators)
        found = measure(SCENARIOS[name], size, share, options.studies, seed=annotators)
        facts.append({"scenario": name, "annotators": annotators, **found})
        shown = [f"{found['share'][m]['covered']:.3f} × {found['share'][m]['width']:.2f}" for m in METHODS]
        difference = found["difference"]["two-way (ours)"]
        sizes = [f"{value:.3f}" for value in found["size"].values()]
        rows.append([f"{name}, {annotators}, {100 * share:.0f} %", f"{100 * found['share']['ideal_half_width']:.1f}", *shown,
                     f"{difference['covered']:.3f} × {difference['width']:.2f}", *sizes])  # fmt: skip
        print(rows[-1], flush=True)
    title = f"Covered by 95 % intervals × their width over the ideal one; {options.studies} studies each"
    about = {"contexts": options.contexts, "votes": options.votes, "permutations": PERMUTATIONS}
    report("preference-coverage", title, columns, rows, {"cells": facts, **about})


if __name__ == "__main__":
    main()
