# SPDX-License-Identifier: Apache-2.0
"""What tools/package packs runs without the build: from another folder, with another Python's packages, and a model goes
through the compiler and the runtime. `package_test.py FORM`: folder, wheel or deb."""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import sysconfig
import tempfile

from support import BIN, SOURCE, read_json

# The quickstart in a few steps.
SHORT = {"align": {"steps": 20}, "select": {"method": "gates", "steps": 4}, "distill": {"steps": 4, "warmup": 0},
         "evaluate": {"samples": 4, "baselines": [], "perplexity_tokens": 1024}}
SETTINGS = [word for section, keys in SHORT.items() for key, value in keys.items()
            for word in ("--set", f"{section}.{key}={json.dumps(value)}")]
# Nothing of this environment, which could lead to the build.
CLEAN = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}

API = """
import sys, morph
short, model = eval(sys.argv[1]), sys.argv[2]
run = morph.convert(morph.SPECS / "quickstart.toml", "quickstart", **short)
print(run.kept, run.hybrid)
assert len(run.kept) == 2 and run.folder.name == "quickstart" and run.hybrid.is_dir(), run
assert {row["model"] for row in run.evaluation} == {"teacher", "selected"}, run.evaluation
assert run.summary["check"]["verdict"] in ("agreement", "rounding"), run.summary["check"]

hybrid, tokenizer = morph.load(run.folder)
tokens = tokenizer("A hacker <k3><v7>", return_tensors="pt")
text = tokenizer.decode(hybrid.generate(**tokens, max_new_tokens=2, do_sample=False)[0])
assert text.startswith("A hacker"), text
assert type(hybrid) is type(morph.load(run.hybrid)[0])
# A class of transformers, loaded without any code of the folder.
native = morph.convert(morph.SPECS / "quickstart.toml", "native", linear={"backend": "sliding_window(window = 64)"}, **short)
assert type(morph.load(native.hybrid)[0]).__module__ == "transformers.models.cwm.modeling_cwm", native

known = {mixer["name"]: mixer for mixer in morph.mixers()}
assert known["kda"]["state_bytes"] > 0 and known["kda"]["options"], known
assert morph.mixers(model, context=1024)[0]["name"] in known

def refused(call, *words, kind=morph.InvalidInput):
    try:
        call()
    except kind as error:
        assert all(word in str(error) for word in words), str(error)
        assert error.message and not error.message.startswith("morph"), error.message
        return error
    raise AssertionError(call)

error = refused(lambda: morph.convert(morph.SPECS / "quickstart.toml", "other", budget={"full_layers": 99}), "full_layers", "[S5]")
assert error.exit_code == 2
error = refused(lambda: morph.convert(morph.SPECS / "quickstart.toml", "other", align={"step": 1}), "align.step")
assert "steps" in error.hint, error.hint
refused(lambda: morph.convert("nothing.toml"), "nothing.toml")
refused(lambda: morph.convert(morph.SPECS / "quickstart.toml", align={"steps": None}), "align.steps is None")
refused(lambda: morph.convert(morph.SPECS / "quickstart.toml", "quickstart", seed=1, **short), "another spec", "seed", "--update")
refused(lambda: morph.load("."), "config.json")
refused(lambda: morph.load(model), "morph_hybrid")
refused(lambda: morph.mixers("nothing"), "nothing")
"""


def pack(*arguments):
    """The finished tools/package."""
    subprocess.run([SOURCE / "tools/package", *arguments], check=True, env=os.environ | {"MORPH_BUILD": str(BIN.parent)})


class Installed:
    """A command `morph` of a form, run from a folder of its own."""

    def __init__(self, command, folder, home, **environment):
        self.command, self.folder, self.home = command, folder, home
        self.environment = CLEAN | {"HOME": str(home)} | environment

    def run(self, *arguments, expect=0):
        result = subprocess.run([str(part) for part in arguments], capture_output=True, text=True, env=self.environment,
                                cwd=self.home, check=False)
        assert result.returncode == expect, (arguments, result.stdout, result.stderr)
        return result

    def morph(self, *arguments, expect=0):
        return self.run(self.command, *arguments, expect=expect)

    def check(self):
        """What every form does: all parts are its own, and a model goes through the compiler and the runtime."""
        version = subprocess.run([BIN / "morph", "--version"], capture_output=True, text=True, check=True).stdout
        assert self.morph("--version").stdout == version, version
        found = json.loads(self.morph("doctor", "--json").stdout)
        parts = {finding["name"]: finding for finding in found}
        for name in ("morph-translate", "morph-opt", "morph-run"):
            assert parts[name]["detail"] == f"{self.folder}/bin/{name}", parts
        assert parts["Python scripts"]["detail"] == f"{self.folder}/tools/python", parts
        assert all(finding["found"] for finding in found if finding["needed"]), found
        # The libraries are those that came along, and no program knows where it was built.
        libraries = subprocess.run(["ldd", self.folder / "bin/morph-opt"], capture_output=True, text=True, check=True,
                                   env=self.environment | {"LD_LIBRARY_PATH": f"{self.folder}/lib"}).stdout
        assert f"{self.folder}/lib/libLLVM" in libraries, libraries
        for program in (self.folder / "bin").iterdir():
            header = subprocess.run(["readelf", "-d", program], capture_output=True, text=True, check=True).stdout
            assert "RUNPATH" not in header and "RPATH" not in header, (program, header)
        text = self.morph("generate", self.folder / "specs/models/tiny-recall", "--prompt", "a", "--max-tokens", "2").stdout
        assert text.strip(), text


def check_folder(root):
    pack(root / "packed")
    moved = root / "elsewhere"
    shutil.move(root / "packed", moved)
    installed = Installed(moved / "morph", moved, root, MORPH_PYTHON=sys.executable)
    installed.check()
    installed.environment["MORPH_PYTHON"] = "/usr/bin/python3"
    missing = installed.morph("doctor", expect=1).stderr
    assert "has no package torch" in missing and f"pip install -r {moved}/tools/python/requirements.txt" in missing, missing
    again = subprocess.run([SOURCE / "tools/package", moved], capture_output=True, text=True, check=False)
    assert again.returncode == 2 and "is there already" in again.stderr, again
    for arguments in ([], ["--wheel"], ["--wheel", SOURCE / "README.md"], ["--rpm", root]):
        wrong = subprocess.run([SOURCE / "tools/package", *arguments], capture_output=True, text=True, check=False)
        assert wrong.returncode == 2 and "error:" in wrong.stderr, wrong


def check_wheel(root):
    pack("--wheel", root / "made")
    [wheel] = (root / "made").iterdir()
    # The 5 GB of packages that pip would fetch are this environment's: pip, which has no index here, says whether they
    # are those that the wheel asks for.
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", root / "venv"], check=True)
    packages = next((root / "venv/lib").glob("python*/site-packages"))
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    python = root / "venv/bin/python"
    subprocess.run([sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-index", wheel], check=True)
    home = root / "home"
    home.mkdir()
    installed = Installed(root / "venv/bin/morph", packages / "morph", home)
    installed.check()
    assert installed.run(python, "-m", "morph", "--version").stdout == installed.morph("--version").stdout
    specs = installed.run(python, "-c", "import morph; print(morph.SPECS)").stdout.strip()
    installed.morph("plan", f"{specs}/quickstart.toml")
    result = installed.morph("run", f"{specs}/quickstart.toml", "--out", "quickstart", *SETTINGS)
    assert "log-probabilities agree with transformers" in result.stdout, result.stdout
    # The interface of Python finds the command's run done.
    done = installed.run(python, "-c", API, repr(SHORT), f"{specs}/models/tiny-recall")
    assert done.stderr.count("done before") > 4, done.stderr
    text = read_json(home / "quickstart/resolved.json")["data"]["text"]
    assert text == [f"{specs}/texts/jargon.txt.gz"], text
    assert str(SOURCE) not in (home / "quickstart/resolved.json").read_text()


def check_deb(root):
    pack("--deb", root / "made")
    [package] = (root / "made").iterdir()
    fields = subprocess.run(["dpkg-deb", "--field", package], capture_output=True, text=True, check=True).stdout
    assert "Package: morph\n" in fields and "Architecture: amd64\n" in fields and "python3" in fields, fields
    subprocess.run(["dpkg-deb", "--extract", package, root / "system"], check=True)
    installed = Installed(root / "system/usr/bin/morph", root / "system/usr/lib/morph", root, MORPH_PYTHON=sys.executable)
    installed.check()
    for file in ("bash-completion/completions/morph", "zsh/vendor-completions/_morph", "fish/vendor_completions.d/morph.fish",
                 "doc/morph/copyright"):
        assert (root / "system/usr/share" / file).read_text(), file
    installed.environment["PYTHONPATH"] = str(root / "system/usr/lib/python3/dist-packages")
    version = installed.run(sys.executable, "-c", "import morph; print('morph', morph.__version__)").stdout
    assert version == installed.morph("--version").stdout, version


with tempfile.TemporaryDirectory() as holder:
    {"folder": check_folder, "wheel": check_wheel, "deb": check_deb}[sys.argv[1]](pathlib.Path(holder).resolve())
