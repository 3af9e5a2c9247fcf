"""One step with n letters, in a process of its own; prints what it took as JSON.

python -m tests.benchmarks.growth tarball|records|loader FOLDER N
"""

from __future__ import annotations

import json
import re
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

from stages.ascii_letter.build_tarball import draw_letters, write_tarball
from stages.ascii_letter.config import AsciiLetterConfig
from stages.ascii_letter.glyphs import split_families
from stages.ascii_letter.tarball import read_examples, split_files

_most_own = 0


def status(key: str) -> int:
    """Returns a number of megabytes that Linux knows of this process."""
    found = re.search(rf"{key}:\s+(\d+)", Path("/proc/self/status").read_text(encoding="ascii"))
    assert found, key
    return int(found[1]) // 1024


def watch() -> None:
    """Notes the most memory of its own that the process has, without the code of libraries."""
    global _most_own
    while True:
        _most_own = max(_most_own, status("RssAnon"))
        time.sleep(0.02)


def main(step: str, folder: Path, n: int) -> None:
    config = AsciiLetterConfig.from_yaml()
    per_class = n // config.n_classes
    n_train = per_class * 4 // 5
    config = replace(
        config,
        # Enough room for a million different drawings.
        image_height=48,
        image_width=48,
        letter_size=24,
        off_center=16.0,
        shuffle_buffer=2048,
        n_images_per_class=per_class,
        n_train_samples=n_train * config.n_classes,
        n_test_samples=(per_class - n_train) * config.n_classes,
    )
    tarball = folder / "letters.tar"
    if step != "tarball":
        from stages.mnist.dataset import stream_batches
        from stages.mnist.records import write_splits
    at_start = status("VmHWM")
    threading.Thread(target=watch, daemon=True).start()
    start = time.process_time()
    if step == "tarball":
        seen, _ = split_families(config.unseen_families)
        write_tarball(tarball, draw_letters(config, seen, per_class))
    elif step == "records":
        train, test = split_files(tarball, config)
        splits = {
            "train": read_examples(tarball, config, train),
            "test": read_examples(tarball, config, test),
        }
        write_splits(folder / "tfrecords", splits, config)
    else:
        n_batches = config.n_train_samples // config.batch_size
        batches = stream_batches(folder / "tfrecords" / "train", config).take(n_batches)
        n = sum(len(labels) for _, labels, _ in batches)
    seconds = time.process_time() - start
    print(
        json.dumps(
            {
                "microseconds": 1e6 * seconds / n,
                "megabytes": status("VmHWM"),
                "megabytes_at_start": at_start,
                "own_megabytes": _most_own,
            }
        )
    )


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
