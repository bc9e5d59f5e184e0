# SPDX-License-Identifier: Apache-2.0
"""transformers' `generate` in a process of its own, as tools/bench --serve times it: `generate_worker.py JOB`, a JSON object
of folder, precision and threads. It prints a line once the model is loaded. Every line on standard input is {"prompts",
"tokens"}: prompts of one length, read as one batch and continued greedily by so many tokens. It answers with a line: seconds
from the beginning to each token, and for each prompt and token the CANDIDATES likeliest ids with the logarithms of their
probabilities."""

import json
import sys
import time

import torch
import transformers

# Enough to say how far behind its own token transformers saw the one that the other side took.
CANDIDATES = 8


class Clock:
    """A streamer that keeps when each token came; the prompt is the first that `generate` gives it."""

    def __init__(self):
        self.times = []

    def put(self, _):
        self.times.append(time.perf_counter())

    def end(self):
        pass


def generate(model, prompts, count):
    """One batch; what is computed of the logits afterwards is not timed."""
    tokens = torch.tensor(prompts)
    clock, begin = Clock(), time.perf_counter()
    with torch.inference_mode():
        answer = model.generate(tokens, attention_mask=torch.ones_like(tokens), max_new_tokens=count, do_sample=False,
                                streamer=clock, pad_token_id=0, return_dict_in_generate=True, output_logits=True)
        logprobs, ids = torch.stack(answer.logits, 1).float().log_softmax(-1).topk(CANDIDATES)
    return {"seconds": [at - begin for at in clock.times[1:]],
            "answers": [[list(zip(*step)) for step in zip(*prompt)] for prompt in zip(ids.tolist(), logprobs.tolist())]}


def main():
    job = json.loads(sys.argv[1])
    torch.set_num_threads(job["threads"])
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    model = transformers.AutoModelForCausalLM.from_pretrained(
        job["folder"], dtype=torch.bfloat16 if job["precision"] == "bf16" else torch.float32, trust_remote_code=True,
        attn_implementation="sdpa").eval()
    model.generation_config = transformers.GenerationConfig()  # Nothing ends an answer early.
    print(json.dumps({"torch": torch.__version__, "transformers": transformers.__version__}), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps(generate(model, request["prompts"], request["tokens"])), flush=True)


main()
