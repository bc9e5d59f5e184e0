// SPDX-License-Identifier: Apache-2.0
// RUN: morph-opt %S/Inputs/tiny-base.mlir --morph-pair-branches="candidates=gated_deltanet,lightning,sliding_window(window=8)" --morph-build-align=normalize=rows | FileCheck %s
// RUN: morph-opt %S/Inputs/tiny-base.mlir --morph-pair-branches="candidates=lightning" --morph-program-pipeline="program=align options=kernels=false" | FileCheck %s --check-prefix=PROGRAM
// RUN: morph-opt %S/Inputs/tiny-base.mlir --morph-pair-branches="candidates=lightning" --morph-program-pipeline="program=align options=kernels=false,layers=0-0" | FileCheck %s --check-prefix=WAVE
// RUN: morph-opt %S/Inputs/tiny-base.mlir --morph-pair-branches="candidates=lightning" --morph-program-pipeline="program=align options=kernels=false,layers=1-1" | FileCheck %s --check-prefix=LAST

// CHECK: morph.program @align(%tokens: tensor<?x?xi64> "tokens" [B, T]) trains [@model.layers.0.linear_attn.a_proj.weight
// The constant decays are not trained.
// CHECK-NOT: decay
// CHECK: %[[H:.*]] = morph.rms_norm
// CHECK-NEXT: %[[FULL:.*]] = morph.softmax_mixer %[[H]] layer 0
// CHECK-NEXT: %[[DELTA:.*]] = morph.linear_mixer @gated_deltanet %[[H]] layer 0
// CHECK-NEXT: %[[L0:.*]] = morph.squared_error %[[DELTA]], %[[FULL]] normalize "rows"
// CHECK-NEXT: %[[LIGHT:.*]] = morph.linear_mixer @lightning %[[H]] layer 0
// CHECK-NEXT: %[[L1:.*]] = morph.squared_error %[[LIGHT]], %[[FULL]] normalize "rows"
// CHECK-NEXT: %[[WINDOW:.*]] = morph.linear_mixer @sliding_window %[[H]] layer 0
// CHECK-NEXT: %[[L2:.*]] = morph.squared_error %[[WINDOW]], %[[FULL]] normalize "rows"
// The stream goes on with the teacher's output.
// CHECK-NEXT: morph.add %{{.*}}, %[[FULL]]
// CHECK: %[[L3:.*]] = morph.squared_error
// CHECK: %[[L4:.*]] = morph.squared_error
// CHECK: %[[L5:.*]] = morph.squared_error
// CHECK: %[[LOSS:.*]] = morph.scale %{{.*}} by 0.16666666666666666
// CHECK-NEXT: %[[LAYERS:.*]] = morph.stack %[[L0]], %[[L1]], %[[L2]], %[[L3]], %[[L4]], %[[L5]]
// CHECK-NEXT: morph.output "loss" = %[[LOSS]], "layer_loss" = %[[LAYERS]] : tensor<f32>, tensor<6xf32>

// Each layer's backward follows its forward, and ends at the teacher's hidden state: no gradient crosses layers.
// PROGRAM: morph.program @align(
// PROGRAM: %[[ONE:.*]] = morph.ones
// PROGRAM: %[[HALF:.*]] = morph.scale %[[ONE]] by 5.000000e-01
// PROGRAM: %[[H0:.*]] = morph.rms_norm
// PROGRAM: morph.linear_attention
// PROGRAM: morph.squared_error_grad %[[HALF]]
// PROGRAM: morph.linear_attention_grad
// PROGRAM-COUNT-3: morph.linear_weight_grad %{{.*}}, %[[H0]]
// PROGRAM-NOT: _grad
// PROGRAM: morph.swiglu
// PROGRAM: morph.squared_error
// PROGRAM: morph.squared_error_grad
// PROGRAM-NOT: morph.swiglu
// PROGRAM-NOT: morph.rms_norm_input_grad %{{.*}} : tensor<?x?x16xf32>
// PROGRAM: morph.output "loss" = %{{.*}}, "layer_loss" = %{{.*}}, "grad.model.layers.0.linear_attn.g_proj.weight" = %{{.*}} : tensor<f32>, tensor<2xf32>, tensor<32x16xf32>,

// A wave of the first layer: its part of the mean over both, with the gradients that it has there, and no second layer
// but what goes into it.
// WAVE: morph.program @align(
// WAVE: %[[ONE:.*]] = morph.ones
// WAVE: %[[HALF:.*]] = morph.scale %[[ONE]] by 5.000000e-01
// WAVE-NOT: layers.1
// WAVE: %[[LOSS0:.*]] = morph.squared_error
// WAVE: morph.squared_error_grad %[[HALF]]
// WAVE-NOT: morph.squared_error
// WAVE: morph.swiglu
// WAVE: %[[OUT:.*]] = morph.add
// WAVE: morph.output "stream.1" = %[[OUT]], "loss" = %{{.*}}, "layer_loss" = %{{.*}} tensor<1xf32>,

// The last wave begins there, and nothing comes after it.
// LAST: morph.program @align(
// LAST: morph.squared_error
// LAST-NOT: morph.swiglu
// LAST: morph.output "stream.1" = %{{[0-9]+}}, "loss" = %{{.*}}, "layer_loss" =
