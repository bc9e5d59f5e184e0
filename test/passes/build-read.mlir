// SPDX-License-Identifier: Apache-2.0
// The program that reads documents piece by piece: the caches and states of decoding, and the cross-entropy of what follows.
// RUN: morph-opt %S/Inputs/tiny-base.mlir --morph-pair-branches=candidates=lightning --morph-discretize=kept=1 --morph-build-read | FileCheck %s
// RUN: not morph-opt %S/Inputs/tiny-base.mlir --morph-search-pipeline --morph-build-read 2>&1 | FileCheck %s --check-prefix=PHASE

// PHASE: is in phase relaxed, but morph-build-read takes phase base, paired or hybrid

// CHECK: morph.program @read(%tokens: tensor<?x?xi64> "tokens" [B, T], %start: tensor<?xi64> "start" [B], %offset: tensor<?xi64> "offset" [B]
// CHECK-SAME: "cache.0.state" [B]
// CHECK-SAME: "cache.1.k" [B, S]
// CHECK-SAME: %positions: tensor<?xi64> "positions" [N], %targets: tensor<?xi64> "targets" [N])
// CHECK: morph.cache_write
// CHECK: %[[ROWS:.*]] = morph.take_rows %{{.*}}, %positions
// CHECK: %[[LOGITS:.*]] = morph.linear %[[ROWS]], %{{.*}} : tensor<?x16xf32>, tensor<32x16xf32>
// CHECK: %[[NLL:.*]] = morph.token_nll %[[LOGITS]], %targets
// CHECK: morph.output "nll" = %[[NLL]], "next.0.state" = %{{.*}}, "next.1.k"
