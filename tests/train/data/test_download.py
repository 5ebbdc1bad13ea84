import hashlib
import io
import sys
import tarfile
import threading
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
from click.testing import CliRunner

from eed_edge.cli.prepare.data import command
from eed_edge.errors import DataError, DeviceError, RecipeError, StorageError
from eed_edge.train.data import official_files
from eed_edge.train.data.download import download_dataset

CONTENTS = {"data_batch_1.bin": b"one" * 1000, "test_batch.bin": b"test" * 1000}


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def archive(contents, folder="cifar-10-batches-bin"):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for name, content in contents.items():
            entry = tarfile.TarInfo(f"{folder}/{name}")
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return stream.getvalue()


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A web server on this machine: its folder, its address, and what was asked of it."""
    asked = []

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            asked.append(self.path)

    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    folder = tmp_path / "server"
    folder.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=folder)) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield folder, f"http://127.0.0.1:{running.server_port}/", asked
        running.shutdown()
        thread.join()


@pytest.fixture
def offer(server, monkeypatch):
    """Let the server have the official files of a set, as one archive or one by one."""
    folder, url, _ = server

    def put(name, contents=CONTENTS, packed=None):
        packed = archive(contents) if packed is None else packed
        known = replace(
            official_files.OFFICIAL[name],
            files={file: sha256(content) for file, content in CONTENTS.items()},
            archive_sha256=sha256(packed),
            url=url,
        )
        monkeypatch.setitem(official_files.OFFICIAL, name, known)
        for file, content in {**contents, "cifar-10-binary.tar.gz": packed}.items():
            (folder / file).write_bytes(content)

    return put


def lying(root, name):
    place = official_files.OFFICIAL[name].place(root)
    return {file: (place / file).read_bytes() for file in CONTENTS if (place / file).exists()}


@pytest.mark.parametrize(("name", "requests"), [("cifar10", 1), ("svhn", 2)])
def test_what_is_missing_is_fetched_and_then_verified_without_the_network(
    name, requests, offer, server, tmp_path
):
    offer(name)
    assert "2 of 2 files fetched" in download_dataset(name, tmp_path / "data")
    assert lying(tmp_path / "data", name) == CONTENTS
    assert "2 files in" in (again := download_dataset(name, tmp_path / "data"))
    assert "verified, nothing to fetch" in again
    assert len(server[2]) == requests


@pytest.mark.parametrize("name", ["cifar10", "svhn"])
@pytest.mark.parametrize("damage", [b"", b"one" * 999, b"two" * 1000])
def test_a_broken_file_is_mended_and_the_whole_ones_are_kept(name, damage, offer, tmp_path):
    offer(name)
    download_dataset(name, tmp_path)
    place = official_files.OFFICIAL[name].place(tmp_path)
    (place / "data_batch_1.bin").write_bytes(damage)
    untouched = (place / "test_batch.bin").stat()
    assert "1 of 2 files fetched" in download_dataset(name, tmp_path)
    assert lying(tmp_path, name) == CONTENTS
    assert (place / "test_batch.bin").stat().st_mtime_ns == untouched.st_mtime_ns


def test_a_broken_archive_is_fetched_again(offer, server, tmp_path):
    offer("cifar10")
    (tmp_path / "cifar-10-binary.tar.gz").write_bytes(b"half of it")
    download_dataset("cifar10", tmp_path)
    assert lying(tmp_path, "cifar10") == CONTENTS


@pytest.mark.parametrize("name", ["cifar10", "svhn"])
def test_a_file_that_is_not_the_official_one_is_not_kept(name, offer, server, tmp_path):
    offer(name)
    for path in server[0].iterdir():
        path.write_bytes(b"something else")
    with pytest.raises(DataError, match=r"expected a file of SHA-256 \w+…, got another"):
        download_dataset(name, tmp_path / "data")
    assert not any(path.is_file() for path in (tmp_path / "data").rglob("*"))


@pytest.mark.parametrize(
    ("packed", "message"),
    [
        (archive({**CONTENTS, "test_batch.bin": b"x"}), r"test_batch\.bin is not the official file"),
        (
            archive({"data_batch_1.bin": CONTENTS["data_batch_1.bin"]}),
            r"cannot be unpacked: .*test_batch\.bin",
        ),
        (archive(CONTENTS, folder="../elsewhere"), r"cannot be unpacked: .*not found"),
        (b"no archive", r"cannot be unpacked"),
    ],
)
def test_an_archive_that_does_not_hold_the_files_is_refused(packed, message, offer, tmp_path):
    offer("cifar10", packed=packed)
    with pytest.raises(DataError, match=message):
        download_dataset("cifar10", tmp_path / "data")
    assert not (tmp_path / "elsewhere").exists()
    assert lying(tmp_path / "data", "cifar10").items() <= CONTENTS.items()


@pytest.mark.parametrize(("url", "reason"), [("http://127.0.0.1:9/", "refused"), (None, "404")])
def test_without_a_network_or_file_one_line_says_so(url, reason, offer, server, monkeypatch, tmp_path):
    offer("svhn")
    if url:
        monkeypatch.setitem(
            official_files.OFFICIAL, "svhn", replace(official_files.OFFICIAL["svhn"], url=url)
        )
    for path in server[0].iterdir():
        path.unlink()
    with pytest.raises(DataError, match=rf"cannot fetch http://127.*{reason}.*; check the network") as caught:
        download_dataset("svhn", tmp_path)
    assert "\n" not in str(caught.value)


def test_a_folder_that_cannot_be_written_is_a_storage_error(offer, tmp_path):
    offer("svhn")
    (tmp_path / "data").write_bytes(b"a file in the way")
    with pytest.raises(StorageError, match=r"cannot write .*data"):
        download_dataset("svhn", tmp_path / "data")


def test_a_file_that_cannot_be_read_is_named(offer, tmp_path):
    offer("svhn")
    (tmp_path / "test_batch.bin").mkdir()
    with pytest.raises(DataError, match=r"cannot read .*test_batch\.bin: Is a directory"):
        download_dataset("svhn", tmp_path)


def test_digits_need_no_fetching(tmp_path):
    assert "nothing to fetch" in download_dataset("digits", tmp_path)


def test_a_set_without_official_files_is_refused(tmp_path):
    with pytest.raises(
        RecipeError, match=r"expected a public data set \(digits, cifar10, svhn\), got 'folder'"
    ):
        download_dataset("folder", tmp_path)


def test_a_missing_pooch_is_named(offer, monkeypatch, tmp_path):
    offer("svhn")
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(DeviceError, match=r"expected pooch.*pip install '\.\[train\]'"):
        download_dataset("svhn", tmp_path)


def test_the_command_shows_how_far_it_is_and_what_it_did(offer, tmp_path):
    offer("cifar10")
    result = CliRunner().invoke(command, ["cifar10", "--root", str(tmp_path)])
    assert result.exit_code == 0
    assert "cifar-10-binary.tar.gz: 0 of 0 MB" in result.stderr
    assert result.stdout.startswith("cifar10: 2 of 2 files fetched into")


def test_progress_counts_up_to_the_size_of_the_file(offer, tmp_path):
    offer("svhn")
    seen = []
    download_dataset("svhn", tmp_path, progress=lambda *row: seen.append(row))
    assert [row for row in seen if row[1] == row[2]][-1] == ("test_batch.bin", 4000, 4000)
    assert all(done <= total for _, done, total in seen)
