"""Machines and jobs in the words of results."""

from __future__ import annotations

from typing import Any

from qa.operations.jobs import Job, describe_error
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
