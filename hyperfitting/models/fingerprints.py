"""What tells the weights of one model from those of another."""

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import torch
from torch import nn

from ..builtin import resolve


def model_fingerprint(model: nn.Module) -> str:
    """The fingerprint of a loaded model: that of its folder, if it was loaded without rounding. See `stored_fingerprint`."""
    kept = {name for name, _ in model.named_parameters()}  # tied weights once, as a folder holds them
    tied = {name for name, _ in model.named_parameters(remove_duplicate=False)} - kept
    return _fingerprint({name: lambda t=t: t for name, t in model.state_dict().items() if name not in tied})


def stored_fingerprint(name: str, revision: str | None = None) -> str:
    """SHA-256 (first 32 hex digits) of the name, shape and values of every tensor that a Hub model or a local folder stores.

    Values are hashed in fp32, so that neither the split into files nor the dtype of a load is in it. Reads all weights once.
    """
    with open_weights(name, revision) as files:
        return _fingerprint({key: partial(file.get_tensor, key) for file in files for key in file.keys()})


def _fingerprint(tensors: dict[str, Callable[[], torch.Tensor]]) -> str:
    def digest(name: str) -> bytes:
        tensor = tensors[name]().detach().to("cpu")
        if tensor.is_floating_point():
            tensor = tensor.float()
        head = f"{name}{tuple(tensor.shape)}".encode()
        return hashlib.sha256(head + hashlib.sha256(tensor.contiguous().view(torch.uint8).numpy()).digest()).digest()

    with ThreadPoolExecutor(4) as pool:  # hashing lets other threads run
        return hashlib.sha256(b"".join(pool.map(digest, sorted(tensors)))).hexdigest()[:32]


@contextlib.contextmanager
def open_weights(name: str, revision: str | None) -> Iterator[list]:
    """The safetensors files of a Hub model or a local folder, opened; none where its weights are stored otherwise."""
    from safetensors import safe_open

    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(safe_open(file, framework="pt")) for file in _weight_files(name, revision)]


def _weight_files(name: str, revision: str | None) -> list[str]:
    from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME, cached_file
    from transformers.utils.hub import get_checkpoint_shard_files

    where = dict(revision=revision, _raise_exceptions_for_missing_entries=False)
    whole = cached_file(resolve(name), SAFE_WEIGHTS_NAME, **where)
    if whole:
        return [whole]
    index = cached_file(resolve(name), SAFE_WEIGHTS_INDEX_NAME, **where)
    return get_checkpoint_shard_files(resolve(name), index, revision=revision)[0] if index else []
