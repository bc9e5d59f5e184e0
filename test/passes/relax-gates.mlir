// SPDX-License-Identifier: Apache-2.0
// RUN: morph-opt %S/Inputs/tiny-base.mlir --morph-pair-branches --morph-relax-gates | FileCheck %s
// RUN: morph-opt %S/Inputs/tiny-base.mlir --morph-pair-branches="candidates=gated_deltanet,lightning" --morph-relax-gates="init=0.25" | FileCheck %s --check-prefix=THREE

// CHECK: morph.model @tiny relaxed
// CHECK: morph.gate @gate.0 layer 0 of ["full", "gated_deltanet"] value [1.{{0*e\+00|0}}]
// CHECK-NEXT: morph.gate @gate.1 layer 1
// CHECK: func.func @forward
// CHECK-NOT: morph.choice
// CHECK: %[[H:.*]] = morph.rms_norm
// CHECK-NEXT: %[[FULL:.*]] = morph.softmax_mixer %[[H]]
// CHECK-NEXT: %[[LINEAR:.*]] = morph.linear_mixer @gated_deltanet %[[H]]
// CHECK-NEXT: %[[GATE:.*]] = morph.param @gate.0 : tensor<1xf32>
// CHECK-NEXT: %[[BLEND:.*]] = morph.blend %[[GATE]] of %[[FULL]], %[[LINEAR]]
// CHECK-NEXT: morph.add %{{.*}}, %[[BLEND]]

// THREE: morph.gate @gate.0 layer 0 of ["full", "gated_deltanet", "lightning"] value [{{2.50*e-01|0.25}}, 0{{.*}}]
// THREE: morph.param @gate.0 : tensor<2xf32>
// THREE-NEXT: morph.blend %{{.*}} of %{{.*}}, %{{.*}}, %{{.*}} : tensor<2xf32>
