"""Training without anything random."""

from torch import nn


def disable_dropout(model: nn.Module) -> None:
    """Set every dropout probability of `model` to 0: nn.Dropout modules, and the numbers that functional dropout reads
    from modules and configs (attention_dropout, resid_pdrop, layerdrop, …)."""
    for holder, name in _dropouts(model):
        setattr(holder, name, 0.0)


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
