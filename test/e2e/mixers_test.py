# SPDX-License-Identifier: Apache-2.0
"""Every mixer that comes with Morph converts a small model, trained a few steps, into an export that transformers computes
like the runtime; and so does a declaration that only this file has, whose logits an independent recurrence gives too."""

import json
import pathlib
import sys
import tempfile

import torch
import torch.nn.functional as F
import transformers
from safetensors.torch import load_file, save_file
from support import BIN, SOURCE, compare_export, read_json, run

import small_model

sys.path.insert(0, str(SOURCE / "tools/python/bench"))
from plan_runs import run_plan  # noqa: E402  pylint: disable=wrong-import-position

SHORT = ["align.steps=3", "distill.steps=2", "finetune.steps=0", "select.method=\"uniform\"", "evaluate.baselines=[]",
         "evaluate.tasks=[]", "evaluate.perplexity_tokens=256", "evaluate.perplexity_length=64"]

# A delta rule with a decay a key channel, short convolutions and an output gate of low rank.
MINE = """
mixer mine(chunk: 1..1024 = 16, conv: 2..16 = 3, rank: 1..64 = 4) {
  doc "delta rule with channel decays"
  weight f_proj.weight [H * D, M] ~ normal(0.05)
  weight f_bias [i: H * D] = log(0.1 + i / (H * D))
  weight b_proj.weight [H, M] ~ normal(0.05)
  weight k_conv.weight [H * D, 1, j: conv] = (j + 1) / conv
  weight v_conv.weight [H * D, 1, j: conv] = j == conv - 1
  weight g_down.weight [rank, M] ~ normal(0.05)
  weight g_up.weight [H * D, rank] ~ normal(0.05)
  weight o_norm.weight [D] = 1

  q = l2norm(silu(base_q(x)))
  k = l2norm(silu(conv(base_k(x), k_conv.weight)))
  v = conv(base_v(x), v_conv.weight)
  decay = -split(softplus(project(x, f_proj.weight, f_bias)), H)
  beta = 2 * sigmoid(project(x, b_proj.weight))
  o = recurrence(q, k, v, decay = decay, beta = beta, chunk = chunk)
  gate = sigmoid(project(project(x, g_down.weight), g_up.weight))
  return base_o(merge(norm(o, o_norm.weight)) * gate)
}
"""


def convert(folder, backend, name):
    """A run with a backend, whose export was compared with transformers; its folder."""
    out = folder / name
    settings = [word for key in (f'linear.backend="{backend}"', *SHORT) for word in ("--set", key)]
    run("morph", "run", folder / "small.toml", "--out", out, *settings)
    verdict = compare_export(out)[0]["verdict"]
    assert verdict in ("agreement", "rounding"), (backend, verdict)
    return out


def check_documents(out):
    """Logits of a window of several documents are those of each document alone: attention is masked, states are reset."""
    hybrid, plans = out / "hybrid", {}
    run("morph-translate", "--import-hf", hybrid, "-o", out / "documents.mlir")
    for name, options in (("alone", []), ("window", ["--program-options", "separate=true"])):
        plans[name] = out / f"documents-{name}.json"
        run("morph-translate", "--emit-plan", "--program", "logits", *options, out / "documents.mlir", "-o", plans[name])

    def logits(plan, tokens, **inputs):
        given, computed = out / "documents-in.safetensors", out / "documents-out.safetensors"
        save_file({"tokens": tokens, "positions": torch.arange(tokens.numel()), **inputs}, given)
        run_plan(BIN.parent / "test/bin/morph-plan-run", plans[plan], "--weights", hybrid, "--input", given, "--output", computed)
        return load_file(computed)["logits"].reshape(*tokens.shape, -1)

    # Shorter and longer than a chunk and than a convolution, of one token; and a sequence that is one document.
    lengths = [[21, 1, 2, 40], [64]]
    tokens = torch.randint(1, 255, (2, 64), generator=torch.Generator().manual_seed(2))
    begins = torch.zeros(2, 64, dtype=torch.int64)
    spans = []
    for sequence, of_sequence in enumerate(lengths):
        at = 0
        for length in of_sequence:
            begins[sequence, at:at + length] = at
            spans.append((sequence, at, at + length))
            at += length
    window, joined = logits("window", tokens=tokens, begins=begins), logits("alone", tokens=tokens)
    for sequence, begin, end in spans:
        alone = logits("alone", tokens=tokens[sequence:sequence + 1, begin:end].contiguous())[0]
        torch.testing.assert_close(window[sequence, begin:end], alone, atol=2e-5, rtol=1e-5)
    assert not torch.allclose(window[0, 21:], joined[0, 21:], atol=1e-3), "the window is not of separate documents"


def mine(x, w, config, conv=3):
    """The mixer `mine` of one layer on x [T,M] in float64, position by position; w are its weights by name."""
    heads = config.num_attention_heads
    width = config.hidden_size // heads
    positions = x.shape[0]

    def heads_of(y):
        return y.reshape(positions, heads, width)

    def convolve(y, weight):
        padded = torch.cat((y.new_zeros(conv - 1, y.shape[1]), y))
        return sum(padded[j:j + positions] * weight[:, 0, j] for j in range(conv))

    def unit(y):
        return y / (y.pow(2).sum(-1, keepdim=True) + 1e-6).sqrt()

    q = unit(F.silu(heads_of(x @ w["q_proj.weight"].T)))
    k = unit(F.silu(heads_of(convolve(x @ w["k_proj.weight"].T, w["k_conv.weight"]))))
    v = heads_of(convolve(x @ w["v_proj.weight"].T, w["v_conv.weight"]))
    decay = heads_of(F.softplus(x @ w["f_proj.weight"].T + w["f_bias"]))
    beta = 2 * torch.sigmoid(x @ w["b_proj.weight"].T)
    state, outputs = x.new_zeros(heads, width, width), []
    for t in range(positions):
        state = torch.exp(-decay[t]).unsqueeze(-1) * state
        read = torch.einsum("hkv,hk->hv", state, k[t])
        state = state + torch.einsum("hk,hv->hkv", k[t], beta[t].unsqueeze(-1) * (v[t] - read))
        outputs.append(torch.einsum("hkv,hk->hv", state, q[t]) * width ** -0.5)
    o = torch.stack(outputs)
    o = o / (o.pow(2).mean(-1, keepdim=True) + config.rms_norm_eps).sqrt() * w["o_norm.weight"]
    gate = torch.sigmoid(x @ w["g_down.weight"].T @ w["g_up.weight"].T)
    return (o.flatten(1) * gate) @ w["o_proj.weight"].T


def check_mine(folder):
    # Brackets of a path are no options.
    (folder / "odd (1)").mkdir()
    (folder / "odd (1)/mine.morph").write_text(MINE)
    out = convert(folder, f"{folder}/odd (1)/mine.morph:mine(rank = (1 + 2))", "mine")
    assert "mine" in json.dumps(read_json(out / "hybrid/conversion_manifest.json")["declarations"])
    model = transformers.AutoModelForCausalLM.from_pretrained(out / "hybrid", trust_remote_code=True,
                                                              dtype=torch.float64).eval()
    weights = {name: tensor.double() for name, tensor in load_file(out / "hybrid/model.safetensors").items()}
    seen = []

    def compare(prefix):
        own = {name[len(prefix):]: tensor for name, tensor in weights.items() if name.startswith(prefix)}

        def hook(module, arguments, keywords, output):
            x = arguments[0] if arguments else keywords["x"]
            given = output[0] if isinstance(output, tuple) else output
            seen.append((given[0] - mine(x[0], own, model.config)).abs().max().item() / given.abs().max().item())
        return hook

    for name, module in model.named_modules():
        if name.endswith(".linear_attn"):
            assert weights[name + ".g_down.weight"].shape[0] == 3, "the option is the spec's"
            module.register_forward_hook(compare(name + "."), with_kwargs=True)
    with torch.no_grad():
        model(torch.randint(1, 255, (1, 50), generator=torch.Generator().manual_seed(1)))
    assert len(seen) == small_model.LAYERS - 1 and max(seen) < 1e-5, seen


def main():
    with tempfile.TemporaryDirectory() as holder:
        folder = pathlib.Path(holder)
        small_model.make_inputs(folder)
        known = json.loads(run("morph", "mixers", folder / "model", "--context", 4096, "--json").stdout)
        assert {"kda", "rwkv7", "mamba2", "gated_deltanet"} <= {mixer["name"] for mixer in known}, known
        for mixer in known:
            assert (mixer["state_bytes"] > 0) == (mixer["name"] != "none") and mixer["flops_per_token"] > 0, mixer
        # A layer that mixes nothing has nothing to align, and is a candidate beside others only (arch_test.py).
        known = [mixer for mixer in known if mixer["name"] != "none"]
        only = sys.argv[1:]
        check_mine(folder)
        for mixer in known:
            if not only or mixer["name"] in only:
                print(mixer["name"], flush=True)
                check_documents(convert(folder, mixer["name"], mixer["name"]))


if __name__ == "__main__":
    main()
