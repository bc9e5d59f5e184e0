// SPDX-License-Identifier: Apache-2.0
// RUN: morph-opt %S/Inputs/tiny-base.mlir --morph-pair-branches="candidates=gated_deltanet,retnet" --morph-build-calibrate | FileCheck %s
// RUN: morph-opt %S/Inputs/tiny-base.mlir --morph-pair-branches="candidates=retnet" --morph-program-pipeline="program=calibrate options=kernels=false" | FileCheck %s --check-prefix=PROGRAM
// Where no candidate asks there is no program; nor has any other program a part of it.
// RUN: morph-opt %S/Inputs/tiny-base.mlir --morph-pair-branches="candidates=retnet(calibrated=false),lightning" --morph-program-pipeline="program=calibrate" | FileCheck %s --check-prefix=NONE
// RUN: morph-opt %S/Inputs/tiny-base.mlir --morph-pair-branches="candidates=retnet" -o %t.mlir
// RUN: morph-translate --emit-plan %t.mlir --program=calibrate | FileCheck %s --check-prefix=PLAN
// RUN: morph-opt %t.mlir --morph-program-pipeline="program=align options=kernels=false" | FileCheck %s --check-prefix=ALIGN
// RUN: morph-opt %S/Inputs/tiny-base.mlir --morph-pair-branches="candidates=retnet(calibrated=0)" -o %t.none.mlir
// RUN: morph-translate --emit-plan %t.none.mlir --program=calibrate | FileCheck %s --check-prefix=NULL
// The base's scores, whose scale and bound are not the usual ones.
// RUN: sed -e 's/scale 0.35[0-9]* :/scale 0.75 softcap 20.0 :/' %S/Inputs/tiny-base.mlir > %t.base.mlir
// RUN: morph-opt %t.base.mlir --morph-pair-branches="candidates=retnet" --morph-build-calibrate | FileCheck %s --check-prefix=SCORES
// RUN: not morph-opt %S/Inputs/tiny-base.mlir --morph-build-calibrate 2>&1 | FileCheck %s --check-prefix=PHASE

// CHECK: morph.program @calibrate(%tokens: tensor<?x?xi64> "tokens" [B, T]) {
// CHECK: %[[H:.*]] = morph.rms_norm
// The expression's own weights are the candidate's; the mixer's result goes nowhere, and the stream goes on with full attention.
// CHECK: morph.param @model.layers.0.linear_attn_retnet.q_proj.weight
// CHECK: %[[Q:.*]] = morph.rope
// CHECK: %[[K:.*]] = morph.rope
// CHECK: %[[DISTANCE:.*]] = morph.attention_distance %[[Q]], %[[K]] scale
// CHECK: morph.softplus
// CHECK-NEXT: %[[D0:.*]] = morph.scale %{{.*}} by -1.000000e+00 : tensor<4xf32>
// CHECK: %[[FULL:.*]] = morph.softmax_mixer %[[H]] layer 0
// CHECK-NEXT: morph.add %{{.*}}, %[[FULL]]
// CHECK: morph.attention_distance
// CHECK: morph.softplus
// CHECK-NEXT: %[[D1:.*]] = morph.scale %{{.*}} by -1.000000e+00 : tensor<4xf32>
// CHECK: morph.output "model.layers.0.linear_attn_retnet.decay" = %[[D0]], "model.layers.1.linear_attn_retnet.decay" = %[[D1]] : tensor<4xf32>, tensor<4xf32>

// Nothing of the mixer that the first values do not need, and nothing above the last layer that asks.
// PROGRAM: morph.program @calibrate(
// PROGRAM-NOT: linear_attention
// PROGRAM-NOT: _grad
// PROGRAM: morph.attention_distance
// PROGRAM-NOT: morph.attention_distance
// PROGRAM: morph.attention %
// PROGRAM: morph.swiglu
// PROGRAM: morph.attention_distance
// PROGRAM-NOT: morph.attention %
// PROGRAM-NOT: morph.swiglu
// PROGRAM: morph.output "model.layers.0.linear_attn.decay" =

// SCORES-COUNT-2: morph.attention_distance %{{.*}}, %{{.*}} scale 7.500000e-01 window 2147483647 softcap 2.000000e+01 :

// NONE: morph.mixer_calibrate
// NONE-NOT: morph.program
// PLAN: "program": "calibrate"
// ALIGN: morph.program @align
// ALIGN-NOT: attention_distance
// NULL: {{^}}null{{$}}
// PHASE: is in phase base, but morph-build-calibrate takes phase paired
