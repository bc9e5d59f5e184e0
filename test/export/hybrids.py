# SPDX-License-Identifier: Apache-2.0
"""Hybrids for tests of the export: what the compiler writes for a stack of mixers, and the modules that come of it."""

import functools
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import types

import torch
from safetensors.torch import save_file

SOURCE = pathlib.Path(os.environ.get("MORPH_SOURCE_DIR", pathlib.Path(__file__).resolve().parents[2]))
BIN = pathlib.Path(os.environ.get("MORPH_BIN", SOURCE / "build/bin"))
sys.path.insert(0, str(SOURCE / "tools/python"))
from export import check_export, morph_export  # noqa: E402

FULL = "full"
TOLERANCE = 1e-3


def run(*command):
    """Runs a program of build/bin, which must succeed."""
    done = subprocess.run([BIN / command[0], *command[1:]], capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stderr}"


def compile_hybrid(base, folder, stack, declaration=None):
    """Writes `hybrid.mlir`, `mixers.json` and `selection.json` into `folder`, for a base (a folder with config.json) whose
    layers have the mixers of `stack`: names with options, "gated_deltanet(conv=4)", or "full". A `declaration` is the text
    of the stack's one mixer that is not Morph's."""
    candidates = list(dict.fromkeys(mixer for mixer in stack if mixer != FULL)) or ["lightning"]
    kinds = [mixer.split("(")[0] for mixer in stack]
    selection = {"version": 1, "method": "random", "layers": len(stack), "budget": kinds.count(FULL),
                 "kept": [layer for layer, kind in enumerate(kinds) if kind == FULL], "choice": kinds}
    (folder / "selection.json").write_text(json.dumps(selection))
    if declaration:
        (folder / "own.morph").write_text(declaration)
        (folder / "spec.toml").write_text(
            f'version = 1\nmodel.path = "{base}"\nlinear.backend = "own.morph:{candidates[0]}"\n'
            'budget.full_layers = 1\nselect.method = "uniform"\n')
        run("morph-translate", "--import-spec", folder / "spec.toml", "-o", folder / "base.mlir")
    else:
        run("morph-translate", "--import-hf", base, "--config-only", "--name=base", "-o", folder / "base.mlir")
    run("morph-opt", folder / "base.mlir", f"--morph-pair-branches=candidates={','.join(candidates)}",
        f"--morph-discretize=selection={folder / 'selection.json'}", "-o", folder / "hybrid.mlir")
    run("morph-translate", "--emit-pytorch", folder / "hybrid.mlir", "-o", folder / "mixers.json")


def compile_mixers(config, stack):
    """`mixers.json` of compile_hybrid, parsed, for a base that is config.json alone, a dictionary."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "config.json").write_text(json.dumps(config))
        compile_hybrid(folder, folder, stack)
        return json.loads((folder / "mixers.json").read_text())


def initial_weights(plan):
    """Values of the weights that the plan starts anew: what it says, and some noise on what is trained."""
    generator = torch.Generator().manual_seed(1)
    weights = {}
    for weight in plan["weights"]:
        init = weight.get("init")
        if not init or init["kind"] not in ("normal", "constant", "values"):
            continue
        value = 0.0 if init["kind"] == "normal" else morph_export.initial_value(weight, {})
        noise = torch.randn(weight["shape"], generator=generator)
        weights[weight["name"]] = value + (0.2 if init["kind"] == "normal" else 0.05) * noise
    return weights


def judge(folder, stack, declaration=None):
    """The judgement of check_export on a hybrid of the base `folder/base` with the mixers of `stack`: whole, prefill and
    decoding, padded on the left. The export is `folder/hybrid`."""
    compile_hybrid(folder / "base", folder, stack, declaration)
    for program in ("logits", "decode"):
        run("morph-translate", "--emit-plan", folder / "hybrid.mlir", f"--program={program}", "-o",
            folder / f"{program}.json")
    save_file(initial_weights(json.loads((folder / "decode.json").read_text())), folder / "new.safetensors")
    morph_export.export(types.SimpleNamespace(
        base=folder / "base", config=None, run=folder, mixers=folder / "mixers.json",
        selection=folder / "selection.json", plan=folder / "decode.json", weights=[folder / "new.safetensors"],
        format="remote", out=folder / "hybrid"))
    # The folder is one that Morph itself reads: its declarations among it.
    run("morph-translate", "--import-hf", folder / "hybrid", "-o", folder / "again.mlir")
    return check_export.compare(types.SimpleNamespace(
        folder=folder / "hybrid", data=None, morph_run=BIN / "morph-run", logits_plan=folder / "logits.json",
        decode_plan=folder / "decode.json", tolerance=TOLERANCE))


@functools.cache
def load_modeling(classes):
    """modeling_morph.py with these classes in it, as a module beside the fixed one."""
    module = types.ModuleType("export.modeling_hybrid")
    module.__package__ = "export"
    sys.modules[module.__name__] = module
    exec(compile(morph_export.make_modeling(classes), "modeling_hybrid.py", "exec"), module.__dict__)
    return module
