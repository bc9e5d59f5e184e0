// SPDX-License-Identifier: Apache-2.0
// RUN: morph-opt %s --morph-demand-rows --cse | FileCheck %s
// RUN: morph-opt %S/Inputs/tiny-base.mlir --morph-search-pipeline --morph-program-pipeline="program=gates options=kernels=false" | FileCheck %s --check-prefix=GATES

!rows = tensor<?x?x16xf32>
!wide = tensor<?x?x32xf32>
!some = tensor<?x16xf32>
!index = tensor<?xi64>

// CHECK-LABEL: morph.model @m
morph.model @m base architecture "llama" layers 1 {
  morph.weight @w : tensor<16xf32>
  morph.weight @up : tensor<32x16xf32>
  morph.weight @down : tensor<16x32xf32>
  morph.weight @b : tensor<32xf32>
  morph.weight @conv : tensor<16x1x4xf32>
  morph.weight @router : tensor<4x16xf32>
  morph.weight @gate_up : tensor<4x24x16xf32>
  morph.weight @experts_down : tensor<4x16x12xf32>

  // The rows are taken where the last op that mixes positions ends; what two ops read is taken once.
  // CHECK: morph.program @taken
  // CHECK-DAG: %[[X:.*]] = morph.take_rows %x, %p : tensor<?x?x16xf32>, tensor<?xi64>
  // CHECK-DAG: %[[UP:.*]] = morph.linear %[[X]], %{{.*}}, %{{.*}} : tensor<?x16xf32>, tensor<32x16xf32>, tensor<32xf32>
  // CHECK-DAG: %[[S:.*]] = morph.silu %[[UP]] : tensor<?x32xf32>
  // CHECK-DAG: %[[DOWN:.*]] = morph.linear %[[S]], %{{.*}} : tensor<?x32xf32>, tensor<16x32xf32>
  // CHECK-DAG: %[[SUM:.*]] = morph.add %[[X]], %[[DOWN]]
  // CHECK-DAG: %[[R:.*]] = morph.rms_norm %[[SUM]], %{{.*}} : tensor<?x16xf32>, tensor<16xf32>
  // CHECK: morph.output "rows" = %[[R]]
  morph.program @taken(%x: !rows "x" [B, T], %p: !index "p" [N]) {
    %up = morph.param @up : tensor<32x16xf32>
    %b = morph.param @b : tensor<32xf32>
    %down = morph.param @down : tensor<16x32xf32>
    %w = morph.param @w : tensor<16xf32>
    %0 = morph.linear %x, %up, %b : !rows, tensor<32x16xf32>, tensor<32xf32>
    %1 = morph.silu %0 : !wide
    %2 = morph.linear %1, %down : !wide, tensor<16x32xf32>
    %3 = morph.add %x, %2 : !rows, !rows
    %4 = morph.rms_norm %3, %w eps 1.0e-05 : !rows, tensor<16xf32>
    %5 = morph.take_rows %4, %p : !rows, !index
    morph.output "rows" = %5 : !some
  }

  // CHECK: morph.program @last
  // CHECK: %[[L:.*]] = morph.last_rows %x : tensor<?x?x16xf32>
  // CHECK: morph.silu %[[L]] : tensor<?x16xf32>
  morph.program @last(%x: !rows "x" [B, T]) {
    %0 = morph.silu %x : !rows
    %1 = morph.last_rows %0 : !rows
    morph.output "rows" = %1 : !some
  }

  // CHECK: morph.program @lengths
  // CHECK: morph.take_rows %x, %p
  // CHECK: morph.l2_norm %{{.*}} : tensor<?x16xf32>
  morph.program @lengths(%x: !rows "x" [B, T], %p: !index "p" [N]) {
    %0 = morph.l2_norm %x eps 1.0e-06 : !rows
    %1 = morph.take_rows %0, %p : !rows, !index
    morph.output "rows" = %1 : !some
  }

  // Weights have no rows of the data, though they may have as many dimensions.
  // CHECK: morph.program @mixture
  // CHECK-DAG: %[[MX:.*]] = morph.take_rows %x, %p
  // CHECK-DAG: %[[MR:.*]] = morph.top_k_softmax %{{.*}} count 2 : tensor<?x4xf32>
  // CHECK-DAG: morph.experts %[[MX]], %[[MR]], %{{.*}}, %{{.*}} active 2 : tensor<?x16xf32>, tensor<?x4xf32>, tensor<4x24x16xf32>, tensor<4x16x12xf32>
  morph.program @mixture(%x: !rows "x" [B, T], %p: !index "p" [N]) {
    %router = morph.param @router : tensor<4x16xf32>
    %gate_up = morph.param @gate_up : tensor<4x24x16xf32>
    %down = morph.param @experts_down : tensor<4x16x12xf32>
    %0 = morph.linear %x, %router : !rows, tensor<4x16xf32>
    %1 = morph.top_k_softmax %0 count 2 : tensor<?x?x4xf32>
    %2 = morph.experts %x, %1, %gate_up, %down active 2 : !rows, tensor<?x?x4xf32>, tensor<4x24x16xf32>, tensor<4x16x12xf32>
    %3 = morph.take_rows %2, %p : !rows, !index
    morph.output "rows" = %3 : !some
  }

  // Rows are taken of f32 alone: what is rounded before is rounded whole.
  // CHECK: morph.program @rounded
  // CHECK: morph.linear %{{.*}} : tensor<?x?x16xbf16>, tensor<32x16xbf16>
  // CHECK: morph.take_rows %{{.*}} : tensor<?x?x32xf32>
  morph.program @rounded(%x: !rows "x" [B, T], %p: !index "p" [N]) {
    %up = morph.param @up : tensor<32x16xf32>
    %0 = morph.cast %x to "bf16" : !rows
    %1 = morph.cast %up to "bf16" : tensor<32x16xf32>
    %2 = morph.linear %0, %1 : tensor<?x?x16xbf16>, tensor<32x16xbf16>
    %3 = morph.take_rows %2, %p : !wide, !index
    morph.output "rows" = %3 : tensor<?x32xf32>
  }

  // What is read at all rows as well, or at other ones, stays whole; so does what mixes positions.
  // CHECK: morph.program @whole
  // CHECK-COUNT-2: morph.silu %{{.*}} : tensor<?x?x16xf32>
  // CHECK: morph.short_conv
  // CHECK-COUNT-4: morph.take_rows
  // CHECK-NOT: morph.silu
  morph.program @whole(%x: !rows "x" [B, T], %p: !index "p" [N], %q: !index "q" [M]) {
    %c = morph.param @conv : tensor<16x1x4xf32>
    %0 = morph.silu %x : !rows
    %1 = morph.silu %0 : !rows
    %conv, %state = morph.short_conv %x, %c : !rows, tensor<16x1x4xf32>
    %2 = morph.take_rows %0, %p : !rows, !index
    %3 = morph.take_rows %1, %p : !rows, !index
    %4 = morph.take_rows %1, %q : !rows, !index
    %5 = morph.take_rows %conv, %p : !rows, !index
    morph.output "a" = %2, "b" = %3, "c" = %4, "d" = %5 : !some, !some, !some, !some
  }
}

// Of the last layer's mixers all positions are needed, of what follows the answers alone: also in the backward.
// GATES: morph.program @gates
// GATES: morph.swiglu %{{.*}} : tensor<?x?x32xf32>
// GATES: morph.take_rows %{{.*}} : tensor<?x?x32xf32>, tensor<?xi64>
// GATES: morph.swiglu %{{.*}} : tensor<?x32xf32>
// GATES: morph.blend %{{.*}} : tensor<1xf32>, tensor<?x16xf32>, tensor<?x16xf32>
// GATES: morph.kl_divergence
// GATES: morph.swiglu_grad %{{.*}} : tensor<?x32xf32>
// GATES: morph.blend_gate_grad %{{.*}} : tensor<?x16xf32>
// GATES: morph.scatter_rows
