# SPDX-License-Identifier: Apache-2.0
"""The comparison of an export with transformers: agreement, rounding of fp32, and a fault that was planted."""

import pathlib
import subprocess
import sys
import tempfile

from support import SOURCE, compare_export, read_json, run

sys.path.insert(0, str(SOURCE / "tools/python/export"))
from check_export import judge  # noqa: E402

# Weights so large that fp32's rounding is seen in the log-probabilities.
SPEC = """
version = 1
[model]
path = "model"
threads = 1
[linear]
backend = "gated_deltanet(chunk = 16)"
[budget]
full_layers = 1
[data]
text = ["text.txt"]
[align]
steps = 2
batch = 1
length = 48
[select]
method = "uniform"
[distill]
steps = 0
[evaluate]
tasks = []
baselines = []
perplexity_tokens = 512
perplexity_length = 64
"""


def make_inputs(folder):
    import torch
    import transformers

    torch.manual_seed(2)
    config = transformers.LlamaConfig(
        vocab_size=256, hidden_size=64, intermediate_size=128, num_hidden_layers=4, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=256, initializer_range=1.0,
    )
    transformers.LlamaForCausalLM(config).save_pretrained(folder / "model")
    subprocess.run([sys.executable, SOURCE / "tools/python/morph_data.py", "make-tiny-tokenizer", folder / "model"],
                   check=True)
    (folder / "text.txt").write_text("".join(f"The quick brown fox number {i} jumps.\n" for i in range(400)))
    (folder / "loud.toml").write_text(SPEC)


def main():
    exact = judge({"whole": 1e-5}, 1e-3, lambda: 1 / 0)
    assert exact["verdict"] == "agreement", exact
    noise = judge({"whole": 4e-3}, 1e-3, lambda: ({"whole": 1e-9}, {"whole": 1.9e-2}, {"whole": 1.5e-2}))
    assert noise["verdict"] == "rounding", noise
    for fp64, ours, theirs in ((4e-3, 1e-2, 1e-2), (float("nan"), 1e-2, 1e-2), (1e-9, 1.0, 1e-2)):
        fault = judge({"whole": 4e-3}, 1e-3, lambda: ({"whole": fp64}, {"whole": ours}, {"whole": theirs}))
        assert fault["verdict"] == "mismatch", fault
    fault = judge({"whole": 0.0, "decode": float("nan")}, 1e-3,
                  lambda: ({"decode": float("nan")}, {"decode": 0.0}, {"decode": 0.0}))
    assert fault["verdict"] == "mismatch", fault

    with tempfile.TemporaryDirectory() as holder:
        folder = pathlib.Path(holder)
        make_inputs(folder)
        out = folder / "run"
        run("morph", "run", folder / "loud.toml", "--out", out)
        judgement, _ = compare_export(out, 1e-14, expect=1)
        fp32, fp64 = max(judgement["fp32"].values()), max(judgement["fp64"].values())
        assert judgement["tokens"] == "text", judgement
        assert set(judgement["fp32"]) == {"whole", "prefill_and_decode", "left_padded", "padded_row_alone"}, judgement
        assert fp64 < 1e-8 and fp32 > 100 * fp64, judgement
        judgement, said = compare_export(out, 10 * fp64, expect=0)
        assert judgement["verdict"] == "rounding" and "fp32's rounding" in said, judgement
        judgement, _ = compare_export(out, 2 * fp32, expect=0)
        assert judgement["verdict"] == "agreement" and "fp64" not in judgement, judgement

        # A run in bf16 is compared in fp32: its own plan of decoding is not what transformers computes to 1e-3.
        low = folder / "bf16"
        run("morph", "run", folder / "loud.toml", "--out", low, "--set", 'model.precision="bf16"')
        assert read_json(low / "hybrid/conversion_manifest.json")["check"]["verdict"] in ("agreement", "rounding")
        for program, rounds in (("decode-check", False), ("decode-selected", True)):
            assert ("bf16" in (low / f"plans/{program}.json").read_text()) == rounds, program

        code = out / "hybrid/modeling_morph.py"
        right = code.read_text()
        wrong = right.replace("wide(self.b_proj(x)).sigmoid()", "wide(self.b_proj(x)).sigmoid() * 0.98")
        assert wrong != right
        code.write_text(wrong)
        judgement, said = compare_export(out, 1e-3, expect=1)
        assert judgement["verdict"] == "mismatch" and "the folder is kept" in said, (judgement, said)
        # What transformers would leave as it was made is no model.
        code.write_text(right.replace("self.o_norm", "self.out_norm"))
        judgement, said = compare_export(out, 1e-3, expect=1)
        assert judgement["verdict"] == "mismatch", judgement
        assert "missing keys in it: model.layers.1.linear_attn.out_norm.weight" in said, said
        assert (out / "hybrid/model.safetensors").exists()


if __name__ == "__main__":
    main()
