#!/usr/bin/env bash
# The whole phenomenon on the built-in model and texts, through the public scripts, in one folder each of runs/,
# generations/ and scores/. No network, no GPU. Usage: launch/builtin.sh [NAME]
set -euo pipefail
cd "$(dirname "$0")/.."
name=${1:-builtin-$(date +%Y%m%d-%H%M%S)}
run=runs/$name generations=generations/$name scores=scores/$name
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$(nproc)} HF_HUB_OFFLINE=1
contexts=(
    --contexts fiction=builtin/held_out_stories
    --contexts encyclopedia=builtin/held_out_encyclopedia
    --contexts news=builtin/held_out_news
    --num_contexts 96 --ban_eos
)

accelerate launch --quiet --config_file accelerate_configs/single.yaml launch/hyperfit.py \
    --config launch/recipes/builtin.yaml --output_dir "$run"
python launch/generate.py --model builtin/base_model --policy greedy --policy nucleus \
    "${contexts[@]}" --output_dir "$generations/base"
python launch/generate.py --model "$run/early_stopped" --policy greedy \
    "${contexts[@]}" --output_dir "$generations/early_stopped"
python launch/generate.py --model "$run/final" --policy greedy --policy greedy+citation_blocker --train_rows "$run" \
    "${contexts[@]}" --output_dir "$generations/hyperfitted"
python launch/score.py "$generations"/{base,early_stopped,hyperfitted} --train_rows "$run" --model_scores \
    --output_dir "$scores"
