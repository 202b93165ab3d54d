"""The model and texts that come with the package; names that begin with `builtin/` mean them."""

from pathlib import Path

ASSETS = Path(__file__).parent / "assets"
BUILTIN = {
    "builtin/base_model": ASSETS / "base_model",
    "builtin/stories": ASSETS / "stories.jsonl",
    "builtin/held_out_stories": ASSETS / "held_out_stories.jsonl",
    "builtin/held_out_encyclopedia": ASSETS / "held_out_encyclopedia.jsonl",
    "builtin/held_out_news": ASSETS / "held_out_news.jsonl",
}


def resolve(name: str) -> str:
    """The path of a built-in model or text file; any other name as it is."""
    return str(BUILTIN.get(name, name))
