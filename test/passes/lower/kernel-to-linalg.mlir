// SPDX-License-Identifier: Apache-2.0
// RUN: morph-opt %s --morph-kernel-to-linalg | FileCheck %s

// CHECK-DAG: #[[$ROW:.*]] = affine_map<(d0, d1) -> (d0, d1)>
// CHECK-DAG: #[[$LINE:.*]] = affine_map<(d0, d1) -> (d0)>
// CHECK-DAG: #[[$UNIFORM:.*]] = affine_map<(d0, d1) -> (d1)>

// The dimensions of the row space are one.
// CHECK-LABEL: module @kernels
// CHECK-LABEL: func.func @norm
// CHECK-SAME: (%[[X:.*]]: tensor<?x16xf32>, %[[W:.*]]: tensor<16xf32>) -> tensor<?x16xf32>
// CHECK: %[[S:.*]] = linalg.generic {indexing_maps = [#[[$ROW]], #[[$LINE]]], iterator_types = ["parallel", "reduction"]} ins(%[[X]] :
// CHECK: %[[R:.*]] = linalg.generic {{.*}} iterator_types = ["parallel"]} ins(%[[S]] :
// CHECK: math.sqrt
// CHECK: linalg.generic {indexing_maps = [#[[$ROW]], #[[$LINE]], #[[$UNIFORM]], #[[$ROW]]], iterator_types = ["parallel", "parallel"]} ins(%[[X]], %[[R]], %[[W]] :

// Scalars are read outside of the loops, views are views.
// CHECK-LABEL: func.func @blend
// CHECK-SAME: (%[[G:.*]]: tensor<1xf32>, %[[A:.*]]: tensor<?x8xf32>, %[[B:.*]]: tensor<?x2x4xf32>) -> tensor<?x2x4xf32>
// CHECK: %[[E:.*]] = tensor.expand_shape %[[A]] {{\[\[}}0], [1, 2]]
// CHECK: tensor.extract %[[G]]
// CHECK: linalg.generic {{.*}} ins(%[[E]], %[[B]] :

// Sums over rows, and over their lines first where there is one number in the end.
// CHECK-LABEL: func.func @sums
// CHECK-SAME: -> (tensor<4xf32>, tensor<f32>)
// CHECK: linalg.generic {{.*}} iterator_types = ["reduction", "reduction", "parallel"]} ins(%{{.*}} : tensor<?x2x4xf32>) outs(%{{.*}} : tensor<4xf32>)
// CHECK: %[[LINES:.*]] = linalg.generic {{.*}} iterator_types = ["parallel", "parallel", "reduction"]}
// CHECK: linalg.generic {{.*}} iterator_types = ["reduction", "reduction"]} ins(%[[LINES]] : tensor<?x2xf32>) outs(%{{.*}} : tensor<f32>)
morph.model @m base architecture "llama" layers 1 {
  morph.kernel @norm rows 2 (%x: tensor<?x?x16xf32>, %w: tensor<16xf32>) {
    %0 = morph.rms_norm %x, %w eps 1.0e-5 : tensor<?x?x16xf32>, tensor<16xf32>
    morph.return %0 : tensor<?x?x16xf32>
  }
  morph.kernel @blend rows 2 (%g: tensor<1xf32>, %a: tensor<?x?x8xf32>, %b: tensor<?x?x2x4xf32>) {
    %0 = morph.split_heads %a heads 2 : tensor<?x?x8xf32>
    %1 = morph.blend %g of %0, %b : tensor<1xf32>, tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>
    morph.return %1 : tensor<?x?x2x4xf32>
  }
  morph.kernel @sums rows 2 (%x: tensor<?x?x2x4xf32>) {
    %0 = morph.reduce_to %x rank 1 : tensor<?x?x2x4xf32>
    %1 = morph.reduce_to %x rank 0 : tensor<?x?x2x4xf32>
    morph.return %0, %1 : tensor<4xf32>, tensor<f32>
  }
}
