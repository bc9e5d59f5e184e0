// SPDX-License-Identifier: Apache-2.0
// The mixers of a hybrid as Python. The classes' text, with its lines as they are:
// RUN: morph-opt %S/Inputs/tiny-base.mlir --morph-pair-branches="candidates=gated_deltanet(conv=4)" --morph-discretize=kept=1 -o %t.mlir
// RUN: morph-translate --emit-pytorch %t.mlir -o %t.json
// RUN: %python -c "import json, sys; print(json.load(open(sys.argv[1]))['classes'])" %t.json | FileCheck %s --strict-whitespace --match-full-lines
// What is said beside them:
// RUN: FileCheck %s --check-prefix=JSON --input-file=%t.json
// Mixers of the same text share a class; options make another.
// RUN: morph-opt %S/Inputs/tiny-window.mlir --morph-pair-branches="candidates=lightning,sliding_window(window=16)" --morph-discretize="uniform=0 candidate=sliding_window" | morph-translate --emit-pytorch - | FileCheck %s --check-prefix=WINDOW
// A layer with a choice has no class.
// RUN: morph-opt %S/Inputs/tiny-base.mlir --morph-pair-branches | not morph-translate --emit-pytorch - 2>&1 | FileCheck %s --check-prefix=CHOICE
// CHOICE: error: 'morph.softmax_mixer' op is one of several of its layer: PyTorch is written of hybrids (morph-discretize)

//      CHECK:class MorphGatedDeltanet(MorphMixer):
// CHECK-NEXT:    """gated delta rule, decay and step made from the input (base_norm = true, chunk = 64, conv = 4)"""
//CHECK-EMPTY:
// CHECK-NEXT:    def __init__(self, config):
// CHECK-NEXT:        super().__init__(config)
// CHECK-NEXT:        self.a_proj = nn.Linear(self._hidden, self._heads, bias=False)
// CHECK-NEXT:        self.b_proj = nn.Linear(self._hidden, self._heads, bias=False)
// CHECK-NEXT:        self.A_log = nn.Parameter(torch.zeros(self._heads))
// CHECK-NEXT:        self.dt_bias = nn.Parameter(torch.zeros(self._heads))
// CHECK-NEXT:        self.q_conv = nn.Conv1d(self._heads * self._head_dim, self._heads * self._head_dim, 4,
// CHECK-NEXT:                                groups=self._heads * self._head_dim, bias=False)
//      CHECK:        self.g_proj = nn.Linear(self._hidden, self._heads * self._head_dim, bias=False)
// CHECK-NEXT:        self.o_norm = MorphRMSNorm(self._head_dim, 1e-05)
// CHECK-NEXT:        self.q_proj = nn.Linear(self._hidden, self._heads * self._head_dim, bias=False)
//      CHECK:        self.o_proj = nn.Linear(self._heads * self._head_dim, self._hidden, bias=False)
//CHECK-EMPTY:
// CHECK-NEXT:    def forward(self, x, cache, rope, mask):
// CHECK-NEXT:        q = self.q_proj(x).unflatten(-1, (self._heads, -1))
// CHECK-NEXT:        k = self.k_proj(x).unflatten(-1, (self._heads, -1))
// CHECK-NEXT:        v = self.v_proj(x).unflatten(-1, (self._heads, -1))
// CHECK-NEXT:        q = wide(convolve(cache, "q_conv", q, self.q_conv.weight, mask))
// CHECK-NEXT:        k = wide(convolve(cache, "k_conv", k, self.k_conv.weight, mask))
// CHECK-NEXT:        v = wide(convolve(cache, "v_conv", v, self.v_conv.weight, mask))
// CHECK-NEXT:        q = l2_norm(F.silu(q), 1e-06)
// CHECK-NEXT:        k = l2_norm(F.silu(k), 1e-06)
// CHECK-NEXT:        decay = F.softplus(wide(self.a_proj(x)) + wide(self.dt_bias)) * -wide(self.A_log).exp()
// CHECK-NEXT:        beta = wide(self.b_proj(x)).sigmoid()
// CHECK-NEXT:        v = F.silu(v)
// CHECK-NEXT:        o = recurrence(cache, "state", q, k, v, mask, x.dtype, decay=decay, beta=beta, scale=1 / self._head_dim**0.5,
// CHECK-NEXT:                       chunk=64)
// CHECK-NEXT:        return self.o_proj((self.o_norm(o).flatten(-2) * F.silu(wide(self.g_proj(x)))).to(x.dtype))
//CHECK-EMPTY:
//CHECK-EMPTY:
// CHECK-NEXT:DECLARED = {"MorphGatedDeltanet": MorphGatedDeltanet}

// JSON: "builtin": [
// JSON-NEXT: "gated_deltanet"
// JSON: "declarations": {
// JSON-NEXT: "gated_deltanet": "morph.mixer @gated_deltanet doc \"gated delta rule
// JSON: "layers": [
// JSON-NEXT: {
// JSON-NEXT: "class": "MorphGatedDeltanet",
// JSON-NEXT: "kind": "gated_deltanet",
// JSON-NEXT: "options": {
// JSON-NEXT: "base_norm": true,
// JSON-NEXT: "chunk": 64,
// JSON-NEXT: "conv": 4
// JSON-NEXT: },
// JSON-NEXT: "rope": "rope",
// JSON-NEXT: "weights": "linear_attn"
// JSON: "kind": "full",
// JSON-NEXT: "rope": "rope",
// JSON-NEXT: "weights": "self_attn",
// JSON-NEXT: "window": null
// JSON: "model": {
// JSON-NEXT: "activation": "silu"
// JSON: "norms": [
// JSON-NEXT: "input_layernorm",
// JSON-NEXT: "post_attention_layernorm"
// JSON: "ropes": {
// JSON-NEXT: "rope": {
// JSON-NEXT: "attention_factor": 1
// JSON: "module": "module {\n  morph.model @mixers base
// JSON: "states": {
// JSON-NEXT: "MorphGatedDeltanet": {
// JSON-NEXT: "k_conv": "[batch, positions 3, channels 32], the last inputs of a convolution",
// JSON: "state": "[batch, heads 4, key 8, value 8] in fp32"

// WINDOW: scale=0.35355339059327373, window=16)
// WINDOW-SAME: DECLARED = {\"MorphSlidingWindow\": MorphSlidingWindow}
// WINDOW: "class": "MorphSlidingWindow"
// WINDOW: "class": "MorphSlidingWindow"
// WINDOW: "k": "[batch, heads 2, positions, 8], keys, of the last 16 positions"
