"""A study carried out elsewhere: what goes out, what comes back, and what is refused."""

import csv
import datetime
import json
import re

import pytest
from small_study import HIDDEN, small_study

from hyperfitting.commands import preference_export, preference_import
from hyperfitting.preference.annotators import pace, without_consent
from hyperfitting.preference.ballots import ticket
from hyperfitting.preference.study import UNKNOWN, Study


@pytest.fixture
def study(tmp_path):
    return small_study(tmp_path / "study")


@pytest.fixture
def export(study, tmp_path):
    def run(kind, *words):
        folder = tmp_path / kind
        assert preference_export.main([str(study.folder), "--format", kind, "--output_dir", str(folder), *words]) == 0
        return folder

    return run


def take_in(study, *files):
    return preference_import.main([str(study.folder), *map(str, files)])


def handed_back(study, annotator=0, choices=("A", "B", "tie", "A", "B", "tie", "A"), **more):
    """What the offline page saves."""
    who = study.annotators()[annotator]
    items = study.items(who, open_only=False)
    votes = [
        {"assignment": i.assignment, "choice": c, "strength": None, "comment": "", "seconds": 2.5}
        for i, c in zip(items, choices, strict=False)
    ]
    return {"ticket": ticket(who), "consented": 1.0, "votes": votes, **more}


def write(path, content):
    path.write_text(json.dumps(content, indent=1))
    return path


@pytest.mark.parametrize("kind", ["html", "label_studio", "csv"])
def test_files_that_go_out_hide_what_must_be_hidden(study, export, kind):
    files = sorted(export(kind, "--comments").iterdir())
    assert len(files) == 2 + (kind == "label_studio")
    for file in files:
        text = file.read_text(encoding="utf-8").lower()
        assert not [word for word in HIDDEN if word in text] and ("donau" in text or file.suffix == ".xml")
        assert not [one.secret for one in study.annotators() if one.secret.lower() in text]
        assert "<script>document.title" not in text or kind != "html"


def test_an_offline_file_enters_once(study, tmp_path, capsys):
    file = write(tmp_path / "back.json", handed_back(study))
    assert take_in(study, file) == 0 and "7 votes stored" in capsys.readouterr().out
    assert [(v.side, v.seconds) for v in study.votes()][:3] == [("A", 2.5), ("B", 2.5), ("tie", 2.5)]
    assert study.annotators()[0].consented is not None and study.annotators()[1].consented is None
    other = write(tmp_path / "other.json", handed_back(study, choices=("A", "A", "tie", "A", "B", "tie", "B")))
    assert take_in(study, other) == 0
    assert (
        "0 votes stored, 5 were there already, 2 differ from the vote that was there, which stays"
        in capsys.readouterr().out
    )
    assert [v.side for v in study.votes()] == ["A", "B", "tie", "A", "B", "tie", "A"]


def test_label_studio_there_and_back(study, export, tmp_path, capsys):
    folder = export("label_studio", "--five_point", "--comments")
    config = (folder / "label_studio.xml").read_text()
    tasks = json.loads((folder / "annotator-01.json").read_text())
    labels = re.findall('<Choice value="([^"]*)"', config)
    assert len(labels) == 5 and 'name="comment"' in config
    results = [[{"type": "choices", "from_name": "choice", "value": {"choices": [label]}}] for label in labels]
    results.append([{"type": "pairwise", "from_name": "pw", "value": {"selected": "right"}}])
    results[0].append({"type": "textarea", "from_name": "comment", "value": {"text": ["clear"]}})
    for task, result in zip(tasks, results, strict=False):
        task["annotations"] = [{"was_cancelled": False, "result": result, "lead_time": 3.2}]
    tasks[6]["annotations"] = [{"was_cancelled": True, "result": []}]
    assert take_in(study, write(tmp_path / "export.json", tasks)) == 0
    assert "6 votes stored" in (shown := capsys.readouterr().out) and "1 pairs without an answer" in shown
    assert [(v.side, v.strength) for v in study.votes()] == [
        *[("A", 2), ("A", 1), ("tie", None), ("B", 1), ("B", 2), ("B", None)],
    ]
    assert study.votes()[0].comment == "clear" and study.votes()[0].seconds == 3.2


def test_left_is_the_text_that_pairwise_names_first(study, tmp_path):
    tasks = label_studio(study, *[[annotation("A", None)] for _ in range(3)])
    for task, names in zip(tasks, ("a,b", "b,a", "left,right"), strict=True):
        task["annotations"][0]["result"] = [{"type": "pairwise", "to_name": names, "value": {"selected": "left"}}]
    assert take_in(study, write(tmp_path / "export.json", tasks)) == 0
    assert [vote.side for vote in study.votes()] == ["A", "B", "A"]


def test_a_workbook_is_named(study, tmp_path, capsys):
    for name in ("back.xlsx", "back.csv", "back.ods"):
        (tmp_path / name).write_bytes(b"PK\x03\x04\x14\x00\x06\x00")
        assert take_in(study, tmp_path / name) == 2
        assert f"{name} is a workbook of a spreadsheet or an archive" in " ".join(capsys.readouterr().err.split())


def test_a_config_that_somebody_changed_is_not_replaced(study, export, tmp_path):
    words = [str(study.folder), "--format", "label_studio", "--overwrite", "--output_dir", str(tmp_path / "out")]
    for options in ([], ["--five_point", "--comments"], []):
        assert preference_export.main([*words, *options]) == 0  # over what another export wrote
    config = tmp_path / "out" / "label_studio.xml"
    exported = config.read_text()
    config.write_text(mine := exported.replace('<Header value="B"/>', '<Header value="Text B"/>'))
    assert preference_export.main(words) == 2 and config.read_text() == mine
    config.write_text(mine := f"{exported.strip()}<!-- mine -->")
    assert preference_export.main(words) == 2 and config.read_text() == mine


def annotation(label, created, lead_time=12.5, by=1, **more):
    """As Label Studio 1.23 exports it."""
    result = [{"type": "choices", "from_name": "choice", "to_name": "context", "value": {"choices": [label]}}]
    return {"completed_by": by, "result": result, "was_cancelled": False, "ground_truth": False, "created_at": created,
            "updated_at": created, "lead_time": lead_time, "draft_created_at": None, **more}  # fmt: skip


def label_studio(study, *of_tasks):
    """Tasks of the first annotator with these annotations."""
    who = study.annotators()[0]
    data = [{"ticket": ticket(who), "assignment": item.assignment, "a": item.a} for item in study.items(who, False)]
    return [
        {"id": n, "data": one, "annotations": own, "drafts": [], "predictions": []}
        for n, (one, own) in enumerate(zip(data, of_tasks, strict=False), 1)
    ]


AT = "2026-03-01T10:{}:00.593852Z"


def test_label_studio_says_when_a_vote_was_given_and_what_it_took(study, tmp_path, capsys):
    moments = [
        AT.format("05"),
        "2026-03-01T12:06:00+02:00",
        "2026-03-01T10:08:00",
        "1.3.2026 10:09",
        "2999-01-01T00:00:00Z",
    ]
    taken = [20.25, -3.0, 400_000.0, None, "12,5"]
    tasks = label_studio(study, *[[annotation("A", *both)] for both in zip(moments, taken, strict=True)])
    tasks[0]["annotations"].insert(0, annotation("B", AT.format("59")))  # a second thought, exported first
    draft = {"result": annotation("A", AT.format("01"))["result"]}
    tasks += [{**label_studio(study, *[[]] * 6)[5], "drafts": [draft], "predictions": [draft]}]
    tasks[4]["annotations"].append(annotation("B", AT.format("10"), was_cancelled=True))
    assert take_in(study, write(tmp_path / "export.json", tasks)) == 0
    shown = capsys.readouterr().out
    assert "5 votes stored" in shown and "1 differ" in shown and "1 pairs without an answer" in shown
    votes = {vote.pair: vote for vote in study.votes() if vote.role == "vote"}
    known = [(vote.side, vote.seconds, vote.received) for vote in (votes[n] for n in range(5))]
    ten = datetime.datetime.fromisoformat("2026-03-01T10:00:00+00:00").timestamp()
    assert known == [("A", 20.25, pytest.approx(ten + 300.6, abs=0.1)), ("A", None, ten + 360), ("A", None, ten + 480),
                     ("A", None, UNKNOWN), ("A", 12.5, UNKNOWN)]  # fmt: skip
    assert pace(study.votes()) == pytest.approx(90, abs=1)


def test_no_pace_is_computed_from_when_a_file_was_imported(study, tmp_path, capsys):
    assert take_in(study, write(tmp_path / "back.json", handed_back(study))) == 0
    assert len(study.votes()) == 7 and pace(study.votes()) is None


FLAT = [("A", AT.format("05"), 7.5), ("Equally good", AT.format("09"), 3), ("B", AT.format("07"), 61.5)]


@pytest.mark.parametrize("kind", ["JSON-MIN", ",", ";", "\t"])
def test_all_formats_of_label_studio_say_the_same(study, tmp_path, kind):
    """The second row is the later of two answers to one pair; Label Studio's flat formats have the latest first."""
    ids = [one["data"] for one in label_studio(study, [], [])]
    rows = [
        {**ids[place], "b": "x;\ty\n", "id": 1, "choice": choice, "annotator": 1, "annotation_id": 3, "created_at": at,
         "updated_at": at, "lead_time": seconds}
        for place, (choice, at, seconds) in zip((0, 1, 1), FLAT, strict=True)
    ]  # fmt: skip
    file = tmp_path / ("export.json" if kind == "JSON-MIN" else "export.TSV" if kind == "\t" else "export.csv")
    if kind == "JSON-MIN":
        write(file, rows)
    else:
        with file.open("w", newline="", encoding="utf-8-sig") as out:
            table = csv.DictWriter(out, sorted(rows[0]), delimiter=kind)
            table.writeheader()
            table.writerows([{**row, "lead_time": str(row["lead_time"]).replace(".", ",")} for row in rows])
            out.write(kind * (len(rows[0]) - 1) + "\r\n")  # a row that was emptied
    assert take_in(study, file) == 0
    assert [(vote.side, vote.seconds) for vote in study.votes()] == [("A", 7.5), ("B", 61.5)]
    assert pace(study.votes()) == pytest.approx(120)


def test_a_file_is_for_one_person(study, tmp_path, capsys):
    for first, other in ((1, 2), ({"id": 1, "email": "a@x.org"}, {"id": 2, "email": "b@x.org"})):
        tasks = label_studio(
            study, [annotation("A", AT.format("05"), by=first)], [annotation("B", AT.format("06"), by=other)]
        )
        assert take_in(study, write(tmp_path / "export.json", tasks)) == 2
        assert "task 2" not in (shown := capsys.readouterr().err) and "answered by" in shown and not study.votes()
    two = [
        annotation("A", AT.format("05"), by=1, was_cancelled=True, result=[]),
        annotation("B", AT.format("06"), by=2),
    ]
    assert take_in(study, write(tmp_path / "export.json", label_studio(study, two))) == 0


def test_consent_that_no_file_holds_is_stated_or_said_to_be_missing(study, tmp_path, capsys):
    file = write(tmp_path / "export.json", label_studio(study, [annotation("A", AT.format("05"))]))
    assert (
        take_in(study, file) == 0
        and "it is not on record that these annotators agreed to take part: 1;" in capsys.readouterr().out
    )
    assert [one.annotator for one in without_consent(study)] == [0]
    assert take_in(study, file, "--consent", " ") == 2
    assert take_in(study, file, "--consent", "signed forms") == 0 and "not on record" not in capsys.readouterr().out
    opened = Study(study.folder)
    assert opened.facts["consent"] == {"0": "signed forms"} and not without_consent(opened)
    assert take_in(study, write(tmp_path / "back.json", handed_back(study, 1)), "--consent", "nothing") == 0
    assert Study(study.folder).facts["consent"] == {
        "0": "signed forms"
    }  # that file says itself that its annotator agreed


def spreadsheet(study, tmp_path, *words):
    preference_export.main([str(study.folder), "--format", "csv", "--output_dir", str(tmp_path / "out"), *words])
    return list(csv.DictReader((tmp_path / "out" / "annotator-01.csv").open(encoding="utf-8-sig", newline="")))


def test_ids_in_a_table_look_like_no_formula_and_no_number(study, tmp_path, capsys):
    rows = spreadsheet(study, tmp_path)
    assert all(row[name][0].isalpha() for row in rows for name in ("ticket", "assignment"))
    items = list(study.items(study.annotators()[0]))
    earlier = [
        ["ticket", "assignment", "choice"],
        *([ticket(study.annotators()[0]), item.assignment, "A"] for item in items),
    ]
    with (tmp_path / "earlier.csv").open("w", newline="") as out:
        csv.writer(out).writerows(earlier)
    assert take_in(study, tmp_path / "earlier.csv") == 0 and "7 votes stored" in capsys.readouterr().out
    for broken in ("#NAME?", "Err:509", "1.23457E+31", "-3"):
        earlier[2][1] = broken
        with (tmp_path / "earlier.csv").open("w", newline="") as out:
            csv.writer(out, delimiter=";").writerows(earlier)
        assert take_in(study, tmp_path / "earlier.csv") == 2
        assert f"line 3: the spreadsheet made {broken!r} of the assignment" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "encoding"), [("a.csv", "utf-16"), ("a.txt", "utf-16-le"), ("a.json", "utf-16"), ("a.csv", "cp1252")]
)
def test_other_encodings_get_one_message(study, tmp_path, capsys, name, encoding):
    (tmp_path / name).write_bytes("ticket\tassignment\tchoice\tcomment\r\nx\ty\tA\tcaf\xe9\r\n".encode(encoding))
    assert take_in(study, tmp_path / name) == 2
    shown = capsys.readouterr().err
    assert "UTF-8" in shown and "save it again" in shown and shown.count("error: ") == 1


def test_csv_there_and_back_and_no_formula_in_it(tmp_path, capsys):
    study = small_study(tmp_path / "study", contexts=7)
    preference_export.main([str(study.folder), "--format", "csv", "--output_dir", str(tmp_path / "out")])
    file = tmp_path / "out" / "annotator-02.csv"
    rows = list(csv.DictReader(file.open(encoding="utf-8-sig", newline="")))
    assert len(rows) == 8 and not [cell for row in rows for cell in row.values() if cell[:1] in ("=", "+", "@")]
    for row, choice in zip(rows, ["a", "Equally good", "B", "", "tie", "A is slightly better"], strict=False):
        row["choice"] = choice
    with file.open("w", newline="") as out:
        table = csv.DictWriter(out, rows[0])
        table.writeheader()
        table.writerows(rows)
    assert take_in(study, file) == 0 and "5 votes stored" in (shown := capsys.readouterr().out)
    assert "3 pairs without an answer" in shown
    assert [(v.side, v.strength) for v in study.votes()] == [
        ("A", None),
        ("tie", None),
        ("B", None),
        ("tie", None),
        ("A", 1),
    ]


def test_only_what_is_open_goes_out_and_nothing_is_overwritten(study, export, tmp_path, capsys):
    take_in(study, write(tmp_path / "back.json", handed_back(study, choices="AB")))
    assert len(json.loads((export("label_studio") / "annotator-01.json").read_text())) == 5
    again = [str(study.folder), "--format", "label_studio", "--output_dir", str(tmp_path / "label_studio")]
    assert preference_export.main(again) == 2 and "--overwrite" in capsys.readouterr().err
    assert preference_export.main([*again, "--overwrite"]) == 0


FOREIGN = "F" * 32


def vote_of(study, **changes):
    content = handed_back(study)
    content["votes"][2].update(changes)
    return content


def of_another(study):
    content = handed_back(study)
    content["votes"][1]["assignment"] = handed_back(study, 1)["votes"][1]["assignment"]
    return content


REFUSED = {
    "not JSON": (lambda study: None, "line 1 is damaged"),
    "another file": (lambda study: {"rows": []}, "neither the votes of an offline page nor an export of Label Studio"),
    "a foreign ticket": (
        lambda study: handed_back(study, ticket="0" * 32),
        "line 6: the ticket is that of no annotator",
    ),
    "no ticket": (lambda study: handed_back(study, ticket=None), "line 6: the ticket is that of no annotator"),
    "nobody agreed": (
        lambda study: handed_back(study, consented=None),
        "line 1: it does not say that its annotator has agreed",
    ),
    "a pair of another": (of_another, "line 13: this pair was not assigned to this annotator"),
    "a guessed id": (lambda study: vote_of(study, assignment=FOREIGN), "line 20: this pair was not assigned"),
    "no id": (lambda study: vote_of(study, assignment=3), "vote 3: the vote names no assignment"),
    "an unknown choice": (lambda study: vote_of(study, choice="C"), "line 20: a vote is one of A, B, tie"),
    "no choice": (lambda study: vote_of(study, choice=None), "line 20: the vote holds no choice"),
    "a strength of 9": (
        lambda study: vote_of(study, strength=9),
        "line 20: a vote is one of A, B, tie, with a strength",
    ),
    "endless seconds": (lambda study: vote_of(study, seconds=float("inf")), "line 20: the seconds of a vote are"),
    "a comment that is a list": (
        lambda study: vote_of(study, comment=["x"]),
        "line 20: the comment of a vote is a text",
    ),
    "another key": (lambda study: vote_of(study, outcome=1), "line 20: a vote is an object with assignment"),
    "no task": (lambda study: [3], "task 1: an export of Label Studio"),
    "no result": (lambda study: [{"data": {}, "annotations": [{}]}], "task 1: an annotation holds no result"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_damaged_or_foreign_is_refused_whole(study, tmp_path, capsys, case):
    make, message = REFUSED[case]
    content = make(study)
    good = write(tmp_path / "good.json", handed_back(study, 1))
    bad = write(tmp_path / "bad.json", content)
    if content is None:
        bad.write_text("<html>")
    assert take_in(study, good, bad) == 2
    shown = capsys.readouterr().err
    assert message in shown and str(bad) in shown and "Traceback" not in shown, shown
    assert not Study(study.folder).votes()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ticket,choice\n", "line 1: the columns assignment are missing"),
        ("", "line 1: the columns assignment, choice, ticket are missing"),
        ("ticket,assignment,choice\nx,y\n", "line 2: it has another number of columns"),
        ("ticket,assignment,choice\nx,y,perhaps\n", "line 2: no answer is called 'perhaps'"),
        ("ticket,assignment,choice\n\nx,y,A\n", "line 3: the ticket is that of no annotator"),
        ("ticket,assignment,choice\n" + "x" * 200_000 + ",y,A\n", "line 2: field larger than field limit"),
    ],
)
def test_tables_that_are_refused(study, tmp_path, capsys, text, message):
    (tmp_path / "bad.csv").write_text(text)
    assert take_in(study, tmp_path / "bad.csv") == 2 and message in capsys.readouterr().err
