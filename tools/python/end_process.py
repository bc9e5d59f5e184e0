# SPDX-License-Identifier: Apache-2.0
"""Programs that end as soon as they are done: taking the interpreter apart takes half a second once it has loaded torch.

    end_process.py SCRIPT [ARGS ...]    runs a script so
"""

import atexit
import os
import pathlib
import runpy
import signal
import sys
import threading
import traceback


def run_and_end(main):
    """Calls `main` and ends the process as it would end by itself: with what main returned or gave to sys.exit, or 1 and a
    traceback, or by SIGINT; after its threads, what is registered with atexit and what was printed."""
    interrupted = False
    try:
        code = main()
    except SystemExit as end:
        code = end.code
    except BaseException as error:  # pylint: disable=broad-exception-caught
        traceback.print_exc()
        code, interrupted = 1, isinstance(error, KeyboardInterrupt)
    if code is not None and not isinstance(code, int):
        print(code, file=sys.stderr)
        code = 1
    threading._shutdown()  # pylint: disable=protected-access
    atexit._run_exitfuncs()  # pylint: disable=protected-access
    sys.stdout.flush()
    sys.stderr.flush()
    if interrupted:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.raise_signal(signal.SIGINT)
    os._exit(code or 0)


def run_script():
    """Runs the script that the arguments name, as Python itself would."""
    sys.argv = sys.argv[1:]
    sys.path[0] = str(pathlib.Path(sys.argv[0]).resolve().parent)
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    run_and_end(run_script)
