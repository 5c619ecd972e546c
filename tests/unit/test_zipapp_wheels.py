"""What the build takes out of the lock file and out of wheels."""

from __future__ import annotations

import importlib.util
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

TOP = Path(__file__).parents[2]
LOCK = TOP / "tools/zipapp/requirements.lock"


@pytest.fixture(scope="module")
def wheels() -> ModuleType:
    spec = importlib.util.spec_from_file_location("wheels", TOP / "tools/zipapp/wheels.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def wheel(path: Path, **files: str) -> Path:
    with zipfile.ZipFile(path, "w") as packed:
        for name, text in files.items():
            packed.writestr(name, text)
    return path


def test_markers_are_decided_for_the_python_that_is_built_for(wheels: ModuleType) -> None:
    assert any(line.startswith("backports") for line in wheels.locked(LOCK, "3.11", "x86_64"))
    assert not any(line.startswith("backports") for line in wheels.locked(LOCK, "3.12", "x86_64"))
    assert not any(line.startswith("colorama") for line in wheels.locked(LOCK, "3.12", "x86_64"))


def test_everything_has_a_version_and_digests_and_the_lock_names_no_index(wheels: ModuleType) -> None:
    for line in wheels.locked(LOCK, "3.13", "aarch64"):
        assert "==" in line
        assert "--hash=sha256:" in line
    for lock in LOCK.parent.glob("*.lock"):
        assert "://" not in lock.read_text()


def test_the_lock_has_all_that_the_program_asks_for(wheels: ModuleType) -> None:
    from importlib.metadata import requires

    locked = {line.split("==")[0].replace("-", ".").lower() for line in wheels.locked(LOCK, "3.11", "x86_64")}
    wished = {line for line in requires("anima-qa") or [] if "extra ==" not in line}
    missing = [line for line in wished if not any(line.lower().replace("-", ".").startswith(name) for name in locked)]
    assert missing == []


def test_trees_are_merged_without_what_nobody_needs(wheels: ModuleType, tmp_path: Path) -> None:
    one = wheel(
        tmp_path / "a-1-cp311.whl",
        **{
            "a/__init__.py": "", "a/fast.cpython-311-x86_64-linux-gnu.so": "11", "a/tests/test_a.py": "", "a/fast.pyi": "",
            "a-1.dist-info/METADATA": "Name: a", "a-1.dist-info/RECORD": "11", "a-1.dist-info/licenses/LICENSE": "free",
            "a-1.data/scripts/a": "", "qemu/qmp/legacy.py": "",
        },
    )  # fmt: skip
    two = wheel(tmp_path / "a-1-cp312.whl", **{"a/__init__.py": "", "a/fast.cpython-312-x86_64-linux-gnu.so": "12"})
    wheels.merge([one, two], tmp_path / "tree")
    files = {str(path.relative_to(tmp_path / "tree")) for path in (tmp_path / "tree").rglob("*") if path.is_file()}
    assert files == {
        "a/__init__.py", "a/fast.cpython-311-x86_64-linux-gnu.so", "a/fast.cpython-312-x86_64-linux-gnu.so",
        "a-1.dist-info/METADATA", "a-1.dist-info/licenses/LICENSE",
    }  # fmt: skip


def test_a_file_that_tells_how_it_was_compiled_may_differ_and_half_of_a_package_may_stay_out(
    wheels: ModuleType, tmp_path: Path
) -> None:
    extra = {"numpy/random/mtrand.py": "", "numpy/_core/_simd.cpython-311.so": "", "numpy/_core/lib/libnpymath.a": ""}
    one = wheel(tmp_path / "one.whl", **{"numpy/__config__.py": "3.11", **extra})
    two = wheel(tmp_path / "two.whl", **{"numpy/__config__.py": "3.12"})
    wheels.merge([one, two], tmp_path / "tree")
    files = [path for path in (tmp_path / "tree").rglob("*") if path.is_file()]
    assert [path.read_text() for path in files] == ["3.11"]


def test_all_pythons_get_the_same_version_of_a_package(wheels: ModuleType) -> None:
    pythons = [dict(line.split()[0].split("==") for line in wheels.locked(LOCK, python, "x86_64")) for python in wheels.PYTHONS]
    assert {
        name for one in pythons for name, version in one.items() if any(other.get(name, version) != version for other in pythons)
    } == set()


def test_files_that_differ_stop_the_build(wheels: ModuleType, tmp_path: Path) -> None:
    one, two = wheel(tmp_path / "one.whl", **{"a.py": "1"}), wheel(tmp_path / "two.whl", **{"a.py": "2"})
    with pytest.raises(wheels.Conflict, match=r"a\.py differs between one\.whl and two\.whl"):
        wheels.merge([one, two], tmp_path / "tree")
