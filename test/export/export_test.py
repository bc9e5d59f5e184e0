# SPDX-License-Identifier: Apache-2.0
"""The exporter by itself: a base made with transformers, a plan that names the hybrid's weights, and the folder that
comes out loaded in stock transformers. (The comparison with the runtime is in the tests of whole runs.)"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

import torch
import transformers
from safetensors.torch import load_file, save_file

SOURCE = pathlib.Path(os.environ.get("MORPH_SOURCE_DIR", pathlib.Path(__file__).resolve().parents[2]))
transformers.utils.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()
torch.set_num_threads(1)

LAYERS, HIDDEN, HEADS, KV_HEADS, HEAD_DIM = 3, 32, 4, 2, 8
KEPT = [1]
ROTARY = [1e4 ** (-2 * i / HEAD_DIM) for i in range(HEAD_DIM // 2)]
# What the compiler writes, as far as the exporter looks at it: a mixer that has the weights of lightning attention.
CLASSES = '''class MorphLightning(MorphMixer):
    """linear attention with a fixed decay a head"""

    def __init__(self, config):
        super().__init__(config)
        rows = self._heads * self._head_dim
        self.q_proj, self.k_proj, self.v_proj, self.g_proj = (nn.Linear(self._hidden, rows, bias=False) for _ in range(4))
        self.o_proj = nn.Linear(rows, self._hidden, bias=False)
        self.o_norm = MorphRMSNorm(self._head_dim, 1e-6)
        self.decay = nn.Parameter(torch.zeros(self._heads), requires_grad=False)

    def forward(self, x, cache, rope, mask):
        q, k, v = (wide(project(x).unflatten(-1, (self._heads, -1))) for project in (self.q_proj, self.k_proj, self.v_proj))
        o = recurrence(cache, "state", q, k, v, mask, x.dtype, decay=wide(self.decay), chunk=16)
        return self.o_proj((self.o_norm(o).flatten(-2) * F.silu(wide(self.g_proj(x)))).to(x.dtype))


DECLARED = {"MorphLightning": MorphLightning}
'''
LINEAR = {"kind": "lightning", "class": "MorphLightning", "weights": "linear_attn", "options": {"chunk": 16},
          "rope": "rope"}
AROUND = {"activation": "silu", "head_dim": HEAD_DIM, "rms_norm_eps": 1e-6, "qk_norm_eps": None, "qk_norm_wide": False,
          "qk_norm_offset": 0.0, "attention_scale": HEAD_DIM ** -0.5, "attention_softcap": None,
          "norms": ["input_layernorm", "post_attention_layernorm"], "norm_offset": 0.0, "embedding_scale": 1.0,
          "logit_softcap": None, "ropes": {"rope": {"inverse_frequencies": ROTARY, "attention_factor": 1.0}},
          "experts": None}
MIXERS = {"layers": [LINEAR, {"kind": "full", "weights": "self_attn", "window": None, "rope": "rope"}, LINEAR],
          "model": AROUND, "classes": CLASSES,
          "states": {"MorphLightning": {"state": "[batch, heads 4, key 8, value 8] in fp32"}},
          "declarations": {"lightning": "morph.mixer @lightning ..."}, "module": "module {}\n"}


class ExportTest(unittest.TestCase):
    def setUp(self):
        self.holder = tempfile.TemporaryDirectory()
        self.root = pathlib.Path(self.holder.name)
        torch.manual_seed(0)
        self.base = transformers.LlamaForCausalLM(transformers.LlamaConfig(
            vocab_size=64, hidden_size=HIDDEN, intermediate_size=48, num_hidden_layers=LAYERS,
            num_attention_heads=HEADS, num_key_value_heads=KV_HEADS, head_dim=HEAD_DIM, tie_word_embeddings=True,
            pad_token_id=0, initializer_range=0.2))
        self.base.save_pretrained(self.root / "base")

    def tearDown(self):
        self.holder.cleanup()

    def plan(self):
        """A decode plan's weights: all of the base but the attention of linear layers, and theirs."""
        weights = []
        for name, tensor in self.base.named_parameters():
            layer = int(name.split(".")[2]) if ".layers." in name else -1
            if layer < 0 or layer in KEPT or "self_attn" not in name:
                weights.append({"name": name, "shape": list(tensor.shape), "dtype": "f32", "value": 0})
        rows = HEADS * HEAD_DIM
        for layer in set(range(LAYERS)) - set(KEPT):
            source = f"model.layers.{layer}.self_attn."
            repeat = {"kind": "repeat_heads", "heads": KV_HEADS, "times": HEADS // KV_HEADS}
            branch = {
                "q_proj.weight": ([rows, HIDDEN], {"kind": "copy", "source": source + "q_proj.weight"}),
                "k_proj.weight": ([rows, HIDDEN], repeat | {"source": source + "k_proj.weight"}),
                "v_proj.weight": ([rows, HIDDEN], repeat | {"source": source + "v_proj.weight"}),
                "o_proj.weight": ([HIDDEN, rows], {"kind": "copy", "source": source + "o_proj.weight"}),
                "g_proj.weight": ([rows, HIDDEN], {"kind": "normal", "value": 0.02}),
                "o_norm.weight": ([HEAD_DIM], {"kind": "constant", "value": 1.0}),
                "decay": ([HEADS], {"kind": "values", "values": [-0.5, -0.25, -0.125, -0.0625]}),
            }
            weights += [{"name": f"model.layers.{layer}.linear_attn.{name}", "shape": shape, "dtype": "f32",
                         "init": init, "value": 0} for name, (shape, init) in branch.items()]
        return {"format": "morph-plan", "version": 1, "weights": weights}

    def export(self, branches, selection=None):
        """Runs the exporter; its exit status and words."""
        for name, value in {"mixers": MIXERS,
                            "selection": selection or {"version": 1, "method": "gates", "layers": LAYERS, "budget": 1,
                                                       "kept": KEPT, "scores": [0.1, 0.9, 0.2]},
                            "plan": self.plan()}.items():
            (self.root / f"{name}.json").write_text(json.dumps(value))
        (self.root / "align").mkdir()
        save_file(branches, self.root / "align/branches.safetensors")
        command = [sys.executable, SOURCE / "tools/python/export/morph_export.py", "--out", self.root / "hybrid",
                   "--run", self.root, "--weights", self.root / "align/branches.safetensors"]
        for name in ("mixers", "selection", "plan"):
            command += [f"--{name}", self.root / f"{name}.json"]
        done = subprocess.run([*map(str, command), "--base", str(self.root / "base")], capture_output=True, text=True)
        return done.returncode, done.stderr

    def branches(self):
        return {f"model.layers.{layer}.linear_attn.g_proj.weight": torch.randn(HEADS * HEAD_DIM, HIDDEN) * 0.1
                for layer in set(range(LAYERS)) - set(KEPT)}

    def test_folder_loads_and_generates(self):
        status, words = self.export(self.branches())
        self.assertEqual(status, 0, words)
        model = transformers.AutoModelForCausalLM.from_pretrained(self.root / "hybrid", trust_remote_code=True)
        self.assertEqual(model.config.layer_types, ["linear_attention", "full_attention", "linear_attention"])
        self.assertEqual(type(model).__name__, "MorphForCausalLM")
        ids = torch.randint(1, 64, (1, 20))
        self.assertEqual(model.generate(ids, max_new_tokens=4, do_sample=False).shape, (1, 24))
        # keys were repeated from grouped heads, the constant decays came from the plan
        branch = model.model.layers[0].linear_attn
        source = self.base.model.layers[0].self_attn.k_proj.weight
        torch.testing.assert_close(branch.k_proj.weight[:HEAD_DIM], source[:HEAD_DIM])
        torch.testing.assert_close(branch.k_proj.weight[HEAD_DIM:2 * HEAD_DIM], source[:HEAD_DIM])
        self.assertEqual(branch.decay.tolist(), [-0.5, -0.25, -0.125, -0.0625])
        half = transformers.AutoModelForCausalLM.from_pretrained(self.root / "hybrid", trust_remote_code=True,
                                                                 dtype=torch.bfloat16)
        # bf16 leaves exactly the vectors of linear layers alone
        wide = {name for name, parameter in half.named_parameters() if parameter.dtype == torch.float32}
        self.assertEqual(wide, {f"model.layers.{layer}.linear_attn.{name}" for layer in (0, 2)
                                for name in ("decay", "o_norm.weight")})
        self.assertTrue(half(ids).logits.isfinite().all())

    def test_manifest(self):
        self.assertEqual(self.export(self.branches())[0], 0)
        manifest = json.loads((self.root / "hybrid/conversion_manifest.json").read_text())
        self.assertEqual(manifest["selection"]["kept"], KEPT)
        self.assertEqual(len(manifest["source"]["sha256"]["model.safetensors"]), 64)
        self.assertEqual(list(manifest["trained_weights"]), ["align/branches.safetensors"])
        self.assertEqual(set(manifest["state_layout"]), {"full", "MorphLightning"})
        self.assertEqual(manifest["declarations"], MIXERS["declarations"])
        self.assertEqual((self.root / "hybrid/mixers.mlir").read_text(), MIXERS["module"])
        config = json.loads((self.root / "hybrid/config.json").read_text())
        self.assertEqual(config["morph"]["mixers"], MIXERS["layers"])
        self.assertIsNone(manifest["check"])

    def test_other_files_are_not_the_base_s(self):
        """Mistral's folders hold all weights twice, the second time by other names; a stopped copy leaves old ones."""
        save_file({"layers.0.attention.wq.weight": torch.zeros(2)}, self.root / "base/consolidated.safetensors")
        save_file({name: torch.zeros_like(tensor.data) for name, tensor in self.base.named_parameters()},
                  self.root / "base/zzz.safetensors")
        status, words = self.export(self.branches())
        self.assertEqual(status, 0, words)
        self.assert_is_the_base_s()
        manifest = json.loads((self.root / "hybrid/conversion_manifest.json").read_text())
        self.assertEqual(set(manifest["source"]["sha256"]), {"config.json", "model.safetensors"})

    def test_shards(self):
        (self.root / "base/model.safetensors").unlink()
        self.base.save_pretrained(self.root / "base", max_shard_size="16KB")
        shards = set(json.loads((self.root / "base/model.safetensors.index.json").read_text())["weight_map"].values())
        self.assertGreater(len(shards), 1)
        save_file({"model.norm.weight": torch.zeros(HIDDEN)}, self.root / "base/zzz.safetensors")
        status, words = self.export(self.branches())
        self.assertEqual(status, 0, words)
        self.assert_is_the_base_s()
        manifest = json.loads((self.root / "hybrid/conversion_manifest.json").read_text())
        self.assertEqual(set(manifest["source"]["sha256"]), {"config.json", *shards})

    def assert_is_the_base_s(self):
        """What the export has of the base has its values."""
        weights, base = load_file(self.root / "hybrid/model.safetensors"), dict(self.base.named_parameters())
        same = [name for name in weights if name in base]
        self.assertGreater(len(same), 10)
        for name in same:
            self.assertTrue(torch.equal(weights[name], base[name]), name)

    def test_a_base_without_weights_is_refused(self):
        (self.root / "base/model.safetensors").rename(self.root / "base/consolidated.safetensors")
        status, words = self.export(self.branches())
        self.assertEqual(status, 2, words)
        self.assertIn("holds no weights: there is neither 'model.safetensors' nor", words)
        self.assertIn("morph_export: hint: ", words)

    def test_untrained_weight_is_refused(self):
        status, words = self.export({})
        self.assertEqual(status, 1)
        self.assertIn("linear_attn.g_proj.weight was never trained", words)

    def test_nan_is_refused(self):
        branches = self.branches()
        next(iter(branches.values()))[0, 0] = float("nan")
        status, words = self.export(branches)
        self.assertEqual(status, 1)
        self.assertIn("not finite", words)

    def test_wrong_shape_is_refused(self):
        branches = {name: tensor[:-1].contiguous() for name, tensor in self.branches().items()}
        status, words = self.export(branches)
        self.assertEqual(status, 1)
        self.assertIn("has shape [31, 32], expected [32, 32]", words)


if __name__ == "__main__":
    unittest.main(verbosity=2)
