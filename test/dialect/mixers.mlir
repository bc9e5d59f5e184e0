// SPDX-License-Identifier: Apache-2.0
// Each token mixer: its weights and their first values, its states, its expansion with and without them.
// RUN: morph-opt %s --morph-build-logits --morph-expand-mixers --cse | FileCheck %s --check-prefix=FULL
// RUN: morph-opt %s --morph-build-decode --morph-expand-mixers --cse | FileCheck %s --check-prefix=FULL-DECODE
// RUN: morph-opt %s --morph-pair-branches="candidates=gated_deltanet(conv=4)" --morph-discretize="uniform=0" --morph-build-logits --morph-expand-mixers --cse | FileCheck %s --check-prefix=GDN
// RUN: morph-opt %s --morph-pair-branches="candidates=gated_deltanet(conv=4,chunk=32)" --morph-discretize="uniform=0" --morph-build-decode --morph-expand-mixers --cse --canonicalize | FileCheck %s --check-prefix=GDN-DECODE
// RUN: morph-opt %s --morph-pair-branches="candidates=lightning" --morph-discretize="uniform=0" --morph-build-logits --morph-expand-mixers --cse | FileCheck %s --check-prefix=LIGHTNING
// RUN: morph-opt %s --morph-pair-branches="candidates=lightning" --morph-discretize="uniform=0" --morph-build-decode --morph-expand-mixers --cse | FileCheck %s --check-prefix=LIGHTNING-DECODE

morph.model @m base architecture "qwen2" layers 1 {
  morph.rope_table @rope [1.0, 0.01] attention_factor 1.0
  morph.weight @model.embed_tokens.weight : tensor<32x8xbf16>
  morph.weight @model.layers.0.self_attn.q_proj.weight : tensor<8x8xbf16>
  morph.weight @model.layers.0.self_attn.k_proj.weight : tensor<4x8xbf16>
  morph.weight @model.layers.0.self_attn.v_proj.weight : tensor<4x8xbf16>
  morph.weight @model.layers.0.self_attn.q_proj.bias : tensor<8xbf16>
  morph.weight @model.layers.0.self_attn.k_proj.bias : tensor<4xbf16>
  morph.weight @model.layers.0.self_attn.v_proj.bias : tensor<4xbf16>
  morph.weight @model.layers.0.self_attn.o_proj.weight : tensor<8x8xbf16>
  func.func @forward(%ids: tensor<?x?xi64>) -> tensor<?x?x8xf32> {
    %table = morph.param @model.embed_tokens.weight : tensor<32x8xf32>
    %x = morph.embedding %ids, %table : tensor<?x?xi64>, tensor<32x8xf32>
    %a = morph.softmax_mixer %x layer 0 weights "model.layers.0.self_attn" heads 2 kv_heads 1 head_dim 4 rope @rope scale 0.5 qkv_bias : tensor<?x?x8xf32>
    return %a : tensor<?x?x8xf32>
  }
  func.func @head(%rows: tensor<?x8xf32>) -> tensor<?x32xf32> {
    %table = morph.param @model.embed_tokens.weight : tensor<32x8xf32>
    %x = morph.linear %rows, %table : tensor<?x8xf32>, tensor<32x8xf32>
    return %x : tensor<?x32xf32>
  }
}

// FULL-LABEL: morph.program @logits
// FULL: %[[X:.*]] = morph.embedding
// FULL-NEXT: %[[WQ:.*]] = morph.param @model.layers.0.self_attn.q_proj.weight : tensor<8x8xf32>
// FULL-NEXT: %[[BQ:.*]] = morph.param @model.layers.0.self_attn.q_proj.bias : tensor<8xf32>
// FULL-NEXT: %[[PQ:.*]] = morph.linear %[[X]], %[[WQ]], %[[BQ]]
// FULL-NEXT: %[[HQ:.*]] = morph.split_heads %[[PQ]] heads 2
// FULL-NEXT: %[[Q:.*]] = morph.rope %[[HQ]] table @rope
// FULL: %[[HK:.*]] = morph.split_heads %{{.*}} heads 1
// FULL-NEXT: %[[K:.*]] = morph.rope %[[HK]] table @rope
// FULL: %[[V:.*]] = morph.split_heads %{{.*}} heads 1
// FULL-NEXT: %[[A:.*]] = morph.attention %[[Q]], %[[K]], %[[V]] scale 5.000000e-01
// FULL-NEXT: %[[M:.*]] = morph.merge_heads %[[A]]
// FULL-NEXT: %[[WO:.*]] = morph.param @model.layers.0.self_attn.o_proj.weight : tensor<8x8xf32>
// FULL-NEXT: morph.linear %[[M]], %[[WO]]

// The caches grow, rope starts at the offset, and padding is the attention's own business.
// FULL-DECODE-LABEL: morph.program @decode
// FULL-DECODE-SAME: %start: tensor<?xi64> "start" [B], %offset: tensor<?xi64> "offset" [B], %cache.0.k: tensor<?x?x1x4xf32> "cache.0.k" [B, S], %cache.0.v: tensor<?x?x1x4xf32> "cache.0.v" [B, S]) {
// FULL-DECODE: %[[Q:.*]] = morph.rope %{{.*}} offset %offset table @rope
// FULL-DECODE: %[[K:.*]] = morph.rope %{{.*}} offset %offset table @rope
// FULL-DECODE: %[[V:.*]] = morph.split_heads %{{.*}} heads 1
// FULL-DECODE-NEXT: %[[ALLK:.*]] = morph.cache_write %cache.0.k, %[[K]] offset %offset
// FULL-DECODE-NEXT: %[[ALLV:.*]] = morph.cache_write %cache.0.v, %[[V]] offset %offset
// FULL-DECODE-NEXT: morph.attention %[[Q]], %[[ALLK]], %[[ALLV]] start %start offset %offset scale 5.000000e-01
// FULL-DECODE: morph.output "logits" = %{{.*}}, "next.0.k" = %[[ALLK]], "next.0.v" = %[[ALLV]]

// GDN: morph.weight @model.layers.0.linear_attn.a_proj.weight : tensor<2x8xbf16> init <normal, value = 2.000000e-02 : f64>
// GDN-NEXT: morph.weight @model.layers.0.linear_attn.b_proj.weight : tensor<2x8xbf16> init <normal, value = 2.000000e-02 : f64>
// log 1 and log 16; the inverse softplus of 1e-3 and of 1e-1.
// GDN-NEXT: morph.weight @model.layers.0.linear_attn.A_log : tensor<2xf32> init <values, values = [0.000000e+00, 2.77258872{{[0-9]*}}]>
// GDN-NEXT: morph.weight @model.layers.0.linear_attn.dt_bias : tensor<2xf32> init <values, values = [-6.90725523{{[0-9]*}}, -2.25216846{{[0-9]*}}]>
// GDN-NEXT: morph.weight @model.layers.0.linear_attn.q_conv.weight : tensor<8x1x4xbf16> init <values, values = [0.000000e+00, 0.000000e+00, 0.000000e+00, 1.000000e+00]>
// GDN-NEXT: morph.weight @model.layers.0.linear_attn.k_conv.weight
// GDN-NEXT: morph.weight @model.layers.0.linear_attn.v_conv.weight
// GDN-NEXT: morph.weight @model.layers.0.linear_attn.g_proj.weight : tensor<8x8xbf16> init <normal, value = 2.000000e-02 : f64>
// GDN-NEXT: morph.weight @model.layers.0.linear_attn.o_norm.weight : tensor<4xf32> init <constant, value = 1.000000e+00 : f64>
// GDN-NEXT: morph.weight @model.layers.0.linear_attn.q_proj.weight : tensor<8x8xbf16> init <copy, source = "model.layers.0.self_attn.q_proj.weight">
// GDN-NEXT: morph.weight @model.layers.0.linear_attn.q_proj.bias : tensor<8xf32> init <copy,
// GDN-NEXT: morph.weight @model.layers.0.linear_attn.k_proj.weight : tensor<8x8xbf16> init <repeat_heads, source = "model.layers.0.self_attn.k_proj.weight", heads = 1, times = 2>
// GDN-NEXT: morph.weight @model.layers.0.linear_attn.k_proj.bias : tensor<8xf32> init <repeat_heads,
// GDN-NEXT: morph.weight @model.layers.0.linear_attn.v_proj.weight : tensor<8x8xbf16> init <repeat_heads, source = "model.layers.0.self_attn.v_proj.weight", heads = 1, times = 2>
// GDN-NEXT: morph.weight @model.layers.0.linear_attn.v_proj.bias : tensor<8xf32> init <repeat_heads,
// GDN-NEXT: morph.weight @model.layers.0.linear_attn.o_proj.weight : tensor<8x8xbf16> init <copy, source = "model.layers.0.self_attn.o_proj.weight">
// GDN-LABEL: morph.program @logits
// GDN: %[[X:.*]] = morph.embedding
// GDN-NOT: morph.mask_padding
// GDN: %[[AL:.*]] = morph.param @model.layers.0.linear_attn.A_log
// GDN: %[[CQ:.*]], %{{.*}} = morph.short_conv
// GDN-NEXT: %[[HQ:.*]] = morph.split_heads %[[CQ]] heads 2
// GDN: %[[CK:.*]], %{{.*}} = morph.short_conv
// GDN: %[[CV:.*]], %{{.*}} = morph.short_conv
// GDN-NEXT: %[[HV:.*]] = morph.split_heads %[[CV]] heads 2
// GDN-NEXT: %[[SQ:.*]] = morph.silu %[[HQ]]
// GDN-NEXT: %[[Q:.*]] = morph.l2_norm %[[SQ]] eps 9.99{{[0-9]*}}E-7
// GDN: %[[K:.*]] = morph.l2_norm
// GDN-NEXT: %[[STEP:.*]] = morph.linear %[[X]], %{{.*}}, %{{.*}} : tensor<?x?x8xf32>, tensor<2x8xf32>, tensor<2xf32>
// GDN-NEXT: %[[POS:.*]] = morph.softplus %[[STEP]]
// GDN-NEXT: %[[EA:.*]] = morph.exp %[[AL]]
// GDN-NEXT: %[[RATE:.*]] = morph.scale %[[EA]] by -1.000000e+00
// GDN-NEXT: %[[G:.*]] = morph.mul %[[POS]], %[[RATE]]
// GDN: %[[BETA:.*]] = morph.sigmoid
// GDN: %[[V:.*]] = morph.silu %[[HV]]
// GDN-NEXT: %[[O:.*]], %{{.*}} = morph.linear_attention %[[Q]], %[[K]], %[[V]] decay %[[G]] beta %[[BETA]] scale 5.000000e-01 chunk 64
// GDN: %[[GATE:.*]] = morph.silu
// GDN-NEXT: %[[N:.*]] = morph.rms_norm %[[O]], %{{.*}} eps 9.99{{[0-9]*}}E-7
// GDN-NEXT: %[[M:.*]] = morph.merge_heads %[[N]]
// GDN-NEXT: %[[Y:.*]] = morph.mul %[[M]], %[[GATE]]
// GDN: morph.linear %[[Y]], %{{.*}}

// Left padding leaves no trace: what goes into convolutions and the keys are masked.
// GDN-DECODE-LABEL: morph.program @decode
// GDN-DECODE-SAME: %start: tensor<?xi64> "start" [B], %offset: tensor<?xi64> "offset" [B], %cache.0.q_conv: tensor<?x3x8xf32> "cache.0.q_conv" [B], %cache.0.k_conv: tensor<?x3x8xf32> "cache.0.k_conv" [B], %cache.0.v_conv: tensor<?x3x8xf32> "cache.0.v_conv" [B], %cache.0.state: tensor<?x2x4x4xf32> "cache.0.state" [B]) {
// GDN-DECODE: %[[X:.*]] = morph.embedding
// GDN-DECODE: %[[PQ:.*]] = morph.linear %[[X]],
// GDN-DECODE: %[[MQ:.*]] = morph.mask_padding %[[PQ]], %start, %offset
// GDN-DECODE: %{{.*}}, %[[NEXTQ:.*]] = morph.short_conv %[[MQ]], %{{.*}} state %cache.0.q_conv
// GDN-DECODE: %{{.*}}, %[[NEXTK:.*]] = morph.short_conv %{{.*}} state %cache.0.k_conv
// GDN-DECODE: %{{.*}}, %[[NEXTV:.*]] = morph.short_conv %{{.*}} state %cache.0.v_conv
// GDN-DECODE: %[[MK:.*]] = morph.mask_padding %{{.*}}, %start, %offset
// GDN-DECODE-NEXT: %[[K:.*]] = morph.split_heads %[[MK]] heads 2
// GDN-DECODE: %{{.*}}, %[[NEXT:.*]] = morph.linear_attention %{{.*}}, %[[K]], %{{.*}} state %cache.0.state scale 5.000000e-01 chunk 32
// GDN-DECODE: morph.output "logits" = %{{.*}}, "next.0.q_conv" = %[[NEXTQ]], "next.0.k_conv" = %[[NEXTK]], "next.0.v_conv" = %[[NEXTV]], "next.0.state" = %[[NEXT]]

// -2^(-8 (h+1) / 2): 2^-4 and 2^-8.
// LIGHTNING: morph.weight @model.layers.0.linear_attn.decay : tensor<2xf32> init <values, values = [-6.250000e-02, -3.906250e-03]>
// LIGHTNING-LABEL: morph.program @logits
// LIGHTNING: %[[D:.*]] = morph.param @model.layers.0.linear_attn.decay
// LIGHTNING: %[[HQ:.*]] = morph.split_heads
// LIGHTNING: %[[NQ:.*]] = morph.l2_norm %[[HQ]]
// LIGHTNING-NEXT: %[[SQ:.*]] = morph.scale %[[NQ]] by 2.000000e+00
// LIGHTNING: %[[SK:.*]] = morph.scale %{{.*}} by 2.000000e+00
// LIGHTNING-NEXT: %[[Q:.*]] = morph.rope %[[SQ]] table @rope
// LIGHTNING-NEXT: %[[K:.*]] = morph.rope %[[SK]] table @rope
// LIGHTNING: %[[V:.*]] = morph.split_heads
// LIGHTNING-NEXT: morph.linear_attention %[[Q]], %[[K]], %[[V]] head_decay %[[D]] scale 5.000000e-01 chunk 64

// LIGHTNING-DECODE-LABEL: morph.program @decode
// LIGHTNING-DECODE-SAME: %offset: tensor<?xi64> "offset" [B], %cache.0.state: tensor<?x2x4x4xf32> "cache.0.state" [B]) {
// LIGHTNING-DECODE: morph.rope %{{.*}} offset %offset table @rope
// LIGHTNING-DECODE: %{{.*}}, %[[NEXT:.*]] = morph.linear_attention %{{.*}} state %cache.0.state scale 5.000000e-01 chunk 64
// LIGHTNING-DECODE: morph.output "logits" = %{{.*}}, "next.0.state" = %[[NEXT]]
