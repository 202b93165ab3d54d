"""The citation blocker: its share of a decode step, and how its table grows with the training rows.

    OMP_NUM_THREADS=1 python benchmarks/blocker_speed.py
    OMP_NUM_THREADS=1 python benchmarks/blocker_speed.py --text fiction.jsonl --text wiki.jsonl   # real text, up to its rows

Without --text the rows are drawn from a Zipf distribution over 8,000 ids, whose n-grams repeat about as those of text do.
"""

import argparse
import statistics
import time

import numpy as np
import torch
from common import device, median_range, random_llama, report

from hyperfitting.generation import CitationBlocker
from hyperfitting.generation.engines import make_decoder


def zipf_rows(count: int, seq_len: int = 256, vocabulary: int = 8000) -> np.ndarray:
    """(count, seq_len) ids; a token repeats what followed its predecessor before in half of the cases, as text does."""
    rng = np.random.default_rng(0)
    weights = 1 / np.arange(1, vocabulary + 1)
    draws = rng.choice(vocabulary, (count, seq_len), p=weights / weights.sum())
    habit = rng.choice(vocabulary, vocabulary, p=weights / weights.sum())
    for column in range(1, seq_len):
        keep = rng.random(count) < 0.5
        draws[keep, column] = habit[draws[keep, column - 1]]
    return draws


def text_rows(files: list[str], count: int) -> list[list[int]]:
    """Rows of 256 ids of the built-in tokenizer, every document cut into as many as it holds."""
    from hyperfitting.codec import load_codec
    from hyperfitting.corpus import load_documents

    codec, rows = load_codec("builtin/base_model"), []
    for file in files:
        for ids in codec.encode(list(load_documents(file, codec)["document"])):
            rows += [ids[start : start + 256] for start in range(0, len(ids) - 255, 256)]
    return rows[:count]


def time_steps(call, count: int) -> list[float]:
    seconds = []
    for _ in range(count):
        start = time.perf_counter()
        call()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", action="append", help="a .jsonl file with a `text` column, repeatable")
    parser.add_argument("--size", default="15m")
    parser.add_argument("--batch_size", type=int, default=64)
    parser.add_argument("--rows", type=int, nargs="+", default=[2_000, 20_000, 200_000])
    args = parser.parse_args()
    model = random_llama(args.size, torch.float32 if device().type == "cpu" else torch.bfloat16)
    decoder, size = make_decoder(model, 256), model.config.vocab_size
    position = 144  # the middle of 32 -> 256
    ids = torch.randint(0, size, (args.batch_size, position + 1), device=device())
    decoder.start(args.batch_size, 256)
    decoder.next_logits(ids[:, :position], 0)
    starts = np.random.default_rng(0).random(size) < 0.6  # about the share of pieces that begin a word
    everything = text_rows(args.text, max(args.rows)) if args.text else zipf_rows(max(args.rows))
    rows, facts = [], {}
    with torch.inference_mode():
        for count in args.rows:
            if count > len(everything):
                break
            begun = time.perf_counter()
            blocker = CitationBlocker(everything[:count], starts, device=device())
            build = time.perf_counter() - begun
            # Every row of the batch ends in a training n-gram: the worst case, where each look-up finds something.
            ids[:, position - 5 : position] = torch.as_tensor(
                np.array([row[40:45] for row in everything[: args.batch_size]])
            )
            steps, lookups = [], []
            for _ in range(20):  # in turn, because the machine's speed drifts
                steps += time_steps(lambda: decoder.next_logits(ids[:, position:], position).float().argmax(-1), 2)
                logits = decoder.next_logits(ids[:, position:], position).float()
                lookups += time_steps(lambda: blocker.block_(ids[:, :position], logits), 5)  # noqa: B023
            share = statistics.median(lookups) / statistics.median(steps)
            memory = blocker.memory_bytes() / 2**20
            texts = f"{build:.2f}", f"{memory:.0f}", str(blocker.widest), median_range([s * 1e3 for s in steps], 1)
            rows.append([f"{count:,}", *texts, median_range([s * 1e3 for s in lookups], 3), f"{share:.2%}"])
            facts[count] = {"build_s": build, "memory_mib": memory, "step_s": steps, "lookup_s": lookups}
    columns = ["training rows", "build, s", "table, MiB", "widest", "decode step, ms", "blocker, ms", "share of a step"]
    kind = "text" if args.text else "Zipf rows"
    title = f"Citation blocker, n = 5, {kind} of 256 tokens, {args.size} model, batch {args.batch_size}"
    report(f"blocker-{'text' if args.text else 'zipf'}", title, columns, rows, {"rounds": facts})


if __name__ == "__main__":
    main()
