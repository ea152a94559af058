"""`axsched doctor` as a process of its own; with --held its job never starts."""

from __future__ import annotations

import sys

from axsched_hpc.cli import main
from axsched_hpc.doctor import examine
from axsched_hpc.runners.slurm_runner import SlurmRunner

if __name__ == "__main__":
    arguments = sys.argv[1:]
    if "--held" in arguments:
        arguments.remove("--held")
        examine._slurm_runner = lambda *_: SlurmRunner(config={"sbatch_options": {"hold": True}})
    sys.argv = ["axsched", "doctor", *arguments]
    main()
