// SPDX-License-Identifier: Apache-2.0
// Every constraint of the gradient ops broken. A function is named by the label it breaks.
// RUN: morph-opt %s --split-input-file --verify-diagnostics

func.func @reduce_to_c1(%x: tensor<?x8xf32>) {
  // expected-error@below {{reduce_to_c1: rank is 3, expected 0 to 2}}
  %0 = morph.reduce_to %x rank 3 : tensor<?x8xf32>
  return
}

// -----

func.func @embedding_grad_c1(%dy: tensor<?x?x8xf32>, %ids: tensor<?xi64>) {
  // expected-error@below {{embedding_grad_c1: ids is tensor<?xi64>, expected [B,T]}}
  %0 = morph.embedding_grad %dy, %ids rows 4 : tensor<?x?x8xf32>, tensor<?xi64>
  return
}

// -----

func.func @embedding_grad_c2(%dy: tensor<?x?x8xf32>, %ids: tensor<?x?xi64>) {
  // expected-error@below {{embedding_grad_c2: rows is 0, expected 1 to 2147483647}}
  %0 = morph.embedding_grad %dy, %ids rows 0 : tensor<?x?x8xf32>, tensor<?x?xi64>
  return
}

// -----

func.func @linear_input_grad_c1(%dy: tensor<?x8xf32>, %w: tensor<4x8xf32>) {
  // expected-error@below {{linear_input_grad_c1: weight is tensor<4x8xf32>, expected [O,I]: O is 4, but 8 in dy (tensor<?x8xf32>)}}
  %0 = morph.linear_input_grad %dy, %w : tensor<?x8xf32>, tensor<4x8xf32>
  return
}

// -----

func.func @linear_input_grad_factors(%dy: tensor<?x8xf32>, %w: tensor<8x4xbf16>) {
  // expected-error@below {{'morph.linear_input_grad' op failed to verify that all of {dy, weight} have same element type}}
  %0 = morph.linear_input_grad %dy, %w : tensor<?x8xf32>, tensor<8x4xbf16>
  return
}

// -----

func.func @linear_weight_grad_factors(%dy: tensor<?x8xf32>, %x: tensor<?x4xbf16>) {
  // expected-error@below {{'morph.linear_weight_grad' op failed to verify that all of {dy, x} have same element type}}
  %0 = morph.linear_weight_grad %dy, %x : tensor<?x8xf32>, tensor<?x4xbf16>
  return
}

// -----

func.func @linear_weight_grad_c1(%dy: tensor<?x8xf32>, %x: tensor<?x?x4xf32>) {
  // expected-error@below {{linear_weight_grad_c1: x is tensor<?x?x4xf32>, expected [...,I]: the leading dimensions are not those of dy (tensor<?x8xf32>)}}
  %0 = morph.linear_weight_grad %dy, %x : tensor<?x8xf32>, tensor<?x?x4xf32>
  return
}

// -----

func.func @rms_norm_input_grad_c1(%x: tensor<?x8xf32>, %w: tensor<4xf32>) {
  // expected-error@below {{rms_norm_input_grad_c1: weight is tensor<4xf32>, expected [C]: C is 4, but 8 in dy (tensor<?x8xf32>)}}
  %0 = morph.rms_norm_input_grad %x, %x, %w eps 1.0 : tensor<?x8xf32>, tensor<?x8xf32>, tensor<4xf32>
  return
}

// -----

func.func @rms_norm_weight_grad_c1(%dy: tensor<?x8xf32>, %x: tensor<?x4xf32>) {
  // expected-error@below {{rms_norm_weight_grad_c1: x is tensor<?x4xf32>, expected [...,C]: C is 4, but 8 in dy (tensor<?x8xf32>)}}
  %0 = morph.rms_norm_weight_grad %dy, %x eps 1.0 : tensor<?x8xf32>, tensor<?x4xf32>
  return
}

// -----

func.func @l2_norm_grad_c1(%dy: tensor<?x8xf32>, %x: tensor<?x4xf32>) {
  // expected-error@below {{l2_norm_grad_c1: x is tensor<?x4xf32>, expected [...,C]: C is 4, but 8 in dy (tensor<?x8xf32>)}}
  %0 = morph.l2_norm_grad %dy, %x eps 1.0 : tensor<?x8xf32>, tensor<?x4xf32>
  return
}

// -----

func.func @scatter_rows_c1(%dy: tensor<?x8xf32>, %p: tensor<?xi64>, %x: tensor<?x?x4xf32>) {
  // expected-error@below {{scatter_rows_c1: like is tensor<?x?x4xf32>, expected [B,T,C]: C is 4, but 8 in dy (tensor<?x8xf32>)}}
  %0 = morph.scatter_rows %dy, %p, %x : tensor<?x8xf32>, tensor<?xi64>, tensor<?x?x4xf32>
  return
}

// -----

func.func @swiglu_grad_types(%dy: tensor<?x8xf32>, %x: tensor<?x4xf32>) {
  // expected-error@below {{x is tensor<?x4xf32>, expected [...]: the leading dimensions are not those of dy (tensor<?x8xf32>)}}
  %0:2 = morph.swiglu_grad %dy, %dy, %x : tensor<?x8xf32>, tensor<?x8xf32>, tensor<?x4xf32>
  return
}

// -----

func.func @blend_gate_grad_c1(%dy: tensor<?x8xf32>) {
  // expected-error@below {{blend_gate_grad_c1: got 1 candidates, expected 2 or more}}
  %0 = morph.blend_gate_grad %dy, %dy : tensor<?x8xf32>, tensor<?x8xf32>
  return
}

// -----

func.func @blend_candidate_grad_c1(%dy: tensor<?x8xf32>, %g: tensor<1xf32>) {
  // expected-error@below {{blend_candidate_grad_c1: index is 2, expected 0 to 1}}
  %0 = morph.blend_candidate_grad %dy, %g index 2 : tensor<?x8xf32>, tensor<1xf32>
  return
}

// -----

func.func @attention_grad_c1(%dy: tensor<?x?x4x4xf32>, %q: tensor<?x?x2x4xf32>) {
  // expected-error@below {{attention_grad_c1: q is tensor<?x?x2x4xf32>, expected [B,T,H,D]: H is 2, but 4 in dy (tensor<?x?x4x4xf32>)}}
  %0:3 = morph.attention_grad %dy, %q, %q, %q scale 0.5 : tensor<?x?x4x4xf32>, tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>
  return
}

// -----

func.func @attention_grad_c2(%q: tensor<?x?x2x4xf32>, %v: tensor<?x?x1x4xf32>) {
  // expected-error@below {{attention_grad_c2: v is tensor<?x?x1x4xf32>, expected [B,S,G,D]: G is 1, but 2 in k (tensor<?x?x2x4xf32>)}}
  %0:3 = morph.attention_grad %q, %q, %q, %v scale 0.5 : tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>, tensor<?x?x1x4xf32>
  return
}

// -----

func.func @attention_grad_c5(%q: tensor<?x?x2x4xf32>, %lse: tensor<?x4x?xf32>) {
  // expected-error@below {{attention_grad_c5: lse is tensor<?x4x?xf32>, expected [B,H,T]: H is 4, but 2 in dy (tensor<?x?x2x4xf32>)}}
  %0:3 = morph.attention_grad %q, %q, %q, %q out %q lse %lse scale 0.5 : tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32> out tensor<?x?x2x4xf32> lse tensor<?x4x?xf32>
  return
}

// -----

func.func @attention_grad_c5_out(%q: tensor<?x?x2x4xf32>, %o: tensor<?x?x2x8xf32>) {
  // expected-error@below {{attention_grad_c5: out is tensor<?x?x2x8xf32>, expected [B,T,H,D]: D is 8, but 4 in dy (tensor<?x?x2x4xf32>)}}
  %0:3 = morph.attention_grad %q, %q, %q, %q out %o scale 0.5 : tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32> out tensor<?x?x2x8xf32>
  return
}

// -----

func.func @attention_grad_c6(%q: tensor<?x?x2x4xf32>) {
  // expected-error@below {{attention_grad_c6: there is 'out', expected all or none of 'out' and 'lse'}}
  %0:3 = morph.attention_grad %q, %q, %q, %q out %q scale 0.5 : tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32> out tensor<?x?x2x4xf32>
  return
}

// -----

func.func @linear_attention_grad_c1(%dy: tensor<?x?x2x8xf32>, %q: tensor<?x?x2x4xf32>, %d: tensor<2xf32>) {
  // expected-error@below {{linear_attention_grad_c1: dy is tensor<?x?x2x8xf32>, expected [B,T,H,V]: V is 8, but 4 in v (tensor<?x?x2x4xf32>)}}
  %0:4 = morph.linear_attention_grad %dy, %q, %q, %q head_decay %d scale 0.5 chunk 64 : tensor<?x?x2x8xf32>, tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32> head_decay tensor<2xf32>
  return
}

// -----

func.func @linear_attention_grad_c2(%q: tensor<?x?x2x4xf32>, %s: tensor<?x2x?x8x4xf32>) {
  // expected-error@below {{linear_attention_grad_c2: states is tensor<?x2x?x8x4xf32>, expected [B,H,N,K,W]: K is 8, but 4 in q (tensor<?x?x2x4xf32>)}}
  %0:3 = morph.linear_attention_grad %q, %q, %q, %q states %s scale 0.5 chunk 64 : tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32> states tensor<?x2x?x8x4xf32>
  return
}

// -----

func.func @linear_attention_grad_c2_chunks(%q: tensor<2x100x2x4xf32>, %s: tensor<2x2x4x4x4xf32>) {
  // expected-error@below {{linear_attention_grad_c2: states is tensor<2x2x4x4x4xf32>, expected [B,H,N,K,W]: N is 4, but T // chunk is 2}}
  %0:3 = morph.linear_attention_grad %q, %q, %q, %q states %s scale 0.5 chunk 64 : tensor<2x100x2x4xf32>, tensor<2x100x2x4xf32>, tensor<2x100x2x4xf32>, tensor<2x100x2x4xf32> states tensor<2x2x4x4x4xf32>
  return
}

// -----

func.func @linear_attention_grad_c3(%q: tensor<?x?x2x4xf32>) {
  // expected-error@below {{linear_attention_grad_c3: written is tensor<?x?x2x4xf32>, expected [B,T,H,W]: W is 4, but V + (normaliser ? 1 : 0) is 5}}
  %0:3 = morph.linear_attention_grad %q, %q, %q, %q written %q scale 0.5 chunk 64 normaliser 1.0 : tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32> written tensor<?x?x2x4xf32>
  return
}

// -----

func.func @short_conv_grad_c1(%dy: tensor<?x?x4xf32>, %x: tensor<?x?x8xf32>, %w: tensor<8x1x4xf32>) {
  // expected-error@below {{short_conv_grad_c1: dy is tensor<?x?x4xf32>, expected [B,T,C]: C is 4, but 8 in x (tensor<?x?x8xf32>)}}
  %0:2 = morph.short_conv_grad %dy, %x, %w : tensor<?x?x4xf32>, tensor<?x?x8xf32>, tensor<8x1x4xf32>
  return
}

// -----

func.func @token_nll_grad_c1(%dy: tensor<4xf32>, %logits: tensor<5x8xf32>, %t: tensor<5xi64>) {
  // expected-error@below {{token_nll_grad_c1: logits is tensor<5x8xf32>, expected [N,V]: N is 5, but 4 in dy (tensor<4xf32>)}}
  %0 = morph.token_nll_grad %dy, %logits, %t : tensor<4xf32>, tensor<5x8xf32>, tensor<5xi64>
  return
}

// -----

func.func @kl_divergence_grad_c1(%dy: tensor<?xf32>, %a: tensor<?x8xf32>, %b: tensor<?x4xf32>) {
  // expected-error@below {{kl_divergence_grad_c1: student is tensor<?x4xf32>, expected [N,V]: V is 4, but 8 in teacher (tensor<?x8xf32>)}}
  %0 = morph.kl_divergence_grad %dy, %a, %b : tensor<?xf32>, tensor<?x8xf32>, tensor<?x4xf32>
  return
}

// -----

func.func @squared_error_grad_c1(%dy: tensor<1xf32>, %x: tensor<?x8xf32>) {
  // expected-error@below {{squared_error_grad_c1: dy is tensor<1xf32>, expected a scalar}}
  %0 = morph.squared_error_grad %dy, %x, %x normalize "mean" : tensor<1xf32>, tensor<?x8xf32>, tensor<?x8xf32>
  return
}

// -----

func.func @squared_error_grad_c2(%dy: tensor<f32>, %x: tensor<?x8xf32>) {
  // expected-error@below {{squared_error_grad_c2: normalize is 'sum', expected 'mean', 'rows' or 'relative'}}
  %0 = morph.squared_error_grad %dy, %x, %x normalize "sum" : tensor<f32>, tensor<?x8xf32>, tensor<?x8xf32>
  return
}

// -----

func.func @weighted_mean_grad_c1(%dy: tensor<1xf32>, %w: tensor<?xf32>) {
  // expected-error@below {{weighted_mean_grad_c1: dy is tensor<1xf32>, expected a scalar}}
  %0 = morph.weighted_mean_grad %dy, %w : tensor<1xf32>, tensor<?xf32>
  return
}

// -----

func.func @rms_norm_input_grad_c2(%dy: tensor<?x4xf32>, %w: tensor<4xf32>) {
  // expected-error@below {{rms_norm_input_grad_c2: eps is 0, expected a positive finite number}}
  %0 = morph.rms_norm_input_grad %dy, %dy, %w eps 0.0 : tensor<?x4xf32>, tensor<?x4xf32>, tensor<4xf32>
  return
}

// -----

func.func @rms_norm_weight_grad_c2(%dy: tensor<?x4xf32>) {
  // expected-error@below {{rms_norm_weight_grad_c2: eps is 0, expected a positive finite number}}
  %0 = morph.rms_norm_weight_grad %dy, %dy eps 0.0 : tensor<?x4xf32>, tensor<?x4xf32>
  return
}

// -----

func.func @l2_norm_grad_c2(%dy: tensor<?x4xf32>) {
  // expected-error@below {{l2_norm_grad_c2: eps is 0, expected a positive finite number}}
  %0 = morph.l2_norm_grad %dy, %dy eps 0.0 : tensor<?x4xf32>, tensor<?x4xf32>
  return
}

// -----

func.func @attention_grad_c3(%q: tensor<?x?x3x4xf32>, %k: tensor<?x?x2x4xf32>) {
  // expected-error@below {{attention_grad_c3: H is 3 in dy (tensor<?x?x3x4xf32>), expected a multiple of G: G is 2 in k (tensor<?x?x2x4xf32>)}}
  %0:3 = morph.attention_grad %q, %q, %k, %k scale 0.5 : tensor<?x?x3x4xf32>, tensor<?x?x3x4xf32>, tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>
  return
}

// -----

func.func @attention_grad_c8(%q: tensor<?x?x2x4xf32>, %begins: tensor<?xi64>) {
  // expected-error@below {{attention_grad_c8: begins is tensor<?xi64>, expected [B,T]}}
  %0:3 = morph.attention_grad %q, %q, %q, %q begins %begins scale 0.5 : tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32> begins tensor<?xi64>
  return
}

// -----

func.func @attention_grad_c9(%q: tensor<?x?x2x4xf32>, %start: tensor<?xi64>, %begins: tensor<?x?xi64>) {
  // expected-error@below {{attention_grad_c9: there is 'start' and 'begins', expected one at most of 'start' and 'begins'}}
  %0:3 = morph.attention_grad %q, %q, %q, %q start %start begins %begins scale 0.5 : tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>, tensor<?xi64> begins tensor<?x?xi64>
  return
}

// -----

func.func @attention_grad_c8_keys(%q: tensor<?x3x2x4xf32>, %k: tensor<?x5x2x4xf32>, %begins: tensor<?x3xi64>) {
  // expected-error@below {{attention_grad_c8: begins is tensor<?x3xi64>, expected [B,S]: S is 3, but 5 in k (tensor<?x5x2x4xf32>)}}
  %0:3 = morph.attention_grad %q, %q, %k, %k begins %begins scale 0.5 : tensor<?x3x2x4xf32>, tensor<?x3x2x4xf32>, tensor<?x5x2x4xf32>, tensor<?x5x2x4xf32> begins tensor<?x3xi64>
  return
}

// -----

func.func @attention_grad_c10(%q: tensor<?x?x2x4xf32>) {
  // expected-error@below {{attention_grad_c10: scale is -1, expected a positive finite number}}
  %0:3 = morph.attention_grad %q, %q, %q, %q scale -1.0 : tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>
  return
}

// -----

func.func @attention_grad_c10_zero(%q: tensor<?x?x2x4xf32>) {
  // expected-error@below {{attention_grad_c10: scale is 0, expected a positive finite number}}
  %0:3 = morph.attention_grad %q, %q, %q, %q scale 0.0 : tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>
  return
}

// -----

func.func @attention_grad_c7(%q: tensor<?x?x2x4xf32>) {
  // expected-error@below {{attention_grad_c7: softcap is 0, expected a positive finite number}}
  %0:3 = morph.attention_grad %q, %q, %q, %q scale 0.5 softcap 0.0 : tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>
  return
}

// -----

func.func @attention_grad_c4(%q: tensor<?x?x2x4xf32>) {
  // expected-error@below {{attention_grad_c4: window is 0, expected 1 to 2147483647}}
  %0:3 = morph.attention_grad %q, %q, %q, %q scale 0.5 window 0 : tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>
  return
}

// -----

func.func @top_k_softmax_grad_c1(%dy: tensor<?x4xf32>, %x: tensor<?x5xf32>) {
  // expected-error@below {{top_k_softmax_grad_c1: x is tensor<?x5xf32>, expected [...,E]: E is 5, but 4 in dy (tensor<?x4xf32>)}}
  %0 = morph.top_k_softmax_grad %dy, %x, %dy count 1 : tensor<?x4xf32>, tensor<?x5xf32>, tensor<?x4xf32>
  return
}

// -----

func.func @top_k_softmax_grad_c2(%dy: tensor<?x4xf32>) {
  // expected-error@below {{top_k_softmax_grad_c2: count is 5, expected 1 to 4}}
  %0 = morph.top_k_softmax_grad %dy, %dy, %dy count 5 : tensor<?x4xf32>, tensor<?x4xf32>, tensor<?x4xf32>
  return
}

// -----

func.func @experts_input_grad_c1(%dy: tensor<?x7xf32>, %x: tensor<?x8xf32>, %r: tensor<?x4xf32>, %g: tensor<4x12x8xf32>, %d: tensor<4x8x6xf32>) {
  // expected-error@below {{experts_input_grad_c1: dy is tensor<?x7xf32>, expected [...,C]: C is 7, but 8 in x (tensor<?x8xf32>)}}
  %0:2 = morph.experts_input_grad %dy, %x, %r, %g, %d active 1 : tensor<?x7xf32>, tensor<?x8xf32>, tensor<?x4xf32>, tensor<4x12x8xf32>, tensor<4x8x6xf32>
  return
}

// -----

func.func @experts_weight_grad_c1(%dy: tensor<?x7xf32>, %x: tensor<?x8xf32>, %r: tensor<?x4xf32>, %g: tensor<4x12x8xf32>, %d: tensor<4x8x6xf32>) {
  // expected-error@below {{experts_weight_grad_c1: dy is tensor<?x7xf32>, expected [...,C]: C is 7, but 8 in x (tensor<?x8xf32>)}}
  %0:2 = morph.experts_weight_grad %dy, %x, %r, %g, %d active 1 : tensor<?x7xf32>, tensor<?x8xf32>, tensor<?x4xf32>, tensor<4x12x8xf32>, tensor<4x8x6xf32>
  return
}

// -----

func.func @reverse_kl_divergence_grad_c1(%dy: tensor<?xf32>, %a: tensor<?x8xf32>, %b: tensor<?x4xf32>) {
  // expected-error@below {{reverse_kl_divergence_grad_c1: student is tensor<?x4xf32>, expected [N,V]: V is 4, but 8 in teacher (tensor<?x8xf32>)}}
  %0 = morph.reverse_kl_divergence_grad %dy, %a, %b : tensor<?xf32>, tensor<?x8xf32>, tensor<?x4xf32>
  return
}
