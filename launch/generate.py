"""Continue contexts in bulk: `accelerate launch [--config_file FILE] launch/generate.py --help`."""

import sys

from hyperfitting.generation.cli import main

if __name__ == "__main__":
    sys.exit(main())
