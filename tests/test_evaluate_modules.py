"""Every metric as a local `evaluate` module, without a network."""

import socket

import numpy as np
import pytest

from hyperfitting.errors import UserError
from hyperfitting.scoring import EVALUATE_MODULE
from hyperfitting.scoring.metrics import METRICS, WORDS
from hyperfitting.scoring.scores import score

RNG = np.random.default_rng(0)
TEXTS = [*(RNG.integers(0, 9, length).tolist() for length in (120, 100, 40, 0)), [1, 2, 3, 4] * 30]
TRUE = [RNG.integers(0, 9, 30).tolist() for _ in TEXTS]
ROWS = [RNG.integers(0, 9, 50).tolist() for _ in range(3)]
WORDED = [" ".join(f"w{i}" for i in text) for text in TEXTS]


@pytest.fixture(scope="module")
def evaluate(tmp_path_factory):
    """The library offline, with caches of its own; a connection to anywhere fails the test."""

    def refuse(*_):
        raise AssertionError("a module asked the network")

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_EVALUATE_OFFLINE", "1")
        for cache in ("HF_MODULES_CACHE", "HF_METRICS_CACHE", "HF_EVALUATE_CACHE"):
            patch.setenv(cache, str(tmp_path_factory.mktemp(cache)))
        patch.setattr(socket.socket, "connect", refuse)
        import evaluate

        yield evaluate


def expected(name):
    records = [{"token_ids": t, "text": w, "reference_ids": r} for t, w, r in zip(TEXTS, WORDED, TRUE, strict=True)]
    return score(records, [name], ROWS)[name]


def same(result, name, found):
    assert result[name] == found.value
    assert result[f"{name}_ci"] == [found.low, found.high]
    assert (result[f"{name}_n"], result[f"{name}_left_out"]) == (found.n, found.left_out)
    assert result[f"{name}_signature"] == found.signature


@pytest.mark.parametrize("name", [name for name in METRICS if name != "eos_rate"])
def test_a_module_computes_what_score_does(evaluate, name):
    module = evaluate.load(EVALUATE_MODULE, name)
    references = {"references": TRUE} if name == "reference_bleu_4" else {}
    rows = {"train_rows": ROWS} if METRICS[name].needs == "train_rows" else {}
    result = module.compute(predictions=TEXTS, **references, **rows)
    same(result, name, expected(name))
    assert len(result) == 5


@pytest.mark.parametrize("name", WORDS)
def test_strings_are_split_into_words(evaluate, name):
    result = evaluate.load(EVALUATE_MODULE, name).compute(predictions=WORDED)
    same(result, name, expected(name))
    assert result[name] == expected(name.removesuffix("_words")).value


def test_batches_add_up(evaluate):
    module = evaluate.load(EVALUATE_MODULE, "reference_bleu_4")
    module.add_batch(predictions=TEXTS[:2], references=TRUE[:2])
    module.add(prediction=TEXTS[2], reference=TRUE[2])
    module.add_batch(predictions=TEXTS[3:], references=TRUE[3:])
    same(module.compute(), "reference_bleu_4", expected("reference_bleu_4"))
    same(module.compute(predictions=TEXTS, references=TRUE), "reference_bleu_4", expected("reference_bleu_4"))


def test_modules_combine(evaluate):
    names = ["ttr", "rep_4", "self_bleu_4", "overlap", "dataset_bleu_4", "reference_bleu_4"]
    combined = evaluate.combine([evaluate.load(EVALUATE_MODULE, name) for name in names])
    whole = combined.compute(predictions=TEXTS, references=TRUE, train_rows=ROWS)
    assert len(whole) == 5 * len(names)
    combined.add_batch(predictions=TEXTS[:2], references=TRUE[:2])
    combined.add_batch(predictions=TEXTS[2:], references=TRUE[2:])
    assert combined.compute(train_rows=ROWS) == whole
    for name in names:
        same(whole, name, expected(name))


def test_what_a_module_refuses(evaluate):
    with pytest.raises(UserError, match="say which metric, evaluate.load"):
        evaluate.load(EVALUATE_MODULE)
    with pytest.raises(UserError, match="unknown metric 'rep4', did you mean 'rep_4'"):
        evaluate.load(EVALUATE_MODULE, "rep4")
    with pytest.raises(UserError, match="finish reasons, which predictions do not hold: use scoring.score"):
        evaluate.load(EVALUATE_MODULE, "eos_rate")
    with pytest.raises(UserError, match="needs the training rows"):
        evaluate.load(EVALUATE_MODULE, "overlap").compute(predictions=TEXTS)
    with pytest.raises(ValueError, match="Got a string but expected a list"):
        evaluate.load(EVALUATE_MODULE, "ttr").compute(predictions=WORDED)
