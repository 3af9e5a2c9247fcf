from collections.abc import Callable

import pytest

from tests.tools.conftest import N_IMAGES, Project, hashed
from tools.revision import ReportError, read_revision


def test_a_commit_is_read_from_git_alone(project: Project) -> None:
    revision = read_revision("origin/main")
    assert revision.commit == project.git("rev-parse", "HEAD")
    assert revision.params == {"seed": 1, "learning_rate": 0.00001, "letters.size": 32}
    assert sorted(revision.stages) == ["evaluate", "train", "write@letters"]
    assert revision.metrics == {
        ("data/letters/metrics.json", "accuracy"): 0.75,
        ("data/letters/metrics.json", "loss"): 1.25,
    }
    assert len(revision.predictions["data/letters/predictions.csv"]) == N_IMAGES
    assert revision.curves == {"letters": [2.5, 1.25]}
    assert revision.file_hash("data/letters/weights.h5") == hashed(b"weights")
    assert revision.file_hash("stages/train.py") == project.md5("stages/train.py")
    assert revision.file_hash("data/letters/nothing") is None


def test_what_is_not_committed_does_not_count(project: Project) -> None:
    before = read_revision("HEAD")
    (project.folder / "dvc.lock").unlink()
    project.write("data/letters/metrics.json", "{}")
    assert read_revision("HEAD") == before


def test_a_folder_below_the_root_reads_the_same(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = read_revision("HEAD")
    monkeypatch.chdir(project.folder / "stages")
    assert read_revision("HEAD") == before


def test_a_number_is_the_same_however_it_is_written(project: Project) -> None:
    project.write_dvc_yaml()
    text = (project.folder / "params.yaml").read_text(encoding="utf-8")
    assert "1.0e-05" in text
    project.write("params.yaml", text.replace("1.0e-05", "1e-5"))  # a text in YAML 1.1
    project.commit()
    assert read_revision("HEAD").params["learning_rate"] == 0.00001


def test_values_that_are_no_numbers_are_no_metrics(project: Project) -> None:
    project.write("data/letters/metrics.json", '{"by": {"a": 1}, "ok": true, "text": "x"}')
    project.reproduce()
    assert read_revision("HEAD").metrics == {("data/letters/metrics.json", "by.a"): 1}


def edit_code(project: Project) -> None:
    project.write("stages/train.py", "edited\n")


def delete_code(project: Project) -> None:
    (project.folder / "stages/train.py").unlink()


def edit_a_param(project: Project) -> None:
    project.params["letters"]["size"] = 64
    project.write_dvc_yaml()


def edit_a_curve(project: Project) -> None:
    project.write("data/letters/curves/plots/metrics/loss.tsv", "step\tloss\n0\t0.1\n")


def edit_a_metric(project: Project) -> None:
    project.write("data/letters/metrics.json", '{"accuracy": 1.0}')


def edit_the_command(project: Project) -> None:
    project.pipeline["stages"]["train"]["cmd"] += " --fast"
    project.write_dvc_yaml()


def add_a_dependency(project: Project) -> None:
    project.pipeline["stages"]["train"]["deps"].append("stages/reader.py")
    project.write_dvc_yaml()


def add_an_output(project: Project) -> None:
    project.pipeline["stages"]["train"]["outs"].append("data/letters/more.h5")
    project.write_dvc_yaml()


def add_a_param(project: Project) -> None:
    project.pipeline["stages"]["train"]["params"].append("letters.size")
    project.write_dvc_yaml()


def train_on_other_data(project: Project) -> None:
    path = project.folder / "dvc.lock"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace(hashed(b"weights"), hashed(b"other"), 1), encoding="utf-8")


@pytest.mark.parametrize(
    ("edit", "named"),
    [
        (edit_code, "stages/train.py is not the file of train"),
        (delete_code, "stages/train.py, which train names, is missing"),
        (edit_a_param, "letters.size in params.yaml is not the value that write@letters"),
        (edit_a_curve, "data/letters/curves is not the file of train"),
        (edit_a_metric, "data/letters/metrics.json is not the file of evaluate"),
        (edit_the_command, "another command in train"),
        (add_a_dependency, "other deps in train"),
        (add_an_output, "other outs in train"),
        (add_a_param, "other params in train"),
        (train_on_other_data, "data/letters/weights.h5 is not the file of evaluate"),
    ],
)
def test_results_that_do_not_belong_to_the_commit_are_refused(
    edit: Callable[[Project], None], named: str, project: Project
) -> None:
    edit(project)
    project.commit()
    with pytest.raises(ReportError, match=f"^HEAD: .*{named}") as caught:
        read_revision("HEAD")
    assert "\n" not in str(caught.value)
    read_revision("HEAD~1")


@pytest.mark.parametrize(
    ("path", "text", "named"),
    [
        ("data/letters/metrics.json", "{", "metrics.json is broken"),
        ("data/letters/metrics.json", "[1, 2]", "metrics.json has no metrics"),
        ("data/letters/metrics.json", "{}", "metrics.json has no metrics"),
        ("data/letters/predictions.csv", "", "predictions.csv has no rows"),
        ("data/letters/predictions.csv", "filename,actual\na,b\n", "without actual or predicted"),
        ("data/letters/predictions.csv", "actual,predicted\na,b\n", "KeyError"),
        (
            "data/letters/predictions.csv",
            "filename,actual,predicted\na,b,b\na,b,c\n",
            "an image twice",
        ),
        ("data/letters/curves/plots/metrics/loss.tsv", "loss\nlow\n", "could not convert"),
        ("data/letters/curves/plots/metrics/loss.tsv", "step\n1\n", "KeyError"),
    ],
)
def test_a_broken_result_is_refused(path: str, text: str, named: str, project: Project) -> None:
    project.write(path, text)
    project.reproduce()
    with pytest.raises(ReportError, match=named) as caught:
        read_revision("HEAD")
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_text_is_refused(project: Project) -> None:
    (project.folder / "params.yaml").write_bytes(b"seed: \xff\n")
    project.commit()
    with pytest.raises(ReportError, match=r"params\.yaml is broken"):
        read_revision("HEAD")


def test_an_option_is_no_revision(project: Project) -> None:
    with pytest.raises(ReportError, match="no commit here"):
        read_revision("--all")
