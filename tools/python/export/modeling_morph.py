# SPDX-License-Identifier: Apache-2.0
"""A hybrid model made by Morph, in plain PyTorch for `transformers` (trust_remote_code=True).

Layers that kept softmax attention compute what the base model computes. The others are one of
    gated_deltanet  S <- e^g S;  S <- S + k (beta (v - S^T k))^T;  o = S^T q      (gated delta rule)
    lightning       S <- e^g S + k v^T;  o = S^T q                               (fixed decay per head)
with a state S [head, key, value] in fp32, computed in chunks for several positions and step by step for one.

Shapes: B batch, T new positions, S cached and new positions, H heads, G key-value heads, D head dimension, C chunk.
"""

import torch
import torch.nn.functional as F
from torch import nn
from transformers import GenerationMixin, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast

from .configuration_morph import MorphConfig


class MorphCache:
    """What generation carries from step to step: keys and values of softmax layers, states of linear ones.

    `layers[l]` is a dictionary of tensors whose first dimension is the batch. It cannot be cropped: a recurrent state
    has no past.
    """

    is_compileable = False

    def __init__(self, layers):
        self.layers = [{} for _ in range(layers)]
        self.seen = 0

    def get_seq_length(self, layer_idx=0):
        """Positions seen so far, padding included."""
        return self.seen

    def get_max_length(self, layer_idx=None):
        """-1: the cache grows."""
        return -1

    def _map(self, function):
        self.layers = [{name: function(tensor) for name, tensor in layer.items()} for layer in self.layers]

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


class MorphRMSNorm(nn.Module):
    """weight * x / sqrt(mean(x^2) + eps), statistics in fp32 or wider."""

    def __init__(self, size, eps):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x):
        normed = wide(x)
        normed = normed * torch.rsqrt(normed.pow(2).mean(-1, keepdim=True) + self.eps)
        return self.weight * normed.to(x.dtype)


def l2_norm(x, eps=1e-6):
    """x / sqrt(sum(x^2) + eps) over the last dimension."""
    return x * torch.rsqrt(x.pow(2).sum(-1, keepdim=True) + eps)


def apply_rope(x, cos, sin):
    """Rotary embedding of x [B,T,H,D] by rotating halves of its first 2F elements; cos, sin [B,T,1,2F]."""
    rotated = x[..., : cos.shape[-1]]
    first, second = rotated.chunk(2, dim=-1)
    rotated = rotated * cos + torch.cat((-second, first), dim=-1) * sin
    return torch.cat((rotated, x[..., cos.shape[-1]:]), dim=-1)


def _chunks(x, size):
    """x [B,T,H,...] padded with zeros to whole chunks: [B,H,chunks,size,...]."""
    padding = -x.shape[1] % size
    x = F.pad(x, (0, 0) * (x.dim() - 2) + (0, padding))
    return x.reshape(x.shape[0], -1, size, *x.shape[2:]).movedim(3, 1)


def gated_delta_rule(q, k, v, g, beta, state, chunk):
    """The gated delta rule over T positions in chunks.

    q, k, v [B,T,H,D] (q scaled), g [B,T,H] log decay (<= 0), beta [B,T,H], state [B,H,D,D]; all fp32. Returns o
    [B,T,H,D] and the state after the last position. Within a chunk with c = cumsum(g), the pseudo-values
    u_i = beta_i (v_i - k_i^T e^{c_i} S - sum_{j<i} e^{c_i-c_j} (k_i k_j) u_j) come from one triangular solve.
    """
    length = q.shape[1]
    q, k, v, g, beta = (_chunks(x, chunk) for x in (q, k, v, g, beta))
    c = g.cumsum(-1)
    lower = torch.ones(chunk, chunk, dtype=torch.bool, device=q.device).tril()
    # Masked before the exponential: above the diagonal the difference is positive and may overflow.
    decay = (c.unsqueeze(-1) - c.unsqueeze(-2)).masked_fill(~lower, -torch.inf).exp()
    k_beta, v_beta = k * beta.unsqueeze(-1), v * beta.unsqueeze(-1)
    system = (k_beta @ k.mT) * decay
    right = torch.cat((v_beta, k_beta * c.exp().unsqueeze(-1)), dim=-1)
    # unitriangular: the diagonal is taken as one whatever it holds
    solved = torch.linalg.solve_triangular(system, right, upper=False, unitriangular=True)
    values, keys = solved.split((v.shape[-1], k.shape[-1]), dim=-1)
    scores = (q @ k.mT) * decay
    outputs = []
    for i in range(q.shape[2]):
        u = values[:, :, i] - keys[:, :, i] @ state
        outputs.append((q[:, :, i] * c[:, :, i, :, None].exp()) @ state + scores[:, :, i] @ u)
        last = c[:, :, i, -1:, None]
        state = state * last.exp() + (k[:, :, i] * (last - c[:, :, i, :, None]).exp()).mT @ u
    return torch.cat(outputs, dim=2).transpose(1, 2)[:, :length], state


def gated_delta_rule_step(q, k, v, g, beta, state):
    """One position of the gated delta rule: q, k, v [B,1,H,D], g, beta [B,1,H]."""
    q, k, v = (x[:, 0].unsqueeze(-2) for x in (q, k, v))
    state = state * g[:, 0, :, None, None].exp()
    state = state + k.mT @ (beta[:, 0, :, None, None] * (v - k @ state))
    return (q @ state).transpose(1, 2), state


def fixed_decay(q, k, v, g, state, chunk):
    """S <- e^g S + k v^T, o = S^T q over T positions in chunks; arguments as in gated_delta_rule."""
    length = q.shape[1]
    q, k, v, g = (_chunks(x, chunk) for x in (q, k, v, g))
    c = g.cumsum(-1)
    lower = torch.ones(chunk, chunk, dtype=torch.bool, device=q.device).tril()
    decay = (c.unsqueeze(-1) - c.unsqueeze(-2)).masked_fill(~lower, -torch.inf).exp()
    inside = ((q @ k.mT) * decay) @ v
    outputs = []
    for i in range(q.shape[2]):
        outputs.append((q[:, :, i] * c[:, :, i, :, None].exp()) @ state + inside[:, :, i])
        last = c[:, :, i, -1:, None]
        state = state * last.exp() + (k[:, :, i] * (last - c[:, :, i, :, None]).exp()).mT @ v[:, :, i]
    return torch.cat(outputs, dim=2).transpose(1, 2)[:, :length], state


def fixed_decay_step(q, k, v, g, state):
    """One position of fixed_decay: q, k, v [B,1,H,D], g [B,1,H]."""
    q, k, v = (x[:, 0].unsqueeze(-2) for x in (q, k, v))
    state = state * g[:, 0, :, None, None].exp() + k.mT @ v
    return (q @ state).transpose(1, 2), state


class MorphMixer(nn.Module):
    """What all token mixers share: projections, biases and the normalisation of queries and keys."""

    def __init__(self, config, mixer, kv_heads):
        super().__init__()
        morph, size = config.morph, config.hidden_size
        self.heads, self.kv_heads, self.head_dim = config.num_attention_heads, kv_heads, config.head_dim
        self.options = mixer.get("options", {})
        rows, kv_rows = self.heads * self.head_dim, kv_heads * self.head_dim
        self.q_proj = nn.Linear(size, rows, bias=morph["qkv_bias"])
        self.k_proj = nn.Linear(size, kv_rows, bias=morph["qkv_bias"])
        self.v_proj = nn.Linear(size, kv_rows, bias=morph["qkv_bias"])
        self.o_proj = nn.Linear(rows, size, bias=morph["o_bias"])
        self.qk_norm = morph["qk_norm_eps"] is not None
        if self.qk_norm:
            self.q_norm = MorphRMSNorm(self.head_dim, morph["qk_norm_eps"])
            self.k_norm = MorphRMSNorm(self.head_dim, morph["qk_norm_eps"])

    def project(self, x):
        """Hidden state [B,T,hidden] to q [B,T,H,D] and k, v [B,T,G,D], normalised where the base does it."""
        q = self.q_proj(x).unflatten(-1, (self.heads, self.head_dim))
        k = self.k_proj(x).unflatten(-1, (self.kv_heads, self.head_dim))
        v = self.v_proj(x).unflatten(-1, (self.kv_heads, self.head_dim))
        if self.qk_norm:
            q, k = self.q_norm(q), self.k_norm(k)
        return q, k, v


class MorphSoftmaxAttention(MorphMixer):
    """The base model's attention: causal, grouped-query, with a sliding window where the mixer has one."""

    def __init__(self, config, mixer):
        super().__init__(config, mixer, config.num_key_value_heads)
        self.window = mixer.get("window")

    def forward(self, x, cache, rope, mask):
        q, k, v = self.project(x)
        q, k = apply_rope(q, *rope).transpose(1, 2), apply_rope(k, *rope).transpose(1, 2)
        v = v.transpose(1, 2)
        if cache is not None:
            if cache:
                k, v = torch.cat((cache["k"], k), dim=2), torch.cat((cache["v"], v), dim=2)
            cache["k"], cache["v"] = k, v
        repeats = self.heads // self.kv_heads
        if repeats > 1:
            k, v = k.repeat_interleave(repeats, dim=1), v.repeat_interleave(repeats, dim=1)
        length, total = q.shape[2], k.shape[2]
        plain = mask is None and length == total and (self.window is None or self.window >= total)
        allowed = None
        if not plain:
            query = torch.arange(total - length, total, device=x.device)[:, None]
            key = torch.arange(total, device=x.device)[None, :]
            allowed = key <= query
            if self.window is not None:
                allowed = allowed & (key > query - self.window)
            if mask is not None:
                # A padded position sees itself, so that no row is empty; nothing real sees it.
                allowed = (allowed & mask[:, None, None, :]) | (key == query)
        output = F.scaled_dot_product_attention(q, k, v, attn_mask=allowed, is_causal=plain,
                                                scale=self.head_dim**-0.5)
        return self.o_proj(output.transpose(1, 2).flatten(2))


class MorphLinearAttention(MorphMixer):
    """What the linear kinds share: one head a query head, gated and normalised output, a recurrent state."""

    def __init__(self, config, mixer):
        super().__init__(config, mixer, config.num_attention_heads)
        rows = self.heads * self.head_dim
        self.g_proj = nn.Linear(config.hidden_size, rows, bias=False)
        self.o_norm = MorphRMSNorm(self.head_dim, config.morph["norm_eps"])
        self.chunk = int(self.options.get("chunk", 64))

    def state(self, cache, x):
        """The recurrent state [B,H,D,D] before the new positions."""
        if cache:
            return cache["state"]
        return wide(x.new_zeros(x.shape[0], self.heads, self.head_dim, self.head_dim))

    def finish(self, x, o):
        """Output norm, gate and projection of o [B,T,H,D] in fp32."""
        normed = self.o_norm(o).flatten(2)
        gated = normed * F.silu(wide(self.g_proj(x)))
        return self.o_proj(gated.to(x.dtype))


class MorphGatedDeltaNet(MorphLinearAttention):
    """Gated DeltaNet. Padded positions change nothing: no key, no value, no decay."""

    def __init__(self, config, mixer):
        super().__init__(config, mixer)
        self.a_proj = nn.Linear(config.hidden_size, self.heads, bias=False)
        self.b_proj = nn.Linear(config.hidden_size, self.heads, bias=False)
        self.A_log = nn.Parameter(torch.zeros(self.heads))
        self.dt_bias = nn.Parameter(torch.zeros(self.heads))
        self.width = int(self.options.get("conv", 0))
        if self.width:
            rows = self.heads * self.head_dim
            for name in ("q_conv", "k_conv", "v_conv"):
                setattr(self, name, nn.Conv1d(rows, rows, self.width, groups=rows, bias=False))

    def convolve(self, name, x, cache):
        """Causal depthwise convolution of x [B,T,H*D] with the inputs before it; leaves the last ones in the cache."""
        if not self.width:
            return x
        before = cache[name] if cache and name in cache else x.new_zeros(x.shape[0], self.width - 1, x.shape[2])
        x = torch.cat((before, x), dim=1)
        if cache is not None:
            cache[name] = x[:, x.shape[1] - (self.width - 1):]
        return getattr(self, name)(x.mT).mT

    def forward(self, x, cache, rope, mask):
        state = self.state(cache, x)
        q, k, v = (y.flatten(2) for y in self.project(x))
        if mask is not None:
            mask = mask[:, -x.shape[1]:, None]
            q, k, v = q * mask, k * mask, v * mask
        q, k, v = (self.convolve(name, y, cache) for name, y in (("q_conv", q), ("k_conv", k), ("v_conv", v)))
        q, k, v = (F.silu(wide(y)).unflatten(-1, (self.heads, self.head_dim)) for y in (q, k, v))
        q, k = l2_norm(q) * self.head_dim**-0.5, l2_norm(k)
        g = -wide(self.A_log).exp() * F.softplus(wide(self.a_proj(x)) + wide(self.dt_bias))
        beta = wide(self.b_proj(x)).sigmoid()
        if mask is not None:
            g, beta = g * mask, beta * mask
        if x.shape[1] == 1:
            o, state = gated_delta_rule_step(q, k, v, g, beta, state)
        else:
            o, state = gated_delta_rule(q, k, v, g, beta, state, self.chunk)
        if cache is not None:
            cache["state"] = state
        return self.finish(x, o)


class MorphLightningAttention(MorphLinearAttention):
    """Lightning attention: rotary queries and keys, a fixed decay per head (`decay` holds its logarithm)."""

    def __init__(self, config, mixer):
        super().__init__(config, mixer)
        self.decay = nn.Parameter(torch.zeros(self.heads), requires_grad=False)

    def forward(self, x, cache, rope, mask):
        state = self.state(cache, x)
        q, k, v = (wide(y) for y in self.project(x))
        if not self.qk_norm:
            q, k = l2_norm(q) * self.head_dim**0.5, l2_norm(k) * self.head_dim**0.5
        q, k = apply_rope(q, *rope) * self.head_dim**-0.5, apply_rope(k, *rope)
        g = wide(self.decay).expand(*x.shape[:2], self.heads)
        if mask is not None:
            mask = mask[:, -x.shape[1]:, None]
            k, v, g = k * mask[..., None], v * mask[..., None], g * mask
        if x.shape[1] == 1:
            o, state = fixed_decay_step(q, k, v, g, state)
        else:
            o, state = fixed_decay(q, k, v, g, state, self.chunk)
        if cache is not None:
            cache["state"] = state
        return self.finish(x, o)


MIXERS = {
    "full": MorphSoftmaxAttention,
    "sliding_window": MorphSoftmaxAttention,
    "gated_deltanet": MorphGatedDeltaNet,
    "lightning": MorphLightningAttention,
}


def gelu_tanh(x):
    return F.gelu(x, approximate="tanh")


def quick_gelu(x):
    return x * torch.sigmoid(1.702 * x)


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


class MorphDecoderLayer(nn.Module):
    """Token mixer and feed-forward network, each on the normalised residual stream."""

    def __init__(self, config, layer):
        super().__init__()
        mixer = config.morph["mixers"][layer]
        if mixer["kind"] not in MIXERS:
            raise ValueError(f"layer {layer} has the unknown mixer kind '{mixer['kind']}', expected {list(MIXERS)}")
        # The mixer's module has the name that its weights have in the checkpoint.
        self.mixer_name = mixer["weights"]
        setattr(self, self.mixer_name, MIXERS[mixer["kind"]](config, mixer))
        self.mlp = MorphMLP(config)
        self.input_layernorm = MorphRMSNorm(config.hidden_size, config.rms_norm_eps)
        self.post_attention_layernorm = MorphRMSNorm(config.hidden_size, config.rms_norm_eps)

    def forward(self, x, cache, rope, mask):
        x = x + getattr(self, self.mixer_name)(self.input_layernorm(x), cache, rope, mask)
        return x + self.mlp(self.post_attention_layernorm(x))


class MorphPreTrainedModel(PreTrainedModel):
    config_class = MorphConfig
    base_model_prefix = "model"
    _no_split_modules = ["MorphDecoderLayer"]
    _supports_sdpa = True
    # Exponents of decays: bf16 would move them by half a percent.
    _keep_in_fp32_modules_strict = ["A_log", "dt_bias", "decay"]

    @classmethod
    def _supports_default_dynamic_cache(cls):
        # generate() then leaves the cache to forward(), which makes a MorphCache.
        return False

    def _init_weights(self, module):
        if isinstance(module, (nn.Linear, nn.Embedding, nn.Conv1d)):
            nn.init.normal_(module.weight, std=self.config.initializer_range)
            if getattr(module, "bias", None) is not None:
                nn.init.zeros_(module.bias)


class MorphModel(MorphPreTrainedModel):
    """Embedding, layers and final norm."""

    def __init__(self, config):
        super().__init__(config)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList([MorphDecoderLayer(config, layer) for layer in range(config.num_hidden_layers)])
        self.norm = MorphRMSNorm(config.hidden_size, config.rms_norm_eps)
        self.gradient_checkpointing = False
        self.post_init()

    def rope(self, position_ids, dtype):
        """Cosine and sine [B,T,1,2F] of the positions [B,T], in fp32 until the end as the base computes them."""
        table = self.config.morph["rope"]
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
        x = self.embed_tokens(input_ids) if inputs_embeds is None else inputs_embeds
        use_cache = self.config.use_cache if use_cache is None else use_cache
        if use_cache and past_key_values is None:
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
        rope = self.rope(position_ids, x.dtype)
        hidden = [] if output_hidden_states else None
        for i, layer in enumerate(self.layers):
            if output_hidden_states:
                hidden.append(x)
            x = layer(x, past_key_values.layers[i] if past_key_values is not None else None, rope, mask)
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
        loss = None
        if labels is not None:
            loss = self.loss_function(logits=logits, labels=labels, vocab_size=self.config.vocab_size, **kwargs)
        return CausalLMOutputWithPast(loss=loss, logits=logits, past_key_values=outputs.past_key_values,
                                      hidden_states=outputs.hidden_states)
