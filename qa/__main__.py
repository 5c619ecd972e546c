"""``python -m qa`` is ``anima-qa``."""

from qa.cli import main

main()
