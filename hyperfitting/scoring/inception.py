"""KID, precision and recall of completed pictures on the features that FID is computed with; they need torch-fidelity."""

import contextlib
import functools
import hashlib
import importlib.util
import pickle
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from ..errors import UserError
from .conditions import Condition
from .picture_metrics import INCEPTION_METRICS, of_whole
from .pictures import Pictures
from .scores import Score, summarize
from .signature import Signature

URL = "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth"
INSTALL = 'pip install --no-deps "torch-fidelity>=0.4,<0.5"'  # its torchvision would bring a torch of its own
FEATURES = "2048"  # torch-fidelity's name of the last pooling's
Extract = Callable[[np.ndarray], np.ndarray]  # (n, height, width, 3) RGB, 0 to 255 -> (n, 2048) float64


def inception_scores(
    conditions: Sequence[Condition],
    weights: str,
    batch_size: int = 8,
    say: Callable[[str], None] = lambda what: None,
) -> dict[str, dict[str, Score]]:
    """KID, precision and recall of each condition's pictures against the true pictures of the same contexts, given part and all.

    Args:
        weights: file of InceptionV3's weights, as torch-fidelity reads them (`URL`); the signatures hold its digest.
        batch_size: pictures in a forward pass.

    Returns:
        Condition -> metric -> score.

    Raises:
        UserError: torch-fidelity is not installed, the file is none of such weights, or a condition holds no pictures.
    """
    check_pictures(conditions)
    extract = load_extractor(weights, batch_size)
    digest = hashlib.sha256(Path(weights).read_bytes()).hexdigest()[:12]
    of_true: dict[bytes, np.ndarray] = {}

    def features(pictures: Pictures) -> tuple[np.ndarray, np.ndarray]:
        made, real = (_whole(pictures, flat) for flat in (pictures.rgb, pictures.original_rgb))
        key = real.tobytes()
        if key not in of_true:
            of_true[key] = extract(real)
        return extract(made), of_true[key]

    found: dict[str, dict[str, Score]] = {}
    for condition in conditions:
        say(f"Inception features of {condition.name}")
        found[condition.name] = _scores(condition, features, {"weights": f"sha256 {digest}"})
    return found


def _scores(condition: Condition, features: Callable, definition: dict[str, str]) -> dict[str, Score]:
    values: dict[str, list[np.ndarray]] = {metric.name: [] for metric in INCEPTION_METRICS}
    for texts in condition.sets:
        pictures = Pictures(texts)
        of_set = functools.cache(functools.partial(features, pictures))  # once for the three of them
        for metric in INCEPTION_METRICS:
            values[metric.name].append(of_whole(pictures, metric.distance, of_set))
    defined = [replace(m, definition=Signature({**m.definition.fields, **definition})) for m in INCEPTION_METRICS]
    return {metric.name: summarize(metric, values[metric.name], condition.contexts) for metric in defined}


def _whole(pictures: Pictures, flat: np.ndarray) -> np.ndarray:
    return flat[pictures.whole].reshape(-1, pictures.format.height, pictures.format.width, 3)


def check_pictures(conditions: Sequence[Condition]) -> None:
    """Raise UserError when a condition holds no pictures."""
    for condition in conditions:
        if not all("pixels" in texts.manifest for texts in condition.sets):
            raise UserError(f"--inception_weights reads pictures, and {condition.name!r} holds text: leave it out")


def check_inception(weights: str) -> None:
    """Whether there is all that pictures can be measured with, before anything is computed.

    Raises:
        UserError: torch-fidelity is not installed, or there is no such file.
    """
    _import_network()
    if not Path(weights).is_file():
        raise UserError(f"--inception_weights {weights} is no file: fetch it once from {URL}")


def load_extractor(weights: str, batch_size: int) -> Extract:
    """The features of a file of weights.

    Raises:
        UserError: as `check_inception`; the file holds other things than such weights.
    """
    check_inception(weights)
    try:
        torch.load(weights, map_location="cpu", weights_only=True)  # torch-fidelity would run what a file holds besides
        network = _import_network()("inception", [FEATURES], feature_extractor_weights_path=weights)
    except (RuntimeError, pickle.UnpicklingError, EOFError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"--inception_weights {weights} holds no weights of InceptionV3 ({reason}): see {URL}"
        ) from error
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network.to(device)

    @torch.inference_mode()
    def extract(pictures: np.ndarray) -> np.ndarray:
        pixels = torch.from_numpy(pictures.astype(np.uint8)).permute(0, 3, 1, 2)
        parts = [network(part.to(device))[0].cpu() for part in pixels.split(batch_size)]
        return torch.cat(parts).double().numpy()

    return extract


@functools.cache
def _import_network() -> type:
    try:
        with _without_what_it_imports("torch_fidelity"):
            from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    except ImportError as error:
        raise UserError(f"Inception features need torch-fidelity: {INSTALL} ({error})") from error
    return FeatureExtractorInceptionV3


@contextlib.contextmanager
def _without_what_it_imports(package: str) -> Iterator[None]:
    """Inside, modules of a package are imported and the package itself is not: torch-fidelity's asks for torchvision, which
    InceptionV3 does without, and which must be of torch's own build."""
    spec = None if package in sys.modules else importlib.util.find_spec(package)
    if spec is None:
        yield
        return
    sys.modules[package] = importlib.util.module_from_spec(spec)
    try:
        yield
    finally:
        for name in [name for name in sys.modules if name == package or name.startswith(f"{package}.")]:
            del sys.modules[name]  # or who imports all of it would find it hollow
