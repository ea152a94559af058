"""A small root file system for container tests, made of busybox alone, and a podman that can run it."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

BUSYBOX = Path("/bin/busybox")
APPLETS = """
    sh awk basename cat chmod cp cut date dd dirname echo env expr false find grep head hostname id kill
    ln ls mkdir mv nproc od printenv printf ps pwd rm rmdir sed seq sleep sort stat tail tar tee test
    timeout touch tr true tty uname uniq wc which xargs yes
"""
# /dev, /sys, /etc/hosts and /etc/resolv.conf are where ch-run and podman mount what they bring along.
DIRECTORIES = "bin data dev etc home mnt proc root run sys tmp usr/bin var/tmp"

_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class ContainerToolMissing(Exception):
    """A program that container tests need is not installed; the message names its package."""


def make_rootfs(directory: Path) -> Path:
    """Build the root file system in `directory`, which may not exist yet, and return it.

    Raises
    ------
    ContainerToolMissing
        If there is no busybox, or one that needs libraries.
    """
    if not BUSYBOX.exists():
        raise ContainerToolMissing(f"{BUSYBOX} is missing: apt-get install -y busybox-static")
    linked = subprocess.run(["ldd", BUSYBOX], capture_output=True, text=True, check=False)
    if linked.returncode == 0 and "statically linked" not in linked.stdout:
        raise ContainerToolMissing(
            f"{BUSYBOX} needs shared libraries, which the root file system does not have: "
            "apt-get install -y busybox-static"
        )
    for name in DIRECTORIES.split():
        (directory / name).mkdir(parents=True, exist_ok=True)
    (directory / "tmp").chmod(0o1777)
    shutil.copy(BUSYBOX, directory / "bin/busybox")
    for applet in APPLETS.split():
        link = directory / "bin" / applet
        link.unlink(missing_ok=True)
        link.symlink_to("busybox")
    (directory / "usr/bin/env").unlink(missing_ok=True)
    (directory / "usr/bin/env").symlink_to("/bin/busybox")
    for name, text in (
        ("passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"),
        ("group", "root:x:0:\nnogroup:x:65534:\n"),
        ("hosts", "127.0.0.1 localhost\n"),
        ("resolv.conf", ""),
    ):
        (directory / "etc" / name).write_text(text)
    return directory


def make_podman_wrapper(directory: Path) -> Path:
    """Write an executable `podman` into `directory`, to be put first on PATH, and return it.

    It passes its arguments on to the real podman; `podman run` gets in addition what a machine without
    network and with low limits needs. What cgroups need depends on podman's runtime: runc takes a machine
    with mixed cgroup versions as it is, but not with cgroups disabled. crun refuses mixed versions, so it
    is shown a plain version 2 hierarchy in a mount namespace of its own, which nobody else sees, and is
    told to leave it alone.

    Raises
    ------
    ContainerToolMissing
        If podman is not installed.
    """
    podman = shutil.which("podman", path=_SYSTEM_PATH)
    if podman is None:
        raise ContainerToolMissing("podman is not installed: apt-get install -y podman")
    # Podman takes crun where it finds both.
    crun = shutil.which("crun", path=_SYSTEM_PATH) is not None
    run_options = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"]
    if crun:
        run_options.append("--cgroups=disabled")
    command = shlex.quote(podman)
    launch = f'exec {command} "$@"'
    if crun and Path("/sys/fs/cgroup/unified").is_dir():
        launch = (
            "exec unshare --mount sh -c '\n"
            "    umount --lazy /sys/fs/cgroup/unified && mount -t cgroup2 none /sys/fs/cgroup || exit 125\n"
            f'    exec {command} "$@"\n'
            '\' podman "$@"'
        )
    directory.mkdir(parents=True, exist_ok=True)
    wrapper = directory / "podman"
    wrapper.write_text(f"""\
#!/bin/sh
# podman for a machine with mixed cgroup versions and without network; written by the container tests.
if [ "$1" = run ]; then
    shift
    case " $* " in
        *" --network="*) set -- run {shlex.join(run_options)} "$@" ;;
        *) set -- run --network=none {shlex.join(run_options)} "$@" ;;
    esac
fi
{launch}
""")
    wrapper.chmod(0o755)
    return wrapper


def import_podman(rootfs: Path, name: str, *changes: str) -> str:
    """Make a podman image of a root file system and return its name, by which `podman run` finds it.

    Parameters
    ----------
    rootfs : Path
        What `make_rootfs` returned.
    name : str
        Name and tag, for instance `axsched-test:1`.
    changes : str
        Lines as in a Dockerfile, such as `USER 5`.

    Raises
    ------
    ContainerToolMissing
        If podman is not installed.
    """
    with tempfile.TemporaryDirectory() as scratch:
        podman = make_podman_wrapper(Path(scratch))
        image = Path(scratch) / "rootfs.tar"
        with tarfile.open(image, "w") as archive:
            archive.add(rootfs, arcname=".")
        options = [word for change in changes for word in ("--change", change)]
        subprocess.run([podman, "import", "--quiet", *options, image, name], check=True, capture_output=True)
    # With a host's name in front, podman asks no registry for it.
    return f"localhost/{name}"


def forget_podman(name: str) -> None:
    """Remove an image, and what podman remembers of containers of it: all that is left where Slurm has killed
    podman's monitor with the container.
    """
    known = ["podman", "ps", "--all", "--quiet", "--filter", f"ancestor={name}"]
    found = subprocess.run(known, check=True, capture_output=True, text=True).stdout.split()
    for command in (["rm", "--force", *found], ["rmi", "--force", name]):
        subprocess.run(["podman", *command], check=False, capture_output=True)
