# SPDX-License-Identifier: Apache-2.0
"""A hybrid model made by Morph, in plain PyTorch for `transformers` (trust_remote_code=True).

Layers that kept softmax attention compute what the base model computes. The others have mixers that were declared in
Morph's language; `morph-translate --emit-pytorch` has written a class for each of them, below. Most are recurrences of
one family (`linear_attention`), with a state [head, key, value] in fp32.

Shapes: B batch, T new positions, S cached and new positions, H heads, G groups of heads that share keys, K key and V
value dimension of a head, C chunk. `cache` is a layer's LayerCache, None where nothing is decoded; `mask` [B,S] is
False at padding, which is on the left, None where there is none.
"""

import re

import torch
import torch.nn.functional as F
from torch import nn
from transformers import GenerationMixin, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast

from .configuration_morph import MorphConfig


class LayerCache:
    """A layer's tensors by name, whose first dimension is the batch; a mixer puts new ones in their places.

    It is no dictionary: accelerate's hooks (`device_map` over several devices, offloaded weights) give modules copies of those
    that they are called with, and what a mixer leaves in a copy is lost.
    """

    def __init__(self, tensors=()):
        self.tensors = dict(tensors)

    def __contains__(self, name):
        return name in self.tensors

    def __getitem__(self, name):
        return self.tensors[name]

    def __setitem__(self, name, tensor):
        self.tensors[name] = tensor

    def __len__(self):
        return len(self.tensors)

    def items(self):
        return self.tensors.items()

    def values(self):
        return self.tensors.values()


class MorphCache:
    """What generation carries from step to step: keys and values of softmax layers, states of linear ones, a
    LayerCache each. It cannot be cropped: a recurrent state has no past.
    """

    is_compileable = False

    def __init__(self, layers):
        self.layers = [LayerCache() for _ in range(layers)]
        self.seen = 0

    def get_seq_length(self, layer_idx=0):
        """Positions seen so far, padding included."""
        return self.seen

    def get_max_length(self, layer_idx=None):
        """-1: the cache grows."""
        return -1

    def _map(self, function):
        self.layers = [LayerCache((name, function(tensor)) for name, tensor in layer.items()) for layer in self.layers]

    def reorder_cache(self, beam_idx):
        """Picks the beams that go on."""
        self._map(lambda tensor: tensor.index_select(0, beam_idx.to(tensor.device)))

    batch_select_indices = reorder_cache

    def batch_repeat_interleave(self, repeats):
        """Repeats every sequence `repeats` times in place."""
        self._map(lambda tensor: tensor.repeat_interleave(repeats, dim=0))

    def crop(self, *arguments):
        raise NotImplementedError("a cache with recurrent states cannot be cropped (no assisted decoding)")


def wide(x):
    """x in fp32, or in fp64 where it is that: half precision is too little for sums, norms and states."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def rms_norm(x, weight, eps):
    """weight * x / sqrt(mean(x^2) + eps), statistics in fp32 or wider."""
    normed = wide(x)
    normed = normed * torch.rsqrt(normed.pow(2).mean(-1, keepdim=True) + eps)
    return weight * normed.to(x.dtype)


class MorphRMSNorm(nn.Module):
    """`rms_norm` with a weight of its own, to which `offset` is added."""

    def __init__(self, size, eps, offset=0.0):
        super().__init__()
        self.weight = nn.Parameter(torch.full((size,), 1.0 - offset))
        self.eps, self.offset = eps, offset

    def forward(self, x):
        if self.offset == 0:
            return rms_norm(x, self.weight, self.eps)
        return rms_norm(wide(x), wide(self.weight) + self.offset, self.eps).to(x.dtype)


def l2_norm(x, eps):
    """x / sqrt(sum(x^2) + eps) over the last dimension."""
    return x * torch.rsqrt(x.pow(2).sum(-1, keepdim=True) + eps)


def expand(x, width):
    """x [...] as [...,width]: each element as a row of equal ones."""
    return x.unsqueeze(-1).expand(*x.shape, width)


def apply_rope(x, cos, sin):
    """Rotary embedding of x [B,T,H,K] by rotating halves of its first 2F elements; cos, sin [B,T,1,2F]."""
    rotated = x[..., : cos.shape[-1]]
    first, second = rotated.chunk(2, dim=-1)
    rotated = rotated * cos + torch.cat((-second, first), dim=-1) * sin
    return torch.cat((rotated, x[..., cos.shape[-1]:]), dim=-1)


def mask_padding(x, mask):
    """x [B,T,...], zero at padded positions."""
    return x if mask is None else x * mask[:, -x.shape[1]:].reshape(*x.shape[:2], *(1,) * (x.dim() - 2))


def convolve(cache, name, x, weight, mask):
    """Causal depthwise convolution of x [B,T,...] over all its channels by weight [channels,1,W].

    The last W - 1 inputs are `cache[name]`. Padding is no input: what it left there would be seen by real positions.
    """
    inputs = mask_padding(x, mask).flatten(2)
    before = cache[name] if cache and name in cache else x.new_zeros(x.shape[0], weight.shape[2] - 1, inputs.shape[2])
    inputs = torch.cat((before, inputs), dim=1)
    if cache is not None:
        cache[name] = inputs[:, inputs.shape[1] - before.shape[1]:]
    return F.conv1d(inputs.mT, weight.to(x.dtype), groups=weight.shape[0]).mT.reshape(x.shape)


def softcapped(x, cap):
    """cap * tanh(x / cap)"""
    return cap * torch.tanh(x / cap)


def attention(cache, names, q, k, v, mask, scale, window=None, softcap=None):
    """Causal softmax attention of q [B,T,H,K] to k, v [B,T,G,...] and those before them, `cache[names]` [B,G,S,...].

    A query sees `window` positions, its own included, or all; no more than that are kept. `softcap` bounds scores.
    """
    q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
    if cache is not None:
        if names[0] in cache:
            k, v = torch.cat((cache[names[0]], k), dim=2), torch.cat((cache[names[1]], v), dim=2)
        kept = 0 if window is None else max(k.shape[2] - window, 0)
        cache[names[0]], cache[names[1]] = k[:, :, kept:], v[:, :, kept:]
    repeats = q.shape[1] // k.shape[1]
    if repeats > 1:
        k, v = k.repeat_interleave(repeats, dim=1), v.repeat_interleave(repeats, dim=1)
    length, total = q.shape[2], k.shape[2]
    plain = mask is None and length == total and (window is None or window >= total)
    allowed = None
    if not plain:
        query = torch.arange(total - length, total, device=q.device)[:, None]
        key = torch.arange(total, device=q.device)[None, :]
        allowed = key <= query
        if window is not None:
            allowed = allowed & (key > query - window)
        if mask is not None:
            # A padded position sees itself, so that no row is empty; nothing real sees it.
            allowed = (allowed & mask[:, None, None, -total:]) | (key == query)
    if softcap is None:
        output = F.scaled_dot_product_attention(q, k, v, attn_mask=allowed, is_causal=plain, scale=scale)
        return output.transpose(1, 2)
    if plain:
        allowed = torch.ones(length, length, dtype=torch.bool, device=q.device).tril()
    scores = softcapped((q @ k.mT) * scale, softcap).masked_fill(~allowed, -torch.inf)
    return (wide(scores).softmax(-1).to(q.dtype) @ v).transpose(1, 2)


# Chunks of recurrences whose decay differs by key channel: products of each pair of positions and channel are in memory.
CHANNEL_CHUNK = 16


def linear_attention_chunk(q, k, v, decay, write, erase, state):
    """`linear_attention` of one chunk, heads before positions: q, k, write, erase [B,H,C,K], v [B,H,C,V].

    decay [B,H,C,1] or [B,H,C,K] is the sum of the logarithms from the chunk's begin on. Only differences of them become
    exponents, so that nothing overflows.
    """
    positions = q.shape[2]
    lower = torch.ones(positions, positions, dtype=torch.bool, device=q.device).tril()
    # Masked before the exponential: above the diagonal the difference is positive and may overflow.
    between = (decay.unsqueeze(3) - decay.unsqueeze(2)).masked_fill(~lower[..., None], -torch.inf).exp()

    def scores(x, y):
        """x_i . (e^(decay_i - decay_j) y_j), zero for j > i: [B,H,C,C]."""
        if between.shape[-1] == 1:
            return (x @ y.mT) * between[..., 0]
        return torch.einsum("bhik,bhjk,bhijk->bhij", x, y, between)

    since, until = decay.exp(), (decay[:, :, -1:] - decay).exp()
    output = (q * since) @ state + scores(q, k) @ v
    added = (k * until).mT @ v
    if write is not None:
        # What each position erases, u_i = erase_i . (decayed state before i), hangs on those of positions before it.
        right = (erase * since) @ state + scores(erase, k).tril(-1) @ v
        u = torch.linalg.solve_triangular(-scores(erase, write).tril(-1), right, upper=False, unitriangular=True)
        output = output + scores(q, write) @ u
        added = added + (write * until).mT @ u
    return output, state * decay[:, :, -1].exp().unsqueeze(-1) + added


def linear_attention(q, k, v, state, decay=None, beta=None, write=None, erase=None, bonus=None, scale=1.0,
                     normaliser=None, chunk=64):
    """The family of gated linear recurrences over T positions, in chunks; a chunk of one position is a step.

        S <- D S + write (erase^T D S) + k v^T,  o = scale (S^T q + (sum(bonus q k)) v)

    q, k [B,T,G,K], v [B,T,H,V], all fp32 or wider. D is the diagonal of e^decay; decay is [H], [B,T,H] or [B,T,H,K], and
    not there where nothing decays. write, erase [B,T,H,K]; the delta rule S <- D S + k (beta (v - (D S)^T k))^T has beta
    [B,T,H] instead. bonus [H,K]. With a normaliser v has a further column of ones, by which plus `normaliser` the others
    of the output are divided. Returns o [B,T,H,V] and the state [B,H,K,V], or [B,H,K,V+1], after the last position.
    """
    length, heads = v.shape[1:3]
    if q.shape[2] != heads:
        q, k = (x.repeat_interleave(heads // q.shape[2], dim=2) for x in (q, k))
    if normaliser is not None:
        v = F.pad(v, (0, 1), value=1.0)
    direct = None if bonus is None else (bonus * q * k).sum(-1, keepdim=True) * v
    if beta is not None:
        beta = beta.unsqueeze(-1)
        write, erase, v = -beta * k, k, beta * v
    if decay is None:
        decay = v.new_zeros(heads)
    if decay.dim() < 4:
        decay = decay.expand(*v.shape[:2], heads).unsqueeze(-1)
    if decay.shape[-1] > 1:
        chunk = min(chunk, CHANNEL_CHUNK)
    q, k, v, decay, write, erase = (x if x is None else x.transpose(1, 2) for x in (q, k, v, decay, write, erase))
    outputs = []
    for begin in range(0, length, chunk):
        part = [x if x is None else x[:, :, begin:begin + chunk] for x in (q, k, v, decay, write, erase)]
        part[3] = part[3].cumsum(2)
        output, state = linear_attention_chunk(*part, state)
        outputs.append(output)
    output = torch.cat(outputs, dim=2).transpose(1, 2)
    if direct is not None:
        output = output + direct
    output = scale * output
    if normaliser is not None:
        output = output[..., :-1] / (output[..., -1:] + normaliser)
    return output, state


def fla_kernel(decay, beta, write, bonus, normaliser):
    """The kernel of flash-linear-attention for a recurrence with these operands; None where there is none, or no fla."""
    if write is not None or bonus is not None or normaliser is not None:
        return None
    channels = decay is not None and decay.dim() == 4
    try:
        if beta is None and channels:
            from fla.ops.gla import chunk_gla as kernel
        elif beta is None:
            from fla.ops.simple_gla import chunk_simple_gla as kernel
        elif channels:
            from fla.ops.kda import chunk_kda as kernel
        else:
            from fla.ops.gated_delta_rule import chunk_gated_delta_rule as kernel
    except ImportError:
        return None
    return kernel


def recurrence(cache, name, q, k, v, mask, dtype, **operands):
    """`linear_attention` from the state `cache[name]` on, zero where there is none, which it leaves there.

    Padding has no keys: a state that nothing was added to is zero whatever is done with it. `dtype` is the model's: half
    precision on a GPU has kernels, where fla is installed.
    """
    k = mask_padding(k, mask)
    normaliser = operands.get("normaliser")
    state = cache[name] if cache and name in cache else v.new_zeros(
        v.shape[0], v.shape[2], k.shape[3], v.shape[3] + (normaliser is not None))
    decay, beta = operands.get("decay"), operands.get("beta")
    kernel = None
    if v.is_cuda and dtype in (torch.float16, torch.bfloat16) and v.shape[1] > 1:
        kernel = fla_kernel(decay, beta, operands.get("write"), operands.get("bonus"), normaliser)
    if kernel is None:
        o, state = linear_attention(q, k, v, state, **operands)
    else:
        repeats = v.shape[2] // q.shape[2]
        q, k = (x.repeat_interleave(repeats, dim=2) for x in (q, k))
        if decay is None or decay.dim() < 4:
            decay = (v.new_zeros(v.shape[2]) if decay is None else decay).expand(v.shape[:3])
        given = {"g": decay.contiguous()} | ({} if beta is None else {"beta": beta.to(dtype)})
        o, state = kernel(q.to(dtype), k.to(dtype), v.to(dtype), **given, scale=operands.get("scale", 1.0),
                          initial_state=state, output_final_state=True)
        o = wide(o)
    if cache is not None:
        cache[name] = state
    return o


class MorphGroup(nn.Module):
    """Modules and parameters by name, for weights such as `f_proj.0.weight`."""

    def __init__(self, parts):
        super().__init__()
        for name, part in parts.items():
            # Not as attributes: a name may be one that modules have, or no attribute's.
            (self._modules if isinstance(part, nn.Module) else self._parameters)[name] = part

    def __getitem__(self, name):
        return self._modules[name] if name in self._modules else self._parameters[name]


class MorphLinear(nn.Linear):
    """W x + b, the bias added in fp32 or wider, which the result has."""

    def forward(self, x):
        return wide(F.linear(x, self.weight)) + self.bias


class MorphMixer(nn.Module):
    """What all token mixers have: the sizes of the base's attention, under names that no weight has."""

    def __init__(self, config):
        super().__init__()
        self._hidden, self._head_dim = config.hidden_size, config.head_dim
        self._heads, self._kv_heads = config.num_attention_heads, config.num_key_value_heads


class MorphSoftmaxAttention(MorphMixer):
    """The base model's attention: causal, grouped-query, with a sliding window where the mixer has one."""

    def __init__(self, config, mixer):
        super().__init__(config)
        morph, rows, kv_rows = config.morph, self._heads * self._head_dim, self._kv_heads * self._head_dim
        self.q_proj = nn.Linear(self._hidden, rows, bias=morph["qkv_bias"])
        self.k_proj = nn.Linear(self._hidden, kv_rows, bias=morph["qkv_bias"])
        self.v_proj = nn.Linear(self._hidden, kv_rows, bias=morph["qkv_bias"])
        self.o_proj = nn.Linear(rows, self._hidden, bias=morph["o_bias"])
        self.qk_norm, self.is_wide = morph["qk_norm_eps"] is not None, morph["qk_norm_wide"]
        if self.qk_norm:
            sizes = (rows, kv_rows) if self.is_wide else (self._head_dim, self._head_dim)
            self.q_norm, self.k_norm = (MorphRMSNorm(size, morph["qk_norm_eps"], morph["qk_norm_offset"])
                                        for size in sizes)
        self.window, self.scale, self.softcap = mixer.get("window"), morph["attention_scale"], morph["attention_softcap"]

    def forward(self, x, cache, rope, mask):
        q, k = self.q_proj(x), self.k_proj(x)
        if self.qk_norm and self.is_wide:
            q, k = self.q_norm(q), self.k_norm(k)
        q, k = q.unflatten(-1, (self._heads, -1)), k.unflatten(-1, (self._kv_heads, -1))
        v = self.v_proj(x).unflatten(-1, (self._kv_heads, -1))
        if self.qk_norm and not self.is_wide:
            q, k = self.q_norm(q), self.k_norm(k)
        if rope is not None:
            q, k = apply_rope(q, *rope), apply_rope(k, *rope)
        o = attention(cache, ("k", "v"), q, k, v, mask, self.scale, self.window, self.softcap)
        return self.o_proj(o.flatten(2))


def quick_gelu(x):
    """x * sigmoid(1.702 x)."""
    return x * torch.sigmoid(1.702 * x)


# <declared mixers>
# The classes of declared mixers by name.
DECLARED = {}
# </declared mixers>


def gelu_tanh(x):
    return F.gelu(x, approximate="tanh")


ACTIVATIONS = {"silu": F.silu, "swish": F.silu, "gelu_pytorch_tanh": gelu_tanh, "gelu_new": gelu_tanh,
               "quick_gelu": quick_gelu}


class MorphMLP(nn.Module):
    """down(activation(gate x) * up x)."""

    def __init__(self, config):
        super().__init__()
        if config.hidden_act not in ACTIVATIONS:
            raise ValueError(f"hidden_act '{config.hidden_act}' is not supported, expected one of {list(ACTIVATIONS)}")
        self.activation = ACTIVATIONS[config.hidden_act]
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, x):
        return self.down_proj(self.activation(self.gate_proj(x)) * self.up_proj(x))


class MorphExperts(nn.Module):
    """The matrices of all experts: gates above ups [E,2F,C], downs [E,C,F]."""

    def __init__(self, hidden, count, inner):
        super().__init__()
        self.gate_up_proj = nn.Parameter(torch.empty(count, 2 * inner, hidden))
        self.down_proj = nn.Parameter(torch.empty(count, hidden, inner))


class MorphMixture(nn.Module):
    """A mixture of experts: the sum over the likeliest experts of a router of share * down(silu(gate x) * up x)."""

    def __init__(self, config):
        super().__init__()
        experts = config.morph["experts"]
        self.active, self.normalised = experts["active"], experts["normalised"]
        self.gate = nn.Linear(config.hidden_size, experts["count"], bias=False)
        self.experts = MorphExperts(config.hidden_size, experts["count"], experts["inner"])

    def forward(self, x):
        rows = x.flatten(0, -2)
        shares, chosen = wide(self.gate(rows)).softmax(-1).topk(self.active, dim=-1)
        if self.normalised:
            shares = shares / shares.sum(-1, keepdim=True)
        y = torch.zeros_like(rows)
        for expert in chosen.unique().tolist():
            row, place = torch.where(chosen == expert)
            gate, up = F.linear(rows[row], self.experts.gate_up_proj[expert]).chunk(2, dim=-1)
            part = F.linear(F.silu(gate) * up, self.experts.down_proj[expert])
            y.index_add_(0, row, part * shares[row, place, None].to(part.dtype))
        return y.view_as(x)


class MorphDecoderLayer(nn.Module):
    """Token mixer and feed-forward network, each with a norm before it, behind it, or both."""

    def __init__(self, config, layer):
        super().__init__()
        mixer = config.morph["mixers"][layer]
        if mixer["kind"] != "full" and mixer["class"] not in DECLARED:
            raise ValueError(f"layer {layer} has the unknown mixer class '{mixer['class']}', expected {list(DECLARED)}")
        # The mixer's module has the name that its weights have in the checkpoint.
        self.mixer_name, self.rope_name = mixer["weights"], mixer["rope"]
        setattr(self, self.mixer_name, MorphSoftmaxAttention(config, mixer) if mixer["kind"] == "full"
                else DECLARED[mixer["class"]](config))
        experts = config.morph["experts"]
        self.mlp = MorphMixture(config) if experts and layer in experts["layers"] else MorphMLP(config)
        norms = config.morph["norms"]
        for name in norms:
            setattr(self, name, MorphRMSNorm(config.hidden_size, config.rms_norm_eps, config.morph["norm_offset"]))
        # The names of the norms around each of the two; None: there is none.
        has_after = "post_feedforward_layernorm" in norms
        self.around = (
            ("input_layernorm" if "input_layernorm" in norms else None, "post_attention_layernorm" if has_after else None),
            (("pre_feedforward_layernorm" if "pre_feedforward_layernorm" in norms else None, "post_feedforward_layernorm")
             if has_after else ("post_attention_layernorm", None)))

    def norm(self, name, x):
        return x if name is None else getattr(self, name)(x)

    @property
    def mixer(self):
        return getattr(self, self.mixer_name)

    def forward(self, x, cache, ropes, mask):
        rope = None if self.rope_name is None else ropes[self.rope_name]
        (before, after), (before_mlp, after_mlp) = self.around
        x = x + self.norm(after, self.mixer(self.norm(before, x), cache, rope, mask))
        return x + self.norm(after_mlp, self.mlp(self.norm(before_mlp, x)))


class MorphPreTrainedModel(PreTrainedModel):
    config_class = MorphConfig
    base_model_prefix = "model"
    _no_split_modules = ["MorphDecoderLayer"]
    _supports_sdpa = True
    supports_gradient_checkpointing = True

    @classmethod
    def _supports_default_dynamic_cache(cls):
        # generate() then leaves the cache to forward(), which makes a MorphCache.
        return False

    def _init_weights(self, module):
        if isinstance(module, (nn.Linear, nn.Embedding, nn.Conv1d)):
            nn.init.normal_(module.weight, std=self.config.initializer_range)
            if getattr(module, "bias", None) is not None:
                nn.init.zeros_(module.bias)
        if isinstance(module, MorphExperts):
            for parameter in module.parameters():
                nn.init.normal_(parameter, std=self.config.initializer_range)


class MorphModel(MorphPreTrainedModel):
    """Embedding, layers and final norm."""

    def __init__(self, config):
        super().__init__(config)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList([MorphDecoderLayer(config, layer) for layer in range(config.num_hidden_layers)])
        self.norm = MorphRMSNorm(config.hidden_size, config.rms_norm_eps, config.morph["norm_offset"])
        self.gradient_checkpointing = False
        # Vectors of declared mixers (decays, norms, biases) are fp32 in a model of any type, and nothing else is:
        # transformers searches these expressions in names, before which the whole model's have its own.
        self._keep_in_fp32_modules_strict = [
            rf"(?:^|\.){re.escape(name)}$" for i, layer in enumerate(self.layers)
            if isinstance(layer.mixer, tuple(DECLARED.values()))
            for name, parameter in layer.mixer.named_parameters(f"layers.{i}.{layer.mixer_name}")
            if parameter.dim() == 1]
        self.post_init()

    def rope(self, table, position_ids, dtype):
        """Cosine and sine [B,T,1,2F] of the positions [B,T], in fp32 until the end as the base computes them."""
        width = torch.promote_types(dtype, torch.float32)
        frequencies = torch.tensor(table["inverse_frequencies"], dtype=width, device=position_ids.device)
        angles = position_ids[..., None].to(width) * frequencies
        angles = torch.cat((angles, angles), dim=-1).unsqueeze(2)
        factor = table["attention_factor"]
        return (angles.cos() * factor).to(dtype), (angles.sin() * factor).to(dtype)

    def forward(self, input_ids=None, attention_mask=None, position_ids=None, past_key_values=None,
                inputs_embeds=None, use_cache=None, output_hidden_states=None, **kwargs):
        """`attention_mask` [B,S] is 1 at tokens and 0 at padding; padding must be on the left of all tokens."""
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("exactly one of input_ids and inputs_embeds must be given")
        x = inputs_embeds
        if x is None:
            x = self.embed_tokens(input_ids)
            if self.config.morph["embedding_scale"] != 1:
                x = x * torch.tensor(self.config.morph["embedding_scale"], dtype=x.dtype, device=x.device)
        use_cache = self.config.use_cache if use_cache is None else use_cache
        # A layer whose forward is computed again would add to its cache again.
        checkpointed = self.gradient_checkpointing and self.training
        if checkpointed and past_key_values is not None:
            raise ValueError("gradient checkpointing cannot go with a cache: leave past_key_values out")
        if use_cache and not checkpointed and past_key_values is None:
            past_key_values = MorphCache(self.config.num_hidden_layers)
        past = past_key_values.get_seq_length() if past_key_values is not None else 0
        mask = None
        if attention_mask is not None:
            if attention_mask.dim() != 2 or attention_mask.shape[1] != past + x.shape[1]:
                raise ValueError(f"attention_mask has shape {tuple(attention_mask.shape)}, expected "
                                 f"[{x.shape[0]}, {past + x.shape[1]}]: cached and new positions")
            if not attention_mask.bool().all():
                mask = attention_mask.bool()
        if position_ids is None:
            position_ids = torch.arange(past, past + x.shape[1], device=x.device).unsqueeze(0)
        ropes = {name: self.rope(table, position_ids, x.dtype) for name, table in self.config.morph["ropes"].items()}
        hidden = [] if output_hidden_states else None
        for i, layer in enumerate(self.layers):
            if output_hidden_states:
                hidden.append(x)
            arguments = (x, past_key_values.layers[i] if past_key_values is not None else None, ropes, mask)
            x = self._gradient_checkpointing_func(layer.__call__, *arguments) if checkpointed else layer(*arguments)
        x = self.norm(x)
        if past_key_values is not None:
            past_key_values.seen = past + x.shape[1]
        return BaseModelOutputWithPast(last_hidden_state=x, past_key_values=past_key_values,
                                       hidden_states=(*hidden, x) if output_hidden_states else None)


class MorphForCausalLM(MorphPreTrainedModel, GenerationMixin):
    """The model with its language head."""

    _tied_weights_keys = {"lm_head.weight": "model.embed_tokens.weight"}

    def __init__(self, config):
        super().__init__(config)
        self.model = MorphModel(config)
        self.vocab_size = config.vocab_size
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def forward(self, input_ids=None, attention_mask=None, position_ids=None, past_key_values=None,
                inputs_embeds=None, labels=None, use_cache=None, logits_to_keep=0, output_hidden_states=None, **kwargs):
        """Logits [B,T,V] of all positions, or of the last `logits_to_keep`; with `labels` the next-token loss too."""
        kwargs.pop("return_dict", None)
        outputs = self.model(input_ids=input_ids, attention_mask=attention_mask, position_ids=position_ids,
                             past_key_values=past_key_values, inputs_embeds=inputs_embeds, use_cache=use_cache,
                             output_hidden_states=output_hidden_states)
        kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits = self.lm_head(outputs.last_hidden_state[:, kept])
        if self.config.morph["logit_softcap"] is not None:
            logits = softcapped(logits, self.config.morph["logit_softcap"])
        loss = None
        if labels is not None:
            loss = self.loss_function(logits=logits, labels=labels, vocab_size=self.config.vocab_size, **kwargs)
        return CausalLMOutputWithPast(loss=loss, logits=logits, past_key_values=outputs.past_key_values,
                                      hidden_states=outputs.hidden_states)
