# SPDX-License-Identifier: Apache-2.0
"""Runs of plans by morph-plan-run: many by one process, which has loaded LibTorch and the device once."""

import atexit
import contextlib
import json
import os
import subprocess
import sys
import tempfile


class Server:
    """A process of `morph-plan-run --serve`."""

    def __init__(self, program, environment):
        self.said = tempfile.TemporaryFile("w+")  # pylint: disable=consider-using-with
        self.process = subprocess.Popen([program, "--serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=self.said, text=True, env={**os.environ, **environment})

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
        """Ends the process; its exit code."""
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.stdout.close()
        return self.process.wait()


# By program and environment.
SERVERS = {}


def run_plan(program, *arguments, **environment):
    """Runs a plan with the arguments of morph-plan-run, the path `program`, in this environment beside the process's own.
    RuntimeError: it failed, and what was said."""
    key = str(program), tuple(sorted(environment.items()))
    if key not in SERVERS:
        SERVERS[key] = Server(key[0], environment)
    try:
        SERVERS[key].run([str(argument) for argument in arguments])
    except RuntimeError:
        # What a device has failed at it may remember.
        SERVERS.pop(key).close()
        raise


@atexit.register
def close_servers():
    """Sanitizers say at a program's end what they have found."""
    for server in SERVERS.values():
        if server.close():
            server.said.seek(0)
            print(server.said.read(), file=sys.stderr, flush=True)
            os._exit(1)
