"""The map from Slurm's words to ours."""

from __future__ import annotations

import pytest

from axsched_hpc.core.states import JobState
from axsched_hpc.slurm.states import STATES, job_state

#: Compact and long state names, and flags that squeue shows in their place: squeue(1) and sacct(1), Slurm
#: 20.11 to 24.11.
DOCUMENTED = [
    "BOOT_FAIL",
    "CANCELLED",
    "COMPLETED",
    "COMPLETING",
    "CONFIGURING",
    "DEADLINE",
    "FAILED",
    "LAUNCH_FAILED",
    "NODE_FAIL",
    "OUT_OF_MEMORY",
    "PENDING",
    "POWER_UP_NODE",
    "PREEMPTED",
    "RECONFIG_FAIL",
    "REQUEUED",
    "REQUEUE_FED",
    "REQUEUE_HOLD",
    "RESIZING",
    "RESV_DEL_HOLD",
    "REVOKED",
    "RUNNING",
    "SIGNALING",
    "SPECIAL_EXIT",
    "STAGE_OUT",
    "STOPPED",
    "SUSPENDED",
    "TIMEOUT",
]


def test_every_documented_word_is_on_the_map() -> None:
    assert sorted(STATES) == sorted(DOCUMENTED)


def test_only_ends_are_final() -> None:
    assert {word for word, state in STATES.items() if state.final} == {
        "BOOT_FAIL",
        "CANCELLED",
        "COMPLETED",
        "DEADLINE",
        "FAILED",
        "LAUNCH_FAILED",
        "NODE_FAIL",
        "OUT_OF_MEMORY",
        "PREEMPTED",
        "RECONFIG_FAIL",
        "TIMEOUT",
    }


@pytest.mark.parametrize(
    ("raw", "state"),
    [
        ("CANCELLED by 1000", JobState.CANCELLED),
        ("CANCELLED+", JobState.CANCELLED),
        ("OUT_OF_MEMORY+", JobState.OUT_OF_MEMORY),
        ("completed", JobState.SUCCEEDED),
        (" RUNNING ", JobState.RUNNING),
    ],
)
def test_words_that_carry_more(raw: str, state: JobState) -> None:
    assert job_state(raw) is state


@pytest.mark.parametrize("raw", ["", "  ", "FINISHING_SOON", "OUT_OF_ME+", "COMPLETED_BUT", "?"])
def test_an_unknown_word_is_no_end(raw: str) -> None:
    assert job_state(raw) is JobState.UNKNOWN
    assert not job_state(raw).final
