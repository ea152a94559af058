"""A container image small enough to be made on the spot: a directory with busybox and one program."""

import shutil
import sys
from pathlib import Path

BUSYBOX = "/bin/busybox"
# Where engines mount what they bring along, and where charliecloud mounts the trial's directory.
DIRECTORIES = "bin dev etc home mnt proc root run sys tmp usr var"

#: The surface of a box of 1000 litres, from its width and height in decimetres: lowest for a cube.
PROGRAM = """\
#!/bin/sh
# surface PARAMETERS METRICS: reads {"width": ..., "height": ...}, writes a line "surface VALUE".
set -eu
awk -F '[":, ]+' '
    /"width"/ { width = $3 }
    /"height"/ { height = $3 }
    END { depth = 1000 / width / height; print "surface", 2 * (width * height + depth * (width + height)) }
' "$1" >"$2"
"""


def make_image(directory: Path) -> Path:
    """Make the image in ``directory``, where it is not there yet, and return its path."""
    if not Path(BUSYBOX).exists():
        raise SystemExit(f"{BUSYBOX} is missing. On Debian and Ubuntu: apt-get install busybox-static")
    for name in DIRECTORIES.split():
        (directory / name).mkdir(parents=True, exist_ok=True)
    for name in ("passwd", "group", "hosts", "resolv.conf"):
        (directory / "etc" / name).touch()
    shutil.copy(BUSYBOX, directory / "bin/busybox")
    for applet in ("sh", "awk"):
        link = directory / "bin" / applet
        if not link.is_symlink():
            link.symlink_to("busybox")
    program = directory / "bin/surface"
    program.write_text(PROGRAM)
    program.chmod(0o755)
    return directory.absolute()


if __name__ == "__main__":
    make_image(Path(sys.argv[1]))
