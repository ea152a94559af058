"""Whether a container engine failed, or the program in the container, by exit code and stderr. Pure.

Exit codes: docker and podman keep 125 for their own errors, 126 for a command that cannot be run and 127 for
one that is not there (podman-run(1), docker-run); apptainer and singularity end with 255 after a line FATAL,
and with 1 after a line on their options; ch-run ends with 1 or, of an option, 64. All of these can be a
program's own as well: what the engine said has to be there too.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_Said = tuple[frozenset[int], re.Pattern[str]]

_OPTIONS = r"unknown (shorthand )?flag: |flag needs an argument: |invalid argument "
_OCI: tuple[_Said, ...] = (
    (
        frozenset({125, 126, 127}),
        re.compile(rf"(Error: |docker: |podman: |Unable to find image |{_OPTIONS})"),
    ),
)
_APPTAINER: tuple[_Said, ...] = (
    (frozenset({255}), re.compile(r"(\x1b\[\d*m)?FATAL:?\s")),
    (frozenset({1}), re.compile(r'Error for command "exec": ')),
)
_OWN: dict[str, tuple[_Said, ...]] = {
    "apptainer": _APPTAINER,
    "singularity": _APPTAINER,
    "podman": _OCI,
    "charliecloud": (
        (frozenset(range(1, 126)), re.compile(r"ch-run\[\d+\]: error: ")),
        (frozenset({64}), re.compile(r"\S*ch-run: ")),
    ),
    "docker": _OCI,
}
_COLOURS = re.compile(r"\x1b\[\d*m")

#: What to do about an engine's error, by what is in it.
_HINTS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), hint)
    for pattern, hint in (
        (
            r"Cannot connect to the Docker daemon|[Dd]ocker daemon socket",
            "Docker needs a daemon on the node and the right to use it, which clusters seldom give; name "
            "another engine.",
        ),
        (
            r"executable file not found|can't execve\(2\): .*No such file|no such file or directory: unknown",
            "The image has no such program; give its full path in the image.",
        ),
        (r"FATAL: +stat /.*no such file", "The image has no such program; correct its path in the image."),
        (
            r"chdir to cwd .*permission denied",
            "The user whom the image names may not enter it: leave out container_options['user'], or set "
            "container_options['workdir'].",
        ),
        (r"can't execve\(2\): .*Permission denied|permission denied", "It may not be executed, or not read."),
        (
            r"rootfs-overlay: creating overlay failed",
            "Podman runs a directory only for the user to whom it belongs, on a node that lets users make "
            "overlays: copy it, or name charliecloud.",
        ),
        (
            r"newuidmap|subuid|insufficient UIDs|no subgid ranges",
            "Rootless podman needs a range of ids for the user in /etc/subuid and /etc/subgid on the node: "
            "ask its administrators.",
        ),
        (
            r"[Uu]ser namespace|unshare\(CLONE_NEW|can't init user\+mount namespaces",
            "The node does not let users make namespaces: ask its administrators, or name another engine.",
        ),
        (
            r"unknown flag: --no-eval",
            "This version is older than Apptainer 1.1 or SingularityCE 3.10, and would evaluate the "
            "'$', '`', '\\' and '\"' that a variable has (a parameter, container_options['env_vars'], or a "
            "path).",
        ),
        (
            r"unknown flag: --mount",
            "This version is older than Apptainer 1.0 or SingularityCE 3.9, and cannot mount a path with "
            "such characters.",
        ),
        (
            r"unresolvable CDI devices|could not select device driver",
            "The node's GPUs are not described to the engine (nvidia-ctk cdi generate, NVIDIA's container "
            "toolkit): ask its administrators.",
        ),
        (
            r'unknown (shorthand )?flag|unrecognized option|flag needs an argument|invalid argument "',
            "Correct container_options['extra_args'].",
        ),
        (
            r"short-name|repository does not exist|pull access denied|manifest unknown|no such image"
            r"|image not known|Unable to find image|Unable to handle|can't stat: ",
            "Correct the image's name, or bring the image to the node.",
        ),
        (
            r"can't mkdir: .*Read-only|destination .* doesn't exist in container|can't bind: destination",
            "The image has no such mount point: make an empty directory for it in the image.",
        ),
    )
)


def own_error(engine: str, code: int, lines: Sequence[str]) -> str | None:
    """The line by which an engine says that it could not run the command; None where the program ended so.

    Parameters
    ----------
    engine
        Its name.
    lines
        What stands on stderr.
    """
    for codes, pattern in _OWN[engine]:
        said = [line for line in lines if pattern.match(line)] if code in codes else []
        if said:
            return _COLOURS.sub("", said[-1]).strip()
    return None


def hint(line: str) -> str:
    """What to do about an engine's error; empty where nothing is known."""
    return next((hint for pattern, hint in _HINTS if pattern.search(line)), "")
