"""The blocker against a brute-force reference."""

import json
import random

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoModelForCausalLM, ByT5Tokenizer, GenerationConfig, PreTrainedTokenizerFast

from hyperfitting.builtin import BUILTIN
from hyperfitting.codec.text import TextCodec, _begin_character
from hyperfitting.generation import CitationBlocker, word_starts
from hyperfitting.generation.citation_blocker import WINDOW

TEXTS = ["the old boat ran under the bridge, and then it slept.\nA girl (soon) found 12 boats!"] * 3


def byte_level():
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer, bpe.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=["</s>"], initial_alphabet=alphabet, show_progress=False
    )
    bpe.train_from_iterator(TEXTS, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token="</s>"), "\u0120"


def sentencepiece_style():
    bpe = Tokenizer(models.BPE(byte_fallback=True))
    bpe.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    bpe.decoder = decoders.Sequence(
        [decoders.ByteFallback(), decoders.Metaspace(prepend_scheme="first"), decoders.Fuse()]
    )
    special = ["</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    bpe.train_from_iterator(TEXTS, trainers.BpeTrainer(vocab_size=340, special_tokens=special[:1], show_progress=False))
    vocabulary = bpe.get_vocab()
    for token in special[1:]:
        vocabulary.setdefault(token, len(vocabulary))
    merges = json.loads(bpe.to_str())["model"]["merges"]
    bpe.model = models.BPE(vocabulary, [tuple(merge) for merge in merges], byte_fallback=True)
    return PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token="</s>"), "\u2581"


@pytest.fixture(scope="module", params=[byte_level, sentencepiece_style], ids=["byte-level", "sentencepiece"])
def tokenizer(request):
    return request.param()


def test_words_start_where_the_space_mark_stands(tokenizer):
    tokenizer, mark = tokenizer
    starts = word_starts(tokenizer)
    pieces = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    # One-byte pieces of what Python calls whitespace: GPT-2's stand-ins for the bytes, and byte fallback.
    blanks = [byte for byte in range(128) if chr(byte).isspace()]
    whitespace = {chr(0x100 + byte) for byte in blanks} | {f"<0x{byte:02X}>" for byte in blanks}
    # Bytes that begin Chinese and Japanese characters; GPT-2 spells them as themselves.
    leads = {spelled for byte in range(0xE3, 0xEA) for spelled in (chr(byte), f"<0x{byte:02X}>")}
    for piece, start in zip(pieces, starts, strict=True):
        newline = piece in whitespace or piece[:1] in whitespace or piece[:1].isspace()
        assert start == (piece.startswith(mark) or newline or piece in leads), piece
    assert 5 < starts.sum() < len(starts) / 2
    assert not starts[tokenizer.eos_token_id]


def test_a_character_of_a_script_without_spaces_starts_a_word():
    """Not so the marks that belong to the one before it, punctuation, and scripts that write spaces."""
    letters = "小猫，今天。かﾞ กำลัง ខ្មែរ हिन्दी Tiếng Việt 한국어 🐱"
    pieces = dict.fromkeys(["</s>", "a", *letters, "。有", "\u0e35\u0e48", "▁猫", "\u0e31ก"])
    bpe = Tokenizer(models.BPE({piece: i for i, piece in enumerate(pieces)}, []))
    bpe.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse()])
    starts = word_starts(PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token="</s>"))
    found = {piece for piece, start in zip(pieces, starts, strict=True) if start}
    assert found == {*"小猫今天かกลงខមរ", "▁猫", " "}
    assert not _begin_character("Tiế".encode()[2:3]) and not _begin_character("हि".encode()[:2])
    assert _begin_character("ก".encode()[:2]) and _begin_character("𠮷".encode()[:3])
    assert not _begin_character("🐱".encode()[:2]) and not _begin_character("猫".encode()[1:])


def test_tokenizers_without_latin_letters_and_of_bytes_alone():
    """A vocabulary that does not hold the letter that pieces are looked at behind, and one whose decoder leaves half characters out."""
    bpe = Tokenizer(models.BPE({"</s>": 0, "猫": 1, "，": 2}, []))
    bpe.decoder = decoders.Fuse()
    chinese = PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token="</s>")
    assert word_starts(chinese).tolist() == [False, True, False]
    tokenizer = ByT5Tokenizer()
    codec, starts = TextCodec(tokenizer), word_starts(tokenizer)
    (ids,) = codec.encode_opening(["猫 é"])
    assert starts[ids].tolist() == [True, False, False, True, False, False]
    assert codec.decode([*ids, len(codec), 5000]) == "猫 é"  # ids that a model has beyond its tokenizer


def test_ids_behind_gaps_and_beyond_the_tokenizer():
    vocabulary = {"</s>": 0, "a": 1, "b": 2, "▁": 3, "▁a": 900, "▁b": 1000}
    bpe = Tokenizer(models.BPE(vocabulary, []))
    bpe.decoder = decoders.Metaspace(prepend_scheme="never")
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token="</s>")
    assert len(tokenizer) < 1000
    starts = word_starts(tokenizer)
    assert np.flatnonzero(starts).tolist() == [3, 900, 1000]
    rows = [[1, 2, 1, 1000], [2, 2, 1, 2000], [1, 1, 1, 901]]  # the last two stand for no text
    blocked = CitationBlocker(rows, starts, 3)(torch.tensor([row[:3] for row in rows]), torch.zeros(3, 2048))
    assert (blocked == -torch.inf).nonzero().tolist() == [[0, 1000]]


def brute_force(rows, starts, n, sequence):
    """What may not follow `sequence`, by looking through every row."""
    last = list(sequence[-n:])
    if len(last) < n:
        return set()
    return {
        row[i + n] for row in rows for i in range(len(row) - n) if list(row[i : i + n]) == last and starts[row[i + n]]
    }


@pytest.mark.parametrize("n", [1, 3, 5])
def test_it_equals_brute_force(n, tokenizer):
    tokenizer, _ = tokenizer
    starts, size = word_starts(tokenizer), len(tokenizer)
    rng = random.Random(n)
    common = rng.sample(range(size), 4) + [int(i) for i in np.flatnonzero(starts)[:4]]
    for _ in range(5):
        rows = [[rng.choice(common) for _ in range(rng.randint(1, 60))] for _ in range(12)]
        blocker = CitationBlocker(rows, starts, n)
        for length in (n - 1, n, n + 3, 20):
            # Half the sequences end as some row goes on, so that there is something to find.
            batch = [[rng.choice(common) for _ in range(length)] for _ in range(20)]
            for sequence in batch[::2]:
                row = rng.choice([row for row in rows if len(row) > n])
                cut = rng.randint(0, len(row) - n)
                sequence[max(0, length - n) :] = row[cut : cut + min(n, length)]
            scores = torch.randn(20, size)
            ids = torch.tensor(batch).view(20, length)
            blocked = (blocker(ids, scores) == -torch.inf).numpy()
            for sequence, mask in zip(batch, blocked, strict=True):
                assert set(np.flatnonzero(mask)) == brute_force(rows, starts, n, sequence)
            if length >= n:  # the way of a GPU, which asks the device nothing
                windows = blocker._block_windows_(*blocker.ranges(ids), scores.clone())
                assert torch.equal(windows, blocker(ids, scores))
            untouched = ~torch.from_numpy(blocked)
            assert torch.equal(blocker(ids, scores)[untouched], scores[untouched])
    sequence = [rng.choice(common) for _ in range(80)]
    log = {entry["step"]: set(entry["ids"]) for entry in blocker.log(10, sequence)}
    for step in range(70):
        assert log.get(step, set()) == brute_force(rows, starts, n, sequence[: 10 + step])


def test_ngrams_with_more_continuations_than_a_window():
    rows = [[1, 2, 3, token] for token in range(10, 10 + 3 * WINDOW)] + [[7, 8, 9, 5]]
    blocker = CitationBlocker(rows, np.ones(200, dtype=bool), 3)
    ids = torch.tensor([[1, 2, 3], [7, 8, 9], [2, 3, 4]])
    scores = blocker(ids, torch.zeros(3, 200))
    assert (scores == -torch.inf).sum(1).tolist() == [3 * WINDOW, 1, 0]
    assert torch.equal(blocker._block_windows_(*blocker.ranges(ids), torch.zeros(3, 200)), scores)


def test_rows_without_ngrams():
    blocker = CitationBlocker([[1, 2], []], np.ones(20, dtype=bool), 5)
    scores = torch.zeros(1, 20)
    assert torch.equal(blocker(torch.ones(1, 9, dtype=torch.int64), scores), scores) and blocker.log(2, [1] * 9) == []


def test_in_anyones_generate():
    from transformers import AutoTokenizer

    path = BUILTIN["builtin/base_model"]
    model, tokenizer = (
        AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32),
        AutoTokenizer.from_pretrained(path),
    )
    contexts = torch.tensor(
        [tokenizer(text).input_ids[:5] for text in ("The old man went to the", "She looked at the big")]
    )
    model.generation_config = GenerationConfig(do_sample=False, max_new_tokens=40, eos_token_id=0, pad_token_id=0)
    free = model.generate(contexts, attention_mask=torch.ones_like(contexts))
    starts = word_starts(tokenizer)
    rows = free.tolist()
    kept = model.generate(
        contexts, attention_mask=torch.ones_like(contexts), logits_processor=[CitationBlocker(rows, starts)]
    )
    known = {tuple(row[i : i + 6]) for row in rows for i in range(len(row) - 5)}
    for row in kept.tolist():
        quoted = [
            i
            for i in range(contexts.shape[1] - 5, len(row) - 5)
            if tuple(row[i : i + 6]) in known and starts[row[i + 5]]
        ]
        assert not quoted
    assert not torch.equal(kept[:, :30], free[:, :30])
