// SPDX-License-Identifier: Apache-2.0
// Every constraint broken: shapes of forward ops. A function is named by the label it breaks.
// RUN: morph-opt %s --split-input-file --verify-diagnostics

func.func @embedding_c1(%ids: tensor<?xi64>, %table: tensor<32x8xf32>) {
  // expected-error@below {{'morph.embedding' op embedding_c1: ids is tensor<?xi64>, expected [B,T]}}
  %0 = morph.embedding %ids, %table : tensor<?xi64>, tensor<32x8xf32>
  return
}

// -----

func.func @embedding_c2(%ids: tensor<?x?xi64>, %table: tensor<8xf32>) {
  // expected-error@below {{embedding_c2: table is tensor<8xf32>, expected [V,C]}}
  %0 = morph.embedding %ids, %table : tensor<?x?xi64>, tensor<8xf32>
  return
}

// -----

func.func @linear_c1(%x: tensor<?x?x8xf32>, %weight: tensor<16x12xf32>) {
  // expected-error@below {{'morph.linear' op linear_c1: weight is tensor<16x12xf32>, expected [O,I]: I is 12, but 8 in x (tensor<?x?x8xf32>)}}
  %0 = morph.linear %x, %weight : tensor<?x?x8xf32>, tensor<16x12xf32>
  return
}

// -----

func.func @linear_c1_rank(%x: tensor<f32>, %weight: tensor<16x12xf32>) {
  // expected-error@below {{linear_c1: x is tensor<f32>, expected [...,I]}}
  %0 = morph.linear %x, %weight : tensor<f32>, tensor<16x12xf32>
  return
}

// -----

func.func @linear_element_type(%x: tensor<?x12xf64>, %weight: tensor<16x12xf32>) {
  // expected-error@below {{operand #0 must be ranked tensor of 32-bit float or bfloat16 type values, but got 'tensor<?x12xf64>'}}
  %0 = morph.linear %x, %weight : tensor<?x12xf64>, tensor<16x12xf32>
  return
}

// -----

func.func @linear_factors(%x: tensor<?x12xbf16>, %weight: tensor<16x12xf32>) {
  // expected-error@below {{'morph.linear' op failed to verify that all of {x, weight} have same element type}}
  %0 = morph.linear %x, %weight : tensor<?x12xbf16>, tensor<16x12xf32>
  return
}

// -----

func.func @linear_c2(%x: tensor<?x?x8xf32>, %weight: tensor<16x8xf32>, %bias: tensor<8xf32>) {
  // expected-error@below {{linear_c2: bias is tensor<8xf32>, expected [O]: O is 8, but 16 in weight (tensor<16x8xf32>)}}
  %0 = morph.linear %x, %weight, %bias : tensor<?x?x8xf32>, tensor<16x8xf32>, tensor<8xf32>
  return
}

// -----

func.func @linear_result(%x: tensor<?x?x8xf32>, %weight: tensor<16x8xf32>) {
  // expected-error@+2 {{'morph.linear' op inferred type(s) 'tensor<?x?x16xf32>' are incompatible with return type(s) of operation 'tensor<?x?x8xf32>'}}
  // expected-error@+1 {{failed to infer returned types}}
  %0 = "morph.linear"(%x, %weight) : (tensor<?x?x8xf32>, tensor<16x8xf32>) -> tensor<?x?x8xf32>
  return
}

// -----

func.func @rms_norm_c1(%x: tensor<?x?x8xf32>, %weight: tensor<4xf32>) {
  // expected-error@below {{rms_norm_c1: weight is tensor<4xf32>, expected [C]: C is 4, but 8 in x (tensor<?x?x8xf32>)}}
  %0 = morph.rms_norm %x, %weight eps 1.0e-5 : tensor<?x?x8xf32>, tensor<4xf32>
  return
}

// -----

func.func @rms_norm_c2(%x: tensor<?x?x8xf32>, %weight: tensor<8xf32>) {
  // expected-error@below {{rms_norm_c2: eps is -1, expected a positive finite number}}
  %0 = morph.rms_norm %x, %weight eps -1.0 : tensor<?x?x8xf32>, tensor<8xf32>
  return
}

// -----

func.func @l2_norm_c1(%x: tensor<f32>) {
  // expected-error@below {{l2_norm_c1: x is tensor<f32>, expected [...,C]}}
  %0 = morph.l2_norm %x eps 1.0e-6 : tensor<f32>
  return
}

// -----

func.func @l2_norm_c2(%x: tensor<4xf32>) {
  // expected-error@below {{l2_norm_c2: eps is 0, expected a positive finite number}}
  %0 = morph.l2_norm %x eps 0.0 : tensor<4xf32>
  return
}

// -----

func.func @split_heads_c1(%x: tensor<?x8xf32>) {
  // expected-error@below {{split_heads_c1: x is tensor<?x8xf32>, expected [B,T,E]}}
  %0 = morph.split_heads %x heads 2 : tensor<?x8xf32>
  return
}

// -----

func.func @expand_c1(%x: tensor<?x?x8xf32>) {
  // expected-error@below {{expand_c1: E = width is 0}}
  %0 = morph.expand %x to 0 : tensor<?x?x8xf32>
  return
}

// -----

func.func @sum_last_c1(%x: tensor<f32>) {
  // expected-error@below {{sum_last_c1: x is tensor<f32>, expected [...,E]}}
  %0 = morph.sum_last %x : tensor<f32>
  return
}

// -----

func.func @split_heads_c2(%x: tensor<?x?x8xf32>) {
  // expected-error@below {{split_heads_c2: E is 8 in x (tensor<?x?x8xf32>), expected a multiple of H: H = heads is 3}}
  %0 = morph.split_heads %x heads 3 : tensor<?x?x8xf32>
  return
}

// -----

func.func @merge_heads_c1(%x: tensor<?x?x8xf32>) {
  // expected-error@below {{merge_heads_c1: x is tensor<?x?x8xf32>, expected [B,T,H,D]}}
  %0 = morph.merge_heads %x : tensor<?x?x8xf32>
  return
}

// -----

func.func @merge_heads_c2(%x: tensor<?x?x?x8xf32>) {
  // expected-error@below {{merge_heads_c2: H is ? in x (tensor<?x?x?x8xf32>), but must be known}}
  %0 = morph.merge_heads %x : tensor<?x?x?x8xf32>
  return
}

// -----

func.func @take_rows_c1(%x: tensor<?x8xf32>, %positions: tensor<?xi64>) {
  // expected-error@below {{take_rows_c1: x is tensor<?x8xf32>, expected [B,T,C]}}
  %0 = morph.take_rows %x, %positions : tensor<?x8xf32>, tensor<?xi64>
  return
}

// -----

func.func @take_rows_c2(%x: tensor<?x?x8xf32>, %positions: tensor<?x?xi64>) {
  // expected-error@below {{take_rows_c2: positions is tensor<?x?xi64>, expected [N]}}
  %0 = morph.take_rows %x, %positions : tensor<?x?x8xf32>, tensor<?x?xi64>
  return
}

// -----

func.func @last_rows_c1(%x: tensor<?x8xf32>) {
  // expected-error@below {{last_rows_c1: x is tensor<?x8xf32>, expected [B,T,C]}}
  %0 = morph.last_rows %x : tensor<?x8xf32>
  return
}

// -----

func.func @mask_padding_c1(%x: tensor<?x8xf32>, %start: tensor<?xi64>, %offset: tensor<?xi64>) {
  // expected-error@below {{mask_padding_c1: x is tensor<?x8xf32>, expected [B,T,C]}}
  %0 = morph.mask_padding %x, %start, %offset : tensor<?x8xf32>, tensor<?xi64>, tensor<?xi64>
  return
}

// -----

func.func @mask_padding_c2(%x: tensor<2x?x8xf32>, %start: tensor<3xi64>, %offset: tensor<2xi64>) {
  // expected-error@below {{mask_padding_c2: start is tensor<3xi64>, expected [B]: B is 3, but 2 in x (tensor<2x?x8xf32>)}}
  %0 = morph.mask_padding %x, %start, %offset : tensor<2x?x8xf32>, tensor<3xi64>, tensor<2xi64>
  return
}

// -----

func.func @mask_padding_c3(%x: tensor<?x?x8xf32>, %start: tensor<?xi64>, %offset: tensor<i64>) {
  // expected-error@below {{mask_padding_c3: offset is tensor<i64>, expected [B]}}
  %0 = morph.mask_padding %x, %start, %offset : tensor<?x?x8xf32>, tensor<?xi64>, tensor<i64>
  return
}

// -----

func.func @add_c1(%x: tensor<?x?x8xf32>, %y: tensor<4xf32>) {
  // expected-error@below {{add_c1: rhs is tensor<4xf32>, expected the trailing dimensions of lhs (tensor<?x?x8xf32>)}}
  %0 = morph.add %x, %y : tensor<?x?x8xf32>, tensor<4xf32>
  return
}

// -----

func.func @mul_c1(%x: tensor<8xf32>, %y: tensor<?x?x8xf32>) {
  // expected-error@below {{mul_c1: rhs is tensor<?x?x8xf32>, expected the trailing dimensions of lhs (tensor<8xf32>)}}
  %0 = morph.mul %x, %y : tensor<8xf32>, tensor<?x?x8xf32>
  return
}

// -----

func.func @cast_c1(%x: tensor<?x8xf32>) {
  // expected-error@below {{cast_c1: dtype is 'f16', expected 'f32' or 'bf16'}}
  %0 = morph.cast %x to "f16" : tensor<?x8xf32>
  return
}

// -----

func.func @rope_c1(%x: tensor<?x?x8xf32>) {
  // expected-error@below {{rope_c1: x is tensor<?x?x8xf32>, expected [B,T,H,D]}}
  %0 = morph.rope %x table @rope : tensor<?x?x8xf32>
  return
}

// -----

func.func @rope_c2(%x: tensor<?x?x2x4xf32>, %offset: tensor<i64>) {
  // expected-error@below {{rope_c2: offset is tensor<i64>, expected [B]}}
  %0 = morph.rope %x offset %offset table @rope : tensor<?x?x2x4xf32>, tensor<i64>
  return
}

// -----

func.func @attention_c1(%q: tensor<?x?x8xf32>, %k: tensor<?x?x2x4xf32>) {
  // expected-error@below {{attention_c1: q is tensor<?x?x8xf32>, expected [B,T,H,D]}}
  %0 = morph.attention %q, %k, %k scale 0.5 : tensor<?x?x8xf32>, tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>
  return
}

// -----

func.func @attention_c2(%q: tensor<?x?x2x4xf32>, %k: tensor<?x?x2x8xf32>) {
  // expected-error@below {{attention_c2: k is tensor<?x?x2x8xf32>, expected [B,S,G,D]: D is 8, but 4 in q (tensor<?x?x2x4xf32>)}}
  %0 = morph.attention %q, %k, %k scale 0.5 : tensor<?x?x2x4xf32>, tensor<?x?x2x8xf32>, tensor<?x?x2x8xf32>
  return
}

// -----

func.func @attention_c3(%q: tensor<?x?x2x4xf32>, %v: tensor<?x?x1x4xf32>) {
  // expected-error@below {{attention_c3: v is tensor<?x?x1x4xf32>, expected [B,S,G,D]: G is 1, but 2 in k (tensor<?x?x2x4xf32>)}}
  %0 = morph.attention %q, %q, %v scale 0.5 : tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>, tensor<?x?x1x4xf32>
  return
}

// -----

func.func @attention_c4(%q: tensor<?x?x4x4xf32>, %k: tensor<?x?x3x4xf32>) {
  // expected-error@below {{attention_c4: H is 4 in q (tensor<?x?x4x4xf32>), expected a multiple of G: G is 3 in k (tensor<?x?x3x4xf32>)}}
  %0 = morph.attention %q, %k, %k scale 0.5 : tensor<?x?x4x4xf32>, tensor<?x?x3x4xf32>, tensor<?x?x3x4xf32>
  return
}

// -----

func.func @attention_c5(%q: tensor<?x?x2x4xf32>, %start: tensor<i64>) {
  // expected-error@below {{attention_c5: start is tensor<i64>, expected [B]}}
  %0 = morph.attention %q, %q, %q start %start scale 0.5 : tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32> start tensor<i64>
  return
}

// -----

func.func @attention_c8(%q: tensor<?x?x2x4xf32>) {
  // expected-error@below {{attention_c8: softcap is -1, expected a positive finite number}}
  %0 = morph.attention %q, %q, %q scale 0.5 softcap -1.0 : tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>
  return
}

// -----

func.func @attention_c11(%q: tensor<?x?x2x4xf32>) {
  // expected-error@below {{attention_c11: scale is -1, expected a positive finite number}}
  %0 = morph.attention %q, %q, %q scale -1.0 : tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>
  return
}

// -----

func.func @attention_c11_zero(%q: tensor<?x?x2x4xf32>) {
  // expected-error@below {{attention_c11: scale is 0, expected a positive finite number}}
  %0 = morph.attention %q, %q, %q scale 0.0 : tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>
  return
}

// -----

func.func @attention_c9_keys(%q: tensor<?x3x2x4xf32>, %k: tensor<?x5x2x4xf32>, %begins: tensor<?x3xi64>) {
  // expected-error@below {{attention_c9: begins is tensor<?x3xi64>, expected [B,S]: S is 3, but 5 in k (tensor<?x5x2x4xf32>)}}
  %0 = morph.attention %q, %k, %k begins %begins scale 0.5 : tensor<?x3x2x4xf32>, tensor<?x5x2x4xf32>, tensor<?x5x2x4xf32> begins tensor<?x3xi64>
  return
}

// -----

func.func @attention_c9(%q: tensor<?x?x2x4xf32>, %begins: tensor<?xi64>) {
  // expected-error@below {{attention_c9: begins is tensor<?xi64>, expected [B,T]}}
  %0 = morph.attention %q, %q, %q begins %begins scale 0.5 : tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32> begins tensor<?xi64>
  return
}

// -----

func.func @attention_c10_start(%q: tensor<?x?x2x4xf32>, %start: tensor<?xi64>, %begins: tensor<?x?xi64>) {
  // expected-error@below {{attention_c10: there is 'start' and 'begins', expected one at most of 'start' and 'begins'}}
  %0 = morph.attention %q, %q, %q start %start begins %begins scale 0.5 : tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32> start tensor<?xi64> begins tensor<?x?xi64>
  return
}

// -----

func.func @attention_c10_offset(%q: tensor<?x?x2x4xf32>, %offset: tensor<?xi64>, %begins: tensor<?x?xi64>) {
  // expected-error@below {{attention_c10: there is 'offset' and 'begins', expected one at most of 'offset' and 'begins'}}
  %0 = morph.attention %q, %q, %q offset %offset begins %begins scale 0.5 : tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32> offset tensor<?xi64> begins tensor<?x?xi64>
  return
}

// -----

func.func @attention_c6(%q: tensor<?x?x2x4xf32>) {
  // expected-error@below {{attention_c6: window is 0, expected 1 to 2147483647}}
  %0 = morph.attention %q, %q, %q scale 0.5 window 0 : tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>
  return
}

// -----

func.func @linear_attention_c1(%q: tensor<?x?x8xf32>, %k: tensor<?x?x2x4xf32>) {
  // expected-error@below {{linear_attention_c1: q is tensor<?x?x8xf32>, expected [B,T,G,K]}}
  %0:2 = morph.linear_attention %q, %k, %k scale 0.5 chunk 64 : tensor<?x?x8xf32>, tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>
  return
}

// -----

func.func @linear_attention_c2(%q: tensor<?x?x2x4xf32>, %k: tensor<?x?x2x8xf32>) {
  // expected-error@below {{linear_attention_c2: k is tensor<?x?x2x8xf32>, expected [B,T,G,K]: K is 8, but 4 in q (tensor<?x?x2x4xf32>)}}
  %0:2 = morph.linear_attention %q, %k, %q scale 0.5 chunk 64 : tensor<?x?x2x4xf32>, tensor<?x?x2x8xf32>, tensor<?x?x2x4xf32>
  return
}

// -----

func.func @linear_attention_c3(%q: tensor<?x?x2x4xf32>, %v: tensor<?x?x8xf32>) {
  // expected-error@below {{linear_attention_c3: v is tensor<?x?x8xf32>, expected [B,T,H,V]}}
  %0:2 = morph.linear_attention %q, %q, %v scale 0.5 chunk 64 : tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>, tensor<?x?x8xf32>
  return
}

// -----

func.func @linear_attention_c4(%q: tensor<?x?x2x4xf32>, %v: tensor<?x?x3x4xf32>) {
  // expected-error@below {{linear_attention_c4: H is 3 in v (tensor<?x?x3x4xf32>), expected a multiple of G: G is 2 in q (tensor<?x?x2x4xf32>)}}
  %0:2 = morph.linear_attention %q, %q, %v scale 0.5 chunk 64 : tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>, tensor<?x?x3x4xf32>
  return
}

// -----

func.func @linear_attention_c5_head(%q: tensor<?x?x2x4xf32>, %g: tensor<3xf32>) {
  // expected-error@below {{linear_attention_c5: head_decay is tensor<3xf32>, expected [H]: H is 3, but 2 in v (tensor<?x?x2x4xf32>)}}
  %0:2 = morph.linear_attention %q, %q, %q head_decay %g scale 0.5 chunk 64 : tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32> head_decay tensor<3xf32>
  return
}

// -----

func.func @linear_attention_c5_position(%q: tensor<?x?x2x4xf32>, %g: tensor<2xf32>) {
  // expected-error@below {{linear_attention_c5: decay is tensor<2xf32>, expected [B,T,H]}}
  %0:2 = morph.linear_attention %q, %q, %q decay %g scale 0.5 chunk 64 : tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32> decay tensor<2xf32>
  return
}

// -----

func.func @linear_attention_c5_channel(%q: tensor<?x?x2x4xf32>, %g: tensor<?x?x2xf32>) {
  // expected-error@below {{linear_attention_c5: channel_decay is tensor<?x?x2xf32>, expected [B,T,H,K]}}
  %0:2 = morph.linear_attention %q, %q, %q channel_decay %g scale 0.5 chunk 64 : tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32> channel_decay tensor<?x?x2xf32>
  return
}

// -----

func.func @linear_attention_c6(%q: tensor<?x?x2x4xf32>, %g: tensor<?x?x2xf32>) {
  // expected-error@below {{linear_attention_c6: there is 'decay' and 'channel_decay', expected one at most of 'head_decay', 'decay' and 'channel_decay'}}
  %0:2 = morph.linear_attention %q, %q, %q decay %g channel_decay %q scale 0.5 chunk 64 : tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32> decay tensor<?x?x2xf32> channel_decay tensor<?x?x2x4xf32>
  return
}

// -----

func.func @linear_attention_c7_beta(%q: tensor<?x?x2x4xf32>, %b: tensor<2xf32>) {
  // expected-error@below {{linear_attention_c7: beta is tensor<2xf32>, expected [B,T,H]}}
  %0:2 = morph.linear_attention %q, %q, %q beta %b scale 0.5 chunk 64 : tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32> beta tensor<2xf32>
  return
}

// -----

func.func @linear_attention_c7_erase(%q: tensor<?x?x2x4xf32>, %e: tensor<?x?x2x8xf32>) {
  // expected-error@below {{linear_attention_c7: erase is tensor<?x?x2x8xf32>, expected [B,T,H,K]: K is 8, but 4 in q (tensor<?x?x2x4xf32>)}}
  %0:2 = morph.linear_attention %q, %q, %q write %q erase %e scale 0.5 chunk 64 : tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32> write tensor<?x?x2x4xf32> erase tensor<?x?x2x8xf32>
  return
}

// -----

func.func @linear_attention_c8_alone(%q: tensor<?x?x2x4xf32>) {
  // expected-error@below {{linear_attention_c8: there is 'write', expected all or none of 'write' and 'erase'}}
  %0:2 = morph.linear_attention %q, %q, %q write %q scale 0.5 chunk 64 : tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32> write tensor<?x?x2x4xf32>
  return
}

// -----

func.func @linear_attention_c8_beta(%q: tensor<?x?x2x4xf32>, %b: tensor<?x?x2xf32>) {
  // expected-error@below {{linear_attention_c8: there is 'beta' and 'write', expected one at most of 'beta' and 'write'}}
  %0:2 = morph.linear_attention %q, %q, %q beta %b write %q erase %q scale 0.5 chunk 64 : tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32> beta tensor<?x?x2xf32> write tensor<?x?x2x4xf32> erase tensor<?x?x2x4xf32>
  return
}

// -----

func.func @linear_attention_c9(%q: tensor<?x?x2x4xf32>, %u: tensor<4xf32>) {
  // expected-error@below {{linear_attention_c9: bonus is tensor<4xf32>, expected [H,K]}}
  %0:2 = morph.linear_attention %q, %q, %q bonus %u scale 0.5 chunk 64 : tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32> bonus tensor<4xf32>
  return
}

// -----

func.func @linear_attention_c10(%q: tensor<?x?x2x4xf32>, %s: tensor<?x2x4x8xf32>) {
  // expected-error@below {{linear_attention_c10: state is tensor<?x2x4x8xf32>, expected [B,H,K,W]: W is 8, but V + (normaliser ? 1 : 0) is 4}}
  %0:2 = morph.linear_attention %q, %q, %q state %s scale 0.5 chunk 64 : tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32> state tensor<?x2x4x8xf32>
  return
}

// -----

func.func @linear_attention_c10_normalised(%q: tensor<?x?x2x4xf32>, %s: tensor<?x2x4x4xf32>) {
  // expected-error@below {{linear_attention_c10: state is tensor<?x2x4x4xf32>, expected [B,H,K,W]: W is 4, but V + (normaliser ? 1 : 0) is 5}}
  %0:2 = morph.linear_attention %q, %q, %q state %s scale 0.5 chunk 64 normaliser 1.0e-6 : tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32> state tensor<?x2x4x4xf32>
  return
}

// -----

func.func @linear_attention_c11(%q: tensor<?x?x2x4xf32>) {
  // expected-error@below {{linear_attention_c11: chunk is 0, expected 1 to 1024}}
  %0:2 = morph.linear_attention %q, %q, %q scale 0.5 chunk 0 : tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>
  return
}

// -----

func.func @linear_attention_c12(%q: tensor<?x?x2x4xf32>) {
  // expected-error@below {{linear_attention_c12: normaliser is 0, expected a positive finite number}}
  %0:2 = morph.linear_attention %q, %q, %q scale 0.5 chunk 64 normaliser 0.0 : tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>
  return
}

// -----

func.func @short_conv_c1(%x: tensor<?x8xf32>, %weight: tensor<8x1x4xf32>) {
  // expected-error@below {{short_conv_c1: x is tensor<?x8xf32>, expected [B,T,C]}}
  %0:2 = morph.short_conv %x, %weight : tensor<?x8xf32>, tensor<8x1x4xf32>
  return
}

// -----

func.func @short_conv_c2(%x: tensor<?x?x8xf32>, %weight: tensor<8x2x4xf32>) {
  // expected-error@below {{short_conv_c2: weight is tensor<8x2x4xf32>, expected [C,1,W]: 2 where there is 1}}
  %0:2 = morph.short_conv %x, %weight : tensor<?x?x8xf32>, tensor<8x2x4xf32>
  return
}

// -----

func.func @short_conv_c2_width(%x: tensor<?x?x8xf32>, %weight: tensor<8x1x1xf32>) {
  // expected-error@below {{short_conv_c2: W is 1 in weight (tensor<8x1x1xf32>), expected 2 to 2147483647}}
  %0:2 = morph.short_conv %x, %weight : tensor<?x?x8xf32>, tensor<8x1x1xf32>
  return
}

// -----

func.func @linear_attention_c13(%q: tensor<?x?x2x4xf32>, %begins: tensor<?xi64>) {
  // expected-error@below {{linear_attention_c13: begins is tensor<?xi64>, expected [B,T]}}
  %0:2 = morph.linear_attention %q, %q, %q begins %begins scale 0.5 chunk 64 : tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32> begins tensor<?xi64>
  return
}

// -----

func.func @linear_attention_c14(%q: tensor<?x?x2x4xf32>, %state: tensor<?x2x4x4xf32>, %begins: tensor<?x?xi64>) {
  // expected-error@below {{linear_attention_c14: there is 'state' and 'begins', expected one at most of 'state' and 'begins'}}
  %0:2 = morph.linear_attention %q, %q, %q state %state begins %begins scale 0.5 chunk 64 : tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32> state tensor<?x2x4x4xf32> begins tensor<?x?xi64>
  return
}

// -----

func.func @short_conv_c4(%x: tensor<?x?x8xf32>, %weight: tensor<8x1x4xf32>, %begins: tensor<?xi64>) {
  // expected-error@below {{short_conv_c4: begins is tensor<?xi64>, expected [B,T]}}
  %0:2 = morph.short_conv %x, %weight begins %begins : tensor<?x?x8xf32>, tensor<8x1x4xf32> begins tensor<?xi64>
  return
}

// -----

func.func @short_conv_c5(%x: tensor<?x?x8xf32>, %weight: tensor<8x1x4xf32>, %state: tensor<?x3x8xf32>, %begins: tensor<?x?xi64>) {
  // expected-error@below {{short_conv_c5: there is 'state' and 'begins', expected one at most of 'state' and 'begins'}}
  %0:2 = morph.short_conv %x, %weight state %state begins %begins : tensor<?x?x8xf32>, tensor<8x1x4xf32> state tensor<?x3x8xf32> begins tensor<?x?xi64>
  return
}

// -----

func.func @short_conv_c3(%x: tensor<?x?x8xf32>, %weight: tensor<8x1x4xf32>, %state: tensor<?x4x8xf32>) {
  // expected-error@below {{short_conv_c3: state is tensor<?x4x8xf32>, expected [B,P,C]: P is 4, but W - 1 is 3}}
  %0:2 = morph.short_conv %x, %weight state %state : tensor<?x?x8xf32>, tensor<8x1x4xf32> state tensor<?x4x8xf32>
  return
}

// -----

func.func @blend_c1(%gate: tensor<1xf32>, %a: tensor<?x?x8xf32>, %b: tensor<?x?x4xf32>) {
  // expected-error@below {{blend_c1: candidates[1] is tensor<?x?x4xf32>, expected [...]: the leading dimensions are not those of candidates[0] (tensor<?x?x8xf32>)}}
  %0 = morph.blend %gate of %a, %b : tensor<1xf32>, tensor<?x?x8xf32>, tensor<?x?x4xf32>
  return
}

// -----

func.func @blend_c1_count(%gate: tensor<1xf32>, %a: tensor<?x?x8xf32>) {
  // expected-error@below {{blend_c1: got 1 candidates, expected 2 or more}}
  %0 = morph.blend %gate of %a : tensor<1xf32>, tensor<?x?x8xf32>
  return
}

// -----

func.func @blend_c2(%gate: tensor<2xf32>, %a: tensor<?x?x8xf32>) {
  // expected-error@below {{blend_c2: gate is tensor<2xf32>, expected [G]: G is 2, but the number of candidates - 1 is 1}}
  %0 = morph.blend %gate of %a, %a : tensor<2xf32>, tensor<?x?x8xf32>, tensor<?x?x8xf32>
  return
}

// -----

func.func @token_nll_c1(%logits: tensor<?x?x32xf32>, %targets: tensor<?xi64>) {
  // expected-error@below {{token_nll_c1: logits is tensor<?x?x32xf32>, expected [N,V]}}
  %0 = morph.token_nll %logits, %targets : tensor<?x?x32xf32>, tensor<?xi64>
  return
}

// -----

func.func @token_nll_c2(%logits: tensor<4x32xf32>, %targets: tensor<5xi64>) {
  // expected-error@below {{token_nll_c2: targets is tensor<5xi64>, expected [N]: N is 5, but 4 in logits (tensor<4x32xf32>)}}
  %0 = morph.token_nll %logits, %targets : tensor<4x32xf32>, tensor<5xi64>
  return
}

// -----

func.func @kl_divergence_c1(%teacher: tensor<?x32xf32>, %student: tensor<?x16xf32>) {
  // expected-error@below {{kl_divergence_c1: student is tensor<?x16xf32>, expected [N,V]: V is 16, but 32 in teacher (tensor<?x32xf32>)}}
  %0 = morph.kl_divergence %teacher, %student : tensor<?x32xf32>, tensor<?x16xf32>
  return
}

// -----

func.func @correct_c1(%logits: tensor<?x32xf32>, %targets: tensor<?x?xi64>) {
  // expected-error@below {{correct_c1: targets is tensor<?x?xi64>, expected [N]}}
  %0 = morph.correct %logits, %targets : tensor<?x32xf32>, tensor<?x?xi64>
  return
}

// -----

func.func @squared_error_c1(%x: tensor<?x?x8xf32>) {
  // expected-error@below {{squared_error_c1: normalize is 'sum', expected 'mean', 'rows' or 'relative'}}
  %0 = morph.squared_error %x, %x normalize "sum" : tensor<?x?x8xf32>
  return
}

// -----

func.func @weighted_mean_c1(%x: tensor<4xf32>, %weights: tensor<5xf32>) {
  // expected-error@below {{weighted_mean_c1: weights is tensor<5xf32>, expected [N]: N is 5, but 4 in x (tensor<4xf32>)}}
  %0 = morph.weighted_mean %x, %weights : tensor<4xf32>, tensor<5xf32>
  return
}

// -----

func.func @stack_c1(%x: tensor<1xf32>) {
  // expected-error@below {{stack_c1: scalars[0] is tensor<1xf32>, expected a scalar}}
  %0 = morph.stack %x : tensor<1xf32>
  return
}

// -----

func.func @merge_heads_c2_limit(%x: tensor<?x?x65536x65536xf32>) {
  // expected-error@below {{merge_heads_c2: E = H * D is 4294967296, expected 1 to 2147483647}}
  %0 = morph.merge_heads %x : tensor<?x?x65536x65536xf32>
  return
}

// -----

func.func @attention_c7(%q: tensor<?x?x2x4xf32>, %offset: tensor<i64>) {
  // expected-error@below {{attention_c7: offset is tensor<i64>, expected [B]}}
  %0 = morph.attention %q, %q, %q offset %offset scale 0.5 : tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32> offset tensor<i64>
  return
}

// -----

func.func @attention_types(%q: tensor<?x?x2x4xf32>, %v: tensor<?x?x2x4xbf16>) {
  // expected-error@below {{'morph.attention' op failed to verify that all of {q, k, v} have same element type}}
  %0 = morph.attention %q, %q, %v scale 0.5 : tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>, tensor<?x?x2x4xbf16>
  return
}

// -----

func.func @cache_write_type(%cache: tensor<?x?x4xbf16>, %x: tensor<?x?x4xf32>, %offset: tensor<?xi64>) {
  // expected-error@below {{'morph.cache_write' op operand #1 must be ranked tensor of 32-bit float values, but got 'tensor<?x?x4xbf16>'}}
  %0 = morph.cache_write %cache, %cache offset %offset : tensor<?x?x4xbf16>, tensor<?x?x4xbf16>, tensor<?xi64>
  return
}

// -----

func.func @cache_write_c1(%cache: tensor<?xf32>, %x: tensor<?x?xf32>, %offset: tensor<?xi64>) {
  // expected-error@below {{cache_write_c1: cache is tensor<?xf32>, expected [B,S,...]}}
  %0 = morph.cache_write %cache, %x offset %offset : tensor<?xf32>, tensor<?x?xf32>, tensor<?xi64>
  return
}

// -----

func.func @cache_write_c2(%cache: tensor<?x?x2x4xf32>, %x: tensor<?x?x1x4xf32>, %offset: tensor<?xi64>) {
  // expected-error@below {{cache_write_c2: x is tensor<?x?x1x4xf32>, expected [B,T,...]: the trailing dimensions are not those of cache (tensor<?x?x2x4xf32>)}}
  %0 = morph.cache_write %cache, %x offset %offset : tensor<?x?x2x4xf32>, tensor<?x?x1x4xf32>, tensor<?xi64>
  return
}

// -----

func.func @cache_write_c3(%cache: tensor<?x?x4xf32>, %offset: tensor<i64>) {
  // expected-error@below {{cache_write_c3: offset is tensor<i64>, expected [B]}}
  %0 = morph.cache_write %cache, %cache offset %offset : tensor<?x?x4xf32>, tensor<?x?x4xf32>, tensor<i64>
  return
}

// -----

func.func @cache_write_c4(%cache: tensor<?x4x8xf32>, %x: tensor<?x5x8xf32>, %offset: tensor<?xi64>) {
  // expected-error@below {{cache_write_c4: T is 5 in x (tensor<?x5x8xf32>), expected no more than S: S is 4 in cache (tensor<?x4x8xf32>)}}
  %0 = morph.cache_write %cache, %x offset %offset : tensor<?x4x8xf32>, tensor<?x5x8xf32>, tensor<?xi64>
  return
}

// -----

func.func @cache_write_c1_limit(%x: tensor<?x9223372036854775807x4xf32>, %offset: tensor<?xi64>) {
  // expected-error@below {{cache_write_c1: cache is tensor<?x9223372036854775807x4xf32>, expected [B,S,...]: a dimension is larger than 2147483647}}
  %0 = morph.cache_write %x, %x offset %offset : tensor<?x9223372036854775807x4xf32>, tensor<?x9223372036854775807x4xf32>, tensor<?xi64>
  return
}

// -----

func.func @too_few_operands(%x: tensor<?x8xf32>) {
  // expected-error@below {{'morph.token_nll' op expected 2 operands, but found 1}}
  %0 = morph.token_nll %x : tensor<?x8xf32>
  return
}

// -----

func.func @too_many_operands(%x: tensor<?x8xf32>) {
  // expected-error@below {{'morph.silu' op expected 1 operand, but found 2}}
  %0 = morph.silu %x, %x : tensor<?x8xf32>, tensor<?x8xf32>
  return
}

// -----

func.func @accumulate_c1(%sum: tensor<?x4xf32>, %x: tensor<?x3xf32>, %share: tensor<f32>) {
  // expected-error@below {{accumulate_c1: x is tensor<?x3xf32>}}
  %0 = morph.accumulate %sum, %x, %share : tensor<?x4xf32>, tensor<?x3xf32>, tensor<f32>
  return
}

// -----

func.func @accumulate_c2(%sum: tensor<4xf32>, %share: tensor<1xf32>) {
  // expected-error@below {{accumulate_c2: share is tensor<1xf32>, expected a scalar}}
  %0 = morph.accumulate %sum, %sum, %share : tensor<4xf32>, tensor<4xf32>, tensor<1xf32>
  return
}

// -----

func.func @global_norm_c1() {
  // expected-error@below {{global_norm_c1: }}
  // expected-error@below {{failed to infer returned types}}
  %0 = "morph.global_norm"() : () -> tensor<f32>
  return
}

// -----

func.func @clip_c1(%x: tensor<4xf32>) {
  // expected-error@below {{clip_c1: norm is tensor<4xf32>, expected a scalar}}
  %0 = morph.clip %x, %x limit 1.0 : tensor<4xf32>, tensor<4xf32>
  return
}

// -----

func.func @clip_c2(%x: tensor<4xf32>, %norm: tensor<f32>) {
  // expected-error@below {{clip_c2: }}
  %0 = morph.clip %x, %norm limit 0.0 : tensor<4xf32>, tensor<f32>
  return
}

// -----

func.func @adamw_c1(%p: tensor<4xf32>, %g: tensor<3xf32>, %rate: tensor<f32>, %step: tensor<i64>) {
  // expected-error@below {{adamw_c1: gradient is tensor<3xf32>}}
  %0:3 = morph.adamw %p, %g, %p, %p, %rate, %step {beta1 = 0.9, beta2 = 0.99, epsilon = 1.0e-8, weight_decay = 0.0} : tensor<4xf32>, tensor<3xf32>, tensor<4xf32>, tensor<4xf32>, tensor<f32>, tensor<i64>
  return
}

// -----

func.func @adamw_c2(%p: tensor<4xf32>, %rate: tensor<f32>, %step: tensor<1xi64>) {
  // expected-error@below {{adamw_c2: step is tensor<1xi64>, expected a scalar}}
  %0:3 = morph.adamw %p, %p, %p, %p, %rate, %step {beta1 = 0.9, beta2 = 0.99, epsilon = 1.0e-8, weight_decay = 0.0} : tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<f32>, tensor<1xi64>
  return
}

// -----

func.func @adamw_c3(%p: tensor<4xf32>, %rate: tensor<f32>, %step: tensor<i64>) {
  // expected-error@below {{adamw_c3: }}
  %0:3 = morph.adamw %p, %p, %p, %p, %rate, %step {beta1 = 0.9, beta2 = 0.99, epsilon = -1.0, weight_decay = 0.0} : tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<f32>, tensor<i64>
  return
}

// -----

func.func @adamw_c4_beta(%p: tensor<4xf32>, %rate: tensor<f32>, %step: tensor<i64>) {
  // expected-error@below {{adamw_c4: beta1 is 1, expected a number from 0 to less than 1}}
  %0:3 = morph.adamw %p, %p, %p, %p, %rate, %step {beta1 = 1.0, beta2 = 0.99, epsilon = 1.0e-8, weight_decay = 0.0} : tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<f32>, tensor<i64>
  return
}

// -----

func.func @adamw_c4_second(%p: tensor<4xf32>, %rate: tensor<f32>, %step: tensor<i64>) {
  // expected-error@below {{adamw_c4: beta2 is -5, expected a number from 0 to less than 1}}
  %0:3 = morph.adamw %p, %p, %p, %p, %rate, %step {beta1 = 0.9, beta2 = -5.0, epsilon = 1.0e-8, weight_decay = 0.0} : tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<f32>, tensor<i64>
  return
}

// -----

func.func @adamw_c4_nan(%p: tensor<4xf32>, %rate: tensor<f32>, %step: tensor<i64>) {
  // expected-error@below {{adamw_c4: beta1 is nan, expected}}
  %0:3 = morph.adamw %p, %p, %p, %p, %rate, %step {beta1 = 0x7FF8000000000000 : f64, beta2 = 0.99, epsilon = 1.0e-8, weight_decay = 0.0} : tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<f32>, tensor<i64>
  return
}

// -----

func.func @adamw_c4_decay(%p: tensor<4xf32>, %rate: tensor<f32>, %step: tensor<i64>) {
  // expected-error@below {{adamw_c4: weight_decay is -1, expected a finite number of 0 or more}}
  %0:3 = morph.adamw %p, %p, %p, %p, %rate, %step {beta1 = 0.9, beta2 = 0.99, epsilon = 1.0e-8, weight_decay = -1.0} : tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<f32>, tensor<i64>
  return
}

// -----

func.func @adamw_c4_infinite(%p: tensor<4xf32>, %rate: tensor<f32>, %step: tensor<i64>) {
  // expected-error@below {{adamw_c4: weight_decay is inf, expected}}
  %0:3 = morph.adamw %p, %p, %p, %p, %rate, %step {beta1 = 0.9, beta2 = 0.99, epsilon = 1.0e-8, weight_decay = 0x7FF0000000000000 : f64} : tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<f32>, tensor<i64>
  return
}

// -----

func.func @position_mean_c1(%x: tensor<?xf32>) {
  // expected-error@below {{position_mean_c1: x is tensor<?xf32>, expected [B,T,...]}}
  %0 = morph.position_mean %x : tensor<?xf32>
  return
}

// -----

func.func @attention_distance_c1(%q: tensor<?x?x8xf32>, %k: tensor<?x?x2x4xf32>) {
  // expected-error@below {{attention_distance_c1: q is tensor<?x?x8xf32>, expected [B,T,H,D]}}
  %0 = morph.attention_distance %q, %k scale 0.5 : tensor<?x?x8xf32>, tensor<?x?x2x4xf32>
  return
}

// -----

func.func @attention_distance_c2(%q: tensor<?x?x2x4xf32>, %k: tensor<?x?x2x8xf32>) {
  // expected-error@below {{attention_distance_c2: k is tensor<?x?x2x8xf32>, expected [B,T,G,D]: D is 8, but 4 in q (tensor<?x?x2x4xf32>)}}
  %0 = morph.attention_distance %q, %k scale 0.5 : tensor<?x?x2x4xf32>, tensor<?x?x2x8xf32>
  return
}

// -----

func.func @attention_distance_c3(%q: tensor<?x?x4x4xf32>, %k: tensor<?x?x3x4xf32>) {
  // expected-error@below {{attention_distance_c3: H is 4 in q (tensor<?x?x4x4xf32>), expected a multiple of G: G is 3 in k (tensor<?x?x3x4xf32>)}}
  %0 = morph.attention_distance %q, %k scale 0.5 : tensor<?x?x4x4xf32>, tensor<?x?x3x4xf32>
  return
}

// -----

func.func @attention_distance_c4(%q: tensor<?x?x4x4xf32>) {
  // expected-error@below {{attention_distance_c4: window is 0, expected 1 to}}
  %0 = morph.attention_distance %q, %q scale 0.5 window 0 : tensor<?x?x4x4xf32>, tensor<?x?x4x4xf32>
  return
}

// -----

func.func @attention_distance_c5(%q: tensor<?x?x4x4xf32>) {
  // expected-error@below {{attention_distance_c5: scale is -1, expected a positive finite number}}
  %0 = morph.attention_distance %q, %q scale -1.0 : tensor<?x?x4x4xf32>, tensor<?x?x4x4xf32>
  return
}

// -----

func.func @attention_distance_c5_zero(%q: tensor<?x?x4x4xf32>) {
  // expected-error@below {{attention_distance_c5: scale is 0, expected a positive finite number}}
  %0 = morph.attention_distance %q, %q scale 0.0 : tensor<?x?x4x4xf32>, tensor<?x?x4x4xf32>
  return
}

// -----

func.func @attention_distance_c6(%q: tensor<?x?x4x4xf32>) {
  // expected-error@below {{attention_distance_c6: softcap is 0, expected a positive finite number}}
  %0 = morph.attention_distance %q, %q scale 0.5 softcap 0.0 : tensor<?x?x4x4xf32>, tensor<?x?x4x4xf32>
  return
}

// -----

func.func @top_k_softmax_c1(%x: tensor<f32>) {
  // expected-error@below {{top_k_softmax_c1: x is tensor<f32>, expected [...,E]}}
  %0 = morph.top_k_softmax %x count 1 : tensor<f32>
  return
}

// -----

func.func @top_k_softmax_c2(%x: tensor<?x4xf32>) {
  // expected-error@below {{top_k_softmax_c2: count is 5, expected 1 to 4}}
  %0 = morph.top_k_softmax %x count 5 : tensor<?x4xf32>
  return
}

// -----

func.func @experts_c1(%x: tensor<f32>, %r: tensor<4xf32>, %g: tensor<4x12x8xf32>, %d: tensor<4x8x6xf32>) {
  // expected-error@below {{experts_c1: x is tensor<f32>, expected [...,C]}}
  %0 = morph.experts %x, %r, %g, %d active 2 : tensor<f32>, tensor<4xf32>, tensor<4x12x8xf32>, tensor<4x8x6xf32>
  return
}

// -----

func.func @experts_c2(%x: tensor<?x8xf32>, %r: tensor<4xf32>, %g: tensor<4x12x8xf32>, %d: tensor<4x8x6xf32>) {
  // expected-error@below {{experts_c2: routing is tensor<4xf32>, expected [...,E]}}
  %0 = morph.experts %x, %r, %g, %d active 2 : tensor<?x8xf32>, tensor<4xf32>, tensor<4x12x8xf32>, tensor<4x8x6xf32>
  return
}

// -----

func.func @experts_c3(%x: tensor<?x8xf32>, %r: tensor<?x4xf32>, %g: tensor<4x12x8xf32>, %d: tensor<3x8x6xf32>) {
  // expected-error@below {{experts_c3: down is tensor<3x8x6xf32>, expected [E,C,F]: E is 3, but 4 in routing (tensor<?x4xf32>)}}
  %0 = morph.experts %x, %r, %g, %d active 2 : tensor<?x8xf32>, tensor<?x4xf32>, tensor<4x12x8xf32>, tensor<3x8x6xf32>
  return
}

// -----

func.func @experts_c4(%x: tensor<?x8xf32>, %r: tensor<?x4xf32>, %g: tensor<4x6x8xf32>, %d: tensor<4x8x6xf32>) {
  // expected-error@below {{experts_c4: gate_up is tensor<4x6x8xf32>, expected [E,W,C]}}
  %0 = morph.experts %x, %r, %g, %d active 2 : tensor<?x8xf32>, tensor<?x4xf32>, tensor<4x6x8xf32>, tensor<4x8x6xf32>
  return
}

// -----

func.func @experts_c5(%x: tensor<?x8xf32>, %r: tensor<?x4xf32>, %g: tensor<4x12x8xf32>, %d: tensor<4x8x6xf32>) {
  // expected-error@below {{experts_c5: active is 0, expected 1 to 4}}
  %0 = morph.experts %x, %r, %g, %d active 0 : tensor<?x8xf32>, tensor<?x4xf32>, tensor<4x12x8xf32>, tensor<4x8x6xf32>
  return
}

// -----

func.func @experts_factors(%x: tensor<?x8xbf16>, %r: tensor<?x4xf32>, %g: tensor<4x12x8xf32>, %d: tensor<4x8x6xf32>) {
  // expected-error@below {{'morph.experts' op failed to verify that all of {x, gate_up, down} have same element type}}
  %0 = morph.experts %x, %r, %g, %d active 1 : tensor<?x8xbf16>, tensor<?x4xf32>, tensor<4x12x8xf32>, tensor<4x8x6xf32>
  return
}

// -----

func.func @reverse_kl_divergence_c1(%teacher: tensor<?x32xf32>, %student: tensor<?x16xf32>) {
  // expected-error@below {{reverse_kl_divergence_c1: student is tensor<?x16xf32>, expected [N,V]: V is 16, but 32 in teacher (tensor<?x32xf32>)}}
  %0 = morph.reverse_kl_divergence %teacher, %student : tensor<?x32xf32>, tensor<?x16xf32>
  return
}

// -----

func.func @keep_top_c1(%logits: tensor<8xf32>) {
  // expected-error@below {{keep_top_c1: logits is tensor<8xf32>, expected [N,V]}}
  %0 = morph.keep_top %logits count 1 : tensor<8xf32>
  return
}

// -----

func.func @keep_top_c2(%logits: tensor<?x8xf32>) {
  // expected-error@below {{keep_top_c2: count is 9, expected 1 to 8}}
  %0 = morph.keep_top %logits count 9 : tensor<?x8xf32>
  return
}
