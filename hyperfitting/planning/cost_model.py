"""What a layout costs: bytes on every rank, and the time of one optimizer step from a machine's rates.

Model states follow Rajbhandari et al., *ZeRO* (2020), section 3; pass_memory.py counts what a pass adds to them. Times
are for comparing layouts; the default rates are an assumption, not a promise.
"""

from dataclasses import dataclass

from ..hardware import Rates
from ..models import ModelSize
from ..training.recipe import Recipe
from .pass_memory import PassMemory

GPUS_PER_MACHINE = 8
WEIGHT_AND_MOMENTS = 12  # bytes per parameter, all fp32
ADAM_BYTES = 28  # per parameter: fp32 weight, gradient and two moments are read, weight and moments written


@dataclass(frozen=True)
class Layout:
    """Who holds what. strategy: single, ddp, zero1, zero2, zero3, zero3_offload, fsdp2."""

    strategy: str
    ranks: int
    bf16: bool
    accumulation: int

    def state_bytes(self) -> tuple[float, float]:
        """Bytes per parameter on one rank's (GPU, CPU): weights, gradients, fp32 masters and Adam's two moments."""
        n = self.ranks
        if self.strategy in ("single", "ddp"):
            return WEIGHT_AND_MOMENTS + 4.0 + 2.0 * self.bf16, 0.0  # autocast keeps bf16 copies of the weights
        if self.strategy == "fsdp2":
            return 16.0 / n, 0.0
        weight = 2 if self.bf16 else 4
        gradient = 4 if self.accumulation > 1 or not self.bf16 else 2
        masters_and_moments = WEIGHT_AND_MOMENTS
        if self.strategy == "zero1":
            return weight + gradient + masters_and_moments / n, 0.0
        if self.strategy == "zero2":
            return weight + (gradient + masters_and_moments) / n, 0.0
        if self.strategy == "zero3":
            return (weight + gradient + masters_and_moments) / n, 0.0
        # zero3_offload: gradients are on the CPU too, as they come and once more in fp32 for Adam (DeepSpeed 0.19, stage3.py).
        return weight / n, (masters_and_moments + gradient + 4) / n

    def checkpoint_bytes(self) -> float:
        """Bytes per parameter of a checkpoint, over all ranks: DeepSpeed's first two stages write the bf16 weights as well."""
        return WEIGHT_AND_MOMENTS + (2.0 if self.bf16 and self.strategy in ("zero1", "zero2") else 0.0)

    def communicated_bytes(self) -> float:
        """Bytes per parameter that one rank sends in a step: reduce-scatter of gradients, all-gather of weights."""
        size = 2 if self.bf16 else 4
        part = (self.ranks - 1) / self.ranks
        if self.strategy in ("single", "ddp"):
            return 2 * part * 4  # fp32 gradients
        if self.strategy in ("zero1", "zero2"):
            return 2 * part * size
        return 3 * part * size * self.accumulation  # weights are gathered for every forward and backward pass


def peak_bytes(size: ModelSize, layout: Layout, memory: PassMemory | None) -> tuple[float, float]:
    """The most that one rank's (GPU, CPU) holds in a step. With `memory` None activations are left out."""
    gpu, cpu = (per_parameter * size.parameters for per_parameter in layout.state_bytes())
    if memory is None:
        return gpu, cpu
    if layout.strategy == "single" and layout.accumulation == 1:  # gradients come while activations go
        return WEIGHT_AND_MOMENTS * size.parameters + memory.everything, cpu
    return gpu + memory.activations, cpu


def step_flops(size: ModelSize, recipe: Recipe) -> float:
    """Floating-point operations of one optimizer step; gradient checkpointing adds a third."""
    flops = size.training_flops(recipe.global_batch_size * recipe.seq_len, recipe.seq_len)
    return flops * (4 / 3 if recipe.gradient_checkpointing else 1)


@dataclass(frozen=True)
class StepTime:
    """Seconds of one optimizer step, by what they go to."""

    compute: float
    optimizer: float
    communication: float

    @property
    def seconds(self) -> float:
        """All three in turn. What a library overlaps can bring it down to the largest of them."""
        return self.compute + self.optimizer + self.communication


def step_time(size: ModelSize, recipe: Recipe, layout: Layout, rates: Rates) -> StepTime:
    """The least that one optimizer step takes in `layout` at `rates`.

    Computation takes its operations, or, when a rank has few rows, the reading of the weights for the forward and the
    backward pass and the writing of their gradient.
    """
    weights = 3 * (2 if layout.bf16 else 4) * size.parameters * layout.accumulation
    compute = max(step_flops(size, recipe) / layout.ranks / rates.flops, weights / rates.memory)
    shards = 1 if layout.strategy in ("single", "ddp") else layout.ranks
    adam = ADAM_BYTES * size.parameters / shards
    bandwidth = rates.local if layout.ranks <= GPUS_PER_MACHINE else rates.network
    return StepTime(
        compute,
        adam / (rates.host if layout.strategy.endswith("offload") else rates.memory),
        layout.communicated_bytes() * size.parameters / bandwidth,
    )
