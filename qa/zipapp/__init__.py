"""How the single file starts. It travels outside of the package too, so it imports nothing of ours, and little of Python's."""
