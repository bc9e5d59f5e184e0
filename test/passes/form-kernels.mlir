// SPDX-License-Identifier: Apache-2.0
// RUN: morph-opt %s --morph-form-kernels | FileCheck %s
// RUN: morph-opt %s --morph-form-kernels | morph-opt --morph-form-kernels | FileCheck %s
// RUN: morph-opt %s --morph-form-kernels=program=layers | FileCheck %s --check-prefix=ONE
// RUN: morph-opt %S/Inputs/tiny-base.mlir --morph-search-pipeline --morph-program-pipeline=program=gates | FileCheck %s --check-prefix=GATES

!rows = tensor<?x?x16xf32>
!heads = tensor<?x?x4x4xf32>

// Only the program that is named; none of another function.
// ONE: morph.launch
// ONE: morph.program @views
// ONE-NOT: morph.launch

// CHECK-LABEL: morph.model @m
morph.model @m base architecture "llama" layers 1 {
  morph.weight @w : tensor<16xf32>
  morph.weight @v : tensor<16xf32>
  morph.weight @p : tensor<16x16xf32>
  // CHECK: func.func @plain
  // CHECK-NEXT: morph.silu
  func.func @plain(%x: !rows) -> !rows {
    %0 = morph.silu %x : !rows
    return %0 : !rows
  }

  // One kernel for both layers; a weight's param between the ops goes up.
  // CHECK: morph.kernel @add_rms_norm_16 rows 2 (%[[X:.*]]: tensor<?x?x16xf32>, %[[Y:.*]]: tensor<?x?x16xf32>, %[[W:.*]]: tensor<16xf32>) {
  // CHECK-NEXT: %[[S:.*]] = morph.add %[[X]], %[[Y]]
  // CHECK-NEXT: %[[N:.*]] = morph.rms_norm %[[S]], %[[W]]
  // CHECK-NEXT: morph.return %[[S]], %[[N]]
  // CHECK-NOT: morph.kernel
  // CHECK-LABEL: morph.program @layers
  // CHECK: %[[A:.*]]:2 = morph.launch @add_rms_norm_16(
  // CHECK-NEXT: %[[L:.*]] = morph.linear %[[A]]#1
  // CHECK-NEXT: %[[B:.*]]:2 = morph.launch @add_rms_norm_16(%[[A]]#0, %[[L]],
  // CHECK-NEXT: %[[E:.*]] = morph.linear %[[B]]#0
  // CHECK-NEXT: morph.output "r0" = %[[E]], "r1" = %[[B]]#1
  morph.program @layers(%x: !rows "x" [B, T], %y: !rows "y" [B, T]) {
    %p = morph.param @p : tensor<16x16xf32>
    %0 = morph.add %x, %y : !rows, !rows
    %w = morph.param @w : tensor<16xf32>
    %1 = morph.rms_norm %0, %w eps 1.0e-5 : !rows, tensor<16xf32>
    %2 = morph.linear %1, %p : !rows, tensor<16x16xf32>
    %3 = morph.add %0, %2 : !rows, !rows
    %v = morph.param @v : tensor<16xf32>
    %4 = morph.rms_norm %3, %v eps 1.0e-5 : !rows, tensor<16xf32>
    %5 = morph.linear %3, %p : !rows, tensor<16x16xf32>
    morph.output "r0" = %5, "r1" = %4 : !rows, !rows
  }

  // An output is not made together with what is computed of it: who gives it to a run need not compute it.
  // CHECK: morph.kernel @add_16
  // CHECK: morph.kernel @rms_norm_16
  // CHECK-LABEL: morph.program @given
  // CHECK: %[[A:.*]] = morph.launch @add_16(%x, %y)
  // CHECK: %[[N:.*]] = morph.launch @rms_norm_16(%[[A]],
  // CHECK: morph.output "r0" = %[[A]], "r1" = %[[N]]
  morph.program @given(%x: !rows "x" [B, T], %y: !rows "y" [B, T]) {
    %w = morph.param @w : tensor<16xf32>
    %0 = morph.add %x, %y : !rows, !rows
    %1 = morph.rms_norm %0, %w eps 1.0e-5 : !rows, tensor<16xf32>
    morph.output "r0" = %0, "r1" = %1 : !rows, !rows
  }

  // A view that only ops of the kernel read is in it, one that others read as well is made twice.
  // CHECK: morph.kernel @silu_l2_norm_16 rows 2 (%[[X:.*]]: tensor<?x?x16xf32>) {
  // CHECK-NEXT: %[[H:.*]] = morph.split_heads %[[X]] heads 4
  // CHECK-NEXT: %[[S:.*]] = morph.silu %[[H]]
  // CHECK-NEXT: %[[N:.*]] = morph.l2_norm %[[S]]
  // CHECK-NEXT: morph.return %[[N]]
  // CHECK-LABEL: morph.program @views
  // CHECK-SAME: (%[[X:.*]]: tensor<?x?x16xf32> "x" [B, T])
  // CHECK-DAG: %[[H:.*]] = morph.split_heads %[[X]]
  // CHECK-DAG: %[[N:.*]] = morph.launch @silu_l2_norm_16(%[[X]])
  // CHECK: %[[M:.*]] = morph.merge_heads %[[N]]
  // CHECK: morph.output "r0" = %[[H]], "r1" = %[[M]]
  morph.program @views(%x: !rows "x" [B, T]) {
    %0 = morph.split_heads %x heads 4 : !rows
    %1 = morph.silu %0 : !heads
    %2 = morph.l2_norm %1 eps 1.0e-6 : !heads
    %3 = morph.merge_heads %2 : !heads
    morph.output "r0" = %0, "r1" = %3 : !heads, !rows
  }

  // The first sum would keep two rows over the product instead of one: it stays.
  // CHECK-LABEL: morph.program @lifetimes
  // CHECK: %[[S:.*]] = morph.launch @add_16
  // CHECK-NEXT: %[[L:.*]] = morph.linear
  // CHECK-NEXT: morph.launch @add_16(%[[S]], %[[L]])
  morph.program @lifetimes(%x: !rows "x" [B, T]) {
    %p = morph.param @p : tensor<16x16xf32>
    %a = morph.linear %x, %p : !rows, tensor<16x16xf32>
    %b = morph.linear %a, %p : !rows, tensor<16x16xf32>
    %0 = morph.add %a, %b : !rows, !rows
    %1 = morph.linear %x, %p : !rows, tensor<16x16xf32>
    %2 = morph.add %0, %1 : !rows, !rows
    morph.output "r0" = %2 : !rows
  }

  // Up, the second would hold one row more over the product; down, the first two instead of one.
  // CHECK-LABEL: morph.program @stays
  // CHECK: morph.launch @add_16
  // CHECK-NEXT: morph.linear
  // CHECK-NEXT: morph.launch @sigmoid_16
  morph.program @stays(%x: !rows "x" [B, T], %y: !rows "y" [B, T], %z: !rows "z" [B, T]) {
    %p = morph.param @p : tensor<16x16xf32>
    %0 = morph.add %y, %z : !rows, !rows
    %1 = morph.linear %x, %p : !rows, tensor<16x16xf32>
    %2 = morph.sigmoid %0 : !rows
    morph.output "r0" = %0, "r1" = %1, "r2" = %2 : !rows, !rows, !rows
  }

  // A norm whose operand lives on anyway goes down past a product to the op that reads it.
  // CHECK-LABEL: morph.program @sinks
  // CHECK-SAME: (%[[X:.*]]: tensor<?x?x16xf32> "x" [B, T])
  // CHECK: %[[L:.*]] = morph.linear
  // CHECK-NEXT: %[[R:.*]] = morph.launch @l2_norm_silu_mul_16(%[[X]], %[[L]])
  // CHECK-NEXT: morph.output "r0" = %[[X]], "r1" = %[[R]]
  morph.program @sinks(%x: !rows "x" [B, T]) {
    %p = morph.param @p : tensor<16x16xf32>
    %0 = morph.l2_norm %x eps 1.0e-6 : !rows
    %1 = morph.linear %x, %p : !rows, tensor<16x16xf32>
    %2 = morph.silu %1 : !rows
    %3 = morph.mul %0, %2 : !rows, !rows
    morph.output "r0" = %x, "r1" = %3 : !rows, !rows
  }

  // A path leaves the cluster and comes back: no kernel of all three.
  // CHECK-LABEL: morph.program @convex
  // CHECK: %[[S:.*]] = morph.launch @silu_16
  // CHECK-NEXT: %[[L:.*]] = morph.linear %[[S]]
  // CHECK-NEXT: morph.launch @add_16(%[[S]], %[[L]])
  morph.program @convex(%x: !rows "x" [B, T]) {
    %p = morph.param @p : tensor<16x16xf32>
    %0 = morph.silu %x : !rows
    %1 = morph.linear %0, %p : !rows, tensor<16x16xf32>
    %2 = morph.add %0, %1 : !rows, !rows
    morph.output "r0" = %2 : !rows
  }

  // What reads a value that is updated stays before the update, though its sum could be one kernel with it.
  // CHECK-LABEL: morph.program @updates
  // CHECK: %[[A:.*]] = morph.launch @exp_16(%[[CACHE:.*]]) :
  // CHECK-NEXT: %[[NEXT:.*]] = morph.cache_write %[[CACHE]]
  // CHECK-NEXT: %[[L:.*]] = morph.linear %[[NEXT]]
  // CHECK-NEXT: morph.launch @add_16(%[[A]], %[[L]])
  morph.program @updates(%cache: !rows "cache" [B, S], %x: !rows "x" [B, T], %offset: tensor<?xi64> "offset" [B]) {
    %p = morph.param @p : tensor<16x16xf32>
    %0 = morph.exp %cache : !rows
    %1 = morph.cache_write %cache, %x offset %offset : !rows, !rows, tensor<?xi64>
    %2 = morph.linear %1, %p : !rows, tensor<16x16xf32>
    %3 = morph.add %0, %2 : !rows, !rows
    morph.output "r0" = %1, "r1" = %3 : !rows, !rows
  }

  // Ops that read the same rows, next to each other: one pass over them.
  // CHECK-LABEL: morph.program @siblings
  // CHECK: %[[R:.*]]:2 = morph.launch @softplus_sigmoid_16
  morph.program @siblings(%x: !rows "x" [B, T]) {
    %0 = morph.softplus %x : !rows
    %1 = morph.sigmoid %x : !rows
    morph.output "r0" = %0, "r1" = %1 : !rows, !rows
  }

  // Sums over rows are taken where the rows are made; what reads them comes after.
  // CHECK: morph.kernel @rms_norm_input_grad_rms_norm_weight_grad_reduce_to_16 
  // CHECK: morph.return {{.*}} : tensor<?x?x16xf32>, tensor<16xf32>, tensor<f32>
  // CHECK-LABEL: morph.program @sums
  // CHECK: %[[R:.*]]:3 = morph.launch @rms_norm_input_grad_rms_norm_weight_grad_reduce_to_16(
  // CHECK: morph.launch @mul_16(%[[R]]#0, %[[R]]#1)
  morph.program @sums(%dy: !rows "dy" [B, T], %x: !rows "x" [B, T]) {
    %w = morph.param @w : tensor<16xf32>
    %dx = morph.rms_norm_input_grad %dy, %x, %w eps 1.0e-5 : !rows, !rows, tensor<16xf32>
    %dw = morph.rms_norm_weight_grad %dy, %x eps 1.0e-5 : !rows, !rows
    %0 = morph.reduce_to %dx rank 0 : !rows
    %1 = morph.mul %dx, %dw : !rows, tensor<16xf32>
    morph.output "r0" = %1, "r1" = %0 : !rows, tensor<f32>
  }

  // Uniform values alone, and sums over lines of two widths.
  // CHECK-LABEL: morph.program @apart
  // CHECK: morph.exp %{{.*}} : tensor<16xf32>
  // CHECK: morph.launch @l2_norm_16
  // CHECK: morph.launch @l2_norm_16_1
  morph.program @apart(%x: !rows "x" [B, T]) {
    %w = morph.param @w : tensor<16xf32>
    %0 = morph.exp %w : tensor<16xf32>
    %1 = morph.l2_norm %x eps 1.0e-6 : !rows
    %2 = morph.split_heads %1 heads 4 : !rows
    %3 = morph.l2_norm %2 eps 1.0e-6 : !heads
    morph.output "r0" = %0, "r1" = %3 : tensor<16xf32>, !heads
  }
}

// A real program: no elementwise op of rows is left outside of a kernel.
// GATES-LABEL: morph.program @gates
// GATES-NOT: = morph.add
// GATES-NOT: = morph.rms_norm
// GATES-NOT: = morph.swiglu
// GATES-NOT: = morph.blend %
