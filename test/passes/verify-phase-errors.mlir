// SPDX-License-Identifier: Apache-2.0
// RUN: morph-opt %s --morph-verify-phase --split-input-file --verify-diagnostics

// expected-error @below {{has no token mixer for layer 0}}
// expected-note @below {{morph-translate makes one a layer in phase base}}
morph.model @no_mixer base architecture "llama" layers 1 {
}

// -----

// A choice before morph-pair-branches has said that the model is paired.
morph.model @choice_in_base base architecture "llama" layers 1 {
  morph.rope_table @rope [1.0] attention_factor 1.0
  morph.weight @a.q_proj.weight : tensor<2x2xf32>
  morph.weight @a.k_proj.weight : tensor<2x2xf32>
  morph.weight @a.v_proj.weight : tensor<2x2xf32>
  morph.weight @a.o_proj.weight : tensor<2x2xf32>
  func.func @forward(%x: tensor<?x?x2xf32>) -> tensor<?x?x2xf32> {
    // expected-error @below {{'morph.choice' op is not allowed in phase base}}
    // expected-note @below {{only morph-pair-branches makes it}}
    %m = morph.choice layer 0 of ["full", "sliding_window"] : tensor<?x?x2xf32> {
      %a = morph.softmax_mixer %x layer 0 weights "a" heads 1 kv_heads 1 head_dim 2 rope @rope scale 1.0 : tensor<?x?x2xf32>
      morph.yield %a : tensor<?x?x2xf32>
    }, {
      %b = morph.softmax_mixer %x layer 0 weights "a" heads 1 kv_heads 1 head_dim 2 rope @rope scale 1.0 window 4 : tensor<?x?x2xf32>
      morph.yield %b : tensor<?x?x2xf32>
    }
    return %m : tensor<?x?x2xf32>
  }
}

// -----

// A gate that morph-discretize should have removed.
morph.model @gate_in_hybrid hybrid architecture "llama" layers 1 {
  // expected-error @below {{'morph.gate' op is not allowed in phase hybrid}}
  // expected-note @below {{morph-discretize removes it}}
  morph.gate @gate.0 layer 0 of ["full", "lightning"] value [1.0]
  morph.rope_table @rope [1.0] attention_factor 1.0
  morph.weight @a.q_proj.weight : tensor<2x2xf32>
  morph.weight @a.k_proj.weight : tensor<2x2xf32>
  morph.weight @a.v_proj.weight : tensor<2x2xf32>
  morph.weight @a.o_proj.weight : tensor<2x2xf32>
  func.func @forward(%x: tensor<?x?x2xf32>) -> tensor<?x?x2xf32> {
    %a = morph.softmax_mixer %x layer 0 weights "a" heads 1 kv_heads 1 head_dim 2 rope @rope scale 1.0 : tensor<?x?x2xf32>
    return %a : tensor<?x?x2xf32>
  }
}

// -----

// A blend is left of the relaxed phase.
morph.model @blend_in_hybrid hybrid architecture "llama" layers 1 {
  morph.gate @gate.0 layer 0 of ["full", "lightning"] value [1.0]
  morph.rope_table @rope [1.0] attention_factor 1.0
  morph.weight @a.q_proj.weight : tensor<2x2xf32>
  morph.weight @a.k_proj.weight : tensor<2x2xf32>
  morph.weight @a.v_proj.weight : tensor<2x2xf32>
  morph.weight @a.o_proj.weight : tensor<2x2xf32>
  func.func @forward(%x: tensor<?x?x2xf32>) -> tensor<?x?x2xf32> {
    %a = morph.softmax_mixer %x layer 0 weights "a" heads 1 kv_heads 1 head_dim 2 rope @rope scale 1.0 : tensor<?x?x2xf32>
    %g = morph.param @gate.0 : tensor<1xf32>
    // expected-error @below {{'morph.blend' op is not allowed in phase hybrid}}
    // expected-note @below {{morph-discretize removes it}}
    %m = morph.blend %g of %a, %x : tensor<1xf32>, tensor<?x?x2xf32>, tensor<?x?x2xf32>
    return %m : tensor<?x?x2xf32>
  }
}

// -----

// A mixer that morph-pair-branches has not put into a choice.
morph.model @bare_mixer_in_paired paired architecture "llama" layers 1 {
  morph.rope_table @rope [1.0] attention_factor 1.0
  morph.mixer @plain doc "" options [] sizes [] requires [] {
  ^bb0(%x: tensor<?x?x?xf32>):
    morph.mixer_yield %x : tensor<?x?x?xf32>
  }
  func.func @forward(%x: tensor<?x?x2xf32>) -> tensor<?x?x2xf32> {
    // expected-error @below {{'morph.linear_mixer' op is outside of a choice in phase paired}}
    // expected-note @below {{morph-pair-branches puts candidates into a choice}}
    %a = morph.linear_mixer @plain %x layer 0 weights "a" from "b" heads 1 source_kv_heads 1 head_dim 2 rope @rope norm_eps 1.0e-5 options {} : tensor<?x?x2xf32>
    return %a : tensor<?x?x2xf32>
  }
}

// -----

// Two mixers of one layer.
morph.model @two_mixers base architecture "llama" layers 1 {
  morph.rope_table @rope [1.0] attention_factor 1.0
  morph.weight @a.q_proj.weight : tensor<2x2xf32>
  morph.weight @a.k_proj.weight : tensor<2x2xf32>
  morph.weight @a.v_proj.weight : tensor<2x2xf32>
  morph.weight @a.o_proj.weight : tensor<2x2xf32>
  func.func @forward(%x: tensor<?x?x2xf32>) -> tensor<?x?x2xf32> {
    // expected-note @below {{the first is here}}
    %a = morph.softmax_mixer %x layer 0 weights "a" heads 1 kv_heads 1 head_dim 2 rope @rope scale 1.0 : tensor<?x?x2xf32>
    // expected-error @below {{'morph.softmax_mixer' op is the second token mixer of layer 0}}
    // expected-note @below {{morph-translate leaves one a layer}}
    %b = morph.softmax_mixer %a layer 0 weights "a" heads 1 kv_heads 1 head_dim 2 rope @rope scale 1.0 : tensor<?x?x2xf32>
    return %b : tensor<?x?x2xf32>
  }
}

// -----

// A layer that the model does not have.
morph.model @far_layer base architecture "llama" layers 1 {
  morph.rope_table @rope [1.0] attention_factor 1.0
  morph.weight @a.q_proj.weight : tensor<2x2xf32>
  morph.weight @a.k_proj.weight : tensor<2x2xf32>
  morph.weight @a.v_proj.weight : tensor<2x2xf32>
  morph.weight @a.o_proj.weight : tensor<2x2xf32>
  func.func @forward(%x: tensor<?x?x2xf32>) -> tensor<?x?x2xf32> {
    // expected-error @below {{is of layer 5, but the model has 1 layers}}
    %a = morph.softmax_mixer %x layer 5 weights "a" heads 1 kv_heads 1 head_dim 2 rope @rope scale 1.0 : tensor<?x?x2xf32>
    return %a : tensor<?x?x2xf32>
  }
}

// -----

// A weight that morph-discretize should have removed.
morph.model @unread_weight hybrid architecture "llama" layers 1 {
  morph.rope_table @rope [1.0] attention_factor 1.0
  morph.weight @a.q_proj.weight : tensor<2x2xf32>
  morph.weight @a.k_proj.weight : tensor<2x2xf32>
  morph.weight @a.v_proj.weight : tensor<2x2xf32>
  morph.weight @a.o_proj.weight : tensor<2x2xf32>
  // expected-error @below {{'morph.weight' op is read by nothing in phase hybrid}}
  // expected-note @below {{morph-discretize removes what the hybrid does not read}}
  morph.weight @b.q_proj.weight : tensor<2x2xf32>
  func.func @forward(%x: tensor<?x?x2xf32>) -> tensor<?x?x2xf32> {
    %a = morph.softmax_mixer %x layer 0 weights "a" heads 1 kv_heads 1 head_dim 2 rope @rope scale 1.0 : tensor<?x?x2xf32>
    return %a : tensor<?x?x2xf32>
  }
}

// -----

// What weighs the candidates must be a gate: it says which layer the blend decides.
morph.model @ungated relaxed architecture "llama" layers 1 {
  morph.weight @g : tensor<1xf32>
  morph.rope_table @rope [1.0] attention_factor 1.0
  morph.weight @a.q_proj.weight : tensor<2x2xf32>
  morph.weight @a.k_proj.weight : tensor<2x2xf32>
  morph.weight @a.v_proj.weight : tensor<2x2xf32>
  morph.weight @a.o_proj.weight : tensor<2x2xf32>
  func.func @forward(%x: tensor<?x?x2xf32>) -> tensor<?x?x2xf32> {
    %a = morph.softmax_mixer %x layer 0 weights "a" heads 1 kv_heads 1 head_dim 2 rope @rope scale 1.0 : tensor<?x?x2xf32>
    %b = morph.softmax_mixer %x layer 0 weights "a" heads 1 kv_heads 1 head_dim 2 rope @rope scale 1.0 window 4 : tensor<?x?x2xf32>
    %g = morph.param @g : tensor<1xf32>
    // expected-error @below {{'morph.blend' op is not weighted by a gate}}
    // expected-note @below {{morph-relax-gates makes one a layer}}
    %m = morph.blend %g of %a, %b : tensor<1xf32>, tensor<?x?x2xf32>, tensor<?x?x2xf32>
    return %m : tensor<?x?x2xf32>
  }
}

// -----

// A candidate that is no mixer.
morph.model @no_mixer relaxed architecture "llama" layers 1 {
  morph.gate @gate.0 layer 0 of ["full", "lightning"] value [1.0]
  morph.rope_table @rope [1.0] attention_factor 1.0
  morph.weight @a.q_proj.weight : tensor<2x2xf32>
  morph.weight @a.k_proj.weight : tensor<2x2xf32>
  morph.weight @a.v_proj.weight : tensor<2x2xf32>
  morph.weight @a.o_proj.weight : tensor<2x2xf32>
  func.func @forward(%x: tensor<?x?x2xf32>) -> tensor<?x?x2xf32> {
    %a = morph.softmax_mixer %x layer 0 weights "a" heads 1 kv_heads 1 head_dim 2 rope @rope scale 1.0 : tensor<?x?x2xf32>
    %g = morph.param @gate.0 : tensor<1xf32>
    // expected-error @below {{'morph.blend' op has a candidate that is no token mixer}}
    %m = morph.blend %g of %a, %x : tensor<1xf32>, tensor<?x?x2xf32>, tensor<?x?x2xf32>
    return %m : tensor<?x?x2xf32>
  }
}
