// SPDX-License-Identifier: Apache-2.0
// A base model small enough to read: 2 layers, hidden 16, 4 heads of 8 with 2 key-value heads, FFN 32, vocabulary 32,
// the head tied to the embedding.
morph.model @tiny_tied base architecture "llama" layers 2 {
  morph.weight @"model.embed_tokens.weight" : tensor<32x16xbf16>
  morph.weight @"model.layers.0.input_layernorm.weight" : tensor<16xbf16>
  morph.weight @"model.layers.0.self_attn.q_proj.weight" : tensor<32x16xbf16>
  morph.weight @"model.layers.0.self_attn.k_proj.weight" : tensor<16x16xbf16>
  morph.weight @"model.layers.0.self_attn.v_proj.weight" : tensor<16x16xbf16>
  morph.weight @"model.layers.0.self_attn.o_proj.weight" : tensor<16x32xbf16>
  morph.weight @"model.layers.0.post_attention_layernorm.weight" : tensor<16xbf16>
  morph.weight @"model.layers.0.mlp.gate_proj.weight" : tensor<32x16xbf16>
  morph.weight @"model.layers.0.mlp.up_proj.weight" : tensor<32x16xbf16>
  morph.weight @"model.layers.0.mlp.down_proj.weight" : tensor<16x32xbf16>
  morph.weight @"model.layers.1.input_layernorm.weight" : tensor<16xbf16>
  morph.weight @"model.layers.1.self_attn.q_proj.weight" : tensor<32x16xbf16>
  morph.weight @"model.layers.1.self_attn.k_proj.weight" : tensor<16x16xbf16>
  morph.weight @"model.layers.1.self_attn.v_proj.weight" : tensor<16x16xbf16>
  morph.weight @"model.layers.1.self_attn.o_proj.weight" : tensor<16x32xbf16>
  morph.weight @"model.layers.1.post_attention_layernorm.weight" : tensor<16xbf16>
  morph.weight @"model.layers.1.mlp.gate_proj.weight" : tensor<32x16xbf16>
  morph.weight @"model.layers.1.mlp.up_proj.weight" : tensor<32x16xbf16>
  morph.weight @"model.layers.1.mlp.down_proj.weight" : tensor<16x32xbf16>
  morph.weight @"model.norm.weight" : tensor<16xbf16>
  morph.rope_table @rope [1.0, 0.1, 0.01, 0.001] attention_factor 1.0

  func.func @forward(%ids: tensor<?x?xi64>) -> tensor<?x?x16xf32> {
    %embed = morph.param @"model.embed_tokens.weight" : tensor<32x16xf32>
    %x0 = morph.embedding %ids, %embed : tensor<?x?xi64>, tensor<32x16xf32>
    %n0 = morph.param @"model.layers.0.input_layernorm.weight" : tensor<16xf32>
    %h0 = morph.rms_norm %x0, %n0 eps 1.0e-5 : tensor<?x?x16xf32>, tensor<16xf32>
    %m0 = morph.softmax_mixer %h0 layer 0 weights "model.layers.0.self_attn" heads 4 kv_heads 2 head_dim 8 rope @rope
        scale 0.35355339059327373 : tensor<?x?x16xf32>
    %r0 = morph.add %x0, %m0 : tensor<?x?x16xf32>, tensor<?x?x16xf32>
    %pn0 = morph.param @"model.layers.0.post_attention_layernorm.weight" : tensor<16xf32>
    %f0 = morph.rms_norm %r0, %pn0 eps 1.0e-5 : tensor<?x?x16xf32>, tensor<16xf32>
    %wg0 = morph.param @"model.layers.0.mlp.gate_proj.weight" : tensor<32x16xf32>
    %wu0 = morph.param @"model.layers.0.mlp.up_proj.weight" : tensor<32x16xf32>
    %g0 = morph.linear %f0, %wg0 : tensor<?x?x16xf32>, tensor<32x16xf32>
    %u0 = morph.linear %f0, %wu0 : tensor<?x?x16xf32>, tensor<32x16xf32>
    %s0 = morph.swiglu %g0, %u0 : tensor<?x?x32xf32>
    %wd0 = morph.param @"model.layers.0.mlp.down_proj.weight" : tensor<16x32xf32>
    %d0 = morph.linear %s0, %wd0 : tensor<?x?x32xf32>, tensor<16x32xf32>
    %x1 = morph.add %r0, %d0 : tensor<?x?x16xf32>, tensor<?x?x16xf32>
    %n1 = morph.param @"model.layers.1.input_layernorm.weight" : tensor<16xf32>
    %h1 = morph.rms_norm %x1, %n1 eps 1.0e-5 : tensor<?x?x16xf32>, tensor<16xf32>
    %m1 = morph.softmax_mixer %h1 layer 1 weights "model.layers.1.self_attn" heads 4 kv_heads 2 head_dim 8 rope @rope
        scale 0.35355339059327373 : tensor<?x?x16xf32>
    %r1 = morph.add %x1, %m1 : tensor<?x?x16xf32>, tensor<?x?x16xf32>
    %pn1 = morph.param @"model.layers.1.post_attention_layernorm.weight" : tensor<16xf32>
    %f1 = morph.rms_norm %r1, %pn1 eps 1.0e-5 : tensor<?x?x16xf32>, tensor<16xf32>
    %wg1 = morph.param @"model.layers.1.mlp.gate_proj.weight" : tensor<32x16xf32>
    %wu1 = morph.param @"model.layers.1.mlp.up_proj.weight" : tensor<32x16xf32>
    %g1 = morph.linear %f1, %wg1 : tensor<?x?x16xf32>, tensor<32x16xf32>
    %u1 = morph.linear %f1, %wu1 : tensor<?x?x16xf32>, tensor<32x16xf32>
    %s1 = morph.swiglu %g1, %u1 : tensor<?x?x32xf32>
    %wd1 = morph.param @"model.layers.1.mlp.down_proj.weight" : tensor<16x32xf32>
    %d1 = morph.linear %s1, %wd1 : tensor<?x?x32xf32>, tensor<16x32xf32>
    %x2 = morph.add %r1, %d1 : tensor<?x?x16xf32>, tensor<?x?x16xf32>
    %norm = morph.param @"model.norm.weight" : tensor<16xf32>
    %y = morph.rms_norm %x2, %norm eps 1.0e-5 : tensor<?x?x16xf32>, tensor<16xf32>
    return %y : tensor<?x?x16xf32>
  }

  func.func @head(%rows: tensor<?x16xf32>) -> tensor<?x32xf32> {
    %w = morph.param @"model.embed_tokens.weight" : tensor<32x16xf32>
    %logits = morph.linear %rows, %w : tensor<?x16xf32>, tensor<32x16xf32>
    return %logits : tensor<?x32xf32>
  }
}
