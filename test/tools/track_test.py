# SPDX-License-Identifier: Apache-2.0
"""morph track: what a run's metrics say stands in TensorBoard's event files and in Weights & Biases' offline files, read back by
their own libraries."""

import json
import os
import pathlib
import struct
import subprocess
import tempfile
import unittest

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from wandb.proto import wandb_internal_pb2

MORPH = pathlib.Path(os.environ["MORPH_BIN"]) / "morph"
LINES = [
    {"stage": "align", "step": 5, "loss": 0.5, "tokens": 40, "seconds": 1.5, "lr": 0.001, "layer_loss": [0.25, 0.75]},
    {"stage": "align", "step": 10, "loss": 0.25, "tokens": 80, "seconds": 3.0, "lr": 0.0005, "layer_loss": [0.125, 0.375]},
    {"stage": "distill", "variant": "uniform:1", "step": 2, "loss": 3.5, "note": "text stays in metrics.jsonl"},
]
ROWS = [
    {"model": "selected", "after": "distill", "task": "recall", "length": 48, "generated": {"answers": 0.5},
     "teacher_forced": {"answers": 0.75}},
    {"model": "teacher", "after": "selection", "task": "text", "length": 64, "cross_entropy": 1.0, "perplexity": 2.71828},
]


def wandb_records(path):
    """The records of a `.wandb` file: seven bytes of header, then LevelDB's log format, blocks of 32 KiB in which each piece of a
    record has a checksum, a length and a kind (1 whole, 2 first, 3 middle, 4 last)."""
    data, place, pieces = path.read_bytes(), 7, b""
    assert data[:4] == b":W&B", data[:7]
    while place + 7 <= len(data):
        if 32768 - place % 32768 < 7:
            place += 32768 - place % 32768
            continue
        length, kind = struct.unpack_from("<HB", data, place + 4)
        pieces += data[place + 7:place + 7 + length]
        place += 7 + length
        if kind in (1, 4):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(pieces)
            yield record
            pieces = b""


def make_run(folder):
    run = folder / "run"
    run.mkdir()
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in LINES))
    (run / "resolved.json").write_text(json.dumps({"name": "small", "seed": 3, "align": {"steps": 10}}))
    (run / "evaluation.json").write_text(json.dumps(ROWS))
    return run


def name_of(item):
    return item.key or "/".join(item.nested_key)


def track(*arguments, expect=0):
    result = subprocess.run([str(MORPH), "track", *map(str, arguments)], capture_output=True, text=True, check=False)
    assert result.returncode == expect, result.stdout + result.stderr
    return result


class TrackTest(unittest.TestCase):
    def setUp(self):
        place = tempfile.TemporaryDirectory()
        self.addCleanup(place.cleanup)
        self.folder = pathlib.Path(place.name)
        self.run_folder = make_run(self.folder)

    def test_tensorboard(self):
        track(self.run_folder, "--tensorboard", self.folder / "tb")
        place = self.folder / "tb/run"
        self.assertEqual(sorted(path.name for path in place.iterdir()), ["align", "distill-uniform-1", "results"])

        def scalars(stage):
            events = EventAccumulator(str(place / stage)).Reload()
            return {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}

        align = scalars("align")
        self.assertEqual(align["loss"], [(5, 0.5), (10, 0.25)])
        self.assertEqual(align["layer_loss/1"], [(5, 0.75), (10, 0.375)])
        self.assertEqual(scalars("distill-uniform-1"), {"loss": [(2, 3.5)]})
        self.assertEqual(scalars("results")["evaluation/recall@48/selected/distill/generated"], [(0, 0.5)])

    def test_wandb(self):
        track(self.run_folder, "--wandb", self.folder / "wb", "--project", "trial")
        files = list((self.folder / "wb/run").rglob("run-*.wandb"))
        self.assertEqual(len(files), 1)
        history, summary, config, project = [], {}, {}, ""
        for record in wandb_records(files[0]):
            if record.HasField("history"):
                history.append({name_of(item): json.loads(item.value_json) for item in record.history.item})
            for item in record.summary.update:
                summary[name_of(item)] = json.loads(item.value_json)
            if record.HasField("run"):
                project = record.run.project
                config.update({item.key: json.loads(item.value_json) for item in record.run.config.update})
        self.assertEqual(project, "trial")
        self.assertEqual(config["align"], {"steps": 10})
        losses = [(line["align/step"], line["align/loss"]) for line in history if "align/loss" in line]
        self.assertEqual(losses, [(5, 0.5), (10, 0.25)])
        self.assertEqual([line["distill-uniform-1/loss"] for line in history if "distill-uniform-1/loss" in line], [3.5])
        self.assertEqual(summary["evaluation/text@64/teacher/selection/perplexity"], 2.71828)

    def test_a_run_that_goes_on(self):
        """Stages that are whole are in the run's file; the one that goes on has its own, whose last line may be torn."""
        def stages(name):
            track(self.run_folder, "--tensorboard", self.folder / name)
            return sorted(path.name for path in (self.folder / name / "run").iterdir())

        whole = self.run_folder / "metrics.jsonl"
        text = whole.read_text()
        whole.unlink()
        (self.run_folder / "evaluation.json").unlink()
        result = track(self.run_folder, "--tensorboard", self.folder / "none", expect=2)
        self.assertIn("has no lines: no stage of the run has logged a step", result.stderr)
        align = self.run_folder / "align.partial/metrics.jsonl"
        align.parent.mkdir()
        align.write_bytes(text.splitlines()[0].encode() + '\n{"stage": "align", "step": 10, "note": "\u00e9'.encode()[:-1])
        self.assertEqual(stages("first"), ["align", "results"])
        events = EventAccumulator(str(self.folder / "first/run/align")).Reload()
        self.assertEqual([(event.step, event.value) for event in events.Scalars("loss")], [(5, 0.5)])
        # Of a stage with several models each has a folder; what became whole meanwhile counts once.
        whole.write_text("".join(text.splitlines(keepends=True)[:2]))
        distill = self.run_folder / "distill/uniform.partial/metrics.jsonl"
        distill.parent.mkdir(parents=True)
        distill.write_text(text.splitlines()[2] + "\n")
        self.assertEqual(stages("second"), ["align", "distill-uniform-1", "results"])
        events = EventAccumulator(str(self.folder / "second/run/align")).Reload()
        self.assertEqual([(event.step, event.value) for event in events.Scalars("loss")], [(5, 0.5), (10, 0.25)])

    def test_errors(self):
        def refused(words, *arguments):
            result = track(*arguments, expect=2)
            self.assertIn(words, result.stderr)
            self.assertIn("hint:", result.stderr)

        refused("nothing to write", self.run_folder)
        refused("metrics.jsonl' cannot be read", self.folder / "nowhere", "--tensorboard", self.folder / "tb")
        track(self.run_folder, "--tensorboard", self.folder / "tb")
        refused("is there already", self.run_folder, "--tensorboard", self.folder / "tb")
        with (self.run_folder / "metrics.jsonl").open("a") as file:
            file.write('{"stage": "align", "loss": 1}\n')
        broken = track(self.run_folder, "--wandb", self.folder / "wb", "--tensorboard", self.folder / "other", expect=2)
        self.assertIn("metrics.jsonl:4: not a line of metrics", broken.stderr)
        self.assertFalse((self.folder / "wb").exists() or (self.folder / "other").exists())


if __name__ == "__main__":
    unittest.main()
