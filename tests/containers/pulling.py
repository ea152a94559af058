"""Stand-ins for what docker, apptainer and singularity do with images before they run them.

Docker's is podman, which has the same commands, with docker's own words where they differ. Apptainer's takes
``pull FILE URI`` and ``build FILE TRANSPORT:ARCHIVE`` as strictly as cmd/internal/cli/pull.go and build.go of
Apptainer 1.2 do, and makes a file that says what it was made of.
"""

from __future__ import annotations

from pathlib import Path

#: What docker says without a daemon (client 20.10).
NO_DAEMON = (
    "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?"
)

_DOCKER = """\
#!/bin/sh
case "$1" in
image | pull | tag | save | load | import) exec podman "$@" ;;
kill) exit 0 ;;
run) ;;
*) echo "docker: '$1' is not a docker command." >&2; exit 1 ;;
esac
for word do
    case "$word" in
    localhost/axsched:*)
        podman image exists "$word" && break
        echo "docker: Error response from daemon: No such image: $word." >&2
        echo "See 'docker run --help'." >&2
        exit 125
        ;;
    esac
done
exec podman "$@"
"""

_APPTAINER = """\
#!/bin/sh
echo "$*" >> "$0.calls"
fatal() { printf '\\033[31mFATAL:  \\033[0m %s\\n' "$1" >&2; exit 255; }
[ $# = 3 ] || fatal "accepts 2 arg(s), received $(($# - 1))"
case "$2" in *.sif) ;; *) fatal "not a name for an image file: $2" ;; esac
case "$1 $3" in
"pull docker://"*nosuch* | "pull oras://"*nosuch*)
    fatal "While making image from oci registry: error fetching image to cache: reading manifest 1 in $3: \
manifest unknown" ;;
"pull docker://"* | "pull oras://"* | "pull library://"*)
    [ -e "$2" ] && fatal "Image file already exists: \\"$2\\" - will not overwrite" ;;
"build docker-archive:"* | "build oci-archive:"*)
    archive=${3#*:}
    [ -e "$archive" ] || fatal "While performing build: conveyor failed to get: no $archive" ;;
*) fatal "unknown command or URI: $1 $3" ;;
esac
echo 'INFO:    Creating SIF file...' >&2
echo "$3" > "$2"
"""


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def make_docker(directory: Path) -> Path:
    """Docker over the podman on PATH."""
    return _write(directory / "docker", _DOCKER)


def make_docker_without_daemon(directory: Path) -> Path:
    """A client of docker that has no daemon."""
    return _write(directory / "docker", f"#!/bin/sh\necho '{NO_DAEMON}' >&2\nexit 1\n")


def make_apptainer(directory: Path, engine: str) -> Path:
    """Apptainer or singularity; ``calls`` beside it has one line per call."""
    return _write(directory / engine, _APPTAINER)
