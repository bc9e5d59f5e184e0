# SPDX-License-Identifier: Apache-2.0
"""Programs that end as soon as they are done: taking the interpreter apart takes half a second once it has loaded torch.

    end_process.py SCRIPT [ARGS ...]    runs a script so
"""

import atexit
import os
import pathlib
import runpy
import sys
import threading
import traceback


def end_process(main):
    """Calls `main` and ends the process as it would end by itself: with what it gave to sys.exit, or 1 and a traceback; after
    its threads, what is registered with atexit and what was printed."""
    try:
        code = main()
    except SystemExit as end:
        code = end.code
    except BaseException:  # pylint: disable=broad-exception-caught
        traceback.print_exc()
        code = 1
    if isinstance(code, str):
        print(code, file=sys.stderr)
        code = 1
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()
    atexit._run_exitfuncs()  # pylint: disable=protected-access
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code or 0)


def run_script():
    """Runs the script that the arguments name, as Python itself would."""
    sys.argv = sys.argv[1:]
    sys.path[0] = str(pathlib.Path(sys.argv[0]).resolve().parent)
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    end_process(run_script)
