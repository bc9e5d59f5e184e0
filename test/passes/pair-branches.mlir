// SPDX-License-Identifier: Apache-2.0
// RUN: morph-opt %S/Inputs/tiny-base.mlir --morph-pair-branches="candidates=gated_deltanet(chunk=32),lightning(chunk=32),sliding_window(window=16)" | FileCheck %s
// RUN: morph-opt %S/Inputs/tiny-base.mlir --morph-pair-branches | FileCheck %s --check-prefix=DEFAULT
// RUN: morph-opt %S/Inputs/tiny-window.mlir --morph-pair-branches="candidates=lightning,sliding_window(window=64)" | FileCheck %s --check-prefix=WINDOW

// RUN: morph-opt %S/Inputs/tiny-window.mlir --morph-pair-branches="candidates=sliding_window(window=64)" --morph-discretize=uniform=0 --morph-build-logits --morph-expand-mixers | FileCheck %s --check-prefix=BOUND

// CHECK: morph.model @tiny paired
// CHECK: morph.mixer @gated_deltanet
// CHECK: morph.mixer @lightning
// CHECK: morph.mixer @sliding_window
// New weights come after the checkpoint's with their first values: matrices in its type, vectors f32.
// CHECK: morph.weight @lm_head.weight
// CHECK-NEXT: morph.weight @model.layers.0.linear_attn.a_proj.weight
// CHECK: morph.weight @model.layers.0.linear_attn.q_proj.weight : tensor<32x16xbf16> init <copy, source = "model.layers.0.self_attn.q_proj.weight">
// CHECK-NEXT: morph.weight @model.layers.0.linear_attn.k_proj.weight : tensor<32x16xbf16> init <repeat_heads, source = "model.layers.0.self_attn.k_proj.weight", heads = 2, times = 2>
// CHECK: morph.weight @model.layers.0.linear_attn_lightning.decay : tensor<4xf32> init <values
// CHECK: morph.weight @model.layers.1.linear_attn.q_proj.weight
// CHECK: func.func @forward
// CHECK: %[[H:.*]] = morph.rms_norm
// CHECK-NEXT: %[[CHOICE:.*]] = morph.choice layer 0 of ["full", "gated_deltanet", "lightning", "sliding_window"] : tensor<?x?x16xf32> {
// CHECK-NEXT: %[[FULL:.*]] = morph.softmax_mixer %[[H]] layer 0 weights "model.layers.0.self_attn"
// CHECK-NEXT: morph.yield %[[FULL]]
// CHECK: morph.linear_mixer @gated_deltanet %[[H]] layer 0 weights "model.layers.0.linear_attn" from "model.layers.0.self_attn" heads 4 source_kv_heads 2 head_dim 8 rope @rope norm_eps 1.000000e-05 options {base_norm = true, chunk = 32 : i64, conv = 0 : i64} :
// CHECK: morph.linear_mixer @lightning %[[H]] layer 0 weights "model.layers.0.linear_attn_lightning" from "model.layers.0.self_attn" {{.*}} options {chunk = 32 : i64}
// CHECK: morph.linear_mixer @sliding_window %[[H]] layer 0 weights "model.layers.0.linear_attn_sliding_window" {{.*}} options {window = 16 : i64}
// CHECK: morph.add %{{.*}}, %[[CHOICE]]
// CHECK: morph.choice layer 1

// DEFAULT: morph.choice layer 0 of ["full", "gated_deltanet"]
// DEFAULT: options {base_norm = true, chunk = 64 : i64, conv = 0 : i64}

// A layer's window bounds a wider one.
// BOUND: morph.program @logits
// BOUND: morph.attention {{.*}} window 32

// A layer's window is what the teacher is rebuilt with.
// WINDOW: morph.choice layer 0 of ["full", "lightning", "sliding_window"]
// WINDOW: morph.softmax_mixer {{.*}} window 32 :
// WINDOW: morph.linear_mixer @lightning {{.*}} source_window 32 :
// WINDOW: morph.linear_mixer @sliding_window {{.*}} options {window = 64 : i64} source_window 32 :
