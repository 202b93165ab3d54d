#!/usr/bin/env bash
# The whole phenomenon through the public scripts, in one folder each of runs/, generations/ and scores/, for the built-in model, or
# for another: MODEL=FOLDER_OR_HUB_ID [DATASET=FILE_OR_HUB_ID] launch/whole_path.sh. The contexts are built-in texts, unseen by either.
# No GPU needed, and of the built-in model no network. Usage: launch/whole_path.sh [NAME]
set -euo pipefail
cd "$(dirname "$0")/.."
name=${1:-$(basename "${MODEL:-builtin}")-$(date +%Y%m%d-%H%M%S)}
run=runs/$name generations=generations/$name scores=scores/$name
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$(nproc)}
if [ -n "${MODEL:-}" ]; then
    base=$MODEL num_contexts=48
    recipe=(--config quick --model "$MODEL" --dataset "${DATASET:-builtin/stories}")
else
    export HF_HUB_OFFLINE=1
    base=builtin/base_model num_contexts=96
    recipe=(--config builtin)
fi
contexts=(
    --contexts fiction=builtin/held_out_stories
    --contexts encyclopedia=builtin/held_out_encyclopedia
    --contexts news=builtin/held_out_news
    --num_contexts $num_contexts --ban_eos
)

accelerate launch --quiet --config_file accelerate_configs/single.yaml launch/hyperfit.py \
    "${recipe[@]}" --output_dir "$run"
python launch/generate.py --model "$base" --policy greedy --policy nucleus \
    "${contexts[@]}" --output_dir "$generations/base"
if [ -d "$run/early_stopped" ]; then
    python launch/generate.py --model "$run/early_stopped" --policy greedy \
        "${contexts[@]}" --output_dir "$generations/early_stopped"
fi
python launch/generate.py --model "$run/final" --policy greedy --policy greedy+citation_blocker --train_rows "$run" \
    "${contexts[@]}" --output_dir "$generations/hyperfitted"
python launch/score.py "$generations"/* --train_rows "$run" --model_scores --output_dir "$scores"
