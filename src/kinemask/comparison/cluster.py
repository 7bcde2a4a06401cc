"""Work of a comparison as jobs of a cluster, through submitit (the extra `cluster`)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

try:
    import submitit
except ImportError:
    raise ValueError("a cluster needs submitit: pip install 'kinemask[cluster]'") from None

from kinemask.comparison.compare import attempt
from kinemask.comparison.work import Work
from kinemask.files import write_atomically
from kinemask.plain_file import parse_yaml, read_json

_JOBS = {"slurm": submitit.SlurmJob, "local": submitit.LocalJob}
_UNDER_WAY = {"PENDING", "RUNNING", "REQUEUED", "COMPLETING", "PREEMPTED", "SUSPENDED"}


class Resumable(submitit.helpers.Checkpointable):
    """A job that is queued again, and resumes, when the cluster takes its machine away; returns what went wrong."""

    def __call__(self, work: Work, out: Path) -> str:
        return attempt(work, out)


def submit(todo: Sequence[Work], out: Path, cluster: str, options: dict[str, Any]) -> list[str]:
    """Submit a job for each work that has none under way, and wait for all; returns what went wrong.

    options: submitit's parameters, e.g. timeout_min, slurm_partition. Job numbers are kept in OUT/jobs/submitted.json,
    so that starting again waits for jobs that still run. Raises ValueError for options that submitit does not know, and
    where there is no Slurm.
    """
    if cluster not in _JOBS:
        raise ValueError(f"unknown cluster {cluster!r}; known: {', '.join(_JOBS)}")
    if not todo:
        return []
    folder, numbers = out / "jobs", out / "jobs" / "submitted.json"
    try:
        executor = submitit.AutoExecutor(folder, cluster=cluster)
        typed = {k: parse_yaml(v, k) if isinstance(v, str) else v for k, v in options.items()}
        executor.update_parameters(**{"name": "kinemask"} | typed)
    except (NameError, TypeError, ValueError, RuntimeError, AssertionError) as error:
        raise ValueError(f"slurm: {error}") from None
    before = read_json(numbers) if numbers.is_file() else {}
    jobs = {w.name: _JOBS[cluster](folder, before[w.name]) for w in todo if w.name in before}
    jobs = {name: job for name, job in jobs.items() if job.state.upper() in _UNDER_WAY}
    print(f"{len(jobs)} jobs are under way, {len(todo) - len(jobs)} are submitted; waiting for them", flush=True)
    if fresh := [work for work in todo if work.name not in jobs]:
        with executor.batch():
            submitted = {work.name: executor.submit(Resumable(), work, out) for work in fresh}
        jobs |= submitted
    text = json.dumps({name: job.job_id for name, job in jobs.items()}, indent=1) + "\n"
    write_atomically(numbers, lambda p: p.write_text(text))
    return [f"{name}: {told}" for name, job in jobs.items() if (told := _outcome(job))]


def _outcome(job: submitit.Job[str]) -> str:
    """Waits for a job; what went wrong, or nothing."""
    if job.exception() is not None:
        return f"job {job.job_id} did not end well (see {job.paths.stderr})"
    return job.result()
