// SPDX-License-Identifier: Apache-2.0
// The activity analysis, seen by what is not there.
// RUN: morph-opt %S/Inputs/tiny-base.mlir --morph-search-pipeline --morph-program-pipeline=program=gates | FileCheck %s --check-prefix=GATES
// RUN: morph-opt %S/Inputs/tiny-base.mlir --morph-pair-branches --morph-discretize=kept=0 --morph-program-pipeline="program=finetune options=train=linear" | FileCheck %s --check-prefix=LINEAR
// RUN: morph-opt %S/Inputs/tiny-tied.mlir --morph-program-pipeline=program=pretrain | FileCheck %s --check-prefix=TIED
// RUN: morph-opt %s --morph-differentiate | FileCheck %s

// Gates: no product for a weight, logits only at the rows taken, and the backward ends at layer 0's blend.
// GATES: func.func @gates({{.*}}) -> (tensor<f32> {morph.name = "loss"}, tensor<1xf32> {morph.name = "grad.gate.0"}, tensor<1xf32> {morph.name = "grad.gate.1"})
// GATES-NOT: weight_grad
// GATES: %[[ROWS:.*]] = morph.take_rows
// GATES: %[[HEAD:.*]] = morph.param @lm_head.weight
// GATES: morph.linear %[[ROWS]], %[[HEAD]] : tensor<?x16xf32>, tensor<32x16xf32>
// GATES-NOT: weight_grad
// GATES: morph.kl_divergence_grad
// GATES: morph.scatter_rows
// GATES-NOT: weight_grad
// GATES: %[[G1:.*]] = morph.blend_gate_grad
// GATES: morph.linear_attention_grad
// GATES: morph.attention_grad
// GATES-NOT: weight_grad
// GATES: %[[G0:.*]] = morph.blend_gate_grad
// GATES-NOT: _grad
// GATES-NOT: inverse
// GATES: return %{{.*}}, %[[G0]], %[[G1]]

// Linear branches only, in layer 1: nothing below it has a backward, nor has its full attention's neighbour a product.
// LINEAR: func.func @finetune
// LINEAR: %[[DOWN:.*]] = morph.param @model.layers.1.mlp.down_proj.weight
// LINEAR: morph.linear_input_grad %{{.*}}, %[[DOWN]]
// LINEAR: morph.linear_attention_grad
// LINEAR-NOT: morph.attention_grad
// LINEAR-NOT: morph.swiglu_grad
// LINEAR-NOT: morph.embedding_grad
// LINEAR: return

// A tied table gets the sum of its two gradients.
// TIED: func.func @pretrain
// TIED: %[[HEAD:.*]] = morph.linear_weight_grad {{.*}} : tensor<?x32xf32>, tensor<?x16xf32>
// TIED: %[[TABLE:.*]] = morph.embedding_grad
// TIED: %[[SUM:.*]] = morph.add %[[HEAD]], %[[TABLE]]
// TIED: return %{{[0-9]+}}, %[[SUM]]

morph.model @small base architecture "llama" layers 1 {
  morph.weight @a : tensor<4xf32>
  morph.weight @b : tensor<4xf32>
  morph.weight @frozen : tensor<4xf32>

  // A value used twice gets the sum of its gradients; a frozen factor gets none.
  // CHECK-LABEL: func.func @used_twice
  // CHECK-SAME: (tensor<f32> {morph.name = "loss"}, tensor<4xf32> {morph.name = "grad.a"})
  // CHECK: %[[A:.*]] = morph.param @a
  // CHECK: %[[F:.*]] = morph.param @frozen
  // CHECK: %[[MUL:.*]] = morph.mul %[[A]], %[[F]]
  // CHECK: %[[ADD:.*]] = morph.add %[[MUL]], %[[A]]
  // CHECK: %[[DY:.*]] = morph.squared_error_grad %{{.*}}, %[[ADD]], %[[F]]
  // CHECK: %[[DA:.*]] = morph.mul %[[DY]], %[[F]]
  // CHECK: %[[SUM:.*]] = morph.add %[[DY]], %[[DA]]
  // CHECK: return %{{.*}}, %[[SUM]]
  func.func @used_twice() -> (tensor<f32> {morph.name = "loss"}) attributes {morph.program = "used_twice", morph.trainable = [@a]} {
    %a = morph.param @a : tensor<4xf32>
    %f = morph.param @frozen : tensor<4xf32>
    %m = morph.mul %a, %f : tensor<4xf32>, tensor<4xf32>
    %s = morph.add %m, %a : tensor<4xf32>, tensor<4xf32>
    %loss = morph.squared_error %s, %f normalize "mean" : tensor<4xf32>
    return %loss : tensor<f32>
  }

  // Two reads of one symbol are one gradient; an op that the loss does not need has no backward, even without a gradient.
  // CHECK-LABEL: func.func @read_twice
  // CHECK-SAME: morph.name = "grad.b"}, tensor<4xf32> {morph.name = "grad.a"})
  // CHECK-COUNT-2: morph.squared_error_grad
  // CHECK: return %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}} : tensor<f32>, tensor<2xf32>, tensor<4xf32>, tensor<4xf32>
  func.func @read_twice() -> (tensor<f32> {morph.name = "loss"}, tensor<2xf32> {morph.name = "parts"}) attributes {morph.program = "read_twice", morph.trainable = [@b, @a]} {
    %a = morph.param @a : tensor<4xf32>
    %b = morph.param @b : tensor<4xf32>
    %again = morph.param @a : tensor<4xf32>
    %f = morph.param @frozen : tensor<4xf32>
    %one = morph.squared_error %a, %f normalize "rows" : tensor<4xf32>
    %x = morph.mul %b, %again : tensor<4xf32>, tensor<4xf32>
    %two = morph.squared_error %x, %f normalize "rows" : tensor<4xf32>
    %parts = morph.stack %one, %two : tensor<f32>, tensor<f32>
    %loss = morph.add %one, %two : tensor<f32>, tensor<f32>
    return %loss, %parts : tensor<f32>, tensor<2xf32>
  }

  // Nothing is trained: nothing is done.
  // CHECK-LABEL: func.func @frozen_program
  // CHECK-NOT: morph.ones
  func.func @frozen_program() -> (tensor<f32> {morph.name = "loss"}) attributes {morph.program = "frozen_program"} {
    %a = morph.param @a : tensor<4xf32>
    %loss = morph.squared_error %a, %a normalize "mean" : tensor<4xf32>
    return %loss : tensor<f32>
  }
}
