"""launch/hyperfit.py with chunks so small that the loss of a tiny model is computed in them."""

import sys

from hyperfitting.commands.hyperfit import main
from hyperfitting.training import chunked_loss

SMALL_CHUNKS = 2**16  # bytes

if __name__ == "__main__":
    chunked_loss.CHUNK_BYTES = SMALL_CHUNKS
    sys.exit(main())
