"""Hyperfit a model: `accelerate launch [--config_file accelerate_configs/FILE] launch/hyperfit.py --help`."""

import sys

from hyperfitting.commands.hyperfit import main

if __name__ == "__main__":
    sys.exit(main())
