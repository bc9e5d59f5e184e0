# SPDX-License-Identifier: Apache-2.0
"""Small runs' folders whose values are known, as the files that tools/python/report reads."""

import contextlib
import io
import json
import os
import pathlib
import subprocess
import sys
import types

SOURCE = pathlib.Path(os.environ.get("MORPH_SOURCE_DIR", pathlib.Path(__file__).resolve().parents[2]))
SCRIPT = SOURCE / "tools" / "python" / "report" / "report.py"
PYTHON = SCRIPT.parents[1]
sys.path[:0] = [str(SCRIPT.parent), str(PYTHON), str(PYTHON / "pages")]

LAYERS = 6
LINEAR = "gated_deltanet"


def choice_of(kept):
    return ["full" if layer in kept else LINEAR for layer in range(LAYERS)]


def answers(value, samples=32):
    return {"answers": value, "interval": [max(0, value - 0.0625), min(1, value + 0.0625)], "samples": samples,
            "tokens": value, "by_sample": [value] * samples}


class SyntheticRun:
    """The files of a run, to be changed before they are written; `kept` are the layers that it keeps."""

    def __init__(self, kept=(1, 4), name="synthetic", lr=0.05, depths=(None,), lengths=(64, 128)):
        space = {
            "layers": [[{"name": "full", "reference": "", "trained": False},
                        {"name": LINEAR, "reference": f"{LINEAR}(chunk = 16)", "trained": True}]] * LAYERS,
            "allowed": [], "ties": [],
            "counts": [{"candidate": "full", "layers": list(range(LAYERS)), "least": 2, "most": 2,
                        "source": {"text": "budget.full_layers = 2", "place": "spec.toml:2:3"}}],
            "budgets": [{"measure": "decode_seconds", "unit": "picoseconds", "context": 4096, "limit": 5_000_000_000,
                         "source": {"text": "budget.decode_seconds = 0.005", "place": ""},
                         "costs": [[2_000_000_000, 250_000_000]] * LAYERS}],
        }
        self.spec = f'version = 1\nname = "{name}"\n[budget]\nfull_layers = 2\n'
        self.resolved = {"version": 1, "name": name, "seed": 0, "space": space, "select": {"lr": lr, "steps": 40},
                         "model_info": {"architecture": "llama", "layers": LAYERS, "hidden": 32, "parameters": 1_510_016}}
        self.metrics = []
        for step in range(10, 101, 10):
            self.metrics.append({"stage": "align", "step": step, "loss": 0.9 * 0.97**step, "tokens": step, "seconds": 1})
        for step in range(5, 41, 5):
            gates = [[share, 1 - share] for layer in range(LAYERS)
                     for share in [0.5 + (0.5 if layer in kept else -0.5) * step / 40]]
            self.metrics.append({"stage": "select", "step": step, "loss": 1 / step, "tokens": 1, "seconds": 1,
                                 "gates": gates})
        for variant in ("uniform", "selected"):
            for step in (25, 50):
                self.metrics.append({"stage": "distill", "variant": variant, "step": step, "loss": 2 / step, "tokens": 1,
                                     "seconds": 1, "held_out": {"recall": 0.4 / step, "text": 0.1}})
        rows, shift = [], sum(kept) / 100
        for model, after, share in (("teacher", "selection", 1.0), ("uniform", "selection", 0.25),
                                    ("selected", "selection", 0.75 + shift), ("selected", "distill", 0.875 + shift)):
            for length in lengths:
                for depth in depths:
                    rows.append({"model": model, "after": after, "task": "needle", "length": length, "depth": depth,
                                 "generated": answers(share), "teacher_forced": answers(share / 2)})
            rows.append({"model": model, "after": after, "task": "text", "length": 256, "depth": None, "samples": 3,
                         "cross_entropy": 2 + share / 10, "cross_entropy_interval": [1.5, 2.5],
                         "by_position": [{"end": 128 * part, "cross_entropy": 4 + share / 10 - part} for part in (1, 2)]})
        difference = {"baseline": "uniform", "after": "selection", "length": 64, "depth": None}
        self.summary = {
            "version": 1, "run": "/somewhere", "name": name,
            "selection": {"kept": list(kept), "method": "gates+refine", "layers": LAYERS, "scores": [0.125] * LAYERS},
            "choices": {"uniform": choice_of((0, 3)), "selected": choice_of(kept)},
            "baselines": {"uniform": [0, 3]},
            "evaluation": rows,
            "differences": [
                difference | {"task": "needle", "measure": "generated", "difference": 0.4375, "interval": [0.25, 0.5]},
                difference | {"task": "text", "length": 256, "measure": "cross_entropy", "difference": -0.0625,
                              "interval": None},
            ],
            "stages": [{"stage": "data", "seconds": 1.75, "tokens": 0, "flops": 0},
                       {"stage": "align", "seconds": 16, "tokens": 460_800, "flops": 3.85e12, "memory_bytes": 36_455_300,
                        "unread_share": 0.37},
                       {"stage": "select", "seconds": 5.25, "tokens": 201_216, "flops": 1.316e12}],
            "cache": [{"context": 1024 * 2**i, "full_bytes": 5120 * 2.0**i, "hybrid_bytes": 1000 + 1024 * 2.0**i}
                      for i in range(9)],
            "data": {"texts": [{"path": "corpora/books.jsonl", "documents": 1200, "tokens": 600_500, "dropped": 300}],
                     "tasks": [{"name": "faq", "path": "faq.jsonl", "rows": 40, "dropped": 0, "long": 10}]},
            "check": {"verdict": "agreement", "fp32": {"whole": 2.1e-05}},
        }

    def write(self, folder):
        folder = pathlib.Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "spec.toml").write_text(self.spec)
        (folder / "resolved.json").write_text(json.dumps(self.resolved))
        (folder / "summary.json").write_text(json.dumps(self.summary))
        (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in self.metrics))
        return folder


def run_command(*arguments):
    """The command, as `morph report` calls it."""
    return subprocess.run([sys.executable, SCRIPT, *map(str, arguments)], capture_output=True, text=True, check=False)


def run_report(out, *folders):
    """The same in this process, which has its packages already: `returncode` and `stderr`."""
    import morph_data
    import report

    errors = io.StringIO()
    with contextlib.redirect_stderr(errors):
        code = morph_data.exit_status("report", lambda: report.run(list(folders), out))
    return types.SimpleNamespace(returncode=code, stderr=errors.getvalue())
