"""launch/score.py: from folders and foreign files to scores.json, scores.md, scores.tex and report.html."""

import json
import math
import shutil

import pytest
import torch
import yaml
from conftest import LAUNCH, run
from transformers import AutoModelForCausalLM, AutoTokenizer

from hyperfitting import codec, models
from hyperfitting.commands import score as command
from hyperfitting.commands.score import main
from hyperfitting.corpus import Corpus
from hyperfitting.generation import Context, GenerationRunner
from hyperfitting.scoring import results

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def generations(tiny, tmp_path_factory):
    """Two folders of launch/generate.py over the same 8 contexts: greedy and nucleus of `base`, greedy of `other`."""
    folder = tmp_path_factory.mktemp("generations")
    tokenizer = AutoTokenizer.from_pretrained(tiny / "fp32")
    rows = [json.loads(line)["text"] for line in open(tiny / "stories.jsonl")][:8]
    ids = [tuple(tokenizer(text)["input_ids"]) for text in rows]
    contexts = [Context(f"c{i}", "ab"[i % 2], row[:8], row[8:40]) for i, row in enumerate(ids)]
    for name, policies in (("base", ["greedy", "nucleus"]), ("other", ["greedy"])):
        model = AutoModelForCausalLM.from_pretrained(tiny / "fp32", dtype=torch.float32)
        if name == "other":
            torch.manual_seed(0)
            for weight in model.parameters():
                weight.data += 0.3 * weight.data.std() * torch.randn_like(weight)
        model.save_pretrained(folder / f"{name}_model")
        tokenizer.save_pretrained(folder / f"{name}_model")
        GenerationRunner(
            folder / f"{name}_model", policies, output_dir=folder / name, max_length=128, ban_eos=True
        ).run(contexts)
    return folder


def call(*words) -> int:
    return main([str(word) for word in words])


@pytest.fixture(scope="module")
def scores(generations, reference, tmp_path_factory):
    output = tmp_path_factory.mktemp("scores") / "s"
    rows = ["--train_rows", reference, "--model_scores", "--latex"]
    assert call(generations / "base", generations / "other", *rows, "--output_dir", output) == 0
    return output


def test_every_number_carries_n_interval_and_signature(scores):
    facts = json.loads((scores / "scores.json").read_text())
    names = [condition["name"] for condition in facts["conditions"]]
    assert names == ["base greedy", "base nucleus(p=0.9,temperature=1)", "other", "original text"]
    for condition in facts["conditions"]:
        for part in (condition["scores"], *condition["by_source"].values()):
            for name, score in part.items():
                assert score["n"] + score["left_out"] in (4, 8) and score["signature"].startswith(
                    f"metric:{name}|unit:"
                )
                if score["n"]:
                    assert score["low"] - 1e-9 <= score["value"] <= score["high"] + 1e-9
    assert facts["conditions"][3]["scores"]["ttr"]["left_out"] == 8  # references of 32 tokens are shown, not averaged
    assert {"p", "p_holm", "low", "high", "n"} <= facts["differences"][0].keys()
    assert sum(facts["conditions"][0]["overlap_histogram"].values()) == 8


def test_model_scores_equal_a_plain_forward_pass(scores, generations):
    entry = json.loads((scores / "scores.json").read_text())["conditions"][2]["scores"]
    model = AutoModelForCausalLM.from_pretrained(generations / "other_model", dtype=torch.float32)
    losses = []
    for line in open(generations / "other" / "generations.jsonl"):
        record = json.loads(line)
        ids = torch.tensor([record["context_ids"] + record["reference_ids"]])
        with torch.no_grad():
            logits = model(ids).logits[0, 7:-1]
        losses.append(torch.nn.functional.cross_entropy(logits, ids[0, 8:]).item())
    mean = sum(losses) / len(losses)
    assert entry["loss_original"]["value"] == pytest.approx(mean, abs=1e-4)
    assert entry["perplexity_original"]["value"] == pytest.approx(math.exp(mean), rel=1e-3)
    assert entry["mass_top1_original"]["value"] <= entry["mass_top3_original"]["value"] <= 1


def test_scores_of_a_model_are_compared_once(scores):
    facts = json.loads((scores / "scores.json").read_text())
    of_model = [d for d in facts["differences"] if d["metric"].endswith("_original")]
    assert [(d["condition"], d["metric"]) for d in of_model] == [
        ("other (model)", "entropy_original"),
        ("other (model)", "mass_top1_original"),
    ]
    assert "| other (model) | – |" in (scores / "scores.md").read_text()
    page = (scores / "report.html").read_text()
    assert page.count(">base (model)</text>") == page.count(">other (model)</text>") == 1  # a line of one figure


def test_a_model_is_loaded_at_the_revision_of_its_texts(generations, tmp_path, monkeypatch):
    shutil.copytree(generations / "other", tmp_path / "other")
    manifest = tmp_path / "other" / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"revision": "v1"}))
    loaded, load = [], models.load_for_inference

    def watched(name, dtype, revision=None, **options):
        loaded.append(revision)
        return load(name, dtype, **options)

    monkeypatch.setattr(models, "load_for_inference", watched)
    sets = [generations / "base", f"old={generations / 'other'}", tmp_path / "other"]
    assert call(*sets, "--model_scores", "--metrics", "length", "--output_dir", tmp_path / "s") == 0
    assert loaded == [None, None, "v1"]


def test_true_continuations_are_measured_for_each_set_of_contexts(generations, tmp_path, capsys):
    """A folder whose records were thinned out by hand has the manifest of the whole one."""
    shutil.copytree(generations / "other", tmp_path / "half")
    records = (tmp_path / "half" / "generations.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "half" / "generations.jsonl").write_text("".join(records[1::2]))
    asked = ["--model_scores", "--metrics", "loss_original", "--output_dir", tmp_path / "s"]
    assert call(generations / "other", tmp_path / "half", *asked) == 0
    whole, half, *_ = json.loads((tmp_path / "s" / "scores.json").read_text())["conditions"]
    assert [c["scores"]["loss_original"]["n"] for c in (whole, half)] == [8, 4]
    rows = [json.loads(record) for record in records]
    for row in rows:
        del row["context_ids"]
    write(tmp_path / "half" / "generations.jsonl", rows)
    assert call(tmp_path / "half", *asked[:-1], tmp_path / "t") == 2
    assert "'half' holds texts without continuation_ids or context_ids" in capsys.readouterr().err


def test_a_model_is_run_over_the_true_continuations_alone(generations, scores, tmp_path):
    sides = ["--model_scores", "--model_scores_of", "original"]
    assert call(generations / "base", generations / "other", *sides, "--output_dir", tmp_path / "s") == 0
    found, whole = (json.loads((folder / "scores.json").read_text()) for folder in (tmp_path / "s", scores))
    for here, there in zip(found["conditions"], whole["conditions"], strict=True):
        assert not any(name.endswith("_generated") for name in here["scores"])
        assert here["scores"].get("loss_original") == there["scores"].get("loss_original")
    assert "loss_generated" in whole["conditions"][0]["scores"]


def test_columns_of_scores_by_a_model(generations, tmp_path, capsys):
    asked = [generations / "other", "--metrics", "rep_4", "loss_original"]
    assert call(*asked, "--model_scores", "--output_dir", tmp_path / "s") == 0
    head = (tmp_path / "s" / "scores.md").read_text().splitlines()[0]
    others = "perplexity, original | entropy, original | top-1 mass, original"
    assert head == f"|  | texts | rep-4 | loss, original | {others} |"
    assert call(*asked, "--output_dir", tmp_path / "t") == 2
    assert "'loss_original' cannot be computed: it needs the model that made the texts: give --model_scores" in (
        capsys.readouterr().err
    )


def test_a_run_that_was_killed_while_it_wrote(generations, reference, tmp_path):
    """Its last line of metrics.jsonl is cut short: its rows and curves are there all the same."""
    shutil.copytree(reference, tmp_path / "run")
    with open(tmp_path / "run" / "metrics.jsonl", "a") as lines:
        lines.write('{"kind": "evaluation", "step": 24, "ep')
    assert call(generations / "other", "--train_rows", tmp_path / "run", "--output_dir", tmp_path / "s") == 0
    assert "overlap" in json.loads((tmp_path / "s" / "scores.json").read_text())["conditions"][0]["scores"]
    assert "Curves of the runs" in (tmp_path / "s" / "report.html").read_text()


def test_tables(scores):
    text = (scores / "scores.md").read_text()
    assert (
        "| base greedy | 8 |" in text
        and "| minus base greedy |" in text
        and "`metric:ttr|unit:tokens|window:last 96|" in text
    )
    assert "– (n = 0, 8 left out)" in text
    latex = (scores / "scores.tex").read_text()
    assert latex.count(r"\begin{tabular}") == latex.count(r"\bottomrule") == 2 and r"greedy \\" not in latex
    assert (scores / "report.html").read_text().startswith("<!doctype html>")


def test_the_same_files_give_the_same_bytes(scores, generations, reference, tmp_path):
    rows = ["--train_rows", reference, "--model_scores", "--latex", "--output_dir", tmp_path / "s"]
    assert call(generations / "base", generations / "other", *rows) == 0
    for name in ("scores.json", "scores.md", "scores.tex", "report.html"):
        assert (tmp_path / "s" / name).read_bytes() == (scores / name).read_bytes(), name


def test_options_are_kept_and_give_the_same_bytes(scores, tmp_path):
    assert call("--config", scores / "options.yaml", "--output_dir", tmp_path / "s") == 0
    for name in ("scores.json", "scores.md", "scores.tex", "report.html"):
        assert (tmp_path / "s" / name).read_bytes() == (scores / name).read_bytes(), name
    one, two = (yaml.safe_load((folder / "options.yaml").read_text()) for folder in (scores, tmp_path / "s"))
    assert (one["model_scores"], one["latex"], len(one["sets"])) == (True, True, 2)
    assert two == {**one, "output_dir": str(tmp_path / "s")}


def test_training_rows_have_a_column_of_their_own(tiny, tmp_path, capsys):
    words = write(tmp_path / "words.jsonl", [{"text": "a small old boat slept near the king and the dog"}])
    rows = write(tmp_path / "rows.jsonl", [{"body": "the old boat slept near the king"}])
    flags = [words, "--tokenizer", tiny / "fp32", "--train_rows", rows, "--output_dir", tmp_path / "s"]
    assert call(*flags) == 2
    assert "no column 'text'; it has body: set --train_rows_column" in capsys.readouterr().err
    assert call(*flags, "--train_rows_column", "body") == 0
    (entry,) = json.loads((tmp_path / "s" / "scores.json").read_text())["conditions"]
    assert entry["scores"]["overlap"]["value"] >= 6


def test_trust_and_revision_reach_tokenizers_and_mauve(generations, tiny, tmp_path, monkeypatch):
    asked = []

    def load_codec(*arguments, trust_remote_code, revision=None):
        asked.append(("tokenizer", trust_remote_code, revision))
        return codec.load_codec(*arguments)

    def score_conditions(conditions, **options):
        asked.append(("mauve", options["trust_remote_code"], options["batch_size"]))
        options["tokenizers"](conditions[0].first)
        return results.score_conditions(conditions, **options | {"mauve_model": None})

    monkeypatch.setattr(command, "load_codec", load_codec)
    monkeypatch.setattr(command, "score_conditions", score_conditions)
    shutil.copytree(generations / "other", tmp_path / "other")
    manifest = tmp_path / "other" / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"revision": "v2"}))
    flags = ["--metrics", "ttr", "--trust_remote_code", "--per_device_eval_batch_size", 3]
    assert call(tmp_path / "other", *flags, "--output_dir", tmp_path / "a") == 0
    assert asked == [("mauve", True, 3), ("tokenizer", True, "v2")]
    assert call(generations / "other", "--tokenizer", tiny / "fp32", "--output_dir", tmp_path / "b") == 0
    assert asked[2:] == [("tokenizer", False, None), ("mauve", False, 8)]


def test_two_processes_measure_the_same(scores, generations, reference, tmp_path):
    words = [generations / "base", generations / "other", "--train_rows", reference, "--model_scores"]
    launch = [*LAUNCH, "--multi_gpu", "--num_processes", 2, "launch/score.py", *words, "--output_dir", tmp_path / "s"]
    done = run(launch, ACCELERATE_USE_CPU="true")
    assert done.returncode == 0, done.stderr
    mine, theirs = (json.loads((folder / "scores.json").read_text()) for folder in (scores, tmp_path / "s"))
    for a, b in zip(mine["conditions"], theirs["conditions"], strict=True):
        for name, score in a["scores"].items():
            if score["n"]:
                assert b["scores"][name]["value"] == pytest.approx(score["value"], rel=1e-5), name


def test_seeds_as_one_condition(generations, tmp_path, capsys):
    shutil.copytree(generations / "other", tmp_path / "seed=1")  # greedy, so another seed gives the same texts
    manifest = tmp_path / "seed=1" / "manifest.json"
    group = f"both={generations / 'other'},{tmp_path / 'seed=1'}"
    assert call(generations / "other", "--group", group, "--output_dir", tmp_path / "s") == 2
    assert "group 'both' counts the same texts as two seeds: name each seed once" in capsys.readouterr().err
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"seed": 1}))
    assert call(generations / "other", "--group", group, "--output_dir", tmp_path / "s") == 0
    one, two, _ = json.loads((tmp_path / "s" / "scores.json").read_text())["conditions"]
    assert (two["name"], two["seeds"]) == ("both", 2)
    assert two["scores"]["rep_4"]["n"] == 2 * one["scores"]["rep_4"]["n"]
    assert two["scores"]["rep_4"]["value"] == pytest.approx(one["scores"]["rep_4"]["value"])
    assert "seeds and contexts" in two["scores"]["rep_4"]["signature"]


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_files_of_another_tool(tiny, tmp_path, capsys):
    words = write(tmp_path / "words.jsonl", [{"output": "a b c a b c a b c"}, {"output": "d e f"}, {"output": ""}])
    assert call(words, "--text_column", "output", "--output_dir", tmp_path / "a") == 0
    entry = json.loads((tmp_path / "a" / "scores.json").read_text())["conditions"][0]
    assert entry["empty"] == 1 and entry["scores"]["loop_rate_words"]["value"] == 0.5
    assert "ttr" not in entry["scores"] and "3, 1 empty" in (tmp_path / "a" / "scores.md").read_text()
    ids = write(tmp_path / "ids.jsonl", [{"id": "x", "generated": [5, 6, 7] * 40}, {"id": "y", "generated": [5] * 96}])
    assert call(ids, "--token_column", "generated", "--metrics", "ttr", "rep_2", "--output_dir", tmp_path / "b") == 0
    entry = json.loads((tmp_path / "b" / "scores.json").read_text())["conditions"][0]
    assert set(entry["scores"]) == {"ttr", "rep_2"} and entry["scores"]["ttr"]["value"] == pytest.approx(2 / 96)
    again = ["--token_column", "generated", "--tokenizer", tiny / "fp32", "--output_dir", tmp_path / "c"]
    assert call(ids, *again) == 0
    assert "ttr_words" in json.loads((tmp_path / "c" / "scores.json").read_text())["conditions"][0]["scores"]


def test_true_continuations_may_be_words_alone(reference, tmp_path):
    rows = [{"id": i, "token_ids": [5 + i, 6, 7] * 40, "reference": "in words"} for i in range(2)]
    file = write(tmp_path / "f.jsonl", rows)
    assert call(file, "--train_rows", reference, "--output_dir", tmp_path / "s") == 0
    mine, original = json.loads((tmp_path / "s" / "scores.json").read_text())["conditions"]
    assert "quotes" in mine and "quotes" not in original and original["scores"]["length_words"]["value"] == 2


def test_other_contexts_are_not_compared_unless_asked(generations, tmp_path, capsys):
    foreign = write(
        tmp_path / "f.jsonl", [{"id": "z", "token_ids": [1, 2, 3] * 40}, {"id": "w", "token_ids": [4] * 120}]
    )
    assert call(generations / "other", foreign, "--output_dir", tmp_path / "s") == 0
    assert (
        "Not compared with other, because their contexts are others: f." in (tmp_path / "s" / "scores.md").read_text()
    )
    assert call(generations / "other", foreign, "--baseline", "other", "--output_dir", tmp_path / "t") == 2
    assert "a paired difference needs the same contexts, but 'other' and 'f'" in capsys.readouterr().err


MISTAKES = {
    "nothing": ([], "nothing to score"),
    "no folder": (["gone/folder"], "gone/folder cannot be scored: it does not exist"),
    "an unfinished folder": (["EMPTY"], "it holds no generations.jsonl: let launch/generate.py finish"),
    "a missing column": (["TEXTS", "--text_column", "body"], "it has id, answer: set --text_column or --token_column"),
    "empty file": (["NOTHING"], "holds no texts"),
    "unknown metric": (["GOOD", "--metrics", "rep_44"], "unknown metric 'rep_44', did you mean 'rep_4'?"),
    "overlap without rows": (["GOOD", "--metrics", "overlap"], "it needs the training rows: give --train_rows"),
    "tokens of words": (["WORDS", "--metrics", "ttr"], "its texts have no token ids: give --tokenizer"),
    "ids beyond the vocabulary": (["BEYOND", "--tokenizer", "TINY"], "hold 99999, the tokenizer knows"),
    "ids that are none": (["BROKEN"], "must be a list of whole numbers"),
    "model scores of a foreign file": (["GOOD", "--model_scores"], "does not say which model made it"),
    "unknown baseline": (["GOOD", "--baseline", "bad"], "--baseline 'bad' is none of the conditions: good"),
    "one name twice": (["GOOD", "GOOD"], "two sets are named 'good': write NAME=WHERE"),
    "a group without a name": (["--group", "GOOD"], "must be NAME=WHERE,WHERE"),
    "another tokenizer's rows": (["RUNS", "--train_rows", "OTHER"], "made with another tokenizer than"),
    "rows beside words": (["WORDS", "--train_rows", "RUN"], "compares token ids, and 'words' has none"),
    "no output": (["GOOD", "--output_dir", "WORDS"], "is a file"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_bad_input(mistake, generations, reference, tiny, tmp_path, capsys):
    words, message = MISTAKES[mistake]
    (tmp_path / "empty").mkdir()
    (tmp_path / "nothing.jsonl").touch()
    corpus = Corpus.load(reference / "corpus")
    other = Corpus(corpus.train, corpus.validation, corpus.train_documents, corpus.validation_documents, "another")
    other.save(tmp_path / "run" / "corpus", AutoTokenizer.from_pretrained(tiny / "fp32"))
    files = {
        "TEXTS": write(tmp_path / "texts.jsonl", [{"id": 1, "answer": "x"}]),
        "GOOD": write(tmp_path / "good.jsonl", [{"id": 1, "token_ids": [1, 2, 3]}]),
        "WORDS": write(tmp_path / "words.jsonl", [{"id": 1, "text": "a b c"}]),
        "BEYOND": write(tmp_path / "beyond.jsonl", [{"id": 1, "token_ids": [1, 99999]}]),
        "BROKEN": write(tmp_path / "broken.jsonl", [{"id": 1, "token_ids": [1, "two"]}]),
        **{"EMPTY": tmp_path / "empty", "NOTHING": tmp_path / "nothing.jsonl", "TINY": tiny / "fp32"},
        **{"RUNS": generations / "other", "OTHER": tmp_path / "run", "RUN": reference},
    }
    output = [] if "--output_dir" in words else ["--output_dir", tmp_path / "out"]
    assert call(*(files.get(word, word) for word in words), *output) == 2
    shown = capsys.readouterr().err
    assert shown.count("error: ") == 1 and message in shown and "Traceback" not in shown, shown
    assert not (tmp_path / "out").exists()


def test_scores_are_not_overwritten(generations, tmp_path, capsys):
    assert call(generations / "other", "--metrics", "ttr", "--output_dir", tmp_path) == 0
    before = (tmp_path / "scores.json").read_bytes()
    assert call(generations / "other", "--metrics", "rep_4", "--output_dir", tmp_path) == 2
    assert "holds scores: replace them with --overwrite" in capsys.readouterr().err
    assert (tmp_path / "scores.json").read_bytes() == before
    assert call(generations / "other", "--metrics", "rep_4", "--output_dir", tmp_path, "--overwrite") == 0
    assert (tmp_path / "scores.json").read_bytes() != before


@pytest.mark.parametrize("name", ["report.html", "scores.md", "scores.json", "options.yaml"])
def test_only_what_a_scoring_wrote_is_replaced(name, generations, tmp_path, capsys):
    words = [generations / "other", "--metrics", "ttr", "--output_dir", tmp_path, "--overwrite"]
    foreign = "{}" if name == "scores.json" else "model: mine\n"
    (tmp_path / name).write_text(foreign)
    assert call(*words) == 2 and f"holds {name}, which no scoring wrote" in capsys.readouterr().err
    assert (tmp_path / name).read_text() == foreign and len(list(tmp_path.iterdir())) == 1
    (tmp_path / name).unlink()
    assert call(*words) == 0
    (tmp_path / "scores.tex").write_text("mine")  # which that scoring did not write
    assert call(*words, "--latex") == 2 and "holds scores.tex, which no scoring wrote" in capsys.readouterr().err
    (tmp_path / "scores.tex").unlink()
    (tmp_path / "scores.md").rename(tmp_path / "notes")
    (tmp_path / "scores.md").symlink_to(tmp_path / "notes")
    assert call(*words) == 2 and "holds scores.md, which no scoring wrote" in capsys.readouterr().err
    (tmp_path / "scores.md").unlink()
    (tmp_path / "scores.json").unlink()  # as if it had been killed
    assert call(*words[:-1]) == 0


def test_a_model_that_was_changed_is_refused(generations, tmp_path, capsys):
    shutil.copytree(generations, tmp_path / "g")
    manifest = tmp_path / "g" / "other" / "manifest.json"
    facts = json.loads(manifest.read_text()) | {"model": str(generations / "base_model")}
    manifest.write_text(json.dumps(facts))
    assert call(tmp_path / "g" / "other", "--model_scores", "--output_dir", tmp_path / "s") == 2
    assert "is not the model that made 'other': it was changed since" in capsys.readouterr().err


LATE = {
    "a second model that is gone": (
        ["--model_scores"],
        "cannot be loaded: there is no such folder; 'other' was made with it, says its manifest.json: put it back",
    ),
    "weights that are gone": (["--model_scores"], "cannot be loaded"),
    "a tokenizer that is gone": (["--train_rows", "RUN"], "give --tokenizer"),
    "a metric without its flag": (["--metrics", "ttr", "entropy_original"], "give --model_scores"),
    "contexts of another kind": (["--baseline", "base greedy"], "a paired difference needs the same contexts"),
    "MAUVE's model": (["--mauve_model", "GONE"], "gone' cannot be loaded"),
    "a run as MAUVE's model": (["--mauve_model", "RUN"], "error: --mauve_model "),
    "a folder that cannot be": (["--output_dir", "/proc/scores"], "/proc/scores is not writable"),
}


@pytest.mark.parametrize("what", LATE)
def test_what_is_missing_is_said_before_anything_is_scored(what, generations, reference, tmp_path, monkeypatch, capsys):
    words, message = LATE[what]

    def scored(*arguments, **options):
        raise AssertionError("texts were scored")

    monkeypatch.setattr(command, "score_conditions", scored)
    monkeypatch.setattr("hyperfitting.scoring.model_scores.score_with_models", scored)
    for name in ("base", "other"):
        shutil.copytree(generations / name, tmp_path / name)
    manifest = tmp_path / "other" / "manifest.json"
    facts = json.loads(manifest.read_text())
    if what == "weights that are gone":
        hollow = shutil.copytree(generations / "other_model", tmp_path / "hollow")
        (hollow / "model.safetensors").unlink()
        manifest.write_text(json.dumps(facts | {"model": str(hollow)}))
    elif what != "a folder that cannot be":
        manifest.write_text(json.dumps(facts | {"model": str(tmp_path / "gone")}))
    if what == "contexts of another kind":
        file = tmp_path / "other" / "generations.jsonl"
        file.write_text(file.read_text().replace('"id": "c', '"id": "d'))
    if "MAUVE's model" in what:
        monkeypatch.setattr("hyperfitting.scoring.mauve.import_mauve", lambda: None)
    files = {"RUN": reference, "GONE": tmp_path / "gone"}
    output = [] if "--output_dir" in words else ["--output_dir", tmp_path / "s"]
    assert call(tmp_path / "base", tmp_path / "other", *(files.get(word, word) for word in words), *output) == 2
    assert message in capsys.readouterr().err and not (tmp_path / "s").exists()


def test_a_lost_tokenizer_is_asked_for_by_its_own_flag(reference, tmp_path, capsys):
    rows = [json.loads(line) for line in (reference / "corpus" / "train.jsonl").read_text().splitlines()]
    ids = [row["input_ids"] for row in rows[:3]]
    folder = tmp_path / "made"
    folder.mkdir()
    (folder / "generations.jsonl").write_text(
        "".join(
            json.dumps(
                {"id": f"c-{i}", "source": "c", "policy": "greedy", "context_ids": row[:4], "continuation_ids": row[4:]}
            )
            + "\n"
            for i, row in enumerate(ids)
        )  # fmt: skip
    )
    (folder / "manifest.json").write_text(json.dumps({"model": "gone/model", "policies": ["greedy"]}))
    assert main([str(folder), "--train_rows", str(reference), "--output_dir", str(tmp_path / "s")]) == 2
    shown = capsys.readouterr().err
    assert "quotations need the tokenizer of" in shown and "give --tokenizer" in shown
