"""What is said while work goes on."""

import contextlib
import io
import re
import time

import pytest
import torch
from conftest import TINY_RECIPE
from rich.console import Console
from transformers import AutoModelForCausalLM

from hyperfitting import Hyperfitter
from hyperfitting.generation import GenerationRunner, load_contexts
from hyperfitting.generation.decoding import decode
from hyperfitting.generation.engines import AnyDecoder
from hyperfitting.records import load_generation_sets
from hyperfitting.scoring.model_scores import score_with_models
from hyperfitting.scoring.scores import Condition
from hyperfitting.terminal import Progress, duration

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "under 1 s"), (7.4, "7 s"), (89, "89 s"), (720, "12 min"), (3.4 * 3600, "3.4 h"), (9.1 * 86400, "9 days")],
)
def test_a_duration_is_readable(seconds, text):
    assert duration(seconds) == text


def test_a_task_says_how_far_it_is_and_when_it_will_end():
    now = [100.0]
    progress = Progress(Console(quiet=True), clock=lambda: now[0])
    with progress.task("training", total=1000, unit="step", done=400) as task:
        now[0] += 30
        assert str(task) == "training:  step 400 of 1,000  30 s so far"
        task.update(410, "loss 2.5000")  # 3 seconds a step, of those that were done here
        assert str(task) == "training:  step 410 of 1,000  loss 2.5000  30 min left"
        task.update(410, "loss 2.5000", seconds_left=7.0)
        assert str(task).endswith("7 s left")
        with progress.task("saving") as inner:
            now[0] += 120
            assert str(inner) == "saving:  2 min so far"
        assert progress.tasks == [task]
        task.seconds_left = None
        assert str(task).endswith("30 min left")  # what lay between does not count
        task.advance(10, tokens=6000)
        now[0] += 30
        assert str(task) == "training:  step 420 of 1,000  loss 2.5000  100 tokens/s  29 min left"


def spoken(first: float, interval: float, seconds: float) -> list[str]:
    """The lines of a task that makes no headway for `seconds`, where there is no terminal."""
    output = io.StringIO()
    with Progress(Console(file=output), first, interval) as progress, progress.task("outer", 5, "batch"):
        with progress.task("inner", 9, "text"):
            time.sleep(seconds)
    return output.getvalue().splitlines()


def test_without_a_terminal_a_line_comes_soon_and_then_at_every_interval():
    lines = spoken(first=0.05, interval=0.2, seconds=0.55)
    assert 2 <= len(lines) <= 3 and all(line.startswith("inner:  text 0 of 9") for line in lines)
    assert spoken(first=60, interval=60, seconds=0.05) == []


def test_on_a_terminal_there_are_bars():
    output = io.StringIO()
    console = Console(file=output, force_terminal=True, width=120)
    with Progress(console) as progress, progress.task("training", 8, "step") as task:
        task.update(3, "loss 1.0000")
        time.sleep(0.5)
    assert "━" in output.getvalue() and "step 3 of 8  loss 1.0000" in output.getvalue()


@pytest.fixture
def ended(monkeypatch):
    """What every task said of itself at its end, in every module that shows progress."""
    from hyperfitting.generation import runner
    from hyperfitting.training import console

    said = []

    class Noting(Progress):
        @contextlib.contextmanager
        def task(self, *what, **more):
            with super().task(*what, **more) as task:
                yield task
                said.append(str(task))

    for module in (runner, console):
        monkeypatch.setattr(module, "Progress", Noting)
    return said, Noting(Console(quiet=True))


def test_training_and_evaluation_say_how_far_they_are(ended, tiny, tmp_path):
    values = {**TINY_RECIPE, "epochs": 2, "per_device_eval_batch_size": 2, "eval_steps": 8}
    Hyperfitter(tiny / "fp32", dataset=str(tiny / "stories.jsonl"), output_dir=str(tmp_path / "run"), **values).fit()
    said, _ = ended
    patterns = [
        r"loading the model:  .* so far",
        r"evaluating validation rows:  batch 3 of 3  [\d,]+ tokens/s  under 1 s left",
        r"evaluating training rows:  batch 3 of 3  [\d,]+ tokens/s  under 1 s left",
        r"continuing the probe:  token 104 of 104  [\d,]+ tokens/s  under 1 s left",
        r"training:  step 8 of 8  epoch 1.8  loss \d+\.\d{4}  [\d,]+ tokens/s  under 1 s left",
    ]
    for pattern in patterns:
        assert any(re.fullmatch(pattern, line) for line in said), (pattern, said)
    assert sum(line.startswith("evaluating validation rows") for line in said) == 2


class Slow(Hyperfitter):
    """Every step takes a twentieth of a second, or longer."""

    def _step(self, rows):
        time.sleep(0.05)
        super()._step(rows)


def test_speed_is_that_of_the_steps_where_two_losses_are_read_at_once(ended, tiny, tmp_path):
    values = {**TINY_RECIPE, "epochs": 2, "eval_steps": 2}  # a loss is read with the next, or before an evaluation
    Slow(tiny / "fp32", dataset=str(tiny / "stories.jsonl"), output_dir=str(tmp_path / "run"), **values).fit()
    (line,) = (line for line in ended[0] if line.startswith("training"))
    speed = int(re.search(r"([\d,]+) tokens/s", line)[1].replace(",", ""))
    assert 0 < speed <= values["global_batch_size"] * values["seq_len"] / 0.05


def test_generation_and_scoring_say_how_far_they_are(ended, tiny, tmp_path):
    said, progress = ended
    options = dict(output_dir=tmp_path / "made", max_length=40, batch_size=2, ban_eos=True)
    runner = GenerationRunner(str(tiny / "fp32"), "greedy", **options)
    runner.run(load_contexts([str(tiny / "stories.jsonl")], runner.codec, 6, 8, 40))
    assert re.fullmatch(r"generating:  batch 3 of 3  greedy  [\d,]+ tokens/s  under 1 s left", said.pop()), said
    condition = Condition.of("made", load_generation_sets(str(tmp_path / "made")))
    score_with_models([condition], batch_size=2, progress=progress)
    for line, side in zip(said[-2:], ("original", "generated"), strict=True):
        assert re.fullmatch(rf"\S+, {side} continuations:  text 6 of 6  [\d,]+ tokens/s  under 1 s left", line), said


def test_a_batch_of_texts_counts_while_it_is_made(tiny):
    model = AutoModelForCausalLM.from_pretrained(tiny / "fp32")
    made = []
    decode(AnyDecoder(model), torch.ones(3, 4, dtype=torch.int64), 10, [], ends=[], advance=made.append)
    assert made == [3] * 6
