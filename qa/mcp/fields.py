"""Arguments that several tools have, with the words that a model reads for them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from qa.mcp.call import DEFAULT_WAIT, LONGEST_WAIT

VmName = Annotated[str, Field(max_length=100, description="Machine's name")]
WaitSeconds = Annotated[
    float, Field(ge=0, description=f"Longest wait for an answer, up to {LONGEST_WAIT:.0f}; then you get a job for vm_wait")
]
ShortWaitSeconds = Annotated[float, Field(ge=0, description="As for vm_boot")]
"""For the tools that are listed behind it: each word costs every conversation."""
Force = Annotated[bool, Field(description="The user has agreed")]
TimeoutSeconds = Annotated[float, Field(gt=0, le=86400)]

WAIT = DEFAULT_WAIT
