"""What digests, the fingerprint and syncing cost, on a file of a gigabyte and on a model of that size.

    python benchmarks/trust_cost.py --folder FOLDER [--gigabytes 1] [--rounds 5]

FOLDER is on the disk that is measured; what is written there is removed. Rounds alternate the sides; figures are medians.
"""

import argparse
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import torch
from common import median_range, report
from safetensors.torch import save_file

from hyperfitting.files import sync_file
from hyperfitting.models import stored_fingerprint
from hyperfitting.training.checkpoint import file_digest, synced


def seconds(call) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--gigabytes", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp(dir=args.folder))
    size = int(args.gigabytes * 1e9) // 4
    weights = {f"layer.{i}": torch.randn(size // 16) for i in range(16)}
    model, state = folder / "model.safetensors", folder / "optimizer.bin"
    save_file(weights, model)
    measured: dict[str, list[float]] = {name: [] for name in ("written", "synced", "digested", "both", "fingerprinted")}
    try:
        for _ in range(args.rounds):
            for syncing, sync in (("synced", sync_file), ("both", synced)):
                state.unlink(missing_ok=True)
                os.sync()
                written = seconds(lambda: torch.save(weights, state))
                measured[syncing].append(written + seconds(lambda sync=sync: sync(state)))
                measured["written"].append(written)
            measured["digested"].append(seconds(lambda: file_digest(state)))
            measured["fingerprinted"].append(seconds(lambda: stored_fingerprint(str(folder))))
    finally:
        shutil.rmtree(folder)
    middle = {name: statistics.median(values) for name, values in measured.items()}
    share = (middle["both"] - middle["synced"]) / middle["synced"]
    names = {
        "written": "written",
        "synced": "written and synced",
        "both": "written, synced and digested meanwhile",
        "digested": "digest alone",
        "fingerprinted": "fingerprint of a model of that size",
    }
    rows = [[label, median_range(measured[name], 2)] for name, label in names.items()]
    rows.append(["what digests add to a checkpoint that is written and synced", f"{share:.1%}"])
    facts = {"gigabytes": args.gigabytes, "seconds": measured, "digest_share": share}
    report("trust-cost", f"Seconds for {args.gigabytes:g} GB", ["", "seconds"], rows, facts)


if __name__ == "__main__":
    main()
