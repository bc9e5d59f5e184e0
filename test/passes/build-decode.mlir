// SPDX-License-Identifier: Apache-2.0
// RUN: morph-opt %S/Inputs/tiny-base.mlir --morph-pair-branches="options=conv=4" --morph-discretize=kept=1 --morph-program-pipeline=program=decode | FileCheck %s

// CHECK: func.func @decode(%[[IDS:.*]]: tensor<?x?xi64> {morph.dims = ["B", "T"], morph.name = "tokens"}, %[[START:.*]]: tensor<?xi64> {morph.dims = ["B"], morph.name = "start"}, %[[OFFSET:.*]]: tensor<i64> {morph.name = "offset"}
// CHECK-SAME: %[[STATE:[a-z0-9]*]]: tensor<?x4x8x8xf32> {morph.dims = ["B"], morph.name = "cache.0.state"}
// CHECK-SAME: morph.name = "cache.0.conv_q"}
// CHECK-SAME: %[[K:[a-z0-9]*]]: tensor<?x?x2x8xf32> {morph.dims = ["B", "S"], morph.name = "cache.1.k"}
// CHECK-SAME: -> (tensor<?x32xf32> {morph.name = "logits"}, tensor<?x4x8x8xf32> {morph.name = "next.0.state"}
// CHECK-SAME: tensor<?x?x2x8xf32> {morph.name = "next.1.k"}
// Left padding is masked for linear attention, and unseen by full attention.
// CHECK: morph.mask_padding %{{.*}}, %[[START]], %[[OFFSET]]
// CHECK: morph.linear_attention {{.*}} state %[[STATE]]
// CHECK: morph.rope %{{.*}} offset %[[OFFSET]] table @rope
// CHECK: morph.concat %[[K]]
// CHECK: morph.attention {{.*}} start %[[START]]
// CHECK: morph.last_rows
