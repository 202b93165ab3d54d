"""Training without anything random: what is trained is the function that generates."""

import contextlib
import copy
import pickle
import random
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import nn

from ..errors import UserError

SAME = 1e-3  # relative; kernels of training and of inference may round differently


def disable_dropout(model: nn.Module) -> None:
    """Set every dropout probability of `model` to 0: nn.Dropout modules, and the numbers that functional dropout reads
    from modules and configs (attention_dropout, resid_pdrop, layerdrop, …)."""
    for holder, name in _dropouts(model):
        setattr(holder, name, 0.0)


def with_dropout_of(config, source):
    """A copy of `config` with the dropout settings of `source`, the config of the same model before `disable_dropout`."""
    restored, source = copy.deepcopy(config), source.get_text_config() if type(source) is not type(config) else source
    for name, value in vars(source).items():
        if "drop" in name.lower() and hasattr(restored, name):
            setattr(restored, name, value)
    return restored


def check_no_dropout(model: nn.Module) -> None:
    """Assert what `disable_dropout` did."""
    left = [f"{type(holder).__name__}.{name}" for holder, name in _dropouts(model)]
    assert not left, f"dropout is still on: {', '.join(left)}"


def _dropouts(model: nn.Module):
    """(holder, attribute) of every dropout probability above 0."""
    holders = [*model.modules(), *{id(m.config): m.config for m in model.modules() if hasattr(m, "config")}.values()]
    for holder in holders:
        for name, value in list(vars(holder).items()):
            named = "drop" in name.lower() or (isinstance(holder, nn.modules.dropout._DropoutNd) and name == "p")
            if named and isinstance(value, int | float) and not isinstance(value, bool) and value > 0:
                yield holder, name


def quieten(
    model: nn.Module, inner: nn.Module, row: torch.Tensor, name: str, agree: Callable[[bool], bool] = bool
) -> list[str]:
    """Make a training pass compute what inference computes, by keeping in evaluation mode the kinds of modules that sample, add
    noise or keep statistics in training mode alone, such as routers of experts. Numbers such as `router_jitter_noise` are left as
    they are: some models read them in inference too.

    Passes are compared with all random states put back and all buffers as before. Every rank must call it.

    Args:
        model: as it is called in training; inner: without wrappers, its dropout off.
        row: (1, tokens) ids.
        agree: whether one rank's answer is true of any rank; collective.

    Returns:
        Names of the classes that are kept in evaluation mode.

    Raises:
        UserError: one pass is random in evaluation mode too, or training differs and no class of modules is the reason.
    """
    expected, always_drawn = _logits(model, inner, row, training=False)
    again, _ = _logits(model, inner, row, training=False, seed=1)
    noise, close = float((again - expected).abs().max()), SAME * float(expected.abs().max())
    if agree(always_drawn and noise > close):
        raise UserError(
            f"{name!r} ({type(inner).__name__}) is random in inference too: two passes of one row differ, so neither its losses nor "
            "its texts could be repeated; give --model another model"
        )

    def differs(held: list[type]) -> bool:
        with _held(inner, held):
            logits, drawn = _logits(model, inner, row, training=True)
        # Kernels of a GPU may add in another order each time, which is what `noise` then is.
        far = float((logits - expected).abs().max()) > max(close, 10 * noise)
        return agree(far or (drawn and not always_drawn))

    if not differs([]):
        return []
    kinds = sorted({type(module) for module in inner.modules()}, key=lambda kind: kind.__qualname__)
    if differs(kinds):
        raise UserError(
            f"{name!r} ({type(inner).__name__}) draws random numbers in training, or computes something else than in inference, and its "
            "evaluation mode does not end it: give --model another model"
        )
    needed = list(kinds)
    for kind in kinds:
        without = [other for other in needed if other is not kind]
        if not differs(without):
            needed = without
    for module in inner.modules():
        if type(module) in needed:
            _hold(module)
    return [kind.__name__ for kind in needed]


def _logits(
    model: nn.Module, inner: nn.Module, row: torch.Tensor, training: bool, seed: int = 0
) -> tuple[torch.Tensor, bool]:
    """fp32 logits of a pass without gradient, and whether it drew random numbers; the model is as before."""
    was, buffers = inner.training, [(buffer, buffer.clone()) for buffer in inner.buffers()]
    with torch.no_grad(), random_states_kept() as states, torch.compiler.set_stance("force_eager"):
        model.train(training)
        torch.manual_seed(seed), random.seed(seed), np.random.seed(seed)
        before = states()
        try:
            logits = model(input_ids=row, use_cache=False).logits
        except ValueError as error:  # such as of Reformer, which is trained on rows of one length alone
            mode = "training" if training else "inference"
            raise UserError(
                f"{type(inner).__name__} refuses rows of {row.shape[1]} tokens in {mode}: {error}"
            ) from error
        logits = logits.float().nan_to_num(0, 0, 0)  # -inf - -inf is no number
        drawn = states() != before
        for buffer, value in buffers:
            buffer.copy_(value)
    model.train(was)
    return logits, drawn


@contextlib.contextmanager
def random_states_kept() -> Iterator[Callable[[], tuple]]:
    """Inside, what is drawn changes nothing outside. Yields a function that gives all states of this process's generators."""

    def states() -> tuple:
        devices = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
        tensors = [torch.get_rng_state(), *devices]
        return [state.numpy().tobytes() for state in tensors], random.getstate(), pickle.dumps(np.random.get_state())

    of_python, of_numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng():
        try:
            yield states
        finally:
            random.setstate(of_python)
            np.random.set_state(of_numpy)


@contextlib.contextmanager
def _held(model: nn.Module, kinds: list[type]) -> Iterator[None]:
    """Inside, modules of these kinds are in evaluation mode whatever the model is in."""
    modules = {module: module.training for module in model.modules() if type(module) in kinds}
    for module in modules:
        _hold(module)
    try:
        yield
    finally:
        for module, training in modules.items():
            del module.train
            module.training = training


def _hold(module: nn.Module) -> None:
    """Keep a module, and not what it contains, in evaluation mode."""

    def train(mode: bool = True) -> nn.Module:
        type(module).train(module, mode)
        module.training = False
        return module

    module.train = train
    module.training = False
