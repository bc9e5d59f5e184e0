# SPDX-License-Identifier: Apache-2.0
"""`morph run` by itself (driver_standins.py): stage cache, stopping and killing, directories of other specs, machines and
programs, helpers that die, messages and exit codes."""

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import time
import unittest

from driver_standins import SPEC, DriverCase


class DriverTest(DriverCase):
    def test_a_machine_that_looks_too_small_is_refused_unless_forced(self):
        self.write_spec(align__batch=4096, align__length=2**24)
        done = self.morph("run", self.spec, "--out", self.out, expect=1)
        self.assertIn("stage 'align' needs about", done.stderr)
        self.assertIn("--force", done.stderr)
        self.assertFalse(self.out.exists())
        done = self.morph("run", self.spec, "--out", self.out, "--force")
        self.assertIn("stage 'align' needs about", done.stderr)
        self.assertTrue((self.out / "hybrid").exists())

    def test_run_and_run_again(self):
        done = self.morph("run", self.spec, "--out", self.out)
        self.assertEqual(self.stages(), ["select", "align", "select", "evaluate", "evaluate", "evaluate"])
        self.assertIn("[1/8] data", done.stderr)
        self.assertIn("[8/8] export", done.stderr)
        self.assertIn("Full attention stays in 1 of 4 layers: 2 (gates)", done.stdout)
        self.assertIn("generated: the model's own greedy tokens", done.stdout)
        # A line for each length and model; the selected hybrid against the baseline on the same samples.
        self.assertRegex(done.stdout, r"needle +64 +teacher +- +0\.500 \[\.215 \.785\] +0\.500 \[\.215 \.785\] +0\.900\n")
        self.assertRegex(done.stdout, r"\n +128 +teacher ")
        self.assertRegex(done.stdout, r"selected +selection +0\.750 .* 0\.900 +\+0\.250 \[-\.\d+ \.\d+\]\n")
        self.assertRegex(done.stdout, r"selected +selection +2 +2\.72 \[4\.48 12\.18\] +-1\.033 \[-1\.177 -\.890\]\n")
        self.assertIn("evaluation: keys (needle)", done.stdout)
        self.assertLessEqual(max(map(len, done.stdout.splitlines())), 120)
        rows = json.loads((self.out / "evaluation.json").read_text())
        self.assertEqual([(row["model"], row["after"]) for row in rows[::3]],
                         [("teacher", "selection"), ("uniform", "selection"), ("selected", "selection")])
        self.assertEqual(json.loads((self.out / "selection.json").read_text())["kept"], [2])
        self.assertTrue((self.out / "hybrid/model.safetensors").exists())
        self.assertFalse(list(self.out.rglob("*.partial")), "something half-written is left")
        done = self.morph("run", self.spec, "--out", self.out)
        self.assertEqual(self.stages(), [])
        self.assertEqual(done.stderr.count("done before"), 8)

    def test_no_alignment(self):
        self.write_spec(align__steps=0)
        done = self.morph("run", self.spec, "--out", self.out)
        self.assertIn("the linear branches are not aligned", done.stderr)
        self.assertNotIn("align:", done.stderr)
        self.assertIn("[7/7] export", done.stderr)
        self.assertIn("align", self.stages(), "select and evaluate read the branches")
        self.assertNotIn("\nalign", done.stdout)

    def test_other_spec(self):
        self.morph("run", self.spec, "--out", self.out)
        self.write_spec(align__steps=3, select__steps=9)
        done = self.morph("run", self.spec, "--out", self.out, expect=2)
        self.assertIn("belongs to another spec; these keys differ: align.steps, select.steps", done.stderr)
        self.assertIn("--update", done.stderr)
        self.assertEqual(self.stages(), [])

    def test_the_copy_of_the_spec(self):
        copies = lambda out: sorted(path.name for path in out.glob("spec.*"))
        text = self.spec.read_text()
        (self.root / "many.morph").write_text("arch small {}\n")
        for number, (name, copy) in enumerate((("small.morph.toml", "spec.toml"), (".morph/spec.toml", "spec.toml"),
                                               ("a.morph:b/spec.toml", "spec.toml"), ("small.morph", "spec.morph"),
                                               ("many.morph:small", "spec.morph"))):
            with self.subTest(name=name):
                spec, out = self.root / name, self.root / f"out-{number}"
                spec.parent.mkdir(exist_ok=True)
                spec.write_text(text)
                self.morph("select", spec, "--out", out)
                self.assertEqual(copies(out), [copy])
                expected = self.root / "many.morph" if ":small" in name else spec
                self.assertEqual((out / copy).read_text(), expected.read_text())
        # Another spec takes the place of what was there, whatever it is called.
        self.write_spec(align__steps=3)
        self.morph("select", self.spec, "--out", out, "--update")
        self.assertEqual(copies(out), ["spec.toml"])
        self.morph("select", self.root / "small.morph", "--out", out, "--update")
        self.assertEqual(copies(out), ["spec.morph"])

    def test_a_run_that_cannot_begin_leaves_nothing(self):
        # The stand-in of the compiler reads this, and the file of the arch is not there.
        reference = self.root / "gone.morph:small"
        reference.write_text(self.spec.read_text())
        self.assertIn("gone.morph", self.morph("run", reference, "--out", self.out, expect=2).stderr)
        self.assertFalse(self.out.exists())
        self.out.mkdir()
        self.morph("run", reference, "--out", self.out, expect=2)
        self.assertEqual([path.name for path in self.out.iterdir()], [".lock"])
        self.morph("run", self.spec, "--out", self.out)

    def test_another_spec_where_nothing_was_made(self):
        self.morph("run", self.spec, "--out", self.out)
        for stage in self.out.rglob("stage.json"):
            stage.unlink()
        self.write_spec(align__steps=3)
        self.morph("run", self.spec, "--out", self.out)
        checkpoint = self.out / "align.partial/checkpoint.bin"
        for stage in self.out.rglob("stage.json"):
            stage.unlink()
        checkpoint.parent.mkdir()
        checkpoint.touch()
        self.write_spec(align__steps=4)
        self.morph("run", self.spec, "--out", self.out, expect=2)

    def test_the_words_of_a_line_change_nothing(self):
        self.morph("run", self.spec, "--out", self.out)
        [count] = SPEC["space"]["counts"]
        same = count | {"source": {"text": "budget full_layers = 1.0", "place": "fake.morph:3:3"}}
        self.write_spec(space__counts=[same])
        self.morph("run", self.spec, "--out", self.out)
        self.assertEqual(self.stages(), [])
        self.write_spec(space__counts=[count | {"least": 2, "most": 2}])
        done = self.morph("run", self.spec, "--out", self.out, expect=2)
        self.assertIn("these keys differ: 'budget full_layers = 1.0', budget.full_layers\n", done.stderr)

    def test_a_missing_program_leaves_what_is_there(self):
        self.morph("run", self.spec, "--out", self.out)
        folders = [self.out / "ir", self.out / "plans"]
        files = {path: path.read_bytes() for folder in folders for path in folder.iterdir()}
        self.write_spec(align__steps=3)
        (self.bin / "morph-opt").unlink()
        done = self.morph("run", self.spec, "--out", self.out, "--update", expect=1)
        self.assertIn("morph-opt is not beside this one", done.stderr)
        self.assertTrue(files)
        self.assertEqual(files, {path: path.read_bytes() for folder in folders for path in folder.iterdir()})

    def test_update_reruns_what_depends_on_the_change(self):
        self.morph("run", self.spec, "--out", self.out)
        self.write_spec(evaluate__samples=9)
        self.morph("run", self.spec, "--out", self.out, "--update")
        self.assertEqual(self.stages(), ["evaluate"] * 3)
        self.write_spec(evaluate__samples=9, align__steps=3)
        self.morph("run", self.spec, "--out", self.out, "--update")
        self.assertEqual(self.stages(), ["align", "select", "evaluate", "evaluate"])

    def test_how_often_to_log_changes_nothing(self):
        self.morph("run", self.spec, "--out", self.out)
        self.morph("run", self.spec, "--out", self.out, "--set", "align.log_every=7")
        self.assertEqual(self.stages(), [])

    def test_changed_base_reruns(self):
        self.morph("run", self.spec, "--out", self.out)
        (self.root / "model/model.safetensors").write_text("another base")
        self.morph("run", self.spec, "--out", self.out)
        self.assertIn("align", self.stages())

    def start(self, stage):
        """The driver while that stage waits; the stage's process id."""
        process = subprocess.Popen([self.bin / "morph", "run", self.spec, "--out", self.out], stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True, env=self.environment(SLOW=stage))
        started = self.root / "calls.started"
        deadline = time.monotonic() + 30
        while not (started.exists() and started.read_text()):
            self.assertLess(time.monotonic(), deadline, "the stage does not start")
            time.sleep(0.02)
        return process, int(started.read_text())

    def gone(self, process):
        """Whether a process ends within some seconds."""
        for _ in range(200):
            try:
                os.kill(process, 0)
            except ProcessLookupError:
                return True
            if pathlib.Path(f"/proc/{process}/stat").read_text().split()[2] == "Z":
                return True
            time.sleep(0.05)
        return False

    def test_stop_reaches_the_stage(self):
        process, child = self.start("align")
        process.send_signal(signal.SIGTERM)
        _, words = process.communicate(timeout=30)
        self.assertEqual(process.returncode, 128 + signal.SIGTERM)
        self.assertIn("stopped; the same command continues", words)
        self.assertTrue((self.out / "align.partial/stopped").exists())
        record = self.out / "align.partial/stage.json"
        record.write_text(json.dumps(json.loads(record.read_text()) | {"seconds": 1000}))
        self.morph("run", self.spec, "--out", self.out)
        self.assertGreater(json.loads((self.out / "align/stage.json").read_text())["seconds"], 1000, "of both attempts")
        self.assertTrue((self.out / "align/resumed").exists(), "the stage did not continue from its checkpoint")
        self.assertFalse((self.out / "align/checkpoint.safetensors").exists())

    def test_killed_driver_takes_the_stage_with_it(self):
        process, child = self.start("align")
        process.kill()
        process.communicate(timeout=30)
        self.assertTrue(self.gone(child), "the stage lives on")
        self.assertFalse((self.out / "align").exists())
        self.morph("run", self.spec, "--out", self.out)
        self.assertTrue((self.out / "align/resumed").exists())

    def test_two_at_once(self):
        process, _ = self.start("align")
        done = self.morph("run", self.spec, "--out", self.out, expect=1)
        self.assertIn("another morph works in", done.stderr)
        process.kill()
        process.communicate(timeout=30)

    def test_failed_stage(self):
        done = self.morph("run", self.spec, "--out", self.out, expect=1, BROKEN="align", CODE="1")
        self.assertIn("something of the stage", done.stderr)
        self.assertIn("stage 'align' failed; the reason stands above", done.stderr)
        self.assertFalse((self.out / "align").exists())
        self.morph("run", self.spec, "--out", self.out, expect=2, BROKEN="align", CODE="2")
        self.morph("run", self.spec, "--out", self.out)

    # Helpers that die.

    def crash_file(self, words):
        """The file that the second of two lines names; those are all that was said after the compilation began."""
        lines = words.splitlines()
        self.assertIn("died from signal", lines[-2])
        self.assertTrue(lines[-1].startswith("morph: hint: "), lines[-1])
        file = pathlib.Path(re.search(r"the file (\S+):", lines[-1])[1])
        self.assertEqual(file.parent, self.root)
        self.assertNotIn("frame of the stack", words)
        return file.read_text()

    def test_dying_compiler_is_two_lines(self):
        for mode, before in (("--spec-to-json", 0), ("--import-hf", 1)):
            done = self.morph("run", self.spec, "--out", self.out, expect=1, DYING=mode, TMPDIR=str(self.root))
            self.assertEqual(len(done.stderr.splitlines()), 2 + before, done.stderr)
            self.assertIn("morph-translate died from signal 11", done.stderr)
            text = self.crash_file(done.stderr)
            self.assertIn("#249 0x0000 a frame of the stack", text)
            self.assertIn(f"morph-translate {mode}", text)

    def test_dying_stage_is_two_lines(self):
        done = self.morph("run", self.spec, "--out", self.out, expect=1, DYING="align", TMPDIR=str(self.root))
        self.assertIn("morph-run died from signal 6", done.stderr)
        self.assertIn("stack: of the stage", self.crash_file(done.stderr))

    def test_errors_of_helpers_stay(self):
        done = self.morph("run", self.spec, "--out", self.out, expect=2, WRONG="--import-hf")
        self.assertIn("morph-translate: error: something of the spec\n  a second line\n", done.stderr)
        done = self.morph("run", self.spec, "--out", self.out, expect=2, WRONG="--spec-to-json")
        self.assertEqual(done.stderr, "morph-translate: error: something of the spec\n  a second line\n")

    def test_phases_are_verified_between_steps(self):
        self.morph("run", self.spec, "--out", self.out)
        steps = [call.split(" -o ")[0].split()[2:] for call in self.calls if call.startswith("morph-opt")]
        check = "--morph-verify-phase=phase="
        self.assertEqual({(step[0], step[-1]) for step in steps},
                         {(check + "base", check + "paired"), (check + "paired", check + "relaxed"),
                          (check + "paired", check + "hybrid")})

    # Whose numbers a directory holds.

    def test_lost_files_are_made_again(self):
        self.morph("run", self.spec, "--out", self.out)
        metrics = self.out / "align/metrics.jsonl"
        for damage in (metrics.unlink, lambda: metrics.write_text("half")):
            damage()
            done = self.morph("export", self.out, expect=2)
            self.assertIn("has lost files, or parts of them: metrics.jsonl", done.stderr)
            done = self.morph("run", self.spec, "--out", self.out)
            self.assertIn("what lies in align/ has lost files, or parts of them: metrics.jsonl", done.stderr)
            self.assertEqual(self.stages(), ["align"], "what was made of it is the same")

    def test_a_mismatch_with_transformers_leaves_the_hybrid(self):
        self.write_spec(export__check=True)
        done = self.morph("run", self.spec, "--out", self.out, expect=1, DIFFERENT="1")
        self.assertIn("check_export: error: different", done.stderr)
        self.assertIn("stage 'check' failed", done.stderr)
        self.assertTrue((self.out / "hybrid/model.safetensors").exists())
        # The next run compares again, and does nothing else.
        self.morph("run", self.spec, "--out", self.out)
        self.assertEqual([call.split()[1].rpartition("/")[2] for call in self.calls if "_export.py" in call],
                         ["check_export.py"])
        self.morph("run", self.spec, "--out", self.out)
        self.assertFalse([call for call in self.calls if "_export.py" in call])

    def test_a_hybrid_that_is_made_again_is_compared_again(self):
        def scripts():
            return [call.split()[1].rpartition("/")[2] for call in self.calls if "_export.py" in call]

        self.write_spec(export__check=True)
        self.morph("run", self.spec, "--out", self.out)
        self.assertEqual(scripts(), ["morph_export.py", "check_export.py"])
        for again in (["run", self.spec, "--out", self.out], ["export", self.out]):
            shutil.rmtree(self.out / "hybrid")
            done = self.morph(*again)
            self.assertEqual(scripts(), ["morph_export.py", "check_export.py"], again)
            self.assertNotIn("check/", done.stderr)
            self.morph("run", self.spec, "--out", self.out)
            self.assertEqual(scripts(), [], again)

    def test_what_the_hybrid_copies_is_in_its_key(self):
        self.write_spec(data__tokenizer=str(self.root / "model"))
        self.morph("run", self.spec, "--out", self.out)
        for name in ("generation_config.json", "LICENSE"):
            (self.root / "model" / name).write_text("{}")
            self.morph("run", self.spec, "--out", self.out, "--update")
            self.assertEqual(self.stages(), [], name)
            self.assertTrue(any("morph_export.py" in call for call in self.calls), name)
        self.touch("source/tools/python/export/other_tokens.py")
        self.morph("run", self.spec, "--out", self.out, "--update")
        self.assertTrue(any("morph_export.py" in call for call in self.calls))

    def test_a_tokenizer_that_is_a_file_is_in_the_key_of_the_data(self):
        tokenizer = self.root / "tokens/tokenizer.json"
        tokenizer.parent.mkdir()
        tokenizer.write_text("{}")
        self.write_spec(data__tokenizer=str(tokenizer))
        self.morph("run", self.spec, "--out", self.out)
        for name in ("tokenizer.json", "special_tokens_map.json"):
            (tokenizer.parent / name).write_text('{"other": 1}')
            done = self.morph("run", self.spec, "--out", self.out, "--update")
            self.assertIn(f"was made from other inputs: file {tokenizer.parent / name}", done.stderr)
            self.assertIn("align", self.stages())

    def test_choices_that_look_at_no_weights_come_first(self):
        self.morph("run", self.spec, "--out", self.out, expect=2, BROKEN="select", CODE="2")
        self.assertEqual(self.stages(), ["select"], "aligned before a baseline that cannot be made")

    def test_stopped_update_leaves_no_older_results(self):
        self.morph("run", self.spec, "--out", self.out)
        self.write_spec(align__steps=3)
        self.morph("run", self.spec, "--out", self.out, "--update", expect=1, BROKEN="align", CODE="1")
        for name in ("selection.json", "evaluation.json", "summary.json", "report.html"):
            self.assertFalse((self.out / name).exists(), name)
        # The baseline looks at no weights, and so it is as it was.
        lines = map(json.loads, (self.out / "metrics.jsonl").read_text().splitlines())
        self.assertEqual([line["variant"] for line in lines], ["uniform"])

    def test_baselines_of_another_spec(self):
        self.morph("run", self.spec, "--out", self.out)
        self.write_spec(evaluate__baselines=[])
        summary = json.loads(self.morph("run", self.spec, "--out", self.out, "--update", "--json").stdout)
        self.assertEqual(self.stages(), [], "another list of baselines changes no number of the others")
        self.assertNotIn("baselines", summary)
        self.assertEqual({row["model"] for row in summary["evaluation"]}, {"teacher", "selected"})

    def test_metrics_of_another_spec(self):
        stages = lambda: [(row["stage"], row["variant"]) for row in
                          map(json.loads, (self.out / "metrics.jsonl").read_text().splitlines())]
        self.write_spec(distill__steps=1)
        self.morph("run", self.spec, "--out", self.out)
        self.assertIn(("distill", "selected"), stages())
        self.assertIn(("align", None), stages())
        self.write_spec()
        self.morph("run", self.spec, "--out", self.out, "--update")
        self.assertNotIn(("distill", "selected"), stages())
        self.assertIn(("align", None), stages())

    def test_variants_share_the_teacher(self):
        def read(variant):
            file = self.out / "distill" / variant / "teacher"
            return file.read_text() if file.exists() else None
        self.write_spec(distill__steps=1)
        self.morph("run", self.spec, "--out", self.out)
        self.assertEqual([read("uniform"), read("selected")], ["kept", "given"])
        keys = [call.split("--teacher-key ")[1].split()[0] for call in self.calls if "--teacher-key" in call]
        self.assertEqual(keys, keys[:1] * 2, "not the same for all variants")
        self.assertFalse((self.out / "distill/teacher").exists(), "nobody needs it any more")
        # One variant that is left has nobody to keep it for.
        shutil.rmtree(self.out / "distill/selected")
        self.morph("run", self.spec, "--out", self.out)
        self.assertIsNone(read("selected"))
        shutil.rmtree(self.out)
        self.write_spec(distill__steps=1, evaluate__baselines=[])
        self.morph("run", self.spec, "--out", self.out)
        self.assertIsNone(read("selected"))

    def test_what_is_kept_of_the_teacher_goes(self):
        self.write_spec(distill__steps=1)
        self.morph("run", self.spec, "--out", self.out)
        (self.out / "distill/teacher").mkdir()  # Of a run that was killed before it came to this.
        self.morph("run", self.spec, "--out", self.out)
        self.assertFalse((self.out / "distill/teacher").exists())

    def test_plans_of_another_spec_go(self):
        self.write_spec(distill__steps=1)
        self.morph("run", self.spec, "--out", self.out)
        self.assertTrue((self.out / "plans/distill-selected.json").exists())
        self.write_spec()
        self.morph("run", self.spec, "--out", self.out, "--update")
        self.assertFalse((self.out / "plans/distill-selected.json").exists())

    # What changes a number.

    def test_other_threads_are_refused(self):
        process, _ = self.start("align")
        process.kill()
        process.communicate(timeout=30)
        done = self.morph("run", self.spec, "--out", self.out, expect=2, CORES="4")
        self.assertIn("computed with 2 threads; here they would be computed with 4 threads, and", done.stderr)
        self.assertIn("--set model.threads=2", done.stderr)
        self.assertEqual(self.stages(), [])
        self.morph("run", self.spec, "--out", self.out, "--set", "model.threads=2", CORES="4")
        self.assertTrue((self.out / "align/resumed").exists(), "the same number of threads continues")
        self.morph("run", self.spec, "--out", self.out, "--update", CORES="4")
        self.assertEqual(self.stages(), ["align", "select", "evaluate", "evaluate", "evaluate"],
                         "all but the baseline, which computes nothing")
        self.morph("export", self.out, CORES="8")

    def test_other_instructions_are_refused(self):
        self.morph("run", self.spec, "--out", self.out)
        done = self.morph("run", self.spec, "--out", self.out, expect=2, INSTRUCTIONS="AVX512")
        self.assertIn("computed on a CPU with AVX2; here they would be computed on a CPU with AVX512, and", done.stderr)
        self.assertIn("go on where it began", done.stderr)
        self.morph("run", self.spec, "--out", self.out, "--update", INSTRUCTIONS="AVX512")
        self.assertEqual(self.stages()[0], "align")

    def test_other_gpus_are_refused(self):
        self.morph("run", self.spec, "--out", self.out, DEVICE="an H100")
        done = self.morph("run", self.spec, "--out", self.out, expect=2, DEVICE="an A100")
        self.assertIn("computed on an H100; here they would be computed on an A100, and", done.stderr)
        self.assertIn("go on where it began", done.stderr)

    def test_rebuilt_programs_and_scripts(self):
        self.morph("run", self.spec, "--out", self.out)
        everything = ["select", "align", "select", "evaluate", "evaluate", "evaluate"]
        for path, stages, scripts in (
            ("bin/morph-run", everything, ["morph_export.py"]),
            ("bin/morph-opt", [], []),
            ("source/tools/python/export/modeling_morph.py", [], ["morph_export.py"]),
            ("source/tools/python/morph_lexicon.py", ["align", "select", "evaluate", "evaluate", "evaluate"],
             ["morph_export.py"]),
        ):
            with self.subTest(path=path):
                self.touch(path)
                self.morph("run", self.spec, "--out", self.out)
                self.assertEqual(self.stages(), stages)
                self.assertEqual([name for name in ("morph_export.py",) if any(name in call for call in self.calls)],
                                 scripts)
                self.morph("run", self.spec, "--out", self.out)
                self.assertEqual(self.stages(), [])

    def test_a_pattern_of_texts_stands_for_files(self):
        texts = self.root / "texts"
        (texts / "older").mkdir(parents=True)
        for name in ("b.txt", "a.txt", "older/c.txt"):
            (texts / name).write_text("text")
        self.write_spec(data__text=[str(texts / "*")])
        self.morph("run", self.spec, "--out", self.out)
        inputs = json.loads((self.out / "data/stage.json").read_text())["inputs"]
        self.assertEqual(sorted(name for name in inputs if name.startswith(f"file {texts}")),
                         [f"file {texts}/{name}" for name in ("a.txt", "b.txt")])

    def test_other_plans(self):
        self.morph("run", self.spec, "--out", self.out)
        self.morph("run", self.spec, "--out", self.out, MODEL="other")
        self.assertEqual(self.stages(), ["align", "select", "evaluate", "evaluate", "evaluate"],
                         "all but the baseline, which reads no plan")

    def test_other_package(self):
        package = self.root / "env/lib/python3.11/site-packages/transformers-5.0.dist-info"
        package.mkdir(parents=True)
        self.morph("run", self.spec, "--out", self.out)
        package.rename(package.with_name("transformers-5.1.dist-info"))
        done = self.morph("run", self.spec, "--out", self.out)
        self.assertEqual(self.stages()[0], "align")
        self.assertIn("what lies in data/ was made from other inputs: package transformers", done.stderr)

    def test_same_plan_from_another_selection_trains_nothing(self):
        self.write_spec(distill__steps=1)
        self.morph("run", self.spec, "--out", self.out)
        self.write_spec(distill__steps=1, select__steps=6)
        self.morph("run", self.spec, "--out", self.out, "--update")
        self.assertEqual(self.stages(), ["select"], "six steps keep the layer that two kept")

    # Kills between the steps of a commit.

    def test_checkpoint_outlives_a_failed_commit(self):
        self.morph("run", self.spec, "--out", self.out, expect=1, UNWRITABLE="align")
        self.assertTrue((self.out / "align.partial/checkpoint.safetensors").exists())

    def test_every_moment_of_a_commit(self):
        self.morph("run", self.spec, "--out", self.out)
        folder, partial, old = (self.out / f"align{suffix}" for suffix in ("", ".partial", ".old"))
        older = json.loads((folder / "stage.json").read_text()) | {"key": "of another spec"}

        def make_old(path):
            path.mkdir()
            (path / "stage.json").write_text(json.dumps(older))

        def record_written():
            folder.rename(partial)
            make_old(folder)

        def older_moved():
            folder.rename(partial)
            make_old(old)

        def placed():
            make_old(old)
            (folder / "checkpoint.safetensors").write_text("of the last step")
            (folder / "checkpoint.other.json").write_text("of the last step")

        for moment in (record_written, older_moved, placed):
            with self.subTest(moment=moment.__name__):
                moment()
                self.morph("run", self.spec, "--out", self.out)
                self.assertEqual(self.stages(), [], "the whole stage was lost")
                self.assertFalse(partial.exists() or old.exists())
                self.assertEqual(list(folder.glob("checkpoint.*")), [])
        # A kill while a newer one was moved into place, and then the spec of the older one again.
        folder.rename(old)
        self.morph("run", self.spec, "--out", self.out)
        self.assertEqual(self.stages(), [])

    def test_folder_of_something_else(self):
        self.out.mkdir()
        (self.out / "letter.txt").write_text("dear")
        done = self.morph("run", self.spec, "--out", self.out, expect=2)
        self.assertIn("is not empty and not a run directory", done.stderr)
        done = self.morph("run", self.spec, "--out", self.out / "letter.txt", expect=2)
        self.assertIn("is a file, expected a folder", done.stderr)

    def test_missing_program(self):
        (self.bin / "morph-run").unlink()
        done = self.morph("run", self.spec, "--out", self.out, expect=1)
        self.assertIn("the program morph-run is not beside this one", done.stderr)
        self.assertIn("MISS morph-run", self.morph("doctor", expect=1).stdout)

    def test_a_disk_that_looks_too_small_is_refused(self):
        # A file without blocks that the hybrid's folder would need room for.
        with open(self.root / "model/huge.bin", "w") as file:
            file.truncate(shutil.disk_usage(self.root).free + (1 << 30))
        done = self.morph("run", self.spec, "--out", self.out, expect=1)
        self.assertRegex(done.stderr, "the run needs about .* of disk in .*, and .* are free")
        self.assertFalse(self.out.exists())

    def test_file_that_cannot_be_written(self):
        self.morph("run", self.spec, "--out", self.out)
        self.write_spec(align__steps=3)
        (self.out / "resolved.json.partial").symlink_to("/dev/full")
        done = self.morph("run", self.spec, "--out", self.out, "--update", expect=1)
        self.assertIn("No space left on device", done.stderr)
        self.assertIn("the disk is full: free some space and run the same command again", done.stderr)
        self.assertFalse(list(self.out.rglob("*.json.partial")), "something half-written is left")
        self.morph("run", self.spec, "--out", self.out, "--update")
        self.assertIn("align", self.stages())


if __name__ == "__main__":
    unittest.main(verbosity=2)
