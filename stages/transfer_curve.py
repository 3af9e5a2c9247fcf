"""Stage transfer_curve: measures what the digits' features add, by number of labels per class."""

from pathlib import Path

from letterpress.ascii_letter.config import AsciiLetterConfig
from letterpress.core.files import write_csv, write_json
from letterpress.core.stage import run
from letterpress.transfer.config import TransferConfig
from letterpress.transfer.curve import GAIN, Point, measure_points, plot_points, transfer_gains

RECORDS = Path("data/ascii_letter/tfrecords")
FEATURES = Path("data/mnist/features.weights.h5")
RESULTS = Path("data/transfer")


def main() -> None:
    config, transfer = AsciiLetterConfig.from_yaml(), TransferConfig.from_yaml()
    points = measure_points(config, transfer, RECORDS, FEATURES)
    gains = transfer_gains(points)
    write_json(RESULTS / "metrics.json", gains)
    write_csv(RESULTS / "curve.csv", Point._fields, points)
    plot_points(RESULTS / "curve.png", points)
    for name, gain in gains.items():
        mean, low, high = (100 * gain[key] for key in GAIN)
        print(f"{name}: transfer gains {mean:+.1f} points ({low:+.1f} to {high:+.1f})")


if __name__ == "__main__":
    run(main)
