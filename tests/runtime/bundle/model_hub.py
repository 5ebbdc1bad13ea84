"""A model hub on this machine's loopback, for huggingface_hub: one repository made of a folder's files."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import unquote, urlsplit

COMMIT = "5" * 40
REVISIONS = ("main", "v1", COMMIT)


@contextmanager
def model_hub(name: str, folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Serve ``folder`` as repository ``name``; give the address and the paths asked for so far."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.answer()

        def do_GET(self) -> None:
            self.answer()

        def answer(self) -> None:
            path = unquote(urlsplit(self.path).path)
            asked.append(f"{self.command} {path}")
            answer = reply(name, folder, path)
            status, body, extra = (404, b"", {"X-Error-Code": "RepoNotFound"}) if answer is None else answer
            self.send_response(status)
            for key, value in {"X-Repo-Commit": COMMIT, "Content-Length": str(len(body)), **extra}.items():
                self.send_header(key, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def reply(name: str, folder: Path, path: str) -> tuple[int, bytes, dict[str, str]] | None:
    """Status, body and headers, as the hub's API and its download addresses give them."""
    for revision in REVISIONS:
        if path in (f"/api/models/{name}", f"/api/models/{name}/revision/{revision}"):
            files = [{"rfilename": one.name, "size": one.stat().st_size} for one in sorted(folder.iterdir())]
            content = {"id": name, "modelId": name, "sha": COMMIT, "siblings": files}
            return 200, json.dumps(content).encode(), {"Content-Type": "application/json"}
        prefix = f"/{name}/resolve/{revision}/"
        if path.startswith(prefix) and (file := folder / path.removeprefix(prefix)).is_file():
            data = file.read_bytes()
            return 200, data, {"ETag": f'"{hashlib.sha1(data).hexdigest()}"'}
    if path.startswith(f"/api/models/{name}/revision/"):
        return 404, b"", {"X-Error-Code": "RevisionNotFound"}
    return None
