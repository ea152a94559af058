"""What trials will ask Slurm for: a profile's settings, and what the command line puts over them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from axsched_hpc.runners.slurm_runner import SlurmRunner
from axsched_hpc.slurm import profile as profiles


@dataclass(frozen=True)
class Wanted:
    """A runner as trials will have it.

    Attributes
    ----------
    profile
        Where the settings come from; None without a profile.
    partition, account
        As named; None for the site's defaults.
    """

    runner: SlurmRunner
    profile: str | None = None
    partition: str | None = None
    account: str | None = None

    @classmethod
    def of(cls, profile: str | None, partition: str | None, account: str | None) -> Wanted:
        """From the options of the command line.

        Raises
        ------
        ConfigError
            There is no such profile, or something in it is wrong.
        """
        found = profiles.load(profile)
        given: dict[str, Any] = {"partition": partition, "account": account}
        over = {name: value for name, value in given.items() if value is not None}
        runner = SlurmRunner.from_profile(profile, **over)
        named = {**(found.runner if found is not None else {}), **over}
        partition, account = (
            # As sbatch takes them where nobody names any.
            named.get(name) or os.environ.get(f"SBATCH_{name.upper()}")
            for name in given
        )
        return cls(runner, found.where if found is not None else None, partition, account)

    @property
    def time_s(self) -> int | None:
        """Seconds that a trial's job asks for; None where that is not known."""
        return self.runner.asked.time_s

    @property
    def memory_mb(self) -> int | None:
        """MiB that it asks for on a node, likewise."""
        return self.runner.asked.memory_mb

    @property
    def parallel(self) -> int:
        """Trials that may be queued or running at a time."""
        return self.runner.max_parallel
