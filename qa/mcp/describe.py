"""Machines and jobs in the words of results."""

from __future__ import annotations

from typing import Any

from qa.operations.jobs import Job, Output, describe_error
from qa.operations.vm import VmFacts


def describe_vm(facts: VmFacts) -> dict[str, Any]:
    """A machine; what there is nothing to say of is left out."""
    told: dict[str, Any] = {
        "vm": facts.name,
        "state": facts.state,
        "why": facts.why,
        "image": facts.image,
        "start": facts.start,
        "forked_from": facts.forked_from,
        "memory_mb": facts.memory >> 20,
        "cpus": facts.cpus,
        "commands_over": facts.channel,
        "forwards": {str(guest): f"127.0.0.1:{host}" for guest, host in facts.forwards.items()},
        "snapshots": [one.name for one in facts.snapshots],
        "destroyed_if_unused_for_s": facts.lease_ends_s,
        "folder": str(facts.results),
    }
    return {name: value for name, value in told.items() if value not in ("", None, [], {}, 0)}


def describe_job(job: Job) -> dict[str, Any]:
    """A job."""
    told: dict[str, Any] = {"job": job.id, "what": job.what, "state": job.state, "elapsed_s": round(job.elapsed_s, 1)}
    if job.running and job.said:
        told["said"] = job.said
    if job.error is not None:
        told["error"] = describe_error(job.error)
    return told


def under_way(job: Job, cursor: int = 0) -> dict[str, Any]:
    """What is told of a job that has not ended when its call does, with what it has printed behind ``cursor``."""
    told: dict[str, Any] = {"job": job.id, "state": "running", "what": job.what, "elapsed_s": round(job.elapsed_s, 1)}
    if said := "it is being cancelled" if job.stopping else job.said:
        told["said"] = said
    if job.total:
        told["progress"] = f"{100 * job.done / job.total:.0f} %"
    told["next"] = f'vm_wait with job "{job.id}" goes on waiting for it; with cancel it ends'
    return told | output_of(job, cursor)


def output_of(job: Job, cursor: int) -> dict[str, Any]:
    """What a job has printed behind ``cursor``, stdout and stderr as they came."""
    if job.output is None:
        return {}
    piece = job.output.read(cursor)
    data: dict[str, Any] = {"output": piece.text, "cursor": piece.cursor}
    if piece.skipped:
        data |= {"skipped_bytes": piece.skipped, **whole(job.output)}
    return data


def whole(output: Output) -> dict[str, Any]:
    """Where all of it is, and how much of it could not be kept: there was too much of it, or the disk is full."""
    told: dict[str, Any] = {"whole_output": str(output.file)}
    return told | ({"whole_output_lacks_bytes": output.lost} if output.lost else {})
