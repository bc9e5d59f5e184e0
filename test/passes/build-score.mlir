// SPDX-License-Identifier: Apache-2.0
// RUN: morph-opt %S/Inputs/tiny-base.mlir --morph-build-score --morph-build-logits | FileCheck %s
// RUN: morph-opt %S/Inputs/tiny-base.mlir --morph-search-pipeline --morph-build-score=kl | FileCheck %s --check-prefix=KL
// RUN: morph-opt %S/Inputs/tiny-base.mlir --morph-pair-branches --morph-build-score | FileCheck %s --check-prefix=PAIRED

// CHECK: morph.program @score(%tokens: tensor<?x?xi64> "tokens" [B, T], %positions: tensor<?xi64> "positions" [N], %targets: tensor<?xi64> "targets" [N]) {
// CHECK: morph.take_rows %{{.*}}, %positions
// CHECK: %[[LOGITS:.*]] = morph.linear
// CHECK-NEXT: %[[NLL:.*]] = morph.token_nll %[[LOGITS]], %targets
// CHECK-NEXT: %[[CORRECT:.*]] = morph.correct %[[LOGITS]], %targets
// CHECK-NEXT: morph.output "nll" = %[[NLL]], "correct" = %[[CORRECT]] :
// CHECK: morph.program @logits(%tokens: tensor<?x?xi64> "tokens" [B, T], %positions: tensor<?xi64> "positions" [N]) {
// CHECK: morph.output "logits" = %{{.*}} : tensor<?x32xf32>

// Gates are weights like others.
// KL: morph.program @score({{.*}}, %teacher_logits: tensor<?x32xf32> "teacher_logits" [N]) {
// KL: morph.param @gate.0
// KL: %[[KL:.*]] = morph.kl_divergence %teacher_logits, %{{.*}}
// KL: morph.output "nll" = %{{.*}}, "correct" = %{{.*}}, "kl" = %[[KL]], "stream.0" = %{{.*}}, "stream.1" = %{{.*}} :

// A choice is its first candidate.
// PAIRED: morph.program @score
// PAIRED-NOT: morph.choice
// PAIRED-COUNT-2: morph.softmax_mixer
// PAIRED-NOT: morph.linear_mixer
