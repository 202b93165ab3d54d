"""How near completed pictures are to true ones as a set: KID, precision and recall, on features that need no download.

The features are of small patches: their principal components, learned from the true pictures, as means and standard deviations over
a picture's patches. They see texture and colour, and no objects: numbers on them are no numbers on Inception features.
"""

import numpy as np

PATCH, STRIDE, COMPONENTS = 4, 2, 16  # pixels, pixels, principal components
NEIGHBOURS = 3  # of precision and recall (Kynkäänniemi et al. 2019, who take 3)


def patch_features(pictures: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """(n, height, width, 3) RGB -> (n, 2 * components) float64: mean and standard deviation over the patches of each component.

    Args:
        basis: (PATCH * PATCH * 3, components), see `patch_basis`.
    """
    projected = _patches(pictures) @ basis
    return np.concatenate([projected.mean(1), projected.std(1)], axis=1)


def patch_basis(pictures: np.ndarray) -> np.ndarray:
    """(PATCH * PATCH * 3, COMPONENTS) float64: the first principal directions of the pictures' patches."""
    patches = _patches(pictures)
    patches = patches.reshape(-1, patches.shape[-1])
    values, directions = np.linalg.eigh(np.cov(patches, rowvar=False))
    return directions[:, np.argsort(-values, kind="stable")[:COMPONENTS]]


def _patches(pictures: np.ndarray) -> np.ndarray:
    """(n, patches, PATCH * PATCH * 3) float64."""
    windows = np.lib.stride_tricks.sliding_window_view(pictures, (PATCH, PATCH), axis=(1, 2))[:, ::STRIDE, ::STRIDE]
    return windows.reshape(len(pictures), -1, PATCH * PATCH * 3).astype(np.float64)


def standardized(features: np.ndarray, real: np.ndarray) -> np.ndarray:
    """(n, d) features in units of the standard deviations of the `real` ones, around their mean."""
    return (features - real.mean(0)) / np.maximum(real.std(0), 1e-9)


def kid_values(made: np.ndarray, real: np.ndarray) -> np.ndarray:
    """(n,) values whose mean is the squared MMD of (n, d) features of made and real pictures, and whose spread is its error.

    KID (Bińkowski et al. 2018): the kernel (x·y / d + 1) ** 3 and an unbiased estimate, here of all pictures at once: Gretton et al.
    2012, equation 4, which leaves out pairs of one context, because such a made and real picture share their first pixels. The
    values are the estimate's jackknife pseudo-values (Efron & Tibshirani 1993, section 11.5): a bootstrap of their mean is as
    wide as one of the estimate.
    """
    n = len(made)

    def kernel(a, b):
        return (a @ b.T / a.shape[1] + 1) ** 3

    pairs = kernel(made, made) + kernel(real, real) - kernel(made, real) - kernel(real, made)
    np.fill_diagonal(pairs, 0)
    of_each = pairs.sum(1)
    estimate = of_each.sum() / (n * (n - 1))
    without = (of_each.sum() - 2 * of_each) / ((n - 1) * (n - 2))
    return n * estimate - (n - 1) * without


def precision(made: np.ndarray, real: np.ndarray) -> np.ndarray:
    """(n,) bool, of which the mean is the share of made pictures among the real ones (Kynkäänniemi et al. 2019)."""
    return share_within(made, real)


def recall(made: np.ndarray, real: np.ndarray) -> np.ndarray:
    """(n,) bool, of which the mean is the share of real pictures among the made ones (Kynkäänniemi et al. 2019)."""
    return share_within(real, made)


def share_within(points: np.ndarray, cloud: np.ndarray, neighbours: int = NEIGHBOURS) -> np.ndarray:
    """(n,) bool: whether a point lies as near to some point of the cloud as that one's `neighbours`-th neighbour there."""
    inside = _distances(cloud, cloud)
    np.fill_diagonal(inside, np.inf)  # no point is its own neighbour
    radius = np.sort(inside, axis=1)[:, neighbours - 1]
    return (_distances(points, cloud) <= radius).any(1)


def _distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(n, m) Euclidean distances."""
    return np.sqrt(((a[:, None] - b[None]) ** 2).sum(-1))
