"""What a person writes who has no pipeline tool: the same work, in one process, nothing skipped.

python bare.py            everything after the fetch
python bare.py finetune   what another learning rate of the letters changes
"""

import sys

from stages.ascii_letter import build_tarball, fine_tune
from stages.ascii_letter import evaluate as evaluate_letters
from stages.ascii_letter import write_tfrecords as write_letters
from stages.mistakes import show
from stages.mnist import evaluate as evaluate_digits
from stages.mnist import train, write_tfrecords
from stages.transfer import measure_curve


def main(finetune_only: bool) -> None:
    if not finetune_only:
        write_tfrecords.main()
        build_tarball.main()
        write_letters.main()
        train.main()
    fine_tune.main()
    evaluate_digits.main()
    evaluate_letters.main()
    show.main()
    if not finetune_only:
        measure_curve.main()


if __name__ == "__main__":
    main(sys.argv[1:] == ["finetune"])
