# SPDX-License-Identifier: Apache-2.0
"""The scripts of tools/ by themselves, in copies of the clone with stand-ins of what they start: where the build folder is, what
is installed, what can be pasted of what they print, and what they say where something is missing."""

import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import unittest

SOURCE = pathlib.Path(os.environ.get("MORPH_SOURCE_DIR", pathlib.Path(__file__).resolve().parents[2])).resolve()
SPDX = "// SPDX-License-Identifier: Apache-2.0\n"
CLANG_FORMAT = """#!/bin/sh
for file; do
  [ "${file#-}" = "$file" ] || continue
  [ -e "$file" ] || { echo "No such file or directory: $file" >&2; exit 1; }
  ! grep -q UNFORMATTED "$file" || { echo "$file:1:1: error: code should be clang-formatted" >&2; exit 1; }
done
exit ${CLANG_FORMAT_CODE:-0}
"""


class ScriptsTest(unittest.TestCase):
    def setUp(self):
        self.holder = tempfile.TemporaryDirectory()
        self.addCleanup(self.holder.cleanup)
        self.folder = pathlib.Path(self.holder.name).resolve()
        self.clone = self.folder / "a clone"
        self.elsewhere = self.folder / "elsewhere"
        self.elsewhere.mkdir()

    def run_script(self, *command, expect=0, cwd=None, **variables):
        environment = {name: value for name, value in os.environ.items() if name not in ("MORPH_BUILD", "MORPH_PROGRAM")}
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, cwd=cwd or self.elsewhere, check=False,
                              env=environment | {name: str(value) for name, value in variables.items()})
        self.assertEqual(done.returncode, expect, done.stdout + done.stderr)
        self.assertNotIn("Traceback", done.stderr)
        return done

    def write(self, path, text, executable=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755 if executable else 0o644)

    def copy(self, *names):
        """These scripts in a clone of their own, with what they share."""
        for name in (*names, "common.sh"):
            (self.clone / "tools").mkdir(parents=True, exist_ok=True)
            shutil.copy(SOURCE / "tools" / name, self.clone / "tools")

    def words(self, line):
        """The words of a line as the shell reads them."""
        return self.run_script("bash", "-c", f"printf '%s\\n' {line}").stdout.splitlines()

    # Where the build folder is.

    def test_the_build_folder_is_meant_from_the_clone(self):
        self.copy()
        inside = f". {shlex.quote(str(self.clone))}/tools/common.sh; find_build"
        for given, default, expected in ((None, "", "build"), (None, "build-sanitize", "build-sanitize"), ("other", "", "other"),
                                         ("../out", "build-sanitize", "../out"), ("/nowhere/b", "", "/nowhere/b")):
            with self.subTest(given=given, default=default):
                variables = {} if given is None else {"MORPH_BUILD": given}
                done = self.run_script("bash", "-euc", f'{inside} {default}; echo "$build|$MORPH_BUILD|$root|$caller"', **variables)
                build = os.path.normpath(self.clone / expected)
                self.assertEqual(done.stdout.strip(), f"{build}|{build}|{self.clone}|{self.elsewhere}")

    def test_no_script_reads_it_otherwise(self):
        scripts = [path for path in (SOURCE / "tools").iterdir() if path.is_file() and os.access(path, os.X_OK)]
        self.assertGreater(len(scripts), 8)
        for script in scripts:
            lines = [line for line in script.read_text().splitlines() if not line.startswith("#")]
            self.assertNotRegex("\n".join(lines), r"\bMORPH_BUILD\b", script.name)

    def test_fuzz_takes_any_build_folder(self):
        self.copy("fuzz")
        for name in ("setup", "build"):
            self.write(self.clone / "tools" / name, "#!/bin/sh\n")
        self.write(self.clone / "test/fuzz/make_seeds.py", "import os, sys\nos.makedirs(sys.argv[1])\n"
                   "open(sys.argv[1] + '/spec.list', 'w').close()\n")
        for build in (self.folder / "absolute", "relative"):
            self.write(self.clone / build / "test/bin/fuzz-spec", "#!/bin/sh\necho 'stat::number_of_executed_units: 7'\n")
            done = self.run_script(self.clone / "tools/fuzz", "--runs", 1, "spec", MORPH_BUILD=build, MORPH_CACHE=self.folder / "cache")
            self.assertRegex(done.stdout, r"\nspec +7 ")

    # What is installed.

    def install(self, *arguments):
        """The packages that tools/setup asks apt for on a machine that has none."""
        programs, log, cache = self.folder / "programs", self.folder / "installed", self.folder / "cache"
        self.write(programs / "dpkg-query", "#!/bin/sh\nexit 1\n")
        self.write(programs / "id", "#!/bin/sh\necho 0\n")
        self.write(programs / "apt-get", f"#!/bin/sh\necho \"$@\" >>{log}\n")
        log.write_text("")
        environment = self.run_script(SOURCE / "tools/setup", "--print-env", MORPH_CACHE=cache).stdout.strip()
        self.write(pathlib.Path(environment, ".complete"), "")
        done = self.run_script(SOURCE / "tools/setup", *arguments, MORPH_CACHE=cache, PATH=f"{programs}:{os.environ['PATH']}")
        self.assertIn("setup: ready", done.stdout)
        [line] = [line for line in log.read_text().splitlines() if line.startswith("install")]
        return {word for word in line.split()[1:] if not word.startswith("-")}

    def test_the_runtime_needs_less(self):
        whole, runtime = self.install(), self.install("--runtime")
        self.assertLess(runtime, whole)
        self.assertLessEqual({"cmake", "ninja-build", "g++", "nlohmann-json3-dev", "libcli11-dev", "python3-venv"}, runtime)
        self.assertEqual([name for name in runtime if re.search("mlir|llvm|clang|lld|toml", name)], [])
        self.assertIn("libmlir-19-dev", whole)
        self.assertIn("tools/setup --runtime", (SOURCE / "README.md").read_text())

    def test_without_a_python_environment(self):
        for name, arguments in {"bench": [], "lm-eval": [], "plant-control": [], "fetch-model": ["smollm2-135m"],
                                "gpu-check": ["pack", "packed"]}.items():
            with self.subTest(name):
                done = self.run_script(SOURCE / "tools" / name, *arguments, expect=1, MORPH_CACHE=self.folder / "cache")
                self.assertRegex(done.stderr, f"^{name}: error: the Python environment {self.folder}/cache/python-\\w+ is not there\n"
                                              f"{name}: hint: run tools/setup first\n$")

    # What is printed.

    def test_what_the_quickstart_prints_can_be_pasted(self):
        self.copy("quickstart")
        for name in ("setup", "build"):
            self.write(self.clone / "tools" / name, "#!/bin/sh\n")
        self.write(self.clone / "build/bin/morph", '#!/bin/sh\nprintf "%s\\n" "$@" >"$(dirname "$0")/../arguments"\n')
        morph, specs = self.clone / "build/bin/morph", self.clone / "specs"

        def commands(cwd, *arguments):
            lines = self.run_script(self.clone / "tools/quickstart", *arguments, cwd=cwd).stdout.splitlines()
            begins = lines[0].removeprefix("quickstart: ")
            following = "\n".join(lines[1:]).replace("\\\n", "").splitlines()
            return [self.words(begins), *(self.words(line) for line in following if line.startswith("    "))]

        run, generate, show, fetch, again = commands(self.elsewhere, "my run")
        out = self.elsewhere / "my run"
        self.assertEqual(run, [str(morph), "run", str(specs / "quickstart.toml"), "--out", "my run"])
        self.assertEqual((self.clone / "build/arguments").read_text().splitlines(), [*run[1:4], str(out)])
        self.assertEqual(generate[:3], [str(morph), "generate", "my run/hybrid"])
        self.assertEqual(len(generate), 7)
        self.assertEqual(show, ["cat", "my run/ir/hybrid.mlir"])
        self.assertEqual(fetch, [str(self.clone / "tools/fetch-model"), "smollm2-135m"])
        self.assertEqual(again, [str(morph), "run", str(specs / "smollm2-135m.toml"), "--out", str(self.clone / "build/smollm2-135m")])
        # In the clone they are short, and what has no '/' is no program of the path.
        run, generate, *_ = commands(self.clone)
        self.assertEqual(run, ["build/bin/morph", "run", "specs/quickstart.toml", "--out", "build/quickstart"])
        self.assertEqual(generate[:3], ["build/bin/morph", "generate", "build/quickstart/hybrid"])
        self.assertEqual(commands(morph.parent)[0][0], "./morph")

    def test_what_is_expected_of_package(self):
        for form in ("wheel", "deb"):
            done = self.run_script(SOURCE / "tools/package", f"--{form}", expect=2)
            self.assertEqual(done.stderr, f"package: error: a folder for the {form} is expected\npackage: hint: tools/package --help\n")
        done = self.run_script(SOURCE / "tools/package", expect=2)
        self.assertIn("package: error: an archive or a folder to write is expected\n", done.stderr)

    def test_bench_without_a_build(self):
        # The guide calls the clone MORPH.
        done = self.run_script(SOURCE / "tools/bench", "--only", "gates-tiny-fp32", expect=2, MORPH=SOURCE, MORPH_BUILD="no-build")
        self.assertEqual(done.stderr, f"bench: error: there is no program {SOURCE}/no-build/bin/morph\n"
                                      "bench: hint: tools/build makes it; MORPH_BUILD names another build folder\n")
        done = self.run_script(sys.executable, SOURCE / "tools/python/bench/bench.py", "--serve", "--base", "b", "--hybrid", "h",
                               expect=2, MORPH_PROGRAM="/nowhere/morph")
        self.assertIn("there is no program /nowhere/morph\n", done.stderr)
        self.run_script(SOURCE / "tools/bench", "--serve", "--help", MORPH_BUILD="no-build")

    def test_fetch_model_into_a_file(self):
        file = self.folder / "model"
        file.write_text("")
        done = self.run_script(SOURCE / "tools/fetch-model", "smollm2-135m", file, expect=1)
        self.assertEqual(done.stderr, f"fetch-model: error: {file} is a file, expected a folder\n"
                                      "fetch-model: hint: name a folder that is to be made\n")

    def test_commands_of_the_readme(self):
        """Those of the table of measurements start from the clone as they are printed."""
        text = (SOURCE / "README.md").read_text()
        table = text[text.index("\n## Measured\n"):text.index("\n### Mixers\n")]
        started, python = 0, "$(tools/setup --print-env)/bin/python "
        for command in (code for line in table.splitlines() for code in re.findall("`([^`]+)`", line.rpartition(" | ")[2])):
            if command.startswith(python):
                script = command.removeprefix(python).split()[0]
                done = subprocess.run(["bash", "-c", f"unset MORPH_BIN MORPH_SOURCE_DIR; {python}{script} --help"], cwd=SOURCE,
                                      capture_output=True, check=False)
                self.assertEqual(done.returncode, 0, done.stderr)
                started += 1
            elif command.startswith(("tools/", "test/")):
                self.assertTrue(os.access(SOURCE / command.split()[0], os.X_OK), command)
                started += 1
        self.assertGreaterEqual(started, 4)

    # tools/lint

    def test_lint_of_a_tree_with_a_deleted_file(self):
        self.copy("lint")
        self.write(self.folder / "programs/clang-format-19", CLANG_FORMAT)
        path = f"{self.folder / 'programs'}:{os.environ['PATH']}"
        for name in ("a.cpp", "b.cpp"):
            self.write(self.clone / "runtime" / name, SPDX, executable=False)
        self.write(self.clone / "README.md", "", executable=False)

        def lint(expect=0, **variables):
            return self.run_script(self.clone / "tools/lint", expect=expect, PATH=path, **variables)

        for arguments in (["init", "-q"], ["add", "-A"]):
            self.run_script("git", *arguments, cwd=self.clone)
        self.assertIn("lint: ok (2 C++ files)", lint().stdout)
        (self.clone / "runtime/b.cpp").unlink()
        self.assertIn("lint: ok (1 C++ files)", lint().stdout)
        (self.clone / "runtime/a.cpp").write_text(SPDX + "UNFORMATTED\n")
        said = lint(expect=1).stderr
        self.assertRegex(said, r"lint: error: these files are not formatted .*\n +1 runtime/a\.cpp\n")
        # What says nothing of a file is said, too.
        (self.clone / "runtime/a.cpp").write_text(SPDX)
        self.assertIn("lint: error: clang-format-19 does not run\n", lint(expect=1, CLANG_FORMAT_CODE=1).stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
