"""Stage transfer_curve: accuracy on unseen typefaces by number of labels, from three starts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from tqdm import tqdm

from stages.ascii_letter.config import AsciiLetterConfig
from stages.mnist.errors import run
from stages.mnist.files import replacing, write_csv, write_json
from stages.transfer.config import TransferConfig
from stages.transfer.curve import STARTS, Point, mean_interval, measure_points, transfer_gains

RECORDS = Path("data/ascii_letter/tfrecords")
FEATURES = Path("data/mnist/features.weights.h5")
METRICS = Path("data/transfer/metrics.json")
CURVE = Path("data/transfer/curve.csv")
PLOT = Path("data/transfer/curve.png")


def plot_points(target: Path, points: Sequence[Point]) -> None:
    """Draws a curve for each start: means over the seeds, with their 95 % intervals, as a PNG."""
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    numbers = sorted({point.labels_per_class for point in points})
    for start in STARTS:
        bands = [
            mean_interval(
                [p.accuracy for p in points if (p.start, p.labels_per_class) == (start, number)]
            )
            for number in numbers
        ]
        means, lows, highs = zip(*bands, strict=True)
        axes.plot(numbers, means, marker="o", label=start)
        axes.fill_between(numbers, lows, highs, alpha=0.2)
    axes.set_xscale("log")
    axes.set_xticks(numbers, labels=[str(number) for number in numbers], minor=False)
    axes.set_xticks([], minor=True)
    axes.set_xlabel("labels per class")
    axes.set_ylabel("accuracy on unseen typefaces")
    axes.yaxis.set_major_formatter(PercentFormatter(xmax=1, decimals=0))
    axes.grid(alpha=0.3)
    axes.legend(title="mean and 95 % interval")
    with replacing(target) as path:
        figure.savefig(path, dpi=100, metadata={"Software": None})


def main() -> None:
    config, transfer = AsciiLetterConfig.from_yaml(), TransferConfig.from_yaml()
    n_points = len(STARTS) * transfer.n_seeds * len(transfer.labels_per_class)
    trainings = measure_points(config, transfer, RECORDS, FEATURES)
    points = list(tqdm(trainings, "trainings", n_points, disable=None, mininterval=0, smoothing=0))
    gains = transfer_gains(points)
    write_json(METRICS, gains)
    write_csv(CURVE, Point._fields, points)
    plot_points(PLOT, points)
    for name, gain in gains.items():
        low, high = gain["transfer_gain_low"], gain["transfer_gain_high"]
        print(
            f"{name}: transfer gains {100 * gain['transfer_gain']:+.1f} points "
            f"({100 * low:+.1f} to {100 * high:+.1f})"
        )


if __name__ == "__main__":
    run(main)
