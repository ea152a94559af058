"""`axsched doctor` as a process of its own; with --held its job never starts."""

from __future__ import annotations

import sys

from axsched_hpc.cli import main
from axsched_hpc.doctor.wanted import Wanted
from axsched_hpc.runners.slurm_runner import SlurmRunner

if __name__ == "__main__":
    arguments = sys.argv[1:]
    if "--held" in arguments:
        arguments.remove("--held")
        held = Wanted(SlurmRunner(config={"sbatch_options": {"hold": True}}))
        Wanted.of = classmethod(lambda cls, *_: held)
    sys.argv = ["axsched", "doctor", *arguments]
    main()
