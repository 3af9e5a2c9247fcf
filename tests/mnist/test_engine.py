"""A map over files is the same however it is run. On a cluster: tests/distributed/test_ray.py."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stages.mnist import processes
from stages.mnist.engine import Job, map_jobs
from stages.mnist.errors import PipelineError
from tests.conftest import ROOT
from tests.mnist.test_files import contents


@pytest.fixture(autouse=True)
def no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


def make(
    index: int, n: int, diary: Path, inputs: tuple[Path, ...], outputs: tuple[Path, ...]
) -> tuple[int, int]:
    """Writes two outputs of two inputs; ends when those of a higher index have: the last first."""
    while index + 1 < n and not (diary / str(index + 1)).exists():
        time.sleep(0.01)
    (diary / str(index)).touch()
    texts = [path.read_text() for path in inputs]
    outputs[0].write_text(f"{index} {texts}")
    outputs[1].write_text("".join(texts) * index)
    return index, os.getpid()


def make_jobs(folder: Path, n: int, turns: int) -> list[Job]:
    for name in ("in", "out", "diary"):
        (folder / name).mkdir(parents=True)
    (folder / "in/common").write_text("common")
    jobs = []
    for index in range(n):
        (folder / f"in/{index}").write_text(f"own {index}")
        inputs = folder / f"in/{index}", folder / "in/common"
        outputs = folder / f"out/{index}.first", folder / f"out/{index}.second"
        jobs.append(Job((index, turns, folder / "diary"), inputs, outputs))
    return jobs


def test_results_and_files_do_not_depend_on_who_ends_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    for n_processes, turns in ((1, 0), (2, 0), (4, 4)):
        folder = tmp_path / str(n_processes)
        monkeypatch.setattr(processes, "n_cores", lambda n=n_processes: n)
        results = list(map_jobs(make, make_jobs(folder, 4, turns)))
        assert [index for index, _ in results] == [0, 1, 2, 3]
        assert os.getpid() not in {process for _, process in results}
        made.append(contents(folder / "out"))
    assert len(made[0]) == 8
    assert made[0]["2.second"] == b"own 2common" * 2
    assert made[0] == made[1] == made[2]


def test_one_job_runs_in_this_process(tmp_path: Path) -> None:
    assert list(map_jobs(make, make_jobs(tmp_path, 1, 1))) == [(0, os.getpid())]
    assert len(contents(tmp_path / "out")) == 2


def test_no_jobs_are_no_results() -> None:
    assert list(map_jobs(make, [])) == []


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("127.0.0.1:1", "no connection"),
        ("ray://127.0.0.1:1", "no connection"),
        ("127.0.0.1:99999", "no connection"),
        ("auto", "HOST:PORT or ray://HOST:PORT is needed"),
    ],
)
def test_an_address_without_a_cluster_is_refused(
    address: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address)
    if reason == "no connection":
        pytest.importorskip("ray", reason="there is no package ray")
    with pytest.raises(PipelineError) as refused:
        list(map_jobs(make, make_jobs(tmp_path, 1, 1)))
    assert str(refused.value).startswith(f"RAY_ADDRESS={address}: {reason}")
    assert contents(tmp_path / "out") == {}


def test_a_missing_ray_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(
        PipelineError, match=r"pip install --require-hashes -r requirements-ray\.txt"
    ):
        list(map_jobs(make, []))


def test_without_an_address_neither_ray_nor_tensorflow_is_imported() -> None:
    code = (
        "import sys, stages.mnist.engine as e; list(e.map_jobs(min, []));"
        "sys.exit(bool({'ray', 'tensorflow'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
