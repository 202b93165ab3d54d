"""Score generated texts: `python launch/score.py --help`; under `accelerate launch` models are shared among processes."""

import sys

from hyperfitting.commands.score import main

if __name__ == "__main__":
    sys.exit(main())
