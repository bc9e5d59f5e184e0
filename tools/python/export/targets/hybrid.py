# SPDX-License-Identifier: Apache-2.0
"""What a target is asked about: a base's config.json and the mixers that its layers may have."""

SILU = ("silu", "swish")
# Of config.json, what every stock class calls the same and means the same by.
COMMON = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
          "max_position_embeddings", "initializer_range", "use_cache", "attention_dropout", "pad_token_id",
          "bos_token_id", "eos_token_id")

# Bases whose layers are what the classes have: a norm before each of the two parts, the same rotary positions in all layers.
PLAIN = ("llama", "mistral", "qwen2", "qwen3", "qwen3_moe")


class Hybrid:
    """A base and its layers' mixers.

    base: config.json of the base, a dictionary. files: what `morph-translate --emit-pytorch` writes, as dictionaries, of
    whose `layers` each has a mixer (`kind`, `window` or `options`, `weights`); the first is the hybrid, further ones are
    what it may still become before layers are chosen. What holds of all of them holds of each hybrid that can be selected.
    """

    def __init__(self, base, files):
        self.base = base
        self.choices = [[mixer | {"own": mixer["kind"] in file.get("builtin", [])} for mixer in file["layers"]]
                        for file in files]
        self.layers = self.choices[0]
        self.family = base["model_type"]
        self.hidden = base["hidden_size"]
        self.heads = base["num_attention_heads"]
        self.kv_heads = base.get("num_key_value_heads") or self.heads
        self.head_dim = base.get("head_dim") or (128 if self.family == "qwen3" else self.hidden // self.heads)
        self.eps = base.get("rms_norm_eps", 1e-6)
        self.activation = base.get("hidden_act", "silu")
        self.has_experts = self.family == "qwen3_moe"
        self.qk_norm = self.family in ("qwen3", "qwen3_moe")
        self.o_bias = self.family in ("llama", "qwen3", "qwen3_moe") and bool(base.get("attention_bias", False))
        self.qkv_bias = self.family == "qwen2" or self.o_bias
        self.mlp_bias = bool(base.get("mlp_bias", False))

    def mixers(self):
        """(layer, mixer) of all layers in all choices."""
        return [pair for layers in self.choices for pair in enumerate(layers)]

    def linear(self):
        """The mixers in the place of full attention, each kind with its options once."""
        found = []
        for _, mixer in self.mixers():
            if mixer["kind"] != "full" and mixer not in found:
                found.append(mixer)
        return found

    def base_window(self, layer):
        """Positions that the base's attention sees in a layer; None: all."""
        window = self.base.get("sliding_window")
        if self.family == "mistral":
            return window
        if self.family not in ("qwen2", "qwen3", "qwen3_moe") or not self.base.get("use_sliding_window", False):
            return None
        if self.family == "qwen3_moe":
            return self.base.get("sliding_window", 4096)  # All layers alike, or none.
        types = self.base.get("layer_types")
        slides = types[layer] == "sliding_attention" if types else layer >= self.base.get("max_window_layers", 28)
        return (4096 if window is None else window) if slides else None

    def window(self, layer, mixer):
        """Positions that softmax attention sees in a layer: the base's, or a sliding_window's; None: all."""
        windows = [self.base_window(layer), mixer["options"]["window"] if mixer["kind"] == "sliding_window" else None]
        return min((window for window in windows if window), default=None)

    def rope(self):
        """`rope_parameters` of the base in the names of transformers 5."""
        parameters = dict(self.base.get("rope_parameters") or self.base.get("rope_scaling") or {})
        parameters["rope_type"] = parameters.pop("type", parameters.get("rope_type", "default"))
        parameters.setdefault("rope_theta", self.base.get("rope_theta", 10000.0))
        return parameters

    def common(self, model_type, architecture):
        """The fields of config.json that all targets have."""
        fields = {key: self.base[key] for key in COMMON if key in self.base}
        return fields | {"architectures": [architecture], "model_type": model_type, "num_key_value_heads": self.kv_heads,
                         "head_dim": self.head_dim, "rms_norm_eps": self.eps, "hidden_act": self.activation,
                         "attention_bias": self.qkv_bias, "rope_parameters": self.rope(),
                         "tie_word_embeddings": self.base.get("tie_word_embeddings", False)}


def join(words):
    """`a`, `a and b`, `a, b and c`."""
    words = [str(word) for word in words]
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def prevents_mixers(hybrid, kind, what):
    """Why not all mixers but full attention are Morph's mixer `kind`; `what` is what the class has in their place."""
    others = sorted({mixer["kind"] for mixer in hybrid.linear() if mixer["kind"] != kind})
    if others:
        return f"it has {what} in the place of full attention, and the hybrid has {join(others)}"
    if any(not mixer["own"] for mixer in hybrid.linear()):
        return f"the mixer {kind} is not Morph's own, so that what it computes is not known"
    return None


def prevents_projections(hybrid, what):
    """Why the base's projections and windows do not fit a class without biases and windows, whose MLP has SiLU."""
    if hybrid.qkv_bias or hybrid.o_bias:
        return f"the base's projections have biases, and those of {what} have none"
    if hybrid.mlp_bias:
        return "the base's MLP has biases, and the class's has none"
    if hybrid.activation not in SILU:
        return f"the base's MLP has {hybrid.activation}, which the class would use in its linear layers too"
    if any(mixer["kind"] == "full" and mixer["window"] for _, mixer in hybrid.mixers()):
        return "its full attention has no sliding window, and the base's has one"
    return None


def pad_filter(filter_, width):
    """A causal filter [C,1,W] as one of `width` positions, older ones zero: the same sums, bit for bit."""
    missing = width - filter_.shape[-1]
    return filter_.new_zeros(filter_.shape[0], 1, width).index_copy_(
        -1, filter_.new_tensor(range(missing, width), dtype=int), filter_)


def filter_width(hybrid):
    """Of the filters of all layers: the largest there is, and at least 4, the width that kernels of other programs are written
    for."""
    return max(4, *(mixer["options"]["conv"] for mixer in hybrid.linear()))


def filters(take, prefix, names, rows, width):
    """The filters of several projections, one below the other [len(names) * rows,1,width]; where there is none, the
    newest input alone."""
    import torch

    found = []
    for name in names:
        if f"{prefix}{name}" in take:
            found.append(pad_filter(take(f"{prefix}{name}"), width))
        else:
            newest = torch.zeros(rows, 1, width)
            newest[:, :, -1] = 1
            found.append(newest)
    dtype = found[0].dtype
    return torch.cat([filter_.to(dtype) for filter_ in found])


def prevents_family(hybrid):
    """What no class has of a base's family; None where that is nothing."""
    if hybrid.family in PLAIN:
        return None
    return f"hybrids of bases of type {hybrid.family} are written with code of their own alone"
