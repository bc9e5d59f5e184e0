// SPDX-License-Identifier: Apache-2.0
// RUN: morph-opt %S/Inputs/tiny-base.mlir --morph-pair-branches=candidates=lightning --morph-discretize=kept=1 --morph-build-score --morph-expand-mixers | FileCheck %s

// Only programs are expanded.
// CHECK: func.func @forward
// CHECK: morph.linear_mixer
// CHECK: morph.softmax_mixer
// CHECK: morph.program @score
// CHECK-NOT: _mixer
// CHECK: %[[Q:.*]] = morph.param @model.layers.0.linear_attn.q_proj.weight : tensor<32x16xf32>
// CHECK: %[[O:.*]] = morph.param @model.layers.0.linear_attn.o_proj.weight
// CHECK: morph.linear %{{.*}}, %[[Q]]
// CHECK: morph.linear_attention
// CHECK: morph.linear %{{.*}}, %[[O]]
// CHECK: morph.param @model.layers.1.self_attn.q_proj.weight
// CHECK: morph.attention
// CHECK-NOT: _mixer
