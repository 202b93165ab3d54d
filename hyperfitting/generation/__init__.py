"""Long continuations in bulk: contexts in, records out, under decoding policies that leave nothing to a checkpoint."""

from .citation_blocker import CitationBlocker, word_starts
from .contexts import Context, load_contexts
from .policies import POLICIES, Policy
from .runner import GenerationRunner

__all__ = ["POLICIES", "CitationBlocker", "Context", "GenerationRunner", "Policy", "load_contexts", "word_starts"]
