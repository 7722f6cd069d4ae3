"""Python imports this when it starts, because Stent's folder is on PYTHONPATH.

Owns: starting `stent_heap` where STENT_HEAP=on, and handing on to the program's own sitecustomize.
Refuses: doing anything else. Invariant: whatever goes wrong here, the program starts.
"""

import os
import sys


def _start():
    if os.environ.get("STENT_HEAP", "").lower() in ("on", "1", "true"):
        import stent_heap

        stent_heap.serve()


def _hand_on():
    """Runs the sitecustomize that this one hides, if there is one."""
    import importlib.machinery
    import importlib.util

    here = os.path.dirname(os.path.abspath(__file__))
    rest = [path for path in sys.path if os.path.abspath(path or ".") != here]
    spec = importlib.machinery.PathFinder.find_spec("sitecustomize", rest)
    if spec is not None and spec.loader is not None:
        module = importlib.util.module_from_spec(spec)
        sys.modules["sitecustomize"] = module
        spec.loader.exec_module(module)


try:
    _start()
except Exception as error:  # noqa: BLE001 - the program must start
    sys.stderr.write(f"stent: the heap is not served: {error}\n")
_hand_on()
