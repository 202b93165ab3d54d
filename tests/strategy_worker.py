"""Run by test_strategies.py under `accelerate launch` with 2 processes: every check of one strategy in one launch.

    strategy_worker.py TINY_FOLDER OUTPUT_FOLDER

Rank 0 writes facts.json; the test reads it.
"""

import gc
import json
import os
import sys
from pathlib import Path

import torch
from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import DistributedType

sys.path.insert(0, str(Path(__file__).parent))
from chunked_hyperfit import SMALL_CHUNKS  # noqa: E402
from conftest import TINY_RECIPE  # noqa: E402

from hyperfitting import Hyperfitter  # noqa: E402
from hyperfitting.models import check_no_dropout  # noqa: E402
from hyperfitting.processes import is_main_process  # noqa: E402
from hyperfitting.terminal import quiet_libraries  # noqa: E402
from hyperfitting.training import chunked_loss, launching, precision  # noqa: E402

# A tiny model would stay unsharded under ZeRO-3's usual thresholds.
SHARD_EVERYTHING = dict.fromkeys(
    (
        "stage3_param_persistence_threshold",
        "stage3_max_live_parameters",
        "stage3_max_reuse_distance",
        "stage3_prefetch_bucket_size",
    ),
    0,
)


def pretend_fsdp2_has_a_device() -> None:
    """Accelerate leaves FSDP out on a CPU; PyTorch's FSDP2 does run there."""
    state = PartialState(backend="gloo")
    state.distributed_type, state.device = DistributedType.MULTI_GPU, torch.device("cpu")


def create_sharding_everything(recipe, cpu):
    accelerator = ORIGINAL_CREATE(recipe, cpu)
    if accelerator.state.deepspeed_plugin is not None:
        accelerator.state.deepspeed_plugin.deepspeed_config["zero_optimization"].update(SHARD_EVERYTHING)
    return accelerator


chunked_loss.CHUNK_BYTES = SMALL_CHUNKS
ORIGINAL_CREATE = launching.create_accelerator
launching.create_accelerator = create_sharding_everything


class Inspected(Hyperfitter):
    """A Hyperfitter that notes facts about its weights and optimizer before and after training."""

    def _train(self):
        self.facts = {"strategy": launching.strategy_of(self.accelerator), "processes": self.accelerator.num_processes}
        self.facts["chunked"] = self.loss_of.__name__ == "chunked"
        self.facts["dropout_off"] = check_no_dropout(self.accelerator.unwrap_model(self.model)) is None
        before = self._masters()
        super()._train()
        after = self._masters()
        changed = torch.cat([(a != b).flatten() for a, b in zip(after, before, strict=True)])
        self.facts["moved"] = self._sum(changed.sum()) / self._sum(torch.tensor(changed.numel()))
        self.facts["master_dtypes"] = sorted({str(t.dtype) for t in after})
        weights = [getattr(p, "ds_tensor", p) for p in self.model.parameters()]
        weights = [w.to_local() if hasattr(w, "to_local") else w for w in weights]
        self.facts["weight_share"] = sum(w.numel() for w in weights) / self.size.parameters
        self.facts["state_share"] = sum(m.numel() for m in self._moments()) / self.size.parameters
        self.facts["moment_dtypes"] = sorted({str(m.dtype) for m in self._moments()})
        if self.facts["strategy"] == "deepspeed":
            self.facts["clipping"] = [
                self.model.gradient_clipping(),
                getattr(self.optimizer.optimizer, "clip_grad", 0.0),
            ]

    def _step(self, rows):
        super()._step(rows)
        if self.progress.step == 0:  # Adam's first moment is now 0.1 x the gradient that reached it
            squares = self._sum(sum((m.float() ** 2).sum() for m in self._moments()))
            copies = self.accelerator.num_processes if self.facts["strategy"] == "ddp" else 1
            self.facts["gradient_norm"] = (squares / copies) ** 0.5 / 0.1

    def _moments(self):
        inner = getattr(self.optimizer.optimizer, "optimizer", self.optimizer.optimizer)
        moments = [state["exp_avg"] for state in inner.state.values()]
        return [m.to_local() if hasattr(m, "to_local") else m for m in moments]

    def _masters(self):
        tensors = precision.optimizer_tensors(self.accelerator, self.optimizer)
        return [(t.to_local() if hasattr(t, "to_local") else t).detach().clone() for t in tensors]

    def _sum(self, value):
        return float(self.accelerator.reduce(value.float().to(self.accelerator.device)))


def main() -> None:
    tiny, output = Path(sys.argv[1]), Path(sys.argv[2])
    quiet_libraries()

    def fit(name, resume=None, **changes):
        gc.freeze()  # what was imported: each fit looks through the rest for garbage
        if os.environ.get("ACCELERATE_USE_FSDP") == "true":
            pretend_fsdp2_has_a_device()
        values = {**TINY_RECIPE, "model": str(tiny / "fp32"), "dataset": str(tiny / "stories.jsonl"), **changes}
        fitter = Inspected(
            output_dir=str(output / name), cpu=True, mixed_precision=values.pop("precision", "no"), **values
        )
        result = fitter.fit(resume=resume)
        AcceleratorState._reset_state()  # a later fit may ask for another precision
        return {"losses": [r["loss"] for r in result.history if r["kind"] == "train"], **getattr(fitter, "facts", {})}

    facts = {
        "plain": fit("plain"),
        "accumulated": fit("accumulated", per_device_train_batch_size=2, epochs=5),
        "bf16": fit("bf16", model=str(tiny / "bf16"), precision="bf16", learning_rate=1e-6, epochs=1, num_train=40),
    }
    tower = dict(model=str(tiny / "tower"), precision="bf16", probe_contexts=0, num_train=8, save_steps=1)
    facts["tower"] = fit("tower", epochs=1, **tower)
    facts["tower_resumed"] = fit("tower", epochs=2, resume="auto", **tower)
    facts["resumed"] = fit("plain", resume=str(output / "plain" / "checkpoints" / "step_0000020"))
    if is_main_process():
        (output / "facts.json").write_text(json.dumps(facts))
    PartialState().destroy_process_group()
    gc.freeze()


if __name__ == "__main__":
    main()
