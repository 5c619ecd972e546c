"""What the floors above know of a disk image."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Image:
    """A disk image that was probed and found safe to boot. It is never written to: machines write to overlays.

    Attributes:
        reference: what the user wrote: ``builtin``, ``debian``, ``debian-13``, a path, a URL.
        path: the file, absolute.
        format: QEMU's name of the format, as probed once; always passed on, never guessed again.
        virtual_size: what the guest sees, in bytes.
        identity: a digest of the content where it is known, else of path, size and modification time.
        cloud_init: whether a NoCloud seed is worth attaching.
        shell: whether the image has the root shell on the virtio console built in (else it is injected).
        memory: bytes of memory that the image is comfortable with.
    """

    reference: str
    path: Path
    format: str
    virtual_size: int
    identity: str
    cloud_init: bool = True
    shell: bool = False
    memory: int = 1 << 30
