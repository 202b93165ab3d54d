"""Pre-train the built-in base model (hyperfitting/assets/base_model) from plain text.

    python launch/pretrain_builtin.py prepare --text fiction.jsonl.xz:2e7 --text wiki.jsonl.xz:1e7 --output_dir work
    accelerate launch launch/pretrain_builtin.py train --data work --output_dir work/model

`prepare` trains a byte-level BPE tokenizer and writes uint16 tokens, xz-compressed (they travel
light to a GPU machine); `train` reads nothing else and resumes from its last checkpoint.
"""

import argparse
import json
import lzma
import math
import os
import sys
import time
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from hyperfitting import TrainingError, UserError
from hyperfitting.commands.reporting import run_reporting_errors

SEQ_LEN = 256
END = "<|endoftext|>"
LONGEST = 60_000  # characters of a document; whole novels would crowd out everything else
WINDOW = 512
ARCHITECTURE = dict(hidden_size=192, intermediate_size=512, num_hidden_layers=4, num_attention_heads=6)


def documents(path: str, rng: np.random.Generator):
    """Yield the `text` of each row of a .jsonl or .jsonl.xz file: of a long one a random window."""
    with (lzma.open if path.endswith(".xz") else open)(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            text = json.loads(line)["text"].strip()
            start = rng.integers(0, max(1, len(text) - LONGEST))
            yield text[start : start + LONGEST]


def train_tokenizer(sources: list[tuple[str, int]], vocab_size: int):
    """A byte-level BPE tokenizer from about as many characters of each source as tokens are asked of it."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()

    def sample():
        for path, budget in sources:
            for text in documents(path, np.random.default_rng(0)):
                yield text
                if (budget := budget - len(text)) < 0:
                    break

    settings = dict(vocab_size=vocab_size, special_tokens=[END], show_progress=False)
    settings |= dict(initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    bpe.train_from_iterator(sample(), trainers.BpeTrainer(**settings))
    return bpe


def tokens_of(path: str, count: int, bpe) -> dict[str, list[np.ndarray]]:
    """`count` training tokens of a file, read several times if it is small, and up to 100,000 of every fiftieth document."""
    rng, parts, sizes = np.random.default_rng(0), {"train": [], "held_out": []}, {"train": 0, "held_out": 0}
    while sizes["train"] < count:
        texts = documents(path, rng)
        while sizes["train"] < count and (chunk := list(islice(texts, 50))):
            encoded = [np.array(e.ids + [bpe.token_to_id(END)], dtype=np.uint16) for e in bpe.encode_batch(chunk)]
            for name, pieces, most in (("train", encoded[:49], count), ("held_out", encoded[49:], 100_000)):
                if sizes[name] < most:
                    parts[name] += pieces
                    sizes[name] += sum(map(len, pieces))
        if not sizes["train"]:
            raise UserError(f"{path} holds no text")
    print(f"{path}: {count:,} training and {sizes['held_out']:,} held-out tokens", flush=True)
    return {"train": [np.concatenate(parts["train"])[:count]], "held_out": parts["held_out"]}


def prepare(args) -> None:
    from transformers import PreTrainedTokenizerFast

    output = Path(args.output_dir)
    output.mkdir(parents=True, exist_ok=True)
    sources = [(path, int(float(count))) for path, count in (text.rsplit(":", 1) for text in args.text)]
    bpe = train_tokenizer(sources, args.vocab_size)
    ends = dict(bos_token=END, eos_token=END, model_max_length=WINDOW)
    PreTrainedTokenizerFast(tokenizer_object=bpe, **ends).save_pretrained(output / "tokenizer")
    parts = [tokens_of(path, count, bpe) for path, count in sources]
    for name in ("train", "held_out"):
        tokens = np.concatenate([piece for part in parts for piece in part[name]])
        (output / f"{name}.uint16.xz").write_bytes(lzma.compress(tokens.tobytes(), preset=3))


def load_windows(path: Path) -> torch.Tensor:
    """(windows, SEQ_LEN + 1) uint16 ids; each window begins with the last id of the one before it."""
    flat = np.frombuffer(lzma.decompress(path.read_bytes()), dtype=np.uint16).copy()
    return torch.from_numpy(flat).unfold(0, SEQ_LEN + 1, SEQ_LEN)


def new_model(tokenizer):
    from transformers import LlamaConfig, LlamaForCausalLM

    end = tokenizer.eos_token_id
    ids = dict(vocab_size=len(tokenizer), bos_token_id=end, eos_token_id=end, pad_token_id=None)
    shape = dict(max_position_embeddings=WINDOW, tie_word_embeddings=True, **ARCHITECTURE)
    model = LlamaForCausalLM(LlamaConfig(**ids, **shape))  # fp32: the optimizers' weights are the masters
    model.generation_config.max_length = WINDOW
    return model


def new_optimizers(model, learning_rate: float) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the layers (Jordan 2024), AdamW for the embedding and the norms."""
    matrices = [p for name, p in model.named_parameters() if p.ndim == 2 and "embed" not in name]
    rest = [p for name, p in model.named_parameters() if p.ndim != 2 or "embed" in name]
    muon = torch.optim.Muon(matrices, lr=learning_rate, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    return [muon, torch.optim.AdamW(rest, lr=learning_rate, betas=(0.9, 0.95), weight_decay=0.0, fused=True)]


def train(args) -> None:
    from accelerate import Accelerator
    from transformers import PreTrainedTokenizerFast

    accelerator = Accelerator(mixed_precision="bf16")
    data, output = Path(args.data), Path(args.output_dir)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(data / "tokenizer")
    windows, held_out = load_windows(data / "train.uint16.xz"), load_windows(data / "held_out.uint16.xz")
    torch.manual_seed(args.seed)
    model = new_model(tokenizer)
    model, *optimizers = accelerator.prepare(model, *new_optimizers(model, args.learning_rate))
    steps, per_epoch = int(args.tokens) // (args.batch_size * SEQ_LEN), len(windows) // args.batch_size
    if not (steps and per_epoch):
        raise UserError(
            f"--tokens {args.tokens:g} and the {len(windows)} windows of {data} give no step of {args.batch_size} windows of {SEQ_LEN} "
            "tokens, and so no model: raise --tokens, or lower --batch_size"
        )
    warm_up, share = max(1, steps // 50), args.batch_size // accelerator.num_processes
    mine = slice(accelerator.process_index * share, (accelerator.process_index + 1) * share)

    state, step, elapsed, seconds = output / "state", 0, 0.0, 0.0
    if (state / "progress.json").exists():
        accelerator.load_state(str(state))
        step, elapsed = json.loads((state / "progress.json").read_text()).values()
        accelerator.print(f"resuming at step {step}")
    forward = torch.compile(model) if accelerator.device.type == "cuda" else model  # on a CPU it gains 4 %

    def loss_of(ids: torch.Tensor) -> torch.Tensor:
        ids = ids.to(accelerator.device).long()
        logits = forward(input_ids=ids[:, :-1]).logits.float()
        return torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())

    start = time.time()
    while step < steps:
        epoch, index = divmod(step, per_epoch)  # the order is a function of seed and epoch: resume is exact
        order = torch.randperm(len(windows), generator=torch.Generator().manual_seed(args.seed * 1000 + epoch))
        loss = loss_of(windows[order[index * args.batch_size :][: args.batch_size][mine]])
        accelerator.backward(loss)
        accelerator.clip_grad_norm_(model.parameters(), 1.0)
        cosine = 0.5 * (1 + math.cos(math.pi * max(0, step - warm_up) / (steps - warm_up)))
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = args.learning_rate * min(1.0, (step + 1) / warm_up) * (0.02 + 0.98 * cosine)
            optimizer.step()
            optimizer.zero_grad()
        step += 1
        seconds = elapsed + time.time() - start
        if step % 50 == 0 or step == steps:
            speed = step * args.batch_size * SEQ_LEN / seconds
            accelerator.print(f"step {step}/{steps} loss {loss.item():.3f} {speed:.0f} tok/s", flush=True)
        if step % args.save_steps == 0 or step == steps:
            accelerator.save_state(str(state))
            if accelerator.is_main_process:
                (state / "progress.json").write_text(json.dumps({"step": step, "seconds": seconds}))

    if accelerator.is_main_process:
        forward = plain = accelerator.unwrap_model(model).eval()
        with torch.no_grad():
            held = sum(loss_of(part).item() * len(part) for part in held_out.split(32)) / len(held_out)
        if not math.isfinite(held):
            raise TrainingError(
                f"no model was saved: the held-out loss is {held}; lower --learning_rate, and begin in a new folder"
            )
        plain.to(torch.bfloat16).save_pretrained(output / "base_model")
        tokenizer.save_pretrained(output / "base_model")
        facts = {
            "parameters": sum(p.numel() for p in plain.parameters()),
            "tokens_seen": steps * args.batch_size * SEQ_LEN,
            "held_out_loss": round(held, 4),
            "held_out_tokens": held_out.shape[0] * SEQ_LEN,
            "hardware": torch.cuda.get_device_name() if torch.cuda.is_available() else f"{os.cpu_count()} CPU cores",
            "seconds": round(seconds),
            **{name: getattr(args, name) for name in ("seed", "learning_rate", "batch_size")},
        }
        (output / "base_model" / "pretraining.json").write_text(json.dumps(facts, indent=2) + "\n")
        print(json.dumps(facts, indent=2))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    sub = commands.add_parser("prepare", help="text -> tokenizer and tokens")
    sub.set_defaults(run=prepare)
    sub.add_argument("--text", action="append", required=True, help="FILE.jsonl[.xz]:TOKENS, repeatable")
    sub.add_argument("--vocab_size", type=int, default=6144)
    sub.add_argument("--output_dir", required=True)
    sub = commands.add_parser("train", help="tokens -> model")
    sub.add_argument("--data", required=True, help="the folder that `prepare` wrote")
    sub.add_argument("--output_dir", required=True)
    sub.add_argument("--tokens", type=float, default=3e7, help="training tokens in all")
    sub.add_argument("--batch_size", type=int, default=32, help="sequences of 256 tokens a step, over all processes")
    sub.add_argument("--learning_rate", type=float, default=8e-3)
    sub.add_argument("--save_steps", type=int, default=200)
    sub.add_argument("--seed", type=int, default=0)
    sub.set_defaults(run=train)
    args = parser.parse_args()
    return run_reporting_errors(args.run, args)


if __name__ == "__main__":
    sys.exit(main())
