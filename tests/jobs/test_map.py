"""A map over files gives the same in any number of processes (on Ray: tests/distributed)."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from letterpress.core.errors import PipelineError
from letterpress.jobs import processes
from letterpress.jobs.map import map_jobs
from letterpress.jobs.shards import Job
from tests.conftest import ROOT
from tests.core.test_files import contents


@pytest.fixture(autouse=True)
def _no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


def make(
    index: int, waits_for: Path | None, inputs: tuple[Path, ...], outputs: tuple[Path, ...]
) -> tuple[int, int]:
    """Writes two outputs, once another job has written its own."""
    while waits_for and not waits_for.exists():
        time.sleep(0.01)
    texts = [path.read_text() for path in inputs]
    outputs[0].write_text("".join(texts) * index)
    outputs[1].write_text(f"{index} {texts}")
    return index, os.getpid()


def make_jobs(folder: Path, n: int, in_reverse: bool = False) -> list[Job]:
    (folder / "out").mkdir(parents=True)
    (folder / "common").write_text("common")
    jobs = []
    for index in range(n):
        (folder / f"in{index}").write_text(f"own {index} ")
        after = folder / f"out/{index + 1}.second" if in_reverse and index + 1 < n else None
        inputs = folder / f"in{index}", folder / "common"
        outputs = folder / f"out/{index}.first", folder / f"out/{index}.second"
        jobs.append(Job((index, after), inputs, outputs))
    return jobs


def test_results_and_files_do_not_depend_on_the_number_of_processes_or_who_ends_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    for n_processes, in_reverse in ((1, False), (2, False), (4, True)):
        folder = tmp_path / str(n_processes)
        monkeypatch.setattr(processes, "n_cores", lambda n=n_processes: n)
        results = list(map_jobs(make, make_jobs(folder, 4, in_reverse)))
        assert [index for index, _ in results] == [0, 1, 2, 3]
        used = {process for _, process in results}
        assert os.getpid() not in used
        assert len(used) == 4 or not in_reverse
        made.append(contents(folder / "out"))
    assert len(made[0]) == 8
    assert made[0]["2.first"] == b"own 2 common" * 2
    assert made[0] == made[1] == made[2]


def test_one_job_runs_in_this_process_and_none_in_no_process(tmp_path: Path) -> None:
    assert list(map_jobs(make, make_jobs(tmp_path, 1))) == [(0, os.getpid())]
    assert len(contents(tmp_path / "out")) == 2
    assert list(map_jobs(make, [])) == []


def test_an_address_without_a_cluster_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray", reason="the package ray is not installed")
    jobs = make_jobs(tmp_path, 1)
    for address, reason in {
        "127.0.0.1:1": "no connection (",
        "ray://127.0.0.1:1": "no connection (",
        "127.0.0.1:99999": "no connection (",
        "auto": "no connection (",
    }.items():
        monkeypatch.setenv("RAY_ADDRESS", address)
        with pytest.raises(PipelineError) as refused:
            list(map_jobs(make, jobs))
        assert str(refused.value).startswith(f"RAY_ADDRESS={address}: {reason}")
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with pytest.raises(PipelineError, match=r"pip install .* -r requirements-ray\.txt"):
        list(map_jobs(make, jobs))
    assert contents(tmp_path / "out") == {}


def test_without_an_address_neither_ray_nor_tensorflow_is_imported() -> None:
    code = (
        "import sys, letterpress.jobs.map as m; list(m.map_jobs(min, []));"
        "sys.exit(bool({'ray', 'tensorflow'} & sys.modules.keys()))"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
