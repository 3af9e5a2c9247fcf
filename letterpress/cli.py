"""The command `letterpress`. Run it in the root of the clone: it reads ./params.yaml and ./data."""

import argparse
import io
import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from letterpress.core.errors import PipelineError, escape
from letterpress.core.interrupts import prepare
from letterpress.core.stage import run
from letterpress.export import SUFFIXES, export

if TYPE_CHECKING:
    from letterpress.prediction.classify import Answer


def main() -> None:
    """Runs the command line. Exit codes: 1 after an error, 2 after wrong usage, 130 after Ctrl-C."""
    _open_closed_streams()
    prepare()  # before the slow imports in the functions below: Ctrl-C ends those with one line too
    run(_main, alone=False)  # many predictions may run at once


def _open_closed_streams() -> None:
    """Opens the null device for closed streams: else the next file would get TensorFlow's messages.

    Python also prints errors on standard output if standard error is closed.
    """
    for name, mode in (("stdin", "r"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode, errors="backslashreplace"))  # noqa: SIM115


def _main() -> None:
    parser = argparse.ArgumentParser(
        prog="letterpress", description="Makes pipelines, and uses trained classifiers."
    )
    parser.set_defaults(command=lambda _: parser.print_help())  # of `letterpress` alone
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")

    add = _add_command(commands, "predict", _predict, "classify pictures of one character each")
    add("pipeline", help="what they show: letters, digits, or a pipeline of `letterpress new`")
    add("files", nargs="+", metavar="FILE", help="a picture, a folder, or - for standard input")
    add("--json", action="store_true", help="print one JSON object per line")
    add("--each", action="store_true", help="classify each of several characters on a picture")
    about = "guesses with a probability below P, 0 to 1, are not sure (default: as evaluated)"
    add("--sure", type=_probability, metavar="P", help=about)
    about = "use these released weights, without a project (SHA256SUMS is beside them)"
    add("--weights", metavar="FILE|URL", help=about)

    add = _add_command(commands, "new", _new, "make a pipeline for images in class folders")
    add("name", metavar="NAME", help="of the pipeline: small letters, digits and _")
    about = "a folder, a tar file or a zip file with one folder per class"
    add("--from", required=True, type=Path, metavar="PATH", dest="source", help=about)
    about = "a pipeline, a file of feature weights, or none (default: mnist for grey images)"
    add("--parent", help=about)
    add("--dry-run", action="store_true", help="print what would change, and change nothing")

    add = _add_command(commands, "export", _export, "write a trained classifier for other programs")
    add("pipeline", help="letters, digits, or a pipeline of `letterpress new`")
    add("--to", required=True, type=Path, metavar="FOLDER", help="made if missing")
    about = "any of %(choices)s (default: all but onnx, which needs further packages)"
    default = [name for name in SUFFIXES if name != "onnx"]
    add("--format", nargs="+", choices=SUFFIXES, default=default, metavar="FORMAT", help=about)

    arguments = parser.parse_args()
    if sys.stdout is None:
        raise PipelineError("standard output: closed. Open it, or send it to /dev/null")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # for characters that the terminal lacks
    arguments.command(arguments)


def _add_command(
    commands: Any, name: str, command: Callable[[argparse.Namespace], None], about: str
) -> Callable[..., Any]:
    """Adds a command; returns the function that adds its arguments."""
    parser = commands.add_parser(name, help=about, description=about)
    parser.set_defaults(command=command)
    return parser.add_argument  # type: ignore[no-any-return]


def _probability(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1
    if not 0 <= value <= 1:  # NaN too
        raise argparse.ArgumentTypeError(f"expected a number from 0 to 1 (got {text!r})")
    return value


def _new(arguments: argparse.Namespace) -> None:
    from letterpress.new.command import new  # NumPy and more, which --help does not need

    new(arguments.name, arguments.source, arguments.parent, arguments.dry_run)


def _export(arguments: argparse.Namespace) -> None:
    from letterpress.loading import load

    export(load(arguments.pipeline), arguments.to, arguments.format)


def _predict(arguments: argparse.Namespace) -> None:
    """Prints one line per picture. A picture that cannot be read does not stop the others."""
    from letterpress.loading import load
    from letterpress.prediction.classify import list_files

    classifier = load(arguments.pipeline, weights=arguments.weights)
    if arguments.sure is None:
        arguments.sure = classifier.calibration.sure
    show = _as_json if arguments.json else _as_text
    files, left_out = list_files(arguments.files)
    any_failed = False
    for name, result in classifier.predict_files(files, arguments.each):
        if isinstance(result, PipelineError):
            print(escape(f"error: {result}"), file=sys.stderr)
            any_failed = True
        else:
            for answer in result:
                print(show(name, answer, arguments), flush=True)  # a program may wait for it
    if left_out:
        print(escape(_count_by_ending(left_out)), file=sys.stderr)
    if any_failed:
        sys.exit(1)


def _as_text(name: str, answer: "Answer", arguments: argparse.Namespace) -> str:
    # No classifier is 100.0% certain, and alternatives below 1% do not matter.
    if answer.is_none:
        kind = arguments.pipeline.removesuffix("s")
        return escape(f"{name}: none {min(answer.none, 0.999):.1%} (not a {kind})")
    likely = [(guess, min(p, 0.999)) for guess, p in answer.guesses[:3] if p >= 0.01]
    first, *others = [f"{guess} {p:.1%}" for guess, p in likely]
    doubt = "" if answer.is_sure(arguments.sure) else ", not sure"
    alternatives = f" (or {', '.join(others)})" if others else ""
    return escape(f"{name}: {first}{doubt}{alternatives}")


def _as_json(name: str, answer: "Answer", arguments: argparse.Namespace) -> str:
    guesses = [{"class": guess, "probability": round(p, 6)} for guess, p in answer.guesses[:3]]
    sure, none = answer.is_sure(arguments.sure), round(answer.none, 6)
    entry = {"file": name, "sure": sure, "none": none, "guesses": guesses}
    return json.dumps(entry, allow_nan=False)


def _count_by_ending(left_out: Sequence[str]) -> str:
    endings = Counter(Path(name).suffix.lower() or "no ending" for name in left_out)
    kinds = ", ".join(f"{n} {ending}" for ending, n in endings.most_common(5))
    remedy = ". Convert HEIC to JPEG" if {".heic", ".heif"} & endings.keys() else ""
    return f"files left out: {len(left_out)}, not in a picture format ({kinds}){remedy}"
