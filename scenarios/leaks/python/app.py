"""A small API over HTTP whose memory grows in the way that LEAK names, or does not.

Owns: the answer to GET /, and a timer. Prints `listening ADDRESS` when it can be asked.
Invariant: each leak is in a function of its own, whose name an attribution must give; the healthy twins
do the same work and let go of it.
"""

import collections
import http.server
import os
import threading
import time

PIECE = 4 * 1024
TWIN_MAX = 16 * 1024 * 1024
TOOTH = 2_000
DAY = 4_000

LEAK = os.environ.get("LEAK", "")
kept = collections.deque()
listeners = []
lock = threading.Lock()
requests = 0


def remember_session(number):
    kept.append(bytearray(PIECE + number % 7))


def record_tick(number):
    kept.append(bytearray(PIECE * 4 + number % 7))


def keep_buffer(number):
    if number % 16 == 0:
        kept.append(bytearray(16 * PIECE))


def subscribe(number):
    captured = bytearray(PIECE)

    def on_event():
        return len(captured)

    listeners.append(on_event)


def fill_cache(number):
    kept.append(bytearray(PIECE))
    if len(kept) > TWIN_MAX // PIECE:
        kept.popleft()


def warm_up(number):
    if len(kept) < TWIN_MAX // PIECE // 2:
        kept.append(bytearray(PIECE))


def collect_and_clear(number):
    kept.append(bytearray(PIECE))
    if len(kept) > TOOTH:
        kept.clear()


def follow_the_day(number):
    hour = number % DAY
    wanted = min(hour, DAY - hour)
    while len(kept) > wanted:
        kept.pop()
    while len(kept) < wanted:
        kept.append(bytearray(PIECE))


WAYS = {
    "request": remember_session,
    "timer": lambda number: None,
    "buffer": keep_buffer,
    "listener": subscribe,
    "cache": fill_cache,
    "warm-up": warm_up,
    "sawtooth": collect_and_clear,
    "diurnal": follow_the_day,
}


class Api(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 64 * 1024  # head and body in one packet

    def do_GET(self):
        global requests
        with lock:
            requests += 1
            number = requests
            WAYS[LEAK](number)
        answer = f"{len(kept) + len(listeners)}\n".encode()
        self.send_response(200)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format, *arguments):
        pass


def tick():
    number = 0
    while True:
        time.sleep(0.01)
        number += 1
        with lock:
            record_tick(number)


def main():
    if LEAK not in WAYS:
        raise SystemExit(f"LEAK is '{LEAK}', which is no way to use memory")
    if LEAK == "timer":
        threading.Thread(target=tick, daemon=True).start()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "0"))), Api)
    host, port = server.server_address[:2]
    print(f"listening {host}:{port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
