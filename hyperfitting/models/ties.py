"""Weights that a config ties, such as an output layer to the embeddings, held against what a checkpoint stores.

A checkpoint whose config ties two tensors may hold both, with different values. transformers then loads it untied, except where
it sees no values (ZeRO-3) or none on some ranks (FSDP2), and a model that is built of that config again is tied. So the config is
made to say what the file holds before anything is loaded, and every strategy, final/ and whoever loads it see one model.
"""

import copy
import warnings

import torch
from torch import nn

from ..errors import UserError
from .fingerprints import open_weights


def with_true_ties(config, model_class: type | None, name: str, revision: str | None = None):
    """The config, or a copy that ties nothing where the files hold other values for a tensor that it would tie.

    Raises:
        UserError: some tied tensors are stored with other values and some not, which no config describes.
    """
    ties = getattr(model_class, "_tied_weights_keys", None)
    if not isinstance(ties, dict) or not getattr(config, "tie_word_embeddings", False):
        return config
    with open_weights(name, revision) as files:
        stored = {key: file for file in files for key in file.keys()}
        both = {target: source for target, source in ties.items() if {target, source} <= stored.keys()}
        broken = {
            target
            for target, source in both.items()
            if not _same(stored[target].get_tensor(target), stored[source].get_tensor(source))
        }
    if not broken:
        return config
    if broken != ties.keys():
        raise UserError(
            f"the config of {name!r} ties {', '.join(sorted(ties))} to other tensors, but the file holds another value of "
            f"{', '.join(sorted(broken))} alone: set tie_word_embeddings to false in config.json and store all of them"
        )
    warnings.warn(
        f"{name}: its config ties {', '.join(sorted(broken))} to the embeddings, but its file holds other values, which are the ones "
        "that are used; saved models say tie_word_embeddings: false",
        stacklevel=2,
    )
    config = copy.deepcopy(config)
    config.tie_word_embeddings = False
    return config


def _same(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one.shape == other.shape and torch.equal(one.float(), other.float())


def check_ties(model: nn.Module, name: str) -> None:
    """Refuse a model whose config ties tensors that are two in the model: built of that config again it would be another one.

    Raises:
        UserError: naming the tensors.
    """
    if not hasattr(model, "get_expanded_tied_weights_keys"):
        return
    ties = model.get_expanded_tied_weights_keys(all_submodels=True)
    get = model.get_parameter_or_buffer
    broken = [target for target, source in ties.items() if get(target) is not get(source)]
    if broken:
        raise UserError(
            f"the config of {name!r} ties {', '.join(broken)} to other tensors, but the model holds other values: set "
            "tie_word_embeddings to false in its config if those are meant, or call model.tie_weights()"
        )
