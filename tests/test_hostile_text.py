"""Texts and names that are markup, or hard to write, to somebody: through all three commands, and as text on the page."""

import json
import re
import warnings

import pytest
from conftest import TINY_RECIPE, flags
from markdown_it import MarkdownIt
from test_report import browser  # noqa: F401  a fixture

from hyperfitting.commands import generate, hyperfit, score

pytestmark = pytest.mark.slow

HOSTILE = {
    "scripts": "Ελληνικά русский 中文 العربية עברית हिन्दी ไทย 한국어",
    "bidi": "\u202eevil\u202c \u2066isolated\u2069 \u200fعربي\u061c",
    "controls": "a\0b \x1b[31mred\x1b]0;title\x07 \x7f\x85 \u2028 \r\n \x0b\x0c",
    "rich": "[/x] [bold red]b[/] [link=file:///x]l[/link] :smile: [/]",
    "mathtext": "_ $\\x{y}$ $$ \\frac{1}{",
    "markdown": "| **b** `c` [l](http://x) ![i](x) <b>d</b>\n\n# h\n- &amp;",
    "latex": "[\\\\] \\end{tabular} % & # _ ^ ~ { }",
    "html": "</script><script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\">",
    "json": '"},{"id": "c0"} \\ud800 \\u0000',
    "unicode": "\ufeff a" + "\u0301" * 9 + " 👩\u200d👩\u200d👧 \U0010ffff \ufffe e\u0301é",
}
NAME = '_$\\x{y}$ [/x] <b>|`*a*` &amp;\n#010203 url(#x) "y" é中'
FOLDER = NAME.replace("/", "")


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def folder(tiny, tmp_path_factory):
    """A run on hostile texts, two policies of what it generates, and their scores, all in folders of hostile names."""
    folder = tmp_path_factory.mktemp("hostile") / FOLDER
    folder.mkdir()
    texts = [f"{text} {n} " + "the small red boat " * 30 for n in range(4) for text in HOSTILE.values()]
    texts += ["word " * 2_000_000, "x" * 10_000_000]
    write(folder / "texts.jsonl", [{"text": text} for text in texts])
    recipe = {**TINY_RECIPE, "epochs": 1, "num_validation": 4, "probe_context_len": 48}
    made = flags(model=tiny / "fp32", dataset=folder / "texts.jsonl", output_dir=folder / "_run", **recipe)
    assert hyperfit.main(made) == 0
    made = ["--model", folder / "_run" / "final", "--contexts", f"{NAME}={folder / 'texts.jsonl'}"]
    made += ["--context_len", 48, "--max_length", 100, "--num_contexts", 42, "--batch_size", 16, "--ban_eos"]
    made += ["--policy", "greedy", "--policy", "nucleus", "--parquet", "--output_dir", folder / "made"]
    assert generate.main([str(word) for word in made]) == 0
    words = ["--train_rows", folder / "_run", "--model_scores", "--latex", "--output_dir", folder / "scores"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # such as of letters that matplotlib's font lacks
        assert score.main([f"{NAME}={folder / 'made'}", *map(str, words)]) == 0
    return folder


def records(folder):
    return [json.loads(line) for line in (folder / "made" / "generations.jsonl").read_text("utf-8").split("\n") if line]


def test_contexts_hold_what_the_texts_hold(folder):
    contexts = [record["context"] for record in records(folder)]
    for text in HOSTILE.values():
        start = text[:12]
        assert any(context.startswith(start) for context in contexts), text


def test_the_tables_are_whole(folder):
    names = [f"{NAME} greedy", f"{NAME} nucleus(p=0.9,temperature=1)", "original text"]
    facts = json.loads((folder / "scores" / "scores.json").read_text("utf-8"))
    assert [condition["name"] for condition in facts["conditions"]] == names
    tokens = MarkdownIt("commonmark").enable("table").parse((folder / "scores" / "scores.md").read_text("utf-8"))
    kinds = [token.type for token in tokens]
    rows = [tokens[i + 2].children for i, kind in enumerate(kinds) if kind == "tr_open"]
    assert kinds.count("table_open") == 2 and len(rows) == (1 + 3) + (1 + 2)
    assert {child.type for row in rows for child in row} <= {"text", "text_special"}
    shown = ["".join(child.content for child in row) for row in rows]
    assert shown[1:4] == [name.replace("\n", " ") for name in names]
    assert shown[4:] == [f"minus {names[0]}".replace("\n", " "), shown[2], shown[3]]
    latex = (folder / "scores" / "scores.tex").read_text("utf-8")
    tables = re.findall(r"\\toprule\n(.*?)\n\\bottomrule", latex, re.DOTALL)
    lines = [[line for line in table.split("\n") if line != r"\midrule"] for table in tables]
    assert [len(table) for table in lines] == [4, 3]
    assert all(len({len(re.findall(r"(?<!\\)&", line)) for line in table}) == 1 for table in lines)
    assert all(line.endswith(r" \\") and not line.startswith("[") for table in lines for line in table)


def test_the_terminal_shows_names_and_texts_and_obeys_none(folder, tmp_path, capsys):
    words = [f"{NAME}\x1b[31m={folder / 'made'}", "--metrics", "ttr", "--output_dir", str(tmp_path / FOLDER)]
    assert score.main(words) == 0
    shown = capsys.readouterr().out
    assert "\x1b" not in shown and "␛[31m" in shown and "[/x] <b>|`*a*`" in shown
    assert FOLDER.split("\n")[0] in "".join(shown.splitlines())


@pytest.mark.parametrize("text", ["x" * 10_000_000, "word " * 3000, "\0" * 1000])
def test_a_text_of_any_length(text, tmp_path):
    rows = [{"id": str(n), "context": f"c{n} {text}", "text": text, "reference": text} for n in range(2)]
    file = write(tmp_path / "long.jsonl", rows)
    metrics = ["--metrics", "length_words", "ttr_words"]
    assert score.main([str(file), *metrics, "--output_dir", str(tmp_path / "s")]) == 0
    page = (tmp_path / "s" / "report.html").read_text("utf-8")
    assert len(page) < 2_000_000 and ("The first 100,000 of 10,000,000 characters." in page) == (len(text) > 100_000)


def test_half_a_character_is_refused_with_its_line(tiny, tmp_path, capsys):
    good = {"id": "a", "text": "x", "context": "y", "reference": "z"}
    for column in good:
        rows = [good, {**good, "id": "b"} | {column: "a\ud800b"}]
        file = write(tmp_path / f"{column}.jsonl", rows)
        assert score.main([str(file), "--output_dir", str(tmp_path / "s")]) == 2
        assert f"{file}, line 2: the {column} holds half a character" in capsys.readouterr().err
    file = write(tmp_path / "half.jsonl", [{"text": "a\ud800b " * 100}] * 50)
    made = flags(model=tiny / "fp32", dataset=file, output_dir=tmp_path / "run", **TINY_RECIPE)
    assert hyperfit.main(made) == 2
    assert "half.jsonl" in capsys.readouterr().err
    assert score.main(["--output_dir", "a\udcff", "x.jsonl"]) == 2
    assert r"output_dir is not valid UTF-8: 'a\udcff'" in capsys.readouterr().err


TEXTS = """
return data.contexts.map((context, i) => {
  place = i; show();
  return [get("context").textContent, ...[...document.querySelectorAll("#pair .text")].map((p) => p.textContent)];
});"""


@pytest.mark.browser
def test_the_page_shows_it_as_text(folder, browser):  # noqa: F811
    browser.get((folder / "scores" / "report.html").as_uri())
    greedy, nucleus = ([r for r in records(folder) if r["policy"].startswith(p)] for p in ("greedy", "nucleus"))
    shown = browser.execute_script(TEXTS)
    for (context, *texts), one, other in zip(shown, greedy, nucleus, strict=True):
        assert context == f"{one['id']}: {one['context']}"
        assert texts == [one["continuation"].rstrip(), other["continuation"].rstrip()]
    assert browser.title == "Generated texts, scored"
    count = "return document.querySelectorAll('img, b, i, #texts script, td *:not(small), th *').length"
    assert browser.execute_script(count) == 0
    names = browser.execute_script("return [...document.querySelectorAll('tbody th')].map((cell) => cell.textContent)")
    assert names[0] == f"{NAME} greedy"
    legends = browser.execute_script(
        "return [...document.querySelectorAll('figure svg [id*=legend]')].map((legend) => legend.textContent)"
    )
    told = [re.sub(r"\s+", "", legend) for legend in legends]
    assert sum(re.sub(r"\s+", "", f"{NAME} greedy") in legend for legend in told) >= 3
    assert any("_run,trainingrows" in legend for legend in told)
    assert not [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
