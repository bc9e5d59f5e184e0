// SPDX-License-Identifier: Apache-2.0
// Low-rank adapters beside frozen matrices, in a program and in that of distillation.
// RUN: morph-opt %s --morph-add-adapters="program=step weights=up,q_proj rank=2" | FileCheck %s
// RUN: morph-opt %S/Inputs/tiny-base.mlir --morph-pair-branches --morph-discretize=kept=1 --morph-program-pipeline='program=distill options="adapters=up_proj q_proj,adapter_rank=2,kernels=false,gradients=false"' | FileCheck %s --check-prefix=DISTILL
// RUN: morph-opt %S/Inputs/tiny-base.mlir --morph-pair-branches --morph-discretize=kept=1 --morph-program-pipeline='program=distill options="adapters=up_proj,adapter_rank=2,kernels=false"' | FileCheck %s --check-prefix=GRADIENTS
// RUN: morph-opt %s --morph-add-adapters="program=other weights=up" | FileCheck %s --check-prefix=OTHER
// RUN: not morph-opt %s --morph-add-adapters="program=step weights=down" 2>&1 | FileCheck %s --check-prefix=NAME
// RUN: not morph-opt %s --morph-add-adapters="program=step weights=up rank=9" 2>&1 | FileCheck %s --check-prefix=RANK
// RUN: not morph-opt %s --morph-add-adapters="program=step weights=up rank=0" 2>&1 | FileCheck %s --check-prefix=NONE
// RUN: not morph-opt %s --morph-add-adapters="program=step weights=table rank=2" 2>&1 | FileCheck %s --check-prefix=TABLE
// RUN: not morph-opt %s --morph-add-adapters="program=step weights=odd rank=2" 2>&1 | FileCheck %s --check-prefix=ODD

// RUN: not morph-opt %s --morph-add-adapters="program=step weights=expert rank=2" 2>&1 | FileCheck %s --check-prefix=EXPERTS

// EXPERTS: error: model @m has the experts 'mlp.experts.down_proj' with 'expert' in their name, and adapters are of matrices alone: name parts that leave them out, as 'q_proj'
// NAME: error: model @m has no matrix of the checkpoint with 'down' in its name, which step.adapters ask for
// RANK: error: model @m has the matrix 'mlp.up.weight' of 16 x 8, smaller than the adapters' rank 9
// NONE: error: model @m cannot have adapters of rank 0, expected 1 or more
// TABLE: error: model @m reads the matrix 'table.weight', which adapters are asked for, otherwise than as a projection
// ODD: error: model @m has no module of the matrix 'odd', which adapters are asked for: expected a name that ends in '.weight'
// OTHER-NOT: lora

// CHECK: morph.model @m
morph.model @m hybrid architecture "llama" layers 1 {
  // A branch's own weights have `init`: they are trained as they are.
  // CHECK-DAG: morph.weight @mlp.up.lora_A.weight : tensor<2x8xf32> init <normal, value = {{0.353|3.53}}{{.*}} : f64>
  // CHECK-DAG: morph.weight @mlp.up.lora_B.weight : tensor<16x2xf32> init <constant, value = 0.000000e+00 : f64>
  // CHECK-NOT: branch.q_proj.lora
  morph.weight @mlp.up.weight : tensor<16x8xbf16>
  morph.weight @self_attn.q_proj.weight : tensor<8x8xbf16>
  morph.weight @branch.q_proj.weight : tensor<8x8xbf16> init <copy, source = "self_attn.q_proj.weight">
  morph.weight @teacher.mlp.up.weight : tensor<16x8xbf16> teacher_of "mlp.up.weight"
  morph.weight @table.weight : tensor<32x8xbf16>
  morph.weight @odd : tensor<8x8xbf16>
  morph.weight @mlp.experts.down_proj : tensor<4x8x16xbf16>
  morph.weight @expert_norm.weight : tensor<8x8xbf16>

  // What was trained of an adapted matrix is frozen; two products share an adapter; the teacher has none.
  // CHECK: morph.program @step({{.*}}) trains [@branch.q_proj.weight, @mlp.up.lora_A.weight, @mlp.up.lora_B.weight, @self_attn.q_proj.lora_A.weight, @self_attn.q_proj.lora_B.weight] {
  // CHECK: %[[UP:.*]] = morph.param @mlp.up.weight
  // CHECK: %[[A:.*]] = morph.param @mlp.up.lora_A.weight : tensor<2x8xf32>
  // CHECK: %[[B:.*]] = morph.param @mlp.up.lora_B.weight : tensor<16x2xf32>
  // CHECK: %[[Y:.*]] = morph.linear %x, %[[UP]] : tensor<?x?x8xf32>, tensor<16x8xf32>
  // CHECK-NEXT: %[[N:.*]] = morph.linear %x, %[[A]] : tensor<?x?x8xf32>, tensor<2x8xf32>
  // CHECK-NEXT: %[[W:.*]] = morph.linear %[[N]], %[[B]] : tensor<?x?x2xf32>, tensor<16x2xf32>
  // CHECK-NEXT: %[[SUM:.*]] = morph.add %[[Y]], %[[W]]
  // CHECK: %[[T:.*]] = morph.linear %x, %{{.*}} : tensor<?x?x8xf32>, tensor<16x8xf32>
  // CHECK-NEXT: morph.squared_error %[[SUM]], %[[T]]
  morph.program @step(%x: tensor<?x?x8xf32> "x" [B, T], %ids: tensor<?x?xi64> "ids" [B, T]) trains [@branch.q_proj.weight, @mlp.up.weight] {
    %up = morph.param @mlp.up.weight : tensor<16x8xf32>
    %old = morph.param @teacher.mlp.up.weight : tensor<16x8xf32>
    %q = morph.param @self_attn.q_proj.weight : tensor<8x8xf32>
    %own = morph.param @branch.q_proj.weight : tensor<8x8xf32>
    %table = morph.param @table.weight : tensor<32x8xf32>
    %odd = morph.param @odd : tensor<8x8xf32>
    %y = morph.linear %x, %up : tensor<?x?x8xf32>, tensor<16x8xf32>
    %t = morph.linear %x, %old : tensor<?x?x8xf32>, tensor<16x8xf32>
    %loss = morph.squared_error %y, %t normalize "mean" : tensor<?x?x16xf32>
    %e = morph.embedding %ids, %table : tensor<?x?xi64>, tensor<32x8xf32>
    %1 = morph.linear %e, %q : tensor<?x?x8xf32>, tensor<8x8xf32>
    %2 = morph.linear %1, %own : tensor<?x?x8xf32>, tensor<8x8xf32>
    %3 = morph.linear %2, %odd : tensor<?x?x8xf32>, tensor<8x8xf32>
    morph.output "loss" = %loss, "x" = %3 : tensor<f32>, tensor<?x?x8xf32>
  }
}

// The teacher reads the old value of what is adapted.
// DISTILL: morph.weight @teacher.model.layers.1.mlp.up_proj.weight
// DISTILL: morph.program @distill
// DISTILL-SAME: @model.layers.0.mlp.up_proj.lora_A.weight
// DISTILL-SAME: @model.layers.1.self_attn.q_proj.lora_B.weight
// DISTILL: morph.param @teacher.model.layers.0.mlp.up_proj.weight
// DISTILL-NOT: self_attn.q_proj.weight.lora

// The frozen matrix has no gradient.
// GRADIENTS: morph.program @distill
// GRADIENTS-NOT: "grad.model.layers.1.mlp.up_proj.weight"
// GRADIENTS: "grad.model.layers.1.mlp.up_proj.lora_B.weight"
