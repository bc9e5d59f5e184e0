# SPDX-License-Identifier: Apache-2.0
"""Every declared mixer, exported and loaded in stock transformers, computes what the runtime computes: on bases with
biases, and with norms of queries and keys; whole, prefill and decoding, padded on the left. So does a mixer whose weights
have names that mean something to Python, PyTorch, transformers or the exported class; what cannot be an attribute of a
module is refused where it is declared."""

import pathlib
import subprocess
import tempfile
import unittest

import torch
import transformers
from hybrids import BIN, FULL, SOURCE, judge

transformers.utils.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()
torch.set_num_threads(1)

SHAPE = dict(vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4,
             num_key_value_heads=2, head_dim=16, max_position_embeddings=256, initializer_range=0.2)
BASES = {
    "biases": transformers.LlamaConfig(**SHAPE, attention_bias=True),
    "qwen3": transformers.Qwen3Config(**SHAPE),
}
# Those that come with Morph, with what is not the default where that is another computation.
BUILTIN = {path.stem: path.stem for path in (SOURCE / "dialect/mixers").glob("*.morph")}
MIXERS = BUILTIN | {"gated_deltanet with convolution": "gated_deltanet(conv=4)", "deltanet without": "deltanet(conv=0)",
                    "sliding_window": "sliding_window(window=20)"}
# Words of Python, of the exported class and its base, of transformers, and of the model around it.
NAMES = "class lambda self heads hidden kv_heads head_dim config mask cache gate a".split()
MORE_NAMES = ("None cls print super F nn torch wide layers model mlp bias name dtype device loss norm.weight norm2.bias "
              "gate_proj p.0.if p.in_features").split()


def declare(names):
    """A mixer whose weights, vectors and a matrix, have these names."""
    weights = "".join(f"  weight {name} [{'M' if name != 'model' else 'M, M'}] = 0.5\n" for name in names)
    used = "".join(f"  y = {'y * ' + name if name != 'model' else 'project(y, model)'}\n" for name in names)
    return f"mixer own() {{\n{weights}  y = base_o(merge(base_v(x)))\n{used}  return y\n}}\n"


class RuntimeTest(unittest.TestCase):
    def compare(self, config, mixer, declaration=None):
        """The judgement of check_export on a hybrid with a mixer in two of its layers."""
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            torch.manual_seed(0)
            transformers.AutoModelForCausalLM.from_config(config).save_pretrained(folder / "base")
            return judge(folder, [mixer, FULL, mixer], declaration)

    def test_mixers(self):
        for mixer in MIXERS.values():
            for base, config in BASES.items():
                with self.subTest(mixer=mixer, base=base):
                    judgement = self.compare(config, mixer)
                    self.assertEqual(judgement["verdict"], "agreement", judgement)

    def test_names(self):
        # In bf16, whose vectors are fp32 all the same: check_export compares the types of all weights.
        config = transformers.LlamaConfig(**SHAPE, attention_bias=True, dtype=torch.bfloat16)
        for names in (NAMES + MORE_NAMES, *([name] for name in NAMES)):
            with self.subTest(names=names):
                judgement = self.compare(config, "own", declare(names))
                self.assertEqual(judgement["verdict"], "agreement", judgement)

    def test_sizes(self):
        """Quotients of sizes are whole numbers in Python, where heads, widths, chunks and windows are no others."""
        declaration = """mixer own() {
  weight gate_proj.weight [H, M] ~ normal(0.02)
  q = l2norm(split(merge(base_q(x)), H / G))
  far = recurrence(q, q, q, chunk = D / 2)
  near = attention(base_q(x), base_k(x, heads = G), base_v(x, heads = G), window = D / 2)
  gate = expand(sigmoid(project(x, gate_proj.weight)), M / H)
  return merge(gate) * base_o(merge(far)) + base_o(merge(near))
}
"""
        judgement = self.compare(BASES["biases"], "own", declaration)
        self.assertEqual(judgement["verdict"], "agreement", judgement)

    def test_names_of_attributes(self):
        """A list of the compiler's holds all attributes that modules have."""
        names = sorted(name for name in {*dir(torch.nn.Module()), *torch.nn.Module.__annotations__, "training", "_own"}
                       if name == "_own" or not name.startswith("_"))
        with tempfile.TemporaryDirectory() as name:
            file = pathlib.Path(name, "own.morph")
            file.write_text(declare(names))
            done = subprocess.run([BIN / "morph-translate", "--check-morph", file], capture_output=True, text=True)
        for line, attribute in enumerate(names, start=2):
            message = f":{line}:10: error: a weight cannot be called '{attribute}': it is an attribute of PyTorch's modules"
            self.assertIn(message, done.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
