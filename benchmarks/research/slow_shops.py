"""A web server that stands for many slow shops, by name, until its standard input closes.

Every answer takes a second. `GET /__most` tells the most requests that any name had at once, and
how many there were in all.
"""

import json
import sys
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ANSWER_SECONDS = 1.0

_WORDS = "Soap made by hand from olive oil and nothing else, dried in the sun for nine months. "
_MENU = "".join(f'<li><a href="/c/{n}">Category {n}</a></li>' for n in range(60))
_REVIEWS = "".join(
    f"<div class=review><h3>Review {n}</h3><p>{_WORDS * 3}</p></div>" for n in range(40)
)
_PAGE = """<!DOCTYPE html><html lang="en"><head><title>Soap {path}</title>
<script type="application/ld+json">{{"@type": "Product", "name": "Soap {path}",
"offers": {{"price": "8.50", "priceCurrency": "EUR"}}}}</script></head>
<body><nav><ul>{menu}</ul></nav><main><h1>Olive soap {path}</h1><p>{words}</p>
<p class="price">8,50 €</p><button>Add to cart</button>{reviews}</main></body></html>"""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "_Server"

    def do_GET(self) -> None:
        if self.path == "/__most":
            self._send(200, self.server.counts())
            return
        host = self.headers["Host"]
        self.server.count(host, 1)
        time.sleep(ANSWER_SECONDS)
        self.server.count(host, -1)
        if self.path == "/robots.txt":
            self._send(200, "User-agent: *\nDisallow: /cart\n")
        else:
            words = {"path": self.path, "menu": _MENU, "words": _WORDS * 4, "reviews": _REVIEWS}
            self._send(200, _PAGE.format(**words))

    def _send(self, status: int, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    request_queue_size = 256

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self._lock = threading.Lock()
        self._now: Counter[str] = Counter()
        self._most: Counter[str] = Counter()
        self._total = 0

    def count(self, host: str, step: int) -> None:
        with self._lock:
            self._total += step > 0
            self._now[host] += step
            self._most[host] = max(self._most[host], self._now[host])

    def counts(self) -> str:
        return json.dumps({"most": max(self._most.values()), "total": self._total})


def main() -> None:
    with _Server() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        print(server.server_address[1], flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
