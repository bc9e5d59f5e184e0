// SPDX-License-Identifier: Apache-2.0
// RUN: morph-opt %S/Inputs/tiny-base.mlir --morph-build-score --morph-build-logits | FileCheck %s
// RUN: morph-opt %S/Inputs/tiny-base.mlir --morph-search-pipeline --morph-build-score=kl | FileCheck %s --check-prefix=KL
// RUN: morph-opt %S/Inputs/tiny-base.mlir --morph-pair-branches --morph-build-score | FileCheck %s --check-prefix=PAIRED

// CHECK: func.func @score(%{{.*}} {morph.dims = ["B", "T"], morph.name = "tokens"}, %[[POS:.*]]: tensor<?xi64> {morph.dims = ["N"], morph.name = "positions"}, %[[TARGETS:.*]]: tensor<?xi64> {morph.dims = ["N"], morph.name = "targets"}) -> (tensor<?xf32> {morph.name = "nll"}, tensor<?xf32> {morph.name = "correct"})
// CHECK-NOT: morph.trainable
// CHECK: morph.take_rows %{{.*}}, %[[POS]]
// CHECK: %[[LOGITS:.*]] = morph.linear
// CHECK-NEXT: %[[NLL:.*]] = morph.token_nll %[[LOGITS]], %[[TARGETS]]
// CHECK-NEXT: %[[CORRECT:.*]] = morph.correct %[[LOGITS]], %[[TARGETS]]
// CHECK-NEXT: return %[[NLL]], %[[CORRECT]]
// CHECK: func.func @logits(%{{.*}} {{.*}}, %{{.*}} {{.*}}) -> (tensor<?x32xf32> {morph.name = "logits"})

// Gates are weights like others.
// KL: func.func @score({{.*}}, %[[TEACHER:.*]]: tensor<?x32xf32> {morph.dims = ["N"], morph.name = "teacher_logits"}) -> ({{.*}}, {{.*}}, tensor<?xf32> {morph.name = "kl"})
// KL: morph.param @gate.0
// KL: morph.kl_divergence %[[TEACHER]], %{{.*}}

// A choice is its first candidate.
// PAIRED: func.func @score
// PAIRED-NOT: morph.choice
// PAIRED-COUNT-2: morph.softmax_mixer
// PAIRED-NOT: morph.linear_mixer
