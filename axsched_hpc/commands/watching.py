"""Watching a run: on a terminal as a screen, elsewhere as a line for each change."""

from __future__ import annotations

import json
import os
import sys
import time

from axsched_hpc.commands.output import show as echo
from axsched_hpc.core.errors import ConfigError, JournalError
from axsched_hpc.io import queue
from axsched_hpc.io.layout import Layout
from axsched_hpc.io.terminal import Came, Screen, speaks_unicode
from axsched_hpc.reporting.course import Course
from axsched_hpc.reporting.drawing import Cells, Look, plain, repaint
from axsched_hpc.reporting.plain import line
from axsched_hpc.reporting.reading import experiment_at
from axsched_hpc.reporting.screen import screen
from axsched_hpc.reporting.table import iso
from axsched_hpc.reporting.view import View, driver_words, finished, given_up, headline
from axsched_hpc.store.following import Follower

#: At the most this part of the time is spent looking, where the filesystem is slow or the journal read anew.
_SHARE = 20

#: Of `watch --until-done` that was left before, and that saw the driver go.
_LEFT, _GONE = 130, 1


def watching(directory: str | None, interval: float, *, until_done: bool, as_json: bool) -> None:
    """Watch a run, and end with the exit code that tells how that ended."""
    watched = Watched(experiment_at(directory))
    try:
        watched.look(first=True)
        if not as_json and sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb":
            done = _on_screen(watched, interval, until_done)
        else:
            done = _in_lines(watched, interval, until_done, as_json=as_json)
    except KeyboardInterrupt:
        done = False
    if until_done and not done:
        sys.exit(_LEFT)
    if until_done and not finished(watched.view()):
        sys.exit(_GONE)


class Watched:
    """An experiment that is looked at again and again."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        root, home = str(layout.root), os.path.expanduser("~")  # noqa: PTH111 - there may be no home
        self._name = f"~{root[len(home) :]}" if root.startswith(f"{home}/") else root
        self._follower = Follower(layout.journal, Course)
        self._queue = queue.Queue()
        self._trouble = ""
        self._since = time.time()

    def look(self, *, first: bool = False) -> float:
        """Read what is new; seconds to wait before the next look, at the least.

        What cannot be read is said in the view, beside what was known before. At the first look it is an
        error.

        Raises
        ------
        ConfigError, JournalError
            At the first look: there is no journal that can be read.
        """
        began = time.monotonic()
        try:
            self._follower.look()
            self._queue = queue.read(self._layout)
        except (OSError, JournalError) as error:
            trouble = str(error) if isinstance(error, JournalError) else _unreadable(self._layout, error)
            if first:
                raise (error if isinstance(error, JournalError) else ConfigError(trouble)) from error
            since = time.strftime("%H:%M:%S", time.localtime(self._since))
            self._trouble = f"As it was at {since}. {trouble}"
        else:
            self._trouble, self._since = "", time.time()
        return _SHARE * (time.monotonic() - began)

    def view(self, keys: str = "") -> View:
        """All that is known."""
        follower = self._follower
        return View(
            self._name,
            follower.ledger,
            follower.listener,
            follower.holder,
            None if follower.holder is None else follower.holder.alive(),
            self._queue,
            self._trouble,
            keys,
        )


def _unreadable(layout: Layout, error: OSError) -> str:
    what = "is not there" if isinstance(error, FileNotFoundError) else f"cannot be read ({error.strerror})"
    return f"{layout.journal} {what}."


def _over(view: View) -> bool:
    return finished(view) or given_up(view, now=time.time())


def _on_screen(watched: Watched, interval: float, until_done: bool) -> bool:
    """Show the run on the terminal; whether it is over."""
    look = Look(unicode=speaks_unicode(os.environ), colour=not os.environ.get("NO_COLOR"))
    shown: list[Cells] = []
    done = False
    try:
        with Screen() as terminal:
            pause = interval
            came = Came.TIME
            while came is not Came.QUIT:
                view = watched.view("q quits" if terminal.keys else "")
                if terminal.fresh():
                    shown = []
                width, height = terminal.size
                lines = screen(view, now=time.time(), width=width, height=height, look=look)
                terminal.write(repaint(shown, lines, look))
                shown = lines
                done = until_done and _over(view)
                if done:
                    break
                came = terminal.wait(pause)
                if came is Came.TIME:
                    pause = max(interval, watched.look())
    finally:
        # What was seen last stays, as the output of any other command.
        if shown:
            echo("\n".join(plain(each) for each in shown))
    return done


def _in_lines(watched: Watched, interval: float, until_done: bool, *, as_json: bool) -> bool:
    """Print each change in a line, until the run is over."""
    say = _object if as_json else _line
    view = watched.view()
    say(headline(view), time.time())
    place, before = view.course.events, view
    while not (until_done and _over(view)):
        time.sleep(max(interval, watched.look()))
        view = watched.view()
        place = min(place, view.course.events)  # a repaired journal may be shorter
        for news in view.course.news:
            if news.place > place:
                say(news.text, news.time)
        for text, known in ((view.trouble, before.trouble), (driver_words(view), driver_words(before))):
            if text != known:
                say(text or "The journal can be read again.", time.time())
        place, before = view.course.events, view
    return True


def _line(text: str, moment: float) -> None:
    echo(f"{time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(moment))} {line(text)}")


def _object(text: str, moment: float) -> None:
    sys.stdout.write(json.dumps({"time": iso(moment), "text": text}) + "\n")
    sys.stdout.flush()
