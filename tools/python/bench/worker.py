# SPDX-License-Identifier: Apache-2.0
"""One PyTorch step in a process of its own, so that its memory is its own: `worker.py JOB`, a JSON object. For every
number on standard input it runs so many steps and prints a line: their seconds, peak memory (of a GPU, where the job
names one)."""

import json
import os
import resource
import sys
import time

import torch
from steps import make_step
from transformers import LlamaConfig, LlamaForCausalLM, StaticCache


def make_decode(job):
    """A step of transformers' own decoding after a cache of random keys and values. The cache has room for what follows:
    one that grows is copied at every token, which takes nearly twice as long."""
    with open(os.path.join(job["folder"], "config.json"), encoding="utf-8") as file:
        config = LlamaConfig(**json.load(file))
    config._attn_implementation = "sdpa"
    dtype = torch.bfloat16 if job["precision"] == "bf16" else torch.float32
    device = job["device"]
    model = LlamaForCausalLM(config).to(device, dtype).eval()
    length = job["length"]
    cache = StaticCache(config=config, max_cache_len=length + 1)
    shape = (1, config.num_key_value_heads, length, config.head_dim)
    for layer in range(config.num_hidden_layers):
        cache.update(*(torch.randn(shape, dtype=dtype, device=device) for _ in range(2)), layer)
    token = torch.zeros(1, 1, dtype=torch.long, device=device)

    def step():
        with torch.inference_mode():
            model(token, past_key_values=cache, use_cache=True)
        for layer in cache.layers:
            layer.cumulative_length.fill_(length)  # The next step is the same one again.

    return step


def main():
    job = json.loads(sys.argv[1])
    if job["threads"]:
        torch.set_num_threads(job["threads"])
    torch.manual_seed(0)
    on_gpu = job["device"] != "cpu"
    if job["mode"] == "decode":
        step = make_decode(job)
    else:
        step = make_step(job["mode"], job["folder"], job["precision"], job["full_layers"], job["compiled"],
                         job["device"])
    loss, begin = step(), time.perf_counter()
    step()  # What is made once is made: moments, buffers, compiled code.
    warmup = time.perf_counter() - begin
    print(json.dumps({"loss": loss, "warmup": warmup}), flush=True)
    for line in sys.stdin:
        seconds = []
        for _ in range(int(line)):
            begin = time.perf_counter()
            step()
            if on_gpu:
                torch.cuda.synchronize()
            seconds.append(time.perf_counter() - begin)
        peak = torch.cuda.max_memory_allocated() if on_gpu else 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(json.dumps({"seconds": seconds, "peak_bytes": peak}), flush=True)


main()
