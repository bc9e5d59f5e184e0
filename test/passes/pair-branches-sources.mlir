// SPDX-License-Identifier: Apache-2.0
// What a weight starts as must be a weight of the layer's full attention, and of the weight's shape.
// RUN: morph-opt %s --morph-pair-branches="candidates=m" --split-input-file --verify-diagnostics

morph.model @rows base architecture "llama" layers 1 {
  morph.mixer @m doc "" options [] sizes [] requires [] {
  ^bb0(%x: tensor<?x?x?xf32>):
    // expected-note@below {{of @m here}}
    %k = morph.mixer_weight "k.weight" ["H * D", "M"] indices ["", ""] init <copy, "k_proj.weight"> : tensor<?x?xf32>
    morph.mixer_yield %x : tensor<?x?x?xf32>
  }
  morph.rope_table @rope [1.0] attention_factor 1.0
  morph.weight @a.q_proj.weight : tensor<8x8xf32>
  morph.weight @a.k_proj.weight : tensor<4x8xf32>
  morph.weight @a.v_proj.weight : tensor<4x8xf32>
  morph.weight @a.o_proj.weight : tensor<8x8xf32>
  func.func @forward(%x: tensor<?x?x8xf32>) -> tensor<?x?x8xf32> {
    // expected-error@below {{linear_mixer_c9: 'k.weight' is 'tensor<8x8xf32>', but its first values, of 'k_proj.weight', are 'tensor<4x8xf32>'}}
    %0 = morph.softmax_mixer %x layer 0 weights "a" heads 2 kv_heads 1 head_dim 4 rope @rope scale 0.5 : tensor<?x?x8xf32>
    return %0 : tensor<?x?x8xf32>
  }
}

// -----

morph.model @repeated base architecture "llama" layers 1 {
  morph.mixer @m doc "" options [] sizes [] requires [] {
  ^bb0(%x: tensor<?x?x?xf32>):
    // expected-note@below {{of @m here}}
    %k = morph.mixer_weight "k.weight" ["G * D", "M"] indices ["", ""] init <repeat_heads, "k_proj.weight"> : tensor<?x?xf32>
    morph.mixer_yield %x : tensor<?x?x?xf32>
  }
  morph.rope_table @rope [1.0] attention_factor 1.0
  morph.weight @a.q_proj.weight : tensor<8x8xf32>
  morph.weight @a.k_proj.weight : tensor<4x8xf32>
  morph.weight @a.v_proj.weight : tensor<4x8xf32>
  morph.weight @a.o_proj.weight : tensor<8x8xf32>
  func.func @forward(%x: tensor<?x?x8xf32>) -> tensor<?x?x8xf32> {
    // expected-error@below {{linear_mixer_c9: 'k.weight' is 'tensor<4x8xf32>', but its first values, of 'k_proj.weight', are 'tensor<8x8xf32>'}}
    %0 = morph.softmax_mixer %x layer 0 weights "a" heads 2 kv_heads 1 head_dim 4 rope @rope scale 0.5 : tensor<?x?x8xf32>
    return %0 : tensor<?x?x8xf32>
  }
}

// -----

morph.model @absent base architecture "llama" layers 1 {
  morph.mixer @m doc "" options [] sizes [] requires [] {
  ^bb0(%x: tensor<?x?x?xf32>):
    // expected-note@below {{of @m here}}
    %b = morph.mixer_weight "q.bias" ["H * D"] indices [""] init <copy, "q_proj.bias"> : tensor<?xf32>
    morph.mixer_yield %x : tensor<?x?x?xf32>
  }
  morph.rope_table @rope [1.0] attention_factor 1.0
  morph.weight @a.q_proj.weight : tensor<8x8xf32>
  morph.weight @a.k_proj.weight : tensor<4x8xf32>
  morph.weight @a.v_proj.weight : tensor<4x8xf32>
  morph.weight @a.o_proj.weight : tensor<8x8xf32>
  func.func @forward(%x: tensor<?x?x8xf32>) -> tensor<?x?x8xf32> {
    // expected-error@below {{linear_mixer_c9: 'q.bias' starts as 'q_proj.bias', which the layer's full attention does not have}}
    %0 = morph.softmax_mixer %x layer 0 weights "a" heads 2 kv_heads 1 head_dim 4 rope @rope scale 0.5 : tensor<?x?x8xf32>
    return %0 : tensor<?x?x8xf32>
  }
}

// -----

// Norms of all heads, with their rows repeated; a weight that is not there needs no source.
morph.model @fits base architecture "llama" layers 1 {
  morph.mixer @m doc "" options [] sizes [] requires [] {
  ^bb0(%x: tensor<?x?x?xf32>):
    %k = morph.mixer_weight "k.weight" ["H * D"] indices [""] init <repeat_heads, "k_norm.weight"> : tensor<?xf32>
    %o = morph.mixer_weight "o.weight" ["M", "H * D"] indices ["", ""] init <copy, "o_proj.weight"> : tensor<?x?xf32>
    %b = morph.mixer_weight "q.bias" ["H * D"] indices [""] init <copy, "q_proj.bias"> if "base.qkv_bias" : tensor<?xf32>
    morph.mixer_yield %x : tensor<?x?x?xf32>
  }
  morph.rope_table @rope [1.0] attention_factor 1.0
  morph.weight @a.q_proj.weight : tensor<8x8xf32>
  morph.weight @a.k_proj.weight : tensor<4x8xf32>
  morph.weight @a.v_proj.weight : tensor<4x8xf32>
  morph.weight @a.q_norm.weight : tensor<8xf32>
  morph.weight @a.k_norm.weight : tensor<4xf32>
  morph.weight @a.o_proj.weight : tensor<8x8xf32>
  func.func @forward(%x: tensor<?x?x8xf32>) -> tensor<?x?x8xf32> {
    %0 = morph.softmax_mixer %x layer 0 weights "a" heads 2 kv_heads 1 head_dim 4 rope @rope scale 0.5 qk_norm 1.0e-5 qk_norm_wide : tensor<?x?x8xf32>
    return %0 : tensor<?x?x8xf32>
  }
}
