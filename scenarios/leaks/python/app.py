"""A small API over HTTP whose memory grows in the way that KIND names, or does not.

Owns: the answer to GET requests. Prints `listening on http://ADDRESS` when it can be asked; begins to do
what KIND names at GET /start. Invariant: each leak is in a function of its own, whose name an attribution
must give; the healthy twins do the same work and let go of it.
"""

import collections
import http.server
import logging
import math
import os
import sched
import threading
import time

SIZE = int(os.environ.get("KILOBYTES", "32")) * 1024
CACHE_MAX = int(os.environ.get("CACHE_MAX", "1000"))
KIND = os.environ.get("KIND", "")

lock = threading.Lock()
started = threading.Event()
requests = 0

# --- Leaks -------------------------------------------------------------------------------------

sessions = {}


def remember_session(number):
    """Each request leaves a session behind that nobody ends."""
    sessions[number] = bytearray(SIZE)


timers = sched.scheduler()


def watch_upload(number):
    """Each request sets a timer that is never cancelled, with what its closure holds."""
    progress = bytearray(SIZE)
    timers.enter(3_600, number, lambda: progress[0])


uploads = []


def keep_upload(number):
    """Each request keeps a buffer."""
    uploads.append(memoryview(bytearray(SIZE)))


listeners = []


def subscribe(number):
    """Each request subscribes and never leaves."""
    seen = bytearray(SIZE)
    listeners.append(lambda: seen[0] + number)


log = logging.getLogger("api")
log.propagate = False


def add_handler(number):
    """Each request adds a handler: what grows is allocated in the lines of a library."""
    log.addHandler(logging.StreamHandler())


records = []


def keep_records(number):
    """Each request leaves many small objects."""
    records.append([object() for _ in range(SIZE // 16)])


# --- Twins -------------------------------------------------------------------------------------

cache = collections.OrderedDict()


def cache_result(number):
    """A cache to a cap: the oldest entry makes room."""
    cache[number] = bytearray(SIZE)
    if len(cache) > CACHE_MAX:
        cache.popitem(last=False)


tables = []


def warm_up(number):
    """Tables that are loaded while the server is young, ever more seldom."""
    if int(math.log2(number) * 40) > len(tables):
        tables.append(bytearray(SIZE * 4))


batch = []


def gather(number):
    """A batch that is gathered and handed over as a whole."""
    batch.append(bytearray(SIZE))
    if len(batch) >= 500:
        batch.clear()


live = collections.deque()


def serve_session(number):
    """A session that lives for three seconds: memory follows the traffic."""
    live.append((time.monotonic() + 3.0, bytearray(SIZE)))


def end_sessions():
    while True:
        time.sleep(0.1)
        with lock:
            while live and live[0][0] <= time.monotonic():
                live.popleft()


KINDS = {
    "per_request": remember_session,
    "timer": watch_upload,
    "buffer": keep_upload,
    "listener": subscribe,
    "handler": add_handler,
    "records": keep_records,
    "cache": cache_result,
    "warm_up": warm_up,
    "sawtooth": gather,
    "diurnal": serve_session,
}


class Api(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 64 * 1024  # head and body in one packet

    def do_GET(self):
        global requests
        if self.path == "/start":
            started.set()
        elif started.is_set():
            with lock:
                requests += 1
                KINDS[KIND](requests)
        answer = f"{requests}\n".encode()
        self.send_response(200)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format, *arguments):
        pass


def main():
    if KIND not in KINDS:
        raise SystemExit(f"KIND is '{KIND}', which is no way to use memory")
    threading.Thread(target=end_sessions, daemon=True).start()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "0"))), Api)
    server.daemon_threads = True
    host, port = server.server_address[:2]
    print(f"listening on http://{host}:{port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
