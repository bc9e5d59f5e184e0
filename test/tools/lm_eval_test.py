# SPDX-License-Identifier: Apache-2.0
"""tools/lm-eval: lm-evaluation-harness on a hybrid and its base, on local tasks without a network; its figures are those that
stock transformers gives by hand."""

import json
import math
import os
import pathlib
import random
import subprocess
import sys
import tempfile

import torch
import transformers

SOURCE = pathlib.Path(os.environ["MORPH_SOURCE_DIR"])
MORPH = pathlib.Path(os.environ["MORPH_BIN"]) / "morph"
SPEC = """
version = 1
name = "harness"
[model]
path = "model"
threads = 1
[linear]
backend = "lightning(chunk = 16)"
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
[evaluate]
tasks = []
baselines = []
perplexity_tokens = 512
perplexity_length = 64
"""
CHOICES = """
task: morph_choices
dataset_path: json
dataset_kwargs: {{data_files: {{test: {folder}/choices.jsonl}}}}
output_type: multiple_choice
test_split: test
doc_to_text: "{{{{text}}}}"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: answer
target_delimiter: ""
metric_list: [{{metric: acc}}]
metadata: {{version: 1}}
"""
TEXTS = """
task: morph_texts
dataset_path: json
dataset_kwargs: {{data_files: {{test: {folder}/texts.jsonl}}}}
output_type: loglikelihood_rolling
test_split: test
doc_to_text: ""
doc_to_target: "{{{{text}}}}"
metric_list: [{{metric: byte_perplexity}}]
metadata: {{version: 1}}
"""


def make_inputs(root):
    """A random base, a spec, and two tasks with their data; the samples."""
    torch.manual_seed(0)
    config = transformers.LlamaConfig(vocab_size=256, hidden_size=32, intermediate_size=48, num_hidden_layers=3, head_dim=8,
                                      num_attention_heads=4, num_key_value_heads=2, initializer_range=0.3)
    transformers.LlamaForCausalLM(config).save_pretrained(root / "model")
    subprocess.run([sys.executable, SOURCE / "tools/python/morph_data.py", "make-tiny-tokenizer", root / "model"], check=True)
    (root / "text.txt").write_text("".join(f"The quick brown fox number {i} jumps.\n" for i in range(300)))
    (root / "spec.toml").write_text(SPEC)
    draw = random.Random(0)
    choices = [{"text": f"fox {draw.randrange(100)} jumps over", "choices": [" one", " two", " three"],
                "answer": draw.randrange(3)} for _ in range(12)]
    texts = [{"text": f"The dog number {draw.randrange(100)} sleeps."} for _ in range(3)]
    tasks = root / "tasks"
    tasks.mkdir()
    for name, samples, text in (("choices", choices, CHOICES), ("texts", texts, TEXTS)):
        (root / f"{name}.jsonl").write_text("".join(json.dumps(sample) + "\n" for sample in samples))
        (tasks / f"{name}.yaml").write_text(text.format(folder=root))
    return choices, texts


class Scorer:
    """Log-likelihoods by stock transformers, in fp32."""

    def __init__(self, folder):
        self.model = transformers.AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True, dtype=torch.float32)
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=True)

    @torch.no_grad()
    def logprobs(self, tokens):
        """[T, V]: row t of the token after t."""
        return self.model(torch.tensor([tokens])).logits[0].log_softmax(-1)

    def score(self, context, text):
        tokens = context + self.tokenizer.encode(text, add_special_tokens=False)
        logprobs = self.logprobs(tokens)
        return sum(logprobs[place - 1, tokens[place]].item() for place in range(len(context), len(tokens)))

    def accuracy(self, samples):
        right = 0
        for sample in samples:
            context = self.tokenizer.encode(sample["text"], add_special_tokens=False)
            scores = [self.score(context, choice) for choice in sample["choices"]]
            right += scores.index(max(scores)) == sample["answer"]
        return right / len(samples)

    def byte_perplexity(self, samples):
        total = sum(self.score([0], sample["text"]) for sample in samples)
        return math.exp(-total / sum(len(sample["text"].encode()) for sample in samples))


def lm_eval(*arguments, expect=0, cwd=None):
    done = subprocess.run([SOURCE / "tools/lm-eval", *map(str, arguments)], capture_output=True, text=True, check=False, cwd=cwd,
                          env=os.environ | {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"})
    assert done.returncode == expect, (done.returncode, done.stdout[-2000:], done.stderr[-4000:])
    return done


def main():
    with tempfile.TemporaryDirectory() as holder:
        root = pathlib.Path(holder)
        choices, texts = make_inputs(root)
        made = subprocess.run([MORPH, "run", root / "spec.toml", "--out", root / "run"], check=False, capture_output=True, text=True)
        assert made.returncode == 0, made.stderr[-4000:]
        hybrid, base = root / "run/hybrid", root / "model"
        done = lm_eval(hybrid, "--against", base, "--tasks", "morph_choices,morph_texts", "--include", root / "tasks", "--out",
                       root / "results.json", cwd=root)
        assert "git" not in done.stderr, done.stderr  # In a folder that is in no repository.
        lines = {line.split()[0]: line.split() for line in done.stdout.splitlines() if line.strip()}
        assert lines["task"][2:] == ["run/hybrid", f"{root.name}/model", "difference"], done.stdout
        assert len(lines["morph_choices"]) == 11 and "Traceback" not in done.stderr, (done.stdout, done.stderr)
        results = json.loads((root / "results.json").read_text())
        for folder in (hybrid, base):
            found, scorer = results[str(folder)]["results"], Scorer(folder)
            assert abs(found["morph_choices"]["acc,none"] - scorer.accuracy(choices)) < 1e-9, found
            expected = scorer.byte_perplexity(texts)
            assert abs(found["morph_texts"]["byte_perplexity,none"] / expected - 1) < 1e-4, (found, expected)
        hybrid_texts, base_texts = (results[str(folder)]["results"]["morph_texts"]["byte_perplexity,none"]
                                    for folder in (hybrid, base))
        assert hybrid_texts != base_texts and f"{hybrid_texts - base_texts:+.4f}" == lines["morph_texts"][4], (results, lines)

        # A part of the samples; what is wrong is said before a model is loaded.
        lm_eval(hybrid, "--tasks", "morph_choices", "--include", root / "tasks", "--limit", 2, "--out", root / "two.json")
        assert json.loads((root / "two.json").read_text())[str(hybrid)]["n-samples"]["morph_choices"]["effective"] == 2
        # Patterns are names of tasks that fit.
        lm_eval(hybrid, "--tasks", "morph_*", "--include", root / "tasks", "--limit", 1, "--out", root / "one.json")
        assert set(json.loads((root / "one.json").read_text())[str(hybrid)]["results"]) == {"morph_choices", "morph_texts"}
        assert "there is no task 'morph_choice'" in lm_eval(hybrid, "--tasks", "morph_choice", "--include", root / "tasks",
                                                            expect=2).stderr
        assert "is no model folder" in lm_eval(root, "--tasks", "morph_choices", expect=2).stderr
        assert "names no task" in lm_eval(hybrid, "--tasks", ",", expect=2).stderr
        lm_eval(hybrid, "--tasks", "morph_choices", "--limit", "0", expect=2)


if __name__ == "__main__":
    main()
