# Prologue of a trial's job: shell lines that run on the compute node before the worker starts
#
# They stand in the batch script, after its #SBATCH header. Copy this file, uncomment what your site needs, and pass
# it on:
#
#     SlurmRunner(config={"setup": Path("trial.setup.sh").read_text().splitlines()})
#
# or put its lines into the profile, at runner: config: setup: (docs/driver-job.md). The setup of a driver's job
# takes the same lines.
#
# The worker must start with the Python that has axsched-hpc in it. Try the lines once in an interactive
# job (srun --pty bash) with `python -c "import axsched_hpc"` after them.
#
# Do not put `set -u` in front of module or conda: many sites' scripts read variables that are not set.

# --- Environment modules (Lmod, Tcl modules) -------------------------------------------------------------
# For plain loads the runner's own option is shorter: config={"modules": ["gcc/12.3", "openmpi/4.1"]}.
# A non-interactive shell on some nodes has no `module` function until this file is read:
#   source /etc/profile.d/modules.sh
#   module purge
#   module load gcc/12.3 openmpi/4.1 python/3.11

# --- A virtual environment on the shared file system -----------------------------------------------------
#   source "$HOME/venvs/tuning/bin/activate"

# --- Conda or Mamba --------------------------------------------------------------------------------------
# `conda activate` needs the shell hook, which a batch script does not read by itself:
#   source "$HOME/miniforge3/etc/profile.d/conda.sh"
#   conda activate tuning

# --- Spack ----------------------------------------------------------------------------------------------
# A named environment, or single packages:
#   source "$HOME/spack/share/spack/setup-env.sh"
#   spack env activate tuning
#   spack load openmpi

# --- Threads and scratch space ---------------------------------------------------------------------------
# Numerical libraries start one thread per core of the node unless told what the job was given:
#   export OMP_NUM_THREADS="${SLURM_CPUS_PER_TASK:-1}"
# Temporary files belong on the node's own disk:
#   export TMPDIR="${SLURM_TMPDIR:-/tmp}"
