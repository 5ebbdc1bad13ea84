"""The server answers this machine's browsers for the page's files, and nobody for anything else."""

import gzip
import threading
from http.client import HTTPConnection

import pytest

from eed_edge.errors import DeviceError
from eed_edge.web.browser_engine import LICENCES, SHA256, read_engine
from eed_edge.web.page_server import PageServer

SITE = {"index.html": b"<!doctype html>", "page.js": b"start()", "ort-wasm.wasm": b"\0asm"}


@pytest.fixture
def server():
    with PageServer(SITE) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def asked(server, path, *, method="GET", host=None):
    connection = HTTPConnection(*server.server_address)
    connection.request(method, path, headers={"Host": host} if host else {})
    reply = connection.getresponse()
    try:
        return reply.status, reply.getheader("Content-Type"), reply.read()
    finally:
        connection.close()


def test_the_address_is_of_the_loopback_interface(server):
    assert server.server_address[0] == "127.0.0.1"
    assert server.address == f"http://127.0.0.1:{server.server_port}/"


@pytest.mark.parametrize(
    ("path", "kind", "name"),
    [
        ("/", "text/html; charset=utf-8", "index.html"),
        ("/page.js?v=1", "text/javascript; charset=utf-8", "page.js"),
        ("/ort-wasm.wasm", "application/wasm", "ort-wasm.wasm"),
    ],
)
def test_a_file_of_the_page_comes_with_its_kind(server, path, kind, name):
    assert asked(server, path) == (200, kind, SITE[name])
    assert asked(server, path, method="HEAD") == (200, kind, b"")
    assert asked(server, path, host="localhost:1")[0] == 200


@pytest.mark.parametrize("path", ["/manifest.json", "/../setup.cfg", "/%70age.js", "/C:/x"])
def test_nothing_else_is_there(server, path):
    assert asked(server, path)[0] == 404


@pytest.mark.parametrize("host", ["elsewhere.example", "elsewhere.example:80", "[", "127.0.0.1.example"])
def test_a_name_elsewhere_that_leads_here_is_refused(server, host):
    assert asked(server, "/", host=host)[0] == 421


def test_other_methods_are_refused(server):
    assert asked(server, "/", method="POST")[0] == 501


def test_a_missing_engine_says_how_to_get_it(tmp_path):
    with pytest.raises(DeviceError, match=r"expected onnxruntime-web .* is not there; run make web-files"):
        read_engine(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (gzip.compress(b"another"), "ort.wasm.min.mjs: expected SHA-256 219e6a1fc8a99382"),
        (gzip.compress(b"another")[:-9], "expected onnxruntime-web .*, got: Compressed file ended"),
        (b"another", "expected onnxruntime-web .*, got: Not a gzipped file"),
    ],
    ids=["another", "cut short", "not packed"],
)
def test_another_or_damaged_engine_is_refused(tmp_path, content, message):
    for name in (*(f"{each}.gz" for each in SHA256), *LICENCES):
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DeviceError, match=message):
        read_engine(tmp_path)
