# SPDX-License-Identifier: Apache-2.0
"""The real `morph` beside small stand-ins of the programs that it starts, so that a test of the driver takes moments."""

import json
import os
import pathlib
import shutil
import stat
import subprocess
import sys
import tempfile
import unittest

BIN = pathlib.Path(os.environ["MORPH_BIN"])

# Stand-ins write a line to $CALLS each time they are started. A run starts sixty, most of time is how they start: without
# packages (-IS), and the compiler's without json and pathlib.
COMMON = """#!{python} -IS
import os, signal, sys
arguments = sys.argv[1:]
def option(name, default=None):
    return arguments[arguments.index(name) + 1] if name in arguments else default
with open(os.environ["CALLS"], "a") as calls:
    calls.write(os.path.basename(sys.argv[0]) + " " + " ".join(arguments) + "\\n")
"""
PLAN = {"format": "morph-plan", "version": 5, "model": "m", "program": "p", "values": [{"shape": ["B", "T"], "dtype": "i64"}],
        "inputs": [{"name": "tokens", "value": 0}], "outputs": [{"name": "tokens", "value": 0}], "weights": [],
        "rope_tables": {}, "kernels": [], "instructions": []}
# One named in $DYING dies from a signal, saying much on standard error.
DYING = """
def die():
    print("\\n".join(f"#{i} 0x0000 a frame of the stack" for i in range(250)), file=sys.stderr, flush=True)
    os.kill(os.getpid(), signal.SIGSEGV)
if os.environ.get("DYING") == arguments[0]:
    die()
"""
TRANSLATE = COMMON + DYING + f"""
if os.environ.get("WRONG") == arguments[0]:
    print("morph-translate: error: something of the spec\\n  a second line", file=sys.stderr)
    sys.exit(2)
if "--spec-to-json" in arguments:
    import json, pathlib
    spec = json.loads(pathlib.Path(arguments[1]).read_text())
    for setting in [a[6:] for a in arguments if a.startswith("--set=")]:
        key, value = setting.split("=", 1)
        section, name = key.split(".")
        spec[section][name] = json.loads(value)
    print(json.dumps(spec))
else:
    # $MODEL stands for a compiler that makes other plans.
    with open(option("-o"), "w") as file:
        file.write({json.dumps(PLAN)!r}.replace('"model": "m"', '"model": "' + os.environ.get("MODEL", "m") + '"'))
"""
OPT = COMMON + """
with open(option("-o"), "w") as file:
    file.write("module {}")
"""
# A stage named in $SLOW waits, so that a test can stop it; one named in $BROKEN fails with exit code $CODE. At the lengths in
# $SILENT models generate nothing.
RUN = COMMON + """
import json, pathlib, time
if arguments[0] == "machine":
    threads = int(option("--threads"))
    print(json.dumps({"threads": threads or int(os.environ.get("CORES", 2)), "libtorch": "2.11", "device": os.environ.get("DEVICE", "cpu"), "target": "", "device_bytes": 0, "devices": 0,
                      "instruction_set": os.environ.get("INSTRUCTIONS", "AVX2")}))
    sys.exit()
if arguments[0] == "check":
    sys.exit()
if os.environ.get("DYING") == arguments[0]:
    pathlib.Path(os.environ["MORPH_CRASH_FILE"]).write_text("stack: of the stage\\n")
    os.kill(os.getpid(), signal.SIGABRT)
spec = json.loads(pathlib.Path(option("--spec")).read_text())
stage, out = arguments[0], pathlib.Path(option("--out"))
out.mkdir(parents=True, exist_ok=True)
if stage == os.environ.get("SLOW"):
    signal.signal(signal.SIGTERM, lambda *_: ((out / "stopped").write_text(""), os._exit(130)))
    (out / "checkpoint.safetensors").write_text("half")
    pathlib.Path(os.environ["CALLS"] + ".started").write_text(str(os.getpid()))
    time.sleep(60)
if stage == os.environ.get("BROKEN"):
    print("morph-run: error: something of the stage", file=sys.stderr)
    sys.exit(int(os.environ["CODE"]))
if (out / "checkpoint.safetensors").exists():
    (out / "resumed").write_text("")
if stage == os.environ.get("UNWRITABLE"):
    (out / "checkpoint.safetensors").write_text("last step")
    (out / "stage.json.partial").mkdir()
if option("--teacher"):
    folder = pathlib.Path(option("--teacher"))
    (out / "teacher").write_text("given" if folder.exists() else "kept")
    folder.mkdir(exist_ok=True)
(out / "metrics.jsonl").write_text(json.dumps({"stage": stage, "variant": option("--variant")}) + "\\n")
if stage == "select":
    (out / "selection.json").write_text(json.dumps({"version": 1, "method": "gates", "layers": 4, "budget": 1,
        "kept": [spec["select"]["steps"] % 4], "choice": ["full" if layer == spec["select"]["steps"] % 4 else "gated_deltanet"
        for layer in range(4)], "scores": [0, 0, 1, 0], "drift": [0.1] * 4, "seed": 0,
        "cost": {"tokens": 1000, "flops": 2e9, "seconds": 1.5}}))
if stage == "evaluate":
    better = int(option("--model-name") == "selected")
    good = int(option("--model-name") in ("selected", "uniform-middle"))
    rows = [{"model": option("--model-name"), "after": option("--after"),
        "task": "needle", "length": length, "depth": None, "answers_per_sample": 1.0, "shared": ["keys"],
        "teacher_forced": dict(samples=8, answers=0.5, interval=[0.215, 0.785], tokens=0.9, cross_entropy=0.5,
                               cross_entropy_interval=[0.4, 0.6], by_sample=[0, 1] * 4),
        "generated": dict(samples=8, answers=0.5 + (better + good) / 8, interval=[0.215, 0.785],
                          by_sample=[better, 1] + [0, 1] * 2 + [good, 1])} for length in (64, 128)]
    for row in rows:
        if str(row["length"]) in os.environ.get("SILENT", "").split():
            del row["generated"]
    (out / "rows.json").write_text(json.dumps(rows + [
        {"model": option("--model-name"), "after": option("--after"), "task": "text", "length": 32, "depth": None,
         "samples": 3, "cross_entropy": 2.0 - better, "cross_entropy_interval": [1.5, 2.5], "perplexity": 7.389,
         "tokens": 0.4, "by_sample": [1.5 - better, 2.0 - better, 2.5 - 1.1 * better]}]))
"""
# The comparison with transformers finds a mismatch where $DIFFERENT is set; no page is written where $PAGELESS is.
PYTHON = COMMON + """
import pathlib
if arguments[0].endswith("report.py"):
    if os.environ.get("PAGELESS"):
        print("report: error: something of the page", file=sys.stderr)
        sys.exit(2)
    pathlib.Path(option("--out")).write_text("page of " + " ".join(arguments[arguments.index("--") + 1:]))
    sys.exit()
if arguments[0].endswith("check_export.py") and os.environ.get("DIFFERENT"):
    print("check_export: error: different", file=sys.stderr)
    sys.exit(1)
out = option("--out")
if out:
    pathlib.Path(out).mkdir(parents=True, exist_ok=True)
    (pathlib.Path(out) / "model.safetensors").write_text("weights")
    (pathlib.Path(out) / "conversion_manifest.json").write_text("{}")
"""


def make_spec():
    """A resolved spec of a small run: a shipped one with little to do."""
    source = pathlib.Path(os.environ["MORPH_SOURCE_DIR"])
    done = subprocess.run([BIN / "morph-translate", "--spec-to-json", "--config-only", source / "specs/quickstart.toml"],
                          capture_output=True, text=True, check=True)
    spec = json.loads(done.stdout)
    changes = {"model": {"threads": 0}, "data": {"text": [], "tokenizer": ""},
               "align": {"steps": 2, "batch": 1, "length": 16, "tasks": []}, "select": {"steps": 2, "tasks": []},
               "distill": {"steps": 0, "tasks": []}, "finetune": {"steps": 0, "tasks": []},
               "evaluate": {"tasks": [], "baselines": ["uniform"]}, "export": {"check": False},
               "model_info": {"layers": 4, "vocab": 16}}
    for section, keys in changes.items():
        spec[section] |= keys
    space = spec["space"]
    space["layers"] = space["layers"][:4]
    space["counts"][0] |= {"layers": [0, 1, 2, 3], "least": 1, "most": 1}
    return spec | {"name": "fake", "tasks": []}


SPEC = make_spec()


class DriverCase(unittest.TestCase):
    def setUp(self):
        self.holder = tempfile.TemporaryDirectory()
        self.root = pathlib.Path(self.holder.name)
        self.bin = self.root / "bin"
        (self.root / "env/bin").mkdir(parents=True)
        self.bin.mkdir()
        shutil.copy(BIN / "morph", self.bin / "morph")
        for path, text in {"bin/morph-translate": TRANSLATE, "bin/morph-opt": OPT, "bin/morph-run": RUN,
                           "env/bin/python3": PYTHON}.items():
            file = self.root / path
            file.write_text(text.replace("{python}", sys.executable, 1))
            file.chmod(file.stat().st_mode | stat.S_IXUSR)
        for name in ("morph_data.py", "morph_lexicon.py", "data/files.py", "data/sources.py", "data/tokens.py",
                     "data/questions.py", "data/paragraphs.py", "export/morph_export.py", "export/check_export.py",
                     "export/modeling_morph.py", "export/configuration_morph.py", "export/targets/__init__.py",
                     "export/engines.py", "export/other_tokens.py", "report/report.py"):
            script = self.root / "source/tools/python" / name
            script.parent.mkdir(parents=True, exist_ok=True)
            script.write_text("")
        (self.root / "model").mkdir()
        (self.root / "model/config.json").write_text("{}")
        (self.root / "model/model.safetensors").write_text("base")
        self.spec = self.root / "fake.toml"
        self.write_spec()
        self.out = self.root / "out"

    def tearDown(self):
        self.holder.cleanup()

    def write_spec(self, **changes):
        spec = json.loads(json.dumps(SPEC))
        spec["model"]["path"] = str(self.root / "model")
        for key, value in changes.items():
            section, name = key.split("__")
            spec[section][name] = value
        self.spec.write_text(json.dumps(spec))

    def environment(self, **more):
        return os.environ | {"CALLS": str(self.root / "calls"), "MORPH_PYTHON_ENV": str(self.root / "env"),
                             "MORPH_SOURCE_DIR": str(self.root / "source")} | more

    def morph(self, *arguments, expect=0, cwd=None, **environment):
        """Runs the driver; its finished process. Its calls are in self.calls."""
        (self.root / "calls").write_text("")
        done = subprocess.run([self.bin / "morph", *map(str, arguments)], capture_output=True, text=True,
                              env=self.environment(**environment), timeout=60, cwd=cwd)
        self.assertEqual(done.returncode, expect, done.stdout + done.stderr)
        self.calls = (self.root / "calls").read_text().splitlines()
        return done

    def stages(self):
        """The runtime's stages that the last call started."""
        names = [call.split()[1] for call in self.calls if call.startswith("morph-run")]
        return [name for name in names if name not in ("check", "machine")]

    def touch(self, path):
        """Changes a program or script of the tools."""
        with open(self.root / path, "a") as file:
            file.write("\n# another version\n")
