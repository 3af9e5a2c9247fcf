"""Runs one step with N letters in a process of its own; prints its cost as JSON.

python -m tests.benchmarks.growth tarball|records|loader FOLDER N
"""

import json
import re
import sys
import time
from pathlib import Path

from letterpress.ascii_letter.config import AsciiLetterConfig
from letterpress.ascii_letter.drawing import draw_set, write_tarball
from letterpress.ascii_letter.typefaces import find_typefaces
from letterpress.records.tarball import read_examples, split_files


def status(key: str) -> int:
    """Returns a value of /proc/self/status in megabytes."""
    found = re.search(rf"{key}:\s+(\d+)", Path("/proc/self/status").read_text(encoding="ascii"))
    assert found, key
    return int(found[1]) // 1024


def main(step: str, folder: Path, n: int) -> None:
    config = AsciiLetterConfig.from_yaml()
    per_class = n // config.n_classes
    n_train = per_class * 4 // 5
    config = config.replace(  # large enough for a million different drawings
        image_height=48,
        image_width=48,
        letter_size=16,
        off_center=16.0,
        pen_share=0.0,
        none_share=0.0,
        shuffle_buffer=2048,
        n_images_per_class=per_class,
        n_train_samples=n_train * config.n_classes,
        n_validation_samples=0,
        n_test_samples=(per_class - n_train) * config.n_classes,
    )
    tarball = folder / "letters.tar"
    if step != "tarball":
        from letterpress.records.read import stream_batches
        from letterpress.records.write import write_splits
    at_start = status("VmHWM")
    start = time.process_time()
    if step == "tarball":
        families = find_typefaces(Path("data/typefaces"), "train")
        write_tarball(tarball, draw_set(config, "letters", families), "train")
    elif step == "records":
        masks = split_files(tarball, config)
        splits = {name: read_examples(tarball, config, mask) for name, mask in masks.items()}
        write_splits(folder / "tfrecords", splits, config)
    else:
        n_batches = config.n_train_samples // config.batch_size
        batches = stream_batches(folder / "tfrecords" / "train", config).take(n_batches)
        n = sum(len(labels) for _, labels, _ in batches)
    cost = {
        "microseconds": 1e6 * (time.process_time() - start) / n,
        "megabytes": status("VmHWM"),
        "megabytes_at_start": at_start,
    }
    print(json.dumps(cost))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
