"""The metrics of pictures: what each computes of completed images, and the definition that its signature carries."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .descriptions import Description, Histogram
from .picture_distance import (
    COMPONENTS,
    NEIGHBOURS,
    PATCH,
    STRIDE,
    kid_values,
    patch_basis,
    patch_features,
    precision,
    recall,
    standardized,
)
from .pictures import Pictures, column_run, repeated_lines, top_colour
from .signature import Signature
from .text_metrics import TextMetric


def _metric(name: str, label: str, definition: dict, compute: Callable[[Pictures], np.ndarray], **more) -> TextMetric:
    return TextMetric(
        name=name, label=label, definition=Signature(definition), compute=compute, unit="pixels", words=None, **more
    )


def _of_lines(function: Callable) -> Callable[[Pictures], np.ndarray]:
    def compute(pictures: Pictures) -> np.ndarray:
        return _numbers(function(pictures.lines(i), int(given)) for i, given in enumerate(pictures.given))

    return compute


def _numbers(values) -> np.ndarray:
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def _features(pictures: Pictures) -> tuple[np.ndarray, np.ndarray]:
    """Standardized features of the made lines of all whole pictures, and of the true ones."""
    height, width, first = pictures.format.height, pictures.format.width, pictures.given.max() // pictures.format.width
    made, real = (
        flat[pictures.whole].reshape(-1, height, width, 3)[:, first:] for flat in (pictures.rgb, pictures.original_rgb)
    )
    basis = patch_basis(real)
    made, real = patch_features(made, basis), patch_features(real, basis)
    return standardized(made, real), standardized(real, real)


def of_whole(
    pictures: Pictures, function: Callable, features: Callable[[], tuple[np.ndarray, np.ndarray]]
) -> np.ndarray:
    """(n,) values of `function` on the features of whole pictures and of the true ones; NaN for those that were not completed,
    and for all where they are few."""
    found = np.full(len(pictures.made), np.nan)
    if pictures.whole.sum() > NEIGHBOURS:
        found[pictures.whole] = function(*features())
    return found


def _of_all(function: Callable) -> Callable[[Pictures], np.ndarray]:
    return lambda pictures: of_whole(pictures, function, lambda: _features(pictures))


_FEATURES = {
    "features": f"{COMPONENTS} principal components of {PATCH}x{PATCH} patches, stride {STRIDE}, mean and deviation"
}
_KID = {"kernel": "(x.y/d+1)^3", "estimate": "unbiased, all pictures", "real": "true pictures"}
_NEIGHBOURS = {"neighbours": str(NEIGHBOURS), "real": "true pictures"}
_DISTANCE = {"distance": "root mean square of RGB values, 0 to 255, over the made pixels"}

PICTURE_METRICS = [
    _metric(
        "repeated_lines",
        "repeated lines",
        {"lines": "made whole", "repeats": "equal to the line above"},
        _of_lines(repeated_lines),
        column=11,
        histogram=Histogram("Lines that equal the line above", "share of the made lines"),
    ),
    _metric(
        "column_run",
        "column run",
        {"lines": "made whole", "run": "longest of one colour down a column", "mean": "over columns, then pictures"},
        _of_lines(column_run),
        digits=1,
        column=12,
    ),
    _metric(
        "top_colour",
        "top colour",
        {"share": "of the most frequent colour"},
        lambda pictures: _numbers(map(top_colour, pictures.made)),
    ),
    _metric(
        "colours",
        "colours",
        {"distinct": "in the made pixels"},
        lambda pictures: np.array([float(len(set(made))) for made in pictures.made]),
        digits=1,
        column=13,
    ),
    _metric(
        "completion_error",
        "error",
        {**_DISTANCE, "from": "the true picture"},
        Pictures.errors,
        needs="references",
        digits=1,
        column=14,
    ),
    _metric(
        "nearest_training",
        "nearest training picture",
        {**_DISTANCE, "from": "the nearest training picture"},
        Pictures.nearest_training,
        needs="train_rows",
        digits=1,
        column=15,
        histogram=Histogram("Distance from the nearest training picture", "root mean square of RGB values", whole=True),
    ),
    _metric(
        "patch_kid",
        "KID of patches",
        {**_KID, **_FEATURES},
        _of_all(kid_values),
        needs="references",
        column=16,
    ),
    _metric(
        "patch_precision",
        "precision of patches",
        {**_NEIGHBOURS, **_FEATURES},
        _of_all(precision),
        needs="references",
        column=17,
    ),
    _metric(
        "patch_recall",
        "recall of patches",
        {**_NEIGHBOURS, **_FEATURES},
        _of_all(recall),
        needs="references",
        column=18,
    ),
]

_INCEPTION = {"features": "InceptionV3 of torch-fidelity, 2048, whole pictures"}


@dataclass(frozen=True, kw_only=True)
class InceptionMetric(Description):
    """A mean over pictures of what `distance` finds in the features of all of them; `inception` computes it."""

    distance: Callable[[np.ndarray, np.ndarray], np.ndarray]


INCEPTION_METRICS = [
    InceptionMetric(
        name=f"inception_{name}",
        label=f"{label} of Inception",
        definition=Signature({**definition, **_INCEPTION}),
        unit="pixels",
        needs="inception_weights",
        column=column,
        distance=distance,
    )
    for name, label, definition, column, distance in (
        ("kid", "KID", _KID, 19, kid_values),
        ("precision", "precision", _NEIGHBOURS, 20, precision),
        ("recall", "recall", _NEIGHBOURS, 21, recall),
    )
]
