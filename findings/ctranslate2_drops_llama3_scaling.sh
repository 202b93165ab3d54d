#!/usr/bin/env bash
# Guess: CTranslate2's converter stores the scaling of positions of Llama 3.1 and later ("llama3"), or refuses the model.
# Seen (ctranslate2 4.8.5, transformers 5.24.0): it converts without a word, and the predictions of the converted model are those
# of the model without scaling.
# Consequence: compare a conversion with its original before using it.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet "torch>=2.6,<2.14" transformers==5.24.0 ctranslate2==4.8.5
cat > "$work/try.py" <<'PY'
import copy
import sys
from pathlib import Path

import ctranslate2
import numpy as np
import torch
from tokenizers import Tokenizer, models
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

folder, size = Path(sys.argv[1]), 64
rope = {"rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64}
torch.manual_seed(0)
config = LlamaConfig(vocab_size=size, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
                     max_position_embeddings=512, initializer_range=0.3, rope_parameters=rope, bos_token_id=0, eos_token_id=1)
model = LlamaForCausalLM(config).eval()
unscaled_config = copy.deepcopy(config)
unscaled_config.rope_parameters = {"rope_type": "default", "rope_theta": 500000.0}
unscaled = LlamaForCausalLM(unscaled_config).eval()
unscaled.load_state_dict(model.state_dict())
model.save_pretrained(folder)
pieces = {f"p{i}": i for i in range(size)}
PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel(pieces, unk_token="p2")), bos_token="p0", eos_token="p1",
                        unk_token="p2").save_pretrained(folder)
ctranslate2.converters.TransformersConverter(str(folder)).convert(str(folder / "converted"))
ids = torch.arange(200)[None] * 7 % size
names = [[f"p{i}" for i in ids[0].tolist()]]
generator = ctranslate2.Generator(str(folder / "converted"), compute_type="float32")
found = np.asarray(generator.forward_batch(names)).argmax(-1)[0]
with torch.no_grad():
    shares = [float((found == m(input_ids=ids).logits.argmax(-1)[0].numpy()).mean()) for m in (model, unscaled)]
print(f"ctranslate2 {ctranslate2.__version__}: predictions alike with the model {shares[0]:.3f}, without its scaling {shares[1]:.3f}")
sys.exit(not (shares[0] < 0.9 and shares[1] > 0.99))
PY
"$work/venv/bin/python" "$work/try.py" "$work/model"
