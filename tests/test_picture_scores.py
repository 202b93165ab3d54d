"""What is measured of completed pictures, against versions that are too slow to be wrong."""

import itertools
import json
import math
import re

import numpy as np
import pytest
from test_report import browser, shown  # noqa: F401 (a fixture)

from hyperfitting import UserError
from hyperfitting.codec.pixels import PixelFormat
from hyperfitting.records import GeneratedText, GenerationSet
from hyperfitting.report import write_report
from hyperfitting.scoring import Condition, score
from hyperfitting.scoring.picture_distance import kid_values, patch_basis, patch_features, share_within
from hyperfitting.scoring.pictures import column_run, made_lines, repeated_lines, top_colour
from hyperfitting.scoring.results import score_conditions
from hyperfitting.scoring.statistics import bootstrap_interval

HEIGHT, WIDTH, START = 8, 6, 4
COLOURS = np.array([[0, 0, 0], [255, 0, 0], [0, 200, 100], [255, 255, 255], [128, 128, 128]], dtype=np.uint8)
PIXELS = PixelFormat(HEIGHT, WIDTH, COLOURS)
GIVEN = 14  # two lines and two pixels


def random_ids(rng, count=HEIGHT * WIDTH):
    return rng.integers(0, START, count).tolist()


def picture_set(rng, n=12, name="made", whole=True, copies=()) -> GenerationSet:
    """n pictures whose first pixels were given, each with its true one; `copies` are made as others are."""
    texts = []
    for index in range(n):
        true, made = random_ids(rng), random_ids(rng)[GIVEN:]
        if index < len(copies):
            made = copies[index][-len(made) :]
        if not whole and index == 0:
            made = made[:-3]
        context = (START, *true[:GIVEN])
        texts.append(
            GeneratedText(f"x-{index}", "x", "", None, tuple(made), context, reference_ids=tuple(true[GIVEN:]))
        )
    facts = {"pixels": PIXELS.to_json(), "tokenizer_fingerprint": "t", "contexts_fingerprint": "c"}
    return GenerationSet(name, tuple(texts), "greedy", facts)


def whole_picture(text) -> np.ndarray:
    return np.array([*text.context_ids[1:], *text.ids]).reshape(HEIGHT, WIDTH)


def naive_repeats(picture, given):
    lines = [y for y in range(1, HEIGHT) if y * WIDTH >= given]
    return sum(all(picture[y][x] == picture[y - 1][x] for x in range(WIDTH)) for y in lines) / len(lines)


def naive_run(picture, given):
    lines = [y for y in range(1, HEIGHT) if y * WIDTH >= given]
    longest = []
    for x in range(WIDTH):
        runs = [len(list(group)) for _, group in itertools.groupby(picture[y][x] for y in lines)]
        longest.append(max(runs))
    return sum(longest) / WIDTH


def test_repetition_of_lines_and_down_columns():
    rng = np.random.default_rng(0)
    for given in (0, 1, 5, 6, 7, 17, 30, 42):
        picture = rng.integers(0, 2, (HEIGHT, WIDTH))
        picture[4] = picture[3]
        picture[7] = picture[6]
        assert repeated_lines(picture, given) == pytest.approx(naive_repeats(picture, given))
        assert column_run(picture, given) == pytest.approx(naive_run(picture, given))
    assert repeated_lines(picture, 43) is None and column_run(picture, 43) is None  # the last line was begun already
    lines, above = made_lines(picture, 12)
    assert np.array_equal(lines, picture[2:]) and np.array_equal(above, picture[1:-1])
    assert top_colour([3, 1, 3, 0]) == 0.5 and top_colour([]) is None


def test_scores_of_a_set_are_those_of_its_pictures():
    rng = np.random.default_rng(1)
    train = [[START, *random_ids(rng)] for _ in range(5)]
    texts = picture_set(rng, copies=train[:2])
    found = score(texts, train_rows=train)
    for name, one in {"repeated_lines": naive_repeats, "column_run": naive_run}.items():
        expected = [one(whole_picture(text), GIVEN) for text in texts.texts]
        assert found[name].values[0].tolist() == pytest.approx(expected)
    assert found["colours"].values[0].tolist() == [len(set(text.ids)) for text in texts.texts]

    def distance(a, b):
        squares = [
            (int(u) - int(v)) ** 2
            for i, j in zip(a, b, strict=True)
            for u, v in zip(COLOURS[i], COLOURS[j], strict=True)
        ]
        return math.sqrt(sum(squares) / len(squares))

    errors = [distance(text.ids, text.reference_ids) for text in texts.texts]
    assert found["completion_error"].values[0].tolist() == pytest.approx(errors)
    nearest = [min(distance(text.ids, row[1 + GIVEN :]) for row in train) for text in texts.texts]
    assert found["nearest_training"].values[0].tolist() == pytest.approx(nearest)
    assert nearest[:2] == [0, 0] and found["overlap"].values[0][:2].tolist() == [HEIGHT * WIDTH - GIVEN] * 2
    for name in ("repeated_lines", "completion_error", "patch_kid", "patch_precision"):
        assert found[name].low <= found[name].value <= found[name].high and found[name].n == 12
        assert f"metric:{name}|unit:pixels|" in found[name].signature
    assert "ttr_words" not in found and "ttr" in found


def test_a_picture_that_was_not_completed_is_left_out():
    texts = picture_set(np.random.default_rng(2), whole=False)
    found = score(texts, ["completion_error", "patch_kid", "repeated_lines", "colours"])
    assert [found[name].left_out for name in found] == [1, 1, 0, 0]
    assert found["repeated_lines"].values[0, 0] == pytest.approx(
        np.mean([np.array_equal(a, b) for a, b in zip(*made_lines(_cut(texts.texts[0]), GIVEN), strict=True)])
    )


def _cut(text):
    ids = [*text.context_ids[1:], *text.ids]
    return np.array(ids[: len(ids) // WIDTH * WIDTH]).reshape(-1, WIDTH)


def naive_kid(made, real):
    n, d = made.shape
    kernel = lambda a, b: (sum(x * y for x, y in zip(a, b, strict=True)) / d + 1) ** 3  # noqa: E731
    pairs = [(i, j) for i in range(n) for j in range(n) if i != j]
    parts = [kernel(made[i], made[j]) + kernel(real[i], real[j]) - 2 * kernel(made[i], real[j]) for i, j in pairs]
    return sum(parts) / len(parts)


def test_kid_is_the_unbiased_estimate_and_its_values_jackknife_it():
    rng = np.random.default_rng(3)
    made, real = rng.normal(0.3, 1, (9, 5)), rng.normal(0, 1.2, (9, 5))
    values = kid_values(made, real)
    assert values.mean() == pytest.approx(naive_kid(made, real))
    without = [naive_kid(np.delete(made, i, 0), np.delete(real, i, 0)) for i in range(9)]
    assert values.tolist() == pytest.approx([9 * naive_kid(made, real) - 8 * one for one in without])
    assert kid_values(real, real).tolist() == pytest.approx([0] * 9)


def test_kid_is_zero_on_average_for_pictures_of_one_kind_and_its_interval_is_as_wide_as_its_error():
    rng = np.random.default_rng(4)
    estimates, widths = [], []
    for _ in range(200):
        values = kid_values(rng.normal(0, 1, (40, 4)), rng.normal(0.4, 1, (40, 4)))
        estimates.append(values.mean())
        low, high = bootstrap_interval(values, resamples=300)
        widths.append((high - low) / 3.92)  # of a normal distribution, in standard deviations
    assert 0.8 < np.mean(widths) / np.std(estimates) < 1.3
    same = [kid_values(rng.normal(0, 1, (40, 4)), rng.normal(0, 1, (40, 4))).mean() for _ in range(200)]
    assert abs(np.mean(same)) < 4 * np.std(same) / 200**0.5  # a biased estimate would lie above


def test_precision_and_recall_are_shares_within_the_neighbourhoods():
    rng = np.random.default_rng(5)
    points, cloud = rng.normal(0, 2, (15, 3)), rng.normal(0, 1, (11, 3))
    radius = [sorted(math.dist(a, b) for b in cloud)[3] for a in cloud]  # the first is itself
    expected = [any(math.dist(p, c) <= r for c, r in zip(cloud, radius, strict=True)) for p in points]
    assert share_within(points, cloud).tolist() == expected and 0 < sum(expected) < 15


def test_patch_features_are_means_and_deviations_of_components():
    rng = np.random.default_rng(6)
    pictures = rng.integers(0, 256, (5, 8, 10, 3)).astype(float)
    basis = patch_basis(pictures)
    assert basis.shape == (48, 16) and np.allclose(basis.T @ basis, np.eye(16))
    patches = [
        np.array([p[y : y + 4, x : x + 4].transpose(2, 0, 1).ravel() for y in (0, 2, 4) for x in (0, 2, 4, 6)])
        for p in pictures
    ]
    variances = np.var(np.concatenate(patches) @ basis, axis=0)
    assert (np.diff(variances) <= 1e-6).all()
    expected = [np.concatenate([(one @ basis).mean(0), (one @ basis).std(0)]) for one in patches]
    assert np.allclose(patch_features(pictures, basis), expected)


def test_pictures_that_repeat_lines_are_farther_from_true_ones():
    rng = np.random.default_rng(7)
    texts = picture_set(rng, n=40)
    striped = [
        GeneratedText(
            t.id,
            t.source,
            "",
            None,
            tuple([*t.ids[:4], *t.ids[4:10] * 5]),
            t.context_ids,
            reference_ids=t.reference_ids,
        )
        for t in texts.texts
    ]
    alike, far = score(texts), score(GenerationSet("striped", tuple(striped), "greedy", texts.manifest))
    assert far["repeated_lines"].value == pytest.approx(0.8) and alike["repeated_lines"].value < 0.1
    assert far["patch_kid"].low > alike["patch_kid"].high
    assert far["patch_recall"].value < alike["patch_recall"].value


def test_metrics_of_pictures_need_pixels():
    texts = GenerationSet("text", (GeneratedText("1", "", "", "a b", (1, 2), (3,)),) * 1)
    with pytest.raises(UserError, match="its tokens are no pixels"):
        score(texts, ["repeated_lines"])
    assert "repeated_lines" not in score(texts)


@pytest.fixture(scope="module")
def results():
    rng = np.random.default_rng(8)
    base = picture_set(rng, name="base")
    tuned = [
        GeneratedText(
            t.id, t.source, "", None, tuple(random_ids(rng)[GIVEN:]), t.context_ids, reference_ids=t.reference_ids
        )
        for t in base.texts
    ]
    sets = [base, GenerationSet("tuned", tuple(tuned), "greedy", base.manifest)]
    return score_conditions([Condition.of(one.name, [one]) for one in sets])


def test_true_pictures_stand_beside_the_others(results):
    original = results.scored["original image"]
    assert "repeated_lines" in original and "completion_error" not in original
    assert {"repeated_lines", "completion_error", "patch_kid"} <= set(results.columns)
    assert {d.metric for d in results.differences} >= {"repeated_lines", "patch_kid"}


def test_the_report_shows_pictures_and_no_words(results, tmp_path):
    write_report(tmp_path / "report.html", results)
    page = (tmp_path / "report.html").read_text()
    data = json.loads(re.search(r'id="data">(.*?)</script>', page, re.DOTALL).group(1))
    first = results.conditions[0].first.texts[0]
    address = PIXELS.address([*first.context_ids, *first.ids])
    assert (
        data["conditions"][0]["texts"][0]["picture"] == address and page.count(address) == 2
    )  # the grid's and the browser's
    assert "img-src data:" in page and "Each word is shaded" not in page
    edge = re.search(r"--edge: ([\d.]+)%", page).group(1)
    assert float(edge) == pytest.approx(100 * 3 / HEIGHT)


@pytest.mark.browser
def test_the_browser_of_pictures(results, tmp_path, browser):  # noqa: F811
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    write_report(tmp_path / "report.html", results)
    browser.get((tmp_path / "report.html").as_uri())
    body = browser.find_element(By.TAG_NAME, "body")
    sizes = "return [...document.querySelectorAll('#pair img')].map(image => [image.naturalWidth, image.width])"
    before = browser.execute_script(sizes)
    assert [natural for natural, _ in before] == [WIDTH, WIDTH] and shown(browser, "#pair h3") == ["base", "tuned"]
    assert browser.execute_script("return document.querySelectorAll('.grid img').length") == 12 * 3
    body.send_keys("+")
    assert browser.execute_script(sizes)[0][1] > before[0][1]
    first = browser.execute_script("return document.querySelector('#pair img').src")
    body.send_keys(Keys.ARROW_RIGHT)
    assert shown(browser, "#place") == ["2 of 12"]
    assert browser.execute_script("return document.querySelector('#pair img').src") != first
    browser.set_window_size(500, 900)
    assert browser.execute_script("return document.documentElement.scrollWidth <= window.innerWidth")
    assert not [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
