"""Continue contexts in bulk: `accelerate launch [--config_file FILE] launch/generate.py --help`."""

import sys

from hyperfitting.commands.generate import main

if __name__ == "__main__":
    sys.exit(main())
