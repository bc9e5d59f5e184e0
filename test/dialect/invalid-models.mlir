// SPDX-License-Identifier: Apache-2.0
// Every constraint of models, symbols, mixers and choices broken. A model is named by the label it breaks.
// RUN: morph-opt %s --split-input-file --verify-diagnostics

// expected-error@below {{model_c1: `layers` is 0, expected 1 to 4096}}
morph.model @model_c1 base architecture "llama" layers 0 {
}

// -----

// expected-error@below {{model_c2: the body holds weights, gates, rope tables, mixers, functions, programs and kernels, not 'morph.ones'}}
morph.model @model_c2 base architecture "llama" layers 1 {
  // expected-note@below {{this op}}
  %0 = morph.ones
}

// -----

morph.model @init_c1 base architecture "llama" layers 1 {
  // expected-error@below {{init_c1: 'copy' needs the name of a `source` weight}}
  morph.weight @w : tensor<4xf32> init <copy>
}

// -----

morph.model @init_c2 base architecture "llama" layers 1 {
  // expected-error@below {{init_c2: 'repeat_heads' needs `heads` and `times` of 1 to 8192, got 1 and 0}}
  morph.weight @w : tensor<4xf32> init <repeat_heads, source = "s", heads = 1>
}

// -----

morph.model @init_c3 base architecture "llama" layers 1 {
  // expected-error@below {{init_c3: 'constant' needs a `value`}}
  morph.weight @w : tensor<4xf32> init <constant>
}

// -----

morph.model @init_c3_negative base architecture "llama" layers 1 {
  // expected-error@below {{init_c3: the standard deviation of 'normal' is not negative, got}}
  morph.weight @w : tensor<4xf32> init <normal, value = -1.0 : f64>
}

// -----

morph.model @init_c4 base architecture "llama" layers 1 {
  // expected-error@below {{init_c4: 'values' needs `values`}}
  morph.weight @w : tensor<4xf32> init <values>
}

// -----

morph.model @weight_c1 base architecture "llama" layers 1 {
  // expected-error@below {{weight_c1: the elements are 'i8', expected f32, f16, bf16 or f64}}
  morph.weight @w : tensor<4xi8>
}

// -----

morph.model @weight_c2 base architecture "llama" layers 1 {
  // expected-error@below {{weight_c2: a weight with `init` is new, one with `teacher_of` is the checkpoint's}}
  morph.weight @w : tensor<4xf32> init <copy, source = "s"> teacher_of "s"
}

// -----

morph.model @weight_c2_pieces base architecture "llama" layers 1 {
  // expected-error@below {{weight_c2: a weight with `init` is new, one with `teacher_of` is the checkpoint's, one with `pieces` is made of the checkpoint's}}
  morph.weight @w : tensor<4xf32> teacher_of "s" pieces [#morph.piece<"a">]
}

// -----

morph.model @weight_c5_empty base architecture "llama" layers 1 {
  // expected-error@below {{weight_c5: `pieces` is empty, expected one or more}}
  morph.weight @w : tensor<4xf32> pieces []
}

// -----

morph.model @weight_c5 base architecture "llama" layers 1 {
  // expected-error@below {{weight_c5: the pieces have 5 rows, expected the product of the first dimensions of [2,3,4]}}
  morph.weight @w : tensor<2x3x4xf32> pieces [#morph.piece<"a", rows 0 to 3>, #morph.piece<"b", rows 4 to 6>]
}

// -----

morph.model @piece_c1 base architecture "llama" layers 1 {
  // expected-error@below {{piece_c1: the tensor has no name}}
  morph.weight @w : tensor<4xf32> pieces [#morph.piece<"">]
}

// -----

morph.model @piece_c2 base architecture "llama" layers 1 {
  // expected-error@below {{piece_c2: the rows of 'a' are 4 to 4, expected a begin of 0 or more and a greater end}}
  morph.weight @w : tensor<4xf32> pieces [#morph.piece<"a", rows 4 to 4>]
}

// -----

morph.model @weight_c3_heads base architecture "llama" layers 1 {
  // expected-error@below {{weight_c3: `init` makes 6 groups of rows (heads 2, times 3), which the first dimension of 'tensor<8x4xf32>' cannot be split into}}
  morph.weight @w : tensor<8x4xf32> init <repeat_heads, source = "s", heads = 2, times = 3>
}

// -----

morph.model @weight_c3_values base architecture "llama" layers 1 {
  // expected-error@below {{weight_c3: `init` has 3 values, expected a divisor of the 8 elements of 'tensor<8xf32>'}}
  morph.weight @w : tensor<8xf32> init <values, values = [1.0, 2.0, 3.0]>
}

// -----

morph.model @gate_c1 base architecture "llama" layers 1 {
  // expected-error@below {{gate_c1: got 1 candidates, expected two or more}}
  morph.gate @g layer 0 of ["full"] value []
}

// -----

morph.model @gate_c2 base architecture "llama" layers 1 {
  // expected-error@below {{gate_c2: `value` has 2 elements, expected 1, one fewer than the candidates}}
  morph.gate @g layer 0 of ["full", "lightning"] value [0.5, 0.5]
}

// -----

morph.model @gate_c3 base architecture "llama" layers 1 {
  // expected-error@below {{gate_c3: a share is 1.5}}
  morph.gate @g layer 0 of ["full", "lightning"] value [1.5]
}

// -----

morph.model @gate_c3_sum base architecture "llama" layers 1 {
  // expected-error@below {{gate_c3: the shares sum to 1.5}}
  morph.gate @g layer 0 of ["full", "sliding_window", "lightning"] value [0.75, 0.75]
}

// -----

morph.model @rope_table_c1 base architecture "llama" layers 1 {
  // expected-error@below {{rope_table_c1: got no frequency, expected one or more}}
  morph.rope_table @r [] attention_factor 1.0
}

// -----

morph.model @rope_table_c1_value base architecture "llama" layers 1 {
  // expected-error@below {{rope_table_c1: frequency 1 is -1.0}}
  morph.rope_table @r [1.0, -1.0] attention_factor 1.0
}

// -----

morph.model @rope_table_c2 base architecture "llama" layers 1 {
  // expected-error@below {{rope_table_c2: the attention factor is 0.0}}
  morph.rope_table @r [1.0] attention_factor 0.0
}

// -----

morph.model @param_c1 base architecture "llama" layers 1 {
  func.func @f() {
    // expected-error@below {{param_c1: the model has no weight or gate @w}}
    %0 = morph.param @w : tensor<4xf32>
    return
  }
}

// -----

morph.model @param_c1_kind base architecture "llama" layers 1 {
  // expected-note@below {{@r is this}}
  morph.rope_table @r [1.0] attention_factor 1.0
  func.func @f() {
    // expected-error@below {{param_c1: the model has no weight or gate @r}}
    %0 = morph.param @r : tensor<4xf32>
    return
  }
}

// -----

morph.model @param_c2 base architecture "llama" layers 1 {
  // expected-note@below {{@w is defined here}}
  morph.weight @w : tensor<8xbf16>
  func.func @f() {
    // expected-error@below {{param_c2: the result is 'tensor<4xf32>', expected 'tensor<8xf32>'}}
    %0 = morph.param @w : tensor<4xf32>
    return
  }
}

// -----

morph.model @param_c2_gate base architecture "llama" layers 1 {
  // expected-note@below {{@g is defined here}}
  morph.gate @g layer 0 of ["full", "lightning"] value [1.0]
  func.func @f() {
    // expected-error@below {{param_c2: the result is 'tensor<2xf32>', expected 'tensor<1xf32>'}}
    %0 = morph.param @g : tensor<2xf32>
    return
  }
}

// -----

morph.model @rope_c3 base architecture "llama" layers 1 {
  func.func @f(%x: tensor<?x?x2x4xf32>) {
    // expected-error@below {{rope_c3: the model has no rope table @rope}}
    %0 = morph.rope %x table @rope : tensor<?x?x2x4xf32>
    return
  }
}

// -----

morph.model @rope_c4 base architecture "llama" layers 1 {
  // expected-note@below {{the table is defined here}}
  morph.rope_table @rope [1.0, 0.5, 0.25] attention_factor 1.0
  func.func @f(%x: tensor<?x?x2x4xf32>) {
    // expected-error@below {{rope_c4: rope table @rope turns 6 elements, but a head has 4}}
    %0 = morph.rope %x table @rope : tensor<?x?x2x4xf32>
    return
  }
}

// -----

morph.model @softmax_mixer_c1 base architecture "llama" layers 1 {
  morph.rope_table @rope [1.0, 0.01] attention_factor 1.0
  morph.weight @a.q_proj.weight : tensor<8x8xf32>
  morph.weight @a.k_proj.weight : tensor<4x8xf32>
  morph.weight @a.v_proj.weight : tensor<4x8xf32>
  morph.weight @a.o_proj.weight : tensor<8x8xf32>
  func.func @f(%x: tensor<?x?x?xf32>) {
    // expected-error@below {{softmax_mixer_c1: hidden is 'tensor<?x?x?xf32>', expected [B,T,C] with a known C}}
    %0 = morph.softmax_mixer %x layer 0 weights "a" heads 2 kv_heads 1 head_dim 4 rope @rope scale 0.5 : tensor<?x?x?xf32>
    return
  }
}

// -----

morph.model @softmax_mixer_c2 base architecture "llama" layers 1 {
  morph.rope_table @rope [1.0, 0.01] attention_factor 1.0
  morph.weight @a.q_proj.weight : tensor<8x8xf32>
  morph.weight @a.k_proj.weight : tensor<4x8xf32>
  morph.weight @a.v_proj.weight : tensor<4x8xf32>
  morph.weight @a.o_proj.weight : tensor<8x8xf32>
  func.func @f(%x: tensor<?x?x8xf32>) {
    // expected-error@below {{softmax_mixer_c2: kv_heads is 0, expected 1 to 8192}}
    %0 = morph.softmax_mixer %x layer 0 weights "a" heads 2 kv_heads 0 head_dim 4 rope @rope scale 0.5 : tensor<?x?x8xf32>
    return
  }
}

// -----

morph.model @softmax_mixer_c2_layer base architecture "llama" layers 1 {
  morph.rope_table @rope [1.0, 0.01] attention_factor 1.0
  morph.weight @a.q_proj.weight : tensor<8x8xf32>
  morph.weight @a.k_proj.weight : tensor<4x8xf32>
  morph.weight @a.v_proj.weight : tensor<4x8xf32>
  morph.weight @a.o_proj.weight : tensor<8x8xf32>
  func.func @f(%x: tensor<?x?x8xf32>) {
    // expected-error@below {{softmax_mixer_c2: the layer is -1, expected 0 to 4095}}
    %0 = morph.softmax_mixer %x layer -1 weights "a" heads 2 kv_heads 1 head_dim 4 rope @rope scale 0.5 : tensor<?x?x8xf32>
    return
  }
}

// -----

morph.model @softmax_mixer_c2_window base architecture "llama" layers 1 {
  morph.rope_table @rope [1.0, 0.01] attention_factor 1.0
  morph.weight @a.q_proj.weight : tensor<8x8xf32>
  morph.weight @a.k_proj.weight : tensor<4x8xf32>
  morph.weight @a.v_proj.weight : tensor<4x8xf32>
  morph.weight @a.o_proj.weight : tensor<8x8xf32>
  func.func @f(%x: tensor<?x?x8xf32>) {
    // expected-error@below {{softmax_mixer_c2: window is 0, expected 1 to 2147483647}}
    %0 = morph.softmax_mixer %x layer 0 weights "a" heads 2 kv_heads 1 head_dim 4 rope @rope scale 0.5 window 0 : tensor<?x?x8xf32>
    return
  }
}

// -----

morph.model @softmax_mixer_c3 base architecture "llama" layers 1 {
  morph.rope_table @rope [1.0, 0.01] attention_factor 1.0
  morph.weight @a.q_proj.weight : tensor<8x8xf32>
  morph.weight @a.k_proj.weight : tensor<4x8xf32>
  morph.weight @a.v_proj.weight : tensor<4x8xf32>
  morph.weight @a.o_proj.weight : tensor<8x8xf32>
  func.func @f(%x: tensor<?x?x8xf32>) {
    // expected-error@below {{softmax_mixer_c3: 3 heads are not a multiple of 2 key-value heads}}
    %0 = morph.softmax_mixer %x layer 0 weights "a" heads 3 kv_heads 2 head_dim 4 rope @rope scale 0.5 : tensor<?x?x8xf32>
    return
  }
}

// -----

morph.model @softmax_mixer_c4 base architecture "llama" layers 1 {
  morph.rope_table @rope [1.0, 0.01] attention_factor 1.0
  morph.weight @a.q_proj.weight : tensor<8x8xf32>
  morph.weight @a.k_proj.weight : tensor<4x8xf32>
  morph.weight @a.v_proj.weight : tensor<4x8xf32>
  morph.weight @a.o_proj.weight : tensor<8x8xf32>
  func.func @f(%x: tensor<?x?x8xf32>) {
    // expected-error@below {{softmax_mixer_c4: the model has no rope table @other}}
    %0 = morph.softmax_mixer %x layer 0 weights "a" heads 2 kv_heads 1 head_dim 4 rope @other scale 0.5 : tensor<?x?x8xf32>
    return
  }
}

// -----

morph.model @softmax_mixer_c4_length base architecture "llama" layers 1 {
  // expected-note@below {{the table is defined here}}
  morph.rope_table @rope [1.0, 0.01] attention_factor 1.0
  morph.weight @a.q_proj.weight : tensor<8x8xf32>
  morph.weight @a.k_proj.weight : tensor<4x8xf32>
  morph.weight @a.v_proj.weight : tensor<4x8xf32>
  morph.weight @a.o_proj.weight : tensor<8x8xf32>
  func.func @f(%x: tensor<?x?x8xf32>) {
    // expected-error@below {{softmax_mixer_c4: rope table @rope turns 4 elements, but a head has 2}}
    %0 = morph.softmax_mixer %x layer 0 weights "a" heads 2 kv_heads 1 head_dim 2 rope @rope scale 0.5 : tensor<?x?x8xf32>
    return
  }
}

// -----

morph.model @softmax_mixer_c5 base architecture "llama" layers 1 {
  morph.rope_table @rope [1.0, 0.01] attention_factor 1.0
  morph.weight @a.q_proj.weight : tensor<8x8xf32>
  morph.weight @a.k_proj.weight : tensor<4x8xf32>
  morph.weight @a.v_proj.weight : tensor<4x8xf32>
  morph.weight @a.o_proj.weight : tensor<8x8xf32>
  func.func @f(%x: tensor<?x?x8xf32>) {
    // expected-error@below {{softmax_mixer_c5: the model has no weight 'a.q_proj.bias', expected one of 'tensor<8xf32>'}}
    %0 = morph.softmax_mixer %x layer 0 weights "a" heads 2 kv_heads 1 head_dim 4 rope @rope scale 0.5 qkv_bias : tensor<?x?x8xf32>
    return
  }
}

// -----

morph.model @softmax_mixer_c5_shape base architecture "llama" layers 1 {
  morph.rope_table @rope [1.0, 0.01] attention_factor 1.0
  morph.weight @a.q_proj.weight : tensor<8x8xf32>
  // expected-note@below {{it is defined here}}
  morph.weight @a.k_proj.weight : tensor<4x8xf32>
  morph.weight @a.v_proj.weight : tensor<4x8xf32>
  morph.weight @a.o_proj.weight : tensor<8x8xf32>
  func.func @f(%x: tensor<?x?x8xf32>) {
    // expected-error@below {{softmax_mixer_c5: 'a.k_proj.weight' must be a weight of the shape of 'tensor<8x8xf32>'}}
    %0 = morph.softmax_mixer %x layer 0 weights "a" heads 2 kv_heads 2 head_dim 4 rope @rope scale 0.5 : tensor<?x?x8xf32>
    return
  }
}

// -----

morph.model @linear_mixer_c1 base architecture "llama" layers 1 {
  morph.mixer @lightning doc "" options [#morph.mixer_option<"chunk" = 64 : i64 in [1.0, 1024.0]>] sizes [] requires [] {
  ^bb0(%x: tensor<?x?x?xf32>):
    %w = morph.mixer_weight "q_proj.weight" ["H * D", "M"] indices ["", ""] init <copy, "q_proj.weight"> : tensor<?x?xf32>
    morph.mixer_yield %x : tensor<?x?x?xf32>
  }
  morph.rope_table @rope [1.0, 0.01] attention_factor 1.0
  morph.weight @a.q_proj.weight : tensor<8x8xf32>
  morph.weight @a.k_proj.weight : tensor<4x8xf32>
  morph.weight @a.v_proj.weight : tensor<4x8xf32>
  morph.weight @a.o_proj.weight : tensor<8x8xf32>
  func.func @f(%x: tensor<?x8xf32>) {
    // expected-error@below {{linear_mixer_c1: hidden is 'tensor<?x8xf32>', expected [B,T,C] with a known C}}
    %0 = morph.linear_mixer @lightning %x layer 0 weights "l" from "a" heads 2 source_kv_heads 1 head_dim 4 rope @rope norm_eps 1.0e-5 options {chunk = 64 : i64} : tensor<?x8xf32>
    return
  }
}

// -----

morph.model @linear_mixer_c2 base architecture "llama" layers 1 {
  morph.mixer @lightning doc "" options [#morph.mixer_option<"chunk" = 64 : i64 in [1.0, 1024.0]>] sizes [] requires [] {
  ^bb0(%x: tensor<?x?x?xf32>):
    %w = morph.mixer_weight "q_proj.weight" ["H * D", "M"] indices ["", ""] init <copy, "q_proj.weight"> : tensor<?x?xf32>
    morph.mixer_yield %x : tensor<?x?x?xf32>
  }
  morph.rope_table @rope [1.0, 0.01] attention_factor 1.0
  morph.weight @a.q_proj.weight : tensor<8x8xf32>
  morph.weight @a.k_proj.weight : tensor<4x8xf32>
  morph.weight @a.v_proj.weight : tensor<4x8xf32>
  morph.weight @a.o_proj.weight : tensor<8x8xf32>
  func.func @f(%x: tensor<?x?x8xf32>) {
    // expected-error@below {{linear_mixer_c2: head_dim is 0, expected 1 to 8192}}
    %0 = morph.linear_mixer @lightning %x layer 0 weights "l" from "a" heads 2 source_kv_heads 1 head_dim 0 rope @rope norm_eps 1.0e-5 options {chunk = 64 : i64} : tensor<?x?x8xf32>
    return
  }
}

// -----

morph.model @linear_mixer_c3 base architecture "llama" layers 1 {
  morph.mixer @lightning doc "" options [#morph.mixer_option<"chunk" = 64 : i64 in [1.0, 1024.0]>] sizes [] requires [] {
  ^bb0(%x: tensor<?x?x?xf32>):
    %w = morph.mixer_weight "q_proj.weight" ["H * D", "M"] indices ["", ""] init <copy, "q_proj.weight"> : tensor<?x?xf32>
    morph.mixer_yield %x : tensor<?x?x?xf32>
  }
  morph.rope_table @rope [1.0, 0.01] attention_factor 1.0
  morph.weight @a.q_proj.weight : tensor<8x8xf32>
  morph.weight @a.k_proj.weight : tensor<4x8xf32>
  morph.weight @a.v_proj.weight : tensor<4x8xf32>
  morph.weight @a.o_proj.weight : tensor<8x8xf32>
  func.func @f(%x: tensor<?x?x8xf32>) {
    // expected-error@below {{linear_mixer_c3: 2 heads are not a multiple of 3 key-value heads}}
    %0 = morph.linear_mixer @lightning %x layer 0 weights "l" from "a" heads 2 source_kv_heads 3 head_dim 4 rope @rope norm_eps 1.0e-5 options {chunk = 64 : i64} : tensor<?x?x8xf32>
    return
  }
}

// -----

morph.model @linear_mixer_c4 base architecture "llama" layers 1 {
  morph.mixer @lightning doc "" options [#morph.mixer_option<"chunk" = 64 : i64 in [1.0, 1024.0]>] sizes [] requires [] {
  ^bb0(%x: tensor<?x?x?xf32>):
    %w = morph.mixer_weight "q_proj.weight" ["H * D", "M"] indices ["", ""] init <copy, "q_proj.weight"> : tensor<?x?xf32>
    morph.mixer_yield %x : tensor<?x?x?xf32>
  }
  morph.rope_table @rope [1.0, 0.01] attention_factor 1.0
  morph.weight @a.q_proj.weight : tensor<8x8xf32>
  morph.weight @a.k_proj.weight : tensor<4x8xf32>
  morph.weight @a.v_proj.weight : tensor<4x8xf32>
  morph.weight @a.o_proj.weight : tensor<8x8xf32>
  func.func @f(%x: tensor<?x?x8xf32>) {
    // expected-error@below {{linear_mixer_c4: the model has no rope table @other}}
    %0 = morph.linear_mixer @lightning %x layer 0 weights "l" from "a" heads 2 source_kv_heads 1 head_dim 4 rope @other norm_eps 1.0e-5 options {chunk = 64 : i64} : tensor<?x?x8xf32>
    return
  }
}

// -----

morph.model @linear_mixer_c5 base architecture "llama" layers 1 {
  morph.mixer @lightning doc "" options [#morph.mixer_option<"chunk" = 64 : i64 in [1.0, 1024.0]>] sizes [] requires [] {
  ^bb0(%x: tensor<?x?x?xf32>):
    %w = morph.mixer_weight "q_proj.weight" ["H * D", "M"] indices ["", ""] init <copy, "q_proj.weight"> : tensor<?x?xf32>
    morph.mixer_yield %x : tensor<?x?x?xf32>
  }
  morph.rope_table @rope [1.0, 0.01] attention_factor 1.0
  morph.weight @a.q_proj.weight : tensor<8x8xf32>
  morph.weight @a.k_proj.weight : tensor<4x8xf32>
  morph.weight @a.v_proj.weight : tensor<4x8xf32>
  morph.weight @a.o_proj.weight : tensor<8x8xf32>
  func.func @f(%x: tensor<?x?x8xf32>) {
    // expected-error@below {{linear_mixer_c5: the model has no weight 'l.q_proj.weight', expected one of 'tensor<8x8xf32>'}}
    %0 = morph.linear_mixer @lightning %x layer 0 weights "l" from "a" heads 2 source_kv_heads 1 head_dim 4 rope @rope norm_eps 1.0e-5 options {chunk = 64 : i64} : tensor<?x?x8xf32>
    return
  }
}

// -----

morph.model @linear_mixer_c6 base architecture "llama" layers 1 {
  morph.rope_table @rope [1.0, 0.01] attention_factor 1.0
  morph.weight @a.q_proj.weight : tensor<8x8xf32>
  morph.weight @a.k_proj.weight : tensor<4x8xf32>
  morph.weight @a.v_proj.weight : tensor<4x8xf32>
  morph.weight @a.o_proj.weight : tensor<8x8xf32>
  func.func @f(%x: tensor<?x?x8xf32>) {
    // expected-error@below {{linear_mixer_c6: the model declares no mixer @lightening}}
    %0 = morph.linear_mixer @lightening %x layer 0 weights "l" from "a" heads 2 source_kv_heads 1 head_dim 4 rope @rope norm_eps 1.0e-5 options {chunk = 64 : i64} : tensor<?x?x8xf32>
    return
  }
}

// -----

morph.model @linear_mixer_c7_unknown base architecture "llama" layers 1 {
  morph.mixer @lightning doc "" options [#morph.mixer_option<"chunk" = 64 : i64 in [1.0, 1024.0]>] sizes [] requires [] {
  ^bb0(%x: tensor<?x?x?xf32>):
    %w = morph.mixer_weight "q_proj.weight" ["H * D", "M"] indices ["", ""] init <copy, "q_proj.weight"> : tensor<?x?xf32>
    morph.mixer_yield %x : tensor<?x?x?xf32>
  }
  morph.rope_table @rope [1.0, 0.01] attention_factor 1.0
  morph.weight @a.q_proj.weight : tensor<8x8xf32>
  morph.weight @a.k_proj.weight : tensor<4x8xf32>
  morph.weight @a.v_proj.weight : tensor<4x8xf32>
  morph.weight @a.o_proj.weight : tensor<8x8xf32>
  func.func @f(%x: tensor<?x?x8xf32>) {
    // expected-error@below {{linear_mixer_c7: 'lightning' has no option 'conv'}}
    %0 = morph.linear_mixer @lightning %x layer 0 weights "l" from "a" heads 2 source_kv_heads 1 head_dim 4 rope @rope norm_eps 1.0e-5 options {chunk = 64 : i64, conv = 4 : i64} : tensor<?x?x8xf32>
    return
  }
}

// -----

morph.model @linear_mixer_c7_type base architecture "llama" layers 1 {
  morph.mixer @lightning doc "" options [#morph.mixer_option<"chunk" = 64 : i64 in [1.0, 1024.0]>] sizes [] requires [] {
  ^bb0(%x: tensor<?x?x?xf32>):
    %w = morph.mixer_weight "q_proj.weight" ["H * D", "M"] indices ["", ""] init <copy, "q_proj.weight"> : tensor<?x?xf32>
    morph.mixer_yield %x : tensor<?x?x?xf32>
  }
  morph.rope_table @rope [1.0, 0.01] attention_factor 1.0
  morph.weight @a.q_proj.weight : tensor<8x8xf32>
  morph.weight @a.k_proj.weight : tensor<4x8xf32>
  morph.weight @a.v_proj.weight : tensor<4x8xf32>
  morph.weight @a.o_proj.weight : tensor<8x8xf32>
  func.func @f(%x: tensor<?x?x8xf32>) {
    // expected-error@below {{linear_mixer_c7: option 'chunk' of 'lightning' is 64 : i32, expected a whole number: 1 to 1024}}
    %0 = morph.linear_mixer @lightning %x layer 0 weights "l" from "a" heads 2 source_kv_heads 1 head_dim 4 rope @rope norm_eps 1.0e-5 options {chunk = 64 : i32} : tensor<?x?x8xf32>
    return
  }
}

// -----

morph.model @linear_mixer_c7_limits base architecture "llama" layers 1 {
  morph.mixer @lightning doc "" options [#morph.mixer_option<"chunk" = 64 : i64 in [1.0, 1024.0]>] sizes [] requires [] {
  ^bb0(%x: tensor<?x?x?xf32>):
    %w = morph.mixer_weight "q_proj.weight" ["H * D", "M"] indices ["", ""] init <copy, "q_proj.weight"> : tensor<?x?xf32>
    morph.mixer_yield %x : tensor<?x?x?xf32>
  }
  morph.rope_table @rope [1.0, 0.01] attention_factor 1.0
  morph.weight @a.q_proj.weight : tensor<8x8xf32>
  morph.weight @a.k_proj.weight : tensor<4x8xf32>
  morph.weight @a.v_proj.weight : tensor<4x8xf32>
  morph.weight @a.o_proj.weight : tensor<8x8xf32>
  func.func @f(%x: tensor<?x?x8xf32>) {
    // expected-error@below {{linear_mixer_c7: option 'chunk' of 'lightning' is 0, expected a whole number: 1 to 1024}}
    %0 = morph.linear_mixer @lightning %x layer 0 weights "l" from "a" heads 2 source_kv_heads 1 head_dim 4 rope @rope norm_eps 1.0e-5 options {chunk = 0 : i64} : tensor<?x?x8xf32>
    return
  }
}

// -----

morph.model @linear_mixer_c7_missing base architecture "llama" layers 1 {
  morph.mixer @lightning doc "" options [#morph.mixer_option<"chunk" = 64 : i64 in [1.0, 1024.0]>] sizes [] requires [] {
  ^bb0(%x: tensor<?x?x?xf32>):
    %w = morph.mixer_weight "q_proj.weight" ["H * D", "M"] indices ["", ""] init <copy, "q_proj.weight"> : tensor<?x?xf32>
    morph.mixer_yield %x : tensor<?x?x?xf32>
  }
  morph.rope_table @rope [1.0, 0.01] attention_factor 1.0
  morph.weight @a.q_proj.weight : tensor<8x8xf32>
  morph.weight @a.k_proj.weight : tensor<4x8xf32>
  morph.weight @a.v_proj.weight : tensor<4x8xf32>
  morph.weight @a.o_proj.weight : tensor<8x8xf32>
  func.func @f(%x: tensor<?x?x8xf32>) {
    // expected-error@below {{linear_mixer_c7: option 'chunk' of 'lightning' is missing}}
    %0 = morph.linear_mixer @lightning %x layer 0 weights "l" from "a" heads 2 source_kv_heads 1 head_dim 4 rope @rope norm_eps 1.0e-5 options {} : tensor<?x?x8xf32>
    return
  }
}

// -----

morph.model @choice_c1 base architecture "llama" layers 1 {
  morph.rope_table @rope [1.0, 0.01] attention_factor 1.0
  morph.weight @a.q_proj.weight : tensor<8x8xf32>
  morph.weight @a.k_proj.weight : tensor<4x8xf32>
  morph.weight @a.v_proj.weight : tensor<4x8xf32>
  morph.weight @a.o_proj.weight : tensor<8x8xf32>
  func.func @f(%x: tensor<?x?x8xf32>) {
    // expected-error@below {{choice_c1: got 1 candidates, expected two or more}}
    %m = morph.choice layer 0 of ["full"] : tensor<?x?x8xf32> {
      %a = morph.softmax_mixer %x layer 0 weights "a" heads 2 kv_heads 1 head_dim 4 rope @rope scale 0.5 : tensor<?x?x8xf32>
      morph.yield %a : tensor<?x?x8xf32>
    }
    return
  }
}

// -----

morph.model @choice_c1_twice base architecture "llama" layers 1 {
  morph.rope_table @rope [1.0, 0.01] attention_factor 1.0
  morph.weight @a.q_proj.weight : tensor<8x8xf32>
  morph.weight @a.k_proj.weight : tensor<4x8xf32>
  morph.weight @a.v_proj.weight : tensor<4x8xf32>
  morph.weight @a.o_proj.weight : tensor<8x8xf32>
  func.func @f(%x: tensor<?x?x8xf32>) {
    // expected-error@below {{choice_c1: candidate "full" is there twice}}
    %m = morph.choice layer 0 of ["full", "full"] : tensor<?x?x8xf32> {
      %a = morph.softmax_mixer %x layer 0 weights "a" heads 2 kv_heads 1 head_dim 4 rope @rope scale 0.5 : tensor<?x?x8xf32>
      morph.yield %a : tensor<?x?x8xf32>
    }, {
      %a = morph.softmax_mixer %x layer 0 weights "a" heads 2 kv_heads 1 head_dim 4 rope @rope scale 0.5 : tensor<?x?x8xf32>
      morph.yield %a : tensor<?x?x8xf32>
    }
    return
  }
}

// -----

morph.model @choice_c1_regions base architecture "llama" layers 1 {
  morph.rope_table @rope [1.0, 0.01] attention_factor 1.0
  morph.weight @a.q_proj.weight : tensor<8x8xf32>
  morph.weight @a.k_proj.weight : tensor<4x8xf32>
  morph.weight @a.v_proj.weight : tensor<4x8xf32>
  morph.weight @a.o_proj.weight : tensor<8x8xf32>
  func.func @f(%x: tensor<?x?x8xf32>) {
    // expected-error@below {{choice_c1: got 2 candidates and 1 regions, expected a region each}}
    %m = morph.choice layer 0 of ["full", "lightning"] : tensor<?x?x8xf32> {
      %a = morph.softmax_mixer %x layer 0 weights "a" heads 2 kv_heads 1 head_dim 4 rope @rope scale 0.5 : tensor<?x?x8xf32>
      morph.yield %a : tensor<?x?x8xf32>
    }
    return
  }
}

// -----

morph.model @choice_c2 base architecture "llama" layers 1 {
  morph.rope_table @rope [1.0, 0.01] attention_factor 1.0
  morph.weight @a.q_proj.weight : tensor<8x8xf32>
  morph.weight @a.k_proj.weight : tensor<4x8xf32>
  morph.weight @a.v_proj.weight : tensor<4x8xf32>
  morph.weight @a.o_proj.weight : tensor<8x8xf32>
  func.func @f(%x: tensor<?x?x8xf32>) {
    // expected-error@below {{choice_c2: candidate "lightning" does not end with a 'morph.yield' of 'tensor<?x?x8xf32>'}}
    %m = morph.choice layer 0 of ["full", "lightning"] : tensor<?x?x8xf32> {
      %a = morph.softmax_mixer %x layer 0 weights "a" heads 2 kv_heads 1 head_dim 4 rope @rope scale 0.5 : tensor<?x?x8xf32>
      morph.yield %a : tensor<?x?x8xf32>
    }, {
      %c = morph.param @a.q_proj.weight : tensor<8x8xf32>
      // expected-note@below {{it ends here}}
      morph.yield %c : tensor<8x8xf32>
    }
    return
  }
}

// -----

morph.model @choice_c3 base architecture "llama" layers 1 {
  morph.rope_table @rope [1.0, 0.01] attention_factor 1.0
  morph.weight @a.q_proj.weight : tensor<8x8xf32>
  morph.weight @a.k_proj.weight : tensor<4x8xf32>
  morph.weight @a.v_proj.weight : tensor<4x8xf32>
  morph.weight @a.o_proj.weight : tensor<8x8xf32>
  func.func @f(%x: tensor<?x?x8xf32>) {
    // expected-error@below {{choice_c3: candidate "lightning" holds 0 token mixers, expected one}}
    %m = morph.choice layer 0 of ["full", "lightning"] : tensor<?x?x8xf32> {
      %a = morph.softmax_mixer %x layer 0 weights "a" heads 2 kv_heads 1 head_dim 4 rope @rope scale 0.5 : tensor<?x?x8xf32>
      morph.yield %a : tensor<?x?x8xf32>
    }, {
      morph.yield %x : tensor<?x?x8xf32>
    }
    return
  }
}

// -----

morph.model @choice_c3_two base architecture "llama" layers 1 {
  morph.mixer @lightning doc "" options [#morph.mixer_option<"chunk" = 64 : i64 in [1.0, 1024.0]>] sizes [] requires [] {
  ^bb0(%x: tensor<?x?x?xf32>):
    %w = morph.mixer_weight "q_proj.weight" ["H * D", "M"] indices ["", ""] init <copy, "q_proj.weight"> : tensor<?x?xf32>
    morph.mixer_yield %x : tensor<?x?x?xf32>
  }
  morph.rope_table @rope [1.0, 0.01] attention_factor 1.0
  morph.weight @a.q_proj.weight : tensor<8x8xf32>
  morph.weight @a.k_proj.weight : tensor<4x8xf32>
  morph.weight @a.v_proj.weight : tensor<4x8xf32>
  morph.weight @a.o_proj.weight : tensor<8x8xf32>
  func.func @f(%x: tensor<?x?x8xf32>) {
    // expected-error@below {{choice_c3: candidate "full" holds 2 token mixers, expected one}}
    %m = morph.choice layer 0 of ["full", "lightning"] : tensor<?x?x8xf32> {
      // expected-note@below {{a token mixer}}
      %b = morph.softmax_mixer %x layer 0 weights "a" heads 2 kv_heads 1 head_dim 4 rope @rope scale 0.5 : tensor<?x?x8xf32>
      // expected-note@below {{a token mixer}}
      %a = morph.softmax_mixer %x layer 0 weights "a" heads 2 kv_heads 1 head_dim 4 rope @rope scale 0.5 : tensor<?x?x8xf32>
      morph.yield %a : tensor<?x?x8xf32>
    }, {
      %a = morph.linear_mixer @lightning %x layer 0 weights "l" from "a" heads 2 source_kv_heads 1 head_dim 4 rope @rope norm_eps 1.0e-5 options {chunk = 64 : i64} : tensor<?x?x8xf32>
      morph.yield %a : tensor<?x?x8xf32>
    }
    return
  }
}

// -----

morph.model @choice_c3_layer base architecture "llama" layers 1 {
  morph.mixer @lightning doc "" options [#morph.mixer_option<"chunk" = 64 : i64 in [1.0, 1024.0]>] sizes [] requires [] {
  ^bb0(%x: tensor<?x?x?xf32>):
    %w = morph.mixer_weight "q_proj.weight" ["H * D", "M"] indices ["", ""] init <copy, "q_proj.weight"> : tensor<?x?xf32>
    morph.mixer_yield %x : tensor<?x?x?xf32>
  }
  morph.rope_table @rope [1.0, 0.01] attention_factor 1.0
  morph.weight @a.q_proj.weight : tensor<8x8xf32>
  morph.weight @a.k_proj.weight : tensor<4x8xf32>
  morph.weight @a.v_proj.weight : tensor<4x8xf32>
  morph.weight @a.o_proj.weight : tensor<8x8xf32>
  func.func @f(%x: tensor<?x?x8xf32>) {
    // expected-error@below {{choice_c3: candidate "lightning" is a mixer of layer 3, expected layer 0}}
    %m = morph.choice layer 0 of ["full", "lightning"] : tensor<?x?x8xf32> {
      %a = morph.softmax_mixer %x layer 0 weights "a" heads 2 kv_heads 1 head_dim 4 rope @rope scale 0.5 : tensor<?x?x8xf32>
      morph.yield %a : tensor<?x?x8xf32>
    }, {
      // expected-note@below {{this mixer}}
      %a = morph.linear_mixer @lightning %x layer 3 weights "l" from "a" heads 2 source_kv_heads 1 head_dim 4 rope @rope norm_eps 1.0e-5 options {chunk = 64 : i64} : tensor<?x?x8xf32>
      morph.yield %a : tensor<?x?x8xf32>
    }
    return
  }
}

// -----

morph.model @choice_c4 base architecture "llama" layers 1 {
  morph.mixer @lightning doc "" options [#morph.mixer_option<"chunk" = 64 : i64 in [1.0, 1024.0]>] sizes [] requires [] {
  ^bb0(%x: tensor<?x?x?xf32>):
    %w = morph.mixer_weight "q_proj.weight" ["H * D", "M"] indices ["", ""] init <copy, "q_proj.weight"> : tensor<?x?xf32>
    morph.mixer_yield %x : tensor<?x?x?xf32>
  }
  morph.rope_table @rope [1.0, 0.01] attention_factor 1.0
  morph.weight @a.q_proj.weight : tensor<8x8xf32>
  morph.weight @a.k_proj.weight : tensor<4x8xf32>
  morph.weight @a.v_proj.weight : tensor<4x8xf32>
  morph.weight @a.o_proj.weight : tensor<8x8xf32>
  func.func @f(%x: tensor<?x?x8xf32>) {
    // expected-error@below {{choice_c4: candidate "gated_deltanet" is a mixer of kind 'lightning'}}
    %m = morph.choice layer 0 of ["full", "gated_deltanet"] : tensor<?x?x8xf32> {
      %a = morph.softmax_mixer %x layer 0 weights "a" heads 2 kv_heads 1 head_dim 4 rope @rope scale 0.5 : tensor<?x?x8xf32>
      morph.yield %a : tensor<?x?x8xf32>
    }, {
      // expected-note@below {{this mixer}}
      %a = morph.linear_mixer @lightning %x layer 0 weights "l" from "a" heads 2 source_kv_heads 1 head_dim 4 rope @rope norm_eps 1.0e-5 options {chunk = 64 : i64} : tensor<?x?x8xf32>
      morph.yield %a : tensor<?x?x8xf32>
    }
    return
  }
}

// -----

morph.model @choice_c4_first base architecture "llama" layers 1 {
  morph.mixer @lightning doc "" options [#morph.mixer_option<"chunk" = 64 : i64 in [1.0, 1024.0]>] sizes [] requires [] {
  ^bb0(%x: tensor<?x?x?xf32>):
    %w = morph.mixer_weight "q_proj.weight" ["H * D", "M"] indices ["", ""] init <copy, "q_proj.weight"> : tensor<?x?xf32>
    morph.mixer_yield %x : tensor<?x?x?xf32>
  }
  morph.rope_table @rope [1.0, 0.01] attention_factor 1.0
  morph.weight @a.q_proj.weight : tensor<8x8xf32>
  morph.weight @a.k_proj.weight : tensor<4x8xf32>
  morph.weight @a.v_proj.weight : tensor<4x8xf32>
  morph.weight @a.o_proj.weight : tensor<8x8xf32>
  func.func @f(%x: tensor<?x?x8xf32>) {
    // expected-error@below {{choice_c4: candidate "lightning" is a mixer of kind 'lightning'}}
    %m = morph.choice layer 0 of ["lightning", "full"] : tensor<?x?x8xf32> {
      // expected-note@below {{the first candidate must be the layer's softmax attention}}
      %a = morph.linear_mixer @lightning %x layer 0 weights "l" from "a" heads 2 source_kv_heads 1 head_dim 4 rope @rope norm_eps 1.0e-5 options {chunk = 64 : i64} : tensor<?x?x8xf32>
      morph.yield %a : tensor<?x?x8xf32>
    }, {
      %a = morph.softmax_mixer %x layer 0 weights "a" heads 2 kv_heads 1 head_dim 4 rope @rope scale 0.5 : tensor<?x?x8xf32>
      morph.yield %a : tensor<?x?x8xf32>
    }
    return
  }
}

// -----

// expected-error@below {{model_c1: `layers` is 1000000000000, expected 1 to 4096}}
morph.model @model_c1_limit base architecture "llama" layers 1000000000000 {
}

// -----

morph.model @model_c3 base architecture "llama" layers 1 {
  func.func @f() {
    // expected-error@below {{model_c3: a model is not within another model}}
    morph.model @inner base architecture "llama" layers 1 {
    }
    return
  }
}

// -----

// expected-error@below {{model_c4: a function has more than one block, expected a straight line}}
morph.model @model_c4 base architecture "llama" layers 1 {
  // expected-note@below {{this function}}
  func.func @f() {
    return
  ^bb1:
    return
  }
}

// -----

morph.model @init_c2_wrap base architecture "llama" layers 1 {
  // expected-error@below {{init_c2: 'repeat_heads' needs `heads` and `times` of 1 to 8192, got 4294967296 and 4294967296}}
  morph.weight @w : tensor<8x4xf32> init <repeat_heads, source = "s", heads = 4294967296, times = 4294967296>
}

// -----

morph.model @init_c3_infinite base architecture "llama" layers 1 {
  // expected-error@below {{init_c3: the value of 'constant' is}}
  morph.weight @w : tensor<4xf32> init <constant, value = 0x7FF0000000000000 : f64>
}

// -----

morph.model @init_c4_infinite base architecture "llama" layers 1 {
  // expected-error@below {{init_c4: one of the `values` is not a finite number}}
  morph.weight @w : tensor<4xf32> init <values, values = [1.0, 0x7FF0000000000000]>
}

// -----

morph.model @weight_c4 base architecture "llama" layers 1 {
  // expected-error@below {{weight_c4: the type is 'tensor<2147483647x2147483647xf32>', expected dimensions of 1 to 2147483647 and at most 8796093022208 elements}}
  morph.weight @w : tensor<2147483647x2147483647xf32>
}

// -----

morph.model @weight_c4_empty base architecture "llama" layers 1 {
  // expected-error@below {{weight_c4: the type is 'tensor<0x4xf32>'}}
  morph.weight @w : tensor<0x4xf32>
}

// -----

morph.model @gate_c4 base architecture "llama" layers 1 {
  // expected-error@below {{gate_c4: the layer is -1, expected 0 to 4095}}
  morph.gate @g layer -1 of ["full", "lightning"] value [1.0]
}

// -----

morph.model @softmax_mixer_c1_result base architecture "llama" layers 1 {
  morph.rope_table @rope [1.0, 0.01] attention_factor 1.0
  morph.weight @a.q_proj.weight : tensor<8x8xf32>
  morph.weight @a.k_proj.weight : tensor<4x8xf32>
  morph.weight @a.v_proj.weight : tensor<4x8xf32>
  morph.weight @a.o_proj.weight : tensor<8x8xf32>
  func.func @f(%x: tensor<?x?x8xf32>) {
    // expected-error@below {{softmax_mixer_c1: the result is 'tensor<1x?x8xf32>', expected hidden's 'tensor<?x?x8xf32>'}}
    %0 = "morph.softmax_mixer"(%x) <{head_dim = 4 : i64, heads = 2 : i64, kv_heads = 1 : i64, layer = 0 : i64, prefix = "a", rope = @rope, scale = 5.000000e-01 : f64}> : (tensor<?x?x8xf32>) -> tensor<1x?x8xf32>
    return
  }
}

// -----

morph.model @softmax_mixer_c2_limit base architecture "llama" layers 1 {
  morph.rope_table @rope [1.0, 0.01] attention_factor 1.0
  morph.weight @a.q_proj.weight : tensor<8x8xf32>
  morph.weight @a.k_proj.weight : tensor<4x8xf32>
  morph.weight @a.v_proj.weight : tensor<4x8xf32>
  morph.weight @a.o_proj.weight : tensor<8x8xf32>
  func.func @f(%x: tensor<?x?x8xf32>) {
    // expected-error@below {{softmax_mixer_c2: heads is 4294967296, expected 1 to 8192}}
    %0 = morph.softmax_mixer %x layer 0 weights "a" heads 4294967296 kv_heads 1 head_dim 4 rope @rope scale 0.5 : tensor<?x?x8xf32>
    return
  }
}

// -----

morph.model @softmax_mixer_c6 base architecture "llama" layers 1 {
  morph.rope_table @rope [1.0, 0.01] attention_factor 1.0
  morph.weight @a.q_proj.weight : tensor<8x8xf32>
  morph.weight @a.k_proj.weight : tensor<4x8xf32>
  morph.weight @a.v_proj.weight : tensor<4x8xf32>
  morph.weight @a.o_proj.weight : tensor<8x8xf32>
  func.func @f(%x: tensor<?x?x8xf32>) {
    // expected-error@below {{softmax_mixer_c6: qk_norm is 0.0}}
    %0 = morph.softmax_mixer %x layer 0 weights "a" heads 2 kv_heads 1 head_dim 4 rope @rope scale 0.5 qk_norm 0.0 : tensor<?x?x8xf32>
    return
  }
}

// -----

morph.model @softmax_mixer_c6_softcap base architecture "llama" layers 1 {
  morph.weight @a.q_proj.weight : tensor<8x8xf32>
  morph.weight @a.k_proj.weight : tensor<4x8xf32>
  morph.weight @a.v_proj.weight : tensor<4x8xf32>
  morph.weight @a.o_proj.weight : tensor<8x8xf32>
  func.func @f(%x: tensor<?x?x8xf32>) {
    // expected-error@below {{softmax_mixer_c6: softcap is 0.0}}
    %0 = morph.softmax_mixer %x layer 0 weights "a" heads 2 kv_heads 1 head_dim 4 scale 0.5 softcap 0.0 : tensor<?x?x8xf32>
    return
  }
}

// -----

morph.model @softmax_mixer_c6_offset base architecture "llama" layers 1 {
  morph.weight @a.q_proj.weight : tensor<8x8xf32>
  morph.weight @a.k_proj.weight : tensor<4x8xf32>
  morph.weight @a.v_proj.weight : tensor<4x8xf32>
  morph.weight @a.o_proj.weight : tensor<8x8xf32>
  func.func @f(%x: tensor<?x?x8xf32>) {
    // expected-error@below {{softmax_mixer_c6: qk_norm_offset is}}
    %0 = morph.softmax_mixer %x layer 0 weights "a" heads 2 kv_heads 1 head_dim 4 scale 0.5 qk_norm 1.0e-6 qk_norm_offset 0x7FF0000000000000 : tensor<?x?x8xf32>
    return
  }
}

// -----

morph.model @softmax_mixer_c5_wide base architecture "olmo2" layers 1 {
  morph.weight @a.q_proj.weight : tensor<8x8xf32>
  morph.weight @a.k_proj.weight : tensor<4x8xf32>
  morph.weight @a.v_proj.weight : tensor<4x8xf32>
  morph.weight @a.o_proj.weight : tensor<8x8xf32>
  // expected-note@below {{it is defined here}}
  morph.weight @a.q_norm.weight : tensor<4xf32>
  morph.weight @a.k_norm.weight : tensor<4xf32>
  func.func @f(%x: tensor<?x?x8xf32>) {
    // expected-error@below {{softmax_mixer_c5: 'a.q_norm.weight' must be a weight of the shape of 'tensor<8xf32>'}}
    %0 = morph.softmax_mixer %x layer 0 weights "a" heads 2 kv_heads 1 head_dim 4 scale 0.5 qk_norm 1.0e-6 qk_norm_wide : tensor<?x?x8xf32>
    return
  }
}

// -----

morph.model @softmax_mixer_c6_scale base architecture "llama" layers 1 {
  morph.rope_table @rope [1.0, 0.01] attention_factor 1.0
  morph.weight @a.q_proj.weight : tensor<8x8xf32>
  morph.weight @a.k_proj.weight : tensor<4x8xf32>
  morph.weight @a.v_proj.weight : tensor<4x8xf32>
  morph.weight @a.o_proj.weight : tensor<8x8xf32>
  func.func @f(%x: tensor<?x?x8xf32>) {
    // expected-error@below {{softmax_mixer_c6: the scale is}}
    %0 = morph.softmax_mixer %x layer 0 weights "a" heads 2 kv_heads 1 head_dim 4 rope @rope scale 0x7FF0000000000000 : tensor<?x?x8xf32>
    return
  }
}

// -----

morph.model @softmax_mixer_c6_negative base architecture "llama" layers 1 {
  morph.weight @a.q_proj.weight : tensor<8x8xf32>
  morph.weight @a.k_proj.weight : tensor<4x8xf32>
  morph.weight @a.v_proj.weight : tensor<4x8xf32>
  morph.weight @a.o_proj.weight : tensor<8x8xf32>
  func.func @f(%x: tensor<?x?x8xf32>) {
    // expected-error@below {{softmax_mixer_c6: the scale is -1.0}}
    %0 = morph.softmax_mixer %x layer 0 weights "a" heads 2 kv_heads 1 head_dim 4 scale -1.0 : tensor<?x?x8xf32>
    return
  }
}

// -----

morph.model @softmax_mixer_c6_zero base architecture "llama" layers 1 {
  morph.weight @a.q_proj.weight : tensor<8x8xf32>
  morph.weight @a.k_proj.weight : tensor<4x8xf32>
  morph.weight @a.v_proj.weight : tensor<4x8xf32>
  morph.weight @a.o_proj.weight : tensor<8x8xf32>
  func.func @f(%x: tensor<?x?x8xf32>) {
    // expected-error@below {{softmax_mixer_c6: the scale is 0.0}}
    %0 = morph.softmax_mixer %x layer 0 weights "a" heads 2 kv_heads 1 head_dim 4 scale 0.0 : tensor<?x?x8xf32>
    return
  }
}

// -----

morph.model @linear_mixer_c1_result base architecture "llama" layers 1 {
  morph.mixer @lightning doc "" options [#morph.mixer_option<"chunk" = 64 : i64 in [1.0, 1024.0]>] sizes [] requires [] {
  ^bb0(%x: tensor<?x?x?xf32>):
    %w = morph.mixer_weight "q_proj.weight" ["H * D", "M"] indices ["", ""] init <copy, "q_proj.weight"> : tensor<?x?xf32>
    morph.mixer_yield %x : tensor<?x?x?xf32>
  }
  morph.rope_table @rope [1.0, 0.01] attention_factor 1.0
  morph.weight @a.q_proj.weight : tensor<8x8xf32>
  morph.weight @a.k_proj.weight : tensor<4x8xf32>
  morph.weight @a.v_proj.weight : tensor<4x8xf32>
  morph.weight @a.o_proj.weight : tensor<8x8xf32>
  func.func @f(%x: tensor<?x?x8xf32>) {
    // expected-error@below {{linear_mixer_c1: the result is 'tensor<1x?x8xf32>'}}
    %0 = "morph.linear_mixer"(%x) <{head_dim = 4 : i64, heads = 2 : i64, layer = 0 : i64, mixer = @lightning, norm_eps = 1.0e-5 : f64, options = {chunk = 64 : i64}, prefix = "l", rope = @rope, source = "a", source_kv_heads = 1 : i64}> : (tensor<?x?x8xf32>) -> tensor<1x?x8xf32>
    return
  }
}

// -----

morph.model @linear_mixer_c2_limit base architecture "llama" layers 1 {
  morph.mixer @lightning doc "" options [#morph.mixer_option<"chunk" = 64 : i64 in [1.0, 1024.0]>] sizes [] requires [] {
  ^bb0(%x: tensor<?x?x?xf32>):
    %w = morph.mixer_weight "q_proj.weight" ["H * D", "M"] indices ["", ""] init <copy, "q_proj.weight"> : tensor<?x?xf32>
    morph.mixer_yield %x : tensor<?x?x?xf32>
  }
  morph.rope_table @rope [1.0, 0.01] attention_factor 1.0
  morph.weight @a.q_proj.weight : tensor<8x8xf32>
  morph.weight @a.k_proj.weight : tensor<4x8xf32>
  morph.weight @a.v_proj.weight : tensor<4x8xf32>
  morph.weight @a.o_proj.weight : tensor<8x8xf32>
  func.func @f(%x: tensor<?x?x8xf32>) {
    // expected-error@below {{linear_mixer_c2: heads is 4294967296, expected 1 to 8192}}
    %0 = morph.linear_mixer @lightning %x layer 0 weights "l" from "a" heads 4294967296 source_kv_heads 1 head_dim 4 rope @rope norm_eps 1.0e-5 options {chunk = 64 : i64} : tensor<?x?x8xf32>
    return
  }
}

// -----

morph.model @linear_mixer_c8 base architecture "llama" layers 1 {
  morph.mixer @lightning doc "" options [#morph.mixer_option<"chunk" = 64 : i64 in [1.0, 1024.0]>] sizes [] requires [] {
  ^bb0(%x: tensor<?x?x?xf32>):
    %w = morph.mixer_weight "q_proj.weight" ["H * D", "M"] indices ["", ""] init <copy, "q_proj.weight"> : tensor<?x?xf32>
    morph.mixer_yield %x : tensor<?x?x?xf32>
  }
  morph.rope_table @rope [1.0, 0.01] attention_factor 1.0
  morph.weight @a.q_proj.weight : tensor<8x8xf32>
  morph.weight @a.k_proj.weight : tensor<4x8xf32>
  morph.weight @a.v_proj.weight : tensor<4x8xf32>
  morph.weight @a.o_proj.weight : tensor<8x8xf32>
  func.func @f(%x: tensor<?x?x8xf32>) {
    // expected-error@below {{linear_mixer_c8: norm_eps is -1.0}}
    %0 = morph.linear_mixer @lightning %x layer 0 weights "l" from "a" heads 2 source_kv_heads 1 head_dim 4 rope @rope norm_eps -1.0 options {chunk = 64 : i64} : tensor<?x?x8xf32>
    return
  }
}

// -----

morph.model @linear_mixer_c8_scale base architecture "llama" layers 1 {
  morph.mixer @lightning doc "" options [#morph.mixer_option<"chunk" = 64 : i64 in [1.0, 1024.0]>] sizes [] requires [] {
  ^bb0(%x: tensor<?x?x?xf32>):
    %w = morph.mixer_weight "q_proj.weight" ["H * D", "M"] indices ["", ""] init <copy, "q_proj.weight"> : tensor<?x?xf32>
    morph.mixer_yield %x : tensor<?x?x?xf32>
  }
  morph.rope_table @rope [1.0, 0.01] attention_factor 1.0
  morph.weight @a.q_proj.weight : tensor<8x8xf32>
  morph.weight @a.k_proj.weight : tensor<4x8xf32>
  morph.weight @a.v_proj.weight : tensor<4x8xf32>
  morph.weight @a.o_proj.weight : tensor<8x8xf32>
  func.func @f(%x: tensor<?x?x8xf32>) {
    // expected-error@below {{linear_mixer_c8: the scale is 0.0}}
    %0 = morph.linear_mixer @lightning %x layer 0 weights "l" from "a" heads 2 source_kv_heads 1 head_dim 4 rope @rope norm_eps 1.0e-5 options {chunk = 64 : i64} source_scale 0.0 : tensor<?x?x8xf32>
    return
  }
}

// -----

morph.model @choice_c2_unverified base architecture "llama" layers 1 {
  morph.mixer @lightning doc "" options [#morph.mixer_option<"chunk" = 64 : i64 in [1.0, 1024.0]>] sizes [] requires [] {
  ^bb0(%x: tensor<?x?x?xf32>):
    %w = morph.mixer_weight "q_proj.weight" ["H * D", "M"] indices ["", ""] init <copy, "q_proj.weight"> : tensor<?x?xf32>
    morph.mixer_yield %x : tensor<?x?x?xf32>
  }
  morph.rope_table @rope [1.0, 0.01] attention_factor 1.0
  morph.weight @a.q_proj.weight : tensor<8x8xf32>
  morph.weight @a.k_proj.weight : tensor<4x8xf32>
  morph.weight @a.v_proj.weight : tensor<4x8xf32>
  morph.weight @a.o_proj.weight : tensor<8x8xf32>
  func.func @f(%x: tensor<?x?x8xf32>) {
    %m = morph.choice layer 0 of ["full", "lightning"] : tensor<?x?x8xf32> {
      // A nested op without its attributes is reported, not read.
      // expected-error@below {{'morph.softmax_mixer' op requires attribute 'layer'}}
      %a = "morph.softmax_mixer"(%x) <{head_dim = 4 : i64, heads = 2 : i64, kv_heads = 1 : i64, prefix = "a", rope = @rope, scale = 5.000000e-01 : f64}> : (tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
      morph.yield %a : tensor<?x?x8xf32>
    }, {
      %b = morph.linear_mixer @lightning %x layer 0 weights "l" from "a" heads 2 source_kv_heads 1 head_dim 4 rope @rope norm_eps 1.0e-5 options {chunk = 64 : i64} : tensor<?x?x8xf32>
      morph.yield %b : tensor<?x?x8xf32>
    }
    return
  }
}

// -----

morph.model @choice_c3_nested base architecture "llama" layers 1 {
  morph.mixer @lightning doc "" options [#morph.mixer_option<"chunk" = 64 : i64 in [1.0, 1024.0]>] sizes [] requires [] {
  ^bb0(%x: tensor<?x?x?xf32>):
    %w = morph.mixer_weight "q_proj.weight" ["H * D", "M"] indices ["", ""] init <copy, "q_proj.weight"> : tensor<?x?xf32>
    morph.mixer_yield %x : tensor<?x?x?xf32>
  }
  morph.rope_table @rope [1.0, 0.01] attention_factor 1.0
  morph.weight @a.q_proj.weight : tensor<8x8xf32>
  morph.weight @a.k_proj.weight : tensor<4x8xf32>
  morph.weight @a.v_proj.weight : tensor<4x8xf32>
  morph.weight @a.o_proj.weight : tensor<8x8xf32>
  func.func @f(%x: tensor<?x?x8xf32>) {
    // expected-error@below {{choice_c3: candidate "lightning" holds 2 token mixers, expected one}}
    %m = morph.choice layer 0 of ["full", "lightning"] : tensor<?x?x8xf32> {
      %a = morph.softmax_mixer %x layer 0 weights "a" heads 2 kv_heads 1 head_dim 4 rope @rope scale 0.5 : tensor<?x?x8xf32>
      morph.yield %a : tensor<?x?x8xf32>
    }, {
      %b = morph.choice layer 0 of ["full", "lightning"] : tensor<?x?x8xf32> {
        // expected-note@below {{a token mixer}}
        %a = morph.softmax_mixer %x layer 0 weights "a" heads 2 kv_heads 1 head_dim 4 rope @rope scale 0.5 : tensor<?x?x8xf32>
        morph.yield %a : tensor<?x?x8xf32>
      }, {
        // expected-note@below {{a token mixer}}
        %a = morph.linear_mixer @lightning %x layer 0 weights "l" from "a" heads 2 source_kv_heads 1 head_dim 4 rope @rope norm_eps 1.0e-5 options {chunk = 64 : i64} : tensor<?x?x8xf32>
        morph.yield %a : tensor<?x?x8xf32>
      }
      morph.yield %b : tensor<?x?x8xf32>
    }
    return
  }
}

// -----

morph.model @choice_c5 base architecture "llama" layers 1 {
  morph.mixer @lightning doc "" options [#morph.mixer_option<"chunk" = 64 : i64 in [1.0, 1024.0]>] sizes [] requires [] {
  ^bb0(%x: tensor<?x?x?xf32>):
    %w = morph.mixer_weight "q_proj.weight" ["H * D", "M"] indices ["", ""] init <copy, "q_proj.weight"> : tensor<?x?xf32>
    morph.mixer_yield %x : tensor<?x?x?xf32>
  }
  morph.rope_table @rope [1.0, 0.01] attention_factor 1.0
  morph.weight @a.q_proj.weight : tensor<8x8xf32>
  morph.weight @a.k_proj.weight : tensor<4x8xf32>
  morph.weight @a.v_proj.weight : tensor<4x8xf32>
  morph.weight @a.o_proj.weight : tensor<8x8xf32>
  func.func @f(%x: tensor<?x?x8xf32>) {
    // expected-error@below {{choice_c5: candidate "lightning" yields another value than its mixer's}}
    %m = morph.choice layer 0 of ["full", "lightning"] : tensor<?x?x8xf32> {
      %a = morph.softmax_mixer %x layer 0 weights "a" heads 2 kv_heads 1 head_dim 4 rope @rope scale 0.5 : tensor<?x?x8xf32>
      morph.yield %a : tensor<?x?x8xf32>
    }, {
      // expected-note@below {{this mixer}}
      %b = morph.linear_mixer @lightning %x layer 0 weights "l" from "a" heads 2 source_kv_heads 1 head_dim 4 rope @rope norm_eps 1.0e-5 options {chunk = 64 : i64} : tensor<?x?x8xf32>
      // expected-note@below {{it is yielded here}}
      morph.yield %x : tensor<?x?x8xf32>
    }
    return
  }
}

// -----

morph.model @blend_c3 base architecture "llama" layers 1 {
  morph.gate @gate.0 layer 0 of ["full", "sliding_window"] value [1.0]
  // expected-note@below {{the gate @gate.1 of layer 1}}
  morph.gate @gate.1 layer 1 of ["full", "sliding_window"] value [1.0]
  morph.rope_table @rope [1.0, 0.01] attention_factor 1.0
  morph.weight @a.q_proj.weight : tensor<8x8xf32>
  morph.weight @a.k_proj.weight : tensor<4x8xf32>
  morph.weight @a.v_proj.weight : tensor<4x8xf32>
  morph.weight @a.o_proj.weight : tensor<8x8xf32>
  func.func @f(%x: tensor<?x?x8xf32>) {
    %g = morph.param @gate.1 : tensor<1xf32>
    // expected-note@below {{the candidate}}
    %a = morph.softmax_mixer %x layer 0 weights "a" heads 2 kv_heads 1 head_dim 4 rope @rope scale 0.5 : tensor<?x?x8xf32>
    %b = morph.softmax_mixer %x layer 0 weights "a" heads 2 kv_heads 1 head_dim 4 rope @rope scale 0.5 window 4 : tensor<?x?x8xf32>
    // expected-error@below {{blend_c3: candidate 'full' is a mixer of layer 0, but its gate is of layer 1}}
    %m = morph.blend %g of %a, %b : tensor<1xf32>, tensor<?x?x8xf32>, tensor<?x?x8xf32>
    return
  }
}

// -----

morph.model @blend_c3_kind base architecture "llama" layers 1 {
  // expected-note@below {{the gate @gate.0 of layer 0}}
  morph.gate @gate.0 layer 0 of ["full", "sliding_window"] value [1.0]
  morph.rope_table @rope [1.0, 0.01] attention_factor 1.0
  morph.weight @a.q_proj.weight : tensor<8x8xf32>
  morph.weight @a.k_proj.weight : tensor<4x8xf32>
  morph.weight @a.v_proj.weight : tensor<4x8xf32>
  morph.weight @a.o_proj.weight : tensor<8x8xf32>
  func.func @f(%x: tensor<?x?x8xf32>) {
    %g = morph.param @gate.0 : tensor<1xf32>
    %a = morph.softmax_mixer %x layer 0 weights "a" heads 2 kv_heads 1 head_dim 4 rope @rope scale 0.5 : tensor<?x?x8xf32>
    // expected-note@below {{the candidate}}
    %b = morph.softmax_mixer %x layer 0 weights "a" heads 2 kv_heads 1 head_dim 4 rope @rope scale 0.5 : tensor<?x?x8xf32>
    // expected-error@below {{blend_c3: candidate 'sliding_window' is a mixer of kind 'full'}}
    %m = morph.blend %g of %a, %b : tensor<1xf32>, tensor<?x?x8xf32>, tensor<?x?x8xf32>
    return
  }
}

// -----

morph.model @program_c1 base architecture "llama" layers 1 {
  // expected-error@below {{program_c1: the name of argument #1 is "x", expected a name that no other has}}
  morph.program @score(%x: tensor<f32> "x", %y: tensor<f32> "x") {
    morph.output "y" = %x : tensor<f32>
  }
}

// -----

morph.model @program_c1_empty base architecture "llama" layers 1 {
  // expected-error@below {{program_c1: the name of argument #0 is "", expected a name that no other has}}
  morph.program @score(%x: tensor<f32> "") {
    morph.output "y" = %x : tensor<f32>
  }
}

// -----

morph.model @program_c1_count base architecture "llama" layers 1 {
  // expected-error@below {{program_c1: has 1 arguments, but names 0}}
  "morph.program"() <{sym_name = "score", inputs = [], dimensions = [[]], trained = []}> ({
  ^bb0(%x: tensor<f32>):
    morph.output "y" = %x : tensor<f32>
  }) : () -> ()
}

// -----

morph.model @program_c1_kind base architecture "llama" layers 1 {
  // expected-error@below {{attribute 'inputs' failed to satisfy constraint: string array attribute}}
  "morph.program"() <{sym_name = "score", inputs = [1], dimensions = [[]], trained = []}> ({
  ^bb0(%x: tensor<f32>):
    morph.output "y" = %x : tensor<f32>
  }) : () -> ()
}

// -----

morph.model @program_c2 base architecture "llama" layers 1 {
  // expected-error@below {{program_c2: the body does not end with a morph.output}}
  morph.program @score(%x: tensor<f32> "x") {
    %y = morph.exp %x : tensor<f32>
  }
}

// -----

morph.model @program_c2_empty base architecture "llama" layers 1 {
  // expected-error@below {{expects a non-empty block}}
  morph.program @score(%x: tensor<f32> "x") {
  }
}

// -----

morph.model @program_c2_inside base architecture "llama" layers 1 {
  morph.program @score(%x: tensor<f32> "x") {
    // expected-error@below {{must be the last operation in the parent block}}
    morph.output "y" = %x : tensor<f32>
    morph.output "z" = %x : tensor<f32>
  }
}

// -----

morph.model @program_c3 base architecture "llama" layers 1 {
  // expected-error@below {{program_c3: the model has no weight or gate @w to train}}
  morph.program @gates(%x: tensor<f32> "x") trains [@w] {
    morph.output "loss" = %x : tensor<f32>
  }
}

// -----

morph.model @program_c3_table base architecture "llama" layers 1 {
  morph.rope_table @rope [1.0] attention_factor 1.0
  // expected-error@below {{program_c3: the model has no weight or gate @rope to train}}
  morph.program @gates(%x: tensor<f32> "x") trains [@rope] {
    morph.output "loss" = %x : tensor<f32>
  }
}

// -----

morph.model @program_c3_twice base architecture "llama" layers 1 {
  morph.weight @w : tensor<f32>
  // expected-error@below {{program_c3: @w is trained twice}}
  morph.program @gates(%x: tensor<f32> "x") trains [@w, @w] {
    morph.output "loss" = %x : tensor<f32>
  }
}

// -----

morph.model @program_c3_kind base architecture "llama" layers 1 {
  // expected-error@below {{attribute 'trained' failed to satisfy constraint: array of symbols}}
  "morph.program"() <{sym_name = "gates", inputs = ["x"], dimensions = [[]], trained = ["w"]}> ({
  ^bb0(%x: tensor<f32>):
    morph.output "loss" = %x : tensor<f32>
  }) : () -> ()
}

// -----

morph.model @program_c4 base architecture "llama" layers 1 {
  // expected-error@below {{program_c4: argument "x" has 2 dynamic dimensions, but names 1}}
  morph.program @score(%x: tensor<?x?xf32> "x" [B]) {
    morph.output "y" = %x : tensor<?x?xf32>
  }
}

// -----

morph.model @program_c4_count base architecture "llama" layers 1 {
  // expected-error@below {{program_c4: has 1 arguments, but names the dimensions of 2}}
  "morph.program"() <{sym_name = "score", inputs = ["x"], dimensions = [[], []], trained = []}> ({
  ^bb0(%x: tensor<f32>):
    morph.output "y" = %x : tensor<f32>
  }) : () -> ()
}

// -----

// What stands for an unknown size in the compiler's types is no name, nor is a sum.
morph.model @program_c4_unknown base architecture "llama" layers 1 {
  // expected-error@below {{program_c4: argument "x" names a dimension "?", expected a letter and letters or digits, at most 16}}
  "morph.program"() <{sym_name = "score", inputs = ["x"], dimensions = [["?"]], trained = []}> ({
  ^bb0(%x: tensor<?xf32>):
    morph.output "y" = %x : tensor<?xf32>
  }) : () -> ()
}

// -----

morph.model @program_c4_sum base architecture "llama" layers 1 {
  // expected-error@below {{program_c4: argument "x" names a dimension "S+T"}}
  "morph.program"() <{sym_name = "score", inputs = ["x"], dimensions = [["S+T"]], trained = []}> ({
  ^bb0(%x: tensor<?xf32>):
    morph.output "y" = %x : tensor<?xf32>
  }) : () -> ()
}

// -----

morph.model @program_c4_long base architecture "llama" layers 1 {
  // expected-error@below {{program_c4: argument "x" names a dimension "ABCDEFGHIJKLMNOPQ"}}
  morph.program @score(%x: tensor<?xf32> "x" [ABCDEFGHIJKLMNOPQ]) {
    morph.output "y" = %x : tensor<?xf32>
  }
}

// -----

morph.model @program_c5 base architecture "llama" layers 1 {
  // expected-error@below {{program_c5: argument "x" is 'tensor<*xf32>', expected a ranked tensor}}
  morph.program @score(%x: tensor<*xf32> "x", %y: tensor<f32> "y") {
    morph.output "y" = %y : tensor<f32>
  }
}

// -----

morph.model @program_c5_scalar base architecture "llama" layers 1 {
  // expected-error@below {{program_c5: argument "n" is 'i64', expected a ranked tensor}}
  morph.program @score(%n: i64 "n", %y: tensor<f32> "y") {
    morph.output "y" = %y : tensor<f32>
  }
}

// -----

// The types agree, the sizes that they leave open do not.
morph.model @program_c6 base architecture "llama" layers 1 {
  morph.program @score(%x: tensor<?x?x8xf32> "x" [B, T], %y: tensor<?x?x8xf32> "y" [N, T]) {
    // expected-error@below {{'morph.add' op program_c6: add_c1: rhs is [N,T,8], expected the trailing dimensions of lhs ([B,T,8])}}
    %0 = morph.add %x, %y : tensor<?x?x8xf32>, tensor<?x?x8xf32>
    morph.output "y" = %0 : tensor<?x?x8xf32>
  }
}

// -----

morph.model @program_c6_letter base architecture "llama" layers 1 {
  morph.program @score(%logits: tensor<?x32xf32> "logits" [N], %targets: tensor<?xi64> "targets" [M]) {
    // expected-error@below {{program_c6: token_nll_c2: targets is [M], expected [N]: N is M, but N in logits ([N,32])}}
    %0 = morph.token_nll %logits, %targets : tensor<?x32xf32>, tensor<?xi64>
    morph.output "nll" = %0 : tensor<?xf32>
  }
}

// -----

// A number is no name.
morph.model @program_c6_number base architecture "llama" layers 1 {
  morph.program @score(%logits: tensor<?x32xf32> "logits" [N], %targets: tensor<4xi64> "targets") {
    // expected-error@below {{program_c6: token_nll_c2: targets is [4], expected [N]: N is 4, but N in logits ([N,32])}}
    %0 = morph.token_nll %logits, %targets : tensor<?x32xf32>, tensor<4xi64>
    morph.output "nll" = %0 : tensor<4xf32>
  }
}

// -----

// Names follow from op to op: keys and values in rings of two sizes.
morph.model @program_c6_rings base architecture "llama" layers 1 {
  morph.program @decode(%k: tensor<?x?x2x4xf32> "k" [B, S], %v: tensor<?x?x2x4xf32> "v" [B, S8], %x: tensor<?x?x2x4xf32> "x" [B, T], %offset: tensor<?xi64> "offset" [B]) {
    %keys = morph.cache_write %k, %x offset %offset : tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>, tensor<?xi64>
    %values = morph.cache_write %v, %x offset %offset : tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>, tensor<?xi64>
    // expected-error@below {{program_c6: attention_c3: v is [B,S8,2,4], expected [B,S,G,D]: S is S8, but S in k ([B,S,2,4])}}
    %0 = morph.attention %x, %keys, %values offset %offset scale 0.5 : tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32> offset tensor<?xi64>
    morph.output "y" = %0 : tensor<?x?x2x4xf32>
  }
}

// -----

// Sizes but those of a batch are known when the program is made: a table's rows are not N.
morph.model @program_c6_known base architecture "llama" layers 1 {
  morph.program @score(%ids: tensor<?x?xi64> "ids" [B, T], %table: tensor<?x4xf32> "table" [N]) {
    // expected-error@below {{program_c6: embedding_c2: table is [N,4], expected [V,C]: V is N, but must be known when the program is made}}
    %0 = morph.embedding %ids, %table : tensor<?x?xi64>, tensor<?x4xf32>
    morph.output "y" = %0 : tensor<?x?x4xf32>
  }
}

// -----

// A choice gives its candidates' size.
morph.model @program_c6_choice paired architecture "llama" layers 1 {
  morph.rope_table @rope [1.0] attention_factor 1.0
  morph.weight @a.q_proj.weight : tensor<2x2xf32>
  morph.weight @a.k_proj.weight : tensor<2x2xf32>
  morph.weight @a.v_proj.weight : tensor<2x2xf32>
  morph.weight @a.o_proj.weight : tensor<2x2xf32>
  morph.program @score(%x: tensor<?x?x2xf32> "x" [B, T], %y: tensor<?x?x2xf32> "y" [N, T]) {
    %m = morph.choice layer 0 of ["full", "sliding_window"] : tensor<?x?x2xf32> {
      %f = morph.softmax_mixer %x layer 0 weights "a" heads 1 kv_heads 1 head_dim 2 rope @rope scale 1.0 : tensor<?x?x2xf32>
      morph.yield %f : tensor<?x?x2xf32>
    }, {
      %s = morph.softmax_mixer %x layer 0 weights "a" heads 1 kv_heads 1 head_dim 2 rope @rope scale 1.0 window 4 : tensor<?x?x2xf32>
      morph.yield %s : tensor<?x?x2xf32>
    }
    // expected-error@below {{program_c6: add_c1: rhs is [N,T,2], expected the trailing dimensions of lhs ([B,T,2])}}
    %0 = morph.add %m, %y : tensor<?x?x2xf32>, tensor<?x?x2xf32>
    morph.output "y" = %0 : tensor<?x?x2xf32>
  }
}

// -----

// What is made in the run has memory that the run gives away again.
morph.model @program_c7 base architecture "llama" layers 1 {
  morph.program @decode(%cache: tensor<?x?x4xf32> "cache" [B, S], %x: tensor<?x?x4xf32> "x" [B, T], %offset: tensor<?xi64> "offset" [B]) {
    %other = morph.exp %cache : tensor<?x?x4xf32>
    // expected-error@below {{program_c7: operand 'cache' is updated, but lies in no input and in no weight that the program trains}}
    %next = morph.cache_write %other, %x offset %offset : tensor<?x?x4xf32>, tensor<?x?x4xf32>, tensor<?xi64>
    morph.output "next" = %next : tensor<?x?x4xf32>
  }
}

// -----

// A weight that is not trained may be a file's.
morph.model @program_c7_frozen base architecture "llama" layers 1 {
  morph.weight @w : tensor<2x8x4xf32>
  morph.weight @v : tensor<2x8x4xf32>
  morph.program @update(%x: tensor<2x?x4xf32> "x" [T], %offset: tensor<2xi64> "offset") trains [@w] {
    %w = morph.param @w : tensor<2x8x4xf32>
    %0 = morph.cache_write %w, %x offset %offset : tensor<2x8x4xf32>, tensor<2x?x4xf32>, tensor<2xi64>
    %v = morph.param @v : tensor<2x8x4xf32>
    // expected-error@below {{program_c7: operand 'cache' is updated, but lies in no input and in no weight that the program trains}}
    %1 = morph.cache_write %v, %x offset %offset : tensor<2x8x4xf32>, tensor<2x?x4xf32>, tensor<2xi64>
    morph.output "w" = %0, "v" = %1 : tensor<2x8x4xf32>, tensor<2x8x4xf32>
  }
}

// -----

morph.model @program_c7_overlap base architecture "llama" layers 1 {
  morph.program @decode(%cache: tensor<?x?x4xf32> "cache" [B, S], %offset: tensor<?xi64> "offset" [B]) {
    // expected-error@below {{program_c7: operand 'cache' is updated, but another operand lies in the same memory}}
    %next = morph.cache_write %cache, %cache offset %offset : tensor<?x?x4xf32>, tensor<?x?x4xf32>, tensor<?xi64>
    morph.output "next" = %next : tensor<?x?x4xf32>
  }
}

// -----

// A view lies where its operand lies.
morph.model @program_c8 base architecture "llama" layers 1 {
  morph.program @decode(%cache: tensor<?x?x4xf32> "cache" [B, S], %x: tensor<?x?x4xf32> "x" [B, T], %offset: tensor<?xi64> "offset" [B]) {
    %heads = morph.split_heads %cache heads 2 : tensor<?x?x4xf32>
    %next = morph.cache_write %cache, %x offset %offset : tensor<?x?x4xf32>, tensor<?x?x4xf32>, tensor<?xi64>
    // expected-error@below {{program_c8: operand 'x' is read after 'cache_write' has updated its memory}}
    %old = morph.exp %heads : tensor<?x?x2x2xf32>
    morph.output "next" = %next, "old" = %old : tensor<?x?x4xf32>, tensor<?x?x2x2xf32>
  }
}

// -----

// Two updates of one value would be of one memory.
morph.model @program_c8_twice base architecture "llama" layers 1 {
  morph.weight @w : tensor<2x8x4xf32>
  morph.program @update(%x: tensor<2x?x4xf32> "x" [T], %offset: tensor<2xi64> "offset") trains [@w] {
    %w = morph.param @w : tensor<2x8x4xf32>
    %same = morph.param @w : tensor<2x8x4xf32>
    %0 = morph.cache_write %w, %x offset %offset : tensor<2x8x4xf32>, tensor<2x?x4xf32>, tensor<2xi64>
    // expected-error@below {{program_c8: operand 'cache' is read after 'cache_write' has updated its memory}}
    %1 = morph.cache_write %same, %x offset %offset : tensor<2x8x4xf32>, tensor<2x?x4xf32>, tensor<2xi64>
    morph.output "0" = %0, "1" = %1 : tensor<2x8x4xf32>, tensor<2x8x4xf32>
  }
}

// -----

morph.model @program_c8_output base architecture "llama" layers 1 {
  morph.program @decode(%cache: tensor<?x?x4xf32> "cache" [B, S], %x: tensor<?x?x4xf32> "x" [B, T], %offset: tensor<?xi64> "offset" [B]) {
    %next = morph.cache_write %cache, %x offset %offset : tensor<?x?x4xf32>, tensor<?x?x4xf32>, tensor<?xi64>
    // expected-error@below {{program_c8: output 'old' is read after 'cache_write' has updated its memory}}
    morph.output "next" = %next, "old" = %cache : tensor<?x?x4xf32>, tensor<?x?x4xf32>
  }
}

// -----

// A mixer reads, too.
morph.model @program_c8_mixer base architecture "llama" layers 1 {
  morph.rope_table @rope [1.0] attention_factor 1.0
  morph.weight @a.q_proj.weight : tensor<2x2xf32>
  morph.weight @a.k_proj.weight : tensor<2x2xf32>
  morph.weight @a.v_proj.weight : tensor<2x2xf32>
  morph.weight @a.o_proj.weight : tensor<2x2xf32>
  morph.program @score(%cache: tensor<?x?x2xf32> "cache" [B, S], %x: tensor<?x?x2xf32> "x" [B, T], %offset: tensor<?xi64> "offset" [B]) {
    %next = morph.cache_write %cache, %x offset %offset : tensor<?x?x2xf32>, tensor<?x?x2xf32>, tensor<?xi64>
    // expected-error@below {{program_c8: operand #0 is read after 'cache_write' has updated its memory}}
    %m = morph.softmax_mixer %cache layer 0 weights "a" heads 1 kv_heads 1 head_dim 2 rope @rope scale 1.0 : tensor<?x?x2xf32>
    morph.output "next" = %next, "m" = %m : tensor<?x?x2xf32>, tensor<?x?x2xf32>
  }
}

// -----

morph.model @output_c1 base architecture "llama" layers 1 {
  morph.program @score(%x: tensor<f32> "x") {
    // expected-error@below {{output_c1: the name of value #1 is "y", expected a name that no other has}}
    morph.output "y" = %x, "y" = %x : tensor<f32>, tensor<f32>
  }
}

// -----

morph.model @output_c1_none base architecture "llama" layers 1 {
  morph.program @score(%x: tensor<f32> "x") {
    // expected-error@below {{output_c1: has no value, expected one or more}}
    "morph.output"() <{names = []}> : () -> ()
  }
}

// -----

morph.model @output_c1_count base architecture "llama" layers 1 {
  morph.program @score(%x: tensor<f32> "x") {
    // expected-error@below {{output_c1: has 1 values, but names 2}}
    "morph.output"(%x) <{names = ["y", "z"]}> : (tensor<f32>) -> ()
  }
}

// -----

// expected-error@below {{'morph.program' op expects parent op 'morph.model'}}
morph.program @program_parent(%x: tensor<f32> "x") {
  morph.output "y" = %x : tensor<f32>
}

// -----

morph.model @program_c9 base architecture "llama" layers 1 {
  // expected-error@below {{program_c9: update is @missing, which is no other program of the model}}
  morph.program @p() update @missing {
    %one = morph.ones
    morph.output "y" = %one : tensor<f32>
  }
}

// -----

morph.model @program_c9_itself base architecture "llama" layers 1 {
  // expected-error@below {{program_c9: update is @p, which is no other program of the model}}
  morph.program @p() update @p {
    %one = morph.ones
    morph.output "y" = %one : tensor<f32>
  }
}

// -----

// Programs that update each other would be emitted without end.
morph.model @program_c9_cycle base architecture "llama" layers 1 {
  // expected-error@below {{program_c9: update is @q, which has an update of its own}}
  morph.program @p() update @q {
    %one = morph.ones
    morph.output "y" = %one : tensor<f32>
  }
  morph.program @q() update @p {
    %one = morph.ones
    morph.output "y" = %one : tensor<f32>
  }
}
