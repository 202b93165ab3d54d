"""Pre-train the built-in base model (hyperfitting/assets/base_model) from plain text.

    python launch/pretrain_builtin.py prepare --text fiction.jsonl.xz:5e6 --text wiki.jsonl.xz:2e6 --output_dir work
    accelerate launch launch/pretrain_builtin.py train --data work --output_dir work/model

`prepare` trains a byte-level BPE tokenizer and writes uint16 tokens, xz-compressed (they travel
light to a GPU machine); `train` reads nothing else and resumes from its last checkpoint.
"""

import argparse
import json
import lzma
import math
import time
from pathlib import Path

import numpy as np
import torch

SEQ_LEN = 256
END = "<|endoftext|>"
ARCHITECTURE = dict(
    hidden_size=160,
    intermediate_size=432,
    num_hidden_layers=4,
    num_attention_heads=5,
    num_key_value_heads=5,
    max_position_embeddings=512,
    tie_word_embeddings=True,
)


def documents(path: str):
    """Yield the `text` of each row of a .jsonl or .jsonl.xz file."""
    with (lzma.open if path.endswith(".xz") else open)(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)["text"].strip()


def prepare(args) -> None:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    output = Path(args.output_dir)
    output.mkdir(parents=True, exist_ok=True)
    sources = [(path, int(float(count))) for path, count in (text.rsplit(":", 1) for text in args.text)]

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()

    def sample():
        for path, count in sources:
            budget = count  # characters: about a quarter of the tokens asked for
            for text in documents(path):
                yield text[:20_000]
                budget -= len(text[:20_000])
                if budget < 0:
                    break

    trainer = trainers.BpeTrainer(
        vocab_size=args.vocab_size,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(sample(), trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe, bos_token=END, eos_token=END, model_max_length=ARCHITECTURE["max_position_embeddings"]
    )
    tokenizer.save_pretrained(output / "tokenizer")

    end = bpe.token_to_id(END)
    rng = np.random.default_rng(0)
    train, held_out = [], []
    for path, count in sources:
        ids, held = [], []
        while len(ids) < count:  # a small file is read several times
            before = len(ids)
            for index, text in enumerate(documents(path)):
                # Whole novels would crowd out everything else: a random window of a long document.
                start = rng.integers(0, max(1, len(text) - 20_000))
                tokens = bpe.encode(text[start : start + 20_000]).ids + [end]
                if index % 50 == 49:
                    held += tokens if len(held) < 100_000 else []
                else:
                    ids += tokens
                if len(ids) >= count:
                    break
            if len(ids) == before:
                raise ValueError(f"{path} holds no text")
        train.append(np.array(ids[:count], dtype=np.uint16))
        held_out.append(np.array(held, dtype=np.uint16))
        print(f"{path}: {len(train[-1]):,} training and {len(held):,} held-out tokens")
    for name, parts in (("train", train), ("held_out", held_out)):
        (output / f"{name}.uint16.xz").write_bytes(lzma.compress(np.concatenate(parts).tobytes(), preset=6))


def load_tokens(path: Path) -> torch.Tensor:
    return torch.from_numpy(np.frombuffer(lzma.decompress(path.read_bytes()), dtype=np.uint16).astype(np.int32))


def windows(tokens: torch.Tensor, starts: torch.Tensor) -> torch.Tensor:
    """(batch,) starts -> (batch, SEQ_LEN + 1) int64 token ids."""
    return tokens[starts[:, None] + torch.arange(SEQ_LEN + 1)].long()


def train(args) -> None:
    from accelerate import Accelerator
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    accelerator = Accelerator(mixed_precision="bf16" if torch.cuda.is_available() else "no")
    data, output = Path(args.data), Path(args.output_dir)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(data / "tokenizer")
    tokens, held_out = load_tokens(data / "train.uint16.xz"), load_tokens(data / "held_out.uint16.xz")
    torch.manual_seed(args.seed)
    end = tokenizer.eos_token_id
    config = LlamaConfig(
        vocab_size=len(tokenizer), bos_token_id=end, eos_token_id=end, pad_token_id=None, **ARCHITECTURE
    )
    model = LlamaForCausalLM(config)  # fp32: the optimizer's weights are the masters
    decayed = [p for p in model.parameters() if p.ndim == 2]
    rest = [p for p in model.parameters() if p.ndim != 2]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=args.learning_rate, betas=(0.9, 0.95), fused=True)
    steps = args.tokens // (args.batch_size * SEQ_LEN)
    warm_up = max(1, steps // 20)

    def factor(step: int) -> float:
        cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, max(0, step - warm_up) / (steps - warm_up))))
        return min(1.0, (step + 1) / warm_up) * (0.02 + 0.98 * cosine)

    model, optimizer = accelerator.prepare(model, optimizer)
    state, step, elapsed = output / "state", 0, 0.0
    if (state / "progress.json").exists():
        accelerator.load_state(str(state))
        step, elapsed = json.loads((state / "progress.json").read_text()).values()
        accelerator.print(f"resuming at step {step}")
    forward = torch.compile(model) if args.compile else model
    per_rank = args.batch_size // accelerator.num_processes

    def loss_of(ids: torch.Tensor) -> torch.Tensor:
        ids = ids.to(accelerator.device)
        logits = forward(input_ids=ids[:, :-1]).logits.float()
        return torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())

    @torch.no_grad()
    def held_out_loss() -> float:
        starts = torch.arange(0, len(held_out) - SEQ_LEN - 1, SEQ_LEN)
        return sum(loss_of(windows(held_out, part)).item() * len(part) for part in starts.split(32)) / len(starts)

    start = time.time()
    while step < steps:
        generator = torch.Generator().manual_seed(args.seed * 1_000_003 + step)  # stateless: resume is exact
        starts = torch.randint(0, len(tokens) - SEQ_LEN - 1, (args.batch_size,), generator=generator)
        loss = loss_of(windows(tokens, starts[accelerator.process_index * per_rank :][:per_rank]))
        accelerator.backward(loss)
        accelerator.clip_grad_norm_(model.parameters(), 1.0)
        for group in optimizer.param_groups:
            group["lr"] = args.learning_rate * factor(step)
        optimizer.step()
        optimizer.zero_grad()
        step += 1
        if step % 50 == 0 or step == steps:
            seconds = elapsed + time.time() - start
            accelerator.print(
                f"step {step}/{steps} loss {loss.item():.3f} {step * args.batch_size * SEQ_LEN / seconds:.0f} tok/s",
                flush=True,
            )
        if step % args.save_steps == 0 or step == steps:
            accelerator.save_state(str(state))
            if accelerator.is_main_process:
                progress = {"step": step, "seconds": elapsed + time.time() - start}
                (state / "progress.json").write_text(json.dumps(progress))
    loss = held_out_loss()
    if accelerator.is_main_process:
        plain = accelerator.unwrap_model(model).to(torch.bfloat16)
        plain.generation_config.max_length = config.max_position_embeddings
        plain.save_pretrained(output / "base_model")
        tokenizer.save_pretrained(output / "base_model")
        facts = {
            "parameters": sum(p.numel() for p in plain.parameters()),
            "tokens_seen": steps * args.batch_size * SEQ_LEN,
            "held_out_loss": round(loss, 4),
            "hardware": torch.cuda.get_device_name()
            if torch.cuda.is_available()
            else f"{torch.get_num_threads()} CPU threads",
            "seconds": round(elapsed + time.time() - start),
            **{k: v for k, v in vars(args).items() if k in ("seed", "learning_rate", "batch_size")},
        }
        (output / "base_model" / "pretraining.json").write_text(json.dumps(facts, indent=2) + "\n")
        print(json.dumps(facts, indent=2))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    sub = commands.add_parser("prepare", help="text -> tokenizer and tokens")
    sub.add_argument("--text", action="append", required=True, help="FILE.jsonl[.xz]:TOKENS, repeatable")
    sub.add_argument("--vocab_size", type=int, default=4096)
    sub.add_argument("--output_dir", required=True)
    sub.set_defaults(run=prepare)
    sub = commands.add_parser("train", help="tokens -> model")
    sub.add_argument("--data", required=True, help="the folder that `prepare` wrote")
    sub.add_argument("--output_dir", required=True)
    sub.add_argument("--tokens", type=lambda value: int(float(value)), default=8_000_000, help="training tokens in all")
    sub.add_argument("--batch_size", type=int, default=16, help="sequences of 256 tokens a step, over all processes")
    sub.add_argument("--learning_rate", type=float, default=3e-3)
    sub.add_argument("--save_steps", type=int, default=500)
    sub.add_argument("--seed", type=int, default=0)
    sub.add_argument("--compile", action="store_true")
    sub.set_defaults(run=train)
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
