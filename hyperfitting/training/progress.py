"""Where a run stands, and what is due there: plain arithmetic on steps, and the rules for stopping."""

from dataclasses import dataclass, field

from .evaluation import Evaluation
from .recipe import Recipe


def is_evaluation_step(recipe: Recipe, step: int) -> bool:
    """Step 0, every `eval_steps` or epoch, the last, and with `keep_early_stopped` each quarter of epoch 1."""
    per_epoch = recipe.steps_per_epoch()
    early = recipe.keep_early_stopped and step <= per_epoch and step % max(1, per_epoch // 4) == 0
    return step in (0, recipe.total_steps()) or early or step % (recipe.eval_steps or per_epoch) == 0


def evaluation_steps(recipe: Recipe) -> list[int]:
    """The steps of all evaluations of a run that goes to its last epoch."""
    per_epoch, total = recipe.steps_per_epoch(), recipe.total_steps()
    candidates = {*range(per_epoch + 1), *range(0, total + 1, recipe.eval_steps or per_epoch), total}
    return [step for step in sorted(candidates) if step <= total and is_evaluation_step(recipe, step)]


@dataclass
class Progress:
    """The state of a run besides its weights; saved with every checkpoint. Losses are nats per token.

    Attributes:
        step: optimizer steps done.
        epoch_losses: those of the epoch under way.
        last_epoch_loss: mean of the last whole epoch.
        evaluated_step: step of the last evaluation, -1 before the first.
        best_validation_loss, best_step: the lowest after step 0.
        stop_reason: epochs, stop_at_loss or saturated, once the run is to stop.
        corpus_fingerprint: of the rows that it is trained on.
    """

    step: int = 0
    epoch_losses: list[float] = field(default_factory=list)
    last_epoch_loss: float | None = None
    evaluated_step: int = -1
    best_validation_loss: float | None = None
    best_step: int | None = None
    best_ttr: float = 0.0
    evaluations_without_rise: int = 0
    stop_reason: str | None = None
    corpus_fingerprint: str | None = None

    def evaluation_due(self, recipe: Recipe) -> bool:
        """At the steps of `is_evaluation_step`, and when the run is to stop."""
        return self.step != self.evaluated_step and (bool(self.stop_reason) or is_evaluation_step(recipe, self.step))

    def checkpoint_due(self, recipe: Recipe) -> bool:
        """Every `save_steps` or epoch, and at the end."""
        return bool(self.stop_reason) or self.step % (recipe.save_steps or recipe.steps_per_epoch()) == 0

    def close_epoch(self, recipe: Recipe) -> None:
        """Take the mean of the epoch's losses, and stop if it is low enough or the last."""
        self.last_epoch_loss = sum(self.epoch_losses) / len(self.epoch_losses)
        self.epoch_losses = []
        if recipe.stop_at_loss is not None and self.last_epoch_loss <= recipe.stop_at_loss:
            self.stop_reason = "stop_at_loss"
        elif self.step >= recipe.total_steps():
            self.stop_reason = "epochs"

    def note_evaluation(self, evaluation: Evaluation, recipe: Recipe) -> bool:
        """Compare an evaluation with the best before it, and stop if the run is saturated; True for a new best loss."""
        self.evaluated_step = self.step
        loss, best = evaluation.validation_loss, self.best_validation_loss
        is_best = self.step > 0 and (best is None or loss < best)
        if is_best:
            self.best_validation_loss, self.best_step = loss, self.step
        if recipe.stop_when_saturated:
            self._note_ttr(evaluation.ttr or 0.0, recipe)
        return is_best

    def _note_ttr(self, ttr: float, recipe: Recipe) -> None:
        low = self.last_epoch_loss is not None and self.last_epoch_loss < recipe.saturation_loss
        if ttr > self.best_ttr:
            self.best_ttr, self.evaluations_without_rise = ttr, 0
        elif low:
            self.evaluations_without_rise += 1
        if low and self.evaluations_without_rise >= recipe.saturation_patience and not self.stop_reason:
            self.stop_reason = "saturated"

    def still_stopped(self, recipe: Recipe) -> bool:
        """Whether the reason for which a resumed run had stopped still holds: its limits may have been moved."""
        return {
            "epochs": self.step >= recipe.total_steps(),
            "stop_at_loss": recipe.stop_at_loss is not None and (self.last_epoch_loss or 0.0) <= recipe.stop_at_loss,
            "saturated": recipe.stop_when_saturated,
        }.get(self.stop_reason, False)
