// SPDX-License-Identifier: Apache-2.0
// A paired model of one layer whose only candidate is softmax attention of a window: nothing is linear.
morph.model @narrow paired architecture "llama" layers 1 {
  morph.rope_table @rope [1.0] attention_factor 1.0
  morph.weight @embed : tensor<8x4xf32>
  morph.weight @a.q_proj.weight : tensor<4x4xf32>
  morph.weight @a.k_proj.weight : tensor<4x4xf32>
  morph.weight @a.v_proj.weight : tensor<4x4xf32>
  morph.weight @a.o_proj.weight : tensor<4x4xf32>
  func.func @forward(%ids: tensor<?x?xi64>) -> tensor<?x?x4xf32> {
    %table = morph.param @embed : tensor<8x4xf32>
    %x = morph.embedding %ids, %table : tensor<?x?xi64>, tensor<8x4xf32>
    %m = morph.choice layer 0 of ["full", "sliding_window"] : tensor<?x?x4xf32> {
      %f = morph.softmax_mixer %x layer 0 weights "a" heads 2 kv_heads 2 head_dim 2 rope @rope scale 1.0 : tensor<?x?x4xf32>
      morph.yield %f : tensor<?x?x4xf32>
    }, {
      %s = morph.softmax_mixer %x layer 0 weights "a" heads 2 kv_heads 2 head_dim 2 rope @rope scale 1.0 window 4 : tensor<?x?x4xf32>
      morph.yield %s : tensor<?x?x4xf32>
    }
    return %m : tensor<?x?x4xf32>
  }
  func.func @head(%rows: tensor<?x4xf32>) -> tensor<?x8xf32> {
    %table = morph.param @embed : tensor<8x4xf32>
    %logits = morph.linear %rows, %table : tensor<?x4xf32>, tensor<8x4xf32>
    return %logits : tensor<?x8xf32>
  }
}
