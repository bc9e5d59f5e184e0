// SPDX-License-Identifier: Apache-2.0
// RUN: morph-opt %S/Inputs/tiny-base.mlir --morph-pair-branches="candidates=gated_deltanet(conv=4)" --morph-discretize=kept=1 --morph-program-pipeline=program=decode | FileCheck %s
// RUN: morph-opt %S/Inputs/tiny-base.mlir --morph-program-pipeline="program=decode options=positions=true" | FileCheck %s --check-prefix=ROWS
// RUN: morph-opt %S/Inputs/tiny-window.mlir --morph-program-pipeline=program=decode | FileCheck %s --check-prefix=WINDOW

// CHECK: morph.program @decode(%tokens: tensor<?x?xi64> "tokens" [B, T], %start: tensor<?xi64> "start" [B], %offset: tensor<?xi64> "offset" [B]
// CHECK-SAME: "cache.0.q_conv" [B]
// CHECK-SAME: %cache.0.state: tensor<?x4x8x8xf32> "cache.0.state" [B]
// CHECK-SAME: %cache.1.k: tensor<?x?x2x8xf32> "cache.1.k" [B, S]
// Left padding is masked for linear attention, and unseen by full attention.
// CHECK: morph.mask_padding %{{.*}}, %start, %offset
// CHECK: %{{.*}}, %[[STATE:.*]] = morph.linear_attention {{.*}} state %cache.0.state
// CHECK: morph.rope %{{.*}} offset %offset table @rope
// CHECK: %[[K:.*]] = morph.cache_write %cache.1.k
// CHECK: morph.attention {{.*}} start %start offset %offset
// CHECK: morph.last_rows
// CHECK: morph.output "logits" = %{{.*}}, "next.0.q_conv" = {{.*}}"next.0.state" = %[[STATE]], "next.1.k" = %[[K]], {{.*}} : tensor<?x32xf32>, tensor<?x3x32xf32>,

// The rings of a window have slots of their own.
// WINDOW: %cache.0.k: tensor<?x?x2x8xf32> "cache.0.k" [B, S32]
// WINDOW: morph.attention {{.*}} offset %offset scale {{.*}} window 32

// Whoever runs it names the rows that have logits; what follows the last mixer is computed of them alone.
// ROWS: morph.program @decode(%tokens: {{.*}} %positions: tensor<?xi64> "positions" [N])
// ROWS-NOT: morph.last_rows
// ROWS: morph.take_rows %{{.*}}, %positions
// ROWS: morph.output "logits" = %{{.*}} : tensor<?x32xf32>
