"""Run a preference study: `python launch/preference.py --help`."""

import sys

from hyperfitting.commands.preference import main

if __name__ == "__main__":
    sys.exit(main())
