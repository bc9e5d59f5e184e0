# SPDX-License-Identifier: Apache-2.0
"""Exports that classes of stock transformers load: each target on a small random model whose norms and filters are not
those that they start from, beside the same hybrid with code of its own. (The comparison with the runtime is in
test/e2e/native_test.py.)"""

import contextlib
import io
import json
import pathlib
import tempfile
import types
import unittest

import torch
import transformers
from hybrids import SOURCE, compile_hybrid, compile_mixers, morph_export, run
from safetensors import safe_open
from safetensors.torch import load_file, save_file

transformers.utils.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()
torch.set_num_threads(1)

SIZES = dict(vocab_size=96, hidden_size=32, intermediate_size=48, num_hidden_layers=4, num_attention_heads=4,
             num_key_value_heads=2, head_dim=8, max_position_embeddings=256, initializer_range=0.1, pad_token_id=0)
CLASSES = {"llama": transformers.LlamaForCausalLM, "mistral": transformers.MistralForCausalLM,
           "qwen2": transformers.Qwen2ForCausalLM, "qwen3": transformers.Qwen3ForCausalLM,
           "qwen3_moe": transformers.Qwen3MoeForCausalLM}
EXPERTS = dict(num_experts=6, num_experts_per_tok=3, moe_intermediate_size=20, norm_topk_prob=True)
LENGTH, SPLIT, PADDING = 90, 70, 17


class NativeTest(unittest.TestCase):
    def setUp(self):
        self.holder = tempfile.TemporaryDirectory()
        self.root = pathlib.Path(self.holder.name)

    def tearDown(self):
        self.holder.cleanup()

    def make(self, family, stack, dtype=torch.float32, declaration=None, **config):
        """A base, its hybrid's IR, plan and branches, all weights random."""
        torch.manual_seed(0)
        cls = CLASSES[family]
        base = cls(cls.config_class(**(SIZES | config))).to(dtype)
        with torch.no_grad():
            for name, parameter in base.named_parameters():
                if parameter.dim() == 1:
                    parameter.copy_(torch.rand_like(parameter) + (0.5 if "norm" in name else -0.5))
        base.save_pretrained(self.root / "base")
        compile_hybrid(self.root / "base", self.root, stack, declaration)
        run("morph-translate", "--emit-plan", self.root / "hybrid.mlir", "--program=decode", "-o", self.root / "plan.json")
        own = {}
        for weight in json.loads((self.root / "plan.json").read_text())["weights"]:
            name, shape = weight["name"], weight["shape"]
            if "layers" in name and not any(part in name for part in ("mlp", "layernorm", "self_attn")):
                if not weight.get("frozen"):
                    own[name] = torch.rand(shape) * 0.8 + 0.3 if len(shape) == 1 else torch.randn(shape) * 0.15
        self.branches(own)

    def branches(self, tensors):
        save_file(tensors, self.root / "branches.safetensors")

    def export(self, form, out, fails=False):
        # In this process: a program of its own would load transformers for each of the exports.
        said, error = io.StringIO(), ""
        with contextlib.redirect_stderr(said):
            try:
                morph_export.export(types.SimpleNamespace(
                    base=self.root / "base", config=None, run=self.root, weights=[self.root / "branches.safetensors"],
                    format=form, out=self.root / out,
                    **{name: self.root / f"{name}.json" for name in ("mixers", "selection", "plan")}))
            except morph_export.ExportError as wrong:
                error = str(wrong)
        self.assertEqual(bool(error), fails, said.getvalue() + error)
        return said.getvalue() + error

    def load(self, out, remote):
        model, report = transformers.AutoModelForCausalLM.from_pretrained(
            self.root / out, trust_remote_code=remote, output_loading_info=True)
        self.assertFalse(any(report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys")), report)
        return model.eval().float()

    @torch.no_grad()
    def compute(self, model):
        """Log-probabilities: whole, after a prefill, and of a batch with a row that is padded on the left."""
        tokens = torch.randint(1, SIZES["vocab_size"], (2, LENGTH), generator=torch.Generator().manual_seed(1))
        found = {"whole": model(tokens).logits}
        output, rows = model(tokens[:, :SPLIT], use_cache=True), []
        rows.append(output.logits[:, -1])
        for t in range(SPLIT, LENGTH):
            output = model(tokens[:, t:t + 1], past_key_values=output.past_key_values, use_cache=True)
            rows.append(output.logits[:, -1])
        found["decode"] = torch.stack(rows, 1)
        mask = torch.ones(2, LENGTH, dtype=torch.long)
        mask[0, :PADDING] = 0
        positions = (mask.cumsum(-1) - 1).clamp(min=0)
        found["padded"] = model(tokens, attention_mask=mask, position_ids=positions).logits[:, PADDING:]
        return {way: logits.log_softmax(-1) for way, logits in found.items()}

    def check(self, architecture):
        """Both exports of what was made compute the same; the native one's config."""
        self.assertIn(architecture, self.export("auto", "native"))
        self.export("remote", "remote")
        native, remote = self.compute(self.load("native", False)), self.compute(self.load("remote", True))
        for way, expected in remote.items():
            self.assertLess((native[way] - expected).abs().max().item(), 1e-4, way)
        self.assertFalse(list((self.root / "native").glob("*.py")))
        manifest = json.loads((self.root / "native/conversion_manifest.json").read_text())
        self.assertEqual((manifest["export"]["format"], manifest["export"]["class"]), ("native", architecture))
        self.assertEqual([entry["engine"] for entry in manifest["export"]["engines"]], ["vLLM", "SGLang", "llama.cpp", "TensorRT-LLM"])
        config = json.loads((self.root / "native/config.json").read_text())
        self.assertEqual(config["architectures"], [architecture])
        return config

    def test_qwen3_5(self):
        gdn = "gated_deltanet(base_norm=false,conv=3)"
        self.make("qwen3", [gdn, "full", gdn, gdn], tie_word_embeddings=True, rope_parameters={
            "rope_type": "linear", "rope_theta": 5000.0, "factor": 2.0})
        config = self.check("Qwen3_5ForCausalLM")
        self.assertEqual(config["layer_types"][:2], ["linear_attention", "full_attention"])
        self.assertEqual(config["dtype"], "float32")

    def test_qwen3_5_without_convolution(self):
        gdn = "gated_deltanet(base_norm=false)"
        self.make("qwen3", ["full", gdn, gdn, "full"], tie_word_embeddings=False)
        self.check("Qwen3_5ForCausalLM")

    def test_qwen3_5_of_bf16(self):
        gdn = "gated_deltanet(base_norm=false,conv=4)"
        self.make("qwen3", [gdn, "full", gdn, "full"], torch.bfloat16)
        config = self.check("Qwen3_5ForCausalLM")
        # Vectors keep their digits: bf16 matrices beside them, loaded in fp32.
        self.assertEqual(config["dtype"], "float32")
        with safe_open(self.root / "native/model.safetensors", framework="pt") as file:
            self.assertEqual(file.get_slice("model.layers.0.linear_attn.out_proj.weight").get_dtype(), "BF16")
            self.assertEqual(file.get_slice("model.layers.0.linear_attn.A_log").get_dtype(), "F32")

    def test_qwen3_5_moe(self):
        gdn = "gated_deltanet(base_norm=false,conv=3)"
        self.make("qwen3_moe", [gdn, "full", gdn, "full"], **EXPERTS)
        config = self.check("Qwen3_5MoeForCausalLM")
        self.assertEqual(config["layer_types"], ["linear_attention", "full_attention"] * 2)
        self.assertEqual((config["num_experts"], config["num_experts_per_tok"], config["moe_intermediate_size"]), (6, 3, 20))
        weights = load_file(self.root / "native/model.safetensors")
        base = load_file(self.root / "base/model.safetensors")
        # Stacked as in the published checkpoints: the gate's rows first.
        for expert in (0, 5):
            for part, rows in (("gate_proj", slice(0, 20)), ("up_proj", slice(20, 40))):
                self.assertTrue(torch.equal(weights["model.layers.2.mlp.experts.gate_up_proj"][expert, rows],
                                            base[f"model.layers.2.mlp.experts.{expert}.{part}.weight"]))
        for name, tensor in weights.items():
            self.assertEqual("shared_expert" in name, not tensor.any(), name)
        # generate(), through the class's own cache, gives the greedy tokens that follow from whole sequences.
        model, tokens = self.load("native", False), torch.arange(1, 9)[None]
        generated = model.generate(tokens, attention_mask=torch.ones_like(tokens), max_new_tokens=12, do_sample=False,
                                   eos_token_id=-1)
        with torch.no_grad():
            greedy = model(generated[:, :-1], use_cache=False).logits.argmax(-1)
        self.assertEqual(generated[0, 8:].tolist(), greedy[0, 7:].tolist())
        self.assertEqual(generated.shape[1], 20)

    def test_qwen3_30b_a3b(self):
        """The paper's largest base, of which there is config.json alone: stock transformers takes the hybrid's, and has a
        place for every expert."""
        base = json.loads((SOURCE / "specs/models/qwen3-30b-a3b/config.json").read_text())
        mixers = compile_mixers(base, (["gated_deltanet(base_norm=false)"] * 3 + ["full"]) * 12)
        hybrid = morph_export.Hybrid(base, [mixers])
        target, _ = morph_export.choose(hybrid)
        self.assertEqual(target.name(hybrid), "Qwen3_5MoeForCausalLM")
        shapes = morph_export.expected_weights(target.config(hybrid))
        for layer in range(48):
            mlp = f"model.layers.{layer}.mlp."
            self.assertEqual(shapes[f"{mlp}experts.gate_up_proj"], [128, 2 * 768, 2048])
            self.assertEqual(shapes[f"{mlp}experts.down_proj"], [128, 2048, 768])
            self.assertEqual(f"model.layers.{layer}.self_attn.q_proj.weight" in shapes, layer % 4 == 3)
        self.assertEqual(shapes["model.layers.0.linear_attn.in_proj_qkv.weight"], [3 * 32 * 128, 2048])

    def test_qwen3_5_moe_of_bf16(self):
        gdn = "gated_deltanet(base_norm=false)"
        self.make("qwen3_moe", [gdn, gdn, gdn, "full"], torch.bfloat16, tie_word_embeddings=True, **EXPERTS)
        self.check("Qwen3_5MoeForCausalLM")
        with safe_open(self.root / "native/model.safetensors", framework="pt") as file:
            for name in ("experts.down_proj", "gate.weight", "shared_expert.up_proj.weight"):
                self.assertEqual(file.get_slice(f"model.layers.0.mlp.{name}").get_dtype(), "BF16", name)

    def test_qwen3_moe_of_full_attention(self):
        # Whatever of experts its own class has.
        self.make("qwen3_moe", ["full"] * 4, mlp_only_layers=[1], attention_bias=True,
                  **EXPERTS | dict(norm_topk_prob=False))
        config = self.check("Qwen3MoeForCausalLM")
        self.assertEqual((config["mlp_only_layers"], config["norm_topk_prob"]), ([1], False))
        # One by one, as in the published checkpoints.
        weights, base = (load_file(self.root / folder / "model.safetensors") for folder in ("native", "base"))
        self.assertEqual(weights.keys(), base.keys())
        for name, tensor in base.items():
            self.assertTrue(torch.equal(weights[name], tensor), name)

    def test_windows_of_experts(self):
        window = "sliding_window(window=24)"
        self.make("qwen3_moe", [window, "full", window, "full"], mlp_only_layers=[2], rope_parameters={
            "rope_type": "yarn", "rope_theta": 5000.0, "factor": 2.0, "original_max_position_embeddings": 64},
            **EXPERTS | dict(norm_topk_prob=False))
        config = self.check("MellumForCausalLM")
        self.assertEqual(config["layer_types"], ["sliding_attention", "full_attention"] * 2)
        self.assertEqual(config["mlp_layer_types"], ["sparse", "sparse", "dense", "sparse"])
        self.assertEqual(config["sliding_window"], 24)
        # The base's own window, which is smaller, is that of all layers.
        self.make("qwen3_moe", [window, "full", window, window], use_sliding_window=True, sliding_window=20, **EXPERTS)
        self.assertEqual(self.check("MellumForCausalLM")["sliding_window"], 20)

    def test_granite(self):
        mamba = "mamba2(per_head=true)"
        self.make("llama", [mamba, "full", mamba, mamba], rms_norm_eps=1e-5)
        config = self.check("GraniteMoeHybridForCausalLM")
        self.assertEqual(config["layer_types"], ["mamba", "attention", "mamba", "mamba"])

    def test_granite_wider_than_hidden(self):
        mamba = "mamba2(per_head=true,conv=0)"
        self.make("mistral", [mamba, "full", mamba, "full"], head_dim=16, sliding_window=None, tie_word_embeddings=True)
        self.assertEqual(self.check("GraniteMoeHybridForCausalLM")["mamba_expand"], 2)

    def test_windows(self):
        window = "sliding_window(window=24)"
        for family, architecture in (("llama", "CwmForCausalLM"), ("qwen2", "Qwen2ForCausalLM"),
                                     ("qwen3", "Qwen3ForCausalLM")):
            with self.subTest(family):
                self.make(family, [window, "full", window, "full"])
                config = self.check(architecture)
                self.assertEqual(config["layer_types"], ["sliding_attention", "full_attention"] * 2)
                self.assertEqual(config["sliding_window"], 24)

    def test_windows_of_the_base(self):
        # The base's own window, which is smaller, is that of all layers.
        window = "sliding_window(window=24)"
        self.make("mistral", [window, "full", window, window], sliding_window=20)
        self.assertEqual(self.check("CwmForCausalLM")["sliding_window"], 20)

    def test_prevented(self):
        own = """mixer gated_deltanet(conv: 0..4 = 0, base_norm: bool = false) {
  doc "not Morph's"
  if base_norm or conv > 0 {
    v = base_v(x)
  } else {
    v = base_v(x) * 2
  }
  return base_o(merge(recurrence(base_q(x, norm = 0), base_k(x, norm = 0), v)))
}
"""
        cases = [
            ("llama", ["gated_deltanet"] * 3 + ["full"], {}, None, "has a norm on each head's queries and keys, which a llama"),
            ("qwen3", ["gated_deltanet"] * 3 + ["full"], {}, None, "gated_deltanet(base_norm = false) leaves them out"),
            ("qwen3", ["gated_deltanet(base_norm=false)"] * 3 + ["full"], {"attention_bias": True}, None, "have biases"),
            ("qwen3", ["gated_deltanet"] * 3 + ["full"], {}, own, "is not Morph's own"),
            ("qwen3", ["gated_deltanet(base_norm=false)", "kda", "full", "full"], {}, None, "the hybrid has kda"),
            ("qwen3", ["mamba2(per_head=true)"] * 3 + ["full"], {}, None, "no norms of queries and keys, which a qwen3 has"),
            ("llama", ["mamba2"] * 3 + ["full"], {}, None, "mamba2(per_head = true) has the former"),
            ("llama", ["mamba2(per_head=true)"] * 3 + ["full"], {"head_dim": 12}, None, "the base's heads are 48"),
            ("qwen2", ["mamba2(per_head=true)"] * 3 + ["full"], {}, None, "have biases"),
            ("llama", ["kda"] * 3 + ["full"], {}, None, "has kda"),
            ("mistral", ["sliding_window(window=24)"] * 3 + ["full"], {"sliding_window": 40}, None,
             "windows of 24 and 40 positions"),
            ("qwen3_moe", ["gated_deltanet(base_norm=false)"] * 3 + ["full"], EXPERTS | {"norm_topk_prob": False}, None,
             "the base does not (norm_topk_prob is false)"),
            ("qwen3_moe", ["gated_deltanet(base_norm=false)"] * 3 + ["full"], EXPERTS | {"mlp_only_layers": [3]}, None,
             "the base has one MLP in layer 3 ("),
            ("qwen3_moe", ["gated_deltanet(base_norm=false)"] * 3 + ["full"], EXPERTS | {"decoder_sparse_step": 2}, None,
             "the base has one MLP in layers 0 and 2 ("),
            ("qwen3_moe", ["gated_deltanet(base_norm=false)"] * 3 + ["full"], EXPERTS | {"use_sliding_window": True,
             "sliding_window": 40}, None, "has no sliding window"),
        ]
        for family, stack, config, declaration, words in cases:
            with self.subTest(words):
                self.make(family, stack, declaration=declaration, **config)
                self.assertIn(words, self.export("native", "native", fails=True))
                said = self.export("auto", "auto")
                self.assertIn(words, said)
                self.assertIn("with code of its own", said)
                manifest = json.loads((self.root / "auto/conversion_manifest.json").read_text())
                self.assertEqual(manifest["export"]["format"], "remote")
                self.assertIn(words, manifest["export"]["native_prevented"])

    def test_norms_that_lose_digits(self):
        gdn = "gated_deltanet(base_norm=false)"
        self.make("qwen3", [gdn, gdn, gdn, "full"])
        weights = load_file(self.root / "base/model.safetensors")
        weights["model.norm.weight"][3] = 1.234567e-6
        save_file(weights, self.root / "base/model.safetensors", metadata={"format": "pt"})
        self.assertIn("loses digits of model.norm.weight", self.export("native", "native", fails=True))
        self.assertIn("loses digits of model.norm.weight", self.export("auto", "auto"))
        self.load("auto", True)

    def test_dropped_tensors(self):
        gdn = "gated_deltanet(base_norm=false)"
        self.make("qwen3", [gdn, gdn, gdn, "full"])
        branches = load_file(self.root / "branches.safetensors")
        # What a mixer that was not chosen has is no loss.
        self.branches(branches | {"model.layers.3.linear_attn.A_log": torch.zeros(4)})
        self.export("auto", "auto")
        self.refuses(branches, ("model.layers.0.linear_attn.extra.weight", "model.layers.1.mlp.gate_proj.bias",
                                "model.extra"))
        # One that the class has and the hybrid has not.
        self.branches(branches)
        plan = json.loads((self.root / "plan.json").read_text())
        plan["weights"] = [weight for weight in plan["weights"] if not weight["name"].endswith("layers.1.linear_attn.A_log")]
        (self.root / "plan.json").write_text(json.dumps(plan))
        self.branches({name: tensor for name, tensor in branches.items() if "layers.1.linear_attn.A_log" not in name})
        self.assertIn("no weight model.layers.1.linear_attn.A_log", self.export("native", "missing", fails=True))

    def test_dropped_experts(self):
        gdn = "gated_deltanet(base_norm=false)"
        self.make("qwen3_moe", [gdn, gdn, gdn, "full"], **EXPERTS)
        # An expert too many, a shared expert that the family has not.
        self.refuses(load_file(self.root / "branches.safetensors"), (
            "model.layers.0.mlp.experts.6.down_proj.weight", "model.layers.1.mlp.shared_expert.down_proj.weight"))

    def refuses(self, branches, names):
        """Weights that no class has a place for are an error of both formats."""
        for name in names:
            self.branches(branches | {name: torch.zeros(4)})
            for form in ("native", "remote"):
                self.assertIn(f"no place for {name}", self.export(form, form + "-dropped", fails=True))


if __name__ == "__main__":
    unittest.main(verbosity=2)
