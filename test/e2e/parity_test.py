# SPDX-License-Identifier: Apache-2.0
"""`morph eval` gives transformers' per-token log-probabilities (1e-4, fp32) on random models of every architecture:
tied and untied, one file and shards, biases, q/k norms, scaled RoPE, head_dim other than hidden / heads, windows."""

import pathlib
import tempfile

import numpy as np
import torch
import transformers
from safetensors.torch import load_file
from support import run

SHAPE = dict(
    vocab_size=96,
    hidden_size=32,
    intermediate_size=80,
    num_hidden_layers=3,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=128,
    pad_token_id=0,
)
LLAMA3 = dict(
    rope_type="llama3",
    rope_theta=10000.0,
    factor=8.0,
    low_freq_factor=1.0,
    high_freq_factor=4.0,
    original_max_position_embeddings=32,
)
YARN = dict(rope_type="yarn", rope_theta=10000.0, factor=4.0, original_max_position_embeddings=32)
LINEAR = dict(rope_type="linear", rope_theta=10000.0, factor=2.0)
DYNAMIC = dict(rope_type="dynamic", rope_theta=10000.0, factor=2.0)
# Up to the original length transformers takes the short factors.
LONGROPE = dict(max_position_embeddings=1024, original_max_position_embeddings=128,
                rope_parameters=dict(rope_type="longrope", rope_theta=1e4, short_factor=[1.0, 1.2, 1.5, 2.0],
                                     long_factor=[1.0, 2.0, 5.0, 9.0]))
TYPES = ["sliding_attention", "full_attention", "sliding_attention"]
CASES = {
    "llama-tied": ("Llama", dict(tie_word_embeddings=True)),
    "llama-untied-sharded": ("Llama", dict(tie_word_embeddings=False), "20KB"),
    "llama-bias": ("Llama", dict(attention_bias=True)),
    "llama-llama3-rope": ("Llama", dict(rope_parameters=LLAMA3)),
    "llama-head-dim": ("Llama", dict(head_dim=12)),
    "llama-gelu": ("Llama", dict(hidden_act="gelu_pytorch_tanh")),
    "mistral-window": ("Mistral", dict(sliding_window=9)),
    "mistral-no-window": ("Mistral", dict(sliding_window=None, rope_parameters=LINEAR)),
    "qwen2-bias-tied": ("Qwen2", dict(tie_word_embeddings=True)),
    "qwen2-yarn": ("Qwen2", dict(rope_parameters=YARN)),
    "qwen2-some-windows": ("Qwen2", dict(use_sliding_window=True, sliding_window=7, max_window_layers=1)),
    "qwen3-norms-head-dim": ("Qwen3", dict(head_dim=16, tie_word_embeddings=True)),
    "qwen3-untied-bf16": ("Qwen3", dict(head_dim=8, dtype="bfloat16"), "30KB"),
    "llama-fp16-sharded": ("Llama", dict(dtype="float16"), "20KB"),
    "llama-dynamic": ("Llama", dict(rope_parameters=DYNAMIC)),
    "phi3-partial": ("Phi3", dict(partial_rotary_factor=0.5)),
    "smollm3": ("SmolLM3", dict(no_rope_layer_interval=2, attention_bias=True)),
    "smollm3-windows": ("SmolLM3", dict(no_rope_layers=[1, 0, 1], use_sliding_window=True, sliding_window=7)),
    "olmo2": ("Olmo2", dict(attention_bias=True)),
    "olmo2-tied-bf16": ("Olmo2", dict(tie_word_embeddings=True, dtype="bfloat16")),
    "olmo3": ("Olmo3", dict(sliding_window=7, layer_types=TYPES)),
    "olmo3-yarn": ("Olmo3", dict(sliding_window=7, layer_types=TYPES, rope_parameters={
        "sliding_attention": dict(rope_type="default", rope_theta=1e4), "full_attention": YARN})),
    "phi3": ("Phi3", {}),
    "phi3-window-sharded": ("Phi3", dict(sliding_window=9, dtype="bfloat16"), "30KB"),
    "phi3-longrope": ("Phi3", LONGROPE),
    "phi3-partial-longrope": ("Phi3", dict(
        LONGROPE, partial_rotary_factor=0.5,
        rope_parameters=dict(rope_type="longrope", rope_theta=1e4, short_factor=[1.0, 1.5], long_factor=[1.0, 9.0]))),
    "gemma2": ("Gemma2", dict(head_dim=12, sliding_window=7, query_pre_attn_scalar=20)),
    "gemma2-caps": ("Gemma2", dict(head_dim=8, sliding_window=50, attn_logit_softcapping=2.0, final_logit_softcapping=3.0)),
    "gemma2-bf16": ("Gemma2", dict(head_dim=8, sliding_window=7, dtype="bfloat16")),
    "gemma2-no-caps": ("Gemma2", dict(head_dim=8, sliding_window=7, attn_logit_softcapping=None,
                                      final_logit_softcapping=None)),
    "gemma3": ("Gemma3Text", dict(head_dim=12, sliding_window=7, query_pre_attn_scalar=20, layer_types=TYPES)),
    "gemma3-linear": ("Gemma3Text", dict(head_dim=8, sliding_window=7, layer_types=TYPES, rope_parameters={
        "sliding_attention": dict(rope_type="default", rope_theta=100.0), "full_attention": LINEAR})),
    "qwen3-moe": ("Qwen3Moe", dict(num_experts=6, num_experts_per_tok=2, moe_intermediate_size=24)),
    "qwen3-moe-some-sharded-bf16": ("Qwen3Moe", dict(
        num_experts=5, num_experts_per_tok=3, moe_intermediate_size=24, norm_topk_prob=True, mlp_only_layers=[0],
        use_sliding_window=True, sliding_window=9, dtype="bfloat16"), "20KB"),
    "cwm": ("Cwm", dict(head_dim=8, sliding_window=7, rope_parameters=LLAMA3)),
}
TOLERANCE = 1e-4


def reference(model, documents):
    """Log-probabilities of every target token of every document, in order."""
    rows = []
    with torch.no_grad():
        for document in documents:
            ids = torch.tensor([document])
            logprob = model(ids).logits.float().log_softmax(-1)
            rows.append(logprob[0, :-1].gather(-1, ids[0, 1:, None])[:, 0])
    return torch.cat(rows)


def main():
    transformers.utils.logging.disable_progress_bar()
    torch.manual_seed(0)
    generator = np.random.default_rng(0)
    # Documents of different lengths, each begun by id 1; one longer than the cut.
    documents = [[1, *generator.integers(3, 96, size=n)] for n in (5, 40, 63, 90)]
    worst = 0.0
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        np.array([t for d in documents for t in d], dtype=np.uint16).tofile(folder / "tokens.u16")
        for name, (architecture, changes, *shard) in CASES.items():
            config_class = getattr(transformers, f"{architecture}Config")
            config = config_class(**{**SHAPE, **changes}, attn_implementation="eager")
            model = getattr(transformers, f"{architecture.removesuffix('Text')}ForCausalLM")(config).eval()
            for parameter in model.parameters():
                # Norm weights and biases start at one and zero, which would hide a mistake with them.
                if parameter.dim() == 1:
                    torch.nn.init.uniform_(parameter, -0.5, 1.5)
                else:
                    torch.nn.init.normal_(parameter, std=0.25)
            if "dtype" in changes:
                model = model.to(getattr(torch, changes["dtype"]))
            model.save_pretrained(folder / name, max_shard_size=shard[0] if shard else "1GB")
            model = type(model).from_pretrained(folder / name, dtype=torch.float32, attn_implementation="eager").eval()
            if "dtype" in changes and hasattr(model.model.embed_tokens, "embed_scale"):
                # transformers rounds it to the type of the weights, which is here another one than the folder's.
                scale = model.model.embed_tokens.embed_scale
                scale.copy_(scale.to(getattr(torch, changes["dtype"])))
            out = folder / f"{name}.safetensors"
            run("morph", "eval", folder / name, "--tokens", folder / "tokens.u16", "--token-dtype", "u16",
                "--documents", len(documents), "--begin", 1, "--length", 64, "--per-token", out, "--json")
            ours = load_file(out)["logprob"]
            theirs = reference(model, [d[:64] for d in documents])
            assert ours.dtype == torch.float32 and ours.shape == theirs.shape, (name, ours.shape, theirs.shape)
            error = (ours - theirs).abs().max().item()
            print(f"{name:24} max |delta logprob| {error:.2e}")
            worst = max(worst, error)
            assert error <= TOLERANCE, f"{name}: {error} > {TOLERANCE}"
    print(f"{len(CASES)} models, worst {worst:.2e}")


main()
