// SPDX-License-Identifier: Apache-2.0
// Folds and canonicalisations, and where they must not apply.
// RUN: morph-opt %s --canonicalize | FileCheck %s

// CHECK-LABEL: func.func @scale_by_one
// CHECK-SAME: %[[X:.*]]: tensor<?x8xf32>
func.func @scale_by_one(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  // CHECK-NEXT: return %[[X]]
  %0 = morph.scale %x by 1.0 : tensor<?x8xf32>
  return %0 : tensor<?x8xf32>
}

// CHECK-LABEL: func.func @scale_of_scale
// CHECK-SAME: %[[X:.*]]: tensor<?x8xf32>
func.func @scale_of_scale(%x: tensor<?x8xf32>) -> (tensor<?x8xf32>, tensor<?x8xf32>) {
  // CHECK-NEXT: %[[S:.*]] = morph.scale %[[X]] by 5.000000e-01 : tensor<?x8xf32>
  // CHECK-NEXT: return %[[S]], %[[X]]
  %0 = morph.scale %x by 2.0 : tensor<?x8xf32>
  %1 = morph.scale %0 by 0.25 : tensor<?x8xf32>
  %2 = morph.scale %1 by 2.0 : tensor<?x8xf32>
  return %1, %2 : tensor<?x8xf32>, tensor<?x8xf32>
}

// CHECK-LABEL: func.func @heads
// CHECK-SAME: %[[X:.*]]: tensor<?x?x8xf32>, %[[Y:.*]]: tensor<?x?x2x4xf32>
func.func @heads(%x: tensor<?x?x8xf32>, %y: tensor<?x?x2x4xf32>)
    -> (tensor<?x?x8xf32>, tensor<?x?x2x4xf32>, tensor<?x?x4x2xf32>) {
  // CHECK-NEXT: %[[M:.*]] = morph.merge_heads %[[Y]]
  // CHECK-NEXT: %[[S:.*]] = morph.split_heads %[[M]] heads 4
  // CHECK-NEXT: return %[[X]], %[[Y]], %[[S]]
  %0 = morph.split_heads %x heads 2 : tensor<?x?x8xf32>
  %1 = morph.merge_heads %0 : tensor<?x?x2x4xf32>
  %2 = morph.merge_heads %y : tensor<?x?x2x4xf32>
  %3 = morph.split_heads %2 heads 2 : tensor<?x?x8xf32>
  %4 = morph.split_heads %2 heads 4 : tensor<?x?x8xf32>
  return %1, %3, %4 : tensor<?x?x8xf32>, tensor<?x?x2x4xf32>, tensor<?x?x4x2xf32>
}

// CHECK-LABEL: func.func @mask_twice
func.func @mask_twice(%x: tensor<?x?x8xf32>, %start: tensor<?xi64>, %other: tensor<?xi64>, %offset: tensor<?xi64>)
    -> (tensor<?x?x8xf32>, tensor<?x?x8xf32>) {
  // CHECK-NEXT: %[[A:.*]] = morph.mask_padding %{{.*}}, %[[START:.*]], %[[OFFSET:.*]] :
  // CHECK-NEXT: %[[B:.*]] = morph.mask_padding %[[A]], %{{.*}}, %[[OFFSET]] :
  // CHECK-NEXT: return %[[A]], %[[B]]
  %0 = morph.mask_padding %x, %start, %offset : tensor<?x?x8xf32>, tensor<?xi64>, tensor<?xi64>
  %1 = morph.mask_padding %0, %start, %offset : tensor<?x?x8xf32>, tensor<?xi64>, tensor<?xi64>
  %2 = morph.mask_padding %1, %other, %offset : tensor<?x?x8xf32>, tensor<?xi64>, tensor<?xi64>
  return %1, %2 : tensor<?x?x8xf32>, tensor<?x?x8xf32>
}

// CHECK-LABEL: func.func @reduce_to_own_shape
// CHECK-SAME: %[[X:.*]]: tensor<?x8xf32>
func.func @reduce_to_own_shape(%x: tensor<?x8xf32>) -> (tensor<?x8xf32>, tensor<8xf32>) {
  // CHECK-NEXT: %[[R:.*]] = morph.reduce_to %[[X]] rank 1
  // CHECK-NEXT: return %[[X]], %[[R]]
  %0 = morph.reduce_to %x rank 2 : tensor<?x8xf32>
  %1 = morph.reduce_to %0 rank 1 : tensor<?x8xf32>
  return %0, %1 : tensor<?x8xf32>, tensor<8xf32>
}

// CHECK-LABEL: func.func @blend_of_one_value
// CHECK-SAME: %[[G:.*]]: tensor<1xf32>, %[[A:.*]]: tensor<?x8xf32>, %[[B:.*]]: tensor<?x8xf32>
func.func @blend_of_one_value(%g: tensor<1xf32>, %a: tensor<?x8xf32>, %b: tensor<?x8xf32>)
    -> (tensor<?x8xf32>, tensor<?x8xf32>) {
  // CHECK-NEXT: %[[D:.*]] = morph.blend %[[G]] of %[[A]], %[[B]]
  // CHECK-NEXT: return %[[A]], %[[D]]
  %0 = morph.blend %g of %a, %a : tensor<1xf32>, tensor<?x8xf32>, tensor<?x8xf32>
  %1 = morph.blend %g of %a, %b : tensor<1xf32>, tensor<?x8xf32>, tensor<?x8xf32>
  return %0, %1 : tensor<?x8xf32>, tensor<?x8xf32>
}

// CHECK-LABEL: morph.model @rotations
morph.model @rotations base architecture "llama" layers 1 {
  morph.rope_table @rope [1.0, 0.01] attention_factor 1.0
  morph.rope_table @scaled [1.0, 0.01] attention_factor 1.2
  // CHECK: func.func @turned_back
  // CHECK-SAME: %[[X:.*]]: tensor<?x?x2x4xf32>, %[[OFFSET:.*]]: tensor<?xi64>
  func.func @turned_back(%x: tensor<?x?x2x4xf32>, %offset: tensor<?xi64>)
      -> (tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>) {
    // CHECK-NEXT: %[[A:.*]] = morph.rope %[[X]] table @rope :
    // CHECK-NEXT: %[[B:.*]] = morph.rope %[[A]] offset %[[OFFSET]] table @rope inverse :
    // CHECK-NEXT: %[[C:.*]] = morph.rope %[[X]] table @scaled :
    // CHECK-NEXT: %[[D:.*]] = morph.rope %[[C]] table @scaled inverse :
    // CHECK-NEXT: return %[[X]], %[[B]], %[[D]]
    %0 = morph.rope %x table @rope : tensor<?x?x2x4xf32>
    %1 = morph.rope %0 table @rope inverse : tensor<?x?x2x4xf32>
    %2 = morph.rope %0 offset %offset table @rope inverse : tensor<?x?x2x4xf32>, tensor<?xi64>
    %3 = morph.rope %x table @scaled : tensor<?x?x2x4xf32>
    %4 = morph.rope %3 table @scaled inverse : tensor<?x?x2x4xf32>
    return %1, %2, %4 : tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>
  }
}

// CHECK-LABEL: func.func @unused
func.func @unused(%x: tensor<?x8xf32>) {
  // CHECK-NEXT: return
  %0 = morph.silu %x : tensor<?x8xf32>
  return
}
