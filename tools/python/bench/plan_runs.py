# SPDX-License-Identifier: Apache-2.0
"""Runs of plans by morph-plan-run: many by one process, which has loaded LibTorch and the device once."""

import atexit
import contextlib
import functools
import json
import os
import subprocess
import tempfile


class Server:
    """A process of `morph-plan-run --serve`."""

    def __init__(self, program, environment):
        self.said = tempfile.TemporaryFile("w+")  # pylint: disable=consider-using-with
        self.process = subprocess.Popen([program, "--serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=self.said, text=True, env={**os.environ, **environment})
        atexit.register(self.close)

    def run(self, arguments):
        """One run; fails with what the process has said since it began."""
        begin = os.fstat(self.said.fileno()).st_size
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps(arguments) + "\n")
            self.process.stdin.flush()
        code = self.process.stdout.readline()
        if code != "0\n":
            self.said.seek(begin)
            raise RuntimeError(f"morph-plan-run {' '.join(arguments)}: {code.strip() or 'the process ended'}\n{self.said.read()}")

    def close(self):
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


@functools.cache
def find_server(program, environment):
    """The one process for runs of that environment, pairs of names and values."""
    return Server(program, dict(environment))


def run_plan(program, *arguments, **environment):
    """Runs a plan with the arguments of morph-plan-run, the path `program`, in this environment beside the process's own.
    RuntimeError: it failed, and what was said."""
    try:
        find_server(str(program), tuple(sorted(environment.items()))).run([str(argument) for argument in arguments])
    except RuntimeError:
        # What a device has failed at it may remember.
        find_server.cache_clear()
        raise
