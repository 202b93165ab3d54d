"""Parameters that training would never move, because no output for text depends on them: vision towers, unused heads."""

import contextlib
from collections.abc import Iterator

import torch
from torch import nn

from .quiet import random_states_kept


def find_unused(model: nn.Module, row: torch.Tensor) -> tuple[set[str], set[str]]:
    """(unused, sometimes): names of parameters that get no gradient from any row, such as frozen ones, and of those that get none
    from some.

    Asked of the graph of a forward pass, which holds no activations and is never run backwards. An expert that no token of the row
    was sent to is not unused: a module of a list counts as such only if no sibling of its class is used.

    Args:
        model: unprepared; under ZeRO-3, where every rank must call it, its shards are gathered a layer at a time.
        row: (1, tokens) ids, on the model's device.
    """
    frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    names = {name for name, _ in model.named_parameters()} - frozen
    by_row, by_token = (_reached(model, ids) for ids in (row, row[:, :1]))
    unused = {name for name in names - by_row if not _has_used_sibling(model, name, by_row)}
    return unused | frozen, {name for name in names - unused - by_token if _has_used_sibling(model, name, by_token)}


def _reached(model: nn.Module, ids: torch.Tensor) -> set[str]:
    was = model.training
    model.eval()
    with random_states_kept(), _shards_gathered(model), torch.enable_grad(), torch.compiler.set_stance("force_eager"):
        with torch.autograd.graph.saved_tensors_hooks(lambda tensor: None, lambda nothing: nothing):
            logits = model(input_ids=ids, use_cache=False).logits
    model.train(was)
    seen, left, leaves = set(), [logits.grad_fn], set()
    while left:
        node = left.pop()
        if node is not None and node not in seen:
            seen.add(node)
            leaves.add(id(getattr(node, "variable", None)))
            left += [following for following, _ in node.next_functions]
    return {name for name, parameter in model.named_parameters() if id(parameter) in leaves}


def _has_used_sibling(model: nn.Module, name: str, used: set[str]) -> bool:
    """Whether a parameter lies in a module of a list none of which is used, and another of its class in that list is."""
    parts = name.split(".")
    for depth in range(1, len(parts)):
        path, parent = ".".join(parts[:depth]), model.get_submodule(".".join(parts[: depth - 1]))
        if not isinstance(parent, nn.ModuleList | nn.ModuleDict) or any(n.startswith(f"{path}.") for n in used):
            continue
        siblings = (key for key, module in parent.named_children() if type(module) is type(model.get_submodule(path)))
        prefix = ".".join(parts[: depth - 1])
        if any(n.startswith(f"{prefix}.{key}.") for key in siblings for n in used):
            return True
    return False


@contextlib.contextmanager
def _shards_gathered(model: nn.Module) -> Iterator[None]:
    """Inside, ZeRO-3's shards are whole while a module runs: those of an item of a list with all that it contains, others' their own."""
    units: dict[nn.Module, list[nn.Parameter]] = {}

    def visit(module: nn.Module, within_list: bool) -> None:
        sharded = [p for p in module.parameters(recurse=within_list) if hasattr(p, "ds_id")]
        if sharded:
            units[module] = sharded
        if not within_list:
            for child in module.children():
                visit(child, isinstance(module, nn.ModuleList))

    visit(model, False)
    if not units:
        yield
        return
    from deepspeed import zero

    gathered: dict[nn.Module, zero.GatheredParameters] = {}

    def gather(module, args) -> None:
        gathered[module] = zero.GatheredParameters(units[module])
        gathered[module].__enter__()

    def release(module, args, output) -> None:
        gathered.pop(module).__exit__(None, None, None)

    handles = [module.register_forward_pre_hook(gather) for module in units]
    handles += [module.register_forward_hook(release) for module in units]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
