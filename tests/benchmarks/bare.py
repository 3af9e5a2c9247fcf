"""The work of the stages in one process, as a plain script does it, with nothing skipped.

python bare.py              everything after the fetch
python bare.py fine_tune    what another learning rate of the letters changes
"""

import sys

from stages import (
    build_ascii_tarball,
    evaluate,
    export_web,
    fine_tune_ascii,
    measure_conditions,
    train_mnist,
    transfer_curve,
    write_tfrecords,
)


def main(fine_tune_only: bool) -> None:
    if not fine_tune_only:
        write_tfrecords.main("mnist")
        build_ascii_tarball.main()
        write_tfrecords.main("ascii_letter")
        train_mnist.main()
        transfer_curve.main()
    fine_tune_ascii.main()
    evaluate.main()
    measure_conditions.main()
    export_web.main()


if __name__ == "__main__":
    main(sys.argv[1:] == ["fine_tune"])
