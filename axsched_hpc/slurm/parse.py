"""What Slurm's commands answered, as values. Pure functions over (exit code, standard output, standard
error).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from axsched_hpc.core.errors import ClusterUnavailableError, SubmissionError
from axsched_hpc.core.states import JobState
from axsched_hpc.slurm.states import job_state

#: One job, or one task of an array.
JOB_ID = re.compile(r"\d+(_\d+)?")

# Tasks of an array, such as 4, 4-7 or 0-8:2.
_RANGE = re.compile(r"(\d+)(?:-(\d+)(?::(\d+))?)?")

_JOB_AGE = re.compile(r"^MinJobAge\s*=\s*(\d+) sec", re.MULTILINE)
_ARRAY_SIZE = re.compile(r"^MaxArraySize\s*=\s*(\d+)", re.MULTILINE)

#: Slurm's own bound on the numbers of tasks (MaxArraySize is at most 4,000,001).
_LAST_TASK = 4_000_000

_SQUEUE_FIELDS, _SACCT_FIELDS, _USAGE_FIELDS = 7, 9, 8

# sacct(1), MaxRSS and ReqMem: bytes, or with a unit. Before Slurm 21.08 ReqMem ends with n, for each node, or
# c, for each CPU; from then on it is what the whole job asked for.
_SIZE = re.compile(r"(\d+(?:\.\d+)?)([KMGTPE]?)([cn]?)")
_MEGABYTES = {"": 2.0**-20, "K": 2.0**-10, "M": 1.0, "G": 2.0**10, "T": 2.0**20, "P": 2.0**30, "E": 2.0**40}

_UNREACHABLE = re.compile(
    r"unable to contact slurm controller|socket timed out|connection refused|zero bytes were transmitted"
    r"|slurm_load_jobs error: (?!invalid job id)|slurm_persist_conn_open|unable to connect to database"
    r"|problem talking to the database|protocol authentication error|resource temporarily unavailable"
    r"|slurm backup controller in standby|transport endpoint is not connected",
    re.IGNORECASE,
)

#: What Slurm says of a busy controller: the same submission can succeed later.
_LATER = re.compile(
    r"socket timed out|unable to contact slurm controller|resource temporarily unavailable|try again"
    r"|unable to accept job|connection refused|zero bytes were transmitted|backup controller in standby",
    re.IGNORECASE,
)

#: What it says of a limit on the number of jobs: nothing was submitted, and fewer at once, or the same later,
#: may be taken.
_COUNT = re.compile(r"(assoc|qos)\w*submit\w*limit|job array specification", re.IGNORECASE)

#: The words that Slurm has for every limit of an account or QOS, and the name of the one that was met, which
#: stands before them, such as QOSMaxWallDurationPerJobLimit. Without a name it is most often the number of
#: jobs.
_POLICY = re.compile(r"violates accounting/qos policy", re.IGNORECASE)
_LIMIT = re.compile(r"\b(assoc|qos)(max|min|grp)\w+", re.IGNORECASE)

_OPTION = re.compile(r"(?:unrecognized|invalid|unknown) option\W+(?:--)?([A-Za-z0-9-]+)", re.IGNORECASE)

_HINTS = (
    (r"invalid partition", "`sinfo` lists the partitions; set SlurmRunner(partition=...)."),
    (
        r"invalid account|account/partition",
        "`sacctmgr show assoc user=$USER` lists your accounts; set account=...",
    ),
    (r"invalid qos", "`sacctmgr show qos` lists them; set config={'sbatch_options': {'qos': ...}}."),
    (
        r"memory specification|node configuration",
        "No node can give that much; lower memory or cpus_per_task.",
    ),
    (r"time limit", "It is beyond the partition's; `sinfo -o '%P %l'` shows it; lower time_limit."),
    (r"invalid --\S+ specification", "sbatch(1) says what the option takes."),
    (r"unrecognized option|invalid option|unknown option", "Check the names in config['sbatch_options']."),
)


@dataclass(frozen=True)
class Row:
    """One job as squeue or sacct shows it.

    Attributes
    ----------
    job
        ``123`` or ``123_4``.
    exit_code, signal
        From sacct; None where squeue said it.
    """

    job: str
    raw: str
    reason: str
    node: str | None
    name: str
    exit_code: int | None = None
    signal: int | None = None

    @property
    def state(self) -> JobState:
        """The state in our words."""
        return job_state(self.raw)


@dataclass(frozen=True)
class Usage:
    """What one job asked for and used; None for what the accounting does not tell.

    Attributes
    ----------
    asked_mb
        Memory, in MiB on each of its nodes; their mean where they differ. For ``--mem=0`` what the nodes
        have, or None where an older Slurm says 0.
    used_mb
        The most that Slurm saw one of its tasks have at a time, in MiB. It looks every half minute or so, and
        knows nothing of a job that was shorter; at a sudden end the truth was more.
    elapsed_s, limit_s
        Wall-clock time, in seconds.
    out_of_memory
        Whether the job or a step of it was killed for its memory. A script that goes on after its ``srun``
        was killed leaves that on the step only.
    """

    asked_mb: float | None
    used_mb: float | None
    elapsed_s: float | None
    limit_s: float | None
    out_of_memory: bool = False


class AccountingOff(Exception):
    """The site keeps no accounting records."""


def squeue(code: int, out: str, err: str) -> list[Row]:
    """The rows of squeue. Jobs that it does not know are left out, also when none is known.

    Raises
    ------
    ClusterUnavailableError
        It could not answer.
    """
    _check_squeue(code, err)
    rows = []
    for line in out.splitlines():
        fields = line.split("|", _SQUEUE_FIELDS - 1)
        if len(fields) != _SQUEUE_FIELDS:
            continue
        job, raw, reason, nodes, _, _, name = fields
        rows += [Row(one, raw, reason, _node(nodes), name) for one in expand(job)]
    return rows


def squeue_scripts(code: int, out: str, err: str) -> dict[str, str]:
    """The path of each job's batch script, likewise."""
    _check_squeue(code, err)
    rows = (line.partition("|") for line in out.splitlines())
    return {one: script for job, _, script in rows if script for one in expand(job)}


@dataclass(frozen=True)
class Step:
    """A job step that runs: its id (``123.4``), node and name."""

    id: str
    node: str | None
    name: str

    @property
    def job(self) -> str:
        """The allocation that it runs in."""
        return self.id.partition(".")[0]


def steps(code: int, out: str, err: str) -> list[Step]:
    """The steps that squeue shows; none of jobs that have ended.

    Raises
    ------
    ClusterUnavailableError
        It could not answer.
    """
    _check_squeue(code, err)
    rows = [line.split("|", 2) for line in out.splitlines()]
    return [Step(row[0], _node(row[1]), row[2]) for row in rows if len(row) == 3]


#: What srun and a step's manager write about the end of a step.
_STEP_ENDS = (
    (re.compile(r"CANCELLED AT \S+ DUE TO TIME LIMIT|DUE TO JOB TIME LIMIT"), JobState.TIMED_OUT),
    (re.compile(r"oom.kill event", re.IGNORECASE), JobState.OUT_OF_MEMORY),
    (re.compile(r"DUE TO NODE FAILURE|Node failure on|NODE FAIL"), JobState.NODE_FAILED),
    (re.compile(r"CANCELLED AT \S+ \*\*\*|CANCELLED AT \S+ DUE TO"), JobState.CANCELLED),
)


def step_end(text: str) -> JobState:
    """How a step that did not succeed has ended, by what srun wrote."""
    return next((state for pattern, state in _STEP_ENDS if pattern.search(text)), JobState.FAILED)


def unreachable(text: str) -> bool:
    """Whether srun could not begin a step because the controller did not answer."""
    return bool(_UNREACHABLE.search(text))


def sacct(code: int, out: str, err: str) -> list[Row]:
    """The rows of sacct.

    Raises
    ------
    AccountingOff
        The site keeps no records.
    ClusterUnavailableError
        It could not answer.
    """
    _check_accounting(code, err)
    rows = []
    for line in out.splitlines():
        fields = line.split("|")
        if len(fields) < _SACCT_FIELDS:
            continue
        # A name may hold the separator; it is the last field but one.
        job, raw, exit_field, nodes, *_ = fields
        name, reason = "|".join(fields[7:-1]), fields[-1]
        exit_code, signal = exit_status(exit_field)
        rows += [Row(one, raw, reason, _node(nodes), name, exit_code, signal) for one in expand(job)]
    return rows


def usage(code: int, out: str, err: str) -> dict[str, Usage]:
    """What jobs asked for and used, by job; jobs without a record are left out. Of a job that Slurm has run
    several times the last run counts.

    Raises
    ------
    AccountingOff
        The site keeps no records.
    ClusterUnavailableError
        It could not answer.
    """
    _check_accounting(code, err)
    found: dict[str, Usage] = {}
    for line in out.splitlines():
        fields = line.split("|")
        if len(fields) != _USAGE_FIELDS:
            continue
        name, raw, asked, used, elapsed, limit, cpus, nodes = fields
        job, _, step = name.partition(".")
        out_of_memory = job_state(raw) is JobState.OUT_OF_MEMORY
        if step and job in found:
            seen = found[job]
            found[job] = replace(
                seen,
                used_mb=max(filter(None, (seen.used_mb, _megabytes(used))), default=None),
                out_of_memory=seen.out_of_memory or out_of_memory,
            )
        elif not step and JOB_ID.fullmatch(job):
            found[job] = Usage(
                asked_mb=_asked(asked, cpus, nodes),
                used_mb=_megabytes(used),
                elapsed_s=float(elapsed) if elapsed.isdecimal() else None,
                # In minutes; or words, such as UNLIMITED and Partition_Limit.
                limit_s=60.0 * int(limit) if limit.isdecimal() else None,
                out_of_memory=out_of_memory,
            )
    return found


def job_age(answer: str) -> float:
    """Seconds for which the controller remembers a job after its end (MinJobAge), as `scontrol show config`
    tells; 0 where it does not.
    """
    found = _JOB_AGE.search(answer)
    return float(found[1]) if found is not None else 0.0


def array_size(answer: str) -> int | None:
    """Tasks that one array may have (MaxArraySize), likewise; None where it does not tell."""
    found = _ARRAY_SIZE.search(answer)
    # Task ids are below it, and ours begin at 0.
    return int(found[1]) if found is not None else None


def expand(job: str) -> Iterator[str]:
    """The single jobs of an id: ``39_[3-5,9%2]`` is 39_3, 39_4, 39_5 and 39_9; a job's steps are left out."""
    root, _, tasks = job.partition("_")
    if not tasks.startswith("["):
        if JOB_ID.fullmatch(job):
            yield job
        return
    for part in tasks.strip("[]").split("%")[0].split(","):
        found = _RANGE.fullmatch(part)
        # Slurm shortens long lists with "..."; what is left out is asked for again at the next poll.
        if found is None:
            continue
        first, last, step = int(found[1]), int(found[2] or found[1]), int(found[3] or 1)
        for task in range(first, min(last, _LAST_TASK) + 1, max(step, 1)):
            yield f"{root}_{task}"


def exit_status(field: str) -> tuple[int | None, int | None]:
    """(exit code, signal or None) of sacct's ``3:0`` or ``0:9``."""
    code, _, signal = field.partition(":")
    if not code.isdecimal():
        return None, None
    number = int(signal) if signal.isdecimal() else 0
    return int(code), number or None


def submission_error(text: str) -> SubmissionError:
    """The error for what sbatch said when it refused a job; decides whether trying again can help."""
    words = " ".join(line.strip() for line in text.splitlines() if line.strip()) or "no reason given"
    if _COUNT.search(text) or (_POLICY.search(text) and not _LIMIT.search(text)):
        return SubmissionError(f"Slurm takes no more jobs for now: {words}", limit=True)
    if _LATER.search(text):
        return SubmissionError(f"Slurm did not take the jobs for now: {words}", transient=True)
    hint = next((hint for pattern, hint in _HINTS if re.search(pattern, text, re.IGNORECASE)), "")
    return SubmissionError(f"Slurm refused the jobs: {words.rstrip('.')}. {hint}".strip())


def lacks_nodes(text: str) -> bool:
    """Whether sbatch says that no node has now what a job asks for."""
    return "node configuration is not available" in text


def unknown_option(text: str) -> str | None:
    """The option that sbatch says it does not know, without dashes; None where it says no such thing."""
    found = _OPTION.search(text)
    return found[1] if found is not None else None


def options(text: str) -> list[str]:
    """The long options in the help text of a command of Slurm, without dashes."""
    return list(dict.fromkeys(re.findall(r"(?<![\w-])--([a-z][a-z0-9-]+)", text)))


def _unavailable(command: str, code: int, err: str) -> ClusterUnavailableError:
    words = " ".join(err.split()) or f"exit code {code}, and no message"
    return ClusterUnavailableError(
        f"{command} could not answer: {words}. `scontrol ping` tells whether the controller is up.",
        transient=bool(_UNREACHABLE.search(err)) or not err.strip(),
    )


def scancel(code: int, err: str, what: str, ids: Sequence[str]) -> None:
    """Check that scancel has ended what it could; ids that Slurm does not know are no error.

    Parameters
    ----------
    what
        ``jobs`` or ``steps``.
    ids
        What a person has to cancel by hand where it has not.

    Raises
    ------
    ClusterUnavailableError
        It has not.
    """
    if code != 0 and "invalid job id" not in err.lower():
        raise ClusterUnavailableError(
            f"scancel could not end the {what}: {' '.join(err.split())}. They go on; "
            f"cancel them by hand: scancel {' '.join(ids)}",
            transient=True,
        )


def _check_squeue(code: int, err: str) -> None:
    # Of ids that it does not know squeue says so, and shows the others.
    if code != 0 and "invalid job id specified" not in err.lower():
        raise _unavailable("squeue", code, err)


def _check_accounting(code: int, err: str) -> None:
    if "accounting storage is disabled" in err.lower():
        raise AccountingOff(err.strip())
    if code != 0:
        raise _unavailable("sacct", code, err)


def _megabytes(field: str) -> float | None:
    """MiB of a size such as ``219748K``; None where there is none, or it was not measured (0)."""
    found = _SIZE.fullmatch(field)
    return float(found[1]) * _MEGABYTES[found[2]] or None if found is not None else None


def _asked(field: str, cpus: str, nodes: str) -> float | None:
    """MiB on each node of ReqMem, in the words of every version of Slurm."""
    size = _megabytes(field)
    if size is None or field.endswith("n"):
        return size
    if not nodes.isdecimal() or not cpus.isdecimal() or int(nodes) == 0:
        return None
    return size * (int(cpus) if field.endswith("c") else 1) / int(nodes)


def _node(nodes: str) -> str | None:
    return nodes if nodes and nodes not in ("None assigned", "(null)") else None
