"""The three public calls by which an objective is set."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from axsched_hpc.core.errors import ObjectiveError
from axsched_hpc.objectives.install import Checkpointed
from axsched_hpc.objectives.spec import container_objective, script_objective, warning_of


class SetsObjective(ABC):
    """What has an objective: a function, a script or a container."""

    def set_objective_function(
        self,
        function: Callable[[dict[str, Any]], Mapping[str, Any]],
        *,
        checkpointable: bool = False,
        warning: int | None = None,
    ) -> None:
        """Use a Python function as the objective.

        Parameters
        ----------
        function
            Takes a dict of parameters and returns a dict of metrics; a metric is a number or ``(mean, sem)``,
            with ``None`` for an unknown standard error. It is pickled once, by value where it lives in
            ``__main__`` or a notebook.
        checkpointable
            It saves its state in :func:`~axsched_hpc.checkpoint_directory`, and goes on from there when it is
            called again.
        warning
            Seconds before the end of the job's time at which :func:`~axsched_hpc.warned` becomes true; 120
            for a checkpointable function.

        Raises
        ------
        ObjectiveError
            It is not callable.
        ConfigError
            An option is wrong.
        """
        if not callable(function):
            raise ObjectiveError(
                f"set_objective_function takes a function of a dict of parameters, "
                f"not {function!r} ({type(function).__name__})."
            )
        seconds = warning_of("set_objective_function's {}", checkpointable, warning)
        self._set_objective(function if seconds is None else Checkpointed(function, seconds))

    def set_script_objective(
        self, script_path: str | Path, script_options: Mapping[str, Any] | None = None
    ) -> None:
        """Use a script or any executable as the objective.

        It finds its parameters in the file named by ``AXSCHED_PARAMETERS_FILE`` and writes its metrics to the
        one named by ``AXSCHED_METRICS_FILE``, as JSON (``{"metric": value}`` or ``{"metric": [mean, sem]}``)
        or as lines ``metric value [sem]``.

        Parameters
        ----------
        script_path
            An executable, or a ``.py`` or ``.sh`` file. It is copied, so that a later edit does not change
            running trials.
        script_options
            ``interpreter``, ``args``, ``environment``, ``timeout`` (seconds), ``working_directory``,
            ``copy``, ``parameters_format`` ("json", "yaml", "env", "toml"), ``checkpointable``, ``warning``
            (seconds), ``warning_signal``.

        Raises
        ------
        ObjectiveError
            The script is missing or cannot be executed.
        ConfigError
            An option is unknown or wrong.
        """
        self._set_objective(script_objective(script_path, script_options))

    def set_container_objective(
        self, container_image: str, container_command: Any, container_options: Mapping[str, Any] | None = None
    ) -> None:
        """Use a container as the objective.

        Parameters
        ----------
        container_image
            A path or name of an image, as the engine takes it.
        container_command
            What to run inside: a string, split like a shell does but run without one, or a list.
            ``{params_file}`` and ``{output_file}`` are replaced by the files' paths as seen inside.
        container_options
            ``engine`` ("auto", "apptainer", "singularity", "podman", "docker", "charliecloud"), ``volumes``
            ({host path: container path}), ``env_vars``, ``gpus``, ``workdir``, ``extra_args``, ``network``
            ("host", "none"), ``user`` ("auto", "self", "root", "image"), ``timeout`` (seconds),
            ``checkpointable``, ``warning`` (seconds), ``warning_signal``.

        Raises
        ------
        ObjectiveError
            The image is a path that is missing.
        ConfigError
            An option is unknown or wrong.
        """
        self._set_objective(container_objective(container_image, container_command, container_options))

    @abstractmethod
    def _set_objective(self, objective: Any) -> None:
        """Take the objective, once it is checked as far as it can be by itself."""
