"""What stands between text and ids: which tokenizer, of which revision, and that ids of another one are noticed."""

import json

import pytest
import torch
import transformers
from tokenizers import Tokenizer, decoders, models, processors
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


def test_bytes_that_are_no_character_take_no_others_with_them():
    """The decoder of Llama's kind of vocabulary gives none of the bytes in a row when one of them is wrong."""
    vocabulary = {f"<0x{byte:02X}>": byte for byte in range(256)} | {"a": 256}
    backend = Tokenizer(models.BPE(vocabulary, [], byte_fallback=True))
    backend.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    codec = TextCodec(transformers.PreTrainedTokenizerFast(tokenizer_object=backend))
    ids = list("မြa猫猫".encode())
    ids[6] = 256  # the letter, which is a piece of its own
    assert codec.decode(ids) == "မြa猫猫"
    assert codec.decode(ids[:-1]) == "မြa猫\ufffd" and codec.decode(ids[1:]) == "\ufffd\ufffdြa猫猫"
    assert codec.decode([*ids[:3], 0xFF, *ids[3:]]) == "မ\ufffdြa猫猫"


def around(tiny, template, **special):
    """The codec of the tiny tokenizer with a template such as `<s> $A </s>` around each document."""
    tokenizer = AutoTokenizer.from_pretrained(tiny / "fp32", **special)
    names = [piece for piece in template.split() if piece != "$A"]
    tokenizer.add_special_tokens({"additional_special_tokens": names})
    ids = [(name, tokenizer.convert_tokens_to_ids(name)) for name in dict.fromkeys(names)]
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(template, special_tokens=ids)
    return TextCodec(tokenizer)


@pytest.mark.parametrize("template", ["$A </s>", "<s> $A </s>", "[CLS] $A [SEP]", "<s> <s> $A", "$A <sep> <cls>"])
def test_what_is_continued_does_not_end_and_starts_once(tiny, tmp_path, template):
    special = {"bos_token": "<s>"} if "<s>" in template else {}
    codec = around(tiny, template, **special)
    before, behind = (part.split() for part in template.split("$A"))
    before = before[:1]  # a start token once
    text = "a small old boat"
    plain = codec.encode([text], special=False)[0]
    first, last = (codec.tokenizer.convert_tokens_to_ids(names) for names in (before, behind))
    assert codec.encode([text]) == [[*first, *plain, *last]]
    assert codec.encode_opening([text, None]) == [[*first, *plain], first]
    assert codec.encode_start([text], 3) == [[*first, *plain]]
    if first and special:
        assert codec.encode(["<s>" + text]) == [[*first, *plain, *last]]
    assert codec.end_ids == {codec.tokenizer.eos_token_id, *last[:1]}
    length = len(first) + len(plain)
    (tmp_path / "prompts.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for _ in range(2)))
    whole, cut = (load_contexts([str(tmp_path / "prompts.jsonl")], codec, 2, n, 60) for n in (length, length - 2))
    assert whole[0].ids == (*first, *plain) and whole[0].reference == () and cut[0].reference == tuple(plain[-2:])
    with pytest.raises(UserError, match="hold 0 texts of at least"):
        load_contexts([str(tmp_path / "prompts.jsonl")], codec, 2, length + 1, 60)


def test_a_row_that_is_over_is_no_context(tiny, tmp_path):
    """Rows of a run may end with the end of a document; a start token of the same id is none."""
    codec, end = load_codec(str(tiny / "fp32")), 0
    rows = torch.tensor([[end, 5, 6, end, 7], [end, 5, 6, 7, end], [end, 6, 5, 7, 8]])
    Corpus(rows, rows, ["d"] * 3, ["d"] * 3, codec.fingerprint).save(tmp_path / "corpus", codec)
    found = load_contexts([str(tmp_path)], codec, 2, 4, 5)
    assert [(c.ids, c.reference) for c in found] == [((end, 5, 6, 7), ()), ((end, 6, 5, 7), (8,))]


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
