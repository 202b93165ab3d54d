"""What comes with the package: a model and texts, which names that begin with `builtin/` mean, recipes and accelerate configs."""

import contextlib
from pathlib import Path

from .errors import UserError, broken_torchvision
from .options import nearest

ASSETS = Path(__file__).parent / "assets"
RECIPES = ASSETS / "recipes"  # a link to launch/recipes/ in the repository, where the files are, a copy in a wheel
ACCELERATE_CONFIGS = ASSETS / "accelerate_configs"  # likewise
BUILTIN = {
    "builtin/base_model": ASSETS / "base_model",
    "builtin/stories": ASSETS / "stories.jsonl",
    "builtin/held_out_stories": ASSETS / "held_out_stories.jsonl",
    "builtin/held_out_encyclopedia": ASSETS / "held_out_encyclopedia.jsonl",
    "builtin/held_out_news": ASSETS / "held_out_news.jsonl",
}


def resolve(name: str) -> str:
    """The path of a built-in model or text file; any other name as it is.

    Raises:
        UserError: nothing built-in has this name.
    """
    if name.startswith("builtin/") and name not in BUILTIN and not Path(name).exists():
        raise UserError(f"nothing built-in is called {name!r}{nearest(name, BUILTIN)} (there are {', '.join(BUILTIN)})")
    return str(BUILTIN.get(name, name))


@contextlib.contextmanager
def explained(name: str, flag: str):
    """Turn what transformers says of a Hub id or folder that cannot be loaded into a UserError that names the flag."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # whatever a loader raises: no file, damaged weights, a missing library
        if problem := broken_torchvision():
            raise UserError(problem) from error
        raise UserError(_cannot_be_loaded(name, flag, error)) from error


def _cannot_be_loaded(name: str, flag: str, error: Exception) -> str:
    path, reason = Path(resolve(name)), " ".join(str(error).split())[:400]
    if path.exists():
        return (
            f"{flag} {name!r} cannot be loaded: a file in it is damaged, missing or unknown to transformers ({reason})"
        )
    if path.is_absolute() or name.startswith((".", "~")) or len(path.parts) > 2:  # what no Hub id looks like
        return f"{flag} {name!r} cannot be loaded: there is no such folder"
    return f"{name!r} cannot be loaded: give {flag} a local folder, or a Hub id that this machine can reach ({reason})"
