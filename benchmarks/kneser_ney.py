"""Held-out loss of a Kneser-Ney 5-gram of the tokens that the built-in model was trained on: what the model must beat.

    OMP_NUM_THREADS=1 python benchmarks/kneser_ney.py --data work
    OMP_NUM_THREADS=1 python benchmarks/kneser_ney.py --data work --model work/model/base_model   # both, same windows

`work` is what `launch/pretrain_builtin.py prepare` wrote. Interpolated modified Kneser-Ney (Chen & Goodman 1998): raw counts
for the longest n-grams, counts of distinct left neighbours below, three discounts for each order, 1 / vocabulary at the bottom.
Held-out windows are those of the pre-training script: 257 tokens, each beginning with the last token of the one before it, 256
predictions. No context reaches beyond its window, neither the model's nor the n-grams', so the first three predictions of a
window have fewer than four tokens of context.
"""

import argparse
import lzma
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from common import device, peak_memory, report

from hyperfitting.scoring import bootstrap_interval

SEQ_LEN = 256
FALLBACK = (0.0, 0.5, 1.0, 1.5)  # KenLM's --discount_fallback, where counts are too few for an estimate


@dataclass(frozen=True)
class Order:
    """The n-grams of one n. A gram's rank is its place in `keys`; an (n - 1)-gram is the context of those that begin with it.

    Attributes:
        keys: (grams,) int64, sorted: rank of the context x vocabulary + token.
        share: (grams,) probability of the token after its context, less the discount.
        backoff: (contexts + 1,) probability that discounts leave to the next shorter context; 1 where nothing was seen,
            and at the end, which the rank -1 of an unknown context picks.
        discounts: taken off counts of 0, 1, 2 and 3 or more.
    """

    keys: np.ndarray
    share: np.ndarray
    backoff: np.ndarray
    discounts: tuple[float, ...]


def fit(tokens: np.ndarray, vocabulary: int, longest: int = 5) -> list[Order]:
    """The orders 1 … `longest` of (n,) token ids. 30 M tokens need 4 GiB."""
    tokens = tokens.astype(np.int64)
    counted = []  # keys and counts of the grams of each n
    ranks = np.zeros(len(tokens), dtype=np.int64)  # rank of the gram that begins at each token
    for n in range(1, longest + 1):
        grams = ranks[: len(tokens) - n + 1] * vocabulary + tokens[n - 1 :]
        keys, first, longer_ranks, count = np.unique(grams, True, True, True)
        if n > 1:  # each distinct n-gram is one left neighbour of the gram that begins at its second token
            shorter = counted[-1][0]
            counted[-1] = shorter, np.bincount(ranks[first + 1], minlength=len(shorter))
        counted.append((keys, count))
        ranks = longer_ranks
    contexts = [1, *(len(keys) for keys, _ in counted[:-1])]
    return [_order(*grams, size, vocabulary) for grams, size in zip(counted, contexts, strict=True)]


def _order(keys: np.ndarray, count: np.ndarray, contexts: int, vocabulary: int) -> Order:
    discounts = _discounts(count)
    taken = np.array(discounts)[np.minimum(count, 3)]
    context = keys // vocabulary
    total = np.bincount(context, count, contexts)
    backoff = np.ones(contexts + 1)
    seen = np.flatnonzero(total)
    backoff[seen] = np.bincount(context, taken, contexts)[seen] / total[seen]
    return Order(keys, (count - taken) / np.maximum(total, 1)[context], backoff, discounts)


def _discounts(count: np.ndarray) -> tuple[float, ...]:
    """Chen & Goodman's estimates from how many grams were counted once, twice, three and four times."""
    once, twice, thrice, four = np.bincount(np.minimum(count, 5), minlength=6)[1:5].tolist()
    if not (once and twice and thrice and four):
        return FALLBACK
    y = once / (once + 2 * twice)
    found = (0.0, 1 - 2 * y * twice / once, 2 - 3 * y * thrice / twice, 3 - 4 * y * four / thrice)
    return found if all(0 <= d <= k for k, d in enumerate(found)) else FALLBACK


def probabilities(orders: list[Order], windows: np.ndarray, vocabulary: int) -> np.ndarray:
    """(windows, tokens) ids -> (windows, tokens) probability of each token after those before it in its window."""
    windows = windows.astype(np.int64)
    context = np.zeros_like(windows)  # rank of the n - 1 tokens before each token, -1 where it was never seen
    p = np.full(windows.shape, 1 / vocabulary)
    for order in orders:
        keys = context * vocabulary + windows
        place = np.searchsorted(order.keys, keys).clip(max=len(order.keys) - 1)
        found = order.keys[place] == keys
        p = np.where(found, order.share[place], 0.0) + order.backoff[context] * p
        context = np.full_like(windows, -1)
        context[:, 1:] = np.where(found, place, -1)[:, :-1]
    return p


def read_tokens(path: Path) -> np.ndarray:
    return np.frombuffer(lzma.decompress(path.read_bytes()), dtype=np.uint16)


def cut_windows(tokens: np.ndarray) -> np.ndarray:
    """(windows, SEQ_LEN + 1) ids, as `load_windows` of launch/pretrain_builtin.py cuts them."""
    return np.lib.stride_tricks.sliding_window_view(tokens, SEQ_LEN + 1)[::SEQ_LEN]


def model_losses(folder: str, windows: np.ndarray, vocabulary: int) -> np.ndarray:
    """Mean loss of each window by a model, in fp32: (windows,) nats per token."""
    from transformers import AutoModelForCausalLM

    from hyperfitting.scoring.teacher_forced import measure_continuations

    model = AutoModelForCausalLM.from_pretrained(folder, dtype="float32", use_safetensors=True).to(device()).eval()
    if model.config.vocab_size != vocabulary:
        raise SystemExit(f"{folder} knows {model.config.vocab_size} ids, the data {vocabulary}: give --data its own")
    texts = windows.tolist()
    measured = measure_continuations(model, [text[:1] for text in texts], [text[1:] for text in texts])
    return np.array([text[:, 0].mean() for text in measured])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder that pretrain_builtin.py prepare wrote")
    parser.add_argument("--model", help="folder of a model of the same tokens, measured on the same windows")
    args = parser.parse_args()
    from transformers import AutoTokenizer

    vocabulary = len(AutoTokenizer.from_pretrained(args.data / "tokenizer"))
    tokens, held_out = (read_tokens(args.data / f"{name}.uint16.xz") for name in ("train", "held_out"))
    windows, begun = cut_windows(held_out), time.perf_counter()
    orders = fit(tokens, vocabulary)
    losses = {"Kneser-Ney 5-gram": -np.log(probabilities(orders, windows, vocabulary)[:, 1:]).mean(axis=1)}
    facts = {"seconds": time.perf_counter() - begun, "peak_memory_bytes": peak_memory()}
    if args.model:
        losses["model"] = model_losses(args.model, windows, vocabulary)
        losses["model - Kneser-Ney"] = losses["model"] - losses["Kneser-Ney 5-gram"]
    facts |= {"train_tokens": len(tokens), "windows": len(windows), "vocabulary": vocabulary}
    facts |= {"grams": [len(order.keys) for order in orders], "discounts": [order.discounts[1:] for order in orders]}
    means = {name: (float(loss.mean()), *bootstrap_interval(loss)) for name, loss in losses.items()}
    rows = [[name, f"{value:.4f}", f"[{low:.4f}, {high:.4f}]"] for name, (value, low, high) in means.items()]
    title = f"Held-out loss, {len(windows)} windows of {SEQ_LEN} predictions, after {len(tokens):,} training tokens"
    columns = ["", "nats per token", "95 %, bootstrap over windows"]
    report("kneser-ney", title, columns, rows, {**facts, "losses": means})


if __name__ == "__main__":
    main()
