// SPDX-License-Identifier: Apache-2.0
// Models of each phase print as they parse, and in the generic form too.
// RUN: morph-opt %s --verify-roundtrip | FileCheck %s
// RUN: morph-opt %s --mlir-print-op-generic | morph-opt | FileCheck %s
// RUN: morph-opt %S/ops.mlir --verify-roundtrip | FileCheck %S/ops.mlir
// RUN: morph-opt %S/ops.mlir --mlir-print-op-generic | morph-opt | FileCheck %S/ops.mlir

// CHECK-LABEL: morph.model @base base architecture "qwen2" layers 1 attributes {morph.note = "kept"} {
morph.model @base base architecture "qwen2" layers 1 attributes {morph.note = "kept"} {
  morph.rope_table @rope [1.0, 0.01] attention_factor 1.2
  morph.weight @l.self_attn.q_proj.weight : tensor<8x8xf16>
  morph.weight @l.self_attn.k_proj.weight : tensor<4x8xf16>
  morph.weight @l.self_attn.v_proj.weight : tensor<4x8xf16>
  morph.weight @l.self_attn.q_proj.bias : tensor<8xf16>
  morph.weight @l.self_attn.k_proj.bias : tensor<4xf16>
  morph.weight @l.self_attn.v_proj.bias : tensor<4xf16>
  morph.weight @l.self_attn.q_norm.weight : tensor<4xf16>
  morph.weight @l.self_attn.k_norm.weight : tensor<4xf16>
  morph.weight @l.self_attn.o_proj.weight : tensor<8x8xf16>
  morph.weight @l.self_attn.o_proj.bias : tensor<8xf16>
  func.func @forward(%x: tensor<?x?x8xf32>) -> tensor<?x?x8xf32> {
    // CHECK: morph.softmax_mixer %{{.*}} layer 0 weights "l.self_attn" heads 2 kv_heads 1 head_dim 4 rope @rope scale 5.000000e-01 : tensor<?x?x8xf32>
    %a = morph.softmax_mixer %x layer 0 weights "l.self_attn" heads 2 kv_heads 1 head_dim 4 rope @rope scale 0.5 : tensor<?x?x8xf32>
    // CHECK: morph.softmax_mixer %{{.*}} layer 0 weights "l.self_attn" heads 2 kv_heads 1 head_dim 4 rope @rope scale 5.000000e-01 qkv_bias o_bias qk_norm 1.000000e-05 window 16 : tensor<?x?x8xf32>
    %b = morph.softmax_mixer %a layer 0 weights "l.self_attn" heads 2 kv_heads 1 head_dim 4 rope @rope scale 0.5 qkv_bias o_bias qk_norm 1.0e-5 window 16 : tensor<?x?x8xf32>
    return %b : tensor<?x?x8xf32>
  }
}

// CHECK-LABEL: morph.model @paired paired
morph.model @paired paired architecture "llama" layers 1 {
  // CHECK: morph.mixer @lightning doc "" options [#morph.mixer_option<"chunk" = 64 : i64 in [1.000000e+00, 1.024000e+03]>] sizes [#morph.formula<"K" = "D / 2">] requires [] {
  morph.mixer @lightning doc "" options [#morph.mixer_option<"chunk" = 64 : i64 in [1.0, 1024.0]>] sizes [#morph.formula<"K" = "D / 2">] requires [] {
  ^bb0(%x: tensor<?x?x?xf32>):
    // CHECK: morph.mixer_weight "decay" ["H"] indices ["h"] init <values, "-h"> if "chunk > 1" frozen : tensor<?xf32>
    %w = morph.mixer_weight "decay" ["H"] indices ["h"] init <values, "-h"> if "chunk > 1" frozen : tensor<?xf32>
    // CHECK: morph.mixer_if "chunk > 1" {
    // CHECK-NEXT: morph.mixer_calibrate "decay" {
    // CHECK-NEXT: %[[S:.*]] = morph.mixer_split %{{.*}} by "H"
    // CHECK-NEXT: morph.mixer_attention_distance %[[S]], %[[S]] scale "1" window "base.window" softcap "base.softcap" : tensor<?x?x?x?xf32>, tensor<?x?x?x?xf32> to tensor<?xf32>
    morph.mixer_if "chunk > 1" {
      morph.mixer_calibrate "decay" {
        %s = morph.mixer_split %x by "H" : tensor<?x?x?xf32> to tensor<?x?x?x?xf32>
        %d = morph.mixer_attention_distance %s, %s scale "1" window "base.window" softcap "base.softcap" : tensor<?x?x?x?xf32>, tensor<?x?x?x?xf32> to tensor<?xf32>
        morph.mixer_yield %d : tensor<?xf32>
      }
      morph.mixer_yield
    } else {
      morph.mixer_yield
    }
    morph.mixer_yield %x : tensor<?x?x?xf32>
  }
  morph.rope_table @rope [1.0, 0.01] attention_factor 1.0
  morph.weight @l.self_attn.q_proj.weight : tensor<8x8xf32>
  morph.weight @l.self_attn.k_proj.weight : tensor<4x8xf32>
  morph.weight @l.self_attn.v_proj.weight : tensor<4x8xf32>
  morph.weight @l.self_attn.o_proj.weight : tensor<8x8xf32>
  morph.weight @l.linear_attn.q_proj.weight : tensor<8x8xf32> init <copy, source = "l.self_attn.q_proj.weight">
  morph.weight @l.linear_attn.k_proj.weight : tensor<8x8xf32> init <repeat_heads, source = "l.self_attn.k_proj.weight", heads = 1, times = 2>
  morph.weight @l.linear_attn.v_proj.weight : tensor<8x8xf32> init <repeat_heads, source = "l.self_attn.v_proj.weight", heads = 1, times = 2>
  morph.weight @l.linear_attn.decay : tensor<2xf32> init <values, values = [-0.0625, -0.00390625]>
  morph.weight @l.linear_attn.g_proj.weight : tensor<8x8xf32> init <normal, value = 0.02 : f64>
  morph.weight @l.linear_attn.o_norm.weight : tensor<4xf32> init <constant, value = 1.0 : f64>
  morph.weight @l.linear_attn.o_proj.weight : tensor<8x8xf32> init <copy, source = "l.self_attn.o_proj.weight">
  // CHECK-LABEL: func.func @forward
  func.func @forward(%x: tensor<?x?x8xf32>) -> tensor<?x?x8xf32> {
    // CHECK: %[[M:.*]] = morph.choice layer 0 of ["full", "lightning"] : tensor<?x?x8xf32> {
    // CHECK-NEXT: %[[A:.*]] = morph.softmax_mixer
    // CHECK-NEXT: morph.yield %[[A]] : tensor<?x?x8xf32>
    // CHECK-NEXT: }, {
    // CHECK-NEXT: %[[B:.*]] = morph.linear_mixer @lightning %{{.*}} layer 0 weights "l.linear_attn" from "l.self_attn" heads 2 source_kv_heads 1 head_dim 4 rope @rope norm_eps 1.000000e-05 options {chunk = 64 : i64} source_scale 2.500000e-01 source_window 32 : tensor<?x?x8xf32>
    // CHECK-NEXT: morph.yield %[[B]] : tensor<?x?x8xf32>
    // CHECK-NEXT: }
    %m = morph.choice layer 0 of ["full", "lightning"] : tensor<?x?x8xf32> {
      %a = morph.softmax_mixer %x layer 0 weights "l.self_attn" heads 2 kv_heads 1 head_dim 4 rope @rope scale 0.5 : tensor<?x?x8xf32>
      morph.yield %a : tensor<?x?x8xf32>
    }, {
      %b = morph.linear_mixer @lightning %x layer 0 weights "l.linear_attn" from "l.self_attn" heads 2 source_kv_heads 1 head_dim 4 rope @rope norm_eps 1.0e-5 options {chunk = 64 : i64} source_scale 0.25 source_window 32 : tensor<?x?x8xf32>
      morph.yield %b : tensor<?x?x8xf32>
    }
    return %m : tensor<?x?x8xf32>
  }
}

// CHECK-LABEL: morph.model @relaxed relaxed
morph.model @relaxed relaxed architecture "llama" layers 1 {
  // Numbers keep all their digits.
  // CHECK-NEXT: morph.rope_table @exact [0.64938163157621132, 1.000000e-01] attention_factor 0.30000000000000004
  morph.rope_table @exact [0.64938163157621132, 0.1] attention_factor 0.30000000000000004
  // CHECK-NEXT: morph.weight @exact_weight : tensor<2xf32> init <values, values = [-6.9072552821364548, 0.64938163157621132]>
  morph.weight @exact_weight : tensor<2xf32> init <values, values = [-6.9072552821364548, 0.64938163157621132]>
  // CHECK-NEXT: morph.gate @exact_gate layer 0 of ["full", "lightning"] value [0.64938163157621132]
  morph.gate @exact_gate layer 0 of ["full", "lightning"] value [0.64938163157621132]
  // CHECK-NEXT: morph.gate @gate.0 layer 0 of ["full", "lightning"] value [1.000000e+00]
  morph.gate @gate.0 layer 0 of ["full", "lightning"] value [1.0]
}

// CHECK-LABEL: morph.model @programs base
morph.model @programs base architecture "llama" layers 1 {
  morph.weight @w : tensor<8xf32>
  morph.gate @gate.0 layer 0 of ["full", "lightning"] value [1.0]
  // Arguments are named by their inputs; only dynamic dimensions have names.
  // CHECK: morph.program @distill(%x: tensor<?x?x8xf32> "x" [B, T], %weights: tensor<?xf32> "weights" [Rows2], %cache.0.k: tensor<8xf32> "cache.0.k", %_3d: tensor<4x?xf32> "3d" [N]) trains [@w, @gate.0] attributes {morph.note = "kept"} {
  morph.program @distill(%a: tensor<?x?x8xf32> "x" [B, T], %b: tensor<?xf32> "weights" [Rows2], %c: tensor<8xf32> "cache.0.k", %d: tensor<4x?xf32> "3d" [N]) trains [@w, @gate.0] attributes {morph.note = "kept"} {
    %w = morph.param @w : tensor<8xf32>
    // CHECK: %[[Y:.*]] = morph.add %x, %{{.*}} : tensor<?x?x8xf32>, tensor<8xf32>
    %y = morph.add %a, %w : tensor<?x?x8xf32>, tensor<8xf32>
    // CHECK: %[[LOSS:.*]] = morph.weighted_mean %weights, %weights
    %loss = morph.weighted_mean %b, %b : tensor<?xf32>, tensor<?xf32>
    // CHECK-NEXT: morph.output "loss" = %[[LOSS]], "a name" = %[[Y]], "\22\22" = %cache.0.k, "d" = %_3d : tensor<f32>, tensor<?x?x8xf32>, tensor<8xf32>, tensor<4x?xf32> {morph.note = "kept"}
    morph.output "loss" = %loss, "a name" = %y, "\22\22" = %c, "d" = %d : tensor<f32>, tensor<?x?x8xf32>, tensor<8xf32>, tensor<4x?xf32> {morph.note = "kept"}
  }
  // CHECK: morph.program @constant() update @distill {
  morph.program @constant() update @distill {
    // CHECK-NEXT: %[[ONE:.*]] = morph.ones
    %one = morph.ones
    // CHECK-NEXT: morph.output "y" = %[[ONE]] : tensor<f32>
    morph.output "y" = %one : tensor<f32>
  }
}

// CHECK-LABEL: morph.model @hybrid hybrid
morph.model @hybrid hybrid architecture "llama" layers 1 {
}
