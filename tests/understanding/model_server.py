"""A model server on loopback that answers as it is told, well or badly."""

import json
import threading
import time
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

DRIP_S = 0.05  # between two bytes


def completion(content, **message):
    """The body of a chat completion whose message has `content`."""
    message = {"role": "assistant", "content": content, **message}
    choice = {"index": 0, "finish_reason": "stop", "message": message}
    body = {"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]}
    return json.dumps(body).encode()


def sub_queries(*texts):
    """A well-formed answer."""
    return completion(json.dumps({"sub_queries": list(texts)}))


@contextmanager
def model_server(
    body, status=200, content_type="application/json", delay=0.0, headers=(), drip=None
):
    """Serve an answer and yield (base_url, requests).

    Args:
        body: bytes, None to drop the connection, or a function: request -> (status, bytes).
        status: the HTTP status.
        content_type: what the body is said to be.
        delay: seconds of silence first.
        headers: further pairs of name and value.
        drip: `head` or `body`, what comes slowly, byte by byte.
    """
    requests = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            length = int(self.headers.get("Content-Length", 0))
            requests.append(json.loads(self.rfile.read(length) or "null"))
            time.sleep(delay)
            with suppress(OSError):  # the other side may have gone
                self.answer(*(body(requests[-1]) if callable(body) else (status, body)))

        do_GET = do_POST  # noqa: N815

        def answer(self, status, body):
            if body is None:
                self.connection.close()
                return
            lines = [f"HTTP/1.1 {status} Status", f"Content-Length: {len(body)}"]
            lines += [f"Content-Type: {content_type}", "Connection: close"]
            lines += [f"{name}: {value}" for name, value in headers]
            self.write("\r\n".join([*lines, "", ""]).encode(), drip == "head")
            self.write(body, drip == "body")

        def write(self, data, slowly):
            pieces = [bytes([byte]) for byte in data] if slowly else [data]
            for piece in pieces:
                self.wfile.write(piece)
                time.sleep(DRIP_S if slowly else 0)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", requests
    finally:
        server.shutdown()
        server.server_close()
