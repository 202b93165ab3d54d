#!/bin/bash
#SBATCH --job-name=hyperfit
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=32
#SBATCH --signal=TERM@600
# Several machines with ZeRO-3. Submit from the repository, flags as for launch/hyperfit.py; output_dir must be on a file
# system that all machines see:
#
#     sbatch launch/slurm_multi_node.sh --config launch/recipes/llama3_8b.yaml --dataset FILE --output_dir DIR --resume auto
#
# Slurm sends SIGTERM ten minutes before the time limit: the run saves itself and the next job resumes it.
set -euo pipefail
# How long the launcher leaves its ranks to save before it kills them; torch's 30 s are short of a large checkpoint.
export TORCH_ELASTIC_SHUTDOWN_TIMEOUT=${TORCH_ELASTIC_SHUTDOWN_TIMEOUT:-570}
export GPUS_PER_NODE=${GPUS_PER_NODE:-4}
export MAIN_ADDRESS=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
export MAIN_PORT=${MAIN_PORT:-29500}

# One launcher a machine; $SLURM_NODEID is only known inside srun.
srun --kill-on-bad-exit=1 bash -c '
    exec accelerate launch --config_file accelerate_configs/multi_node_zero3.yaml \
        --num_machines "$SLURM_JOB_NUM_NODES" --num_processes "$((SLURM_JOB_NUM_NODES * GPUS_PER_NODE))" \
        --machine_rank "$SLURM_NODEID" --main_process_ip "$MAIN_ADDRESS" --main_process_port "$MAIN_PORT" \
        launch/hyperfit.py "$@"' hyperfit "$@"
