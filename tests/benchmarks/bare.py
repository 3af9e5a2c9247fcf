"""The stages that another learning rate of the letters changes, in one process, nothing skipped."""

from stages import evaluate, export_web, fine_tune_ascii, measure_conditions


def main() -> None:
    fine_tune_ascii.main()
    evaluate.main()
    measure_conditions.main()
    export_web.main()


if __name__ == "__main__":
    main()
