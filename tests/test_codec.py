"""What stands between text and ids: which tokenizer, of which revision, and that ids of another one are noticed."""

import pytest
import transformers
from transformers import AutoTokenizer

from hyperfitting import Corpus, UserError
from hyperfitting.codec import TextCodec, as_codec, load_codec
from hyperfitting.generation import GenerationRunner, load_contexts


@pytest.fixture
def asked(monkeypatch, tiny):
    """What AutoTokenizer.from_pretrained was asked for, call by call."""
    calls, load = [], AutoTokenizer.from_pretrained

    def from_pretrained(name, **options):
        calls.append((name, options["revision"], options["trust_remote_code"]))
        return load(tiny / "fp32")

    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", from_pretrained)
    return calls


def test_a_models_revision_is_not_that_of_another_tokenizer(asked):
    load_codec("me/model", revision="v2", trust_remote_code=True)
    load_codec("me/model", "you/tokenizer", revision="v2")
    assert asked == [("me/model", "v2", True), ("you/tokenizer", None, False)]


def test_an_error_blames_the_flag_that_named_it():
    with pytest.raises(UserError, match="'gone/tokenizer' cannot be loaded: give --tokenizer"):
        load_codec("builtin/base_model", "gone/tokenizer")
    with pytest.raises(UserError, match="'gone/model' cannot be loaded: give --model"):
        load_codec("gone/model")


def test_a_tokenizer_is_a_codec(tiny):
    tokenizer = AutoTokenizer.from_pretrained(tiny / "fp32")
    codec = as_codec(tokenizer)
    assert as_codec(codec) is codec and codec.end_ids == {tokenizer.eos_token_id} and len(codec) == len(tokenizer)
    (ids,) = codec.encode(["a small old boat"])
    assert ids == tokenizer("a small old boat")["input_ids"] and codec.decode(ids) == "a small old boat"
    assert codec.fingerprint == TextCodec(AutoTokenizer.from_pretrained(tiny / "bf16")).fingerprint
    assert codec.fingerprint != load_codec("builtin/base_model").fingerprint


def test_a_start_token_is_no_text(tiny):
    tokenizer = AutoTokenizer.from_pretrained(tiny / "fp32", bos_token="<|end|>")
    codec, ids, start = TextCodec(tokenizer), tokenizer("a red boat")["input_ids"], tokenizer.bos_token_id
    assert codec.decode([start, *ids]) == "a red boat" and codec.decode([]) == ""
    assert codec.decode([*ids, start]) == "a red boat<|end|>"  # one that stands elsewhere is shown


def test_contexts_from_rows_that_another_tokenizer_made_are_refused(reference, tiny, tmp_path):
    codec, corpus = load_codec(str(tiny / "fp32")), Corpus.load(reference / "corpus")
    assert len(load_contexts([str(reference)], codec, 2, 8, 60)) == 2
    other = Corpus(corpus.train, corpus.validation, corpus.train_documents, corpus.validation_documents, "another")
    other.save(tmp_path / "other" / "corpus", codec)
    with pytest.raises(UserError, match="validation rows of .*other were made with another tokenizer"):
        load_contexts([str(tmp_path / "other")], codec, 2, 8, 60)


def test_a_models_revision_reaches_every_part_of_a_generation(tiny, tmp_path, monkeypatch):
    asked = {name: set() for name in ("AutoConfig", "AutoModelForCausalLM", "AutoTokenizer")}

    def note(name):
        kind = getattr(transformers, name)
        load = kind.from_pretrained

        def from_pretrained(where, *, revision, **options):
            asked[name].add(revision)  # of a config also none, when model and tokenizer read it from where it now is
            return load(where, **options)

        monkeypatch.setattr(kind, "from_pretrained", from_pretrained)

    for name in asked:
        note(name)
    runner = GenerationRunner(tiny / "fp32", "greedy", output_dir=tmp_path, revision="v2", max_length=20)
    assert all("v2" in revisions for revisions in asked.values()), asked
    assert runner.revision == "v2"
