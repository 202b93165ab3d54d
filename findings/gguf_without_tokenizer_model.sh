#!/usr/bin/env bash
# Guess: llama.cpp's converter makes the same vocabulary of a SentencePiece model from tokenizer.json as from tokenizer.model, or refuses
# a folder without the latter.
# Seen (converter of llama-cpp-python 0.3.36, transformers 4.57.6): without tokenizer.model it exits with 0, and all pieces that are
# merged by score get one score, -1000, so that llama.cpp merges them in another order.
# Consequence: a folder that is to be converted needs the source's tokenizer.model, which transformers 5 does not write.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet "torch>=2.6,<2.14" transformers==4.57.6 sentencepiece==0.2.1 protobuf gguf
"$work/venv/bin/pip" download --quiet --no-deps --no-binary :all: --no-build-isolation --dest "$work" llama-cpp-python==0.3.36 ||
    "$work/venv/bin/pip" download --quiet --no-deps --no-binary :all: --dest "$work" llama-cpp-python==0.3.36
tar xf "$work"/llama_cpp_python-0.3.36.tar.gz -C "$work"
cat > "$work/write.py" <<'PY'
import io
import sys
from pathlib import Path

import sentencepiece
from transformers import LlamaTokenizerFast, MistralConfig, MistralForCausalLM

folder = Path(sys.argv[1])
folder.mkdir()
texts = ["The boat lay on the sand, and the children ran down to look at it.", "She had never seen so many birds in one tree."] * 9
model = io.BytesIO()
sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(texts), model_writer=model, vocab_size=320, model_type="bpe",
                                         byte_fallback=True, hard_vocab_limit=False, minloglevel=2, pad_id=-1)
(folder / "tokenizer.model").write_bytes(model.getvalue())
tokenizer = LlamaTokenizerFast(str(folder / "tokenizer.model"))
tokenizer.save_pretrained(folder)
MistralForCausalLM(MistralConfig(vocab_size=len(tokenizer), hidden_size=64, intermediate_size=64, num_hidden_layers=1,
                                 num_attention_heads=2, num_key_value_heads=2)).save_pretrained(folder)
PY
cat > "$work/scores.py" <<'PY'
import sys

from gguf import GGUFReader

field = GGUFReader(sys.argv[1]).fields["tokenizer.ggml.scores"]
scores = {float(field.parts[place][0]) for place in field.data}
print(f"{len(field.data)} pieces, {len(scores)} different scores, least {min(scores):g}")
sys.exit(not (len(scores) > 20 if sys.argv[2] == "many" else len(scores) <= 2 and min(scores) == -1000))
PY
python="$work/venv/bin/python"
"$python" "$work/write.py" "$work/model" 2> /dev/null
converter=$(echo "$work"/llama_cpp_python-*/vendor/llama.cpp/convert_hf_to_gguf.py)
"$python" "$converter" "$work/model" --outfile "$work/with.gguf" 2> /dev/null
rm "$work/model/tokenizer.model"
"$python" "$converter" "$work/model" --outfile "$work/without.gguf" 2> /dev/null
echo "the converter exits with 0 both times"
"$python" "$work/scores.py" "$work/with.gguf" many
"$python" "$work/scores.py" "$work/without.gguf" one
