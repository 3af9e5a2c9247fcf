"""Stage write_tfrecords of the letters: from tar files to the three splits."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from letterpress.ascii_letter.config import AsciiLetterConfig
from letterpress.core.errors import PipelineError
from letterpress.jobs.shards import shard_paths
from letterpress.records.read import load_batches
from stages import write_tfrecords
from tests.conftest import Params, write_params
from tests.core.test_files import contents
from tests.records.test_records import files_of
from tests.records.test_tarball import FILES, SIDE, classes, encode, split, write_tar

RAW, RECORDS = Path("data/ascii_letter/raw"), Path("data/ascii_letter/tfrecords")
TARBALL, UNSEEN_TARBALL = (shard_paths(RAW / n, ".tar", 1)[0] for n in ("letters", "unseen"))
TRAIN, TEST, UNSEEN = (RECORDS / name for name in ("train", "test", "unseen"))
UNSEEN_FILES = {f"{name}.png": encode(900 + i) for i, name in enumerate(("c/9", "a/9", "a/10"))}


@pytest.fixture
def config(project: Path, tiny_params: Params) -> AsciiLetterConfig:
    """Both tar files, of three classes of small images, and params.yaml in the current folder."""
    write_tar(FILES, TARBALL)
    write_tar(UNSEEN_FILES, UNSEEN_TARBALL)
    tiny_params["ascii_letter"] |= {"n_classes": 3, "n_train_samples": 12, "n_test_samples": 6}
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
    """Two images per class are in no split."""
    write_tfrecords.main("ascii_letter")
    train, test, unseen = (written(path, config) for path in (TRAIN, TEST, UNSEEN))
    assert classes(set(train)) == {"a": 4, "b": 4, "c": 4}
    assert classes(set(test)) == {"a": 2, "b": 2, "c": 2}
    assert list(unseen) == list(UNSEEN_FILES)
    for name, (pixels, label) in (train | test | unseen).items():
        (tmp_path / "image.png").write_bytes((FILES | UNSEEN_FILES)[name])
        assert pixels == Image.open(tmp_path / "image.png").tobytes(), name
        assert label == "abc".index(name[0]), name
    before = contents(RECORDS)
    assert set(before) == files_of(TRAIN) | files_of(TEST) | files_of(UNSEEN)
    write_tfrecords.main("ascii_letter")
    assert contents(RECORDS) == before


def test_shards_are_written_by_processes_of_their_own(
    config: AsciiLetterConfig, project: Path, tiny_params: Params, capfd: pytest.CaptureFixture[str]
) -> None:
    write_params(project, tiny_params | {"n_shards": 2})
    for name, files in (("letters", FILES), ("unseen", UNSEEN_FILES)):
        for index, tarball in enumerate(shard_paths(RAW / name, ".tar", 2)):
            write_tar(dict(list(files.items())[index::2]), tarball)
    write_tfrecords.main("ascii_letter")
    assert f"{RECORDS}: 12 train images, 6 test images, 3 unseen images\n" in capfd.readouterr().out
    assert set(contents(RECORDS)) == files_of(TRAIN, 2) | files_of(TEST, 2) | files_of(UNSEEN, 2)
    assert classes(set(written(TRAIN, config))) == {"a": 4, "b": 4, "c": 4}
    assert classes(set(written(TEST, config))) == {"a": 2, "b": 2, "c": 2}


def test_an_image_in_two_splits_is_refused_and_older_records_are_kept(
    config: AsciiLetterConfig,
) -> None:
    write_tfrecords.main("ascii_letter")
    before = contents(RECORDS)
    train, test = map(sorted, split(TARBALL, config))
    for tarball, files, copy in (
        (TARBALL, FILES | {test[0]: FILES[train[0]]}, test[0]),
        (UNSEEN_TARBALL, {"c/7.png": FILES[train[0]]}, "c/7.png"),
    ):
        older = tarball.read_bytes()
        write_tar(files, tarball)
        with pytest.raises(PipelineError, match=rf"^{copy}: .*\(got {train[0]}\)"):
            write_tfrecords.main("ascii_letter")
        assert contents(RECORDS) == before
        tarball.write_bytes(older)
