"""Tiny networks with weights that are the same every time; a server of files on this machine."""

import hashlib
import threading
import zlib
from contextlib import ExitStack, contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch


class FileServer(ThreadingHTTPServer):
    """Serves files as a model hub does, and what can go wrong with it.

    Attributes:
        files: Content by path.
        mark: How it marks the version of a file: `"sum"`, `"tag"`, `"weak tag"`, `"date"` or `""`.
        obeys_if_range: Whether it looks at `If-Range`.
        shifts: Whether it gives other bytes than those that were asked for.
        cut_after: Bytes after which a connection breaks; `None` never.
        status: Answer to everything, if not 0.
        wrong_sum: Whether the published checksum is another file's.
        asked: Path, `Range` and `If-Range` of every request.
    """

    daemon_threads = True

    def __init__(self, answer=None):
        super().__init__(("127.0.0.1", 0), Answering)
        self.answer = answer or Answering.send_file_at_path
        self.files, self.asked = {}, []
        self.mark, self.obeys_if_range, self.shifts = "sum", True, False
        self.cut_after, self.status, self.wrong_sum = None, 0, False

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/"

    @contextmanager
    def running(self):
        thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield self
        self.shutdown()
        thread.join()
        self.server_close()


class Answering(BaseHTTPRequestHandler):
    """One request to a `FileServer`."""

    def do_GET(self):
        self.server.asked.append((self.path, self.headers.get("Range", ""), self.headers.get("If-Range", "")))
        if self.server.status:
            self.send_error(self.server.status)
        else:
            self.server.answer(self)

    def send_file_at_path(self):
        content = self.server.files.get(self.path)
        if content is None:
            self.send_error(404)
        else:
            self.send_file(content)

    def send_file(self, content, **headers):
        marks = self.marks(content)
        span, condition = self.headers.get("Range"), self.headers.get("If-Range")
        changed = condition and self.server.obeys_if_range and condition not in marks.values()
        first = int(span.removeprefix("bytes=").split("-")[0]) if span and not changed else 0
        if first >= len(content):
            self.send_page(416, "", **{"Content-Range": f"bytes */{len(content)}"})
            return
        if self.server.shifts:
            first //= 2
        self.send_response(206 if first else 200)
        spans = {"Content-Range": f"bytes {first}-{len(content) - 1}/{len(content)}"} if first else {}
        for name, value in {**marks, **spans, **headers, "Content-Length": str(len(content) - first)}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(content[first:][: self.server.cut_after])

    def send_page(self, status, html, **headers):
        self.send_response(status)
        for name, value in {"Content-Type": "text/html; charset=utf-8", **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(html.encode())

    def marks(self, content):
        digest = hashlib.sha256(b"other" if self.server.wrong_sum else content).hexdigest()
        date = formatdate(zlib.crc32(content), usegmt=True)
        return {
            "sum": {"X-Linked-ETag": f'"{digest}"'}, "tag": {"ETag": f'"{digest[:8]}"'},
            "weak tag": {"ETag": 'W/"much the same"'}, "date": {"Last-Modified": date}, "": {},
        }[self.server.mark]  # fmt: skip

    def log_message(self, *arguments):
        pass


@pytest.fixture
def serve():
    """Start servers that end with the test."""
    with ExitStack() as stack:
        yield lambda answer=None: stack.enter_context(FileServer(answer).running())


@pytest.fixture
def seeded():
    """Build a network with random weights; nothing stays zero."""

    def build(cls, **config):
        torch.manual_seed(0)
        network = cls(**config).eval()
        with torch.no_grad():
            for name, tensor in network.named_parameters():
                if not tensor.any():
                    tensor.normal_(std=0.2 if name.endswith("weight") else 0.02)
        return network

    return build
