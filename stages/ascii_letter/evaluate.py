"""Stage evaluate, second part: the letters classifier on test letters, and on unseen typefaces."""

from pathlib import Path

from stages.ascii_letter.config import AsciiLetterConfig
from stages.mnist.errors import run
from stages.mnist.evaluation import evaluate_splits

CLASSIFIER = Path("data/ascii_letter/classifier.weights.h5")
RECORDS = Path("data/ascii_letter/tfrecords")
RESULTS = Path("data/ascii_letter")


def main() -> None:
    config = AsciiLetterConfig.from_yaml()
    evaluate_splits(config, CLASSIFIER, RECORDS, RESULTS, ("test", "unseen"))


if __name__ == "__main__":
    run(main)
