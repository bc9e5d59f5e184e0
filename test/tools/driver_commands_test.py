# SPDX-License-Identifier: Apache-2.0
"""What other commands of the driver make of a run by itself (driver_standins.py), and what is printed and written of one."""

import json
import re
import shutil
import stat
import sys
import unittest

from driver_standins import DriverCase


class DriverCommandsTest(DriverCase):
    def test_differences_are_called_what_was_measured(self):
        both = "generated (teacher-forced where none is)"
        for silent, share in (("", "generated"), ("64 128", "teacher-forced"), ("64", both)):
            with self.subTest(silent=silent):
                done = self.morph("run", self.spec, "--out", self.root / f"silent-{len(silent)}", SILENT=silent)
                self.assertIn(f"\nover uniform: difference of the share that is {share}, paired by sample.\n", done.stdout)
                # With the true tokens before them the stand-in's models are right equally often.
                expected = ["+0.000" if length in silent.split() else "+0.250" for length in ("64", "128")]
                self.assertEqual(re.findall(r"selected +selection .* ([+-]\d\.\d+) \[\S+ \S+\]\n", done.stdout)[:2], expected)

    def test_of_several_baselines_the_best_is_compared_with(self):
        self.write_spec(evaluate__baselines=["uniform", "uniform:middle"])
        done = self.morph("run", self.spec, "--out", self.out)
        self.assertIn("\nover the best of the baselines: difference of the share that is generated, paired", done.stdout)
        self.assertRegex(done.stdout, r"(?m)selected +selection .* \+0\.125 \[\S+ \S+\] uniform-middle$")
        # Of text the two are alike: the first one is named.
        self.assertRegex(done.stdout, r"(?m)model +after +kept +perplexity +nats over the best$")
        self.assertRegex(done.stdout, r"(?m)selected +selection +2 +\S+ \[\S+ \S+\] +-1\.033 \[\S+ \S+\] uniform$")

    def test_json(self):
        summary = json.loads(self.morph("run", self.spec, "--out", self.out, "--json").stdout)
        self.assertEqual(summary["selection"]["kept"], [2])
        self.assertEqual(len(summary["evaluation"]), 9)
        self.assertEqual([(entry["length"], entry["measure"]) for entry in summary["differences"]],
                         [(64, "generated"), (64, "teacher_forced"), (128, "generated"), (128, "teacher_forced"),
                          (32, "cross_entropy")])
        self.assertEqual(summary["baselines"], {"uniform": [2]})
        self.assertEqual(summary["hybrid"], str(self.out / "hybrid"))
        select = next(stage for stage in summary["stages"] if stage["stage"] == "select")
        self.assertEqual((select["tokens"], select["flops"]), (1000, 2e9))

    def test_a_run_leaves_its_page(self):
        done = self.morph("run", self.spec, "--out", self.out, "--json")
        summary = json.loads(done.stdout)
        self.assertEqual(summary.pop("report"), str(self.out / "report.html"))
        self.assertEqual(json.loads((self.out / "summary.json").read_text()), summary)
        self.assertEqual((self.out / "report.html").read_text(), f"page of {self.out}")
        done = self.morph("run", self.spec, "--out", self.out)
        self.assertIn(f"The report: {self.out}/report.html\n", done.stdout)

    def test_a_run_without_a_page_is_whole(self):
        done = self.morph("run", self.spec, "--out", self.out, PAGELESS="1")
        self.assertIn("morph: warning: the run is whole, but its report could not be written; the reason stands above\n"
                      f"morph: hint: 'morph report {self.out}' writes it", done.stderr)
        self.assertIn("The hybrid:", done.stdout)
        self.assertNotIn("The report:", done.stdout)
        self.assertFalse((self.out / "report.html").exists())
        (self.root / "source/tools/python/report/report.py").unlink()
        done = self.morph("run", self.spec, "--out", self.out)
        self.assertRegex(done.stderr, "morph: warning: .*no Python script at .*report.py\nmorph: hint: MORPH_SOURCE_DIR")

    def test_report(self):
        self.morph("run", self.spec, "--out", self.out)
        (self.out / "report.html").unlink()
        done = self.morph("report", self.out)
        self.assertEqual(done.stdout, f"The report: {self.out}/report.html\n")
        self.assertEqual((self.out / "report.html").read_text(), f"page of {self.out}")
        done = self.morph("report", self.out, self.out, expect=2)
        self.assertIn("a page of several runs belongs to no run's folder", done.stderr)
        self.assertIn("--out FILE", done.stderr)
        self.morph("report", self.out, "other", "--out", self.root / "both.html")
        self.assertEqual((self.root / "both.html").read_text(), f"page of {self.out} other")
        done = self.morph("report", self.out, expect=2, PAGELESS="1")
        self.assertEqual(done.stderr, "report: error: something of the page\n")

    def test_evaluation_counts_its_tokens(self):
        summary = json.loads(self.morph("run", self.spec, "--out", self.out, "--json").stdout)
        tokens = {stage["stage"]: stage["tokens"] for stage in summary["stages"]}
        self.assertEqual(tokens["evaluate/teacher"], (8 + 8) * (64 + 128) + 3 * 32)

    def test_select_stops_before_evaluation(self):
        self.morph("select", self.spec, "--out", self.out)
        self.assertEqual(self.stages(), ["align", "select"])
        self.morph("run", self.spec, "--out", self.out)
        self.assertEqual(self.stages(), ["select", "evaluate", "evaluate", "evaluate"])

    def test_diff_says_what_differs(self):
        second = self.root / "second"
        self.morph("run", self.spec, "--out", self.out)
        self.morph("run", self.spec, "--out", second, "--set", "evaluate.baselines=[]", INSTRUCTIONS="AVX512")
        done = self.morph("diff", self.out, self.out)
        self.assertEqual(done.stdout, "The runs have the same spec, machine, kept layers and results.\n")
        selection = json.loads((second / "selection.json").read_text())
        (second / "selection.json").write_text(json.dumps(selection | {"kept": [1]}))
        rows = json.loads((second / "evaluation.json").read_text())
        for row in rows:
            if row["model"] == "selected" and row["length"] == 64:
                row["generated"] |= {"answers": 1.0, "interval": [0.676, 1.0], "by_sample": [1] * 8}
            if row["model"] == "selected" and row["task"] == "text":
                row |= {"cross_entropy": 0.5, "by_sample": [by - 0.5 for by in row["by_sample"]]}
        (second / "evaluation.json").write_text(json.dumps(rows))
        report = json.loads(self.morph("diff", self.out, second, "--json").stdout)
        self.assertEqual(report["spec"], [{"key": "evaluate.baselines", "first": ["uniform"], "second": []}])
        self.assertEqual(report["machine"]["second"], "on a CPU with AVX512")
        self.assertEqual([report["selection"][run]["kept"] for run in ("first", "second")], [[2], [1]])
        self.assertTrue(report["same_samples"])
        # Of the second run nobody has a baseline's rows; of those that both have two are others.
        both = [entry for entry in report["results"] if entry["second"]]
        self.assertEqual([(entry["model"], entry["task"], entry["measure"]) for entry in both],
                         [("selected", "needle", "generated"), ("selected", "text", "cross_entropy")])
        self.assertEqual([entry["difference"] for entry in both], [0.25, -0.5])
        self.assertTrue(all(entry["model"] == "uniform" for entry in report["results"] if not entry["second"]))
        self.assertEqual(self.calls, [])
        done = self.morph("diff", "out", "second", cwd=self.root)
        self.assertRegex(done.stdout, r"kept layers +2 \(gates\) +1 \(gates\)\n")
        self.assertRegex(done.stdout, r"needle +64 +selected +selection +generated +0\.750 \[.*\] +1\.000 \[.*\] +\+0\.250 \[")
        self.assertRegex(done.stdout, r"text +32 +selected +selection +perplexity +2\.72 .* 1\.65 .* -0\.500 \[")
        self.assertRegex(done.stdout, r"uniform +selection +perplexity +7\.39 \[4\.48 12\.18\] +- +-\n")

    def test_diff_pairs_no_other_samples(self):
        self.morph("run", self.spec, "--out", self.out)
        self.morph("run", self.spec, "--out", self.root / "second", "--set", "data.separator=\"---\"")
        report = json.loads(self.morph("diff", self.out, self.root / "second", "--json").stdout)
        self.assertFalse(report["same_samples"])

    def test_diff_of_what_is_no_run(self):
        self.morph("run", self.spec, "--out", self.out)
        done = self.morph("diff", self.out, self.root, expect=2)
        self.assertIn(f"{self.root} is not a run directory", done.stderr)
        self.assertIn("hint: 'morph run SPEC --out DIR' makes one", done.stderr)
        self.morph("diff", self.out, expect=2)

    def test_export_does_not_take_what_is_of_other_inputs(self):
        self.morph("run", self.spec, "--out", self.out)
        self.write_spec(align__steps=3)
        self.morph("run", self.spec, "--out", self.out, "--update", expect=1, BROKEN="select", CODE="1")
        done = self.morph("export", self.out, expect=2)
        self.assertIn("stage 'select' of", done.stderr)
        self.assertIn("is not made yet", done.stderr)
        self.assertEqual([call for call in self.calls if call.startswith("python")], [])
        self.morph("run", self.spec, "--out", self.out)
        self.morph("export", self.out)
        self.touch("bin/morph-run")
        done = self.morph("export", self.out, expect=2)
        self.assertIn("stage 'align' of", done.stderr)
        self.assertIn("was made from other inputs: program morph-run", done.stderr)

    def test_export_before_the_selection(self):
        self.morph("run", self.spec, "--out", self.out, expect=1, BROKEN="align", CODE="1")
        self.assertIn("stage 'align' of", self.morph("export", self.out, expect=2).stderr)

    def test_export_again_from_a_new_selection(self):
        self.morph("run", self.spec, "--out", self.out)
        self.write_spec(select__steps=3)
        self.morph("select", self.spec, "--out", self.out, "--update")
        self.morph("export", self.out)
        writer = [call for call in self.calls if "morph_export.py" in call]
        self.assertEqual(len(writer), 1, "the hybrid was of the selection before")

    def test_export_copies_what_is_the_hybrids(self):
        self.morph("run", self.spec, "--out", self.out)
        taken, empty, new = (self.root / "copies" / name for name in ("taken", "empty", "new"))
        for folder in (taken, empty):
            folder.mkdir(parents=True)
        (taken / "letter.txt").write_text("dear")
        # What cannot be made is said before anything is.
        shutil.rmtree(self.out / "hybrid")
        for target in (taken, taken / "letter.txt"):
            done = self.morph("export", self.out, "--to", target, expect=2)
            self.assertIn(f"{target} exists already", done.stderr)
            self.assertEqual(self.calls, [])
            self.assertFalse((self.out / "hybrid").exists())
        for target in (empty, new):
            done = self.morph("export", self.out, "--to", target)
            self.assertEqual(done.stdout, f"The hybrid: {target}\n")
            self.assertEqual(sorted(path.name for path in target.iterdir()), ["conversion_manifest.json", "model.safetensors"])
            self.assertEqual(stat.S_IMODE(target.stat().st_mode) & 0o555, 0o555)
        self.assertEqual(sorted(path.name for path in new.parent.iterdir()), ["empty", "new", "taken"])

    def test_a_finished_run_stays_one_when_its_hybrid_is_made_again(self):
        self.morph("run", self.spec, "--out", self.out)
        before = json.loads((self.out / "summary.json").read_text())
        (self.out / "hybrid/conversion_manifest.json").unlink()
        self.morph("export", self.out)
        self.assertTrue(any("morph_export.py" in call for call in self.calls))
        self.assertEqual(json.loads((self.out / "summary.json").read_text()), before)

    def test_select_shows_nothing_of_another_selection(self):
        self.morph("run", self.spec, "--out", self.out)
        done = self.morph("select", self.spec, "--out", self.out)
        self.assertIn("0.750", done.stdout, "the evaluation is of this selection")
        self.assertIn(f"The hybrid: {self.out}/hybrid", done.stdout)
        inside = self.morph("run", self.spec, "--out", self.out, cwd=self.out.parent)
        self.assertIn(f"The hybrid: {self.out.name}/hybrid", inside.stdout)
        # The teacher and the baseline, which depend on no selection, stay; what the selection made goes.
        self.write_spec(select__steps=3)
        summary = json.loads(self.morph("select", self.spec, "--out", self.out, "--update", "--json").stdout)
        self.assertEqual(summary["selection"]["kept"], [3])
        self.assertEqual(json.loads((self.out / "selection.json").read_text())["kept"], [3])
        self.assertNotIn("hybrid", summary)
        self.write_spec(select__steps=3, align__steps=3)
        done = self.morph("select", self.spec, "--out", self.out, "--update")
        self.assertNotIn("uniform", done.stdout)
        rows = json.loads((self.out / "evaluation.json").read_text())
        self.assertEqual({row["model"] for row in rows}, {"teacher"})

    def test_doctor_says_what_packages_are_for(self):
        packages = self.root / "packages"
        for name in ("torch", "transformers", "tokenizers", "safetensors", "numpy", "uvicorn"):
            place = packages / f"{name}-1.2.dist-info"
            place.mkdir(parents=True)
            (place / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
        (self.root / "env/bin/python3").write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')

        def find():
            done = self.morph("doctor", "--json", expect=1, PYTHONPATH=str(packages))  # There is no LibTorch.
            return {finding["name"]: finding for finding in json.loads(done.stdout)}

        found = find()
        self.assertTrue(found["Python environment"]["found"], found)
        self.assertIn("(torch 1.2, transformers 1.2,", found["Python environment"]["detail"])
        self.assertEqual(found["uvicorn"], {"name": "uvicorn", "found": True, "needed": False, "detail": "1.2, for morph serve"})
        for name, use in (("starlette", "morph serve"), ("jinja2", "chats"), ("matplotlib", "pages of reports"),
                          ("pyarrow", "parquet"), ("zstandard", "zstd")):
            self.assertEqual((found[name]["found"], found[name]["needed"]), (False, False))
            self.assertRegex(found[name]["detail"], f"^not there; not needed but for .*{use}")
        text = self.morph("doctor", expect=1, PYTHONPATH=str(packages)).stdout
        self.assertRegex(text, r"\n  -    pyarrow +not there; not needed but for texts in parquet")
        shutil.rmtree(packages / "numpy-1.2.dist-info")
        found = find()
        self.assertFalse(found["Python environment"]["found"])
        self.assertIn("safetensors 1.2, no numpy); run tools/setup", found["Python environment"]["detail"])

    def test_usage(self):
        for arguments, words in {
            ("frobnicate",): "there is no command 'frobnicate'",
            (): "A subcommand is required",
            ("run",): "SPEC is required",
            ("run", "a", "--frob"): "--frob",
            ("eval", ".", "--tokens", "t", "--length", "1"): "--length",
            ("eval", "nowhere", "--tokens", "t", "--length", "8"): "no such model folder: nowhere",
            ("generate", "nowhere", "--prompt", "a"): "no such model folder: nowhere",
            ("export", "nowhere"): "is not a run directory",
        }.items():
            with self.subTest(arguments=arguments):
                self.assertIn(words, self.morph(*arguments, expect=2).stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
