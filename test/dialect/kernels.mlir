// SPDX-License-Identifier: Apache-2.0
// RUN: morph-opt %s --verify-roundtrip | FileCheck %s
// RUN: morph-opt %s --mlir-print-op-generic | morph-opt | FileCheck %s
// RUN: morph-opt %s --emit-bytecode | morph-opt | FileCheck %s
// RUN: morph-opt %s --canonicalize | FileCheck %s --check-prefix=FOLD

// CHECK-LABEL: morph.model @kernels
morph.model @kernels base architecture "llama" layers 1 {
  // CHECK: morph.kernel @add_rms_norm rows 2 (%[[X:.*]]: tensor<?x?x16xf32>, %[[Y:.*]]: tensor<?x?x16xf32>, %[[W:.*]]: tensor<16xf32>) {
  // CHECK-NEXT: %[[SUM:.*]] = morph.add %[[X]], %[[Y]]
  // CHECK-NEXT: %[[NORM:.*]] = morph.rms_norm %[[SUM]], %[[W]] eps 1.000000e-05
  // CHECK-NEXT: morph.return %[[SUM]], %[[NORM]] : tensor<?x?x16xf32>, tensor<?x?x16xf32>
  morph.kernel @add_rms_norm rows 2 (%x: tensor<?x?x16xf32>, %y: tensor<?x?x16xf32>, %w: tensor<16xf32>) {
    %0 = morph.add %x, %y : tensor<?x?x16xf32>, tensor<?x?x16xf32>
    %1 = morph.rms_norm %0, %w eps 1.0e-5 : tensor<?x?x16xf32>, tensor<16xf32>
    morph.return %0, %1 : tensor<?x?x16xf32>, tensor<?x?x16xf32>
  }
  // CHECK: morph.kernel @to_bf16 rows 1 (%[[Z:.*]]: tensor<?xf32>) attributes {note} {
  // CHECK-NEXT: morph.cast %[[Z]] to "bf16" : tensor<?xf32>
  morph.kernel @to_bf16 rows 1 (%x: tensor<?xf32>) attributes {note} {
    %0 = morph.cast %x to "bf16" : tensor<?xf32>
    morph.return %0 : tensor<?xbf16>
  }
  // CHECK-LABEL: func.func @f
  // CHECK: morph.launch @add_rms_norm(%{{.*}}, %{{.*}}, %{{.*}}) : (tensor<?x?x16xf32>, tensor<?x?x16xf32>, tensor<16xf32>) -> (tensor<?x?x16xf32>, tensor<?x?x16xf32>)
  func.func @f(%x: tensor<?x?x16xf32>, %w: tensor<16xf32>) -> (tensor<?x?x16xf32>, tensor<?x?x16xf32>) {
    %0:2 = morph.launch @add_rms_norm(%x, %x, %w) : (tensor<?x?x16xf32>, tensor<?x?x16xf32>, tensor<16xf32>) -> (tensor<?x?x16xf32>, tensor<?x?x16xf32>)
    return %0#0, %0#1 : tensor<?x?x16xf32>, tensor<?x?x16xf32>
  }
  // A cast to the same type is its operand; one to bf16 and back rounds.
  // FOLD-LABEL: func.func @casts
  // FOLD-SAME: (%[[A:.*]]: tensor<?x4xf32>)
  // FOLD-NEXT: %[[B:.*]] = morph.cast %[[A]] to "bf16" : tensor<?x4xf32>
  // FOLD-NEXT: %[[C:.*]] = morph.cast %[[B]] to "f32" : tensor<?x4xbf16>
  // FOLD-NEXT: return %[[A]], %[[C]]
  func.func @casts(%x: tensor<?x4xf32>) -> (tensor<?x4xf32>, tensor<?x4xf32>) {
    %0 = morph.cast %x to "f32" : tensor<?x4xf32>
    %1 = morph.cast %x to "bf16" : tensor<?x4xf32>
    %2 = morph.cast %1 to "f32" : tensor<?x4xbf16>
    return %0, %2 : tensor<?x4xf32>, tensor<?x4xf32>
  }
}
