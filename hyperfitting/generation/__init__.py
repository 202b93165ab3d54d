"""Long continuations in bulk: contexts in, records out, under decoding policies that leave nothing to a checkpoint."""

import importlib

_EXPORTS = {
    "POLICIES": "policies",
    "CitationBlocker": "citation_blocker",
    "Context": "contexts",
    "GenerationRunner": "runner",
    "Policy": "policies",
    "load_contexts": "contexts",
    "word_starts": ".codec",
}
__all__ = list(_EXPORTS)


def __getattr__(name: str):
    # Loaded at first use, as in the package above: `--help` need not wait for torch.
    if name in _EXPORTS:
        return getattr(importlib.import_module(f".{_EXPORTS[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
