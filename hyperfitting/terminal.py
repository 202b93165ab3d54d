"""What the commands say: one console, and other libraries kept quiet."""

import logging
import os
import sys
import warnings

from rich.console import Console


def quiet_libraries() -> None:
    """Keep other libraries' progress bars and start-up notes off the command line; errors still show. Call it before they
    are imported: it imports none of them, because that takes seconds and a command may not need it."""
    os.environ["HF_DATASETS_DISABLE_PROGRESS_BARS"] = os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    for name in ("accelerate", "DeepSpeed"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=FutureWarning, module="torch")


def make_console(**options) -> Console:
    """A rich console; 120 columns wide where the output is not a terminal."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else 120, **options)
