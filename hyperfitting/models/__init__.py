"""Causal LMs: loading them, for training and for inference, and what is asked of one before it is used."""

from .facts import (
    DTYPES,
    ModelSize,
    check_causal,
    check_vocabulary,
    check_window,
    end_ids,
    source_dtype,
    window_of,
)
from .fingerprints import (
    model_fingerprint,
    stored_fingerprint,
)
from .loading import (
    causal_lm,
    check_loads_again,
    check_stored,
    convert_to_safetensors,
    load_config,
    load_for_inference,
    load_for_training,
)
from .quiet import (
    check_no_dropout,
    disable_dropout,
    quieten,
    with_dropout_of,
)
from .saving import save_pretrained
from .ties import check_ties
from .unused import find_unused

__all__ = [
    "DTYPES",
    "ModelSize",
    "causal_lm",
    "check_causal",
    "check_loads_again",
    "check_no_dropout",
    "check_stored",
    "check_ties",
    "check_vocabulary",
    "check_window",
    "convert_to_safetensors",
    "disable_dropout",
    "end_ids",
    "find_unused",
    "load_config",
    "load_for_inference",
    "load_for_training",
    "model_fingerprint",
    "quieten",
    "save_pretrained",
    "source_dtype",
    "stored_fingerprint",
    "window_of",
    "with_dropout_of",
]
