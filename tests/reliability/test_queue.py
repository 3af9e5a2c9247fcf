"""Two queue workers at once, with code that was edited between the experiments."""

import shutil
import time

import pytest

from tests.reliability.test_chaos import long
from tests.test_pipeline import Repository, repository, reproduced

__all__ = ["repository", "reproduced"]
pytestmark = [pytest.mark.chaos, long]


def lock_of(repository: Repository, experiment: str) -> str:
    """The dvc.lock of an experiment, with the hashes of its code and of all that came out."""
    refs = repository.git("for-each-ref", "--format=%(refname)", "refs/exps").split()
    (ref,) = [ref for ref in refs if ref.endswith(f"/{experiment}")]
    return repository.git("show", f"{ref}:dvc.lock")


def test_each_experiment_runs_its_own_code_and_gives_what_it_gives_alone(
    repository: Repository,
) -> None:
    code = repository.folder / "letterpress/training/loop.py"
    first = code.read_text(encoding="utf-8")
    codes = {"first": first, "second": first.replace("round(value, 6)", "round(value, 3)")}
    assert codes["second"] != first
    experiment = ["dvc", "exp", "run", "-S", "n_epochs=1", "--name"]
    for name, text in codes.items():
        code.write_text(text, encoding="utf-8")
        repository.run(*experiment, name, "--queue")
    code.write_text("raise SystemExit('the wrong code')\n", encoding="utf-8")
    repository.run("dvc", "queue", "start", "--jobs", "2")
    deadline = time.monotonic() + 600
    while (status := repository.run("dvc", "queue", "status")).count("Success") < 2:
        assert time.monotonic() < deadline, status
        assert "Failed" not in status
        time.sleep(1)
    for name, text in codes.items():
        code.write_text(text, encoding="utf-8")
        shutil.rmtree(repository.folder / ".dvc/cache/runs")  # else DVC would restore its results
        repository.run(*experiment, f"{name}-alone")
        assert lock_of(repository, f"{name}-alone") == lock_of(repository, name)
        repository.git("checkout", "--quiet", ".")
        repository.run("dvc", "checkout", "--quiet")
    assert lock_of(repository, "first") != lock_of(repository, "second")
