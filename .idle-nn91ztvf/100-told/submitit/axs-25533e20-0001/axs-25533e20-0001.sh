#!/bin/bash

# Parameters
#SBATCH --array=0-99%100
#SBATCH --cpus-per-task=1
#SBATCH --error=/work/wt/worker/.idle-nn91ztvf/100-told/submitit/axs-25533e20-0001/%A_%a_0_log.err
#SBATCH --job-name=axs-25533e20-0001
#SBATCH --mem=1G
#SBATCH --nodes=1
#SBATCH --open-mode=append
#SBATCH --output=/work/wt/worker/.idle-nn91ztvf/100-told/submitit/axs-25533e20-0001/%A_%a_0_log.out
#SBATCH --time=01:00:00

# setup
export SRUN_CPUS_PER_TASK="${SLURM_CPUS_PER_TASK:-1}"

# command
export SUBMITIT_EXECUTOR=slurm
exec /work/main/.venv/bin/python -u -m axsched_hpc.worker /work/wt/worker/.idle-nn91ztvf/100-told/submitit/axs-25533e20-0001.json "$((SLURM_ARRAY_TASK_ID + 0))"
