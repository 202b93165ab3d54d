"""`hyperfitting preference` from generations to tables, with a scripted stand-in for people."""

import json
import random
import sqlite3
import sys

import pytest
from conftest import run

from hyperfitting.commands.main import main
from hyperfitting.commands.preference_build import BuildOptions
from hyperfitting.files import lock_folder
from hyperfitting.preference.agreement import counts_of
from hyperfitting.preference.annotators import pace
from hyperfitting.preference.pairs import SHUFFLED
from hyperfitting.preference.study import Study
from hyperfitting.preference.table import tabulate

pytestmark = pytest.mark.slow
WORDS = "the a small old red boat dog girl king tree ran slept found lost sang over under with near and then soon house".split()
CONTEXTS = 36


def write_generations(folder, name, looping, seed, references=True):
    """Texts of which a share says the same dozen words again and again; the original never does."""
    rng = random.Random(seed)
    with open(folder / f"{name}.jsonl", "w") as lines:
        for number in range(CONTEXTS):
            fixed = random.Random(number)
            original = " ".join(fixed.choice(WORDS) for _ in range(90))
            fresh = [rng.choice(WORDS) for _ in range(90)]
            row = {
                "id": f"c{number}",
                "source": ("wiki", "news")[number % 2],
                "context": f"Story {number} of the old house.",
            }
            row["text"] = "And  so " + " ".join((fresh[:12] * 8)[:90] if rng.random() < looping else fresh)
            lines.write(json.dumps(row | ({"reference": original} if references else {})) + "\n")


class AvoidsRepetition:
    """A scripted annotator, a test's stand-in for a person: likes what repeats fewer of its pairs of words, with some noise of its
    own; knows a shuffled text when it sees one."""

    def __init__(self, number: int, careless: bool = False):
        self.rng, self.careless = random.Random(f"annotator {number}"), careless
        self.zone = 0.04 * self.rng.random()

    def vote(self, item, shuffled: set[str]) -> str:
        if not self.careless and {item.a, item.b} & shuffled:
            return "B" if item.a in shuffled else "A"
        if self.careless:
            return self.rng.choice(["A", "B"])
        worse = self.repetition(item.a) - self.repetition(item.b) + self.rng.gauss(0, 0.05)
        return "tie" if abs(worse) < self.zone else ("B" if worse > 0 else "A")

    @staticmethod
    def repetition(text: str) -> float:
        words = text.split()
        return 1 - len(set(zip(words, words[1:], strict=False))) / (len(words) - 1)


def let_vote(study: Study, careless: tuple[int, ...] = (), stop: int | None = None) -> None:
    shuffled = {pair.text for pair in study.pairs() if pair.condition == SHUFFLED}
    for person in study.annotators():
        scripted = AvoidsRepetition(person.annotator, person.annotator in careless)
        for item in list(study.items(person))[:stop]:
            study.vote(person, item.assignment, scripted.vote(item, shuffled), seconds=20 + scripted.rng.random())


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Generations of two conditions, and a study of them in which everybody has voted."""
    folder = tmp_path_factory.mktemp("preference")
    write_generations(folder, "base", 0.9, seed=1)
    write_generations(folder, "tuned", 0.3, seed=2)
    words = [
        "--length",
        "60",
        "--length",
        "80",
        "--annotators",
        "8",
        "--votes",
        "2",
        "--checks",
        "0.2",
        "--repeats",
        "0.1",
    ]
    assert main(["preference", "build", *sets(folder), *words, "--output_dir", str(folder / "study")]) == 0
    let_vote(Study(folder / "study"), careless=(3,))
    assert main(["preference", "table", str(folder / "study")]) == 0
    return folder


def sets(folder):
    return [str(folder / "base.jsonl"), str(folder / "tuned.jsonl")]


def test_the_table_finds_what_was_put_in(made):
    """A dry study from end to end: base loops in 90 % of the contexts, tuned in 30 %, and looping texts lose."""
    found = json.loads((made / "study" / "table.json").read_text())
    base, tuned, original = found["conditions"]
    assert [one["name"] for one in found["conditions"]] == ["base", "tuned", "original text"] and not original["scores"]
    for length in (60, 80):
        losses = [one["scores"][f"loss_{length}"] for one in (base, tuned)]
        assert losses[0]["value"] > 75 and losses[1]["value"] < 65 and losses[0]["n"] == CONTEXTS
        shares = [base["scores"][f"{name}_{length}"]["value"] for name in ("win", "tie", "loss", "preferred_or_equal")]
        assert sum(shares[:3]) == pytest.approx(100) and shares[0] + shares[1] == pytest.approx(shares[3])
    difference = next(d for d in found["differences"] if d["metric"] == "preferred_or_equal_80")
    assert difference["condition"] == "tuned" and difference["low"] > 10 and difference["p_holm"] < 0.05
    assert not any(d["metric"].startswith("loss") for d in found["differences"])  # 100 less preferred or equal
    assert set(base["by_source"]) == {"wiki", "news"} and base["by_source"]["wiki"]["win_60"]["n"] == CONTEXTS // 2
    tables = {section["title"]: section for section in found["sections"]}
    strengths = {row["heading"]: row["cells"][0]["value"] for row in tables["Strengths"]["rows"]}
    assert strengths["base"] < strengths["tuned"] and strengths["base"] < -1
    assert tables["Agreement"]["rows"][0]["cells"][1]["value"] > 0.2
    published = {row["heading"]: row["cells"] for row in tables["Beside the paper"]["rows"]}
    assert published["paper: DeepSeek 7B, hyperfitted, greedy"] == ["–", "–", "49.4", "45.2"]
    assert [cell if isinstance(cell, str) else cell["n"] for cell in published["base"]] == [
        CONTEXTS,
        CONTEXTS,
        "–",
        "–",
    ]


def test_who_fails_the_rule_is_left_out_of_a_second_table(made):
    found = json.loads((made / "study" / "table.json").read_text())
    tables = {section["title"]: section for section in found["sections"]}
    rows = {row["heading"]: row["cells"] for row in tables["Annotators"]["rows"]}
    assert list(rows) == [f"annotator {number}" for number in range(1, 9)]  # as serve and export call them
    assert "left out" in rows["annotator 4"][2] and sum("left out" in cells[2] for cells in rows.values()) == 1
    assert all(
        cells[2] == "7 of 7" or cells[2].startswith("0 of ") for name, cells in rows.items() if name != "annotator 4"
    )
    assert tables["Without those who fail"]["note"].startswith("Without annotators 4, who failed more than 25%")
    whole = found["conditions"][0]["scores"]["loss_80"]["value"]
    without = next(r for r in tables["Without those who fail"]["rows"] if r["heading"] == "base")["cells"]
    assert any(
        not isinstance(cell, str) and cell["value"] > whole for cell in without
    )  # who answered by chance is gone


def test_every_form_of_the_table_says_the_same(made):
    study, found = made / "study", json.loads((made / "study" / "table.json").read_text())
    number = f"{found['conditions'][1]['scores']['preferred_or_equal_80']['value']:.1f}"
    for file in ("table.md", "table.tex", "preference.html"):
        text = (study / file).read_text()
        assert number in text and "annotator 4" in text and "45.2" in text, file
    page = (study / "preference.html").read_text()
    assert "<title>Preferences</title>" in page and "http" not in page.replace("http-equiv", "")
    assert not any(one.secret in text for one in Study(study).annotators() for text in (page, json.dumps(found)))
    assert "Intervals rest on 8 annotators: below 20" in page and "double space" in page
    assert "metric:preferred_or_equal_80|unit:% of votes|votes:preferred or equal|against:original text|" in page


def test_repeats_and_checks_never_enter_the_votes(made):
    study = Study(made / "study")
    votes = [vote for vote in study.votes() if vote.role == "vote"]
    assert len(votes) == 2 * 2 * 2 * CONTEXTS < len(study.votes())
    results = tabulate(study)
    measured = sum(results.scored["base"][f"win_{length}"].measured.size for length in (60, 80))
    assert 2 * measured == len(votes)
    counts, _ = counts_of(votes)
    assert (counts.sum(axis=1) == 2).all() and len(counts) == 2 * 2 * CONTEXTS
    assert pace(study.votes()) < 1


def test_what_a_study_says_before_and_while_people_vote(made, tmp_path, capsys):
    words = ["--length", "70", "--annotators", "4", "--num_contexts", "10", "--votes", "2", "--against", "base"]
    assert main(["preference", "build", *sets(made), *words, "--output_dir", str(tmp_path / "s")]) == 0
    assert "tuned against base: 10 contexts (5 of wiki, 5 of news), cut to 70 words" in capsys.readouterr().out
    assert main(["preference", "table", str(tmp_path / "s")]) == 2
    assert "has no votes yet: `hyperfitting preference status`" in capsys.readouterr().err
    assert main(["preference", "status", str(tmp_path / "s")]) == 0
    assert "0 of 20 votes (0%), 0 annotators have begun" in capsys.readouterr().out
    let_vote(Study(tmp_path / "s"), stop=3)
    assert main(["preference", "status", str(tmp_path / "s")]) == 0
    shown = capsys.readouterr().out
    assert "12 of 20 votes (60%), 4 annotators have begun" in shown and "for who has most left" in shown
    assert main(["preference", "table", str(tmp_path / "s")]) == 0
    facts = json.loads((tmp_path / "s" / "table.json").read_text())
    assert "Beside the paper" not in [
        section["title"] for section in facts["sections"]
    ]  # it compares with the original
    assert "Votes against base: 12 of 20, by 4 annotators" in facts["notes"][0]


def test_one_seed_one_study(made, tmp_path):
    def drawn(name, seed):
        words = ["--length", "60", "--seed", str(seed), "--output_dir", str(tmp_path / name)]
        assert main(["preference", "build", *sets(made), *words]) == 0
        with sqlite3.connect(tmp_path / name / "study.db") as db:
            order = "SELECT annotator, pair, swapped, role FROM assignments ORDER BY annotator, place"
            return Study(tmp_path / name).pairs(), db.execute(order).fetchall()

    first = drawn("a", 5)
    assert first == drawn("b", 5) and first[1] != drawn("c", 6)[1]


def test_votes_stand_in_the_scores_of_generations(made, tmp_path, capsys):
    words = ["score", *sets(made), "--metrics", "rep_4_words", "--output_dir", str(tmp_path), "--latex"]
    assert main([*words, "--preference", str(made / "study")]) == 0
    scores, table = (json.loads(path.read_text()) for path in (tmp_path / "scores.json", made / "study" / "table.json"))
    for place in (0, 1):
        theirs = table["conditions"][place]["scores"]
        for name, score in theirs.items():
            found = scores["conditions"][place]["scores"][name]
            assert [found[key] for key in ("value", "low", "high", "n")] == pytest.approx(
                [score[key] for key in ("value", "low", "high", "n")]
            )
            assert found["signature"] == score["signature"]
    assert {"rep_4_words", "win_60", "preferred_or_equal_80"} <= {d["metric"] for d in scores["differences"]}
    report = (tmp_path / "report.html").read_text()
    assert "preferred or equal, 80 words, %" in report and "annotator 4" in report and "Beside the paper" in report
    other = [
        "score",
        f"x={made / 'base.jsonl'}",
        "--output_dir",
        str(tmp_path / "no"),
        "--preference",
        str(made / "study"),
    ]
    assert main(other) == 2
    assert "it asks about base, tuned, and the conditions here are x: write NAME=WHERE" in capsys.readouterr().err
    assert main(["score", *sets(made), "--metrics", "win_60", "--output_dir", str(tmp_path / "no")]) == 2
    assert "votes on pairs of texts: give --preference" in capsys.readouterr().err


def test_some_conditions_of_a_study_are_scored_without_the_others(made, tmp_path):
    words = ["score", str(made / "tuned.jsonl"), "--metrics", "length_words", "--output_dir", str(tmp_path)]
    assert main([*words, "--preference", str(made / "study")]) == 0
    tables = (tmp_path / "scores.md").read_text().split("## Beside the paper")
    assert "| tuned |" in tables[1] and "| base |" not in tables[1].partition("Paper:")[0]


def test_votes_stand_beside_no_texts_that_were_not_shown(made, tmp_path, capsys):
    rows = [json.loads(line) for line in (made / "tuned.jsonl").read_text().splitlines()]

    def score_with(name, **changed):
        """Score both conditions, where the first three records of `tuned` have something else."""
        (tmp_path / name).mkdir()
        other = [row | {key: change(row[key]) for key, change in changed.items()} for row in rows[:3]] + rows[3:]
        (tmp_path / name / "tuned.jsonl").write_text("".join(json.dumps(row) + "\n" for row in other))
        words = ["score", str(made / "base.jsonl"), str(tmp_path / name / "tuned.jsonl"), "--metrics", "length_words"]
        done = main([*words, "--preference", str(made / "study"), "--output_dir", str(tmp_path / name / "s")])
        return done, capsys.readouterr().err

    turned = lambda text: " ".join(text.split()[::-1])  # noqa: E731
    for name, key in (("texts", "text"), ("contexts", "context"), ("references", "reference")):
        done, said = score_with(name, **{key: turned})
        assert done == 2 and not (tmp_path / name / "s").exists(), name
        assert "people saw other texts than 'tuned' holds here, of 3 contexts such as 'c" in said
    done, said = score_with("more", text=lambda text: text + " and so on", reference=lambda text: text.upper())
    assert done == 0, said  # what was shown of them is the same
    assert "win_60" in (tmp_path / "more" / "s" / "scores.json").read_text()


def test_a_study_without_a_text_to_shuffle_has_no_checks(tmp_path, capsys):
    rows = [
        {"id": str(n), "context": f"Story {n} of it", "text": f"yes {n} " * 40, "reference": "no " * 80}
        for n in range(4)
    ]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = ["preference", "build", str(tmp_path / "a.jsonl"), "--length", "60", "--output_dir", str(tmp_path / "s")]
    assert main(words) == 2 and not (tmp_path / "s" / "study.db").exists()
    assert "no text of 'original text' can be a check item" in " ".join(capsys.readouterr().err.split())
    assert main([*words, "--checks", "0"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "without a check item: 4 contexts whose text reads much the same with its words shuffled" in said


def test_power_of_given_and_of_estimated_effects(made, capsys):
    words = [
        "preference",
        "power",
        "--simulations",
        "20",
        "--annotators",
        "8",
        "--difference",
        "30",
        "--contexts",
        "60",
    ]
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert "40.0 % against 70.0 % preferred or equal; effects: context 0.50" in shown and "contexts for 80%" in shown
    assert "with fewer than 20 annotators" in shown
    assert main([*words, "--study", str(made / "study")]) == 0
    assert "context 0.50" not in capsys.readouterr().out


def test_files_of_others_in_a_study_are_not_replaced(made, tmp_path, capsys):
    """Only what a build, a table or an export wrote is replaced, and no export in which somebody answered."""
    study, build = tmp_path / "study", ["preference", "build", *sets(made)[:1], "--length", "60", "--output_dir"]

    def refused(words, *files):
        before = [file.read_bytes() for file in files]
        assert main(words) == 2 and [file.read_bytes() for file in files] == before
        shown = capsys.readouterr().err
        assert shown.count("error: ") == 1 and files[0].name in shown
        return shown

    study.mkdir()
    for name in ("options.yaml", "study.db-wal"):
        (study / name).write_text("seed: 1\n")
        refused([*build, str(study)], study / name)
        (study / name).unlink()
    with lock_folder(study, "output_dir"):  # as another build does
        assert main([*build, str(study)]) == 2 and "is being written by process" in capsys.readouterr().err
    assert BuildOptions.wrote(study / "options.yaml") is False and not (study / "study.db").exists()
    (study / "study.db.tmp").write_text("of a build that was killed")
    BuildOptions(sets=tuple(sets(made)), output_dir=str(study)).save(study / "options.yaml")
    assert main([*build, str(study)]) == 0 and BuildOptions.load(study / "options.yaml").length == ("60",)
    assert not list(study.glob("study.db.tmp*"))

    let_vote(Study(study), stop=5)
    for name in ("table.md", "preference.html", "table.json"):
        (study / name).write_text("{}")
        assert "move it" in refused(["preference", "table", str(study)], study / name)
        (study / name).unlink()
    assert main(["preference", "table", str(study)]) == main(["preference", "table", str(study)]) == 0

    out = tmp_path / "out"
    out.mkdir()
    for kind, name in (
        ("label_studio", "label_studio.xml"),
        ("csv", "annotator-01.csv"),
        ("html", "annotator-02.html"),
    ):
        export = ["preference", "export", str(study), "--output_dir", str(out), "--format", kind]
        (out / name).write_text("mine")
        assert "--overwrite" in refused(export, out / name)
        refused([*export, "--overwrite"], out / name)
        (out / name).unlink()
        assert main(export) == main([*export, "--overwrite"]) == 0
        for file in out.iterdir():
            file.unlink()
    export = ["preference", "export", str(study), "--output_dir", str(out), "--format", "csv"]
    assert main(export) == 0
    filled = out / "annotator-03.csv"
    filled.write_text(filled.read_text(encoding="utf-8").replace(",,", ",A,", 1), encoding="utf-8")
    assert "answers" in refused([*export, "--overwrite"], filled)


MISTAKES = {
    "no command": (["bild"], "unknown command 'bild', did you mean 'build'?"),
    "nothing": (["build", "OUT"], "nothing to score: name folders of launch/generate.py"),
    "no folder": (["build", "gone/folder", "OUT"], "gone/folder cannot be scored: it does not exist"),
    "no place": (["build", "SETS"], "no output_dir: give --output_dir"),
    "an unknown opponent": (
        ["build", "SETS", "OUT", "--against", "bas"],
        "--against 'bas' is none of the conditions, did you mean 'base'? (there are original, base, tuned)",
    ),
    "alone": (["build", "BASE", "OUT", "--against", "base"], "nothing is compared with 'base': name another set"),
    "no originals": (["build", "BARE", "OUT"], "--against original: the records hold no true continuations"),
    "no length": (
        ["build", "SETS", "OUT", "--length", "long", "--length", "0"],
        "- length must be a whole number above 0, not 'long'\n- length must be a whole number above 0, not '0'",
    ),
    "a length twice": (["build", "SETS", "OUT", "--length", "60", "--length", "60"], "length is given twice"),
    "too short": (["build", "SETS", "OUT", "--length", "12"], "leaves fewer than 16 words of --length 12"),
    "too few annotators": (["build", "SETS", "OUT", "--annotators", "2"], "give --annotators 3 or fewer --votes"),
    "too many contexts": (["build", "SETS", "OUT", "--num_contexts", "50"], "--num_contexts 50: only 36 can be shown"),
    "other contexts": (["build", "BASE", "FEW", "OUT"], "a study shows the same contexts under all conditions, but"),
    "a study that is there": (["build", "SETS", "--output_dir", "STUDY"], "holds a study, which is never replaced"),
    "a file": (["build", "SETS", "--output_dir", "FILE"], "is a file"),
    "a misspelt flag": (["build", "SETS", "OUT", "--anotators", "6"], "did you mean '--annotators'?"),
    "no study": (["table", "gone/study"], "gone/study holds no study: make one with `hyperfitting preference build`"),
    "no study named": (["status"], "the following arguments are required: STUDY"),
    "an unknown baseline": (["table", "STUDY", "--baseline", "x"], "--baseline 'x' is none of the conditions: base, tuned"),
    "more than all": (["power", "--share", "97"], "share and difference together must be below 100"),
    "a length beyond all texts": (["build", "x", "--length", "9" * 5000, "--output_dir", "o"], "length must be below 10,000,000"),
    "words without end": (["power", "--words", "1" + "0" * 400], "words must be at most 1000000"),
    "effects without end": (["power", "--context_effect", "1e308"], "context_effect must be at most 100"),
    "more than a study leaves": (["power", "--study", "x", "--difference", "99"], "difference must be below 98 with study"),
    "votes of nobody": (["power", "--annotators", "2"], "votes must be at most annotators (2), not 3"),
    "power of no study": (["power", "--study", "gone"], "gone holds no study"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_bad_input(mistake, made, tmp_path, capsys):
    words, message = MISTAKES[mistake]
    bare, few = tmp_path / "bare.jsonl", tmp_path / "few.jsonl"
    rows = [json.loads(line) for line in open(made / "base.jsonl")]
    bare.write_text("".join(json.dumps({k: v for k, v in row.items() if k != "reference"}) + "\n" for row in rows))
    few.write_text("".join(json.dumps(row) + "\n" for row in rows[:5]))
    meant = {
        "OUT": ["--output_dir", str(tmp_path / "out")],
        "SETS": sets(made),
        "BASE": sets(made)[:1],
        "BARE": [str(bare)],
    }
    meant |= {"FEW": [str(few)], "STUDY": [str(made / "study")], "FILE": [str(bare)]}
    before = (made / "study" / "study.db").read_bytes()
    assert main(["preference", *(part for word in words for part in meant.get(word, [word]))]) == 2
    shown = capsys.readouterr().err
    assert shown.count("error: ") == 1 and message in shown and "Traceback" not in shown
    assert not (tmp_path / "out" / "study.db").exists() and (made / "study" / "study.db").read_bytes() == before


def test_status_and_help_start_without_torch(made):
    code = (
        "import sys; from hyperfitting.commands.preference import main; "
        f"code = main(['status', {str(made / 'study')!r}]) + main(['--help']); "
        "sys.exit(code or sum(name in sys.modules for name in ('torch', 'transformers', 'matplotlib', 'datasets')))"
    )
    done = run([sys.executable, "-c", code])
    assert done.returncode == 0 and "votes (100%)" in done.stdout and "usage: hyperfitting preference" in done.stdout
    assert run([sys.executable, "launch/preference.py", "table", "--help"]).returncode == 0
