"""Makes what jobs run of a container image, in a cache directory that all nodes see.

There ``KEY.sif`` or ``KEY/`` is what jobs run. Of engines with a storage on each node ``KEY.json`` says by
which name they run the image, and ``KEY.tar`` is what the nodes take into their storage. ``KEY.log`` has who
made them, and what the programs said. All of them stay: trials run the same image, whatever becomes of its
name in the registry.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shlex
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO

from axsched_hpc.io import access, atomic, claim, document, outcome, processes
from axsched_hpc.objectives.containers import images, tools
from axsched_hpc.objectives.containers.engines import Engine, Image, image_kind
from axsched_hpc.objectives.containers.images import Archive, Need, Unsuitable
from axsched_hpc.objectives.containers.mounts import INSIDE
from axsched_hpc.objectives.containers.once import Failed, Waiting, once
from axsched_hpc.objectives.context import account, quoted, size
from axsched_hpc.objectives.kinds import ContainerObjective

#: How filesystems say that they have no hard links.
_NO_LINKS = frozenset({errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP, errno.EMLINK})

#: How they say that a place is not this user's to write, or no directory.
_FORBIDDEN = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST})


class Maker:
    """Prepares one image for one engine.

    Attributes
    ----------
    cache
        The cache directory.
    key
        Names in it what is made of the image.

    Raises
    ------
    Failed
        The image is an archive that is not there.
    OSError
        It cannot be looked at.
    """

    def __init__(
        self,
        container: ContainerObjective,
        engine: Engine,
        cache: Path,
        waiting: Waiting,
        *,
        in_job: bool = False,
    ) -> None:
        self.cache = cache
        self._engine = engine
        self._image = container.image
        self._waiting = waiting
        self._in_job = in_job
        self._own_cache = container.image_cache is None
        self._log, self._started = cache, 0
        self._need = images.need(engine, container.image, container.extra_args)
        self._seen = self._stamp()
        self.key = images.key(engine, container.image, os.uname().machine, self._seen)
        self._log = cache / f"{self.key}.log"

    def absent(self) -> list[str]:
        """The programs that it takes, and that this machine does not have."""
        if self._need is Need.NOTHING:
            return []
        needed = {self._engine.program}
        if self._need is Need.PRODUCT:
            needed = images.programs(self._engine, self._image)
        return sorted(program for program in needed if shutil.which(program) is None)

    def without(self) -> str | None:
        """What can be run without any preparation; None for nothing."""
        # The image may be in ch-image's storage on the node, without the program that put it there.
        named = image_kind(self._image) is not Image.ARCHIVE and self._engine.name == "charliecloud"
        return images.name(self._image) if named else None

    def ready(self) -> tuple[str, tuple[str, ...]] | None:
        """What the engine is told to run, with options; None where it has to be made yet.

        Raises
        ------
        OSError
            The cache cannot be read.
        """
        match self._need:
            case Need.NOTHING:
                return self._image, ()
            case Need.PRODUCT:
                return (str(self._product), ()) if self._product.exists() else None
            case Need.STORED:
                reference = self._recorded()
                return None if reference is None else (reference, (images.NO_PULL,))
            case Need.LOADED:
                return images.reference(self.key), (images.NO_PULL,)

    def make(self, *, share: bool) -> None:
        """Make what is not there yet, once.

        Parameters
        ----------
        share
            Whether other nodes are to find it in the cache.

        Raises
        ------
        Failed
            It cannot be made; the message says why.
        OSError
            The cache cannot be used.
        """
        match self._need:
            case Need.PRODUCT:
                self._once(self.key, self._product.exists, self._make_product)
            case Need.STORED:
                kept = share and self._kept
                self._once(
                    self.key,
                    lambda: self._recorded() is not None and (not kept or kept.exists()),
                    lambda place: self._store(place, share=share),
                )
            case Need.LOADED:
                self._archive()

    def fetch(self, log: Path) -> None:
        """Bring the image into this node's storage; one process of the node does it for all.

        Parameters
        ----------
        log
            Takes what the engine says.
        """
        self._log = log
        key = f"{self.key}.{processes.hostname()}"
        # Whether the storage has it is asked by whose turn it is, rather than by all who wait, all the time.
        self._once(key, lambda: False, self._fetch)

    # ------------------------------------------------------------ products

    @property
    def _product(self) -> Path:
        return self.cache / images.product(self._engine, self.key)

    def _make_product(self, place: Path) -> None:
        made, scratch = place / self._product.name, place / "scratch"
        scratch.mkdir()
        archive = self._archive()
        try:
            recipes = images.recipes(self._engine, self._image, archive, made, scratch)
        except Unsuitable as error:
            raise Failed(
                f"The container image {self._image} cannot be run with {self._engine.name}: {error}."
            ) from None
        with self._noted("prepares"):
            for recipe in recipes:
                if all(self._run(argv, scratch) == 0 for argv in recipe) and made.exists():
                    break
            else:
                raise self._failed()
            if made.is_dir():
                # So that the attempt's files are seen where other engines show them.
                (made / INSIDE.lstrip("/")).mkdir(exist_ok=True)
            if self._stamp() != self._seen:
                raise Failed(f"The container image {self._image} was changed while it was read. Try again.")
            self._publish(made, self._product)

    def _archive(self) -> Archive | None:
        """What the archive holds; None where the image is none."""
        if image_kind(self._image) is not Image.ARCHIVE:
            return None
        import tarfile

        try:
            with tarfile.open(self._image) as tar:
                return images.archive_kind(member.name for member in tar)
        except (tarfile.TarError, EOFError) as error:
            said = str(error).partition(":\n")[0]
            raise Failed(
                f"The container image {self._image} is no tar archive, or is damaged ({said}). Write it anew."
            ) from None

    def _publish(self, made: Path, final: Path) -> None:
        """Give something its name, in one moment and for good: what another has put there stays."""
        # A rename can be on the disk before what is renamed, where a machine loses its power.
        if shutil.which("sync"):
            self._run(("sync", "-f", str(made)), made.parent)
        try:
            if made.is_dir():
                made.rename(final)
            else:
                os.link(made, final)
        except OSError as error:
            if final.exists():
                return
            if made.is_dir() or error.errno not in _NO_LINKS:
                raise
            made.rename(final)
        atomic.sync_directory(final.parent)

    # ------------------------------------------------------------ engines with a storage

    @property
    def _record(self) -> Path:
        return self.cache / f"{self.key}.json"

    @property
    def _kept(self) -> Path:
        return self.cache / f"{self.key}.tar"

    def _recorded(self) -> str | None:
        try:
            fields = document.read(self._record)
            return str(document.field(fields, "reference", str, source=str(self._record)))
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise Failed(f"{str(error).rstrip('.')}. Remove the file: the image is prepared anew.") from None

    def _store(self, place: Path, *, share: bool) -> None:
        known = self._recorded()
        with self._noted("prepares"):
            reference = known if known and self._identity(known) else self._named(known)
            if share and not self._kept.exists():
                self._insist(images.save(self._engine.program, reference), place)
                self._publish(place / images.ARCHIVE, self._kept)
            if known is None:
                fields = {"reference": reference, "image": self._image, "engine": self._engine.name}
                atomic.write(self._record, document.encode(fields))

    def _named(self, known: str | None) -> str:
        """Find the image in the storage or in its registry, and give it our name."""
        program, name = self._engine.program, images.name(self._image)
        identity = self._identity(name)
        if identity is None or known not in (None, images.reference(identity)):
            self._insist(images.pull(program, name))
            identity = self._identity(name)
        if identity is None:
            raise self._failed()
        reference = images.reference(identity)
        if known not in (None, reference):
            raise Failed(
                f"{name} is another image by now than the one that this experiment runs, and {self._kept}, "
                "which would hold that, is missing. Put the file back; or, to run the other one, remove "
                f"{self._record}."
            )
        self._insist(images.tag(program, name, reference))
        return reference

    def _fetch(self, place: Path) -> None:
        ready = self.ready()
        if ready is None or self._identity(ready[0]) is not None:
            return
        reference = ready[0]
        with self._noted("takes into its storage"):
            if self._need is Need.LOADED:
                archive = self._archive() or Archive.FLAT
                self._load(place, Path(self._image), archive, reference)
                if archive is not Archive.FLAT:
                    self._name(reference)
            elif self._kept.exists() and not self._has_under_its_name(reference):
                self._load(place, self._kept, Archive.DOCKER, reference)
            else:
                self._named(reference)
            if self._identity(reference) is None:
                raise self._failed()

    def _has_under_its_name(self, reference: str) -> bool:
        identity = self._identity(images.name(self._image))
        return identity is not None and images.reference(identity) == reference

    def _load(self, place: Path, path: Path, archive: Archive, reference: str) -> None:
        (place / images.ARCHIVE).symlink_to(path.absolute())
        self._insist(images.load(self._engine.program, archive, reference), place)

    def _name(self, reference: str) -> None:
        """Give the image that was loaded from the user's archive our name."""
        names = images.loaded("\n".join(outcome.tail(self._log, self._started)))
        if len(names) != 1:
            held = f"images of {len(names)} names ({', '.join(names)})" if names else "no image"
            raise Failed(f"{self._image} holds {held}. Save the one that is to run alone.")
        self._insist(images.tag(self._engine.program, names[0], reference))

    def _identity(self, image: str) -> str | None:
        import tempfile  # most jobs find all prepared

        with tempfile.TemporaryFile() as file:
            argv = images.identify(self._engine.program, image)
            if self._start(argv, file, self.cache):
                return None
            file.seek(0)
            return images.digest(file.read().decode(errors="replace"))

    # ------------------------------------------------------------ programs and their log

    def _once(self, key: str, ready: Callable[[], bool], make: Callable[[Path], None]) -> None:
        what = f"The container image {self._image}"
        try:
            once(self.cache, key, ready=ready, make=make, waiting=self._waiting, what=what)
        except OSError as error:
            # The experiment directory could be written once, and is waited for.
            if self._own_cache or error.errno not in _FORBIDDEN:
                raise
            raise Failed(
                f"container_options['image_cache'] is {self.cache}, which cannot be written on "
                f"{processes.hostname()}: {error.strerror} ({error.filename or self.cache}). Name a "
                "directory of your own that the nodes share."
            ) from None

    @contextlib.contextmanager
    def _noted(self, what: str) -> Iterator[None]:
        """Begin and end a section of the log."""
        job = claim.job_id()
        who = f"process {os.getpid()} on {processes.hostname()}" + (f", job {job}" if job else "")
        self._started = size(self._log)
        begun = time.monotonic()
        self._write(
            f"== {time.strftime('%Y-%m-%d %H:%M:%S')} {self._engine.name} {what} {self._image} ({who})"
        )
        self._waiting.say(f"{self._engine.name} {what} the container image {self._image}; see {self._log}.")
        try:
            yield
        except BaseException:
            self._write(f"== given up after {time.monotonic() - begun:.1f} s")
            raise
        self._write(f"== ready after {time.monotonic() - begun:.1f} s")

    def _write(self, line: str) -> None:
        with contextlib.suppress(OSError), os.fdopen(access.open_append(self._log), "ab") as log:
            log.write(f"{line}\n".encode())

    def _insist(self, argv: Sequence[str], directory: Path | None = None) -> None:
        if self._run(argv, directory or self.cache):
            raise self._failed()

    def _run(self, argv: Sequence[str], directory: Path) -> int:
        self._write(f"$ {shlex.join(argv)}")
        with os.fdopen(access.open_append(self._log), "ab") as log:
            return self._start(argv, log, directory)

    def _start(self, argv: Sequence[str], output: IO[bytes], directory: Path) -> int:
        environment = {"USER": account(), **os.environ}  # ch-run and its like ask for it
        try:
            return tools.run(
                argv, environment=environment, directory=directory, output=output, pause=self._waiting.pause
            )
        except (FileNotFoundError, PermissionError) as error:
            raise Failed(
                f"{self._image} cannot be prepared on {processes.hostname()}: {argv[0]} cannot be started "
                f"({error.strerror}). Load its module, or install it."
            ) from None

    def _failed(self) -> Failed:
        lines = outcome.tail(self._log, self._started)
        program = self._engine.program
        if self._need is Need.STORED or image_kind(self._image) is not Image.ARCHIVE:
            advice = (
                "Check the image's name, and that this machine reaches its registry and may read there; or "
                "fetch the image by hand, and give its path."
            )
            if self._in_job:
                advice += (
                    f" Where only the driver's machine reaches it, make {program} available there: the "
                    "driver then fetches the image before the first submission."
                )
        else:
            advice = "Check the archive, and that there is enough space."
        return Failed(
            f"{self._engine.name} could not prepare the container image {self._image} on "
            f"{processes.hostname()}; {quoted(lines, self._log)}. {advice}",
            unusable=images.no_service(lines),
        )

    def _stamp(self) -> tuple[int, int] | None:
        if image_kind(self._image) is not Image.ARCHIVE:
            return None
        try:
            with open(self._image, "rb") as file:  # noqa: PTH123 - NFS answers a mere stat from its cache
                found = os.fstat(file.fileno())
        except (FileNotFoundError, NotADirectoryError, PermissionError, IsADirectoryError) as error:
            raise Failed(
                f"The container image {self._image} cannot be read on {processes.hostname()}: "
                f"{error.strerror}. Put it on a file system that the nodes share."
            ) from None
        return found.st_size, found.st_mtime_ns
