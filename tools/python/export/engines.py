# SPDX-License-Identifier: Apache-2.0
"""Programs that serve models, and what each of them makes of an exported hybrid: read in their sources, not run.

Each fact names the file that it was read in, with the commit or release, in November 2026. `not checked` is what was not
read. An engine has `serve(hybrid, target)`: the class that would load the folder of `target` (None: with code of its own) and
None, or None and what prevents it; and warnings.
"""

from targets import granite, qwen3_5
from targets.experts import prevents_experts, sparse_layers

REMOTE = "it has no class for the folder's own code"


def slides(hybrid):
    return any(hybrid.window(layer, mixer) for layer, mixer in hybrid.mixers())


def is_regular(layers):
    """Whether full attention is every n-th layer, the last of each n: how full_attention_interval says it."""
    full = [i for i, mixer in enumerate(layers) if mixer["kind"] == "full"]
    return bool(full) and full == list(range(full[0], len(layers), full[0] + 1))


class Vllm:
    """vllm-project/vllm: model_executor/models/registry.py of v0.28.0 has the classes; Qwen3.5's of text alone came with its
    PR 50210, for dense models and experts."""

    NAME = "vLLM"

    @staticmethod
    def serve(hybrid, target):
        if target is None:
            # Its issue 44219.
            return None, "it has no class for it, and its Transformers backend keeps no states of linear layers", []
        warnings = ["give --dtype bfloat16: of a folder in fp32 it makes fp16"]
        if target is qwen3_5:
            # models/qwen3_5.py at 00def4f: any list of layer_types, no biases; stacked experts, and of models/qwen3_next.py
            # at 002d607 a shared expert of any width.
            return target.name(hybrid), None, warnings
        if target is granite:
            # models/granitemoehybrid.py at 0195c9e: any list of `attention` and `mamba`, head_dim = hidden / heads.
            if hybrid.head_dim * hybrid.heads != hybrid.hidden:
                return None, "its GraniteMoeHybridForCausalLM has heads of hidden_size / heads", []
            return target.name(hybrid), None, warnings
        if hybrid.family in ("llama", "mistral"):
            # CwmForCausalLM is models/llama.py, whose attention reads layer_types.
            return target.name(hybrid), None, []
        if hybrid.has_experts and slides(hybrid):
            # models/mellum.py at 055e47c: any list of layer_types and mlp_layer_types; o_proj has no bias.
            if hybrid.o_bias:
                return None, "its MellumForCausalLM has no bias of o_proj, which the base has", []
            return target.name(hybrid), None, []
        if slides(hybrid):
            # models/qwen2.py, from which models/qwen3.py is made: an assertion.
            return None, "its Qwen classes have no windows of some layers", []
        return target.name(hybrid), None, []


class Sglang:
    """sgl-project/sglang, python/sglang/srt."""

    NAME = "SGLang"

    @staticmethod
    def serve(hybrid, target):
        if target is None:
            return None, REMOTE, []
        if target is qwen3_5:
            # models/qwen3_5.py at 005fa71: EntryClass has Qwen3_5ForConditionalGeneration and the one of experts;
            # configs/qwen3_next.py at 041bacd: layers_block_type goes by full_attention_interval alone. Its PR 27899, which
            # would register the classes of text, is open.
            vision = target.name(hybrid).replace("ForCausalLM", "ForConditionalGeneration")
            return None, (f"its models/qwen3_5.py registers {vision}, with a part for vision, alone, and takes every n-th "
                          "layer for full attention"), []
        if target is granite:
            # configs/granitemoehybrid.py at 7f1ce9b: any list; rope_theta and rope_scaling, not rope_parameters.
            if hybrid.rope()["rope_type"] != "default":
                return None, "its GraniteMoeHybridConfig reads no rope_parameters, so that rotary scaling would be lost", []
            return target.name(hybrid), None, ["its attention was not checked"]
        if hybrid.family == "qwen3" and slides(hybrid):
            # models/qwen3.py at 01b5f57: RadixAttention without sliding_window_size.
            return None, "its Qwen3ForCausalLM has no windows, and would ignore them without a word", []
        if hybrid.has_experts and slides(hybrid):
            # models/mellum.py at 03e1701: any list of layer_types and mlp_layer_types.
            return target.name(hybrid), None, []
        if hybrid.has_experts and not all(sparse_layers(hybrid)):
            # models/qwen3_moe.py at 008af3a: is_layer_sparse is True.
            return None, "its Qwen3MoeForCausalLM has experts in all layers, and the base has one MLP in some", []
        if slides(hybrid):
            return None, "not checked", []
        return target.name(hybrid), None, []


class LlamaCpp:
    """ggml-org/llama.cpp: conversion/ makes a GGUF file of the folder."""

    NAME = "llama.cpp"

    @staticmethod
    def serve(hybrid, target):
        if target is None:
            return None, "its conversion/ has no class for it", []
        if target is qwen3_5:
            # conversion/qwen.py registers Qwen3_5ForCausalLM and Qwen3_5MoeForCausalLM, with experts stacked or not;
            # attention.recurrent_layers since its PR 28208. src/models/qwen35moe.cpp at 02ebd8f normalises shares.
            name = "qwen35moe" if hybrid.has_experts else "qwen35"
            if all(is_regular(layers) for layers in hybrid.choices):
                return name, None, []
            return name, None, ["a converter before its PR 28208 takes every n-th layer for full attention, and would mix "
                                "up an irregular list without a word"]
        if target is granite:
            # conversion/granite.py registers GraniteMoeHybridForCausalLM, dense ones too.
            return "granitehybrid", None, ["rotary positions in its attention were not checked"]
        if hybrid.has_experts:
            # src/models/qwen3moe.cpp at 069be0a and mellum.cpp at 82234e0: experts in all layers, shares normalised; of
            # mellum.cpp no scaling of rotary positions in layers with windows, and a head of its own.
            if reason := prevents_experts(hybrid):
                return None, f"of its class {reason}", []
            if slides(hybrid) and hybrid.rope()["rope_type"] != "default":
                return None, "its mellum scales no rotary positions in layers with windows", []
            if slides(hybrid) and hybrid.base.get("tie_word_embeddings", False):
                return None, "its mellum has a head of its own, and the base's is the embedding", []
            return "mellum" if slides(hybrid) else "qwen3moe", None, []
        if slides(hybrid):
            return None, "not checked" if hybrid.family != "llama" else "its conversion/ has no CwmForCausalLM", []
        return target.name(hybrid), None, []


class TensorRtLlm:
    """NVIDIA/TensorRT-LLM: tensorrt_llm/_torch/models/_arch_index.py at 065ff9e has the classes that it knows."""

    NAME = "TensorRT-LLM"

    @staticmethod
    def serve(hybrid, target):
        if target is None:
            return None, REMOTE, []
        if target is qwen3_5:
            return target.name(hybrid), None, ["it may keep states in bf16, whatever they were trained in"]
        if target is granite or hybrid.family in ("llama", "mistral") or hybrid.has_experts and slides(hybrid):
            return None, f"it has no {target.name(hybrid)}", []
        if hybrid.has_experts and prevents_experts(hybrid):
            return None, "not checked", []
        if slides(hybrid):
            return None, "not checked", []
        return target.name(hybrid), None, []


ENGINES = (Vllm, Sglang, LlamaCpp, TensorRtLlm)


def survey(hybrid, target, tokens=None):
    """Of each engine `engine`, `class` or what `prevented` it, and `warnings`, for the folder of `target`. `tokens`: what
    other_tokens says of it."""
    found = []
    for engine in ENGINES:
        name, prevented, warnings = engine.serve(hybrid, target)
        # llama.cpp writes the rules of dividing text into its file, by the hash of what they do.
        if name and tokens and engine is not LlamaCpp:
            warnings = [*warnings, "its tokenizer is transformers': name the base's folder as the tokenizer"]
        found.append({"engine": engine.NAME, "class": name, "prevented": prevented, "warnings": warnings})
    return found
