#!/bin/sh
# Runs integrate, which lies beside this script, on all tasks of the job. srun and the MPI library have to
# agree on how ranks find each other: pmi2 for MPICH, pmix for most builds of Open MPI; `srun --mpi=list` shows
# what a site has. mpiexec and mpirun ask Slurm by themselves.
set -eu
. "$AXSCHED_PARAMETERS_FILE"
exec ${LAUNCHER:-srun --mpi=pmi2} "$(dirname "$0")/integrate" "$first" "$second" "$AXSCHED_METRICS_FILE"
