# SPDX-License-Identifier: Apache-2.0
"""tools/python/end_process.py: a script ends by it as by itself, but for the interpreter's own end."""

import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import unittest

SOURCE = pathlib.Path(os.environ.get("MORPH_SOURCE_DIR", pathlib.Path(__file__).resolve().parents[2]))
PROGRAM = SOURCE / "tools/python/end_process.py"
# What Python takes apart at the end, and what is seen of it.
BEGIN = """import atexit, concurrent.futures, sys, threading
class Global:
    def __del__(self):
        print("taken apart")
one = Global()
atexit.register(lambda: print("at the end"))
threading.Timer(0.3, lambda: print("a thread")).start()
pool = concurrent.futures.ThreadPoolExecutor()
assert pool.submit(abs, -1).result() == 1
print("begun", sys.argv[1:], __name__, sys.path[0] == __file__.rpartition("/")[0])
"""


class EndProcessTest(unittest.TestCase):
    def check(self, end, code, said=""):
        """A script of this end, by itself and by the program."""
        with tempfile.TemporaryDirectory() as folder:
            script = pathlib.Path(folder, "script.py")
            script.write_text(BEGIN + end)
            alone, ours = (subprocess.run([sys.executable, *program, script, "a", "b"], capture_output=True, text=True, check=False)
                           for program in ((), (PROGRAM,)))
        self.assertEqual((alone.returncode, ours.returncode), (code, code), ours.stderr)
        self.assertEqual(alone.stdout, ours.stdout + "taken apart\n")
        self.assertEqual(ours.stdout, "begun ['a', 'b'] __main__ True\na thread\nat the end\n")
        for stderr in (alone.stderr, ours.stderr):
            self.assertIn(said, stderr)
            self.assertEqual(bool(stderr), bool(said), stderr)

    def test_ends(self):
        self.check("", 0)
        self.check("sys.exit()", 0)
        self.check("sys.exit(3)", 3)
        self.check("sys.exit(-2)", 254)
        self.check("sys.exit('what is wrong')", 1, "what is wrong\n")
        self.check("sys.exit(('what is wrong', 2))", 1, "('what is wrong', 2)\n")
        self.check("raise ValueError('what is wrong')", 1, "ValueError: what is wrong\n")
        self.check("raise KeyboardInterrupt", -signal.SIGINT, "KeyboardInterrupt\n")


if __name__ == "__main__":
    unittest.main()
