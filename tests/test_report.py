"""The report: one file without a network, and in a real browser its filter, keyboard, shading and escaping."""

import re
from pathlib import Path

import numpy as np
import pytest
from chromium import start_chromium

from hyperfitting.corpus import TrainRows
from hyperfitting.records import generation_set
from hyperfitting.report import write_report
from hyperfitting.scoring.conditions import Condition
from hyperfitting.scoring.metrics import METRICS
from hyperfitting.scoring.results import score_conditions

pytestmark = pytest.mark.slow

ATTACK = "He said <script>document.title='taken'</script> and </script><img src=x onerror=\"document.title='taken'\"> &amp; left"
ROW = list(range(500, 560))


class Words:
    """A tokenizer of words `w0 w1 …`, which is all that a report asks of one."""

    def decode(self, ids):
        return "".join(f" w{i}" for i in ids)


def record(number: int, source: str, ids: list[int], text: str | None = None) -> dict:
    text = Words().decode(ids) if text is None else text
    made = {"id": f"{source}-{number}", "source": source, "context": f"Context {number} of {source}, <b>bold</b>"}
    made["finish_reason"] = "length"
    return made | {"continuation_ids": ids, "continuation": text, "reference_ids": list(range(900, 1010))}


@pytest.fixture(scope="module")
def results():
    loops = [record(n, s, [1, 2, 3] * 40) for s in ("wiki", "news") for n in range(3)]
    varied = [record(n, s, [*range(n * 7, n * 7 + 50), *ROW[10:30], *range(200, 240)]) for s in ("wiki", "news") for n in range(3)]  # fmt: skip
    varied[0] = record(0, "wiki", varied[0]["continuation_ids"], ATTACK)
    varied[1] = record(1, "wiki", [], "")
    conditions = [Condition.of(n, [generation_set(r, n)]) for n, r in (("base", loops), ("tuned", varied))]
    return score_conditions(conditions, train=TrainRows([ROW], ["book#7"]), tokenizers=lambda texts: Words())


@pytest.fixture(scope="module")
def page(results, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(path, results)
    return path


def test_one_file_without_a_network_and_the_same_bytes_again(results, page, tmp_path):
    text = page.read_text(encoding="utf-8")
    loaded = re.findall(r"""(?:src|href)\s*=\s*["']([^"'#][^"']*)|url\((?!#)([^)]*)|@import""", text)
    assert not [found for found in loaded if any(found) and "onerror" not in "".join(found)], loaded
    write_report(tmp_path / "again.html", results)
    assert (tmp_path / "again.html").read_bytes() == page.read_bytes()


def test_what_a_model_wrote_is_no_markup_in_the_source(page):
    text = page.read_text(encoding="utf-8")
    assert "<script>document.title" not in text and "<img" not in text and "<b>bold" not in text
    assert text.count("</script>") == text.count("<script")


@pytest.fixture(scope="module")
def browser():
    driver = start_chromium("browser")
    yield driver
    driver.quit()


@pytest.fixture
def opened(browser, page):
    """The page as a person finds it, at desktop size and in light colours."""
    browser.set_window_size(1200, 900)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": "light"}]})  # fmt: skip
    browser.get(page.as_uri())
    yield browser
    # An image that was asked for would be refused by the page's policy, and say so here.
    assert not [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]


def shown(browser, selector: str) -> list[str]:
    from selenium.webdriver.common.by import By

    return [element.text for element in browser.find_elements(By.CSS_SELECTOR, selector)]


def choose(browser, name: str, text: str) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import Select

    Select(browser.find_element(By.ID, name)).select_by_visible_text(text)


@pytest.mark.browser
def test_filter_by_corpus_and_condition(opened):
    assert shown(opened, "#place") == ["1 of 6"] and shown(opened, "#pair h3") == ["base", "tuned"]
    choose(opened, "source", "news")
    assert shown(opened, "#place") == ["1 of 3"] and shown(opened, "#context")[0].startswith("news-0")
    choose(opened, "right", "original text")
    assert shown(opened, "#pair h3") == ["base", "original text"]
    choose(opened, "right", "base")
    assert shown(opened, "#pair h3") == ["base"]


@pytest.mark.browser
def test_keyboard(opened):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    body = opened.find_element(By.TAG_NAME, "body")
    body.send_keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    assert shown(opened, "#place") == ["3 of 6"]
    body.send_keys(Keys.ARROW_LEFT)
    assert shown(opened, "#place") == ["2 of 6"]
    opened.find_element(By.ID, "source").send_keys(Keys.ARROW_DOWN)  # moves the choice: wiki
    assert shown(opened, "#place") == ["1 of 3"]
    opened.find_element(By.ID, "left").send_keys(
        Keys.ARROW_RIGHT
    )  # a choice takes its own arrows, the page does not turn
    assert shown(opened, "#place") == ["1 of 3"]
    opened.execute_script("document.activeElement.blur()")
    body.send_keys(Keys.ARROW_RIGHT)
    assert shown(opened, "#place") == ["2 of 3"]
    reached = set()
    for _ in range(20):
        opened.switch_to.active_element.send_keys(Keys.TAB)
        reached.add(opened.switch_to.active_element.get_attribute("id"))
    assert {"source", "left", "right", "previous", "next"} <= reached


@pytest.mark.browser
def test_shading_and_quotations(opened):
    from selenium.webdriver.common.by import By

    opened.find_element(By.ID, "next").click()
    opened.find_element(By.ID, "next").click()
    left, right = opened.find_elements(By.CSS_SELECTOR, "#pair article")
    shades = [[s.get_attribute("class") for s in a.find_elements(By.CSS_SELECTOR, ".text span")] for a in (left, right)]
    assert shades[0][0] == "s0" and shades[0][-1] == "s9"  # three words over and over: 1 - 3 / 32
    assert {shade.split()[0] for shade in shades[1]} == {"s0"}
    colours = [a.find_elements(By.CSS_SELECTOR, ".text span")[-1].value_of_css_property("background-color") for a in (left, right)]  # fmt: skip
    red, green = ([int(x) for x in re.findall(r"\d+", colour)[:3]] for colour in colours)
    assert red[0] > red[1] and green[1] > green[0]
    quoted = right.find_elements(By.CSS_SELECTOR, ".quote")
    assert [word.text.strip() for word in quoted] == [f"w{i}" for i in ROW[10:30]]
    assert "underline" in quoted[0].value_of_css_property("text-decoration")
    assert "20 tokens of training row 0 (book#7)" in shown(opened, "#pair .source")[0]


@pytest.mark.browser
def test_what_a_model_wrote_stays_text(opened):
    from selenium.webdriver.common.by import By

    assert opened.title == "Generated texts, scored"
    text = opened.find_elements(By.CSS_SELECTOR, "#pair article")[1].find_element(By.CSS_SELECTOR, ".text").text
    assert text == ATTACK
    assert "<b>bold</b>" in shown(opened, "#context")[0]
    assert not opened.find_elements(By.CSS_SELECTOR, "#pair img, #pair script, #context b")
    opened.find_element(By.ID, "next").click()
    assert shown(opened, "#pair .note") == ["(empty)"]


@pytest.mark.browser
def test_a_telephone_and_the_dark(opened):
    opened.set_window_size(400, 800)
    opened.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {"width": 400, "height": 800, "deviceScaleFactor": 1, "mobile": True})  # fmt: skip
    assert opened.execute_script("return document.documentElement.scrollWidth") <= 400
    tops = opened.execute_script("return [...document.querySelectorAll('#pair article')].map(a => a.offsetTop)")
    assert tops[1] > tops[0]  # one below the other
    opened.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    ask = "const s = getComputedStyle(document.body); return [s.backgroundColor, s.color]"
    paper, ink = opened.execute_script(ask)
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": "dark"}]})  # fmt: skip
    dark_paper, dark_ink = opened.execute_script(ask)
    brightness = [sum(map(int, re.findall(r"\d+", colour)[:3])) for colour in (paper, ink, dark_paper, dark_ink)]
    assert brightness[0] > 700 and brightness[1] < 150 and brightness[2] < 150 and brightness[3] > 600


LONG = "tinyllama-1.1b-intermediate-step-1431k-3T_hyperfitted_seed{} nucleus(p=0.9,temperature=1)+citation_blocker"
ORDINARY = "seed_{} hyperfitted greedy+citation"
WIDTHS = {
    "headings": """
        const pen = document.createElement("canvas").getContext("2d");
        document.querySelectorAll("details").forEach((part) => { part.open = true; });
        return [...document.querySelectorAll("th")].map((cell) => {
          const style = getComputedStyle(cell);
          pen.font = style.font;
          const words = cell.textContent.split(/\\s+/).map((word) => pen.measureText(word).width);
          const room = cell.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
          return [cell.textContent, room, Math.min(Math.max(...words), pen.measureText("00000000").width)];
        });""",
    "figures": """
        return [...document.querySelectorAll("figure svg")].flatMap((svg) => {
          const frame = svg.getBoundingClientRect();
          return [...svg.querySelectorAll("text")].map((text) => [text.textContent, text.getBoundingClientRect()])
            .filter(([_, box]) => box.left < frame.left - 1 || box.right > frame.right + 1
              || box.top < frame.top - 1 || box.bottom > frame.bottom + 1).map(([words]) => words);
        });""",
}


@pytest.fixture(scope="module", params=[(LONG, 6), (ORDINARY, 6), (ORDINARY, 14)], ids=["long", "ordinary", "many"])
def wide_page(request, tmp_path_factory) -> Path:
    name, count = request.param
    rng = np.random.default_rng(0)
    conditions = []
    for index in range(count):
        rows = [record(n, s, rng.integers(0, 90, 120).tolist()) for s in ("wiki", "news") for n in range(3)]
        conditions.append(Condition.of(name.format(index), [generation_set(rows, name.format(index))]))
    path = tmp_path_factory.mktemp("wide") / "report.html"
    metrics = [name for name, metric in METRICS.items() if metric.needs != "references"]  # as wide as a table may be
    write_report(path, score_conditions(conditions, metrics=metrics, train=TrainRows([ROW], ["book#7"])))
    return path


@pytest.mark.browser
@pytest.mark.parametrize("width", [1600, 1280, 800, 400])
def test_headings_and_legends_can_be_read(browser, wide_page, width):
    size = {"width": width, "height": 1000, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get(wide_page.as_uri())
    headings = browser.execute_script(WIDTHS["headings"])
    assert len(headings) > 20 and not [found for found in headings if found[1] < found[2] - 0.5]
    assert browser.execute_script(WIDTHS["figures"]) == []
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    legend = "return [...document.querySelectorAll('figure svg [id*=legend] text')].map((text) => text.textContent)"
    assert len(browser.execute_script(legend)) >= 6 * 3
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
