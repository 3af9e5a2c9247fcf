"""A small project as git holds one: a clone of a bare origin, with results but without data."""

import csv
import hashlib
import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

N_IMAGES = 400
DVC_YAML: dict[str, Any] = {
    "stages": {
        "write": {
            "foreach": {"letters": {"reader": "stages/reader.py"}},
            "do": {
                "cmd": "python -m stages.${key}.write",
                "deps": ["${item.reader}"],
                "params": ["${key}.size", "seed"],
                "outs": ["data/${key}/tfrecords"],
            },
        },
        "train": {
            "cmd": "python -m stages.train",
            "deps": ["data/letters/tfrecords/train", "stages/train.py"],
            "params": ["learning_rate", "seed"],
            "outs": ["data/letters/weights.h5", {"data/letters/curves": {"cache": False}}],
        },
        "evaluate": {
            "cmd": ["python -m stages.evaluate", "true"],
            "deps": [
                "data/letters/tfrecords/test",
                "data/letters/weights.h5",
                "stages/evaluate.py",
            ],
            "outs": [
                {"data/letters/metrics.json": {"cache": False}},
                {"data/letters/predictions.csv": {"cache": False}},
            ],
        },
    },
    "metrics": ["data/letters/metrics.json"],
}
PARAMS = {"seed": 1, "learning_rate": 0.00001, "letters": {"size": 32}}


class Project:
    """A clone. What the stages would make is written by hand; nothing runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pipeline: dict[str, Any] = json.loads(json.dumps(DVC_YAML))
        self.params: dict[str, Any] = json.loads(json.dumps(PARAMS))
        self.data = {
            "data/letters/tfrecords": "records.dir",
            "data/letters/tfrecords/test": "test records",
            "data/letters/tfrecords/train": "train records",
            "data/letters/weights.h5": "weights",
        }
        """What stands for the contents of the files that git leaves out."""

    def git(self, *words: str) -> str:
        done = subprocess.run(["git", *words], cwd=self.folder, capture_output=True, check=True)
        return done.stdout.decode().strip()

    def write(self, path: str, text: str) -> None:
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")

    def write_code(self) -> None:
        for name in ("reader", "train", "evaluate"):
            self.write(f"stages/{name}.py", f'"""{name}"""\n')

    def write_results(self, wrong: Sequence[int], losses: Sequence[float] = (2.5, 1.25)) -> None:
        """Writes what evaluation and training make when these images, by number, are mistaken."""
        folder = "data/letters"
        rows = [
            (f"{image:03}.png", "AB"[image % 2], "C" if image in wrong else "AB"[image % 2], 0.9)
            for image in range(N_IMAGES)
        ]
        self.write(f"{folder}/predictions.csv", "")
        with (self.folder / folder / "predictions.csv").open("w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerows([("filename", "actual", "predicted", "probability"), *rows])
        metrics = {"accuracy": 1 - len(wrong) / N_IMAGES, "loss": losses[-1]}
        self.write(f"{folder}/metrics.json", json.dumps(metrics))
        table = "".join(f"{step}\t{loss}\n" for step, loss in enumerate(losses))
        self.write(f"{folder}/curves/plots/metrics/loss.tsv", f"step\tloss\n{table}")

    def md5(self, path: str) -> str:
        target = self.folder / path
        if target.is_dir() and path not in self.data:
            files = sorted(file for file in target.rglob("*") if file.is_file())
            listed = [
                {"md5": hashed(file.read_bytes()), "relpath": file.relative_to(target).as_posix()}
                for file in files
            ]
            return hashed(json.dumps(listed, sort_keys=True).encode()) + ".dir"
        if path in self.data:
            return hashed(self.data[path].encode()) + (".dir" if not target.suffix else "")
        return hashed(target.read_bytes())

    def write_dvc_yaml(self) -> None:
        self.write("dvc.yaml", yaml.safe_dump(self.pipeline, sort_keys=False))
        self.write("params.yaml", yaml.safe_dump(self.params, sort_keys=False))

    def write_lock(self) -> None:
        stages = {}
        for name, stage in self.pipeline["stages"].items():
            if "foreach" in stage:
                text = json.dumps(stage["do"]).replace("${key}", "letters")
                stage = json.loads(text.replace("${item.reader}", "stages/reader.py"))
                name += "@letters"
            stages[name] = {
                "cmd": stage["cmd"],
                "params": {
                    "params.yaml": {key: self.value(key) for key in stage.get("params", [])}
                },
            } | {
                kind: [
                    {"path": path, "hash": "md5", "md5": self.md5(path)}
                    for path in (p if isinstance(p, str) else next(iter(p)) for p in stage[kind])
                ]
                for kind in ("deps", "outs")
            }
        self.write("dvc.lock", yaml.safe_dump({"schema": "2.0", "stages": stages}))

    def value(self, key: str) -> Any:
        value: Any = self.params
        for part in key.split("."):
            value = value[part]
        return value

    def commit(self) -> str:
        """Commits what is there as it is; returns the hash."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", "A change")
        return self.git("rev-parse", "HEAD")

    def reproduce(self) -> str:
        """Commits with the dvc.yaml, params.yaml and dvc.lock that belong to what is there."""
        self.write_dvc_yaml()
        self.write_lock()
        return self.commit()


def hashed(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


@pytest.fixture(scope="session")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bare repository, with two commits on main."""
    folder = tmp_path_factory.mktemp("origin")
    with pytest.MonkeyPatch.context() as patch:
        set_git_environment(patch)
        for words in (
            ["init", "--quiet", "--bare", "--initial-branch=main", "bare"],
            ["init", "w"],
        ):
            subprocess.run(["git", *words], cwd=folder, capture_output=True, check=True)
        project = Project(folder / "w")
        project.write_code()
        project.write_results(wrong=range(100))
        project.reproduce()
        project.write("README.md", "A project\n")
        project.commit()
        project.git("push", "--quiet", str(folder / "bare"), "HEAD:main")
    return folder / "bare"


def set_git_environment(patch: pytest.MonkeyPatch) -> None:
    for role in ("AUTHOR", "COMMITTER"):
        patch.setenv(f"GIT_{role}_NAME", "t")
        patch.setenv(f"GIT_{role}_EMAIL", "t@localhost")
    patch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    patch.setenv("GIT_CONFIG_NOSYSTEM", "1")


@pytest.fixture
def project(origin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A clone in which 100 of 400 images are mistaken, and the current folder of the test."""
    set_git_environment(monkeypatch)
    folder = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", str(origin), str(folder)], check=True)
    monkeypatch.chdir(folder)
    return Project(folder)
