"""Import every module of the single file, in the Python that runs this.

import_all.py FOLDER: the ``site-packages`` that the single file was unpacked to. Python's ``-IS`` keeps others out.
Ends with 1 and names each module that should be importable and is not.
"""

from __future__ import annotations

import importlib
import io
import sys
import warnings
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

CANNOT = {
    # what is written for other systems, for tools and libraries that are not in the file, or only says that it has moved
    "PIL._typing", "asyncssh.crypto.umac", "cffi._shimmed_dist_utils", "click._winconsole", "mcp.cli", "mcp.cli.claude",
    "mcp.cli.cli", "mcp.server.fastmcp", "numpy._core.cversions", "numpy.matlib", "pexpect._async_pre_await",
    "rich._win32_console", "rich._windows_renderer", "truststore._macos", "truststore._windows",
}  # fmt: skip


def modules(site: Path) -> Iterator[str]:
    """The names of all modules, those in folders without an ``__init__`` too."""
    for file in sorted(site.rglob("*")):
        inside = file.relative_to(site)
        ours = file.suffix in {".py", ".so"} and not any("." in folder or folder == "_data" for folder in inside.parts[:-1])
        name = file.name.split(".")[0]
        if ours and name != "__main__":
            yield ".".join([*inside.parts[:-1], *([] if name == "__init__" else [name])])


def failures(site: Path) -> Iterator[str]:
    """A line for each module that cannot be imported though nothing is missing that was left out."""
    sys.path.insert(0, str(site))
    inside = {name.partition(".")[0] for name in modules(site)}
    for name in dict.fromkeys(modules(site)):
        try:
            with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
                importlib.import_module(name)
        except (Exception, SystemExit) as error:
            lacking = error.name.partition(".")[0] if isinstance(error, ModuleNotFoundError) and error.name else "qa"
            optional = lacking not in (inside | sys.stdlib_module_names) - {"tkinter"} and not name.startswith("qa.")
            if not optional and name not in CANNOT:
                yield f"{name}: {type(error).__name__}: {str(error).strip().splitlines()[-1:]}"


def main() -> None:
    warnings.simplefilter("ignore")
    site = Path(sys.argv[1]).resolve()
    failed = list(failures(site))
    known = sum(getattr(module, "__file__", None) is not None for module in sys.modules.values())
    print(f"Python {sys.version.split()[0]}: {known} modules imported, {len(failed)} that should be and are not")
    print(*failed, sep="\n")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
