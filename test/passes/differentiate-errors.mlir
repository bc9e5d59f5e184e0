// SPDX-License-Identifier: Apache-2.0
// RUN: morph-opt %s --morph-differentiate --split-input-file --verify-diagnostics

morph.model @no_gradient base architecture "llama" layers 1 {
  morph.weight @table : tensor<8x4xf32>
  morph.program @program(%ids: tensor<?x?xi64> "ids" [B, T], %rows: tensor<?x4xf32> "rows" [B]) trains [@table] {
    // expected-note @below {{@table is trained and read here}}
    %t = morph.param @table : tensor<8x4xf32>
    %x = morph.embedding %ids, %t : tensor<?x?xi64>, tensor<8x4xf32>
    // expected-error @below {{'morph.last_rows' op has no gradient, but lies between a trained symbol and the loss of program 'program'}}
    %r = morph.last_rows %x : tensor<?x?x4xf32>
    %loss = morph.squared_error %r, %rows normalize "mean" : tensor<?x4xf32>
    morph.output "loss" = %loss : tensor<f32>
  }
}

// -----

morph.model @unexpanded base architecture "llama" layers 1 {
  morph.rope_table @rope [1.0] attention_factor 1.0
  morph.weight @n : tensor<2xf32>
  morph.weight @a.q_proj.weight : tensor<2x2xf32>
  morph.weight @a.k_proj.weight : tensor<2x2xf32>
  morph.weight @a.v_proj.weight : tensor<2x2xf32>
  morph.weight @a.o_proj.weight : tensor<2x2xf32>
  morph.program @program(%x: tensor<?x?x2xf32> "x" [B, T]) trains [@n] {
    // expected-note @below {{@n is trained and read here}}
    %n = morph.param @n : tensor<2xf32>
    %h = morph.rms_norm %x, %n eps 1.0e-5 : tensor<?x?x2xf32>, tensor<2xf32>
    // expected-error @below {{'morph.softmax_mixer' op has no gradient}}
    // expected-note @below {{morph-expand-mixers writes token mixers in ops that have one}}
    %m = morph.softmax_mixer %h layer 0 weights "a" heads 1 kv_heads 1 head_dim 2 rope @rope scale 1.0 : tensor<?x?x2xf32>
    %loss = morph.squared_error %m, %x normalize "mean" : tensor<?x?x2xf32>
    morph.output "loss" = %loss : tensor<f32>
  }
}

// -----

// What only a region uses counts: without it @n would get the gradient of the sum's other side alone.
morph.model @captured base architecture "llama" layers 1 {
  morph.rope_table @rope [1.0] attention_factor 1.0
  morph.weight @n : tensor<2xf32>
  morph.weight @a.q_proj.weight : tensor<2x2xf32>
  morph.weight @a.k_proj.weight : tensor<2x2xf32>
  morph.weight @a.v_proj.weight : tensor<2x2xf32>
  morph.weight @a.o_proj.weight : tensor<2x2xf32>
  morph.program @program(%x: tensor<?x?x2xf32> "x" [B, T]) trains [@n] {
    // expected-note @below {{@n is trained and read here}}
    %n = morph.param @n : tensor<2xf32>
    %h = morph.rms_norm %x, %n eps 1.0e-5 : tensor<?x?x2xf32>, tensor<2xf32>
    // expected-error @below {{'morph.choice' op has no gradient, but lies between a trained symbol and the loss of program 'program'}}
    %m = morph.choice layer 0 of ["full", "sliding_window"] : tensor<?x?x2xf32> {
      %f = morph.softmax_mixer %h layer 0 weights "a" heads 1 kv_heads 1 head_dim 2 rope @rope scale 1.0 : tensor<?x?x2xf32>
      morph.yield %f : tensor<?x?x2xf32>
    }, {
      %s = morph.softmax_mixer %h layer 0 weights "a" heads 1 kv_heads 1 head_dim 2 rope @rope scale 1.0 window 4 : tensor<?x?x2xf32>
      morph.yield %s : tensor<?x?x2xf32>
    }
    %sum = morph.add %h, %m : tensor<?x?x2xf32>, tensor<?x?x2xf32>
    %loss = morph.squared_error %sum, %x normalize "mean" : tensor<?x?x2xf32>
    morph.output "loss" = %loss : tensor<f32>
  }
}

// -----

// So does a trained weight that a mixer names.
morph.model @named base architecture "llama" layers 1 {
  morph.rope_table @rope [1.0] attention_factor 1.0
  morph.weight @a.q_proj.weight : tensor<2x2xf32>
  morph.weight @a.k_proj.weight : tensor<2x2xf32>
  morph.weight @a.v_proj.weight : tensor<2x2xf32>
  morph.weight @a.o_proj.weight : tensor<2x2xf32>
  morph.program @program(%x: tensor<?x?x2xf32> "x" [B, T]) trains [@a.q_proj.weight] {
    %q = morph.param @a.q_proj.weight : tensor<2x2xf32>
    %y = morph.linear %x, %q : tensor<?x?x2xf32>, tensor<2x2xf32>
    // expected-error @below {{'morph.softmax_mixer' op has no gradient}}
    // expected-note @below {{@a.q_proj.weight is trained and read here}}
    // expected-note @below {{morph-expand-mixers writes token mixers in ops that have one}}
    %m = morph.softmax_mixer %x layer 0 weights "a" heads 1 kv_heads 1 head_dim 2 rope @rope scale 1.0 : tensor<?x?x2xf32>
    %sum = morph.add %y, %m : tensor<?x?x2xf32>, tensor<?x?x2xf32>
    %loss = morph.squared_error %sum, %x normalize "mean" : tensor<?x?x2xf32>
    morph.output "loss" = %loss : tensor<f32>
  }
}

// -----

morph.model @unreached base architecture "llama" layers 1 {
  morph.weight @a : tensor<4xf32>
  morph.weight @b : tensor<4xf32>
  // expected-error @below {{trains @b, on which its loss does not depend}}
  morph.program @program(%x: tensor<4xf32> "x") trains [@a, @b] {
    %a = morph.param @a : tensor<4xf32>
    // expected-note @below {{it is read here}}
    %b = morph.param @b : tensor<4xf32>
    %loss = morph.squared_error %a, %x normalize "mean" : tensor<4xf32>
    morph.output "loss" = %loss : tensor<f32>
  }
}

// -----

morph.model @constant_loss base architecture "llama" layers 1 {
  morph.weight @a : tensor<4xf32>
  // expected-error @below {{has a loss that depends on no trained symbol}}
  morph.program @program(%x: tensor<4xf32> "x") trains [@a] {
    // expected-note @below {{the loss is computed here}}
    %loss = morph.squared_error %x, %x normalize "mean" : tensor<4xf32>
    morph.output "loss" = %loss : tensor<f32>
  }
}

// -----

morph.model @no_loss base architecture "llama" layers 1 {
  morph.weight @a : tensor<4xf32>
  // expected-error @below {{program @program has no output 'loss' to differentiate}}
  morph.program @program() trains [@a] {
    %a = morph.param @a : tensor<4xf32>
    morph.output "y" = %a : tensor<4xf32>
  }
}

// -----

morph.model @vector_loss base architecture "llama" layers 1 {
  morph.weight @a : tensor<4xf32>
  // expected-error @below {{has a loss of type 'tensor<4xf32>', expected tensor<f32>}}
  morph.program @program() trains [@a] {
    %a = morph.param @a : tensor<4xf32>
    morph.output "loss" = %a : tensor<4xf32>
  }
}

// -----

morph.model @twice base architecture "llama" layers 1 {
  morph.weight @a : tensor<f32>
  // expected-error @below {{program @program already has an output 'grad.a'}}
  morph.program @program() trains [@a] {
    %a = morph.param @a : tensor<f32>
    morph.output "loss" = %a, "grad.a" = %a : tensor<f32>, tensor<f32>
  }
}

// -----

// A teacher that is trained too: without its share the gradient would be wrong.
morph.model @no_share base architecture "llama" layers 1 {
  morph.weight @a : tensor<2x4xf32>
  morph.program @program(%weights: tensor<2xf32> "weights") trains [@a] {
    // expected-note @below {{the operand}}
    // expected-note @below {{@a is trained and read here}}
    %a = morph.param @a : tensor<2x4xf32>
    // expected-error @below {{'morph.kl_divergence' op gives no gradient for an operand that depends on a symbol which program 'program' trains}}
    %kl = morph.kl_divergence %a, %a : tensor<2x4xf32>, tensor<2x4xf32>
    %loss = morph.weighted_mean %kl, %weights : tensor<2xf32>, tensor<2xf32>
    morph.output "loss" = %loss : tensor<f32>
  }
}

// -----

// Keys and values of a ring are those of earlier runs.
morph.model @rings base architecture "llama" layers 1 {
  morph.weight @a : tensor<4xf32>
  morph.program @program(%cache: tensor<?x?x2x4xf32> "cache" [B, S], %x: tensor<?x?x2x4xf32> "x" [B, T], %offset: tensor<?xi64> "offset" [B]) trains [@a] {
    %a = morph.param @a : tensor<4xf32>
    %q = morph.mul %x, %a : tensor<?x?x2x4xf32>, tensor<4xf32>
    %keys = morph.cache_write %cache, %x offset %offset : tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>, tensor<?xi64>
    // expected-error @below {{'morph.attention' op has no gradient on rings}}
    %y = morph.attention %q, %keys, %keys offset %offset scale 0.5 : tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32> offset tensor<?xi64>
    %loss = morph.squared_error %y, %x normalize "mean" : tensor<?x?x2x4xf32>
    morph.output "loss" = %loss : tensor<f32>
  }
}

// -----

// What an op keeps for its backward is no result to train by, be there a gradient of the result beside it or not.
morph.model @kept_sums base architecture "llama" layers 1 {
  morph.weight @a : tensor<4xf32>
  morph.program @program(%x: tensor<?x?x2x4xf32> "x" [B, T], %sums: tensor<?x2x?xf32> "sums" [B, T]) trains [@a] {
    %a = morph.param @a : tensor<4xf32>
    %q = morph.mul %x, %a : tensor<?x?x2x4xf32>, tensor<4xf32>
    // expected-error @below {{'morph.attention' op has no gradient by what it keeps}}
    %y, %lse = morph.attention %q, %q, %q scale 0.5 keep_lse : tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>
    %own = morph.squared_error %y, %x normalize "mean" : tensor<?x?x2x4xf32>
    %other = morph.squared_error %lse, %sums normalize "mean" : tensor<?x2x?xf32>
    %loss = morph.add %own, %other : tensor<f32>, tensor<f32>
    morph.output "loss" = %loss : tensor<f32>
  }
}

// -----

morph.model @kept_sums_alone base architecture "llama" layers 1 {
  morph.weight @a : tensor<4xf32>
  morph.program @program(%x: tensor<?x?x2x4xf32> "x" [B, T], %sums: tensor<?x2x?xf32> "sums" [B, T]) trains [@a] {
    %a = morph.param @a : tensor<4xf32>
    %q = morph.mul %x, %a : tensor<?x?x2x4xf32>, tensor<4xf32>
    // expected-error @below {{'morph.attention' op has no gradient by what it keeps}}
    %y, %lse = morph.attention %q, %q, %q scale 0.5 keep_lse : tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>
    %loss = morph.squared_error %lse, %sums normalize "mean" : tensor<?x2x?xf32>
    morph.output "loss" = %loss : tensor<f32>
  }
}

// -----

morph.model @kept_values base architecture "llama" layers 1 {
  morph.weight @a : tensor<4xf32>
  morph.program @program(%x: tensor<?x?x2x4xf32> "x" [B, T]) trains [@a] {
    %a = morph.param @a : tensor<4xf32>
    %q = morph.mul %x, %a : tensor<?x?x2x4xf32>, tensor<4xf32>
    // expected-error @below {{'morph.linear_attention' op has no gradient by what it keeps}}
    %y, %state, %written = morph.linear_attention %q, %q, %q scale 0.5 chunk 64 keep_written : tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>
    %loss = morph.squared_error %written, %x normalize "mean" : tensor<?x?x2x4xf32>
    morph.output "loss" = %loss : tensor<f32>
  }
}

// -----

morph.model @kept_states_and_values base architecture "llama" layers 1 {
  morph.weight @a : tensor<4xf32>
  morph.program @program(%x: tensor<?x?x2x4xf32> "x" [B, T]) trains [@a] {
    %a = morph.param @a : tensor<4xf32>
    %q = morph.mul %x, %a : tensor<?x?x2x4xf32>, tensor<4xf32>
    // expected-error @below {{'morph.linear_attention' op has no gradient by what it keeps}}
    %y, %state, %states, %written = morph.linear_attention %q, %q, %q scale 0.5 chunk 64 keep_states keep_written : tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>
    %own = morph.squared_error %y, %x normalize "mean" : tensor<?x?x2x4xf32>
    %other = morph.squared_error %written, %x normalize "mean" : tensor<?x?x2x4xf32>
    %loss = morph.add %own, %other : tensor<f32>, tensor<f32>
    morph.output "loss" = %loss : tensor<f32>
  }
}

// -----

morph.model @statistic base architecture "llama" layers 1 {
  morph.weight @n : tensor<4xf32>
  morph.program @program(%x: tensor<?x?x4xf32> "x" [B, T]) trains [@n] {
    // expected-note @below {{@n is trained and read here}}
    %n = morph.param @n : tensor<4xf32>
    %h = morph.rms_norm %x, %n eps 1.0e-5 : tensor<?x?x4xf32>, tensor<4xf32>
    // expected-error @below {{'morph.position_mean' op has no gradient, but lies between a trained symbol and the loss of program 'program'}}
    %m = morph.position_mean %h : tensor<?x?x4xf32>
    %y = morph.mul %x, %m : tensor<?x?x4xf32>, tensor<4xf32>
    %loss = morph.squared_error %y, %x normalize "mean" : tensor<?x?x4xf32>
    morph.output "loss" = %loss : tensor<f32>
  }
}
