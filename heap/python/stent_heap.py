"""Answers Stent's questions about this process's memory, over a unix socket, on demand only.

Owns: one thread that waits, one more for each connection (two at most); tracemalloc, which it starts
when asked and stops when the connection ends, at the latest after MEASURE_MAX seconds.
Refuses: anybody but the own user and root; keeping tracemalloc on; a look that would stop the program
for long. Until it is asked it costs a waiting thread.
Invariant: a program that measures for itself (tracemalloc was on before) keeps doing so.

The protocol is stent-heap's: a question a line (stats, start, profile, stop), `ok LENGTH PAUSE_US` and
the body, or `error` and the reason. A profile is in pprof's form (profile.proto, not compressed).
"""

import linecache
import os
import re
import socket
import struct
import sys
import threading
import time
import tracemalloc

LINE_MAX = 64
CONNECTIONS_MAX = 2
# Longer than the longest window between two profiles.
PATIENCE = 90.0
MEASURE_MAX = 120.0
# The lines of a profile: the largest.
LINES_MAX = 512
# tracemalloc's own memory at which a profile is refused: about a million traces, a second's stop.
TRACES_MAX = 64 * 1024 * 1024

_DEFINITION = re.compile(r"^(\s*)(?:async\s+def|def|class)\s+(\w+)")
_slots = threading.BoundedSemaphore(CONNECTIONS_MAX)
_measuring = threading.Lock()


def serve(path=None):
    """Serves at `path`, or where the agent looks by itself; also in processes forked off later."""
    listener = _listen(path)
    _wait(listener)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=lambda: _after_fork(path))


def _listen(path):
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    if path is None:
        listener.bind(f"\0stent-heap-{os.getpid()}")
    else:
        if os.path.exists(path):
            os.unlink(path)
        listener.bind(path)
    listener.listen(4)
    return listener


def _wait(listener):
    threading.Thread(target=_accept, args=(listener,), name="stent-heap", daemon=True).start()


def _after_fork(path):
    """A child has its parent's memory and none of its threads: it serves for itself."""
    global _slots, _measuring
    _slots = threading.BoundedSemaphore(CONNECTIONS_MAX)
    if _measuring.locked():
        tracemalloc.stop()
    _measuring = threading.Lock()
    if path is None:
        try:
            _wait(_listen(None))
        except OSError:
            pass  # the child lives without it


def _accept(listener):
    while True:
        try:
            stream, _ = listener.accept()
        except OSError:
            time.sleep(0.1)
            continue
        if not _is_ours(stream) or not _slots.acquire(blocking=False):
            stream.close()
            continue
        threading.Thread(target=_serve, args=(stream,), name="stent-heap", daemon=True).start()


def _is_ours(stream):
    credentials = stream.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, user, _ = struct.unpack("3i", credentials)
    return user in (os.geteuid(), 0)


def _serve(stream):
    measure = _Measure()
    try:
        with stream:
            stream.settimeout(PATIENCE)
            reader = stream.makefile("rb")
            while True:
                line = reader.readline(LINE_MAX)
                if not line.endswith(b"\n"):
                    return
                try:
                    body, pause = _answer(line.strip().decode("ascii", "replace"), measure)
                    head = f"ok {len(body)} {int(pause * 1e6)}\n".encode()
                    stream.sendall(head + body)
                except _Refused as why:
                    stream.sendall(f"error {why}\n".encode())
    except OSError:
        pass  # whoever asked has left
    finally:
        measure.stop()
        _slots.release()


class _Refused(Exception):
    """Why a question has no answer."""


def _answer(question, measure):
    if question == "stats":
        return _stats(), 0.0
    if question == "start":
        measure.start()
        return b"", 0.0
    if question == "profile":
        return measure.profile()
    if question == "stop":
        measure.stop()
        return b"", 0.0
    raise _Refused("the questions are stats, start, profile and stop")


def _stats():
    """No bytes: Python does not count them while nobody measures."""
    text = f"kind tracemalloc\npid {os.getpid()}\nblocks {sys.getallocatedblocks()}\n"
    if tracemalloc.is_tracing():
        text += f"allocated {tracemalloc.get_traced_memory()[0]}\n"
    return text.encode()


class _Measure:
    """tracemalloc for one connection."""

    def __init__(self):
        self.holds = False
        self.is_owner = False
        self.timer = None

    def start(self):
        if self.holds:
            return
        if not _measuring.acquire(blocking=False):
            raise _Refused("somebody else measures at present")
        self.holds = True
        self.is_owner = not tracemalloc.is_tracing()
        if self.is_owner:
            tracemalloc.start(1)
        self.timer = threading.Timer(MEASURE_MAX, self.stop)
        self.timer.daemon = True
        self.timer.start()

    def stop(self):
        if not self.holds:
            return
        self.holds = False
        self.timer.cancel()
        if self.is_owner:
            tracemalloc.stop()
        _measuring.release()

    def profile(self):
        if not self.holds:
            raise _Refused("nothing is measured: start comes first, and lasts two minutes at most")
        if tracemalloc.get_tracemalloc_memory() > TRACES_MAX:
            raise _Refused("too much was allocated since the start to look at it without a long stop")
        began = time.perf_counter()
        snapshot = tracemalloc.take_snapshot()  # nothing else runs meanwhile
        pause = time.perf_counter() - began
        return _encode(_by_line(snapshot)), pause


def _by_line(snapshot):
    """((file, line), objects, bytes), the largest lines first."""
    lines = {}
    for number, trace in enumerate(snapshot.traces):
        frame = trace.traceback[-1]
        if frame.filename == __file__ or frame.filename == tracemalloc.__file__:
            continue
        entry = lines.setdefault((frame.filename, frame.lineno), [0, 0])
        entry[0] += 1
        entry[1] += trace.size
        if number % 1_000 == 999:
            time.sleep(0.001)  # the program goes first
    largest = sorted(lines.items(), key=lambda item: -item[1][1])[:LINES_MAX]
    return [(place, objects, size) for place, (objects, size) in largest]


def _function(filename, line):
    """The function around a line, by its indentation: `Class.method`, or `<module>`."""
    names = []
    depth = None
    for number in range(line, 0, -1):
        text = linecache.getline(filename, number)
        stripped = text.strip()
        if not stripped or stripped.startswith("#"):
            continue
        indent = len(text) - len(text.lstrip())
        found = _DEFINITION.match(text)
        if found and (depth is None or indent < depth):
            names.append(found.group(2))
        if depth is None or indent < depth:
            depth = indent
        if depth == 0:
            break
    return ".".join(reversed(names)) or "<module>"


# --- profile.proto -----------------------------------------------------------------------------


def _varint(value):
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _number(field, value):
    return _varint(field << 3) + _varint(value) if value else b""


def _bytes(field, value):
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _encode(lines):
    strings = {"": 0}

    def text(value):
        return strings.setdefault(value, len(strings))

    out = bytearray()
    for kind, unit in (("inuse_objects", "count"), ("inuse_space", "bytes")):
        out += _bytes(1, _number(1, text(kind)) + _number(2, text(unit)))
    for number, ((filename, line), objects, size) in enumerate(lines, 1):
        name = text(_function(filename, line))
        function = _number(1, number) + _number(2, name) + _number(3, name)
        out += _bytes(5, function + _number(4, text(filename)))
        place = _bytes(4, _number(1, number) + _number(2, line))
        out += _bytes(4, _number(1, number) + place)
        out += _bytes(2, _bytes(1, _varint(number)) + _bytes(2, _varint(objects) + _varint(size)))
    out += _number(9, time.time_ns())
    for value in strings:
        out += _bytes(6, value.encode("utf-8", "replace"))
    linecache.clearcache()
    return bytes(out)
