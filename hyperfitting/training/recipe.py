"""The recipe of a run: every setting that changes what a run computes, with the paper's values as defaults.

A recipe is read from YAML, then from keyword arguments or the command line over it. Paper: Carlsson et al., *The
Hyperfitting Phenomenon*, ICLR 2025, arXiv 2412.04318; sections named below are the paper's.
"""

from dataclasses import dataclass

from ..builtin import RECIPES
from ..corpus import CorpusRecipe
from ..options import Options, OptionsError, option

RecipeError = OptionsError  # what a bad recipe raises


@dataclass(kw_only=True)
class ModelRecipe:
    """What is hyperfitted."""

    model: str | None = option(None, "Hub id or local folder of a causal model with safetensors weights.", path=True)
    revision: str | None = option(None, "Branch, tag or commit of a Hub model; default: its main branch.")
    tokenizer: str | None = option(None, "Hub id or local folder of the tokenizer; default: the model's.", path=True)
    trust_remote_code: bool = option(False, "Run modelling code that comes with the checkpoint.")
    gradient_checkpointing: bool = option(
        False, "Recompute activations in the backward pass: less memory, slower.", may_change=True
    )
    torch_compile: bool = option(False, "Compile the model with torch.compile.", may_change=True)


@dataclass(kw_only=True)
class TrainingRecipe:
    """How the weights are updated. AdamW at a constant rate, without warm-up, clipping or dropout (section 3)."""

    epochs: int = option(20, "Passes over the training rows (section 3: 20).", least=1, greatest=2**20, may_change=True)
    learning_rate: float = option(1e-6, "Constant learning rate (section 3: 1e-6; small models need more).", above=0)
    weight_decay: float = option(0.0, "Decoupled weight decay (section 3: 0).", least=0)
    adam_beta1: float = option(0.9, "Decay of Adam's first moment (PyTorch's default).", least=0, below=1)
    adam_beta2: float = option(0.999, "Decay of Adam's second moment (PyTorch's default).", least=0, below=1)
    adam_epsilon: float = option(1e-8, "Term added to Adam's denominator (PyTorch's default).", above=0)
    global_batch_size: int = option(8, "Rows per optimizer step over all processes (section 3: 8).", least=1)
    per_device_train_batch_size: int | None = option(
        None,
        "Rows per process and forward pass; the rest of the global batch is accumulated. Default: all of its share.",
        least=1,
        may_change=True,
    )
    mixed_precision: str | None = option(
        None,
        "Precision of computation; default: what `accelerate launch` asks for, else bf16 on a GPU and no on a CPU.",
        choices=("bf16", "no"),
        hint="fp16 skips steps, and bf16 keeps the range of fp32",
    )
    # An epoch's order is drawn from 2**20 x seed + epoch, of which torch takes 64 bits.
    seed: int = option(0, "Seed of the order of the rows in each epoch.", least=-(2**43), greatest=2**43 - 1)
    stop_at_loss: float | None = option(
        None, "Stop after the first epoch whose mean training loss is at most this, nats.", may_change=True
    )
    stop_when_saturated: bool = option(
        False,
        "Stop once an epoch's mean loss is below saturation_loss and the probe's TTR has stopped rising.",
        may_change=True,
    )
    saturation_loss: float = option(
        0.1, "Training loss under which a run can count as saturated, nats per token.", may_change=True
    )
    saturation_patience: int = option(
        3, "Evaluations without a new highest TTR that make a run saturated.", least=1, may_change=True
    )


@dataclass(kw_only=True)
class ValidationRecipe:
    """What is measured before training, during it and at its end."""

    eval_steps: int | None = option(
        None, "Evaluate every so many optimizer steps; default: at the end of each epoch.", least=1, may_change=True
    )
    per_device_eval_batch_size: int = option(
        8, "Rows per process and forward pass in validation.", least=1, may_change=True
    )
    probe_contexts: int = option(
        32,
        "Validation rows whose first tokens are continued greedily; 0: none.",
        least=0,
        greatest=128,
        hint="use the generation runner for more",
    )
    probe_context_len: int = option(32, "Tokens of context that the probe continues (section 3: 32).", least=1)
    probe_max_length: int = option(256, "Tokens of context and continuation (section 3: 256).")


@dataclass(kw_only=True)
class OutputRecipe:
    """What is kept."""

    output_dir: str = option("runs/hyperfit", "Folder of the run.", may_change=True, path=True)
    save_steps: int | None = option(
        None, "Checkpoint every so many optimizer steps; default: at the end of each epoch.", least=1, may_change=True
    )
    keep_checkpoints: int = option(
        2, "Newest checkpoints that are kept; older ones are deleted.", least=1, may_change=True
    )
    keep_early_stopped: bool = option(
        False,
        "Also keep the weights of the best validation loss after step 0; evaluates 4 times in the first epoch.",
        may_change=True,
    )
    save_dtype: str | None = option(
        None,
        "Dtype of the saved weights; default: the source checkpoint's.",
        choices=("float32", "bfloat16", "float16"),
        may_change=True,
    )
    report_to: str = option(
        "none", "Trackers of Accelerate, comma-separated, such as tensorboard,wandb.", may_change=True
    )
    push_to_hub: bool = option(False, "Upload the final model folder to the Hub.", may_change=True)
    hub_model_id: str | None = option(None, "Repository on the Hub; default: the name of output_dir.", may_change=True)
    accelerate_config: str | None = option(
        None,
        "Accelerate config that fits this recipe, by name or path; --dry_run plans for it when not launched with one.",
        may_change=True,
    )


@dataclass(kw_only=True)
class Recipe(ModelRecipe, CorpusRecipe, TrainingRecipe, ValidationRecipe, OutputRecipe, Options):
    """All settings of a run: the keys of a recipe file and the flags of the command line."""

    SHIPPED = RECIPES

    def problems(self) -> list[str]:
        """One line for each set of values that no run can use; empty when the recipe is sound."""
        found = []

        def require(holds: bool, message: str) -> None:
            if not holds:
                found.append(message)

        require(
            self.num_train >= self.global_batch_size,
            f"num_train ({self.num_train}) is smaller than global_batch_size ({self.global_batch_size}): "
            "an epoch would hold no step",
        )
        if self.probe_contexts:
            require(
                self.probe_context_len < min(self.probe_max_length, self.seq_len),
                f"probe_context_len ({self.probe_context_len}) must be below probe_max_length ({self.probe_max_length}) "
                f"and seq_len ({self.seq_len})",
            )
        require(
            not (self.stop_when_saturated and self.probe_contexts == 0),
            "stop_when_saturated watches the probe's TTR: set probe_contexts above 0",
        )
        return found

    def check_window(self, config) -> None:
        """Raise UserError when rows or probe continuations are longer than the model's window."""
        from ..models import check_window  # torch, which a recipe can be read without

        longest = max(self.seq_len, self.probe_max_length if self.probe_contexts else 0)
        message = (
            f"seq_len {self.seq_len} and probe_max_length {self.probe_max_length} must fit the model's window of "
            "{window} tokens: lower --seq_len or --probe_max_length"
        )
        check_window(config, longest, message)

    def accumulation_steps(self, num_processes: int) -> tuple[int, int]:
        """(rows per process and forward pass, forward passes per optimizer step) on `num_processes`.

        Raises:
            RecipeError: when micro x accumulation x processes cannot equal `global_batch_size`.
        """
        total, micro = self.global_batch_size, self.per_device_train_batch_size
        if total % num_processes:
            raise RecipeError(
                [
                    f"global_batch_size {total} cannot be divided over {num_processes} processes: use a number of "
                    f"processes that divides {total}, or set --global_batch_size to a multiple of {num_processes}"
                ]
            )
        share = total // num_processes
        micro = micro or share
        if share % micro:
            raise RecipeError(
                [
                    f"per_device_train_batch_size {micro} x {num_processes} processes does not divide "
                    f"global_batch_size {total}: set --per_device_train_batch_size to a divisor of {share}"
                ]
            )
        return micro, share // micro

    def steps_per_epoch(self) -> int:
        """Optimizer steps of an epoch; rows that do not fill a last batch sit this epoch out."""
        return self.num_train // self.global_batch_size

    def total_steps(self) -> int:
        """Optimizer steps of all epochs."""
        return self.epochs * self.steps_per_epoch()
