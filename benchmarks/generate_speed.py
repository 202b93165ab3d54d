"""Greedy continuation, 32 -> 256 tokens: our decode loop against three ways of transformers, on the same contexts.

    OMP_NUM_THREADS=1 python benchmarks/generate_speed.py --size 15m --rounds 3
    OMP_NUM_THREADS=2 python benchmarks/generate_speed.py --model FOLDER --sides b   # a model of yours instead of a random one

(a) the paper's validation loop: `model.generate`, batch 8, dynamic cache; (b) `model.generate` at our batch; (c)
transformers' continuous batching. All sides have the same dtype; their tokens are compared, and the share of equal texts shown.
The limit: in every step all weights and the cache are read at the measured bandwidth, or multiplied at the measured rate,
whichever takes longer.
"""

import argparse
import statistics
from pathlib import Path

import torch
from common import (
    alternate,
    copy_rate,
    cores_at_work,
    device,
    matmul_rate,
    median_range,
    peak_memory,
    random_llama,
    report,
)
from transformers import AutoModelForCausalLM, GenerationConfig

from hyperfitting.generation.decoding import decode
from hyperfitting.generation.engines import make_decoder

SIDES = ["a", "b", "c"]


def limit_seconds(model, batch: int, context_len: int, max_length: int) -> tuple[float, float, dict]:
    """The least seconds to decode one batch by reading memory alone, by the roofline of reading and multiplying; the rates."""
    config, width = model.config, model.dtype.itemsize
    parameters = sum(p.numel() for p in model.parameters())
    cached = 2 * config.num_hidden_layers * config.num_key_value_heads * config.head_dim * batch * width
    flops, bandwidth = (cores_at_work() * rate for rate in (matmul_rate(model.dtype), copy_rate()))
    reading = [(parameters * width + cached * position) / bandwidth for position in range(context_len, max_length)]
    multiplying = 2 * parameters * batch / flops
    facts = {"flops": flops, "memory": bandwidth}
    return sum(reading), sum(max(seconds, multiplying) for seconds in reading), facts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="15m")
    parser.add_argument("--model", type=Path, help="folder of a model, instead of a random one of --size")
    parser.add_argument("--contexts", type=int, default=64)
    parser.add_argument("--batch_size", type=int, default=64)
    parser.add_argument("--max_length", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=SIDES, help="beside ours")
    parser.add_argument("--dtype", default="float32" if device().type == "cpu" else "bfloat16")
    args = parser.parse_args()
    dtype = getattr(torch, args.dtype)
    if args.model:
        model = AutoModelForCausalLM.from_pretrained(args.model, dtype=dtype).to(device()).eval()
    else:
        model = random_llama(args.size, dtype)
    generator = torch.Generator().manual_seed(0)
    contexts = torch.randint(3, model.config.vocab_size, (args.contexts, 32), generator=generator).to(device())
    settings = dict(do_sample=False, max_length=args.max_length, eos_token_id=None, pad_token_id=0)
    model.generation_config = GenerationConfig(**settings)

    @torch.inference_mode()
    def generate(batch: int, **options) -> torch.Tensor:
        parts = contexts.split(batch)
        return torch.cat(
            [model.generate(part, attention_mask=torch.ones_like(part), **options) for part in parts]
        ).cpu()

    def continuous() -> torch.Tensor:
        config = GenerationConfig(
            **{**settings, "max_length": None, "max_new_tokens": args.max_length - 32, "eos_token_id": -1}
        )
        outputs = model.generate_batch(contexts.tolist(), generation_config=config, progress_bar=False)
        ordered = sorted(outputs.values(), key=lambda output: int(str(output.request_id).rsplit("_", 1)[-1]))
        texts = [[*output.prompt_ids, *output.generated_tokens] for output in ordered]
        return torch.tensor([text[: args.max_length] for text in texts])

    decoder = make_decoder(model, args.max_length)

    def ours() -> torch.Tensor:
        return torch.cat(
            [decode(decoder, part, args.max_length, [], []) for part in contexts.split(args.batch_size)]
        ).cpu()

    sides = {
        f"ours, batch {args.batch_size}": ours,
        "(a) generate, batch 8, dynamic cache": lambda: generate(8),
        f"(b) generate, batch {args.batch_size}": lambda: generate(args.batch_size),
        f"(b) generate, batch {args.batch_size}, static cache": lambda: generate(
            args.batch_size, cache_implementation="static"
        ),
        "(c) continuous batching": continuous,
    }
    sides = {
        name: side for name, side in sides.items() if name.startswith(("ours", *(f"({each})" for each in args.sides)))
    }
    measured = alternate(sides, args.rounds)
    made = args.contexts * (args.max_length - 32)
    first = measured[next(iter(sides))]
    rows = []
    for name, side in measured.items():
        ratios = [theirs / our for theirs, our in zip(side["wall"], first["wall"], strict=True)]
        same = (side["result"] == first["result"]).all(1).float().mean().item()
        speeds = [[made / seconds for seconds in side[clock]] for clock in ("wall", "cpu")]
        rows.append(
            [name, *(median_range(speed) for speed in speeds), f"{statistics.median(ratios):.2f}", f"{same:.0%}"]
        )
    batches = len(contexts.split(args.batch_size))
    size = min(args.batch_size, args.contexts)
    *seconds, rates = limit_seconds(model, size, 32, args.max_length)
    reading, roofline = (batches * each for each in seconds)
    ours_seconds = statistics.median(first["wall"])
    rows.append(["the machine's limit", f"{made / roofline:,.0f}", "", f"{roofline / ours_seconds:.2f}", ""])
    rows.append(["reading weights and cache alone", f"{made / reading:,.0f}", "", f"{reading / ours_seconds:.2f}", ""])
    columns = ["side", "tokens/s", "tokens/CPU-s", "ours is faster by", "texts equal to ours"]
    what = args.model.name if args.model else args.size
    title = f"Greedy generation, {what}, {args.dtype}, {args.contexts} contexts 32 -> {args.max_length}"
    seconds = {name: {clock: side[clock] for clock in ("wall", "cpu")} for name, side in measured.items()}
    facts = {
        "seconds": seconds,
        "limit_s": {"reading": reading, "roofline": roofline},
        "rates": rates,
        "peak_memory_bytes": peak_memory(),
    }
    report(f"generate-{what}", title, columns, rows, facts)


if __name__ == "__main__":
    main()
