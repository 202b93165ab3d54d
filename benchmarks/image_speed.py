"""Images: pictures to rows, and a training step and completions beside what one would write without this library.

    OMP_NUM_THREADS=1 python benchmarks/image_speed.py --rounds 5

A random ImageGPT of 2.9 M parameters and random pictures: 32 x 32 to rows, 16 x 16 to learn and to complete. Both sides see the same
pictures, and their losses and the pixels that they complete are compared.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch
from common import alternate, device, median_range, report
from PIL import Image
from train_speed import StepClock, TimedHyperfitter
from transformers import ImageGPTConfig, ImageGPTForCausalImageModeling, ImageGPTImageProcessorPil

from hyperfitting import Corpus
from hyperfitting.codec.images import ImageCodec
from hyperfitting.generation.decoding import decode
from hyperfitting.generation.engines import make_decoder
from hyperfitting.terminal import quiet_libraries
from hyperfitting.training.steps import epoch_order

COLOURS, SIDE, LEARNING_RATE = 512, 16, 1e-5
ROW, QUARTER = 1 + SIDE * SIDE, 1 + SIDE * SIDE // 4


def new_codec(side: int) -> ImageCodec:
    clusters = np.random.default_rng(0).uniform(-1, 1, (COLOURS, 3))
    return ImageCodec(ImageGPTImageProcessorPil(clusters=clusters, size={"height": side, "width": side}))


def save_model(folder: Path) -> None:
    """A random model without dropout, so that both sides of a training compute the same."""
    torch.manual_seed(0)
    off = dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0)
    shape = dict(n_embd=192, n_layer=6, n_head=6, vocab_size=COLOURS + 1, n_positions=SIDE * SIDE)
    ImageGPTForCausalImageModeling(ImageGPTConfig(**shape, **off, initializer_range=0.1)).save_pretrained(folder)
    new_codec(SIDE).save(folder)


def load_model(folder: Path) -> ImageGPTForCausalImageModeling:
    return ImageGPTForCausalImageModeling.from_pretrained(folder).to(device())


def random_rows(count: int) -> torch.Tensor:
    """(count, ROW) int64: a start token and random colours."""
    rows = torch.randint(0, COLOURS, (count, ROW), generator=torch.Generator().manual_seed(0))
    rows[:, 0] = COLOURS
    return rows


def rows_of_pictures(count: int) -> dict:
    codec, rng = new_codec(32), np.random.default_rng(0)
    pictures = [Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)) for _ in range(count)]
    return {
        "ours": lambda: codec.encode(pictures),
        "image processor": lambda: [[COLOURS, *codec.processor(one)["input_ids"][0].tolist()] for one in pictures],
    }


def train_ours(folder: Path, rows: torch.Tensor) -> StepClock:
    codec = ImageCodec.load(str(folder))
    corpus = Corpus(rows, rows[:1], ["random"] * len(rows), ["random"], codec.fingerprint)
    with tempfile.TemporaryDirectory() as output:
        recipe = dict(epochs=1, probe_contexts=0, learning_rate=LEARNING_RATE, mixed_precision="no")
        fitter = TimedHyperfitter(str(folder), codec, corpus=corpus, output_dir=f"{output}/run", **recipe)
        fitter.clock = StepClock()
        result = fitter.fit()
    fitter.clock.losses = [record["loss"] for record in result.history if record["kind"] == "train"]
    return fitter.clock


def train_plain(folder: Path, rows: torch.Tensor) -> StepClock:
    clock, model = StepClock(), load_model(folder).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.0)
    for batch in rows[epoch_order(len(rows), 0, 0)].to(device()).split(8):
        clock.tick()
        logits = model(input_ids=batch[:, :-1]).logits
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        clock.losses.append(loss.item())
    return clock


def completions(folder: Path, count: int) -> dict:
    model, contexts = load_model(folder).eval(), random_rows(count)[:, :QUARTER]
    decoder = make_decoder(model, ROW)
    return {
        "ours": lambda: decode(decoder, contexts, ROW, [], ends=[]).tolist(),
        "model.generate": lambda: model.generate(contexts.to(device()), max_length=ROW, do_sample=False).tolist(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pictures", type=int, default=200, help="pictures to rows, a round")
    parser.add_argument("--steps", type=int, default=10, help="training steps, a round")
    parser.add_argument("--contexts", type=int, default=16, help="pictures that are completed together")
    args = parser.parse_args()
    quiet_libraries()
    table, facts = [], {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "model"
        save_model(folder)
        for what, per, sides in (
            ("picture to row", args.pictures, rows_of_pictures(args.pictures)),
            ("completed picture", args.contexts, completions(folder, args.contexts)),
        ):
            measured = alternate(sides, args.rounds)
            ours, *theirs = (side["result"] for side in measured.values())
            facts[f"{what}: the same ids"] = [ours == other for other in theirs]
            for side, values in measured.items():
                table.append([what, side, median_range([1000 * s / per for s in values["cpu"]], 2)])
        rows, sides = random_rows(8 * args.steps), {"ours": train_ours, "plain loop": train_plain}
        clocks = {side: [train(folder, rows) for _ in range(args.rounds)] for side, train in sides.items()}
        pairs = zip(*(clock[0].losses for clock in clocks.values()), strict=True)
        facts["training step: largest difference of a loss"] = max(abs(a - b) for a, b in pairs)
        for side, found in clocks.items():
            seconds = [second for clock in found for second in clock.step_seconds()["cpu"]]
            table.append(["training step of 8 rows", side, median_range([1000 * s for s in seconds], 1)])
    print(facts)
    report("image-speed", "Images", ["what", "side", "CPU ms"], table, facts)


if __name__ == "__main__":
    main()
