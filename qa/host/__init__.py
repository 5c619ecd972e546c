"""What this machine is: QEMU, firmware, memory, disk, helpers, and the remembered verdict on its accelerators."""
