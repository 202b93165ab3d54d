"""Pre-train a small ImageGPT of 16 x 16 pictures, for launch/recipes/imagegpt_tiny.yaml.

    python launch/pretrain_images.py prepare --images cifar/train.parquet --output_dir work
    python launch/pretrain_images.py train --data work --output_dir models/imagegpt_tiny --minutes 90

`prepare` splits the pictures by a hash of their pixels, so that no picture is in two sets: most to pre-train, 400 to hyperfit, 128 for
the probe, the rest to complete; each set is a parquet file that the other commands read. It learns the colours by k-means (`pip
install -e ".[pretrain_images]"`). `train` stops after so many minutes and writes a transformers folder, with its loss beside those of two simple models.
"""

import argparse
import hashlib
import io
import json
import math
import os
import sys
import time
from pathlib import Path

import numpy as np
import torch

from hyperfitting import TrainingError, UserError
from hyperfitting.codec.images import ImageCodec
from hyperfitting.codec.opening import open_picture
from hyperfitting.commands.reporting import run_reporting_errors
from hyperfitting.corpus import load_training_rows
from hyperfitting.training.steps import next_token_loss

ARCHITECTURE = dict(n_embd=192, n_layer=6, n_head=6)  # 2.9 M parameters
HYPERFIT, PROBE = 400, 128  # pictures


def read_pictures(source: str) -> list[bytes]:
    """Every picture of a parquet file once, as PNG bytes, in the order of a hash of its pixels."""
    import datasets

    try:
        table = datasets.load_dataset("parquet", data_files=source, split="train")
    except Exception as error:  # whatever datasets and pyarrow raise of a file that is no parquet or damaged
        raise UserError(f"--images {source} cannot be read as parquet: {' '.join(str(error).split())[:300]}") from error
    if "image" not in table.column_names:
        raise UserError(f"{source} has no column `image`; it has {', '.join(table.column_names)}")
    table = table.cast_column("image", datasets.Image(decode=False))
    pictures = {}
    for number, row in enumerate(table["image"], 1):
        try:
            pixels = np.array(open_picture(row)[0].convert("RGB"))
        except Exception as error:  # whatever Pillow raises of a damaged picture
            raise UserError(f"--images {source}, row {number} is no picture that can be used: {error}") from error
        pictures[hashlib.sha256(pixels.tobytes()).hexdigest()] = row["bytes"]
    return [pictures[digest] for digest in sorted(pictures)]


def learn_colours(pictures: list[bytes], side: int, count: int) -> np.ndarray:
    """(count, 3) float64 colours in [-1, 1]: k-means of the pixels."""
    from PIL import Image
    from sklearn.cluster import MiniBatchKMeans

    pixels = [
        np.array(open_picture(io.BytesIO(data))[0].convert("RGB").resize((side, side), Image.Resampling.BILINEAR))
        for data in pictures
    ]
    means = MiniBatchKMeans(count, random_state=0, batch_size=8192, n_init=1)
    return means.fit(np.stack(pixels).reshape(-1, 3) / 127.5 - 1).cluster_centers_


def prepare(args) -> None:
    import datasets
    from transformers import ImageGPTImageProcessorPil

    if not Path(args.images).is_file():
        raise UserError(f"--images {args.images} is no file")
    output, pictures = Path(args.output_dir), read_pictures(args.images)
    if len(pictures) < args.pretrain + HYPERFIT + PROBE:
        raise UserError(f"{args.images} holds {len(pictures)} different pictures: lower --pretrain")
    output.mkdir(parents=True, exist_ok=True)
    edges = np.cumsum([0, args.pretrain, HYPERFIT, PROBE])
    sets = dict(
        zip(("pretrain", "hyperfit", "probe", "complete"), np.split(np.array(pictures, object), edges[1:]), strict=True)
    )
    for name, part in sets.items():
        table = datasets.Dataset.from_dict({"image": [{"bytes": data, "path": None} for data in part]})
        table.cast_column("image", datasets.Image()).to_parquet(output / f"{name}.parquet")
    colours = learn_colours(list(sets["pretrain"]), args.side, args.colours)
    size = {"height": args.side, "width": args.side}
    ImageGPTImageProcessorPil(clusters=colours, size=size).save_pretrained(output)
    print({name: len(part) for name, part in sets.items()})


def simple_losses(train: torch.Tensor, held_out: torch.Tensor, side: int, colours: int) -> dict[str, float]:
    """Nats per pixel of a unigram model, and of one that copies the pixel above with the probability that fits the training
    pictures best and is the unigram model otherwise; of (rows, 1 + side * side) ids."""
    counts = torch.bincount(train[:, 1:].flatten(), minlength=colours).double() + 1
    unigram = counts / counts.sum()

    def likelihood(rows: torch.Tensor, share: float) -> torch.Tensor:
        pixels = rows[:, 1:].unflatten(1, (side, side))
        p = unigram[pixels]
        copies = (pixels[:, 1:] == pixels[:, :-1]).double()
        p[:, 1:] = share * copies + (1 - share) * p[:, 1:]
        return -p.log().mean()

    best = min((share / 100 for share in range(100)), key=lambda share: likelihood(train, share))
    return {"unigram": likelihood(held_out, 0.0).item(), "copy_above": likelihood(held_out, best).item()}


def train(args) -> None:
    from transformers import ImageGPTConfig, ImageGPTForCausalImageModeling

    if not args.minutes > 0:
        raise UserError(f"--minutes must be above 0, not {args.minutes:g}: no step would be made, and no model")
    if not (Path(args.data) / "preprocessor_config.json").is_file():
        raise UserError(f"--data {args.data} is no folder that `prepare` wrote")
    torch.manual_seed(args.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    codec, data = ImageCodec.load(args.data), Path(args.data)
    side, start = codec.pixels.width, codec.pixels.start
    rows = {
        name: torch.tensor(load_training_rows(str(data / f"{name}.parquet"), codec).rows)
        for name in ("pretrain", "probe")
    }
    flipped = rows["pretrain"].clone()
    flipped[:, 1:] = flipped[:, 1:].unflatten(1, (side, side)).flip(2).flatten(1)
    both = torch.cat([rows["pretrain"], flipped])

    model = ImageGPTForCausalImageModeling(
        ImageGPTConfig(vocab_size=start + 1, n_positions=side * side, **ARCHITECTURE)
    )
    model.to(device).train()
    decayed = [p for p in model.parameters() if p.ndim == 2]
    others = [p for p in model.parameters() if p.ndim != 2]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=args.learning_rate, betas=(0.9, 0.95), fused=True)

    def loss_of(batch: torch.Tensor) -> torch.Tensor:
        batch = batch.to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            logits = model(input_ids=batch[:, :-1]).logits
        return next_token_loss(logits, batch) / (len(batch) * side * side)

    def held_out_loss() -> float:
        model.eval()
        with torch.no_grad():
            losses = [loss_of(part).item() * len(part) for part in rows["probe"].split(32)]
        model.train()
        return sum(losses) / len(rows["probe"])

    began, step, best, seconds, limit = time.time(), 0, math.inf, 0.0, 60 * args.minutes
    while seconds < limit:
        batch = both[torch.randint(len(both), (args.batch_size,))]
        loss = loss_of(batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        share = seconds / limit  # of the time, which the schedule follows: a slow machine makes fewer steps
        for group in optimizer.param_groups:
            group["lr"] = (
                args.learning_rate * min(1.0, (step + 1) / 100) * (0.02 + 0.49 * (1 + math.cos(math.pi * share)))
            )
        optimizer.step()
        optimizer.zero_grad()
        step, seconds = step + 1, time.time() - began
        if step % args.eval_steps == 0 or seconds >= limit:
            held_out = held_out_loss()
            print(f"step {step}, {seconds:.0f} s: loss {loss.item():.3f}, held out {held_out:.3f}", flush=True)
            if held_out < best:  # small sets are soon learned by heart: the best is kept
                best = held_out
                model.save_pretrained(args.output_dir)
    if best == math.inf:
        raise TrainingError(f"no model was saved: no loss of {step} steps was a number; lower --learning_rate")
    codec.save(Path(args.output_dir))
    facts = {
        "parameters": sum(p.numel() for p in model.parameters()),
        "pictures": len(rows["pretrain"]),
        "steps": step,
        "held_out_pictures": len(rows["probe"]),
        "held_out_loss": round(best, 4),
        "held_out_loss_of": {k: round(v, 4) for k, v in simple_losses(both, rows["probe"], side, start).items()},
        "hardware": torch.cuda.get_device_name() if device.type == "cuda" else f"{os.cpu_count()} CPU cores",
        "seconds": round(seconds),
        **{name: getattr(args, name) for name in ("seed", "learning_rate", "batch_size")},
    }
    (Path(args.output_dir) / "pretraining.json").write_text(json.dumps(facts, indent=2) + "\n")
    print(json.dumps(facts, indent=2))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    sub = commands.add_parser("prepare", help="pictures -> sets and colours")
    sub.set_defaults(run=prepare)
    sub.add_argument("--images", required=True, help="parquet file with a column `image`")
    sub.add_argument("--pretrain", type=int, default=2800, help="pictures to pre-train with")
    sub.add_argument("--side", type=int, default=16, help="height and width of a picture, pixels")
    sub.add_argument("--colours", type=int, default=512)
    sub.add_argument("--output_dir", required=True)
    sub = commands.add_parser("train", help="sets -> model")
    sub.set_defaults(run=train)
    sub.add_argument("--data", required=True, help="the folder that `prepare` wrote")
    sub.add_argument("--output_dir", required=True)
    sub.add_argument("--minutes", type=float, default=90)
    sub.add_argument("--batch_size", type=int, default=16)
    sub.add_argument("--learning_rate", type=float, default=1e-3)
    sub.add_argument("--eval_steps", type=int, default=250)
    sub.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    return run_reporting_errors(args.run, args)


if __name__ == "__main__":
    sys.exit(main())
