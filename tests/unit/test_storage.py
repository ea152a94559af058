"""Which errors of a filesystem pass, and how they are waited for."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

import pytest

from axsched_hpc.io import storage


def failure(number: int) -> OSError:
    return OSError(number, os.strerror(number), "file")


@pytest.mark.parametrize(
    "name", ["ENOSPC", "EDQUOT", "EROFS", "EIO", "ESTALE", "ETIMEDOUT", "ENOLCK", "ENOTCONN", "ESHUTDOWN"]
)
def test_errors_of_a_filesystem_can_pass(name: str) -> None:
    error = failure(getattr(errno, name))
    assert storage.is_storage_error(error)
    assert storage.is_storage_error(error, reading=True)


@pytest.mark.parametrize("name", ["ENOENT", "ENOTDIR", "EISDIR", "ELOOP", "ENAMETOOLONG", "EINVAL", "EEXIST"])
def test_wrong_requests_do_not(name: str) -> None:
    assert not storage.is_storage_error(failure(getattr(errno, name)))


@pytest.mark.parametrize("name", ["EACCES", "EPERM"])
def test_a_permission_can_come_back_for_who_could_write(name: str) -> None:
    error = failure(getattr(errno, name))
    assert storage.is_storage_error(error)
    assert not storage.is_storage_error(error, reading=True)


def test_an_error_without_a_number_is_none_of_the_filesystem() -> None:
    assert not storage.is_storage_error(OSError("what is this"))


class Trials:
    """An action that fails with these errors, one after the other, and then works."""

    def __init__(self, *errors: OSError) -> None:
        self.errors = list(errors)
        self.said: list[str] = []
        self.pauses: list[float] = []

    def __call__(self) -> str:
        if self.errors:
            raise self.errors.pop(0)
        return "done"

    def patiently(self, patience: float = 1000.0, retry: Callable[[OSError], bool] | None = None) -> str:
        more = {} if retry is None else {"retry": retry}
        return storage.patiently(
            self,
            what="the file cannot be written",
            say=self.said.append,
            patience=patience,
            pause=self.pauses.append,
            **more,
        )


def test_what_works_is_done_at_once() -> None:
    trials = Trials()
    assert trials.patiently() == "done"
    assert (trials.said, trials.pauses) == ([], [])


def test_pauses_grow_up_to_a_limit_and_vary() -> None:
    trials = Trials(*[failure(errno.ENOSPC)] * 40)
    assert trials.patiently() == "done"
    assert len(trials.pauses) == 40
    for number, pause in enumerate(trials.pauses):
        full = min(storage.FIRST_DELAY * 2**number, storage.LONGEST_DELAY)
        assert full / 2 <= pause <= full
    assert len(set(trials.pauses[-30:])) > 5
    assert trials.said[0] == (
        "the file cannot be written yet: [Errno 28] No space left on device: 'file'. "
        "Trying again, for 1000 s at most."
    )
    # A log on a full disk is not filled with the same line.
    assert len(trials.said) == 8


def test_another_error_is_said() -> None:
    trials = Trials(*[failure(errno.ENOSPC)] * 20, failure(errno.EIO), *[failure(errno.EIO)] * 5)
    assert trials.patiently() == "done"
    assert len(trials.said) == 9
    assert "Input/output error" in trials.said[-1]


def test_a_wrong_request_is_raised_at_once() -> None:
    trials = Trials(failure(errno.ENOENT))
    with pytest.raises(FileNotFoundError):
        trials.patiently()
    assert trials.pauses == []
    assert Trials(failure(errno.ENOENT)).patiently(retry=lambda _: True) == "done"


def test_patience_ends() -> None:
    trials = Trials(*[failure(errno.EDQUOT)] * 3)
    with pytest.raises(OSError, match="quota") as caught:
        trials.patiently(patience=0)
    assert caught.value.errno == errno.EDQUOT
    assert trials.pauses == []


def test_a_pause_is_never_longer_than_what_is_left() -> None:
    trials = Trials(failure(errno.ENOSPC))
    assert trials.patiently(patience=0.05) == "done"
    assert trials.pauses[0] <= 0.05


def test_a_pause_can_end_the_waiting() -> None:
    def pause(_: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        storage.patiently(Trials(failure(errno.EIO)), what="x", say=lambda _: None, patience=9, pause=pause)
