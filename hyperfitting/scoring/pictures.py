"""Completed pictures, and what is measured of one of them: repetition, colours, distances of pixels.

A picture is (height, width) ids of colours; `given` of its pixels, in raster order, were the context. Distances are root mean
squares of differences of RGB values, 0 to 255, over the pixels that were made.
"""

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from ..codec.pixels import PixelFormat
from ..records import GenerationSet


def made_lines(picture: np.ndarray, given: int) -> tuple[np.ndarray, np.ndarray]:
    """The lines that were made whole, and the line above each: (lines, width) twice."""
    first = max(1, -(-given // picture.shape[1]))
    return picture[first:], picture[first - 1 : -1]


def repeated_lines(picture: np.ndarray, given: int) -> float | None:
    """Share of the made lines that equal the line above, given or made; None where no line was made whole."""
    lines, above = made_lines(picture, given)
    return float((lines == above).all(1).mean()) if len(lines) else None


def column_run(picture: np.ndarray, given: int) -> float | None:
    """Mean over the columns of the longest run of one colour down the made lines, in pixels; None without one."""
    lines, _ = made_lines(picture, given)
    if not len(lines):
        return None
    longest = run = np.ones(picture.shape[1], dtype=np.int64)
    for above, line in zip(lines[:-1], lines[1:], strict=True):
        run = np.where(line == above, run + 1, 1)
        longest = np.maximum(longest, run)
    return float(longest.mean())


def top_colour(made: Sequence[int]) -> float | None:
    """Share of the most frequent colour among the made pixels; None without one."""
    return float(np.bincount(made).max() / len(made)) if len(made) else None


class Pictures:
    """A set of completed pictures, as the metrics of pictures read it.

    Attributes:
        set: the texts; format: how their ids are pictures.
        given: (n,) pixels of each that were the context.
        made: (n,) lists of ids, what was made of each.
        whole: (n,) bool, pictures that were completed.
    """

    def __init__(self, texts: GenerationSet, train_rows: Sequence[Sequence[int]] | None = None):
        self.set, self.format = texts, PixelFormat.from_json(texts.manifest["pixels"])
        self.size, self.train_rows = self.format.height * self.format.width, train_rows
        self.contexts = [self.format.pixels_of(text.context_ids) for text in texts.texts]
        self.given = np.array([len(ids) for ids in self.contexts])
        self.made = [list(text.ids) for text in texts.texts]
        self.whole = self.given + [len(ids) for ids in self.made] == self.size

    def lines(self, index: int) -> np.ndarray:
        """(height, width) ids of a picture, as many lines as are whole."""
        ids = [*self.contexts[index], *self.made[index]]
        width = self.format.width
        return np.array(ids[: len(ids) // width * width], dtype=np.int64).reshape(-1, width)

    @cached_property
    def rgb(self) -> np.ndarray:
        """(n, height * width * 3) float64; what was not made is the colour of no pixel."""
        rows = zip(self.contexts, self.made, strict=True)
        return self._flat([[*context, *made] for context, made in rows])

    @cached_property
    def original_rgb(self) -> np.ndarray:
        """(n, height * width * 3) float64: the true pictures of the contexts."""
        rows = zip(self.contexts, self.set.texts, strict=True)
        return self._flat([[*context, *text.reference_ids] for context, text in rows])

    @cached_property
    def train_rgb(self) -> np.ndarray:
        """(rows, height * width * 3) float64: the training pictures."""
        return self._flat(self.train_rows)

    def _flat(self, rows: Sequence[Sequence[int]]) -> np.ndarray:
        return np.stack([self.format.picture(row) for row in rows]).reshape(len(rows), -1).astype(np.float64)

    def errors(self) -> np.ndarray:
        """(n,) distance of what was made from the true pixels; NaN for a picture that was not completed."""
        differences = (self.rgb - self.original_rgb) ** 2
        found = [row[3 * given :].mean() ** 0.5 for row, given in zip(differences, self.given, strict=True)]
        return np.where(self.whole, found, np.nan)

    def nearest_training(self) -> np.ndarray:
        """(n,) distance of what was made from the same pixels of the nearest training picture; NaN as in `errors`."""
        found = np.full(len(self.made), np.nan)
        for given in np.unique(self.given):
            mine = self.whole & (self.given == given)
            made, train = self.rgb[mine, 3 * given :], self.train_rgb[:, 3 * given :]
            squares = (made**2).sum(1)[:, None] + (train**2).sum(1) - 2 * made @ train.T  # of whole numbers: exact
            found[mine] = (squares.min(1) / made.shape[1]) ** 0.5
        return found
