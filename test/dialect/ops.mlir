// SPDX-License-Identifier: Apache-2.0
// Every op in its own syntax, with the types that are inferred.
// RUN: morph-opt %s | morph-opt | FileCheck %s

// CHECK-LABEL: morph.model @tiny base architecture "llama" layers 1 {
morph.model @tiny base architecture "llama" layers 1 {
  // CHECK-NEXT: morph.weight @embedding : tensor<32x8xbf16>
  morph.weight @embedding : tensor<32x8xbf16>
  // CHECK-NEXT: morph.weight @norm : tensor<8xf32>
  morph.weight @norm : tensor<8xf32>
  // CHECK-NEXT: morph.weight @copied : tensor<8x8xf32> init <copy, source = "model.q">
  morph.weight @copied : tensor<8x8xf32> init <copy, source = "model.q">
  // CHECK-NEXT: morph.weight @repeated : tensor<8x8xf32> init <repeat_heads, source = "model.k", heads = 1, times = 2>
  morph.weight @repeated : tensor<8x8xf32> init <repeat_heads, source = "model.k", heads = 1, times = 2>
  // CHECK-NEXT: morph.weight @constant : tensor<4xf32> init <constant, value = 1.000000e+00 : f64>
  morph.weight @constant : tensor<4xf32> init <constant, value = 1.0 : f64>
  // CHECK-NEXT: morph.weight @drawn : tensor<8x8xf32> init <normal, value = 2.000000e-02 : f64>
  morph.weight @drawn : tensor<8x8xf32> init <normal, value = 0.02 : f64>
  // CHECK-NEXT: morph.weight @given : tensor<4x2xf32> init <values, values = [0.000000e+00, 1.000000e+00]>
  morph.weight @given : tensor<4x2xf32> init <values, values = [0.0, 1.0]>
  // CHECK-NEXT: morph.weight @gate_up : tensor<8x12x8xf32>
  morph.weight @gate_up : tensor<8x12x8xf32>
  // CHECK-NEXT: morph.weight @experts_down : tensor<8x8x6xf32>
  morph.weight @experts_down : tensor<8x8x6xf32>
  // CHECK-NEXT: morph.weight @teacher : tensor<8x8xbf16> teacher_of "model.q"
  morph.weight @teacher : tensor<8x8xbf16> teacher_of "model.q"
  // CHECK-NEXT: morph.weight @rows : tensor<4x8xbf16> pieces [#morph.piece<"fused", rows 8 to 12>]
  morph.weight @rows : tensor<4x8xbf16> pieces [#morph.piece<"fused", rows 8 to 12>]
  // CHECK-NEXT: morph.weight @stacked : tensor<2x3x8xbf16> pieces [#morph.piece<"first">, #morph.piece<"second">]
  morph.weight @stacked : tensor<2x3x8xbf16> pieces [#morph.piece<"first">, #morph.piece<"second">]
  // CHECK-NEXT: morph.gate @gate.0 layer 0 of ["full", "lightning", "gated_deltanet"] value [5.000000e-01, 2.500000e-01]
  morph.gate @gate.0 layer 0 of ["full", "lightning", "gated_deltanet"] value [0.5, 0.25]
  // CHECK-NEXT: morph.rope_table @rope [1.000000e+00, 1.000000e-02] attention_factor 1.000000e+00
  morph.rope_table @rope [1.0, 0.01] attention_factor 1.0

  // CHECK-LABEL: func.func @layers
  func.func @layers(%ids: tensor<?x?xi64>, %positions: tensor<?xi64>) -> tensor<?x8xf32> {
    // CHECK: %[[TABLE:.*]] = morph.param @embedding : tensor<32x8xf32>
    %table = morph.param @embedding : tensor<32x8xf32>
    %weight = morph.param @norm : tensor<8xf32>
    %matrix = morph.param @copied : tensor<8x8xf32>
    // CHECK: %[[X:.*]] = morph.embedding %{{.*}}, %[[TABLE]] : tensor<?x?xi64>, tensor<32x8xf32>
    %x = morph.embedding %ids, %table : tensor<?x?xi64>, tensor<32x8xf32>
    // CHECK: %[[N:.*]] = morph.rms_norm %[[X]], %{{.*}} eps 1.000000e-05 : tensor<?x?x8xf32>, tensor<8xf32>
    %n = morph.rms_norm %x, %weight eps 1.0e-5 : tensor<?x?x8xf32>, tensor<8xf32>
    // CHECK: %[[P:.*]] = morph.linear %[[N]], %{{.*}} : tensor<?x?x8xf32>, tensor<8x8xf32>
    %p = morph.linear %n, %matrix : tensor<?x?x8xf32>, tensor<8x8xf32>
    // CHECK: morph.linear %[[N]], %{{.*}}, %{{.*}} : tensor<?x?x8xf32>, tensor<8x8xf32>, tensor<8xf32>
    %pb = morph.linear %n, %matrix, %weight : tensor<?x?x8xf32>, tensor<8x8xf32>, tensor<8xf32>
    // CHECK: %[[S:.*]] = morph.swiglu %[[P]], %{{.*}} : tensor<?x?x8xf32>
    %s = morph.swiglu %p, %pb : tensor<?x?x8xf32>
    // CHECK: %[[A:.*]] = morph.add %[[X]], %[[S]] : tensor<?x?x8xf32>, tensor<?x?x8xf32>
    %a = morph.add %x, %s : tensor<?x?x8xf32>, tensor<?x?x8xf32>
    // CHECK: %[[M:.*]] = morph.mul %[[A]], %{{.*}} : tensor<?x?x8xf32>, tensor<8xf32>
    %m = morph.mul %a, %weight : tensor<?x?x8xf32>, tensor<8xf32>
    // CHECK: morph.scale %[[M]] by 2.500000e-01 : tensor<?x?x8xf32>
    %c = morph.scale %m by 0.25 : tensor<?x?x8xf32>
    // CHECK: morph.exp %{{.*}} : tensor<?x?x8xf32>
    %e = morph.exp %c : tensor<?x?x8xf32>
    // CHECK: morph.tanh %{{.*}} : tensor<?x?x8xf32>
    %tanh = morph.tanh %e : tensor<?x?x8xf32>
    // CHECK: morph.sigmoid %{{.*}} : tensor<?x?x8xf32>
    %g = morph.sigmoid %e : tensor<?x?x8xf32>
    // CHECK: morph.silu %{{.*}} : tensor<?x?x8xf32>
    %h = morph.silu %g : tensor<?x?x8xf32>
    // CHECK: morph.softplus %{{.*}} : tensor<?x?x8xf32>
    %o = morph.softplus %h : tensor<?x?x8xf32>
    // CHECK: %[[ROUTING:.*]] = morph.top_k_softmax %{{.*}} count 2 normalised : tensor<?x?x8xf32>
    %routing = morph.top_k_softmax %o count 2 normalised : tensor<?x?x8xf32>
    // CHECK: morph.top_k_softmax %{{.*}} count 1 : tensor<?x?x8xf32>
    %one = morph.top_k_softmax %o count 1 : tensor<?x?x8xf32>
    %gate_up = morph.param @gate_up : tensor<8x12x8xf32>
    %experts_down = morph.param @experts_down : tensor<8x8x6xf32>
    // CHECK: morph.experts %{{.*}}, %[[ROUTING]], %{{.*}}, %{{.*}} active 2 : tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<8x12x8xf32>, tensor<8x8x6xf32>
    %experts = morph.experts %o, %routing, %gate_up, %experts_down active 2 : tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<8x12x8xf32>, tensor<8x8x6xf32>
    // CHECK: morph.l2_norm %{{.*}} eps 9.99{{.*}}E-7 : tensor<?x?x8xf32>
    %l = morph.l2_norm %o eps 1.0e-6 : tensor<?x?x8xf32>
    // CHECK: morph.last_rows %{{.*}} : tensor<?x?x8xf32>
    %last = morph.last_rows %l : tensor<?x?x8xf32>
    // CHECK: %[[ROWS:.*]] = morph.take_rows %{{.*}}, %{{.*}} : tensor<?x?x8xf32>, tensor<?xi64>
    %rows = morph.take_rows %l, %positions : tensor<?x?x8xf32>, tensor<?xi64>
    // CHECK: return %[[ROWS]] : tensor<?x8xf32>
    return %rows : tensor<?x8xf32>
  }

  // CHECK-LABEL: func.func @mixing
  func.func @mixing(%x: tensor<?x?x8xf32>, %cache: tensor<?x?x2x4xf32>, %state: tensor<?x2x4x4xf32>,
                    %g: tensor<?x?x2xf32>, %decay: tensor<2xf32>, %start: tensor<?xi64>, %offset: tensor<?xi64>,
                    %filter: tensor<8x1x4xf32>, %inputs: tensor<?x3x8xf32>, %narrow: tensor<?x?x2x4xbf16>,
                    %kv: tensor<?x?x1x4xf32>, %bonus: tensor<2x4xf32>) -> tensor<?x?x8xf32> {
    // CHECK: morph.mask_padding %{{.*}}, %{{.*}}, %{{.*}} : tensor<?x?x8xf32>, tensor<?xi64>, tensor<?xi64>
    %masked = morph.mask_padding %x, %start, %offset : tensor<?x?x8xf32>, tensor<?xi64>, tensor<?xi64>
    // CHECK: %{{.*}}, %{{.*}} = morph.short_conv %{{.*}}, %{{.*}} : tensor<?x?x8xf32>, tensor<8x1x4xf32>
    %conv:2 = morph.short_conv %masked, %filter : tensor<?x?x8xf32>, tensor<8x1x4xf32>
    // CHECK: morph.short_conv %{{.*}}, %{{.*}} state %{{.*}} : tensor<?x?x8xf32>, tensor<8x1x4xf32> state tensor<?x3x8xf32>
    %next:2 = morph.short_conv %conv#0, %filter state %inputs : tensor<?x?x8xf32>, tensor<8x1x4xf32> state tensor<?x3x8xf32>
    // CHECK: %[[H:.*]] = morph.split_heads %{{.*}} heads 2 : tensor<?x?x8xf32>
    %heads = morph.split_heads %next#0 heads 2 : tensor<?x?x8xf32>
    // CHECK: %[[Q:.*]] = morph.rope %[[H]] table @rope : tensor<?x?x2x4xf32>
    %q = morph.rope %heads table @rope : tensor<?x?x2x4xf32>
    // CHECK: %[[K:.*]] = morph.rope %[[H]] offset %{{.*}} table @rope inverse : tensor<?x?x2x4xf32>, tensor<?xi64>
    %k = morph.rope %heads offset %offset table @rope inverse : tensor<?x?x2x4xf32>, tensor<?xi64>
    // CHECK: %[[RING:.*]] = morph.cache_write %{{.*}}, %[[K]] offset %{{.*}} : tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>, tensor<?xi64>
    %ring = morph.cache_write %cache, %k offset %offset : tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>, tensor<?xi64>
    // CHECK: %[[HALF:.*]] = morph.cache_write %{{.*}}, %[[K]] offset %{{.*}} : tensor<?x?x2x4xbf16>, tensor<?x?x2x4xf32>, tensor<?xi64>
    %half = morph.cache_write %narrow, %k offset %offset : tensor<?x?x2x4xbf16>, tensor<?x?x2x4xf32>, tensor<?xi64>
    // CHECK: morph.attention %[[HALF]], %[[HALF]], %[[HALF]] offset %{{.*}} : tensor<?x?x2x4xbf16>, tensor<?x?x2x4xbf16>, tensor<?x?x2x4xbf16> offset tensor<?xi64>
    %low = morph.attention %half, %half, %half offset %offset scale 0.5 : tensor<?x?x2x4xbf16>, tensor<?x?x2x4xbf16>, tensor<?x?x2x4xbf16> offset tensor<?xi64>
    // CHECK: morph.attention %[[Q]], %[[K]], %[[K]] scale 5.000000e-01 : tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>
    %a = morph.attention %q, %k, %k scale 0.5 : tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>
    // CHECK: morph.attention %[[Q]], %[[K]], %[[K]] scale 5.000000e-01 window 4 softcap 3.000000e+01 : tensor
    %capped = morph.attention %q, %k, %k scale 0.5 window 4 softcap 30.0 : tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>
    // CHECK: morph.attention_distance %[[Q]], %[[K]] scale 5.000000e-01 window 4 softcap 3.000000e+01 : tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>
    %distance = morph.attention_distance %q, %k scale 0.5 window 4 softcap 30.0 : tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>
    // CHECK: morph.attention %{{.*}}, %[[RING]], %[[RING]] start %{{.*}} offset %{{.*}} scale 5.000000e-01 window 16 : tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32> start tensor<?xi64> offset tensor<?xi64>
    %b = morph.attention %a, %ring, %ring start %start offset %offset scale 0.5 window 16 : tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32> start tensor<?xi64> offset tensor<?xi64>
    // CHECK: morph.linear_attention %{{.*}}, %{{.*}}, %{{.*}} head_decay %{{.*}} scale 5.000000e-01 chunk 64 : tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32> head_decay tensor<2xf32>
    %c:2 = morph.linear_attention %b, %b, %b head_decay %decay scale 0.5 chunk 64 : tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32> head_decay tensor<2xf32>
    // CHECK: morph.linear_attention %{{.*}}, %{{.*}}, %{{.*}} decay %{{.*}} beta %{{.*}} state %{{.*}} scale 5.000000e-01 chunk 32 : tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32> decay tensor<?x?x2xf32> beta tensor<?x?x2xf32> state tensor<?x2x4x4xf32>
    %d:2 = morph.linear_attention %c#0, %c#0, %c#0 decay %g beta %g state %state scale 0.5 chunk 32 : tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32> decay tensor<?x?x2xf32> beta tensor<?x?x2xf32> state tensor<?x2x4x4xf32>
    // CHECK: morph.linear_attention %{{.*}}, %{{.*}}, %{{.*}} channel_decay %{{.*}} write %{{.*}} erase %{{.*}} bonus %{{.*}} scale 1.000000e+00 chunk 16 normaliser 9.9{{.*}}E-7 : tensor<?x?x1x4xf32>, tensor<?x?x1x4xf32>, tensor<?x?x2x4xf32> channel_decay tensor<?x?x2x4xf32> write tensor<?x?x2x4xf32> erase tensor<?x?x2x4xf32> bonus tensor<2x4xf32>
    %free:2 = morph.linear_attention %kv, %kv, %d#0 channel_decay %b write %b erase %b bonus %bonus scale 1.0 chunk 16 normaliser 1.0e-6 : tensor<?x?x1x4xf32>, tensor<?x?x1x4xf32>, tensor<?x?x2x4xf32> channel_decay tensor<?x?x2x4xf32> write tensor<?x?x2x4xf32> erase tensor<?x?x2x4xf32> bonus tensor<2x4xf32>
    // CHECK: %[[MERGED:.*]] = morph.merge_heads %{{.*}} : tensor<?x?x2x4xf32>
    %merged = morph.merge_heads %d#0 : tensor<?x?x2x4xf32>
    // CHECK: return %[[MERGED]] : tensor<?x?x8xf32>
    return %merged : tensor<?x?x8xf32>
  }

  // CHECK-LABEL: func.func @blends
  func.func @blends(%a: tensor<?x?x8xf32>, %b: tensor<?x?x8xf32>, %c: tensor<?x?x8xf32>) -> tensor<?x?x8xf32> {
    // CHECK: %[[G:.*]] = morph.param @gate.0 : tensor<2xf32>
    %gate = morph.param @gate.0 : tensor<2xf32>
    // CHECK: morph.blend %[[G]] of %{{.*}}, %{{.*}}, %{{.*}} : tensor<2xf32>, tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x?x8xf32>
    %blend = morph.blend %gate of %a, %b, %c : tensor<2xf32>, tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x?x8xf32>
    return %blend : tensor<?x?x8xf32>
  }
}

// CHECK-LABEL: func.func @losses
func.func @losses(%logits: tensor<?x32xf32>, %teacher: tensor<?x32xf32>, %targets: tensor<?xi64>, %weights: tensor<?xf32>,
                  %x: tensor<?x?x8xf32>) -> tensor<3xf32> {
  // CHECK: morph.token_nll %{{.*}}, %{{.*}} : tensor<?x32xf32>, tensor<?xi64>
  %nll = morph.token_nll %logits, %targets : tensor<?x32xf32>, tensor<?xi64>
  // CHECK: %[[TOP:.*]] = morph.keep_top %{{.*}} count 4 : tensor<?x32xf32>
  %top = morph.keep_top %teacher count 4 : tensor<?x32xf32>
  // CHECK: morph.reverse_kl_divergence %[[TOP]], %{{.*}} : tensor<?x32xf32>, tensor<?x32xf32>
  %reverse = morph.reverse_kl_divergence %top, %logits : tensor<?x32xf32>, tensor<?x32xf32>
  // CHECK: morph.kl_divergence %{{.*}}, %{{.*}} : tensor<?x32xf32>, tensor<?x32xf32>
  %kl = morph.kl_divergence %teacher, %logits : tensor<?x32xf32>, tensor<?x32xf32>
  // CHECK: morph.correct %{{.*}}, %{{.*}} : tensor<?x32xf32>, tensor<?xi64>
  %correct = morph.correct %logits, %targets : tensor<?x32xf32>, tensor<?xi64>
  // CHECK: morph.weighted_mean %{{.*}}, %{{.*}} : tensor<?xf32>, tensor<?xf32>
  %mean = morph.weighted_mean %nll, %weights : tensor<?xf32>, tensor<?xf32>
  %mean2 = morph.weighted_mean %kl, %weights : tensor<?xf32>, tensor<?xf32>
  // CHECK: morph.squared_error %{{.*}}, %{{.*}} normalize "relative" : tensor<?x?x8xf32>
  %error = morph.squared_error %x, %x normalize "relative" : tensor<?x?x8xf32>
  // CHECK: %[[ALL:.*]] = morph.stack %{{.*}}, %{{.*}}, %{{.*}} : tensor<f32>, tensor<f32>, tensor<f32>
  %all = morph.stack %mean, %mean2, %error : tensor<f32>, tensor<f32>, tensor<f32>
  // CHECK: return %[[ALL]] : tensor<3xf32>
  return %all : tensor<3xf32>
}

// CHECK-LABEL: func.func @gradients
func.func @gradients(%dx: tensor<?x?x8xf32>, %x: tensor<?x?x8xf32>, %w: tensor<8xf32>, %m: tensor<16x8xf32>,
                     %dy: tensor<?x?x16xf32>, %ids: tensor<?x?xi64>, %rows: tensor<?x8xf32>, %positions: tensor<?xi64>,
                     %gate: tensor<1xf32>, %logits: tensor<?x32xf32>, %drow: tensor<?xf32>) {
  // CHECK: %[[ONE:.*]] = morph.ones{{$}}
  %one = morph.ones
  // CHECK: morph.reduce_to %{{.*}} rank 1 : tensor<?x?x8xf32>
  %bias = morph.reduce_to %dx rank 1 : tensor<?x?x8xf32>
  // CHECK: morph.embedding_grad %{{.*}}, %{{.*}} rows 32 : tensor<?x?x8xf32>, tensor<?x?xi64>
  %table = morph.embedding_grad %dx, %ids rows 32 : tensor<?x?x8xf32>, tensor<?x?xi64>
  // CHECK: morph.linear_input_grad %{{.*}}, %{{.*}} : tensor<?x?x16xf32>, tensor<16x8xf32>
  %input = morph.linear_input_grad %dy, %m : tensor<?x?x16xf32>, tensor<16x8xf32>
  // CHECK: morph.linear_weight_grad %{{.*}}, %{{.*}} : tensor<?x?x16xf32>, tensor<?x?x8xf32>
  %weight = morph.linear_weight_grad %dy, %x : tensor<?x?x16xf32>, tensor<?x?x8xf32>
  // CHECK: morph.rms_norm_input_grad %{{.*}}, %{{.*}}, %{{.*}} eps 1.000000e-05 : tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<8xf32>
  %n = morph.rms_norm_input_grad %dx, %x, %w eps 1.0e-5 : tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<8xf32>
  // CHECK: morph.rms_norm_weight_grad %{{.*}}, %{{.*}} eps 1.000000e-05 : tensor<?x?x8xf32>, tensor<?x?x8xf32>
  %nw = morph.rms_norm_weight_grad %dx, %x eps 1.0e-5 : tensor<?x?x8xf32>, tensor<?x?x8xf32>
  // CHECK: morph.l2_norm_grad %{{.*}}, %{{.*}} eps 1.000000e-05 : tensor<?x?x8xf32>, tensor<?x?x8xf32>
  %l = morph.l2_norm_grad %dx, %x eps 1.0e-5 : tensor<?x?x8xf32>, tensor<?x?x8xf32>
  // CHECK: morph.scatter_rows %{{.*}}, %{{.*}}, %{{.*}} : tensor<?x8xf32>, tensor<?xi64>, tensor<?x?x8xf32>
  %scattered = morph.scatter_rows %rows, %positions, %x : tensor<?x8xf32>, tensor<?xi64>, tensor<?x?x8xf32>
  // CHECK: morph.silu_grad %{{.*}}, %{{.*}} : tensor<?x?x8xf32>, tensor<?x?x8xf32>
  %silu = morph.silu_grad %dx, %x : tensor<?x?x8xf32>, tensor<?x?x8xf32>
  // CHECK: morph.sigmoid_grad %{{.*}}, %{{.*}} : tensor<?x?x8xf32>, tensor<?x?x8xf32>
  %sigmoid = morph.sigmoid_grad %dx, %x : tensor<?x?x8xf32>, tensor<?x?x8xf32>
  // CHECK: %{{.*}}, %{{.*}} = morph.swiglu_grad %{{.*}}, %{{.*}}, %{{.*}} : tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x?x8xf32>
  %swiglu:2 = morph.swiglu_grad %dx, %x, %x : tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x?x8xf32>
  // CHECK: morph.blend_gate_grad %{{.*}}, %{{.*}}, %{{.*}} : tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x?x8xf32>
  %dgate = morph.blend_gate_grad %dx, %x, %x : tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x?x8xf32>
  // CHECK: morph.blend_candidate_grad %{{.*}}, %{{.*}} index 1 : tensor<?x?x8xf32>, tensor<1xf32>
  %dcandidate = morph.blend_candidate_grad %dx, %gate index 1 : tensor<?x?x8xf32>, tensor<1xf32>
  // CHECK: morph.token_nll_grad %{{.*}}, %{{.*}}, %{{.*}} : tensor<?xf32>, tensor<?x32xf32>, tensor<?xi64>
  %nll = morph.token_nll_grad %drow, %logits, %positions : tensor<?xf32>, tensor<?x32xf32>, tensor<?xi64>
  // CHECK: morph.kl_divergence_grad %{{.*}}, %{{.*}}, %{{.*}} : tensor<?xf32>, tensor<?x32xf32>, tensor<?x32xf32>
  %kl = morph.kl_divergence_grad %drow, %logits, %logits : tensor<?xf32>, tensor<?x32xf32>, tensor<?x32xf32>
  // CHECK: morph.squared_error_grad %[[ONE]], %{{.*}}, %{{.*}} normalize "mean" : tensor<f32>, tensor<?x?x8xf32>, tensor<?x?x8xf32>
  %error = morph.squared_error_grad %one, %x, %x normalize "mean" : tensor<f32>, tensor<?x?x8xf32>, tensor<?x?x8xf32>
  // CHECK: morph.weighted_mean_grad %[[ONE]], %{{.*}} : tensor<f32>, tensor<?xf32>
  %mean = morph.weighted_mean_grad %one, %drow : tensor<f32>, tensor<?xf32>
  return
}

// CHECK-LABEL: func.func @mixing_gradients
func.func @mixing_gradients(%dy: tensor<?x?x2x4xf32>, %kv: tensor<?x?x1x4xf32>, %g: tensor<?x?x2xf32>,
                            %start: tensor<?xi64>, %x: tensor<?x?x8xf32>, %filter: tensor<8x1x4xf32>)
    -> (tensor<?x?x1x4xf32>, tensor<?x?x2xf32>, tensor<8x1x4xf32>) {
  // CHECK: %{{.*}}, %[[DK:.*]], %{{.*}} = morph.attention_grad %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}} start %{{.*}} scale 5.000000e-01 window 8 : tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>, tensor<?x?x1x4xf32>, tensor<?x?x1x4xf32>, tensor<?xi64>
  %a:3 = morph.attention_grad %dy, %dy, %kv, %kv start %start scale 0.5 window 8 : tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>, tensor<?x?x1x4xf32>, tensor<?x?x1x4xf32>, tensor<?xi64>
  // CHECK: %{{.*}}, %{{.*}}, %{{.*}}, %[[DEXTRA:.*]]:2 = morph.linear_attention_grad %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}} decay %{{.*}} beta %{{.*}} scale 5.000000e-01 chunk 64 : tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32> decay tensor<?x?x2xf32> beta tensor<?x?x2xf32>
  %b:5 = morph.linear_attention_grad %dy, %dy, %dy, %dy decay %g beta %g scale 0.5 chunk 64 : tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32> decay tensor<?x?x2xf32> beta tensor<?x?x2xf32>
  // CHECK: %[[OUT:.*]], %[[LSE:.*]] = morph.attention %{{.*}}, %{{.*}}, %{{.*}} start %{{.*}} scale 5.000000e-01 window 8 keep_lse : tensor<?x?x2x4xf32>, tensor<?x?x1x4xf32>, tensor<?x?x1x4xf32> start tensor<?xi64>
  %o:2 = morph.attention %dy, %kv, %kv start %start scale 0.5 window 8 keep_lse : tensor<?x?x2x4xf32>, tensor<?x?x1x4xf32>, tensor<?x?x1x4xf32> start tensor<?xi64>
  // CHECK: morph.attention_grad %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}} start %{{.*}} out %[[OUT]] lse %[[LSE]] scale 5.000000e-01 window 8 : tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>, tensor<?x?x1x4xf32>, tensor<?x?x1x4xf32>, tensor<?xi64> out tensor<?x?x2x4xf32> lse tensor<?x2x?xf32>
  %e:3 = morph.attention_grad %dy, %dy, %kv, %kv start %start out %o#0 lse %o#1 scale 0.5 window 8 : tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>, tensor<?x?x1x4xf32>, tensor<?x?x1x4xf32>, tensor<?xi64> out tensor<?x?x2x4xf32> lse tensor<?x2x?xf32>
  // CHECK: %{{.*}}, %{{.*}}, %[[KEPT:.*]]:2 = morph.linear_attention %{{.*}}, %{{.*}}, %{{.*}} scale 5.000000e-01 chunk 64 keep_states keep_written : tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>
  %k:4 = morph.linear_attention %dy, %dy, %dy scale 0.5 chunk 64 keep_states keep_written : tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>
  // CHECK: morph.linear_attention_grad %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}} states %[[KEPT]]#0 written %[[KEPT]]#1 scale 5.000000e-01 chunk 64 : tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32> states tensor<?x2x?x4x4xf32> written tensor<?x?x2x4xf32>
  %d:3 = morph.linear_attention_grad %dy, %dy, %dy, %dy states %k#2 written %k#3 scale 0.5 chunk 64 : tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32> states tensor<?x2x?x4x4xf32> written tensor<?x?x2x4xf32>
  // CHECK: %{{.*}}, %[[DW:.*]] = morph.short_conv_grad %{{.*}}, %{{.*}}, %{{.*}} : tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<8x1x4xf32>
  %c:2 = morph.short_conv_grad %x, %x, %filter : tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<8x1x4xf32>
  // CHECK: return %[[DK]], %[[DEXTRA]]#1, %[[DW]]
  return %a#1, %b#4, %c#1 : tensor<?x?x1x4xf32>, tensor<?x?x2xf32>, tensor<8x1x4xf32>
}
