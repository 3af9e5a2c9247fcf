from pathlib import Path

import pytest

from tools.check_lock import problems, read_lock

HASH = f"--hash=sha256:{'0' * 64}"
LOCK = f"numpy==2.1.0 \\\n    {HASH} \\\n    {HASH}\ntypes_pyyaml==6.0.1 {HASH}\n"
PROJECT = """\
[project]
dependencies = ["numpy>=2,<3"]
[dependency-groups]
dev = ["types.PyYAML>=6", {include-group = "cluster"}]
cluster = ["ray>=2"]
"""
LOCK_CLUSTER = f"{LOCK}ray==2.60.0 {HASH}\n"


def found(
    folder: Path, lock: str = LOCK, lock_cluster: str = LOCK_CLUSTER, lock_dev: str = LOCK_CLUSTER
) -> list[str]:
    """What is wrong with the lock files, each line from the name of the file on."""
    project = folder / "pyproject.toml"
    project.write_text(PROJECT, encoding="utf-8")
    locks = {"": "requirements.txt", "cluster": "cluster.txt", "dev": "dev.txt"}
    paths = {group: folder / name for group, name in locks.items()}
    for path, text in zip(paths.values(), (lock, lock_cluster, lock_dev), strict=True):
        path.write_text(text, encoding="utf-8")
    return [line.removeprefix(f"{folder}/") for line in problems(project, paths)]


def test_lock_files_with_all_that_is_asked_for_pass(tmp_path: Path) -> None:
    assert found(tmp_path) == []


def test_a_dependency_without_a_pin_is_found(tmp_path: Path) -> None:
    lock = LOCK.replace("numpy", "other")
    assert found(tmp_path, lock=lock) == [
        "requirements.txt: numpy<3,>=2 is asked for, nothing locked"
    ]


def test_development_needs_all_kinds(tmp_path: Path) -> None:
    lock = f"other==1 {HASH}\n"
    assert [line.split()[1] for line in found(tmp_path, lock_dev=lock)] == [
        "numpy<3,>=2",
        "types.PyYAML>=6",
        "ray>=2",
    ]


def test_a_group_needs_its_own_and_what_all_need(tmp_path: Path) -> None:
    assert found(tmp_path, lock_cluster=f"other==1 {HASH}\n") == [
        "cluster.txt: numpy<3,>=2 is asked for, nothing locked",
        "cluster.txt: ray>=2 is asked for, nothing locked",
    ]


@pytest.mark.parametrize("version", ["1.26.4", "3.0.0"])
def test_a_pin_that_is_out_of_range_is_found(version: str, tmp_path: Path) -> None:
    (line,) = found(tmp_path, lock=LOCK.replace("2.1.0", version))
    assert line == f"requirements.txt: numpy<3,>=2 is asked for, ['{version}'] locked"


def test_a_pin_for_one_platform_that_is_out_of_range_is_found(tmp_path: Path) -> None:
    lock = LOCK + f"numpy==1.26.4 ; python_version < '3.11' {HASH}\n"
    assert len(found(tmp_path, lock=lock)) == 1


def test_a_package_without_a_hash_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no hash in: other==1"):
        found(tmp_path, lock=LOCK + "other==1\n")


@pytest.mark.parametrize(
    "line",
    [
        "--index-url https://mirror.example/simple",
        f"other @ http://mirror.example/other-1.tar.gz {HASH}",
        f"other @ file:///home/me/other {HASH}",
    ],
)
def test_a_recorded_address_is_refused(line: str, tmp_path: Path) -> None:
    path = tmp_path / "requirements.txt"
    path.write_text(f"{line}\n{LOCK}", encoding="utf-8")
    with pytest.raises(ValueError, match="records an address"):
        read_lock(path)
