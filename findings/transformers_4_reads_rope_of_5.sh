#!/usr/bin/env bash
# Guess: transformers 4.57 either understands what transformers 5 writes, or says that it does not.
# Seen (transformers 5.24.0 and 4.57.6, torch 2.13): a Llama with rotary base 500000 is saved by 5.24 with `rope_parameters` alone; 4.57
# loads it without a warning about it, with base 10000, and more than half of its predictions are others.
# Consequence: a folder that transformers 5 wrote needs `rope_theta` and `rope_scaling` beside, or older readers compute another model.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for version in 5.24.0 4.57.6; do
    python3 -m venv "$work/$version"
    "$work/$version/bin/pip" install --quiet "torch>=2.6,<2.14" "transformers==$version"
done
cat > "$work/write.py" <<'PY'
import sys
import torch
from transformers import LlamaConfig, LlamaForCausalLM

torch.manual_seed(0)
config = LlamaConfig(vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
                     max_position_embeddings=512, initializer_range=0.3,
                     rope_parameters={"rope_type": "default", "rope_theta": 500000.0})
model = LlamaForCausalLM(config).eval()
model.save_pretrained(sys.argv[1])
ids = torch.arange(200)[None] * 7 % 64
torch.save(model(input_ids=ids).logits.argmax(-1), sys.argv[1] + "/expected.pt")
PY
cat > "$work/read.py" <<'PY'
import sys
import torch
import transformers
from transformers import AutoModelForCausalLM

model = AutoModelForCausalLM.from_pretrained(sys.argv[1]).eval()
ids = torch.arange(200)[None] * 7 % 64
alike = (model(input_ids=ids).logits.argmax(-1) == torch.load(sys.argv[1] + "/expected.pt")).float().mean().item()
theta = getattr(model.config, "rope_theta", None) or model.config.rope_parameters["rope_theta"]
print(f"transformers {transformers.__version__}: rotary base {theta:g}, predictions alike {alike:.3f}")
sys.exit(not (alike == 1.0) if transformers.__version__.startswith("5") else not (theta == 10000 and alike < 0.9))
PY
"$work/5.24.0/bin/python" "$work/write.py" "$work/model"
"$work/5.24.0/bin/python" "$work/read.py" "$work/model"
"$work/4.57.6/bin/python" "$work/read.py" "$work/model"
