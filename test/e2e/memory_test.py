# SPDX-License-Identifier: Apache-2.0
"""What `morph plan` says that stages need of memory is what their tensors held, within 3 % (or 128 kB of batches), in fp32 and
bf16."""

import json
import pathlib
import tempfile

import torch
import transformers
from small_model import make_inputs
from support import read_json, run

SETTINGS = ["align.steps=3", "align.length=96", "select.steps=3", "select.accumulate=2", "distill.steps=2",
            "distill.length=96", "distill.task_fraction=0", "finetune.steps=2", "evaluate.perplexity_length=256", "evaluate.samples=2",
            "evaluate.generate_samples=2", "evaluate.baselines=[]", "export.check=false",
            "budget.keep=[3]"]  # What is estimated before the choice: the dearest one.


def make_model(folder):
    """Large enough that batches and tables weigh little, stored in bf16 as real models are."""
    make_inputs(folder)
    torch.manual_seed(1)
    config = transformers.LlamaConfig(
        vocab_size=256, hidden_size=128, intermediate_size=384, num_hidden_layers=4, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=256, tie_word_embeddings=True,
    )
    transformers.LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder / "model")


def measure(out):
    """The most bytes of each stage of `morph plan`, over its models."""
    stages = {"align": ["align"], "select": ["select"], "distill": ["distill/*"], "finetune": ["finetune/*"],
              "evaluate": ["evaluate/*"]}
    return {stage: max(read_json(file)["memory_bytes"] for pattern in patterns
                       for file in out.glob(f"{pattern}/stage.json")) for stage, patterns in stages.items()}


def main():
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        make_model(folder)
        spec = folder / "small.toml"
        wrong = []
        for precision in ("fp32", "bf16"):
            settings = [f"--set={setting}" for setting in (*SETTINGS, f"model.precision={precision}")]
            plan = json.loads(run("morph", "plan", spec, "--json", *settings).stdout)
            estimate = {stage["stage"]: stage["memory_bytes"] for stage in plan["stages"]}
            out = folder / precision
            run("morph", "run", spec, "--out", out, *settings)
            for stage, truth in measure(out).items():
                ratio = estimate[stage] / truth
                print(f"{precision} {stage}: estimated {estimate[stage] / 1e6:.3f} MB, held {truth / 1e6:.3f} MB, "
                      f"ratio {ratio:.3f}")
                # Batches and what is read of them are held beside, which counts in a model as small as this.
                if abs(estimate[stage] - truth) > max(0.03 * truth, 128e3):
                    wrong.append((precision, stage, ratio))
        assert not wrong, wrong


main()
