"""A small project in git and DVC, in a clone, with results but without a cache."""

import json
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import yaml
from dvc.repo import Repo

from tools.__main__ import main

N_IMAGES = 400
PIPELINE = """
stages:
  write:
    foreach: [letters]
    do:
      cmd: python -m stages.write ${item}
      deps: [stages/write.py]
      params: ["${item}.size", seed]
      outs: ["data/${item}/tfrecords"]
  train:
    cmd: python -m stages.train
    deps: [data/letters/tfrecords/train, stages/train.py]
    params: [learning_rate, seed]
    outs: [data/letters/weights.h5, data/letters/curves: {cache: false}]
  evaluate:
    cmd: python -m stages.evaluate
    deps: [data/letters/tfrecords/test, data/letters/weights.h5, stages/evaluate.py]
    outs: [data/letters/metrics.json: {cache: false}, data/letters/predictions.csv: {cache: false}]
metrics: [data/letters/metrics.json]
"""
GIT = {f"GIT_{role}_{key}": "t@t" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")}
GIT |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}


class Project:
    """A clone. No stage runs: results are written by hand and recorded with `dvc commit`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pipeline: dict[str, Any] = yaml.safe_load(PIPELINE)
        self.params: dict[str, Any] = {"seed": 1, "learning_rate": 1e-5, "letters": {"size": 32}}
        self.stages: dict[str, Any] = self.pipeline["stages"]

    def run(self, command: str) -> None:
        environment = {**os.environ, **GIT}
        subprocess.run(command.split(), cwd=self.folder, env=environment, check=True)

    def record(self, stage: str = "") -> None:
        """Does what `dvc commit --force STAGE` does, without another process that imports DVC."""
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(self.folder)
            with Repo() as repo:
                repo.commit(stage or None, force=True)

    def write(self, path: str, text: str) -> None:
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8", errors="surrogateescape")

    def write_data(self, **texts: str) -> None:
        """Writes what git ignores: the records and the weights."""
        for name in ("tfrecords/train", "tfrecords/test", "weights.h5"):
            self.write(f"data/letters/{name}", texts.get(Path(name).stem, name))

    def write_results(
        self,
        wrong: Any,
        name: str = "letters",
        family_size: int = 1,
    ) -> None:
        """Writes what training and evaluation make if these images are mistaken."""
        mistaken, actual = set(wrong), "AB" * (N_IMAGES // 2)
        rows = [
            f"{i}.png,{c},{'C' if i in mistaken else c},{i // family_size}"
            for i, c in enumerate(actual)
        ]
        header = "filename,actual,predicted,family"
        accuracy = 1 - len(mistaken) / N_IMAGES
        metrics = json.dumps({"accuracy": accuracy, "loss": 2.5})
        for path, lines in (
            ("predictions.csv", [header, *rows, "0.none,none,A,0"]),
            ("metrics.json", [metrics]),
            ("curves/plots/metrics/loss.tsv", ["step\tloss", f"0\t{accuracy}"]),
        ):
            self.write(f"data/{name}/{path}", "\n".join(lines))

    def write_yaml(self) -> None:
        for name, value in (("dvc", self.pipeline), ("params", self.params)):
            self.write(f"{name}.yaml", yaml.safe_dump(value, allow_unicode=True))

    def commit(self) -> None:
        self.run("git add --all")
        self.run("git commit --quiet --allow-empty --message=change")

    def reproduce(self, stage: str = "", **data: str) -> None:
        """Commits the files, and a dvc.lock that belongs to them."""
        self.write_data(**data)
        self.write_yaml()
        self.record(stage)
        self.commit()


def run_tool(*words: str) -> subprocess.CompletedProcess[str]:
    """Does what `python -m tools` does, without another process that imports what this one has."""
    code = 0
    with (
        redirect_stdout(StringIO()) as out,
        redirect_stderr(StringIO()) as err,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(sys, "argv", ["tools", *words])
        try:
            main()
        except SystemExit as stop:
            print(stop.code, file=err)
            code = 1
    return subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())


@pytest.fixture(scope="session")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with one commit on main, in which 100 of 400 images are mistaken."""
    project = Project(tmp_path_factory.mktemp("origin"))
    project.run("git init --quiet --initial-branch=main")
    project.run("dvc init --quiet")
    project.write(".dvc/config", "[core]\nanalytics = false\ncheck_update = false\n")
    project.write(".gitignore", "/data/letters/tfrecords\n/data/letters/weights.h5\n")
    for stage in ("write", "train", "evaluate"):
        project.write(f"stages/{stage}.py", f"# {stage}\n")
    project.write_results(wrong=range(100))
    project.reproduce()
    return project.folder


@pytest.fixture
def project(origin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A clone of the origin, with data; it is the current folder of the test."""
    project = Project(tmp_path)
    project.run(f"git clone --quiet {origin} clone")
    project.folder = tmp_path / "clone"
    project.write_data()
    monkeypatch.chdir(project.folder)
    return project
