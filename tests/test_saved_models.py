"""What a run leaves opens wherever its source opened: sources that transformers 4.57 wrote (fixtures/make_sources.py)."""

import json
import random
from pathlib import Path

import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM, AutoTokenizer

from hyperfitting import Hyperfitter
from hyperfitting.codec.tokenizer_files import KNOWN_FILES, tokenizer_config_with_older_names
from hyperfitting.models.older_names import config_with_older_names

SOURCES = Path(__file__).parent / "fixtures" / "sources"
FAMILIES = sorted(path.name for path in SOURCES.iterdir())
MAY_DIFFER = {"transformers_version", "dtype", "torch_dtype"}
WORDS = "The boat lay on the sand. “Far?” Zwölf 1987 снег\n\treturn never <s> <|eot_id|> 雪 birds, hadn't  seen".split(
    " "
)


@pytest.fixture(scope="module")
def texts():
    choice = random.Random(0)
    return [" ".join(choice.choices(WORDS, k=choice.randrange(40))) for _ in range(500)]


@pytest.fixture(scope="module")
def final(tmp_path_factory, texts):
    """family -> the final/ of a short run from its source, made when first asked."""
    folder, made = tmp_path_factory.mktemp("some.person"), {}
    (folder / "rows.jsonl").write_text(
        "".join(json.dumps({"text": text + " " + " ".join(WORDS)}) + "\n" for text in texts)
    )

    def run(family: str) -> Path:
        if family not in made:
            made[family] = Hyperfitter(
                str(SOURCES / family), dataset=str(folder / "rows.jsonl"), output_dir=str(folder / family), seq_len=16, num_train=8,
                num_validation=2, epochs=1, learning_rate=1e-3, probe_contexts=0, keep_checkpoints=1,
            ).fit().final_dir  # fmt: skip
        return Path(made[family])

    return run


def read(folder: Path, name: str) -> dict:
    return json.loads((folder / name).read_text())


@pytest.mark.parametrize("family", FAMILIES)
def test_every_setting_of_the_source_is_there(family, final):
    source, written = read(SOURCES / family, "config.json"), read(final(family), "config.json")
    assert {key: written.get(key, "missing") for key in source if key not in MAY_DIFFER} == {
        key: value for key, value in source.items() if key not in MAY_DIFFER
    }
    assert written["dtype"] == written["torch_dtype"] == source["dtype"]


@pytest.mark.parametrize("family", FAMILIES)
def test_tokenizer_files_are_the_sources_own(family, final, texts):
    there = {name for name in KNOWN_FILES if (SOURCES / family / name).exists()}
    assert there == {name for name in KNOWN_FILES if (final(family) / name).exists()}
    for name in there - {"tokenizer_config.json"}:
        assert (final(family) / name).read_bytes() == (SOURCES / family / name).read_bytes()
    assert read(final(family), "tokenizer_config.json") == read(SOURCES / family, "tokenizer_config.json")
    before, after = (AutoTokenizer.from_pretrained(where) for where in (SOURCES / family, final(family)))
    assert before(texts)["input_ids"] == after(texts)["input_ids"]


def test_a_changed_tokenizer_is_written_as_it_is(tmp_path):
    from hyperfitting.codec import TextCodec

    tokenizer = AutoTokenizer.from_pretrained(SOURCES / "mistral")
    tokenizer.add_tokens(["<new>"])
    TextCodec(tokenizer).save(tmp_path)
    assert not (tmp_path / "tokenizer.model").exists()  # which lacks the new piece
    assert AutoTokenizer.from_pretrained(tmp_path)("<new>")["input_ids"][-1] == len(tokenizer) - 1


@pytest.mark.parametrize("family", FAMILIES)
def test_settings_that_transformers_5_wrote_have_their_older_names(family, final, tmp_path):
    """A source that has no old names gets them: the same numbers that the source of 4.57 had."""
    AutoModelForCausalLM.from_pretrained(SOURCES / family).save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(SOURCES / family).save_pretrained(tmp_path)
    source, new = read(SOURCES / family, "config.json"), read(tmp_path, "config.json")
    assert "rope_theta" not in new
    written = config_with_older_names(new, None)
    for key in ("rope_theta", "rope_local_base_freq", "rope_scaling"):
        assert written.get(key) == source.get(key)
    tokenizer = tokenizer_config_with_older_names(read(tmp_path, "tokenizer_config.json"))
    assert not {"is_local", "local_files_only"} & set(tokenizer) and tokenizer["tokenizer_class"] != "TokenizersBackend"
    assert not isinstance(tokenizer.get("extra_special_tokens"), list)
    assert set(tokenizer.get("additional_special_tokens", [])) == set(
        read(SOURCES / family, "tokenizer_config.json").get("additional_special_tokens", [])
    )


def test_a_config_that_was_changed_in_memory_keeps_nothing_of_its_source(tmp_path):
    from hyperfitting.codec import load_codec
    from hyperfitting.models import save_pretrained

    model = AutoModelForCausalLM.from_pretrained(SOURCES / "llama")
    model.config.rope_parameters = {"rope_type": "default", "rope_theta": 70000.0}
    save_pretrained(model, load_codec(str(SOURCES / "llama")), tmp_path)
    written = read(tmp_path, "config.json")
    assert (written["rope_theta"], written["rope_scaling"]) == (70000.0, None)


def test_no_folder_of_the_users_is_in_what_is_pushed(final):
    folder = final("mistral")
    assert "some.person" in str(folder)
    for file in folder.rglob("*"):
        assert b"some.person" not in file.read_bytes(), file


def test_the_card_holds_what_the_hub_asks_for(final):
    _, header, body = (final("llama") / "README.md").read_text().split("---\n", 2)
    data = yaml.safe_load(header)
    assert data["pipeline_tag"] == "text-generation" and data["library_name"] == "transformers"
    assert data["name"] == "llama-hyperfitted" and "# llama-hyperfitted" in body
    (model,) = data["model-index"]
    metrics = {metric["type"]: metric["value"] for metric in model["results"][0]["metrics"]}
    assert metrics["loss"] == pytest.approx(json.loads((final("llama").parent / "result.json").read_text())["after"][
        "validation_loss"], abs=1e-4)  # fmt: skip


def test_logits_are_the_sources_at_a_rate_of_nothing(final):
    """Old and new names describe one model: it loads to what was trained."""
    model = AutoModelForCausalLM.from_pretrained(final("gemma3"), dtype=torch.float32)
    assert {kind: rope["rope_theta"] for kind, rope in model.config.rope_parameters.items()} == {
        "full_attention": 500000.0, "sliding_attention": 20000.0
    }  # fmt: skip
