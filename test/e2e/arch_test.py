# SPDX-License-Identifier: Apache-2.0
"""`morph run x.morph`: a search among mixers with options of their own in every layer, under ties, pins, patterns and a
budget of bytes, gives a trained hybrid of several kinds whose export is that of transformers; stopped and changed."""

import json
import pathlib
import shutil
import subprocess
import tempfile
import time

import torch
import transformers
from support import BIN, SOURCE, compare_export, read_json, run

import small_model

ARCH = """
// The last layer's mixer is of this file.
mixer mean_of_all(rank: 1..64 = 8) {
  weight down [rank, M] ~ normal(0.05)
  weight up [M, rank] ~ normal(0.05)
  return base_o(merge(recurrence(base_q(x), base_k(x), base_v(x)))) + project(project(x, down), up)
}

arch mixed {
  model "model"
  recipe "recipe.toml"
  layers 0..1 = full | gla(chunk = 16) | sliding_window(window = 8) | sliding_window(window = 24)
  layers 2 = full | kda(chunk = 16) | none
  layers 3 = mean_of_all(rank = 4)
  tie 0..1
  pin 2 = kda | none
  budget cache_bytes = LIMIT at 1024
}
"""


def morph(folder, *arguments, fails=0):
    """Runs the arch of a folder; what it said."""
    done = subprocess.run([BIN / "morph", "run", folder / "mixed.morph", "--out", folder / "run", *arguments],
                          capture_output=True, text=True)
    assert done.returncode == fails, done.stderr[-3000:]
    return done


def bytes_of(folder, context):
    """Bytes of a layer's caches by mixer and options, as the runtime's space has them."""
    budget = read_json(folder / "run/resolved.json")["space"]["budgets"][0]
    assert budget["context"] == context
    return budget["costs"]


def main():
    with tempfile.TemporaryDirectory() as holder:
        folder = pathlib.Path(holder)
        small_model.make_inputs(folder)
        # The recipe is the spec without what the arch says.
        lines, skipped = [], False
        for line in (folder / "small.toml").read_text().splitlines():
            if line.startswith("["):
                skipped = line in ("[linear]", "[budget]")
            if not skipped and not line.startswith(("path =", 'name = "small"')):
                lines.append(line)
        (folder / "recipe.toml").write_text("\n".join(lines) + "\n")

        # One full layer of 1024 tokens has 2 * 1024 * 2 heads * 8 * 2 bytes: the tied pair is beyond the limit.
        (folder / "mixed.morph").write_text(ARCH.replace("LIMIT", "60e3"))
        said = morph(folder)
        selection = read_json(folder / "run/selection.json")
        choice, costs = selection["choice"], bytes_of(folder, 1024)
        assert costs[0] == [65536, 1024, 8 * 64, 24 * 64], costs[0]
        names = [[candidate["name"] for candidate in layer] for layer in selection["space"]["layers"]]
        assert names[0] == ["full", "gla", "sliding_window", "sliding_window_2"], names
        assert choice[0] == choice[1] != "full" and choice[2] in ("kda", "none") and choice[3] == "mean_of_all", choice
        assert sum(costs[l][names[l].index(name)] for l, name in enumerate(choice)) <= 60e3
        for name in set(choice):
            assert f"{name} in " in said.stdout, said.stdout
        hybrid = folder / "run/hybrid"
        manifest = read_json(hybrid / "conversion_manifest.json")
        check, _ = compare_export(folder / "run")
        assert check["verdict"] in ("agreement", "rounding"), check
        assert "mean_of_all" in json.dumps(manifest["declarations"])
        model = transformers.AutoModelForCausalLM.from_pretrained(hybrid, trust_remote_code=True).eval()
        prompt = torch.randint(1, 255, (1, 20), generator=torch.Generator().manual_seed(1))
        with torch.no_grad():
            assert model.generate(prompt, max_new_tokens=4, do_sample=False).shape == (1, 24)

        # Lines that move change nothing; a budget that changes is another spec, of which the stages before the choice stay.
        (folder / "mixed.morph").write_text("// A line more.\n" + ARCH.replace("LIMIT", "60e3"))
        stages = [line for line in morph(folder).stderr.splitlines() if line.startswith("[")]
        assert len(stages) > 9 and all("done before" in line for line in stages), stages
        (folder / "mixed.morph").write_text(ARCH.replace("LIMIT", "140e3"))
        refused = morph(folder, fails=2).stderr
        assert "these keys differ: 'budget cache_bytes = 140e3" in refused and "60e3" in refused, refused
        begin = time.time()
        process = subprocess.Popen([BIN / "morph", "run", folder / "mixed.morph", "--out", folder / "run", "--update"],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        while "step" not in (line := process.stderr.readline()) and line and time.time() < begin + 60:
            pass
        process.kill()
        process.communicate()
        morph(folder)
        straight = read_json(folder / "run/selection.json")
        assert straight["choice"][0] == straight["choice"][1]
        shutil.rmtree(folder / "run")
        morph(folder)
        again = read_json(folder / "run/selection.json")
        for part in ("choice", "values", "scores"):
            assert again[part] == straight[part], part

        # Waves of align are of layers that have something to align.
        (folder / "late.morph").write_text(f"""arch late {{
  model "{SOURCE}/specs/models/tiny-recall"
  recipe "{SOURCE}/specs/recall.toml"
  layers 0..6 = full
  layers 7..9 = full | gated_deltanet(chunk = 16)
  budget full_layers = 8
}}
""")
        planned = run("morph", "plan", folder / "late.morph", "--set", "model.memory_limit=0.02").stdout
        assert "align, 3 waves" in planned, planned

        # Within so few bytes nothing fits: all lines that say so are named.
        (folder / "mixed.morph").write_text(ARCH.replace("LIMIT", "100"))
        refused = morph(folder, fails=2).stderr
        assert "mixed.morph:17:3: error: no choice of layers satisfies" in refused, refused


if __name__ == "__main__":
    main()
