# SPDX-License-Identifier: Apache-2.0
"""The steps that `morph bench` times, written as one writes them in PyTorch: transformers' Llama modules and their SDPA
attention, its `torch_chunk_gated_delta_rule`, autograd and torch.optim. Weights and inputs are those that
`morph bench MODE --save DIR` left, so that the losses can be compared before the times are.

Under bf16 the whole model is bf16 and so are the weights that are trained: the fastest that eager PyTorch has. Decay
rates and gates are fp32, as the delta rule is inside transformers.
"""

import json
import pathlib

import torch
import torch.nn.functional as F
import transformers
from safetensors.torch import load_file
from torch import nn
from transformers.models.llama.modeling_llama import LlamaDecoderLayer, LlamaRMSNorm, LlamaRotaryEmbedding
from transformers.models.qwen3_next.modeling_qwen3_next import torch_chunk_gated_delta_rule


class GatedDeltaNet(nn.Module):
    """Gated DeltaNet with the weights and names of Morph's backend (dialect/mixers/gated_deltanet.morph)."""

    def __init__(self, config):
        super().__init__()
        self.heads, self.width = config.num_attention_heads, config.head_dim
        rows = self.heads * self.width
        for name in ("q_proj", "k_proj", "v_proj", "g_proj"):
            setattr(self, name, nn.Linear(config.hidden_size, rows, bias=False))
        self.a_proj = nn.Linear(config.hidden_size, self.heads, bias=False)
        self.b_proj = nn.Linear(config.hidden_size, self.heads, bias=False)
        self.o_proj = nn.Linear(rows, config.hidden_size, bias=False)
        self.o_norm = LlamaRMSNorm(self.width, eps=config.rms_norm_eps)
        self.A_log = nn.Parameter(torch.zeros(self.heads))
        self.dt_bias = nn.Parameter(torch.zeros(self.heads))

    def forward(self, x):
        q, k, v = (F.silu(project(x)).unflatten(-1, (self.heads, self.width))
                   for project in (self.q_proj, self.k_proj, self.v_proj))
        g = -self.A_log.float().exp() * F.softplus(self.a_proj(x).float() + self.dt_bias.float())
        beta = self.b_proj(x).float().sigmoid()
        o, _ = torch_chunk_gated_delta_rule(q, k, v, g, beta, chunk_size=64, use_qk_l2norm_in_kernel=True)
        return self.o_proj(self.o_norm(o).flatten(2) * F.silu(self.g_proj(x)))


class Layer(LlamaDecoderLayer):
    """A Llama layer whose attention may have a linear branch beside it."""

    def __init__(self, config, index):
        super().__init__(config, index)
        self.linear_attn = GatedDeltaNet(config)

    def attend(self, x, rope):
        """Full attention of the normalised x."""
        return self.self_attn(hidden_states=x, position_embeddings=rope, attention_mask=None)[0]

    def finish(self, x, mixed):
        """The residual stream after the mixer's output and the feed-forward network."""
        x = x + mixed
        return x + self.mlp(self.post_attention_layernorm(x))

    def full(self, x, rope):
        """The layer with full attention."""
        return self.finish(x, self.attend(self.input_layernorm(x), rope))

    def linear(self, x):
        """The layer with its linear branch."""
        return self.finish(x, self.linear_attn(self.input_layernorm(x)))

    def relaxed(self, x, rope, gate):
        """The layer with both, full attention weighted by the gate."""
        normed = self.input_layernorm(x)
        gate = gate.to(x.dtype)
        return self.finish(x, gate * self.attend(normed, rope) + (1 - gate) * self.linear_attn(normed))

    def aligned(self, x, rope):
        """The full layer, and the linear branch's squared error over the power of full attention's output."""
        normed = self.input_layernorm(x)
        full = self.attend(normed, rope)
        error = (self.linear_attn(normed) - full).float().square().sum() / full.float().square().sum()
        return self.finish(x, full), error


class Model(nn.Module):
    """Embedding, layers, norm and the tied head, with the names of a Llama checkpoint."""

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList([Layer(config, i) for i in range(config.num_hidden_layers)])
        self.norm = LlamaRMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self.rotary_emb = LlamaRotaryEmbedding(config)
        self.gates = nn.ParameterList([nn.Parameter(torch.full((1,), 0.5)) for _ in self.layers])

    def begin(self, tokens):
        """The embedded tokens and the rotary table."""
        x = self.embed_tokens(tokens)
        return x, self.rotary_emb(x, torch.arange(tokens.shape[1], device=tokens.device)[None])

    def logits(self, x, positions):
        """Logits [N,V] of rows of the residual stream."""
        return F.linear(self.norm(x.flatten(0, 1)[positions]), self.embed_tokens.weight)


def load_model(folder, precision, device):
    """The model of a folder that `morph bench --save` wrote, and the inputs beside it."""
    folder = pathlib.Path(folder)
    config = transformers.LlamaConfig(**json.loads((folder / "config.json").read_text()))
    config._attn_implementation = "sdpa"
    model = Model(config).to(torch.bfloat16 if precision == "bf16" else torch.float32)
    parameters = dict(model.named_parameters())
    for name, parameter in parameters.items():
        if name.rsplit(".", 1)[-1] in ("A_log", "dt_bias") or name.startswith("gates."):
            parameter.data = parameter.data.float()
    tensors = load_file(folder / "model.safetensors") | load_file(folder / "branches.safetensors")
    for name, tensor in tensors.items():
        name = name.removeprefix("model.").replace("gate.", "gates.")
        if name in parameters:
            parameters[name].data.copy_(tensor)
    inputs = {name: tensor.to(device) for name, tensor in load_file(folder / "inputs.safetensors").items()}
    return model.requires_grad_(False).to(device), inputs


def kl(teacher, student, weights):
    """The weighted mean of KL(teacher || student) over rows of logits."""
    teacher, student = teacher.float().log_softmax(-1), student.float().log_softmax(-1)
    return ((teacher.exp() * (teacher - student)).sum(-1) * weights).sum()


class Step:
    """A step of training: a call computes the loss, the gradients of what it trains, clips and updates."""

    def __init__(self, model, inputs, trained):
        self.model, self.inputs = model, inputs
        self.trained = [parameter.requires_grad_() for parameter in trained]
        self.optimizer = torch.optim.AdamW(self.trained, lr=1e-6, weight_decay=0)

    def loss(self):
        """The loss, with what its backward needs."""
        raise NotImplementedError

    def teacher(self):
        """The logits of the model with full attention in every layer."""
        with torch.no_grad():
            x, rope = self.model.begin(self.inputs["tokens"])
            for layer in self.model.layers:
                x = layer.full(x, rope)
            return self.model.logits(x, self.inputs["positions"])

    def __call__(self):
        loss = self.loss()
        loss.backward()
        nn.utils.clip_grad_norm_(self.trained, 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss.item()


class GatesStep(Step):
    """Teacher, relaxed model, KL at the answers, backward to the gates alone."""

    def __init__(self, model, inputs, full_layers):
        super().__init__(model, inputs, model.gates)

    def loss(self):
        teacher = self.teacher()
        x, rope = self.model.begin(self.inputs["tokens"])
        for layer, gate in zip(self.model.layers, self.model.gates):
            x = layer.relaxed(x, rope, gate)
        return kl(teacher, self.model.logits(x, self.inputs["positions"]), self.inputs["weights"])


class AlignStep(Step):
    """Every linear branch toward its layer's full attention, the mean over layers."""

    def __init__(self, model, inputs, full_layers):
        super().__init__(model, inputs, [p for layer in model.layers for p in layer.linear_attn.parameters()])

    def loss(self):
        x, rope = self.model.begin(self.inputs["tokens"])
        errors = []
        for layer in self.model.layers:
            x, error = layer.aligned(x, rope)
            errors.append(error)
        return torch.stack(errors).mean()


class HybridStep(Step):
    """Steps on the hybrid with `full_layers` layers of full attention at even distances."""

    def __init__(self, model, inputs, full_layers):
        layers = len(model.layers)
        self.kept = {i * layers // full_layers for i in range(full_layers)}
        super().__init__(model, inputs, [p for i, layer in enumerate(model.layers) if i not in self.kept
                                         for p in layer.linear_attn.parameters()])

    def student(self):
        """Logits of the hybrid."""
        x, rope = self.model.begin(self.inputs["tokens"])
        for i, layer in enumerate(self.model.layers):
            x = layer.full(x, rope) if i in self.kept else layer.linear(x)
        return self.model.logits(x, self.inputs["positions"])


class DistillStep(HybridStep):
    """KL from the teacher to the hybrid, the linear layers trained."""

    def loss(self):
        return kl(self.teacher(), self.student(), self.inputs["weights"])


class FinetuneStep(HybridStep):
    """Next-token cross-entropy of the hybrid, the linear layers trained."""

    def loss(self):
        losses = F.cross_entropy(self.student().float(), self.inputs["targets"], reduction="none")
        return (losses * self.inputs["weights"]).sum()


STEPS = {"gates": GatesStep, "align": AlignStep, "distill": DistillStep, "finetune": FinetuneStep}


def make_step(mode, folder, precision, full_layers, compiled=False, device="cpu"):
    """The step of a mode on the model in the folder; `compiled` compiles layer by layer."""
    model, inputs = load_model(folder, precision, device)
    if compiled:
        # All layers of a shape share what was compiled once.
        for name in ("full", "linear", "relaxed", "aligned"):
            setattr(Layer, name, torch.compile(getattr(Layer, name), dynamic=False))
    return STEPS[mode](model, inputs, full_layers)
