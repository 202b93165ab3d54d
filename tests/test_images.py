"""Images: a second kind of data, through the same trainer and runner as text."""

import io
import json
import pickle
import random
import shutil
import sys

import datasets
import numpy as np
import pytest
import torch
from conftest import LAUNCH, REPOSITORY, read_losses, run
from killing import kill_all, start_and_wait_for
from PIL import Image
from safetensors.torch import load_file
from transformers import ImageGPTConfig, ImageGPTForCausalImageModeling, ImageGPTImageProcessorPil

from hyperfitting import Hyperfitter, UserError
from hyperfitting.codec import load_codec
from hyperfitting.commands import convert, generate, score
from hyperfitting.corpus import Corpus, build_corpus, load_documents, load_training_rows
from hyperfitting.generation import GenerationRunner, load_contexts
from hyperfitting.models import check_no_dropout
from hyperfitting.training.recipe import Recipe
from hyperfitting.training.steps import next_token_loss

pytestmark = pytest.mark.slow

SIDE, COLOURS = 8, 27
ROW = 1 + SIDE * SIDE
QUARTER = 1 + SIDE * SIDE // 4
RECIPE = dict(
    seq_len=ROW,
    num_train=16,
    num_validation=4,
    epochs=60,
    learning_rate=5e-3,
    global_batch_size=8,
    eval_steps=60,
    save_steps=60,
    probe_contexts=4,
    probe_context_len=QUARTER,
    probe_max_length=ROW,
)


def drawn(generator, height=SIDE, width=SIDE) -> np.ndarray:
    """A picture (height, width, 3) uint8: a ground, a block and a few loose pixels."""
    picture = np.empty((height, width, 3), dtype=np.uint8)
    picture[:] = generator.integers(0, 256, 3)
    top, left = generator.integers(0, height // 2), generator.integers(0, width // 2)
    picture[top : top + height // 2, left : left + width // 2] = generator.integers(0, 256, 3)
    picture[generator.random((height, width)) < 0.1] = generator.integers(0, 256, 3)
    return picture


@pytest.fixture(scope="module")
def igpt(tmp_path_factory):
    """A folder with a tiny ImageGPT (model/), pictures (pictures/*.png) and the same in pictures.parquet."""
    folder, generator = tmp_path_factory.mktemp("igpt"), np.random.default_rng(0)
    levels = np.linspace(-1, 1, 3)
    clusters = np.stack(np.meshgrid(levels, levels, levels), -1).reshape(-1, 3)
    processor = ImageGPTImageProcessorPil(clusters=clusters, size={"height": SIDE, "width": SIDE})
    torch.manual_seed(0)
    config = ImageGPTConfig(vocab_size=COLOURS + 1, n_positions=SIDE * SIDE, n_embd=32, n_layer=2, n_head=2)
    ImageGPTForCausalImageModeling(config).save_pretrained(folder / "model")
    processor.save_pretrained(folder / "model")
    (folder / "pictures").mkdir()
    for index in range(32):
        Image.fromarray(drawn(generator)).save(folder / "pictures" / f"{index:02d}.png")
    table = {"image": [str(file) for file in sorted((folder / "pictures").iterdir())], "label": list(range(32))}
    datasets.Dataset.from_dict(table).cast_column("image", datasets.Image()).to_parquet(folder / "pictures.parquet")
    return folder


@pytest.fixture(scope="module")
def codec(igpt):
    return load_codec(str(igpt / "model"))


@pytest.fixture(scope="module")
def hyperfitted(igpt, tmp_path_factory):
    """A run that fits 16 pictures to near-zero loss."""
    folder = tmp_path_factory.mktemp("run") / "igpt"
    result = Hyperfitter(str(igpt / "model"), dataset=str(igpt / "pictures"), output_dir=str(folder), **RECIPE).fit()
    return result


def test_a_row_is_the_start_token_and_the_nearest_colour_of_each_pixel(codec):
    picture = drawn(np.random.default_rng(1))
    (row,) = codec.encode([Image.fromarray(picture)])
    clusters = codec.processor.clusters
    nearest = [
        min(
            range(COLOURS),
            key=lambda c: sum((value / 127.5 - 1 - clusters[c][i]) ** 2 for i, value in enumerate(pixel)),
        )
        for pixel in picture.reshape(-1, 3).tolist()
    ]
    assert row == [COLOURS, *nearest] and len(codec) == COLOURS + 1
    assert codec.encode([Image.fromarray(picture)], special=False) == [nearest]


def test_many_images_are_what_the_image_processor_makes_of_each(codec, igpt):
    generator = np.random.default_rng(2)
    sizes = [(SIDE, SIDE), (20, 9), (5, 40)] * 60
    images = [Image.fromarray(drawn(generator, *size)) for size in sizes]
    processor = ImageGPTImageProcessorPil.from_pretrained(igpt / "model")
    assert [row[1:] for row in codec.encode(images)] == [processor(i)["input_ids"][0].tolist() for i in images]


def test_a_row_is_drawn_in_the_colours_of_its_ids(codec):
    ids = np.random.default_rng(3).integers(0, COLOURS, SIDE * SIDE)
    picture = np.array(Image.open(io.BytesIO(codec.pixels.png([COLOURS, *ids]))))
    expected = np.rint(127.5 * (np.asarray(codec.processor.clusters)[ids] + 1)).reshape(SIDE, SIDE, 3)
    assert np.array_equal(picture, expected)
    assert codec.encode([Image.fromarray(picture)]) == [[COLOURS, *ids.tolist()]]
    short = codec.pixels.picture([COLOURS, *ids[:11]])  # a row and three pixels
    assert np.array_equal(short.reshape(-1, 3)[:11], expected.reshape(-1, 3)[:11]) and (short[2:] == 128).all()


def test_a_grid_marks_what_was_given(codec):
    rows = [[COLOURS, *[0] * SIDE * SIDE]] * 3  # black
    grid = np.array(Image.open(io.BytesIO(codec.draw({"a": rows, "b": rows}, 1 + 2 * SIDE))))
    marked = (grid == (255, 0, 80)).all(-1)
    assert marked.any(1).sum() == 3 and marked.any(0).sum() >= 2 * 4 * SIDE  # a line through each of 3 x 2 pictures
    stepped = np.array(Image.open(io.BytesIO(codec.draw({"a": rows[:1]}, 1 + 2 * SIDE + 3))))
    assert (stepped == (255, 0, 80)).all(-1).any(1).sum() == 5  # down by one pixel, which is drawn as four


def test_headings_stay_above_their_columns(codec):
    rows = [[COLOURS, *[0] * SIDE * SIDE]]

    def written(heading, place):
        """Where columns are dark above the pictures, of a grid with one heading."""
        names = ["", " ", "  "]
        names[place] = heading
        grid = np.array(Image.open(io.BytesIO(codec.draw(dict.fromkeys(names, rows), 1 + SIDE))).convert("L"))
        return (grid[: -4 * SIDE - 4] < 128).any(0).nonzero()[0]

    for heading in ("noise damaged by as much", "W" * 40):
        there = written(heading, 1)
        assert len(there) and 4 + 4 * SIDE + 4 <= there.min() and there.max() < 4 + 2 * (4 * SIDE + 4)


def test_the_hubs_files_of_every_age_give_one_codec(igpt, codec, tmp_path):
    clusters = codec.processor.clusters.tolist()
    ages = (
        {"feature_extractor_type": "ImageGPTFeatureExtractor", "resample": 2, "size": SIDE},
        {"image_processor_type": "ImageGPTImageProcessor", "size": {"height": SIDE, "width": SIDE}},
    )
    for facts in ages:
        (tmp_path / "preprocessor_config.json").write_text(json.dumps({"clusters": clusters, **facts}))
        assert load_codec(str(tmp_path)).fingerprint == codec.fingerprint
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"clusters": clusters[:-1], **ages[0]}))
    assert load_codec(str(tmp_path)).fingerprint != codec.fingerprint


def saved(folder, image, name, **options):
    image.save(folder / name, **options)
    return str(folder / name)


def test_images_of_every_kind_are_converted_and_counted(igpt, tmp_path):
    codec, picture = load_codec(str(igpt / "model")), Image.fromarray(drawn(np.random.default_rng(4)))
    clear = picture.convert("RGBA")
    clear.putalpha(0)
    turned, exif = Image.fromarray(drawn(np.random.default_rng(5), 8, 16)), Image.Exif()
    exif[0x0112] = 6
    files = [
        saved(tmp_path, picture, "plain.png"),
        saved(tmp_path, picture.convert("L"), "grey.png"),
        saved(tmp_path, clear, "clear.png"),
        saved(tmp_path, picture.quantize(4), "palette.gif"),
        saved(tmp_path, turned, "turned.png", exif=exif),
        saved(tmp_path, picture.resize((24, 24)), "large.png"),
    ]
    plain, grey, white, palette, upright, large = codec.encode(files)
    processor = codec.processor

    def expected(image):
        return [COLOURS, *processor(image, do_convert_rgb=True)["input_ids"][0].tolist()]

    assert plain == expected(picture) and grey == expected(picture.convert("L"))
    assert white == [COLOURS] + [COLOURS - 1] * SIDE * SIDE  # what is clear is white
    assert palette == expected(Image.open(files[3])) and large == expected(picture.resize((24, 24)))
    assert upright == expected(turned.transpose(Image.Transpose.ROTATE_270)) != expected(turned)
    assert codec.notes() == [
        "images that were read: 6; converted: 1 grey, 1 of another aspect, 2 of another size, 1 transparent, 1 turned, "
        "1 with a palette"
    ]


def test_a_folder_and_a_table_give_the_same_rows(igpt, codec):
    whole = [load_training_rows(str(igpt / name), codec).rows for name in ("pictures", "pictures.parquet")]
    assert whole[0] == whole[1] and len(whole[0]) == 32
    recipe = Recipe.load(model="m", dataset=str(igpt / "pictures"), **RECIPE)
    corpus = build_corpus(recipe, codec)
    assert corpus.train.shape == (16, ROW) and (corpus.train[:, 0] == COLOURS).all()
    assert corpus.train[:, 1:].max() < COLOURS


def broken(igpt, folder, kind):
    """A dataset that cannot be used."""
    good = sorted((igpt / "pictures").iterdir())[0]
    if kind == "damaged.png":
        (folder / kind).write_bytes(good.read_bytes()[:60])
    elif kind == "text.png":
        (folder / kind).write_text("no image")
    elif kind == "empty.png":
        (folder / kind).touch()
    elif kind == "notes.doc":
        (folder / kind).write_text("no image")
    elif kind == "damaged.parquet":
        table = {"image": [{"bytes": data, "path": None} for data in (good.read_bytes(), b"no image")]}
        datasets.Dataset.from_dict(table).to_parquet(folder / kind)
    elif kind == "missing.parquet":
        table = {"image": [{"bytes": good.read_bytes(), "path": None}, None]}
        datasets.Dataset.from_dict(table).to_parquet(folder / kind)
    elif kind == "words.parquet":
        datasets.Dataset.from_dict({"words": ["a"], "label": [1]}).to_parquet(folder / kind)
    elif kind == "pairs.parquet":
        table = {name: [{"bytes": good.read_bytes(), "path": None}] for name in ("left", "right")}
        datasets.Dataset.from_dict(table).to_parquet(folder / kind)
    elif kind == "folder":
        (folder / kind).mkdir()
        (folder / kind / "notes.txt").write_text("no image")
    return str(folder / kind)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("damaged.png", r"damaged.png of dataset .* is no image that Pillow can read \(.*mend it, or leave it out"),
        ("text.png", r"text.png of dataset .* is no image that Pillow can read"),
        ("empty.png", r"empty.png is empty"),
        ("notes.doc", r"the ending '.doc'; use one of .png"),
        ("gone.png", "does not exist"),
        ("damaged.parquet", "row 1 of dataset .*damaged.parquet is no image that Pillow can read"),
        ("missing.parquet", r"row 1 of dataset .* is no image that Pillow can read \(there is none\)"),
        ("words.parquet", "has no column 'text' of images; it has words, label: set --train_rows_column"),
        ("pairs.parquet", r"several of them \(left, right\): set --train_rows_column"),
        ("folder", "holds no .png"),
    ],
)
def test_bad_images_are_named(igpt, codec, tmp_path, kind, message):
    with pytest.raises(UserError, match=message):
        load_training_rows(broken(igpt, tmp_path, kind), codec)


def test_a_column_of_images_can_be_named(igpt, codec, tmp_path):
    source = broken(igpt, tmp_path, "pairs.parquet")
    assert len(load_documents(source, codec, "left")) == 1
    with pytest.raises(UserError, match="has no column 'lft' of images"):
        load_documents(source, codec, "lft")


def test_the_loss_of_a_row_is_that_of_each_pixel_after_the_start_token(igpt):
    model = ImageGPTForCausalImageModeling.from_pretrained(igpt / "model").eval()
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, COLOURS, (SIDE * SIDE,), generator=generator)
    expected, fed = 0.0, torch.tensor([COLOURS])
    with torch.no_grad():
        for pixel in pixels:
            logits = model(fed[None]).logits[0, -1]
            assert len(logits) == COLOURS  # the start token is none of what can be predicted
            expected -= logits.log_softmax(-1)[pixel].item()
            fed = torch.cat([fed, pixel[None]])
    row = torch.cat([torch.tensor([COLOURS]), pixels])[None]
    loss = next_token_loss(model(row[:, : SIDE * SIDE]).logits, row)
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    loss.backward()
    assert torch.isfinite(model.lm_head.weight.grad).all()


def test_a_run_fits_its_pictures_and_leaves_a_plain_model(hyperfitted):
    before, after = hyperfitted.before, hyperfitted.after
    assert after["train_loss"] < 0.1 * before["train_loss"]
    folder = hyperfitted.run_dir
    names = {path.name for path in (folder / "probe").iterdir()}
    assert {"step_0000000.jsonl", "step_0000000.png", "step_0000120.png"} <= names and (folder / "probe.png").exists()
    model = ImageGPTForCausalImageModeling.from_pretrained(hyperfitted.final_dir).eval()
    assert model.lm_head.weight.shape[0] == COLOURS and model.transformer.wte.weight.shape[0] == COLOURS + 1
    rows = Corpus.load(folder / "corpus").validation
    with torch.no_grad():
        logits = model(rows[:, :-1]).logits.log_softmax(-1)
    loss = -logits.gather(-1, rows[:, 1:, None]).mean().item()
    assert loss == pytest.approx(after["validation_loss"], abs=1e-4)
    probe = [json.loads(line) for line in (folder / "probe" / "step_0000120.jsonl").read_text().splitlines()]
    assert [len(line["context_ids"]) for line in probe] == [QUARTER] * 4 and probe[0]["context"] is None
    made = model.generate(rows[:, :QUARTER], max_length=ROW, do_sample=False)
    assert made[:, QUARTER:].tolist() == [line["continuation_ids"] for line in probe]


def test_a_run_that_goes_on_is_the_same_run(hyperfitted, igpt, tmp_path):
    values = {**RECIPE, "dataset": str(igpt / "pictures"), "output_dir": str(tmp_path / "run")}
    for epochs, resume in ((30, None), (60, "auto")):
        Hyperfitter(str(igpt / "model"), **{**values, "epochs": epochs}).fit(resume=resume)
    assert read_losses(tmp_path / "run") == read_losses(hyperfitted.run_dir)
    for name in ("step_0000000.png", "step_0000120.png"):
        assert (tmp_path / "run" / "probe" / name).read_bytes() == (hyperfitted.run_dir / "probe" / name).read_bytes()


def test_dropout_is_off(igpt):
    from hyperfitting.models import load_config, load_for_training

    name = str(igpt / "model")
    config = load_config(name)
    assert config.attn_pdrop == 0.1
    check_no_dropout(load_for_training(name, config))


POLICIES = ["greedy", "nucleus(p=0.9)", "repetition_penalty"]


def test_pictures_are_completed_by_default_from_their_first_quarter(hyperfitted, igpt, tmp_path):
    words = ["--model", hyperfitted.final_dir, "--contexts", f"drawn={igpt / 'pictures'}", "--num_contexts", 6]
    words += [*(word for policy in POLICIES for word in ("--policy", policy)), "--output_dir"]
    assert generate.main([str(word) for word in [*words, tmp_path / "one"]]) == 0
    records = [json.loads(line) for line in (tmp_path / "one" / "generations.jsonl").read_text().splitlines()]
    assert [record["policy"].split("(")[0] for record in records[::6]] == ["greedy", "nucleus", "repetition_penalty"]
    for record in records:
        assert len(record["context_ids"]) == QUARTER and len(record["continuation_ids"]) == ROW - QUARTER
        assert record["context_ids"][0] == COLOURS and max(record["continuation_ids"]) < COLOURS
        assert record["finish_reason"] == "length" and record["continuation"] is None
    assert generate.main([str(word) for word in [*words, tmp_path / "two", "--batch_size", 4]]) == 0
    again = (tmp_path / "two" / "generations.jsonl").read_text()
    assert again == (tmp_path / "one" / "generations.jsonl").read_text()


def test_completions_are_scored_beside_the_true_pictures(hyperfitted, igpt, tmp_path):
    for name, model in (("base", igpt / "model"), ("tuned", hyperfitted.final_dir)):
        words = ["--model", model, "--contexts", f"run={hyperfitted.run_dir}", "--num_contexts", 4]
        assert generate.main([str(word) for word in [*words, "--output_dir", tmp_path / name]]) == 0
    words = [tmp_path / "base", tmp_path / "tuned", "--train_rows", hyperfitted.run_dir, "--model_scores"]
    assert score.main([str(word) for word in [*words, "--output_dir", tmp_path / "scores"]]) == 0
    found = json.loads((tmp_path / "scores" / "scores.json").read_text())
    scores = {condition["name"]: condition["scores"] for condition in found["conditions"]}
    assert list(scores) == ["base", "tuned", "original image"]
    loss = scores["tuned"]["loss_original"]["value"]
    assert scores["base"]["repeated_lines"]["n"] == 4 and loss > scores["tuned"]["loss_generated"]["value"]
    assert scores["original image"]["nearest_training"]["value"] > 0 and "ttr_words" not in scores["tuned"]
    assert "data:image/png;base64," in (tmp_path / "scores" / "report.html").read_text()


def test_two_processes_give_the_same_bytes(hyperfitted, tmp_path, monkeypatch):
    def records(folder, rank=0, world=1) -> bytes | None:
        """What one process of several leaves in generations.jsonl; they talk through the folder alone."""
        monkeypatch.setenv("RANK", str(rank))
        monkeypatch.setenv("WORLD_SIZE", str(world))
        runner = GenerationRunner(hyperfitted.final_dir, POLICIES, output_dir=folder, batch_size=2)
        runner.run(load_contexts([str(hyperfitted.run_dir)], runner.codec, 4))
        return runner.folder.records.read_bytes() if runner.folder.records.exists() else None

    one = records(tmp_path / "one")
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "manifest.json").write_bytes((tmp_path / "one" / "manifest.json").read_bytes())
    assert records(tmp_path / "two", rank=1, world=2) is None
    assert len(list((tmp_path / "two" / "batches").glob("*/*.jsonl"))) == 3  # of two batches under three policies
    assert records(tmp_path / "two", rank=0, world=2) == one


def launch(igpt, config, folder, *extra):
    """The words that hyperfit in two processes, with a checkpoint every 20 of 120 steps."""
    recipe = {**RECIPE, "save_steps": 20, "eval_steps": 120, "probe_contexts": 2, "mixed_precision": "no"}
    words = [word for name, value in recipe.items() for word in (f"--{name}", value)]
    words += ["--model", igpt / "model", "--dataset", igpt / "pictures", "--output_dir", folder, "--cpu", *extra]
    config = ["--config_file", f"accelerate_configs/{config}.yaml", "--num_processes", 2]
    return [*LAUNCH, *config, "launch/hyperfit.py", *words]


@pytest.mark.parametrize("config", ["ddp", "zero2"])
def test_two_processes_fit_pictures_and_go_on_after_a_kill_as_if_nothing_had_been(hyperfitted, igpt, tmp_path, config):
    done = run(launch(igpt, config, tmp_path / "whole"))
    assert done.returncode == 0, done.stdout + done.stderr
    losses = read_losses(tmp_path / "whole")
    assert losses == pytest.approx(read_losses(hyperfitted.run_dir), abs=1e-3) and len(losses) == 120
    assert losses[-1] < 0.05 * losses[0]
    assert len(list((tmp_path / "whole" / "probe").glob("*.png"))) == 2
    killed, step = tmp_path / "killed", random.Random().randint(25, 100)
    kill_all(start_and_wait_for(launch(igpt, config, killed), killed, step))
    assert not (killed / "final").exists()
    done = run(launch(igpt, config, killed, "--resume", "auto"))
    assert done.returncode == 0 and "resumed from" in done.stdout, done.stdout + done.stderr
    assert read_losses(killed) == losses, f"killed at step {step}"
    for file in ("final/model.safetensors", "probe/step_0000120.png"):
        assert (killed / file).read_bytes() == (tmp_path / "whole" / file).read_bytes(), f"killed at step {step}"


def test_pictures_have_no_words_to_cut_a_citation_at(hyperfitted, tmp_path):
    runner = GenerationRunner(
        hyperfitted.final_dir, "greedy+citation_blocker", output_dir=tmp_path, train_rows=hyperfitted.run_dir
    )
    contexts = load_contexts([str(hyperfitted.run_dir)], runner.codec, 2)
    with pytest.raises(UserError, match="has no words: leave \\+citation_blocker out"):
        runner.run(contexts)


def test_a_row_of_more_than_the_window_and_its_last_pixel_is_refused(igpt, tmp_path):
    with pytest.raises(UserError, match=f"must fit the model's window of {SIDE * SIDE} tokens"):
        Hyperfitter(
            str(igpt / "model"),
            dataset=str(igpt / "pictures"),
            output_dir=str(tmp_path),
            **{**RECIPE, "seq_len": ROW + 1},
        ).fit()


@pytest.fixture
def pickled(igpt, tmp_path):
    """The tiny model with .bin weights, as the Hub holds those of openai/imagegpt-*."""
    folder = tmp_path / "pickled"
    folder.mkdir()
    for file in (igpt / "model").iterdir():
        if file.suffix == ".json":
            (folder / file.name).write_bytes(file.read_bytes())
    weights = load_file(igpt / "model" / "model.safetensors")
    masks = {f"transformer.h.{n}.attn.masked_bias": torch.tensor(-1e4) for n in range(2)}
    torch.save({**weights, **masks}, folder / "pytorch_model.bin")
    return folder


def test_pickled_weights_are_converted_once(igpt, pickled, tmp_path, capsys):
    with pytest.raises(UserError, match="`hyperfitting convert` makes safetensors"):
        GenerationRunner(str(pickled), "greedy", output_dir=tmp_path / "g")
    output = tmp_path / "converted"
    assert convert.main(["--model", str(pickled), "--output_dir", str(output)]) == 0
    assert "transformer.h.0.attn.masked_bias" in capsys.readouterr().out
    weights, original = (load_file(f / "model.safetensors") for f in (output, igpt / "model"))
    assert weights.keys() == original.keys() and all(torch.equal(weights[name], original[name]) for name in weights)
    assert load_codec(str(output)).fingerprint == load_codec(str(igpt / "model")).fingerprint
    assert convert.main(["--model", str(pickled), "--output_dir", str(output)]) == 2
    capsys.readouterr()
    assert convert.main(["--model", str(output), "--output_dir", str(tmp_path / "again")]) == 2
    assert "holds safetensors weights already" in capsys.readouterr().err
    (output / "config.json").unlink()
    assert convert.main(["--model", str(output), "--output_dir", str(tmp_path / "again")]) == 2
    assert "has no config.json" in capsys.readouterr().err


class Surprise:
    def __reduce__(self):
        return print, ("code of a checkpoint has run",)


def test_nothing_but_tensors_is_unpickled(pickled, tmp_path, capsys):
    (pickled / "pytorch_model.bin").write_bytes(pickle.dumps({"transformer.wte.weight": Surprise()}))
    assert convert.main(["--model", str(pickled), "--output_dir", str(tmp_path / "converted")]) == 2
    torch.save({"transformer.wte.weight": Surprise()}, pickled / "pytorch_model.bin")
    assert convert.main(["--model", str(pickled), "--output_dir", str(tmp_path / "converted")]) == 2
    shown = capsys.readouterr()
    assert "has run" not in shown.out and "cannot be loaded" in shown.err and not (tmp_path / "converted").exists()


def test_pre_training_without_a_model_is_no_success(igpt, tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(REPOSITORY / "launch")
    import pretrain_builtin
    import pretrain_images

    def call(script, *words):
        monkeypatch.setattr(sys, "argv", ["script", *map(str, words)])
        code = script.main()
        return code, capsys.readouterr().err

    for name in ("pretrain", "probe"):
        shutil.copy(igpt / "pictures.parquet", tmp_path / f"{name}.parquet")
    shutil.copy(igpt / "model" / "preprocessor_config.json", tmp_path)
    (tmp_path / "text.parquet").write_text("no parquet")
    damaged = datasets.Dataset.from_dict({"image": [{"bytes": b"no picture", "path": None}]})
    damaged.to_parquet(tmp_path / "damaged.parquet")
    prepare = ["prepare", "--output_dir", tmp_path / "m", "--images"]
    train = ["train", "--data", tmp_path, "--output_dir", tmp_path / "m", "--batch_size", 2]
    for words, wanted, message in (
        ([*prepare, tmp_path / "gone.parquet"], 2, "is no file"),
        ([*prepare, tmp_path / "text.parquet"], 2, "cannot be read as parquet"),
        ([*prepare, tmp_path / "damaged.parquet"], 2, "row 1 is no picture"),
        ([*train, "--minutes", 0], 2, "--minutes must be above 0"),
        ([*train, "--minutes", 0.02, "--learning_rate", 1e30], 1, "no model was saved"),
        ([*train[:1], "--data", tmp_path / "gone", *train[3:]], 2, "is no folder that `prepare` wrote"),
    ):
        code, shown = call(pretrain_images, *words)
        assert code == wanted and "error: " in shown and message in shown, shown
        assert not (tmp_path / "m").exists()
    code, shown = call(
        pretrain_builtin, "prepare", "--text", f"{tmp_path / 'gone.jsonl'}:10", "--output_dir", tmp_path / "m"
    )
    assert code == 1 and "gone.jsonl" in shown
