"""Stage write_tfrecords of the letters: from tar files to the four splits."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from letterpress.ascii_letter.config import AsciiLetterConfig
from letterpress.core.errors import PipelineError
from letterpress.jobs.shards import shard_paths
from letterpress.records.read import load_batches
from letterpress.records.tarball import SETS, SPLITS
from stages import write_tfrecords
from tests.conftest import Params, write_params
from tests.core.test_files import contents
from tests.records.test_records import files_of
from tests.records.test_tarball import COUNTS, FILES, SIDE, classes, encode, split, write_tar

RAW, RECORDS = Path("data/ascii_letter/raw"), Path("data/ascii_letter/tfrecords")
TARBALLS = {name: shard_paths(RAW / name, ".tar", 1)[0] for name in SETS}
UNSEEN_FILES = {f"{name}.png": encode(900 + i) for i, name in enumerate(("c/9", "a/9", "a/10"))}
VALIDATION_FILES = {"a/v.png": encode(990), "b/v.png": encode(991)}
ALL_FILES = dict(zip(SETS, (FILES, VALIDATION_FILES, UNSEEN_FILES), strict=True))


@pytest.fixture
def config(project: Path, tiny_params: Params) -> AsciiLetterConfig:
    """The tar files, of three classes of small images, and params.yaml in the current folder."""
    for name, files in ALL_FILES.items():
        write_tar(files, TARBALLS[name])
    tiny_params["ascii_letter"] |= {"n_classes": 3, "none_share": 0.0, **COUNTS}
    tiny_params["ascii_letter"] |= {"image_height": SIDE, "image_width": SIDE}
    write_params(project, tiny_params)
    return AsciiLetterConfig.from_yaml()


def written(path: Path, config: AsciiLetterConfig) -> dict[str, tuple[bytes, int]]:
    """The pixels and the label of each image in a split, by its name."""
    return {
        name.decode(): ((image * 255).round().astype(np.uint8).tobytes(), int(label))
        for images, labels, names in load_batches(path, config).as_numpy_iterator()
        for image, label, name in zip(images, labels, names, strict=True)
    }


def test_the_records_hold_the_images_of_the_tar_files(
    config: AsciiLetterConfig, tmp_path: Path
) -> None:
    """One image per class is in no split."""
    write_tfrecords.main("ascii_letter")
    found = {name: written(RECORDS / name, config) for name in SPLITS}
    assert classes(set(found["train"])) == {"a": 4, "b": 4, "c": 4}
    assert classes(set(found["validation"])) == {"a": 2, "b": 2, "c": 1}
    assert list(found["validation"])[3:] == list(VALIDATION_FILES)
    assert classes(set(found["test"])) == {"a": 2, "b": 2, "c": 2}
    assert list(found["unseen"]) == list(UNSEEN_FILES)
    for name, (pixels, label) in (image for images in found.values() for image in images.items()):
        (tmp_path / "image.png").write_bytes((FILES | VALIDATION_FILES | UNSEEN_FILES)[name])
        assert pixels == Image.open(tmp_path / "image.png").tobytes(), name
        assert label == "abc".index(name[0]), name
    before = contents(RECORDS)
    assert set(before) == set().union(*(files_of(RECORDS / name) for name in SPLITS))
    write_tfrecords.main("ascii_letter")
    assert contents(RECORDS) == before


def test_shards_are_written_by_another_process(
    config: AsciiLetterConfig,
    project: Path,
    tiny_params: Params,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("letterpress.jobs.processes.n_cores", lambda: 1)
    write_params(project, tiny_params | {"n_shards": 2})
    for name, files in ALL_FILES.items():
        for index, tarball in enumerate(shard_paths(RAW / name, ".tar", 2)):
            write_tar(dict(list(files.items())[index::2]), tarball)
    write_tfrecords.main("ascii_letter")
    counts = "12 train images, 5 validation images, 6 test images, 3 unseen images"
    assert f"{RECORDS}: {counts}\n" in capfd.readouterr().out
    expected = set().union(*(files_of(RECORDS / name, 2) for name in SPLITS))
    assert set(contents(RECORDS)) == expected
    for name, n in (("train", 4), ("test", 2)):
        assert classes(set(written(RECORDS / name, config))) == {"a": n, "b": n, "c": n}


def test_an_image_in_two_splits_is_refused_and_older_records_are_kept(
    config: AsciiLetterConfig,
) -> None:
    write_tfrecords.main("ascii_letter")
    before = contents(RECORDS)
    train, _, test = map(sorted, split(TARBALLS["letters"], config))
    for name, files, copy in (
        ("letters", FILES | {test[0]: FILES[train[0]]}, test[0]),
        ("validation", {"c/7.png": FILES[train[0]]}, "c/7.png"),
        ("unseen", {"c/7.png": FILES[train[0]]}, "c/7.png"),
    ):
        older = TARBALLS[name].read_bytes()
        write_tar(files, TARBALLS[name])
        with pytest.raises(PipelineError, match=rf"^{copy}: .*\(got {train[0]}\)"):
            write_tfrecords.main("ascii_letter")
        assert contents(RECORDS) == before
        TARBALLS[name].write_bytes(older)
