"""Stand-ins for docker, apptainer and singularity, which cannot be installed everywhere: strict, and real.

Each is an executable that takes its engine's own command line as strictly as the engine does (an unknown
option, a missing value, a mount that is not well formed or whose source is missing: an error, with the
engine's text and exit code), and then runs the command for real: in namespaces of its own, over a root fs,
with the mounts, the user, the network and the variables that were asked for. So a wrong flag fails a test.

Where it is taken from:

- docker: ``docker run --help`` of 28.2.2 (`DOCKER_OPTIONS`, which a test compares with a real client where
  there is one), that client's parser of ``--mount`` (docker/cli, opts/mount.go), and what it prints. What its
  daemon would say is from docker's documentation of exit codes and from reports of users.
- apptainer and singularity: the options that cmd/internal/cli/action_flags.go of Apptainer 1.2 registers for
  ``exec`` (SingularityCE has the same but for the newest), the parsers of ``--bind`` and ``--mount`` in
  pkg/runtime/engine/apptainer/config, the treatment of variables in internal/pkg/util/env/clean.go and in
  internal/pkg/runtime/engine/apptainer/process_linux.go. What they print is from the same sources and from
  reports of users.

`tests/containers/stand_in.py` is the program itself.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]

_STRINGS, _SWITCHES = "strings", "switches"

#: Options of ``docker run``: those with a value and those without.
DOCKER_OPTIONS = {
    _STRINGS: """
        add-host annotation attach|a blkio-weight blkio-weight-device cap-add cap-drop
        cgroup-parent cgroupns cidfile cpu-count cpu-percent cpu-period cpu-quota cpu-rt-period
        cpu-rt-runtime cpu-shares|c cpus cpuset-cpus cpuset-mems detach-keys device
        device-cgroup-rule device-read-bps device-read-iops device-write-bps device-write-iops
        dns dns-option dns-search domainname entrypoint env|e env-file expose gpus group-add
        health-cmd health-interval health-retries health-start-interval health-start-period
        health-timeout hostname|h io-maxbandwidth io-maxiops ip ip6 ipc isolation kernel-memory
        label|l label-file link link-local-ip log-driver log-opt mac-address memory|m
        memory-reservation memory-swap memory-swappiness mount name network network-alias
        oom-score-adj pid pids-limit platform publish|p pull restart runtime security-opt
        shm-size stop-signal stop-timeout storage-opt sysctl tmpfs ulimit user|u userns uts
        volume|v volume-driver volumes-from workdir|w
    """,
    _SWITCHES: """
        detach|d disable-content-trust help init interactive|i no-healthcheck oom-kill-disable
        privileged publish-all|P quiet|q read-only rm sig-proxy tty|t use-api-socket
    """,
}

#: Options of ``apptainer exec``.
APPTAINER_OPTIONS = {
    _STRINGS: """
        add-caps app apply-cgroups bind|B blkio-weight blkio-weight-device containlibs
        cpu-shares cpus cpuset-cpus cpuset-mems cwd dns docker-host docker-password
        docker-username drop-caps env env-file fusemount home|H hostname memory
        memory-reservation memory-swap mount network network-args no-mount overlay|o pem-path
        pids-limit pwd scratch|S security tmpdir vm-cpu vm-ip vm-ram workdir|W
    """,
    _SWITCHES: """
        allow-setuid cleanenv|e compat contain|c containall|C disable-cache docker-login
        fakeroot|f ignore-fakeroot-command ignore-subuid ignore-userns ipc|i keep-privs net|n
        no-eval no-home no-https no-init no-nv no-privs no-rocm no-umask nohttps nv nvccli
        oom-kill-disable passphrase pid|p rocm underlay unsquash userns|u uts vm vm-err
        writable|w writable-tmpfs
    """,
}

# What came after SingularityCE 3.8: --mount with 3.9, --no-eval with 3.10; the rest is Apptainer's.
_APPTAINER_ONLY = {"cwd", "ignore-fakeroot-command", "ignore-subuid", "ignore-userns", "underlay", "unsquash"}
_LATER = {"mount", "no-eval"}


@dataclass(frozen=True)
class StandInImage:
    """An image that a stand-in knows by name.

    Attributes
    ----------
    rootfs
        Its file system.
    user
        ``uid:gid`` that it names.
    entrypoint
        What docker puts before the command.
    """

    rootfs: Path
    user: str = "0:0"
    entrypoint: tuple[str, ...] = ()
    variables: dict[str, str] = field(default_factory=dict)


def make_stand_ins(
    directory: Path, images: dict[str, StandInImage], *, singularity_is_old: bool = False
) -> Path:
    """Write the executables into `directory`, to be put first on PATH, and return it.

    Parameters
    ----------
    images
        By their names, as docker and a registry know them. A file whose only line is one of the names is an
        image file of apptainer's.
    singularity_is_old
        Whether ``singularity`` is one of version 3.8.
    """
    directory.mkdir(parents=True, exist_ok=True)
    singularity = _without(APPTAINER_OPTIONS, _APPTAINER_ONLY | (_LATER if singularity_is_old else set()))
    for engine, options in (
        ("docker", DOCKER_OPTIONS),
        ("apptainer", APPTAINER_OPTIONS),
        ("singularity", singularity),
    ):
        config: dict[str, Any] = {
            "engine": engine,
            "options": {kind: text.split() for kind, text in options.items()},
            "state": str(directory / "running"),
            "layers": str(directory / "layers"),
            "images": {
                name: {
                    "rootfs": str(image.rootfs),
                    "user": image.user,
                    "entrypoint": list(image.entrypoint),
                    "variables": image.variables,
                }
                for name, image in images.items()
            },
        }
        file = directory / f"{engine}.json"
        file.write_text(json.dumps(config))
        program = directory / engine
        # -I keeps variables for Python out of the stand-in: its engine is no Python.
        program.write_text(
            f"#!{sys.executable} -IS\nimport sys\nsys.path.insert(0, {str(REPOSITORY)!r})\n"
            f"from tests.containers.stand_in import main\nmain({str(file)!r}, sys.argv[1:])\n"
        )
        program.chmod(0o755)
    return directory


def _without(options: dict[str, str], left_out: set[str]) -> dict[str, str]:
    return {
        kind: " ".join(name for name in text.split() if name.partition("|")[0] not in left_out)
        for kind, text in options.items()
    }
