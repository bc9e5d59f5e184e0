# SPDX-License-Identifier: Apache-2.0
"""Every mixer of dialect/mixers as its paper defines it, one position after another or as the paper's sum over pairs, in
plain PyTorch of any precision: what declarations are measured by, so written without them.

    reference(x, w, base, **options) -> [B,T,M]

x [B,T,M] is the layer's normalised hidden state; w are the mixer's weights by the names of its declaration; `base` what
the mixer takes over from full attention. Where a declaration says that it differs from its paper, the reference follows
and says so. "fla" is github.com/fla-org/flash-linear-attention.

Shapes: B batch, T positions, M hidden size, H heads, G key-value heads, D head dimension.
"""

import dataclasses
import math

import torch
import torch.nn.functional as F


@dataclasses.dataclass
class Base:
    """The full attention that a mixer replaces. cos, sin [B,T,D]: rotary positions by halves, as transformers has them."""
    heads: int
    kv_heads: int
    head_dim: int
    norm_eps: float
    qk_norm: bool
    window: int | None
    cos: torch.Tensor
    sin: torch.Tensor


# What conversions share: projections of the base, with the biases and norms that belong to them.

def linear(x, w, name):
    """The layer `name` of nn.Linear."""
    return F.linear(x, w[f"{name}.weight"], w.get(f"{name}.bias"))


def base_head(x, w, base, name, heads=None):
    """Queries, keys or values of the base: [B,T,heads,D]. Its norm a head stands after the bias (Qwen3)."""
    y = linear(x, w, f"{name}_proj").unflatten(-1, (heads or base.heads, base.head_dim))
    if base.qk_norm and name in ("q", "k"):
        y = F.rms_norm(y, (base.head_dim,), w[f"{name}_norm.weight"], base.norm_eps)
    return y


def rotate(x, base):
    """RoFormer (arXiv 2104.09864, eq. 34) with the halves of transformers' `rotate_half`."""
    half = base.head_dim // 2
    turned = torch.cat((-x[..., half:], x[..., :half]), -1)
    return x * base.cos.unsqueeze(2) + turned * base.sin.unsqueeze(2)


def short_convolution(x, weight):
    """Causal depthwise convolution of x [B,T,H,D] as Mamba and fla do it: nn.Conv1d with padding, cut at the end."""
    channels, _, taps = weight.shape
    y = F.conv1d(x.flatten(2).mT, weight, padding=taps - 1, groups=channels)
    return y[..., :x.shape[1]].mT.reshape(x.shape)


def activated(x, w, base, name, conv):
    """silu of the (convolved) projection, as fla's layers with `use_short_conv` have it: the activation stands last."""
    y = base_head(x, w, base, name)
    return F.silu(short_convolution(y, w[f"{name}_conv.weight"]) if conv else y)


def unit(x):
    """fla/modules/l2norm.py."""
    return x / (x.square().sum(-1, keepdim=True) + 1e-6).sqrt()


def head_norm(o, w, base):
    """RMS norm over a head's channels, [B,T,H,D] to [B,T,H*D]."""
    return F.rms_norm(o, (base.head_dim,), w["o_norm.weight"], base.norm_eps).flatten(2)


def scores_with_decay(q, k, v, decay):
    """sum over j <= t of decay_h^(t-j) (q_t . k_j) v_j, for q, k, v [B,T,H,D] and decay [H]: retention's parallel form
    (arXiv 2307.08621, eq. 5), with no scale."""
    t = torch.arange(q.shape[1], dtype=q.dtype)
    between = (t[:, None] - t[None, :]).tril()
    mask = (decay[:, None, None] ** between).tril()
    return torch.einsum("bthd,bjhd,htj,bjhv->bthv", q, k, mask, v)


def loop(positions, step, state):
    """The outputs of `step(t, state) -> (output, state)`, stacked along the positions."""
    outputs = []
    for t in range(positions):
        output, state = step(t, state)
        outputs.append(output)
    return torch.stack(outputs, 1)


def gated_recurrence(q, k, v, log_decay):
    """fla/ops/gla/naive.py without its scale: S = diag(exp(g)) S + k v^T, o = S^T q. log_decay [B,T,H,D]."""
    def step(t, state):
        state = state * log_decay[:, t].exp().unsqueeze(-1) + k[:, t].unsqueeze(-1) * v[:, t].unsqueeze(-2)
        return (q[:, t].unsqueeze(-1) * state).sum(-2), state
    return loop(q.shape[1], step, q.new_zeros(*q.shape[:1], *q.shape[2:], v.shape[-1]))


def delta_recurrence(q, k, v, beta, log_decay=None):
    """The delta rule: the decayed state's value at k is replaced by beta v + (1 - beta) of what it was. beta [B,T,H];
    log_decay [B,T,H,1] or [B,T,H,D] (Gated DeltaNet, arXiv 2412.06464, eq. 10; Kimi Linear, arXiv 2510.26692, eq. 1;
    without it DeltaNet, arXiv 2406.06484, section 2.2). No scale."""
    def step(t, state):
        key = k[:, t]
        if log_decay is not None:
            state = log_decay[:, t].exp().unsqueeze(-1) * state
        old = torch.einsum("bhkv,bhk->bhv", state, key)
        strength = beta[:, t].unsqueeze(-1)
        new = strength * v[:, t] + (1 - strength) * old
        state = state - torch.einsum("bhk,bhv->bhkv", key, old) + torch.einsum("bhk,bhv->bhkv", key, new)
        return torch.einsum("bhkv,bhk->bhv", state, q[:, t]), state
    return loop(q.shape[1], step, q.new_zeros(*q.shape[:1], *q.shape[2:], v.shape[-1]))


# The mixers.

def lightning(x, w, base, **_):
    """Lightning attention (arXiv 2405.17381): decays exp(-s), with the slopes s = 2^(-8 h / H), h from 1, of transformers'
    modeling_minimax.py.

    As the declaration says: norms of q and k and rotary positions in the place of activations, a norm a head, a silu gate,
    the same decays in all layers. Without the base's norms SimpleRMSNorm (TransNormerLLM, arXiv 2307.14995), whose eps
    stands beside the sum.
    """
    q, k, v = (base_head(x, w, base, name) for name in "qkv")
    if not base.qk_norm:
        q, k = (y / ((y.square().sum(-1, keepdim=True) + 1e-6).sqrt() / base.head_dim**0.5) for y in (q, k))
    slopes = torch.tensor([2 ** (-8 * h / base.heads) for h in range(1, base.heads + 1)], dtype=x.dtype)
    o = scores_with_decay(rotate(q, base), rotate(k, base), v, (-slopes).exp()) / base.head_dim**0.5
    return linear(head_norm(o, w, base) * F.silu(linear(x, w, "g_proj")), w, "o_proj")


def retnet(x, w, base, **_):
    """RetNet (arXiv 2307.08621, eq. 5 and 8): gamma = 1 - 2^(-5-h), h from 0; (swish(X W_G) . norm(heads)) W_O. The scale
    of scores is of its section 2.2; RMS norms with weights are fla's (fla/layers/multiscale_retention.py)."""
    q, k, v = (base_head(x, w, base, name) for name in "qkv")
    gamma = torch.tensor([1 - 2.0 ** (-5 - h) for h in range(base.heads)], dtype=x.dtype)
    o = scores_with_decay(rotate(q, base) * base.head_dim**-0.5, rotate(k, base), v, gamma)
    return linear(F.silu(linear(x, w, "g_proj")) * head_norm(o, w, base), w, "o_proj")


def gla(x, w, base, **_):
    """Gated Linear Attention (arXiv 2312.06635, section 4.4; fla/layers/gla.py): alpha = sigmoid(W2 W1 x + b)^(1/16)."""
    q, k, v = (base_head(x, w, base, name) for name in "qkv")
    alpha = torch.sigmoid(linear(linear(x, w, "gk_proj.0"), w, "gk_proj.1"))
    log_alpha = (alpha.log() / 16).unflatten(-1, (base.heads, base.head_dim))
    o = gated_recurrence(q * base.head_dim**-0.5, k, v, log_alpha)
    return linear(head_norm(o, w, base) * F.silu(linear(x, w, "g_proj")), w, "o_proj")


def deltanet(x, w, base, conv=4):
    """DeltaNet (arXiv 2406.06484; fla/layers/delta_net.py with its defaults)."""
    q, k, v = (activated(x, w, base, name, conv) for name in "qkv")
    o = delta_recurrence(unit(q) * base.head_dim**-0.5, unit(k), v, linear(x, w, "b_proj").sigmoid())
    return linear(head_norm(o, w, base), w, "o_proj")


def gated_deltanet(x, w, base, conv=0):
    """Gated DeltaNet (arXiv 2412.06464; fla/layers/gated_deltanet.py): alpha = exp(-exp(A_log) softplus(a + dt_bias))."""
    q, k, v = (activated(x, w, base, name, conv) for name in "qkv")
    rate = F.softplus(linear(x, w, "a_proj") + w["dt_bias"])
    beta = linear(x, w, "b_proj").sigmoid()
    o = delta_recurrence(unit(q) * base.head_dim**-0.5, unit(k), v, beta, (-w["A_log"].exp() * rate).unsqueeze(-1))
    return linear(head_norm(o, w, base) * F.silu(linear(x, w, "g_proj")), w, "o_proj")


def kda(x, w, base, conv=4):
    """Kimi Delta Attention (arXiv 2510.26692, section 3 and 4; fla/layers/kda.py, its gate fla/ops/kda/gate.py)."""
    q, k, v = (activated(x, w, base, name, conv) for name in "qkv")
    f = linear(linear(x, w, "f_proj.0"), w, "f_proj.1") + w["dt_bias"]
    log_decay = -w["A_log"].exp().unsqueeze(-1) * F.softplus(f).unflatten(-1, (base.heads, base.head_dim))
    o = delta_recurrence(unit(q) * base.head_dim**-0.5, unit(k), v, linear(x, w, "b_proj").sigmoid(), log_decay)
    gate = linear(linear(x, w, "g_proj.0"), w, "g_proj.1").sigmoid()
    return linear(head_norm(o, w, base) * gate, w, "o_proj")


def mamba2(x, w, base, conv=4):
    """Mamba-2 (arXiv 2405.21060, eq. 2 and section 7; transformers' modeling_mamba2.py): h = exp(dt A) h + dt x B^T,
    y = h C + D x, norm(y silu(z)).

    As the declaration says: C, B and x are the base's q, k and v, one B and C a head; a skip of every channel, no bias of
    the convolution, one norm over all heads.
    """
    c, b, u = (activated(x, w, base, name, conv) for name in "qkv")
    dt = F.softplus(linear(x, w, "dt_proj") + w["dt_bias"])
    a = -w["A_log"].exp()

    def step(t, state):
        state = (dt[:, t] * a).exp()[..., None, None] * state + torch.einsum("bh,bhp,bhn->bhpn", dt[:, t], u[:, t], b[:, t])
        return torch.einsum("bhpn,bhn->bhp", state, c[:, t]), state

    y = loop(x.shape[1], step, x.new_zeros(len(x), base.heads, base.head_dim, base.head_dim)) + w["skip"] * u
    y = y.flatten(2) * F.silu(linear(x, w, "z_proj"))
    return linear(F.rms_norm(y, y.shape[-1:], w["o_norm.weight"], base.norm_eps), w, "o_proj")


def hgrn2(x, w, base, bound=0.9):
    """HGRN2 (arXiv 2404.07904, section 3; fla/layers/hgrn2.py): the state forgets f = lb + (1 - lb) sigmoid(W_f x), keys are
    1 - f, queries silu, one norm over all heads; no scale. As the declaration says: W_f x is minus the base's key."""
    z = -base_head(x, w, base, "k")
    lower = torch.tensor(bound, dtype=x.dtype)
    g = torch.logaddexp(lower.log(), torch.log1p(-lower) + F.logsigmoid(z))
    o = gated_recurrence(F.silu(base_head(x, w, base, "q")), 1 - g.exp(), base_head(x, w, base, "v"), g).flatten(2)
    return linear(F.rms_norm(o, o.shape[-1:], w["o_norm.weight"], base.norm_eps), w, "o_proj")


def rwkv7(x, w, base, **_):
    """RWKV-7 (arXiv 2503.14456, section 4; BlinkDL/RWKV-LM RWKV-v7; fla/layers/rwkv7.py), with the state [value, key] of the
    paper: S = S (diag(w) - kk^T (a kk)) + v^T k. As the declaration says: no value residual."""
    size = len(x), x.shape[1], base.heads, base.head_dim
    before = F.pad(x, (0, 0, 1, -1))
    mixed = {name: torch.lerp(x, before, w[f"x_{name}"]) for name in "rwkvag"}
    r = base_head(mixed["r"], w, base, "q")
    k = base_head(mixed["k"], w, base, "k")
    v = base_head(mixed["v"], w, base, "v")
    d = linear(torch.tanh(linear(mixed["w"], w, "w_lora.0")), w, "w_lora.2")
    decay = (-math.exp(-0.5) * torch.sigmoid(d)).exp().reshape(size)
    a = torch.sigmoid(linear(linear(mixed["a"], w, "a_lora.0"), w, "a_lora.2")).reshape(size)
    g = linear(torch.sigmoid(linear(mixed["g"], w, "g_lora.0")), w, "g_lora.2")
    kk = unit(k * w["k_k"])
    k = k * (1 + (a - 1) * w["k_a"])

    def step(t, state):
        removed = torch.einsum("bhvk,bhk->bhv", state, kk[:, t])
        state = state * decay[:, t].unsqueeze(-2)
        state = state - torch.einsum("bhv,bhk->bhvk", removed, a[:, t] * kk[:, t])
        state = state + torch.einsum("bhv,bhk->bhvk", v[:, t], k[:, t])
        return torch.einsum("bhvk,bhk->bhv", state, r[:, t]), state

    y = loop(x.shape[1], step, x.new_zeros(len(x), base.heads, base.head_dim, base.head_dim))
    # Its eps is 64e-5 for heads of 64 channels.
    y = F.group_norm(y.reshape(-1, base.heads * base.head_dim), base.heads, w["g_norm.weight"], w["g_norm.bias"],
                     base.head_dim * 1e-5).reshape(*size[:2], -1)
    bonus = (r * k * w["r_k"]).sum(-1, keepdim=True) * v
    return linear((y + bonus.flatten(2)) * g, w, "o_proj")


def linear_attention(x, w, base, **_):
    """Linear attention (arXiv 2006.16236, eq. 9) with T2R's feature map of learned weights (arXiv 2103.13076). As the
    declaration says: softplus in the place of relu, no rotary positions; 1e-6 stands beside the sum that is divided by, as
    in the first paper's code."""
    q = F.softplus(linear(base_head(x, w, base, "q"), w, "q_map"))
    k = F.softplus(linear(base_head(x, w, base, "k"), w, "k_map"))
    similarity = torch.einsum("bthd,bjhd->bhtj", q, k).tril()
    o = torch.einsum("bhtj,bjhv->bthv", similarity, base_head(x, w, base, "v"))
    return linear((o / (similarity.sum(-1).mT.unsqueeze(-1) + 1e-6)).flatten(2), w, "o_proj")


def window_attention(x, w, base, window):
    """Softmax attention of a position to itself and the window - 1 before it (Mistral, arXiv 2310.06825, section 2), grouped
    queries as in the base (GQA, arXiv 2305.13245): query head h reads key-value head h // (H / G). [B,T,H,D]"""
    q = rotate(base_head(x, w, base, "q"), base)
    k = rotate(base_head(x, w, base, "k", base.kv_heads), base)
    v = base_head(x, w, base, "v", base.kv_heads)
    reads = [h // (base.heads // base.kv_heads) for h in range(base.heads)]
    window = min(window, base.window or window)
    outputs = []
    for t in range(x.shape[1]):
        seen = slice(max(0, t - window + 1), t + 1)
        scores = torch.einsum("bhd,bjhd->bhj", q[:, t], k[:, seen][:, :, reads]) / base.head_dim**0.5
        outputs.append(torch.einsum("bhj,bjhd->bhd", scores.softmax(-1), v[:, seen][:, :, reads]))
    return torch.stack(outputs, 1)


def sliding_window(x, w, base, window=1024):
    """Window attention alone."""
    return linear(window_attention(x, w, base, window).flatten(2), w, "o_proj")


def windowed_deltanet(x, w, base, window=128):
    """Window attention and Gated DeltaNet side by side, as LoLCATs (arXiv 2410.10254, section 3.3) has a window before its
    linear attention and Hymba (arXiv 2411.13676, eq. 3) sums normed outputs of both kinds. The sum's parts are the declaration's
    own: a share a head for the window, a gate for the rule, whose keys and values are projections without bias or norm."""
    near = window_attention(x, w, base, window) * linear(x, w, "share_proj").sigmoid().unsqueeze(-1)
    q = unit(F.silu(base_head(x, w, base, "q")))
    k, v = (F.silu(linear(x, w, f"far_{name}_proj")).unflatten(-1, (base.heads, base.head_dim)) for name in "kv")
    rate = F.softplus(linear(x, w, "a_proj") + w["dt_bias"])
    far = delta_recurrence(q * base.head_dim**-0.5, unit(k), v, linear(x, w, "b_proj").sigmoid(),
                           (-w["A_log"].exp() * rate).unsqueeze(-1))
    return linear(near.flatten(2) + head_norm(far, w, base) * F.silu(linear(x, w, "g_proj")), w, "o_proj")


REFERENCES = {"lightning": lightning, "retnet": retnet, "gla": gla, "deltanet": deltanet, "gated_deltanet": gated_deltanet,
              "kda": kda, "mamba2": mamba2, "hgrn2": hgrn2, "rwkv7": rwkv7, "linear": linear_attention,
              "sliding_window": sliding_window, "windowed_deltanet": windowed_deltanet}
