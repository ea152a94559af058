"""The program behind the stand-ins of `stand_ins.py`, which says where all of it is taken from."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import re
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

_NEWNS, _NEWUSER, _NEWNET = 0x00020000, 0x10000000, 0x40000000
_RDONLY, _REMOUNT, _BIND, _REC, _PRIVATE = 1, 32, 4096, 16384, 1 << 18
_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_libc = ctypes.CDLL(None, use_errno=True)


def main(config_file: str, words: list[str]) -> NoReturn:
    """Do what the engine of the configuration would do with a command line."""
    config = json.loads(Path(config_file).read_text())
    if config["engine"] == "docker":
        _docker(config, words)
    _apptainer(config, words)


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def _exit(code: int, text: str) -> NoReturn:
    _say(text)
    sys.exit(code)


# ---------------------------------------------------------------- options, as Go's pflag reads them


class WrongOption(Exception):
    """An option that the engine does not take."""


@dataclass
class _Parsed:
    options: list[tuple[str, str]] = field(default_factory=list)
    rest: list[str] = field(default_factory=list)

    def all(self, *names: str) -> list[str]:
        return [value for name, value in self.options if name in names]

    def last(self, *names: str) -> str | None:
        return next(iter(self.all(*names)[::-1]), None)


def _parse(words: list[str], known: dict[str, list[str]]) -> _Parsed:
    """Options up to the first word that is none: what follows belongs to the container."""
    long: dict[str, bool] = {}
    short: dict[str, str] = {}
    for kind, names in known.items():
        for spelled in names:
            name, _, letter = spelled.partition("|")
            long[name] = kind == "strings"
            if letter:
                short[letter] = name
    parsed, left = _Parsed(), list(words)
    while left and left[0].startswith("-") and left[0] != "-":
        word = left.pop(0)
        if word == "--":
            break
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            if name not in long:
                raise WrongOption(f"unknown flag: --{name}")
            if long[name] and not equals:
                if not left:
                    raise WrongOption(f"flag needs an argument: --{name}")
                value = left.pop(0)
            parsed.options.append((name, value if long[name] or equals else "true"))
            continue
        letters = word[1:]
        while letters:
            letter, letters = letters[0], letters[1:]
            if letter not in short:
                raise WrongOption(f"unknown shorthand flag: {letter!r} in {word}")
            name = short[letter]
            if not long[name]:
                parsed.options.append((name, "true"))
                continue
            if not letters and not left:
                raise WrongOption(f"flag needs an argument: {letter!r} in {word}")
            parsed.options.append((name, letters.removeprefix("=") if letters else left.pop(0)))
            letters = ""
    parsed.rest = left
    return parsed


def _record(text: str, flag: str) -> dict[str, str]:
    """The fields of a ``--mount``, which is one record of comma-separated values."""
    row = re.findall(r'(?:"((?:[^"]|"")*)"|([^",]*))(?:,|$)', text)[:-1]
    if not row or sum(len(f'"{quoted}"' if quoted else bare) + 1 for quoted, bare in row) != len(text) + 1:
        raise WrongOption(f'invalid argument "{text}" for "{flag}" flag: bare " in non-quoted-field')
    names = {"src": "source", "dst": "target", "destination": "target", "ro": "readonly"}
    found: dict[str, str] = {}
    for quoted, bare in row:
        each = quoted.replace('""', '"') if quoted else bare
        name, equals, value = each.partition("=")
        name = names.get(name, name)
        if name not in ("type", "source", "target", "readonly"):
            raise WrongOption(
                f'invalid argument "{text}" for "{flag}" flag: unexpected key {name!r} in {each!r}'
            )
        if not equals and name != "readonly":
            raise WrongOption(
                f'invalid argument "{text}" for "{flag}" flag: {each!r} must be a key=value pair'
            )
        found[name] = value if equals else "true"
    return found


# ---------------------------------------------------------------- running


@dataclass
class _Container:
    rootfs: str
    command: list[str]
    variables: dict[str, str]
    workdir: str
    #: (source, place inside, whether it is read-only)
    mounts: list[tuple[str, str, bool]]
    writable: bool
    network: bool
    uid: int
    gid: int
    groups: list[int]
    #: A directory for the file system that is made.
    layers: str
    #: Whether the working directory is made where it is not there.
    make_workdir: bool = False
    #: Whether the caller's umask holds inside; else it is 022.
    keeps_umask: bool = False
    #: What of the host is there as well.
    host: tuple[str, ...] = ()


def _call(what: str, code: int) -> None:
    if code:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _mount(source: str, target: str, kind: str = "none", flags: int = 0, data: str = "") -> None:
    arguments = (source.encode(), target.encode(), kind.encode(), flags, data.encode())
    _call(f"mount {source!r} on {target!r}", _libc.mount(*arguments))


def _bind(source: str, root: str, inside: str, *, read_only: bool) -> None:
    place = Path(root + inside)
    if not place.exists():
        if Path(source).is_dir():
            place.mkdir(parents=True)
        else:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.touch()
    _mount(source, str(place), flags=_BIND | _REC)
    if read_only:
        _mount("none", str(place), flags=_BIND | _REMOUNT | _RDONLY)


def _enter(container: _Container) -> None:
    """Make the container around this process. Its mounts go with it."""
    caller, group = os.getuid(), os.getgid()
    umask = os.umask(0o022)
    spaces = _NEWNS | (0 if container.network else _NEWNET) | (0 if caller == 0 else _NEWUSER)
    _call("unshare", _libc.unshare(spaces))
    if caller:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{container.uid} {caller} 1")
        Path("/proc/self/gid_map").write_text(f"{container.gid} {group} 1")
    _mount("none", "/", flags=_REC | _PRIVATE)
    # What the container writes in its image is in memory, and gone with it.
    layers = Path(container.layers)
    layers.mkdir(exist_ok=True)
    _mount("tmpfs", str(layers), "tmpfs")
    for name in ("up", "work", "root"):
        (layers / name).mkdir()
    root = str(layers / "root")
    places = f"lowerdir={container.rootfs},upperdir={layers}/up,workdir={layers}/work"
    _mount("overlay", root, "overlay", data=places)
    for place in ("/dev", "/proc", *container.host):
        _bind(place, root, place, read_only=False)
    for source, inside, read_only in container.mounts:
        _bind(source, root, inside, read_only=read_only)
    if not container.writable:
        _mount("none", root, flags=_REMOUNT | _RDONLY | _BIND)
    if container.keeps_umask:
        os.umask(umask)
    os.chroot(root)
    os.chdir("/")
    if container.make_workdir:
        Path(container.workdir).mkdir(parents=True, exist_ok=True)
    if caller == 0:
        os.setgroups(container.groups)
        os.setresgid(container.gid, container.gid, container.gid)
        os.setresuid(container.uid, container.uid, container.uid)


def _program(command: str, variables: dict[str, str]) -> str | None:
    """Where a command is in the container, which this process is in."""
    if "/" in command:
        return command if Path(command).exists() else None
    for place in variables.get("PATH", _DEFAULT_PATH).split(":"):
        if os.access(f"{place}/{command}", os.X_OK):
            return f"{place}/{command}"
    return None


# ---------------------------------------------------------------- docker


_DOCKER_HELP = "\nRun 'docker run --help' for more information"
_DOCKER_USAGE = f"\nUsage:  docker run [OPTIONS] IMAGE [COMMAND] [ARG...]\n{_DOCKER_HELP}"
_OCI_FAILED = (
    "docker: Error response from daemon: failed to create task for container: failed to create shim task: "
    "OCI runtime create failed: runc create failed: unable to start container process: error during "
    "container init: "
)


def _docker(config: dict[str, Any], words: list[str]) -> NoReturn:
    if words[:1] == ["kill"]:
        _docker_kill(config, words[1:])
    if words[:1] != ["run"]:
        _exit(
            1,
            f"docker: unknown command: docker {' '.join(words[:1])}\n\n"
            "Run 'docker --help' for more information",
        )
    try:
        parsed = _parse(words[1:], config["options"])
        mounts = _docker_mounts(parsed)
    except WrongOption as error:
        _exit(125, f"{error}\n{_DOCKER_USAGE}")
    if not parsed.rest:
        _exit(1, f"docker: 'docker run' requires at least 1 argument\n{_DOCKER_USAGE}")
    name, *command = parsed.rest
    image = config["images"].get(name)
    if image is None:
        if parsed.last("pull") == "never":
            _docker_error(f"No such image: {name}")
        _say(f"Unable to find image '{name}' locally")
        _docker_error(
            f"pull access denied for {name.partition(':')[0]}, repository does not exist or may require "
            "'docker login'"
        )
    for source, _, _ in mounts:
        if not Path(source).exists():
            _docker_error(f'invalid mount config for type "bind": bind source path does not exist: {source}')
    if parsed.last("gpus"):
        _docker_error('could not select device driver "" with capabilities: [[gpu]]')
    for device in parsed.all("device"):
        if not Path(device.partition(":")[0]).exists():
            _docker_error(
                f'error gathering device information while adding custom device "{device}": no such file or '
                "directory"
            )
    entry = parsed.last("entrypoint")
    uid, _, gid = (parsed.last("user") or image["user"]).partition(":")
    variables = {"PATH": _DEFAULT_PATH, **image["variables"]}
    for each in parsed.all("env"):
        variable, equals, value = each.partition("=")
        if equals or variable in os.environ:
            variables[variable] = value if equals else os.environ[variable]
    container = _Container(
        rootfs=image["rootfs"],
        command=[*(image["entrypoint"] if entry is None else [entry] if entry else []), *command],
        variables=variables,
        workdir=parsed.last("workdir") or "/",
        mounts=mounts,
        writable=not parsed.last("read-only"),
        network=parsed.last("network") != "none",
        uid=int(uid),
        gid=int(gid or 0),
        groups=[int(group) for group in parsed.all("group-add")],
        layers=config["layers"],
        make_workdir=True,
    )
    _docker_run(container, Path(config["state"]), parsed.last("name") or f"unnamed-{os.getpid()}")


def _docker_error(text: str) -> NoReturn:
    _exit(125, f"docker: Error response from daemon: {text}\n{_DOCKER_HELP}")


def _docker_mounts(parsed: _Parsed) -> list[tuple[str, str, bool]]:
    found = []
    for text in parsed.all("mount"):
        fields = _record(text, "--mount")
        if fields.get("type") != "bind" or not fields.get("target", "").startswith("/"):
            raise WrongOption(f'invalid argument "{text}" for "--mount" flag: target is required')
        found.append((fields.get("source", ""), fields["target"], fields.get("readonly") == "true"))
    for text in parsed.all("volume"):
        source, inside, *mode = text.split(":")
        if not inside.startswith("/") or mode not in ([], ["ro"], ["rw"]):
            raise WrongOption(
                f'invalid argument "{text}" for "-v, --volume" flag: invalid volume specification'
            )
        Path(source).mkdir(parents=True, exist_ok=True)  # as the daemon does, as root
        found.append((source, inside, mode == ["ro"]))
    return found


def _docker_run(container: _Container, state: Path, name: str) -> NoReturn:
    """As a daemon would: the container is no child of the client's group, and goes on without the client."""
    state.mkdir(exist_ok=True)
    record = state / name
    if record.exists():
        _docker_error(f'Conflict. The container name "/{name}" is already in use')
    child = os.fork()
    if not child:
        os.setsid()
        _docker_child(container)
    record.write_text(str(child))
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, lambda number, _: _pass_on(child, number))
    _, status = os.waitpid(child, 0)
    record.unlink(missing_ok=True)
    code = os.waitstatus_to_exitcode(status)
    sys.exit(code if code >= 0 else 128 - code)


def _pass_on(child: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, number)


def _docker_child(container: _Container) -> NoReturn:
    _enter(container)
    try:
        os.chdir(container.workdir)
    except PermissionError:
        where = f'chdir to cwd ("{container.workdir}") set in config.json failed: permission denied'
        _exit(126, f"{_OCI_FAILED}{where}: unknown\n{_DOCKER_HELP}")
    command = container.command[0]
    program = _program(command, container.variables)
    if program is None:
        where = (
            f"stat {command}: no such file or directory"
            if "/" in command
            else "executable file not found in $PATH"
        )
        _exit(127, f'{_OCI_FAILED}exec: "{command}": {where}: unknown\n{_DOCKER_HELP}')
    variables = {"HOME": "/root" if container.uid == 0 else "/", **container.variables}
    try:
        os.execve(program, container.command, variables)
    except PermissionError:
        _exit(126, f'{_OCI_FAILED}exec: "{command}": permission denied: unknown\n{_DOCKER_HELP}')


def _docker_kill(config: dict[str, Any], names: list[str]) -> NoReturn:
    for name in names:
        try:
            os.kill(int((Path(config["state"]) / name).read_text()), signal.SIGKILL)
        except (FileNotFoundError, ProcessLookupError):
            _exit(1, f"Error response from daemon: cannot kill container: {name}: No such container: {name}")
    sys.exit(0)


# ---------------------------------------------------------------- apptainer and singularity


def _fatal(text: str) -> NoReturn:
    _exit(255, f"FATAL:   {text}")


def _apptainer(config: dict[str, Any], words: list[str]) -> NoReturn:
    engine = config["engine"]
    if words[:1] == ["pull"]:
        _apptainer_pull(config, words[1:])
    if words[:1] != ["exec"]:
        _exit(1, f'Error for command "{engine}": unknown command "{" ".join(words[:1])}" for "{engine}"')
    try:
        parsed = _parse(words[1:], config["options"])
    except WrongOption as error:
        _apptainer_usage(config, str(error))
    if len(parsed.rest) < 2:
        _apptainer_usage(config, f"requires at least 2 arg(s), only received {len(parsed.rest)}")
    name, *command = parsed.rest
    image = _apptainer_image(config, name)
    mounts = _apptainer_mounts(parsed)
    for source, inside, _ in mounts:
        if not Path(source).exists():
            _fatal(
                f"container creation failed: mount hook function failure: mount {source}->{inside} error: "
                f"while mounting {source}: mount source {source} doesn't exist"
            )
    for switch, what in (("nv", "nv"), ("rocm", "rocm")):
        if parsed.last(switch):
            _say(f"INFO:    Could not find any {what} files on this host!")
    if parsed.last("network") and not parsed.last("net"):
        _fatal("--network requires --net")
    workdir = parsed.last("pwd", "cwd")
    container = _Container(
        rootfs=image["rootfs"],
        command=command,
        variables=_apptainer_variables(engine, image, noeval=bool(parsed.last("no-eval"))),
        workdir=workdir or str(Path.cwd()),
        mounts=mounts,
        writable=bool(parsed.last("writable") or parsed.last("writable-tmpfs")),
        network=not parsed.last("net"),
        uid=0 if parsed.last("fakeroot") else os.getuid(),
        gid=0 if parsed.last("fakeroot") else os.getgid(),
        groups=os.getgroups(),
        layers=config["layers"],
        host=("/sys", "/tmp", "/var/tmp"),
        keeps_umask=not parsed.last("fakeroot", "no-umask"),
    )
    _enter(container)
    try:
        os.chdir(container.workdir)
    except OSError as error:
        if workdir:
            _fatal(f"container creation failed: while changing directory: chdir {workdir}: {error.strerror}")
    program = _program(command[0], container.variables)
    if program is None:
        missing = command[0]
        _fatal(
            f"stat {missing}: no such file or directory"
            if "/" in missing
            else f'"{missing}": executable file not found in $PATH'
        )
    try:
        os.execve(program, command, container.variables)
    except PermissionError:
        _fatal(f"exec {command[0]} failed: permission denied")


def _apptainer_usage(config: dict[str, Any], error: str) -> NoReturn:
    names = [name.partition("|")[0] for names in config["options"].values() for name in names]
    options = "\n".join(f"      --{name}" for name in names)
    _exit(
        1,
        f'Error for command "exec": {error}\n\nOptions for exec command:\n\n{options}\n\n'
        f"Run '{config['engine']} exec --help' for more detailed usage information.",
    )


def _apptainer_image(config: dict[str, Any], name: str) -> dict[str, Any]:
    images: dict[str, Any] = config["images"]
    scheme, _, rest = name.partition("://")
    if rest:
        if scheme != "docker" or rest not in images:
            _fatal(
                f"Unable to handle {name} uri: failed to get checksum for {name}: reading manifest: "
                "requested access to the resource is denied"
            )
        return dict(images[rest])
    path = Path(name)
    if not path.exists():
        _fatal(
            f"could not open image {name}: failed to retrieve path for {name}: lstat {name}: no such file or "
            "directory"
        )
    if path.is_dir():
        return {"rootfs": name, "variables": {}}
    known = path.read_text(errors="replace").strip()
    if known not in images:
        _fatal(f"could not open image {name}: image format not recognized")
    return dict(images[known])


def _apptainer_pull(config: dict[str, Any], words: list[str]) -> NoReturn:
    if len(words) != 2:
        _exit(1, f'Error for command "pull": accepts between 1 and 2 arg(s), received {len(words)}')
    file, uri = words
    name = uri.removeprefix("docker://")
    if name not in config["images"]:
        _fatal(
            "While making image from oci registry: error fetching image to cache: failed to get checksum for "
            f"{uri}: reading manifest: requested access to the resource is denied"
        )
    Path(file).write_text(f"{name}\n")
    sys.exit(0)


def _apptainer_mounts(parsed: _Parsed) -> list[tuple[str, str, bool]]:
    found = []
    for text in parsed.all("bind"):
        parts: list[str] = re.findall(r"[^,^:]+:?", text)
        if "".join(parts) != text or len(parts) > 3:
            _fatal(f"while parsing bind path: {text!r} is more than one bind, or none")
        source, inside, *mode = (part.removesuffix(":").strip() for part in parts)
        if not inside.startswith("/") or mode not in ([], ["ro"], ["rw"]):
            _fatal(f"while parsing bind path: {mode or inside} is not a valid bind option")
        found.append((source, inside, mode == ["ro"]))
    for text in parsed.all("mount"):
        try:
            fields = _record(text, "--mount")
        except WrongOption as error:
            _fatal(f"while parsing mount: {error}")
        if fields.get("type", "bind") != "bind" or not fields.get("source") or not fields.get("target"):
            _fatal("while parsing mount: mounts must specify a source and a destination")
        found.append((fields["source"], fields["target"], "readonly" in fields))
    return found


def _apptainer_variables(engine: str, image: dict[str, Any], *, noeval: bool) -> dict[str, str]:
    """The host's variables below the image's, below those with the prefix, evaluated as by a shell."""
    prefix, own = f"{engine.upper()}ENV_", f"{engine.upper()}_"
    given = {
        name.removeprefix(prefix): value for name, value in os.environ.items() if name.startswith(prefix)
    }
    variables = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith((prefix, own))
        and name != "LD_LIBRARY_PATH"
        and re.fullmatch(r"[A-Za-z_]\w*", name)
    }
    variables |= {"HOME": os.environ.get("HOME", "/"), "PATH": _DEFAULT_PATH} | image["variables"]
    for name, value in given.items():
        if name == "HOME":
            _say("WARNING: Overriding HOME environment variable with " + prefix + "HOME is not permitted")
            continue
        if not re.fullmatch(r"[A-Za-z_]\w*", name):
            # The script that sets them ends here, and all that come later are lost.
            _say("source: /.inject-apptainer-env.sh: invalid var name")
            break
        variables[name] = value if noeval else _evaluated(value)
    return variables


def _evaluated(value: str) -> str:
    import subprocess

    quoted = value.replace('"', '\\"')
    script = f'printf "%s." "{quoted}"'
    done = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=False)
    if done.returncode:
        _fatal(f"while evaluating the environment: {done.stderr.strip()}")
    return done.stdout[:-1]
