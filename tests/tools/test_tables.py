"""What `make cards`, `make metrics` and `make experiments` show, and the params of `make smoke`."""

import json
import re
import sys
from pathlib import Path

import pytest

from letterpress.ascii_letter.config import AsciiLetterConfig
from letterpress.transfer.config import TransferConfig
from tests.conftest import ROOT
from tests.tools.conftest import Project
from tools import experiments, smoke
from tools.cards import FIGURES, PAGES, accuracy, mistakes, results
from tools.markdown import rewrite

SUFFIXES = ("_validation", "", "_unseen")


def test_metrics_of_every_pipeline_fit_80_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    gain = {"transfer_gain": 0.1, "transfer_gain_low": -0.01, "transfer_gain_high": 0.17}
    for name, values in {
        "kana": {"accuracy": 0.5, "accuracy_low": 0.4, "accuracy_high": 0.6, "loss": 0.123456},
        "mnist": {"accuracy": 0.9925, "accuracy_low": 0.99061, "accuracy_high": 1.0, "loss": 0.02},
        "transfer": {"labels_20": gain},
    }.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "m.json").write_text(json.dumps(values), encoding="utf-8")
    stages = "train: {metrics: [kana/m.json: {cache: false}, not_yet/m.json: {cache: false}]}"
    files = "mnist/m.json, transfer/m.json"
    (tmp_path / "dvc.yaml").write_text(f"stages: {{{stages}}}\nmetrics: [{files}]")
    lines = results().splitlines()
    assert {len(line) for line in lines} == {80}
    assert [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[2:]] == [
        ["digits, accuracy on the test images", "99.25 %", "99.06 to 100.00 %"],
        ["transfer gain, labels per class: 20", "+10.0 points", "-1.0 to +17.0 points"],
        ["kana, accuracy on the test images", "50.00 %", "40.00 to 60.00 %"],
    ]


@pytest.mark.long
def test_experiments_of_an_amended_commit_are_still_shown(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    """One of them trained without evaluating: its metrics file is that of the commit."""
    project.write("data/ascii_letter/metrics.json", "{}")
    code = "import json, yaml\nvalues = yaml.safe_load(open('weights'))\n"
    project.write("copy.py", f"{code}json.dump(values, open({experiments.LETTERS!r}, 'w'))\n")
    outs = [{experiments.LETTERS: {"cache": False, "persist": True}}]
    train = {
        "cmd": "cp params.yaml weights",
        "params": ["accuracy_validation"],
        "outs": ["weights"],
    }
    evaluate = {"cmd": f"{sys.executable} copy.py", "deps": ["weights"], "outs": outs}
    stages = {"train": train, "evaluate": evaluate}
    project.pipeline = {"stages": stages, "metrics": [experiments.LETTERS]}
    project.params = {"accuracy_validation": 0.25, "loss_validation": 1.5, "accuracy": 0.5}
    project.write_yaml()
    project.run("dvc repro")
    project.commit()
    project.run("dvc exp run -n worse -S accuracy_validation=0.125")
    project.run("dvc exp run -n trained -S accuracy_validation=0.75 train")
    project.run("dvc exp run -n a-better-one-with-a-long-name -S accuracy_validation=1.0")
    project.run("git commit --quiet --all --amend --message=amended")
    experiments.main()
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert [" ".join(line.split()) for line in lines[3:]] == [
        "a-better-one-with-a-long-name",
        "100.00% 1.5000 accuracy_validation=1.0",
        "worse 12.50% 1.5000 accuracy_validation=0.125",
        "trained not evaluated accuracy_validation=0.75",
    ]


def test_the_params_of_the_smoke_run_are_valid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    smoke.copy_project(tmp_path)
    params = tmp_path / "params.yaml"
    assert AsciiLetterConfig.from_yaml(params).n_train_samples == 104
    assert TransferConfig.from_yaml(params).n_steps == 2


def test_every_figure_is_up_to_date_and_on_a_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    found = set()
    for page in PAGES:
        text = Path(page).read_text(encoding="utf-8")
        assert rewrite(text, FIGURES) == text, "run `make cards`"
        found |= set(re.findall(r"<!-- ([\w-]+).*? -->", text))
    assert found == FIGURES.keys()


def test_rewrite_replaces_what_is_between_markers() -> None:
    figures = {"one": lambda: "1", "a-table": lambda *words: "\n".join(words)}
    text = "An <!-- one -->old<!-- /one -->\n<!-- a-table a b -->\n\nold\n\n<!-- /a-table -->"
    new = "An <!-- one -->1<!-- /one -->\n<!-- a-table a b -->\n\na\nb\n\n<!-- /a-table -->"
    assert rewrite(text, figures) == rewrite(new, figures) == new
    with pytest.raises(KeyError, match="other"):
        rewrite("<!-- other --><!-- /other -->", figures)


def test_results_and_mistakes_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "data/ascii_letter"
    folder.mkdir(parents=True)
    values = {"loss": 2.0, "calibration_error": 0.1, "none_sure": 0.02}
    metrics = {f"{key}{split}": v for key, v in values.items() for split in SUFFIXES}
    for split in SUFFIXES:
        ends = {"": 0.5, "_low": 0.25, "_high": 0.75}
        metrics |= {f"accuracy{split}{end}": value for end, value in ends.items()}
    (folder / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
    for split in SUFFIXES:
        path = folder / f"predictions{split}.csv"
        path.write_text("actual,predicted\na,a\ni,l\nl,i\nl,i\nb,b\nnone,b\n", encoding="utf-8")
    last = accuracy("ascii_letter").splitlines()[-1]
    cells = "unseen typefaces | 5 | 50.00 % | 25.00 to 75.00 % | 2.0000 | 0.1000 | 2.00 %"
    assert last == f"| {cells} |"
    table = mistakes("ascii_letter/predictions_unseen.csv")
    assert table.splitlines()[2:] == ["| l | i | 2 |", "| i | l | 1 |", "| all others |  | 0 |"]
