// SPDX-License-Identifier: Apache-2.0
// RUN: morph-opt %S/Inputs/tiny-base.mlir --morph-search-pipeline --morph-build-gates --cse --canonicalize | FileCheck %s --check-prefix=KL
// RUN: morph-opt %S/Inputs/tiny-base.mlir --morph-search-pipeline --morph-build-gates=loss=ce --cse --canonicalize | FileCheck %s --check-prefix=CE
// RUN: morph-opt %S/Inputs/tiny-base.mlir --morph-search-pipeline --morph-build-gates=loss=final_hidden --cse --canonicalize | FileCheck %s --check-prefix=FINAL
// RUN: morph-opt %S/Inputs/tiny-base.mlir --morph-search-pipeline --morph-build-gates="loss=layers normalize=rows" --cse --canonicalize | FileCheck %s --check-prefix=LAYERS
// RUN: morph-opt %S/Inputs/tiny-base.mlir --morph-search-pipeline --morph-build-gates="loss=layers target=local" --cse --canonicalize | FileCheck %s --check-prefix=LOCAL

// KL: morph.program @gates(%tokens: tensor<?x?xi64> "tokens" [B, T], %positions: tensor<?xi64> "positions" [N], %targets: tensor<?xi64> "targets" [N], %weights: tensor<?xf32> "weights" [N]) trains [@gate.0, @gate.1] {
// The embedding and layer 0's mixers are computed once for teacher and student.
// KL-COUNT-1: morph.embedding
// KL-NOT: morph.embedding
// KL: %[[FULL0:.*]] = morph.softmax_mixer %{{.*}} layer 0
// KL-NOT: morph.softmax_mixer %{{.*}} layer 0
// KL: morph.softmax_mixer %{{.*}} layer 1
// KL: %[[TEACHER:.*]] = morph.take_rows %{{.*}}, %positions
// KL: %[[TLOGITS:.*]] = morph.linear %[[TEACHER]]
// KL: morph.blend %{{.*}} of %[[FULL0]]
// KL: morph.softmax_mixer %{{.*}} layer 1
// KL: morph.blend
// KL: %[[STUDENT:.*]] = morph.take_rows
// KL: %[[SLOGITS:.*]] = morph.linear %[[STUDENT]]
// KL-NEXT: %[[KL:.*]] = morph.kl_divergence %[[TLOGITS]], %[[SLOGITS]]
// KL-NEXT: %[[LOSS:.*]] = morph.weighted_mean %[[KL]], %weights
// KL-NEXT: morph.output "loss" = %[[LOSS]] : tensor<f32>

// No teacher is needed for the targets' cross-entropy.
// CE: morph.program @gates
// CE-COUNT-2: morph.softmax_mixer
// CE-NOT: morph.softmax_mixer
// CE: morph.token_nll %{{.*}}, %targets
// CE-NEXT: morph.weighted_mean
// CE: morph.output

// FINAL: morph.program @gates
// FINAL: %[[T:.*]] = morph.take_rows
// FINAL: %[[S:.*]] = morph.take_rows
// FINAL-NEXT: %[[LOSS:.*]] = morph.squared_error %[[S]], %[[T]] normalize "relative"
// FINAL-NEXT: morph.output "loss" = %[[LOSS]] :

// Rows are taken at once, so that whole states need not live on; nothing after the last mixer is computed.
// LAYERS: morph.program @gates
// LAYERS: morph.softmax_mixer %{{.*}} layer 0
// LAYERS-NEXT: morph.add
// LAYERS-NEXT: %[[T0:.*]] = morph.take_rows
// LAYERS: morph.softmax_mixer %{{.*}} layer 1
// LAYERS-NEXT: morph.add
// LAYERS-NEXT: %[[T1:.*]] = morph.take_rows
// LAYERS: morph.blend
// LAYERS-NEXT: morph.add
// LAYERS-NEXT: %[[S0:.*]] = morph.take_rows
// LAYERS: morph.blend
// LAYERS-NEXT: morph.add
// LAYERS-NEXT: %[[S1:.*]] = morph.take_rows
// LAYERS-NOT: morph.swiglu
// LAYERS: morph.squared_error %[[S0]], %[[T0]] normalize "rows"
// LAYERS: morph.squared_error %[[S1]], %[[T1]] normalize "rows"

// One stream, the teacher's: two softmax mixers, and no blend's value goes on to the next layer.
// LOCAL: morph.program @gates
// LOCAL: %[[FULL:.*]] = morph.softmax_mixer %{{.*}} layer 0
// LOCAL: %[[BLEND:.*]] = morph.blend %{{.*}} of %[[FULL]]
// LOCAL-NEXT: %[[MIXED:.*]] = morph.add %[[X:.*]], %[[BLEND]]
// LOCAL-NEXT: %[[ROWS:.*]] = morph.take_rows %[[MIXED]]
// LOCAL-NEXT: %[[NEXT:.*]] = morph.add %[[X]], %[[FULL]]
// LOCAL-NEXT: %[[TARGET:.*]] = morph.take_rows %[[NEXT]]
// LOCAL-NEXT: morph.squared_error %[[ROWS]], %[[TARGET]]
// LOCAL: morph.rms_norm %[[NEXT]]
// LOCAL: morph.softmax_mixer %{{.*}} layer 1
// LOCAL-NOT: morph.softmax_mixer
// LOCAL: morph.output
