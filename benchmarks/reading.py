"""What one program reads in a model's folder: run by `readers.py` with the Python of that program's environment.

    python reading.py KIND FOLDER REQUEST.json ANSWER.json

REQUEST holds `texts` and `ids`, rows of token ids of one length; ANSWER what became of them: `encoded`, the ids of each
text, and `chosen`, the arg-max after each position of each row.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path


def transformers(folder: str, texts: list, ids: list) -> dict:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, torch_dtype=torch.float32).eval()
    with torch.no_grad():
        chosen = model(input_ids=torch.tensor(ids)).logits.argmax(-1).tolist()
    return {"encoded": [tokenizer(text)["input_ids"] for text in texts], "chosen": chosen}


def mlx_lm(folder: str, texts: list, ids: list) -> dict:
    import mlx.core as mx
    from mlx_lm import load

    model, tokenizer = load(folder)
    chosen = mx.argmax(model(mx.array(ids)).astype(mx.float32), axis=-1).tolist()
    return {"encoded": [tokenizer.encode(text) for text in texts], "chosen": chosen}


def ctranslate2(folder: str, texts: list, ids: list) -> dict:
    import ctranslate2
    import numpy as np
    from transformers import AutoTokenizer

    with tempfile.TemporaryDirectory() as aside:
        ctranslate2.converters.TransformersConverter(folder, load_as_float16=False).convert(aside, force=True)
        pieces = json.loads((Path(aside) / "vocabulary.json").read_text())
        generator = ctranslate2.Generator(aside, device="cpu", compute_type="float32")
        logits = generator.forward_batch([[pieces[i] for i in row] for row in ids], return_log_probs=False)
        chosen = np.asarray(logits).argmax(-1).tolist()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    return {"encoded": [tokenizer(text)["input_ids"] for text in texts], "chosen": chosen}


def llama_cpp(folder: str, texts: list, ids: list) -> dict:
    import llama_cpp

    (converter,) = Path(sys.prefix, "sdist").glob("*/vendor/llama.cpp/convert_hf_to_gguf.py")
    with tempfile.TemporaryDirectory() as aside:
        file = f"{aside}/model.gguf"
        command = [sys.executable, converter, folder, "--outfile", file, "--outtype", "f32"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(done.stderr.strip().splitlines()[-1])
        model = llama_cpp.Llama(file, n_ctx=len(ids[0]) + 8, logits_all=True, verbose=False)
        chosen = []
        for row in ids:
            model.reset()
            model.eval(row)
            chosen.append(model.scores[: len(row)].argmax(-1).tolist())
        encoded = [model.tokenize(text.encode(), add_bos=True, special=True) for text in texts]
    return {"encoded": encoded, "chosen": chosen}


def lm_eval(folder: str, texts: list, ids: list) -> dict:
    import torch
    from lm_eval.models.huggingface import HFLM

    model = HFLM(pretrained=folder, device="cpu", dtype="float32", batch_size=1)
    chosen = model._model_call(torch.tensor(ids)).argmax(-1).tolist()
    return {"encoded": [model.tok_encode(text, add_special_tokens=True) for text in texts], "chosen": chosen}


def mergekit(folder: str, texts: list, ids: list) -> dict:
    with tempfile.TemporaryDirectory() as aside:
        plan = {
            "merge_method": "linear",
            "dtype": "float32",
            "models": [{"model": folder, "parameters": {"weight": 1}}],
        }
        Path(aside, "plan.yml").write_text(json.dumps(plan))
        command = [Path(sys.executable).parent / "mergekit-yaml", f"{aside}/plan.yml", f"{aside}/merged"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(done.stderr.strip().splitlines()[-1])
        return transformers(f"{aside}/merged", texts, ids)


if __name__ == "__main__":
    kind, folder, request, answer = sys.argv[1:]
    try:
        said = globals()[kind](folder, **json.loads(Path(request).read_text()))
    except Exception as error:  # whatever a reader stumbles over is what the table shows
        said = {"error": f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"}
    Path(answer).write_text(json.dumps(said))
