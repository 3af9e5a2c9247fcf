"""Builds the folder `release` from what `dvc repro` made: the files to classify without training.

For each pipeline NAME.weights.h5 and NAME.json, which `letterpress predict --weights` reads; the
page for any web server; cards and licences; SHA256SUMS. Equal inputs give equal bytes.
"""

import hashlib
import shutil
import zipfile
from pathlib import Path

from letterpress.core.config import STANDARD
from letterpress.core.files import replacing
from letterpress.loading import list_pipelines, load
from letterpress.released import SUMS, WEIGHTS
from tools.serve import page_files


def main(target: Path = Path("release")) -> None:
    trained = [load(name) for name in list_pipelines(Path("params.yaml"))]
    # Not those with an architecture of their own: `predict --weights` runs no code.
    released = [one for one in trained if one.config.architecture == STANDARD]
    with replacing(target) as folder:
        folder.mkdir()
        for classifier in released:
            weights = folder / f"{classifier.name}{WEIGHTS}"
            shutil.copyfile(classifier.weights, weights)
            description = classifier.describe(calibrated=False)
            (folder / f"{classifier.name}.json").write_text(description, encoding="utf-8")
        with zipfile.ZipFile(folder / "page.zip", "w", zipfile.ZIP_DEFLATED) as page:
            for name, file in sorted(page_files(Path("web"), Path("data/web/model")).items()):
                entry = zipfile.ZipInfo(name.lstrip("/"))  # dated 1980, as equal bytes need
                page.writestr(entry, file.read_bytes(), zipfile.ZIP_DEFLATED)
        for text in (Path("LICENSE"), Path("NOTICE"), *Path("docs/cards").glob("*.md")):
            shutil.copyfile(text, folder / text.name)
        files = sorted(folder.iterdir())
        sums = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files]
        (folder / SUMS).write_text("".join(sums), encoding="utf-8")
        for classifier in released:
            load(classifier.name, weights=folder / f"{classifier.name}{WEIGHTS}")  # as users will
    print(f"{target}: {', '.join(file.name for file in files)}, {SUMS}")
