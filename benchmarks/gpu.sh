#!/usr/bin/env bash
# Everything that this project can show on a GPU alone, the most telling first; each stage ends within 8 minutes.
#
#     benchmarks/gpu.sh --output_dir DIR [--stage NAME] [--model FOLDER --texts FILE.jsonl --rate LEARNING_RATE]
#
#   tests            pytest -m cuda: losses against the CPU, bf16, resume, generation, ZeRO-2 and ZeRO-3 with NCCL
#   train_1.1b       a training step of 1.1 B parameters against Trainer, TRL and a plain loop, and its memory against the plan
#   generate_1.1b    300 contexts at once, against model.generate
#   paper            the paper's full recipe (2000 rows, 20 epochs) on --model with --texts, and its texts, scored
#   train_8b         a training step of 8 B parameters; left out with a line where the plan says that it does not fit
#
# A stage that was finished is not run again: DIR/STAGE.done says so. Its output is in DIR/STAGE.log, results of committed code in
# benchmarks/results/. PYTHON names the interpreter. On a machine without a network: benchmarks/gather_wheels.py.
set -uo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3} seconds=480 output= stage= model= texts= rate=
while [ $# -gt 1 ]; do
    case $1 in
    --output_dir) output=$2 ;; --stage) stage=$2 ;; --model) model=$2 ;; --texts) texts=$2 ;; --rate) rate=$2 ;;
    *) break ;;
    esac
    shift 2
done
stages="tests train_1.1b generate_1.1b paper train_8b"
if [ $# -gt 0 ] || [ -z "$output" ] || [[ -n "$stage" && " $stages " != *" $stage "* ]]; then
    sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
mkdir -p "$output"
has_gpu() { "$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' 2>/dev/null; }

tests() { "$python" -m pytest -q -m cuda tests/test_cuda.py; }

train_1.1b() { "$python" benchmarks/train_speed.py --size 1.1b --steps 30 --rounds 2 && "$python" benchmarks/train_memory.py --sizes 1.1b; }

generate_1.1b() { "$python" benchmarks/generate_speed.py --size 1.1b --contexts 300 --batch_size 300 --rounds 2; }

paper() {
    local accelerate="$python -m accelerate.commands.launch --quiet --config_file accelerate_configs/single.yaml"
    local contexts="--contexts rows=$output/paper_run --num_contexts 100 --ban_eos"
    $accelerate launch/hyperfit.py --model "$model" --dataset "$texts" --learning_rate "$rate" --resume auto \
        --num_train 2000 --epochs 20 --save_steps 1000 --keep_checkpoints 1 --output_dir "$output/paper_run" &&
        "$python" launch/generate.py --model "$model" $contexts --policy greedy --output_dir "$output/paper_base" &&
        "$python" launch/generate.py --model "$output/paper_run/final" $contexts --policy greedy --policy greedy+citation_blocker \
            --train_rows "$output/paper_run" --output_dir "$output/paper_hyperfitted" &&
        "$python" launch/score.py "$output/paper_base" "$output/paper_hyperfitted" --train_rows "$output/paper_run" --model_scores \
            --overwrite --output_dir "$output/paper_scores"
}

train_8b() { "$python" benchmarks/train_speed.py --size 8b --steps 10 --rounds 1 --sides ours plain; }

failed=0
for name in ${stage:-$stages}; do
    if [ -e "$output/$name.done" ]; then
        echo "$name: done before, see $output/$name.log"
    elif ! has_gpu; then
        echo "$name: not measured, it needs a GPU and PyTorch finds none here"
    elif [ "$name" = paper ] && [[ -z "$model" || -z "$texts" || -z "$rate" ]]; then
        echo "$name: left out, it needs --model, --texts and --rate"
    else
        echo "$name: begun $(date +%T)"
        export -f "$name"
        export python output model texts rate
        if timeout --kill-after 20 "$seconds" bash -c "$name" >"$output/$name.log" 2>&1; then
            touch "$output/$name.done"
            echo "$name: finished $(date +%T)"
        else
            echo "$name: ended with exit code $?, see $output/$name.log; the same command goes on here"
            failed=1
        fi
        tail -n 20 "$output/$name.log"
    fi
done
exit $failed
