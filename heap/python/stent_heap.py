"""Answers Stent's questions about this process's memory, over a unix socket, on demand only.

Owns: one thread that waits, one more for each connection (two at most); tracemalloc, which it starts
when asked and stops when the connection ends, at the latest after MEASURE_MAX seconds.
Refuses: anybody but the own user and root; keeping tracemalloc on; a look that would stop the program
for long. Until it is asked it costs a waiting thread.
Invariant: a program that measures for itself (tracemalloc was on before) keeps doing so.

The protocol is stent-heap's: a question a line (stats, start, profile, stop), `ok LENGTH PAUSE_US` and
the body, or `error` and the reason. A profile is in pprof's form (profile.proto, not compressed). One
question is Python's own: `callers` begins anew with FRAMES_MAX frames of each stack in place of one.
"""

import collections
import linecache
import operator
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
# What `callers` keeps of a stack: as many cost several times what one does.
FRAMES_MAX = 16
# The lines, or stacks, of a profile: the largest.
LINES_MAX = 512
# tracemalloc's own memory at which a profile is refused: about two hundred thousand blocks, a stop of a tenth
# of a second or two.
TRACES_MAX = 12 * 1024 * 1024
# Blocks that are counted in one go.
CHUNK = 20_000

_DEFINITION = re.compile(r"^(\s*)(?:async\s+def|def|class)\s+(\w+)")
_STACK_AND_SIZE = operator.itemgetter(2, 1)
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
    if question == "callers":
        measure.deepen()
        return b"", 0.0
    if question == "stop":
        measure.stop()
        return b"", 0.0
    raise _Refused("the questions are stats, start, profile, callers and stop")


def _stats():
    """No bytes: Python does not count them while nobody measures."""
    text = f"kind tracemalloc\npid {os.getpid()}\nblocks {sys.getallocatedblocks()}\n"
    if tracemalloc.is_tracing():
        text += f"allocated {tracemalloc.get_traced_memory()[0]}\n"
        # A look may be no larger than this; whoever asks for profiles sees it coming.
        text += f"traces {tracemalloc.get_tracemalloc_memory()}\ntraces_max {TRACES_MAX}\n"
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

    def deepen(self):
        if not self.holds:
            raise _Refused("nothing is measured: start comes first")
        if self.is_owner:
            tracemalloc.stop()
            tracemalloc.start(FRAMES_MAX)

    def profile(self):
        if not self.holds:
            raise _Refused("nothing is measured: start comes first, and lasts two minutes at most")
        if tracemalloc.get_tracemalloc_memory() > TRACES_MAX:
            raise _Refused("too much was allocated since the start to look at it without a long stop")
        began = time.perf_counter()
        snapshot = tracemalloc.take_snapshot()  # nothing else runs meanwhile
        pause = time.perf_counter() - began
        return _encode(_by_stack(snapshot)), pause


def _by_stack(snapshot):
    """(((file, line), its caller, ...), objects, bytes), the largest first."""
    sums = {}
    for (stack, size), objects in _counted(snapshot).items():
        if stack[0][0] != __file__ and stack[0][0] != tracemalloc.__file__:
            entry = sums.setdefault(stack, [0, 0])
            entry[0] += objects
            entry[1] += objects * size
    largest = sorted(sums.items(), key=lambda item: -item[1][1])[:LINES_MAX]
    return [(stack, objects, size) for stack, (objects, size) in largest]


def _counted(snapshot):
    """How many blocks there are of each stack, innermost first, and size."""
    counts = collections.Counter()
    raw = getattr(snapshot.traces, "_traces", None)
    if isinstance(raw, (list, tuple)) and (not raw or isinstance(raw[0][2], tuple)):
        # Tuples of domain, size, stack: counted without a step of Python for each.
        for at in range(0, len(raw), CHUNK):
            counts.update(map(_STACK_AND_SIZE, raw[at : at + CHUNK]))
            time.sleep(0.001)  # the program goes first
        return counts
    # As documented, and several times slower.
    for trace in snapshot.traces:
        stack = tuple((frame.filename, frame.lineno) for frame in reversed(trace.traceback))
        counts[stack, trace.size] += 1
    return counts


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


def _encode(stacks):
    strings = {"": 0}
    places = {}

    def text(value):
        return strings.setdefault(value, len(strings))

    out = bytearray()
    for kind, unit in (("inuse_objects", "count"), ("inuse_space", "bytes")):
        out += _bytes(1, _number(1, text(kind)) + _number(2, text(unit)))
    for stack, objects, size in stacks:
        ids = b"".join(_varint(places.setdefault(place, len(places) + 1)) for place in stack)
        out += _bytes(2, _bytes(1, ids) + _bytes(2, _varint(objects) + _varint(size)))
    for (filename, line), number in places.items():
        name = text(_function(filename, line))
        function = _number(1, number) + _number(2, name) + _number(3, name)
        out += _bytes(5, function + _number(4, text(filename)))
        out += _bytes(4, _number(1, number) + _bytes(4, _number(1, number) + _number(2, line)))
    out += _number(9, time.time_ns())
    for value in strings:
        out += _bytes(6, value.encode("utf-8", "replace"))
    linecache.clearcache()
    return bytes(out)
