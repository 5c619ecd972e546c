"""Everything that knows QEMU's command line and its monitor (QMP)."""
