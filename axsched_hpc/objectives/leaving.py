"""How a worker ends: as Python does, but for taking itself apart.

That takes longer than most of what an attempt costs, and more the more is loaded; in a forked worker it would
copy all that is shared. All that others could see of it is done: threads are waited for, `atexit` is called,
open files are written, and then the process ends by exit(3), by which libraries of C and Fortran do the same.
"""

from __future__ import annotations

import contextlib
import io
import sys
from typing import NoReturn

#: Files that a function may have left open, with what is not written yet.
_WRITERS = frozenset({io.BufferedRandom, io.BufferedWriter, io.TextIOWrapper})


def leave(code: int) -> NoReturn:
    """End this process with an exit code."""
    import atexit
    import ctypes
    import gc
    import threading

    # As multiprocessing does in the processes that it forks.
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    # What was there before a fork is frozen, and not among these.
    for each in gc.get_objects():
        if type(each) in _WRITERS:
            with contextlib.suppress(OSError, ValueError):
                each.flush()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    # Without the interpreter's lock: threads of libraries that are told to end may want it once more, and are
    # waited for (PyTorch's autograd).
    ctypes.CDLL(None).exit(code)
    raise AssertionError("exit(3) does not return")
