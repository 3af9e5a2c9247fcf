"""Runs the commands of docs/sharing.md: a remote on a real SSH server, and one cache for two clones."""

import hashlib
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import yaml
from dvc.utils.hydra import apply_overrides

from tests.conftest import ROOT
from tests.core.test_files import contents
from tests.distributed.conftest import listening
from tests.pages import read_blocks
from tests.test_pipeline import Repository, reproduced, stages_run

__all__ = ["reproduced"]

PAGE = ROOT / "docs/sharing.md"
SHARE, PULL, REMOVE_DAMAGED, _, USE_CACHE = (block.text for block in read_blocks(PAGE))
HOST, STORE, CACHE = "your.host", "/srv/letterpress", "/srv/dvc-cache"  # as the page has them
FEATURES = "data/mnist/features.weights.h5"
LETTERS = "data/ascii_letter/raw"
TARBALL = f"{LETTERS}/letters/letters-00000-of-00001.tar"


class Server:
    """An SSH server on a port of 127.0.0.1 for this user, with its own keys and configuration."""

    def __init__(self, folder: Path, binary: str) -> None:
        self.folder, self.objects = folder, folder / "store/files/md5"
        (folder / ".ssh").mkdir(parents=True)  # the folder is also its users' home
        for key in ("host_key", ".ssh/id_ed25519"):
            command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / key)]
            subprocess.run(command, check=True)
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        (folder / ".ssh/config").write_text(f"Host {HOST}\nHostName 127.0.0.1\nPort {port}\n")
        (folder / "sshd_config").write_text(
            f"ListenAddress 127.0.0.1:{port}\nHostKey {folder / 'host_key'}\n"
            f"AuthorizedKeysFile {folder / '.ssh/id_ed25519.pub'}\n"
            "AuthenticationMethods publickey\nPidFile none\nPermitUserRC no\nUsePAM no\n"
            "StrictModes no\nSubsystem sftp internal-sftp\n"  # anyone may write to /tmp
        )
        self.command = [binary, "-D", "-e", "-f", str(folder / "sshd_config")]

    @contextmanager
    def running(self) -> Iterator[None]:
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd needs it if root starts it
        self.process = subprocess.Popen(self.command, stderr=subprocess.PIPE)
        first = self.process.stderr.readline() if self.process.stderr else b""
        assert first.startswith(b"Server listening"), first
        assert listening(psutil.Process(self.process.pid)) == {"127.0.0.1"}
        yield
        self.process.terminate()
        self.process.communicate()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    binary = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
    if not binary:
        pytest.skip("no sshd: apt-get install openssh-server")
    server = Server(tmp_path / "server", binary)
    with server.running():
        yield server


class Clone(Repository):
    """A clone of a user with the given home folder."""

    def __init__(self, origin: Path, folder: Path, home: Path) -> None:
        super().__init__(folder, HOME=str(home), SSH_AUTH_SOCK="")
        folder.mkdir()
        self.git("clone", "--quiet", str(origin), ".")
        self.run("git", "config", "user.name", "t")
        self.run("git", "config", "user.email", "t@localhost")

    def follow(self, commands: str, place: Path) -> str:
        """Runs commands of the page with `place` instead of the page's folder."""
        return self.run("sh", "-euc", re.sub(f"{STORE}|{CACHE}", str(place), commands))


Pair = tuple[Clone, Clone]


@pytest.fixture
def clones(server: Server, reproduced: Path, tmp_path: Path) -> Pair:
    """Our clone, which shared its results as the page says, and theirs, which has pulled nothing."""
    origin = tmp_path / "origin.git"
    Repository(tmp_path).git("clone", "--quiet", "--bare", str(reproduced), str(origin))
    ours = Clone(origin, tmp_path / "ours", server.folder)
    shutil.copytree(reproduced / ".dvc/cache", ours.folder / ".dvc/cache")
    ours.run("dvc", "checkout")
    ours.follow(SHARE, server.folder / "store")
    return ours, Clone(origin, tmp_path / "theirs", server.folder)


def hash_of(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


def damaged(objects: Path) -> list[Path]:
    """Lists the objects whose bytes do not match the hash in their path."""
    return [p for p in objects.glob("??/[!.]*") if hash_of(p) != p.parent.name + p.stem]


def flip_a_bit(server: Server, clone: Clone, path: str) -> Path:
    """Flips a bit in the server's object of an output, or of a file in an output folder."""
    stages = yaml.safe_load((clone.folder / "dvc.lock").read_text("utf-8"))["stages"].values()
    outputs = {out["path"]: out["md5"] for stage in stages for out in stage.get("outs", ())}
    md5: str = outputs.get(path) or hash_of(clone.folder / path)
    target = server.objects / md5[:2] / md5[2:]
    content = target.read_bytes()
    target.chmod(0o644)
    target.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    return target


@pytest.mark.parametrize(
    ("path", "code", "message"),
    [(FEATURES, 1, f"\n{FEATURES}\n"), (TARBALL, 1, f"\n{LETTERS}\n"), (LETTERS, 255, "corrupted")],
)
def test_a_damaged_object_is_refused_and_repaired(
    server: Server, clones: Pair, path: str, code: int, message: str
) -> None:
    ours, theirs = clones
    target = flip_a_bit(server, ours, path)
    assert message in theirs.run("dvc", "pull", code=code)
    assert not (theirs.folder / path).exists()
    removed = ours.follow(REMOVE_DAMAGED, server.folder / "store")
    assert removed == f"./{target.relative_to(server.objects)}\n"
    assert "pushed" in ours.run("dvc", "push")
    assert "Data and pipelines are up to date." in theirs.run("sh", "-euc", PULL)
    assert contents(theirs.folder / "data") == contents(ours.folder / "data")
    assert theirs.git("status", "--porcelain") == ""


def test_clones_with_one_cache_never_write_through_links(reproduced: Path, tmp_path: Path) -> None:
    cache, results = tmp_path / "cache", contents(reproduced / "data")
    shutil.copytree(reproduced / ".dvc/cache", cache)
    first, second = (Clone(reproduced, tmp_path / name, tmp_path) for name in ("first", "second"))
    for clone in (first, second):
        assert stages_run(clone.follow(USE_CACHE.replace("reflink,", ""), cache)) == []
        assert contents(clone.folder / "data") == results
        md5 = hash_of(clone.folder / TARBALL)
        assert (clone.folder / TARBALL).samefile(cache / "files/md5" / md5[:2] / md5[2:])
        (clone.folder / FEATURES).unlink()  # without `dvc checkout`, DVC would train again
        assert stages_run(clone.run("dvc", "repro", "--dry", "train_mnist")) == ["train_mnist"]
        clone.run("dvc", "checkout")
        apply_overrides(clone.folder / "params.yaml", ["data_seed=77"])
    repro = ("dvc", "repro", "build_ascii_tarball")
    assert stages_run(first.run(*repro)) == ["build_ascii_tarball"]
    assert contents(second.folder / "data") == results
    assert stages_run(second.run(*repro)) == []
    made = contents(second.folder / LETTERS)
    assert made == contents(first.folder / LETTERS) != contents(reproduced / LETTERS)
    # DVC removes outputs before a stage runs; without DVC, stages do not write through links either.
    apply_overrides(first.folder / "params.yaml", ["data_seed=78"])
    first.run("python", "-m", "stages.build_ascii_tarball")
    assert contents(first.folder / LETTERS) != made
    assert contents(second.folder / LETTERS) == made
    assert damaged(cache / "files/md5") == []
