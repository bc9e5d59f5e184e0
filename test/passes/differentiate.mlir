// SPDX-License-Identifier: Apache-2.0
// The activity analysis, seen by what is not there.
// RUN: morph-opt %S/Inputs/tiny-base.mlir --morph-search-pipeline --morph-program-pipeline="program=gates options=kernels=false" | FileCheck %s --check-prefix=GATES
// RUN: morph-opt %S/Inputs/tiny-base.mlir --morph-pair-branches --morph-discretize=kept=0 --morph-program-pipeline="program=finetune options=train=linear" | FileCheck %s --check-prefix=LINEAR
// RUN: morph-opt %S/Inputs/tiny-tied.mlir --morph-program-pipeline=program=pretrain | FileCheck %s --check-prefix=TIED
// RUN: morph-opt %s --morph-differentiate | FileCheck %s

// Gates: no product for a weight, logits only at the rows taken, and the backward ends at layer 0's blend.
// GATES: morph.program @gates(
// GATES-NOT: weight_grad
// GATES: %[[HEAD:.*]] = morph.param @lm_head.weight
// GATES: morph.linear %{{.*}}, %[[HEAD]] : tensor<?x16xf32>, tensor<32x16xf32>
// GATES-NOT: weight_grad
// GATES: morph.kl_divergence_grad
// GATES: morph.scatter_rows
// GATES-NOT: weight_grad
// GATES: %[[DG1:.*]] = morph.blend_gate_grad
// GATES-NEXT: %[[G1:.*]] = morph.accumulate %grad.gate.1, %[[DG1]], %share
// GATES: morph.linear_attention_grad
// GATES: morph.attention_grad
// GATES-NOT: weight_grad
// GATES: %[[DG0:.*]] = morph.blend_gate_grad
// GATES-NEXT: %[[G0:.*]] = morph.accumulate %grad.gate.0, %[[DG0]], %share
// GATES-NOT: _grad
// GATES-NOT: inverse
// GATES: morph.output "loss" = %{{.*}}, "grad.gate.0" = %[[G0]], "grad.gate.1" = %[[G1]] : tensor<f32>, tensor<1xf32>, tensor<1xf32>

// Linear branches only, in layer 1: nothing below it has a backward, nor has its full attention's neighbour a product.
// LINEAR: morph.program @finetune
// LINEAR: %[[DOWN:.*]] = morph.param @model.layers.1.mlp.down_proj.weight
// LINEAR: morph.linear_input_grad %{{.*}}, %[[DOWN]]
// LINEAR: morph.linear_attention_grad
// LINEAR-NOT: morph.attention_grad
// LINEAR-NOT: morph.swiglu_grad
// LINEAR-NOT: morph.embedding_grad
// LINEAR: morph.output

// A tied table gets the sum of its two gradients.
// TIED: morph.program @pretrain
// TIED: %[[HEAD:.*]] = morph.linear_weight_grad {{.*}} : tensor<?x32xf32>, tensor<?x16xf32>
// TIED: %[[TABLE:.*]] = morph.embedding_grad
// TIED: %[[GRADIENT:.*]] = morph.add %[[HEAD]], %[[TABLE]]
// TIED: %[[SUM:.*]] = morph.accumulate %grad.model.embed_tokens.weight, %[[GRADIENT]]
// TIED: morph.output "loss" = %{{[0-9]+}}, "grad.model.embed_tokens.weight" = %[[SUM]]

morph.model @small base architecture "llama" layers 1 {
  morph.weight @a : tensor<4xf32>
  morph.weight @b : tensor<4xf32>
  morph.weight @frozen : tensor<4xf32>

  // A value used twice gets the sum of its gradients; a frozen factor gets none.
  // CHECK-LABEL: morph.program @used_twice
  // CHECK: %[[A:.*]] = morph.param @a
  // CHECK: %[[F:.*]] = morph.param @frozen
  // CHECK: %[[MUL:.*]] = morph.mul %[[A]], %[[F]]
  // CHECK: %[[ADD:.*]] = morph.add %[[MUL]], %[[A]]
  // CHECK: %[[DY:.*]] = morph.squared_error_grad %{{.*}}, %[[ADD]], %[[F]]
  // CHECK: %[[DA:.*]] = morph.mul %[[DY]], %[[F]]
  // CHECK: %[[SUM:.*]] = morph.add %[[DY]], %[[DA]]
  // CHECK: morph.output "loss" = %{{.*}}, "grad.a" = %[[SUM]] : tensor<f32>, tensor<4xf32>
  morph.program @used_twice() trains [@a] {
    %a = morph.param @a : tensor<4xf32>
    %f = morph.param @frozen : tensor<4xf32>
    %m = morph.mul %a, %f : tensor<4xf32>, tensor<4xf32>
    %s = morph.add %m, %a : tensor<4xf32>, tensor<4xf32>
    %loss = morph.squared_error %s, %f normalize "mean" : tensor<4xf32>
    morph.output "loss" = %loss : tensor<f32>
  }

  // Two reads of one symbol are one gradient; an op that the loss does not need has no backward, even without a gradient.
  // CHECK-LABEL: morph.program @read_twice
  // CHECK-COUNT-2: morph.squared_error_grad
  // CHECK: morph.output "loss" = %{{.*}}, "parts" = %{{.*}}, "grad.b" = %{{.*}}, "grad.a" = %{{.*}} : tensor<f32>, tensor<2xf32>, tensor<4xf32>, tensor<4xf32>
  morph.program @read_twice() trains [@b, @a] {
    %a = morph.param @a : tensor<4xf32>
    %b = morph.param @b : tensor<4xf32>
    %again = morph.param @a : tensor<4xf32>
    %f = morph.param @frozen : tensor<4xf32>
    %one = morph.squared_error %a, %f normalize "rows" : tensor<4xf32>
    %x = morph.mul %b, %again : tensor<4xf32>, tensor<4xf32>
    %two = morph.squared_error %x, %f normalize "rows" : tensor<4xf32>
    %parts = morph.stack %one, %two : tensor<f32>, tensor<f32>
    %loss = morph.add %one, %two : tensor<f32>, tensor<f32>
    morph.output "loss" = %loss, "parts" = %parts : tensor<f32>, tensor<2xf32>
  }

  // Nothing is trained: nothing is done.
  // CHECK-LABEL: morph.program @frozen_program
  // CHECK-NOT: morph.ones
  morph.program @frozen_program() {
    %a = morph.param @a : tensor<4xf32>
    %loss = morph.squared_error %a, %a normalize "mean" : tensor<4xf32>
    morph.output "loss" = %loss : tensor<f32>
  }
}
