"""Distances of pictures on features of InceptionV3: what is made of features, and, where the extra is installed, the features."""

import importlib.util
import sys

import numpy as np
import pytest
import torch
from test_picture_scores import picture_set

from hyperfitting import UserError
from hyperfitting.commands import score as score_command
from hyperfitting.records import GeneratedText, GenerationSet
from hyperfitting.scoring import Condition, inception
from hyperfitting.scoring.picture_distance import kid_values, share_within

TEXTS = GenerationSet("words", (GeneratedText("x-0", "x", "a", "b", (1,), (0,)),), "greedy", {})


def condition(*seeds, **options) -> Condition:
    return Condition("made", tuple(picture_set(np.random.default_rng(seed), 30, **options) for seed in seeds))


def means(pictures) -> tuple[np.ndarray, np.ndarray]:
    """A stand-in for InceptionV3 that anybody can check: mean colours of made and true pictures."""
    return tuple(inception._whole(pictures, flat).mean((1, 2)) for flat in (pictures.rgb, pictures.original_rgb))


def test_scores_are_those_of_the_whole_pictures_features():
    one = condition(0, 1, whole=False)
    found = inception._scores(one, means, {"weights": "sha256 0123"})
    assert list(found) == ["inception_kid", "inception_precision", "inception_recall"]
    for texts, kid, within in zip(
        one.sets, found["inception_kid"].values, found["inception_precision"].values, strict=True
    ):
        made, real = means(inception.Pictures(texts))
        assert np.isnan(kid[0]) and np.allclose(kid[1:], kid_values(made, real))
        assert within[1:].tolist() == share_within(made, real).tolist()
    assert found["inception_kid"].n == 58 and found["inception_kid"].left_out == 2
    assert "|weights:sha256 0123|" in found["inception_recall"].signature


def test_too_few_pictures_have_no_distance():
    few = Condition("few", (picture_set(np.random.default_rng(0), 3),))
    assert inception._scores(few, means, {})["inception_kid"].n == 0


def test_what_is_missing_is_said_before_anything_is_computed(tmp_path, monkeypatch, capsys):
    with pytest.raises(UserError, match="reads pictures, and 'words' holds text"):
        inception.inception_scores([Condition("words", (TEXTS,))], "none.pth")
    monkeypatch.setitem(sys.modules, "torch_fidelity", None)
    inception._import_network.cache_clear()
    words = ["nowhere", "--inception_weights", "none.pth", "--output_dir", str(tmp_path / "scores")]
    assert score_command.main(words) == 2
    assert 'need torch-fidelity: pip install --no-deps "torch-fidelity' in capsys.readouterr().err
    assert score_command.main(["nowhere", "--metrics", "inception_kd", "--output_dir", str(tmp_path / "scores")]) == 2
    assert "did you mean 'inception_kid'?" in " ".join(capsys.readouterr().err.split())


def test_the_network_is_imported_without_its_package(tmp_path, monkeypatch):
    package = tmp_path / "torch_fidelity"
    package.mkdir()
    (package / "__init__.py").write_text("import no_torchvision_here")
    (package / "base.py").write_text("")
    (package / "feature_extractor_inceptionv3.py").write_text(
        "import torch_fidelity.base\nclass FeatureExtractorInceptionV3: pass"
    )
    monkeypatch.syspath_prepend(tmp_path)
    inception._import_network.cache_clear()
    assert inception._import_network().__name__ == "FeatureExtractorInceptionV3"
    assert not [name for name in sys.modules if name.startswith("torch_fidelity")]
    inception._import_network.cache_clear()


@pytest.fixture(scope="module")
def network():
    """(class, state) of an InceptionV3 with random weights."""
    if importlib.util.find_spec("torch_fidelity") is None:
        pytest.skip(inception.INSTALL)
    network = inception._import_network()
    torch.manual_seed(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(network.__init__.__globals__, "load_state_dict_from_url", lambda *args, **kwargs: {})
        patch.setattr(network, "load_state_dict", lambda self, state: None)
        made = network("random", ["2048"])
    return made, made.state_dict()


def test_features_are_those_of_torch_fidelity(network, tmp_path):
    made, state = network
    torch.save(state, tmp_path / "weights.pth")
    pictures = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3)).astype(np.float64)
    expected = made(torch.from_numpy(pictures.astype(np.uint8)).permute(0, 3, 1, 2))[0].numpy()
    features = inception.load_extractor(str(tmp_path / "weights.pth"), batch_size=2)(pictures)
    assert features.shape == (5, 2048) and np.allclose(features, expected, atol=1e-5)
    few = Condition("few", (picture_set(np.random.default_rng(0), 5),))
    assert inception.inception_scores([few], str(tmp_path / "weights.pth"))["few"]["inception_kid"].n == 5


def test_a_file_of_other_things_is_refused_and_runs_no_code(network, tmp_path, capsys):
    class Surprise:
        def __reduce__(self):
            return print, ("code of a checkpoint has run",)

    torch.save({"fc.bias": Surprise()}, tmp_path / "code.pth")
    (tmp_path / "text.pth").write_text("no weights")
    torch.save({"fc.bias": torch.zeros(1)}, tmp_path / "other.pth")
    for name in ("code", "text", "other"):
        with pytest.raises(UserError, match=f"{name}.pth holds no weights of InceptionV3"):
            inception.load_extractor(str(tmp_path / f"{name}.pth"), 2)
    assert "has run" not in capsys.readouterr().out
    with pytest.raises(UserError, match="gone.pth is no file: fetch it once from https://"):
        inception.check_inception(str(tmp_path / "gone.pth"))
