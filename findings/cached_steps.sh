#!/bin/bash
# Guess: greedy `model.generate` gives the arg-max of the model's own full forward, as every cache is only a matter of speed.
# Behaviour (transformers 5.24.0 on a CPU, without a warning): it does not for RWKV with several rows, of which one alone is right; nor for
# a Llama whose config holds a `sliding_window` that a conversion left over: the model attends to everything, the cache drops keys by it.
# Consequence: every decoding engine is compared with the full forward, with two rows and beyond every number of the config.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
cpu=$("$folder/venv/bin/pip" index versions torch 2>/dev/null | grep -o '2\.13\.0+cpu' | head -1 || true)
"$folder/venv/bin/pip" install --quiet "torch==${cpu:-2.13.0}" transformers==5.24.0
HF_HUB_OFFLINE=1 "$folder/venv/bin/python" - <<'PYTHON'
import sys

import torch
import transformers
from transformers import LlamaConfig, LlamaForCausalLM, RwkvConfig, RwkvForCausalLM

transformers.logging.set_verbosity_error()
print("torch", torch.__version__, "transformers", transformers.__version__)


def rwkv():
    return RwkvForCausalLM(
        RwkvConfig(vocab_size=128, hidden_size=32, attention_hidden_size=32, num_hidden_layers=2, context_length=64)
    )


def llama(**others):
    sizes = dict(vocab_size=128, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4)
    return LlamaForCausalLM(LlamaConfig(**sizes, max_position_embeddings=64, **others))


@torch.no_grad()
def equal(make, rows):
    """How many greedy texts of `generate` are those of the full forward."""
    torch.manual_seed(0)
    model = make().eval()
    for parameter in model.parameters():
        if parameter.ndim > 1:
            parameter.mul_(5)
    contexts = torch.randint(3, 120, (rows, 10), generator=torch.Generator().manual_seed(0))
    texts = contexts
    while texts.shape[1] < 40:
        texts = torch.cat([texts, model(input_ids=texts, use_cache=False).logits[:, -1:].argmax(-1)], 1)
    options = dict(max_length=40, do_sample=False, eos_token_id=None, pad_token_id=0)
    made = model.generate(contexts, attention_mask=torch.ones_like(contexts), **options)
    return int((made == texts).all(1).sum())


tried = {
    "RWKV, 1 row": (rwkv, 1, 1),
    "RWKV, 4 rows": (rwkv, 4, 0),
    "Llama, 4 rows": (llama, 4, 4),
    "Llama with a sliding_window of 16 in its config, 4 rows": (lambda: llama(sliding_window=16), 4, 0),
}
changed = False
for name, (make, rows, seen) in tried.items():
    found = equal(make, rows)
    print(f"{name}: {found} of {rows} texts of generate are those of the full forward")
    changed |= found != seen
sys.exit(changed)
PYTHON
