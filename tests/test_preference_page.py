"""The page in real Chromium: two annotators, practice, keyboard, phone, another device, a killed server, and all bytes that came."""

import json
import re
import time
from pathlib import Path

import pytest
from chromium import start_chromium
from served import serving
from small_study import HIDDEN, small_study

from hyperfitting.commands import preference_export, preference_import
from hyperfitting.preference import page
from hyperfitting.preference.study import Study

pytestmark = [pytest.mark.slow, pytest.mark.browser]
PRACTICE = len((Path(page.__file__).parent / "practice.jsonl").read_text().splitlines())


@pytest.fixture(scope="module")
def browser():
    driver = start_chromium("browser", "performance")
    driver.set_window_size(1280, 900)
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """(study, server) of the tests that need no options and no restart of their own; each has annotators of its own."""
    study = small_study(tmp_path_factory.mktemp("served") / "study", annotators=5)
    with serving(study.folder, "--completion_code", "C0DE", "--comments") as server:
        yield study, server


def sides(study, annotator):
    return [vote.side for vote in study.votes() if vote.annotator == annotator]


@pytest.fixture(autouse=True)
def fresh(request):
    """Every test finds one empty tab at desktop size, and leaves no error of the page or its policy in the log."""
    driver = request.getfixturevalue("browser")
    driver.switch_to.new_window("tab")
    kept = driver.current_window_handle
    for handle in driver.window_handles:
        if handle != kept:
            driver.switch_to.window(handle)
            driver.close()
    driver.switch_to.window(kept)
    for kind in ("browser", "performance"):
        driver.get_log(kind)
    yield
    severe = [entry["message"] for entry in driver.get_log("browser") if entry["level"] == "SEVERE"]
    assert not [line for line in severe if "ERR_CONNECTION" not in line and "422" not in line]


def until(true, seconds=20):
    """What `true` returns once it is true."""
    deadline = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.05)
    return found


def text(browser, name):
    return browser.execute_script(
        "const e = document.getElementById(arguments[0]); return e.checkVisibility() ? e.innerText : ''", name
    )


def press(browser, *keys):
    from selenium.webdriver.common.action_chains import ActionChains

    for key in keys:
        ActionChains(browser).send_keys(key).perform()


def enter(browser):
    from selenium.webdriver.common.keys import Keys

    press(browser, Keys.ENTER)


def agree(browser, link):
    browser.get(link)
    until(lambda: text(browser, "consent"))
    browser.find_element("id", "agree").click()
    browser.find_element("id", "start").click()


def answer(browser, key, place):
    """Answer what is shown with the keyboard alone."""
    until(lambda: text(browser, "place") == place)
    press(browser, key)
    enter(browser)


def practise(browser):
    for number in range(1, PRACTICE + 1):
        answer(browser, "1", f"Practice {number} of {PRACTICE}")
        assert until(lambda: text(browser, "feedback"))
        enter(browser)


def link(server, study, number):
    return f"{server.url}#{study.annotators()[number].secret}"


def test_two_annotators_side_by_side_practice_and_keyboard(browser, served):
    study, server = served
    first = browser.current_window_handle
    agree(browser, link(server, study, 0))
    answer(browser, "1", f"Practice 1 of {PRACTICE}")
    assert until(lambda: text(browser, "feedback")).startswith("Most people agree. ")
    enter(browser)
    answer(browser, "1", f"Practice 2 of {PRACTICE}")
    assert until(lambda: text(browser, "feedback")).startswith("Most people choose B here. ")
    enter(browser)
    answer(browser, "3", f"Practice 3 of {PRACTICE}")
    assert text(browser, "feedback").endswith("From here on your answers count.")
    enter(browser)
    until(lambda: text(browser, "place") == "Pair 1 of 7")
    enter(browser)  # without a choice
    assert text(browser, "status") == "Please choose one of the answers first." and not study.votes()
    browser.switch_to.new_window("tab")
    second = browser.current_window_handle
    agree(browser, link(server, study, 1))
    practise(browser)
    keys = {first: "1231231", second: "3213213"}
    for number in range(1, 8):
        for window in (first, second):
            browser.switch_to.window(window)
            answer(browser, keys[window][number - 1], f"Pair {number} of 7")
            until(lambda count=2 * number - (window == first): len(study.votes()) == count)
    assert "all 7 pairs" in until(lambda: text(browser, "end-text")) and "C0DE" in text(browser, "code")
    assert not text(browser, "link") and browser.title == "Which text is better?"  # the script in a text did not run
    letters = str.maketrans("123", "ABt")
    for annotator, window in enumerate((first, second)):
        assert "".join(side[0] for side in sides(study, annotator)) == keys[window].translate(letters)
    assert all(0 <= vote.seconds < 60 for vote in study.votes())


def test_another_device_with_the_same_link_goes_on_where_the_first_was(browser, served):
    study, server = served
    agree(browser, link(server, study, 2))
    practise(browser)
    answer(browser, "1", "Pair 1 of 7")
    until(lambda: text(browser, "place") == "Pair 2 of 7")
    other = start_chromium()
    try:
        other.get(link(server, study, 2))
        answer(other, "2", "Pair 2 of 7")  # no consent and no practice again
        until(lambda: text(other, "place") == "Pair 3 of 7")
    finally:
        other.quit()
    answer(browser, "3", "Pair 2 of 7")  # which has a vote by now
    assert "that answer stays" in until(lambda: text(browser, "status"))
    until(lambda: text(browser, "place") == "Pair 3 of 7")
    assert sides(study, 2) == ["A", "B"]


def test_a_server_killed_in_the_middle_costs_no_vote(browser, tmp_path):
    study = small_study(tmp_path / "study")
    with serving(study.folder) as server:
        agree(browser, link(server, study, 0))
        practise(browser)
        answer(browser, "1", "Pair 1 of 7")
        until(lambda: text(browser, "place") == "Pair 2 of 7")
        server.kill()
        answer(browser, "2", "Pair 2 of 7")
        assert "Your answer is kept here" in until(lambda: text(browser, "status"))
        assert text(browser, "place") == "Pair 2 of 7" and not browser.find_element("id", "next").is_enabled()
    with serving(study.folder, port=server.port):
        until(lambda: text(browser, "place") == "Pair 3 of 7", 40)  # it came through by itself
        for number, key in enumerate("31231", 3):
            answer(browser, key, f"Pair {number} of 7")
        until(lambda: text(browser, "end-text"))
    assert [vote.side for vote in study.votes()] == ["A", "B", "tie", "A", "B", "tie", "A"]


def bodies(browser):
    """(addresses, bytes of all answers and of what was sent) of the performance log so far."""
    addresses, found = set(), []
    for entry in browser.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        found.append(json.dumps(message.get("params", {}).get("response", {})))
        if message["method"] == "Network.requestWillBeSent":
            addresses.add(message["params"]["request"]["url"])
            found.append(json.dumps(message["params"]["request"]))
        if message["method"] == "Network.loadingFinished":
            try:
                found.append(
                    browser.execute_cdp_cmd("Network.getResponseBody", {"requestId": message["params"]["requestId"]})[
                        "body"
                    ]
                )
            except Exception as error:
                assert "No data found" in str(error) or "No resource" in str(error), (
                    error
                )  # a preflight, or the browser's own
    return addresses, "\n".join(found).lower()


def test_all_bytes_that_reached_chromium_and_the_same_markup_on_both_sides(browser, served):
    study, server = served
    agree(browser, link(server, study, 3))
    practise(browser)
    markup, sizes = set(), set()
    for number in range(1, 8):
        until(lambda number=number: text(browser, "place") == f"Pair {number} of 7")
        for side in "ab":
            html = browser.execute_script(
                "const one = document.getElementById(arguments[0]).parentElement, copy = one.cloneNode(true);"
                "copy.querySelector('p').textContent = ''; return copy.outerHTML",
                side,
            )
            markup.add(html.replace(f'id="{side}"', "").replace(f"name-{side}", "").replace(f">{side.upper()}<", "><"))
        both = [browser.find_element("id", side).find_element("xpath", "..").size for side in "ab"]
        sizes |= {both[0] == both[1]}
        press(browser, "1")
        enter(browser)
    until(lambda: text(browser, "end-text"))
    addresses, everything = bodies(browser)
    assert len(markup) == 1 and sizes == {True}
    everything += browser.page_source.lower()
    assert "of the other kind goes on here" in everything and '"choice":"a"' in everything.replace(
        "\\", ""
    )  # it holds what came and went
    assert (
        not [name for name in HIDDEN if name in everything] and study.annotators()[1].secret.lower() not in everything
    )
    assert {address.split("/")[2] for address in addresses if not address.startswith(("data:", "chrome"))} == {
        f"127.0.0.1:{server.port}"
    }
    shown = re.findall(r'"assignment":"([\w-]{32})"', everything.replace("\\", ""))
    assert len(set(shown)) == 7


def test_phone_width_five_points_and_comments(browser, tmp_path):
    study = small_study(tmp_path / "study")
    with serving(study.folder, "--five_point", "--comments", "--break_every", 3) as server:
        agree(browser, link(server, study, 0))
        practise(browser)
        try:
            for number in range(1, 8):
                until(lambda number=number: text(browser, "place") == f"Pair {number} of 7")
                for width in (400, 800):
                    screen = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
                    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
                    wide, boxes = browser.execute_script(
                        "return [document.documentElement.scrollWidth, ['a', 'b'].map((id) => "
                        "document.getElementById(id).getBoundingClientRect().left)]"
                    )
                    assert wide <= width and (boxes[0] == boxes[1]) == (width == 400)
                browser.find_element("css selector", "#remark summary").click()
                comment = browser.find_element("id", "comment")
                comment.send_keys("12 words")  # keys of a comment choose nothing
                assert not browser.find_elements("css selector", "#choices input:checked")
                browser.find_elements("css selector", "#choices label")[number % 5].click()
                browser.find_element("id", "next").click()
                if number in (3, 6):
                    assert f"{number} of 7" in until(lambda: text(browser, "pause-text"))
                    browser.find_element("id", "continue").click()
        finally:
            browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        until(lambda: text(browser, "end-text"))
    wanted = [("A", 2), ("A", 1), ("tie", None), ("B", 1), ("B", 2)]
    assert [(v.side, v.strength) for v in study.votes()] == [wanted[n % 5] for n in range(1, 8)]
    assert {vote.comment for vote in study.votes()} == {"12 words"}


def test_a_screen_reader_finds_names_and_is_led_on(browser, served):
    study, server = served
    agree(browser, link(server, study, 4))
    until(lambda: text(browser, "place"))
    assert browser.switch_to.active_element.get_attribute("id") == "place"
    tree = browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    named = {
        (node["role"]["value"], node.get("name", {}).get("value", ""))
        for node in tree
        if not node["ignored"] and "role" in node
    }
    for wanted in (
        *(("radio", name) for name in ("A", "B", "Equally good")),
        *(("article", name) for name in "AB"),
        ("group", "Which goes on better?"),
        ("button", "Next"),
        ("progressbar", f"Practice 1 of {PRACTICE}"),
    ):
        assert wanted in named, (wanted, sorted(named))
    reached = set()
    for _ in range(8):
        press(browser, "\ue004")
        reached.add(browser.switch_to.active_element.get_attribute("id") or browser.switch_to.active_element.tag_name)
    assert {"input", "next", "summary"} <= reached
    live = browser.execute_script(
        "return [document.querySelector('#status').ariaLive, document.querySelector('#feedback').role]"
    )
    assert live == ["polite", "alert"]


def test_a_prolific_participant_registers_and_gets_the_code(browser, tmp_path):
    study = small_study(tmp_path / "study", contexts=1)
    with serving(study.folder, "--register", 1, "--completion_code", "C&1") as server:
        agree(browser, f"{server.url}?PROLIFIC_PID=abc123")
        practise(browser)
        for number in (1, 2):
            answer(browser, "3", f"Pair {number} of 2")
        assert "C&1" in until(lambda: text(browser, "code"))
        anchor = browser.find_element("css selector", "#link a")
        assert anchor.get_attribute("href") == "https://app.prolific.com/submissions/complete?cc=C%261"
        assert browser.current_url.endswith(f"#{study.annotators()[1].secret}")
        browser.get(server.url)  # without a link or an id: the one place is taken
        until(lambda: text(browser, "consent"))
        browser.find_element("id", "agree").click()
        browser.find_element("id", "start").click()
        assert "places of this study are taken" in until(lambda: text(browser, "status"))
    assert study.annotators()[1].external == "abc123"


def test_the_page_as_a_file(browser, tmp_path, capsys):
    study = small_study(tmp_path / "study")
    assert preference_export.main([str(study.folder), "--format", "html", "--output_dir", str(tmp_path / "out")]) == 0
    file = (tmp_path / "out" / "annotator-02.html").as_uri()
    browser.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)})
    agree(browser, file)
    practise(browser)
    for number in range(1, 4):
        answer(browser, str(number), f"Pair {number} of 7")
    until(lambda: text(browser, "place") == "Pair 4 of 7")
    browser.find_element("css selector", "#save button").click()
    back = tmp_path / "votes-annotator-02.json"
    until(back.exists)
    browser.get(file)  # closed and opened again
    for number in range(4, 8):
        answer(browser, "1", f"Pair {number} of 7")
    assert "Save your answers" in until(lambda: text(browser, "end-text"))
    assert preference_import.main([str(study.folder), str(back)]) == 0 and "3 votes stored" in capsys.readouterr().out
    back.unlink()
    browser.find_element("css selector", "#save button").click()
    until(back.exists)
    assert preference_import.main([str(study.folder), str(back)]) == 0
    assert "4 votes stored, 3 were there already, 0 differ" in capsys.readouterr().out
    votes = Study(study.folder).votes()
    assert [vote.side for vote in votes] == ["A", "B", "tie", "A", "A", "A", "A"] and {
        vote.annotator for vote in votes
    } == {1}


def contrast(one, other):
    """WCAG 2's ratio of two colours #rrggbb."""

    def light(colour):
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((light(one), light(other)))
    return (high + 0.05) / (low + 0.05)


def test_contrast_in_light_and_dark():
    style = (Path(page.__file__).parent / "page.css").read_text()
    themes = [
        dict(re.findall(r"--(\w+): (#\w{6})", block)) for block in re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    ]
    assert len(themes) == 2
    for theme in themes:
        for ink, paper in (
            ("ink", "paper"),
            ("faint", "paper"),
            ("ink", "panel"),
            ("ink", "chosen"),
            ("faint", "chosen"),
            ("paper", "focus"),
        ):
            assert contrast(theme[ink], theme[paper]) >= 4.5, (ink, paper)
        assert contrast(theme["rule"], theme["paper"]) >= 3 and contrast(theme["focus"], theme["paper"]) >= 3
