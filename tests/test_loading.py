"""Classifiers of a project by name, from Python and from the command line."""

import csv
import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from letterpress import load
from letterpress.core.errors import PipelineError
from tests.test_pipeline import Repository, list_sources, reproduced

__all__ = ["reproduced"]  # a fixture


def test_pictures_are_classified_as_in_the_evaluation(reproduced: Path, tmp_path: Path) -> None:
    classifier = load("shapes", reproduced)
    (source,) = list_sources(reproduced)
    with zipfile.ZipFile(reproduced / source) as archive:
        archive.extractall(tmp_path)
    with (reproduced / "data/shapes/predictions.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 18
    for row in rows:
        answer = classifier.predict(tmp_path / row["filename"])
        assert answer.guesses[0].name == row["predicted"]
        assert answer.guesses[0].probability == pytest.approx(float(row["probability"]), abs=1e-4)
        assert sum(guess.probability for guess in answer.guesses) == pytest.approx(1, abs=1e-5)
    with pytest.raises(TypeError, match="not ndarray"):
        classifier.predict(np.zeros((28, 28)))
    names = [str(tmp_path / row["filename"]) for row in rows]
    lines = Repository(reproduced).run("letterpress", "predict", "shapes", "--json", *names)
    found = [json.loads(line)["guesses"][0]["class"] for line in lines.splitlines()]
    assert found == [row["predicted"] for row in rows]


def test_a_classifier_is_fetched_from_a_git_repository_and_its_remote(
    reproduced: Path, tmp_path: Path
) -> None:
    repository = Repository(shutil.copytree(reproduced, tmp_path / "repository"))
    repository.run("dvc", "remote", "add", "--default", "team", str(tmp_path / "remote"))
    repository.commit("Add a remote")
    repository.run("dvc", "push", "--quiet", "train_shapes")
    picture = tmp_path / "cross.png"
    (source,) = list_sources(reproduced)
    with zipfile.ZipFile(reproduced / source) as archive:
        picture.write_bytes(archive.read("my shapes/cross/0.png"))
    here, fetched = load("shapes", reproduced), load("shapes", f"file://{repository.folder}")
    assert fetched.predict(picture) == here.predict(picture)
    names = [str(picture)]
    assert [*fetched.predict_files(names)] == [*here.predict_files(names)]
    assert load("shapes", repository.folder, "HEAD").predict(picture) == here.predict(picture)
    with pytest.raises(PipelineError, match=r"cannot be fetched .*the revision"):
        load("shapes", repository.folder, "no-such-tag")
    with pytest.raises(PipelineError, match="cannot be fetched"):
        load("shapes", f"file://{tmp_path / 'nowhere'}")


def test_what_is_missing_is_named(reproduced: Path, tmp_path: Path) -> None:
    with pytest.raises(
        PipelineError, match=r"'shape': no such pipeline.*Use one of letters, digit"
    ):
        load("shape", reproduced)
    with pytest.raises(PipelineError, match=r"params.yaml: no such file"):
        load("letters", tmp_path)
    with pytest.raises(PipelineError, match="not an image in any known format"):
        load("shapes", reproduced).predict(reproduced / "params.yaml")
