"""Asks GET /health/live again and again until its standard input ends, then prints the seconds.

python -m bench.live URL
"""

import json
import sys
import threading
import time
from http.client import HTTPConnection
from urllib.parse import urlsplit

PAUSE_SECONDS = 0.005


def ask_until(ended: threading.Event, url: str) -> list[float]:
    """The seconds that each answer took, over one connection."""
    connection = HTTPConnection(urlsplit(url).netloc)
    latencies = []
    while not ended.wait(PAUSE_SECONDS):
        started = time.perf_counter()
        connection.request("GET", "/health/live")
        answer = connection.getresponse()
        answer.read()
        latencies.append(time.perf_counter() - started)
        assert answer.status == 200
    return latencies


def tell_end(ended: threading.Event) -> None:
    """Set the event once standard input has ended."""
    sys.stdin.read()
    ended.set()


def main(url: str) -> None:
    """Ask in this thread while another waits for the end."""
    ended = threading.Event()
    threading.Thread(target=tell_end, args=(ended,), daemon=True).start()
    print(json.dumps(ask_until(ended, url)))


if __name__ == "__main__":
    main(sys.argv[1])
