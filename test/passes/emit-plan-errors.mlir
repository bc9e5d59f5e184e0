// SPDX-License-Identifier: Apache-2.0
// RUN: morph-opt %s --morph-emit-plan="program=score output=%t.json" --split-input-file --verify-diagnostics

// expected-error @below {{has no program 'score'}}
// expected-note @below {{morph-build-score would make it}}
morph.model @no_program base architecture "llama" layers 1 {
}

// -----

morph.model @unexpanded base architecture "llama" layers 1 {
  morph.rope_table @rope [1.0] attention_factor 1.0
  morph.weight @a.q_proj.weight : tensor<2x2xf32>
  morph.weight @a.k_proj.weight : tensor<2x2xf32>
  morph.weight @a.v_proj.weight : tensor<2x2xf32>
  morph.weight @a.o_proj.weight : tensor<2x2xf32>
  func.func @score(%x: tensor<?x?x2xf32> {morph.name = "x", morph.dims = ["B", "T"]}) -> (tensor<?x?x2xf32> {morph.name = "y"}) attributes {morph.program = "score"} {
    // expected-error @below {{'morph.softmax_mixer' op is no instruction of plans}}
    // expected-note @below {{morph-expand-mixers writes token mixers in primitive ops}}
    %m = morph.softmax_mixer %x layer 0 weights "a" heads 1 kv_heads 1 head_dim 2 rope @rope scale 1.0 : tensor<?x?x2xf32>
    return %m : tensor<?x?x2xf32>
  }
}

// -----

morph.model @nameless_input base architecture "llama" layers 1 {
  // expected-error @below {{has an argument #0 without attribute morph.name}}
  func.func @score(%x: tensor<?x2xf32>) -> (tensor<?x2xf32> {morph.name = "y"}) attributes {morph.program = "score"} {
    return %x : tensor<?x2xf32>
  }
}

// -----

morph.model @nameless_dim base architecture "llama" layers 1 {
  // expected-error @below {{has an argument 'x' with 2 dynamic dimensions, but morph.dims names 1}}
  func.func @score(%x: tensor<?x?xf32> {morph.name = "x", morph.dims = ["N"]}) -> (tensor<?x?xf32> {morph.name = "y"}) attributes {morph.program = "score"} {
    return %x : tensor<?x?xf32>
  }
}

// -----

morph.model @nameless_output base architecture "llama" layers 1 {
  // expected-error @below {{has a result #0 without attribute morph.name}}
  func.func @score(%x: tensor<?x2xf32> {morph.name = "x", morph.dims = ["N"]}) -> tensor<?x2xf32> attributes {morph.program = "score"} {
    return %x : tensor<?x2xf32>
  }
}
