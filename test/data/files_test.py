# SPDX-License-Identifier: Apache-2.0
"""What all scripts share of files and folders (tools/python/data/files.py): which of a model's files have its weights, names that tell
folders apart, what is refused before anything is computed."""

import json
import os
import pathlib
import sys
import tempfile
import unittest

SOURCE = pathlib.Path(os.environ.get("MORPH_SOURCE_DIR", pathlib.Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(SOURCE / "tools/python"))
from data.files import (  # noqa: E402  pylint: disable=wrong-import-position
    InputError, check_writable, distinct_names, model_folder, weight_files)


class FilesTest(unittest.TestCase):
    def setUp(self):
        place = tempfile.TemporaryDirectory()
        self.addCleanup(place.cleanup)
        self.root = pathlib.Path(place.name)

    def folder(self, *names, weight_map=None):
        """A new folder with empty files of these names, and an index."""
        folder = pathlib.Path(tempfile.mkdtemp(dir=self.root))
        for name in names:
            (folder / name).touch()
        if weight_map is not None:
            (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
        return folder

    def refused(self, words, function, *arguments):
        with self.assertRaises(InputError) as caught:
            function(*arguments)
        self.assertIn(words, str(caught.exception))
        return caught.exception.hint

    def test_weight_files(self):
        shards = {"a": "model-00002-of-00002.safetensors", "b": "model-00001-of-00002.safetensors",
                  "c": "model-00002-of-00002.safetensors"}
        for names, weight_map, expected in (
                (("model.safetensors", "consolidated.safetensors"), None, ["model.safetensors"]),
                # As for the runtime and the importer, one file goes before an index.
                (("model.safetensors", *set(shards.values())), shards, ["model.safetensors"]),
                (("model-00003-of-00003.safetensors", *set(shards.values())), shards, sorted(set(shards.values())))):
            folder = self.folder(*names, weight_map=weight_map)
            self.assertEqual(weight_files(folder), [folder / name for name in expected])

    def test_folders_without_weights(self):
        self.assertIn("save_pretrained", self.refused("there is neither 'model.safetensors' nor", weight_files,
                                                      self.folder("consolidated.safetensors", "pytorch_model.bin")))
        for weight_map in ({}, [], 3):
            self.refused("'weight_map' must be an object", weight_files, self.folder(weight_map=weight_map))
        for name in ("../x.safetensors", "/x.safetensors", "..", "", "x.bin", 3, None, "x\0.safetensors"):
            self.refused("gives no file of its own folder for the tensor 't'", weight_files, self.folder(weight_map={"t": name}))
        self.assertIn("copied", self.refused("names 'x.safetensors', which is not there", weight_files,
                                             self.folder(weight_map={"t": "x.safetensors"})))
        folder = self.folder(weight_map={})
        (folder / "model.safetensors.index.json").write_text("{")
        self.refused("is no JSON", weight_files, folder)

    def test_names_tell_folders_apart(self):
        for folders, least, names in (
                (("a/x/hybrid",), 1, ["hybrid"]), (("a/x/hybrid",), 2, ["x/hybrid"]),
                (("a/x/hybrid", "a/y/model"), 1, ["hybrid", "model"]),
                (("x/seed-0/hybrid", "y/seed-0/hybrid"), 2, ["x/seed-0/hybrid", "y/seed-0/hybrid"]),
                (("a/b\nc", "a/d"), 1, ["b\\nc", "d"])):
            self.assertEqual(distinct_names([self.root / folder for folder in folders], least), names)
        # A folder above another.
        self.assertEqual(distinct_names(["/", "/run"]), ["/", "run"])

    def test_files_that_cannot_be_written(self):
        check_writable(self.root / "new/file", "--out")
        self.assertEqual(list((self.root / "new").iterdir()), [])
        (self.root / "file").touch()
        check_writable(self.root / "file", "--out")
        hint = self.refused(f"--out: '{self.root}/file/below' cannot be written: ", check_writable, self.root / "file/below", "--out")
        self.assertIn("folder", hint)
        self.refused("cannot be written: Is a directory", check_writable, self.root, "--out")

    def test_model_folders(self):
        self.assertIn("hybrid/", self.refused("is no model folder: it has no config.json", model_folder, self.root / "none"))
        self.refused("has no tokenizer.json", model_folder, self.folder("config.json"))
        folder = self.folder("config.json", "tokenizer.json")
        self.assertEqual(model_folder(str(folder)), folder)


if __name__ == "__main__":
    unittest.main()
