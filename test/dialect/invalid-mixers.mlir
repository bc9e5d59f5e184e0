// SPDX-License-Identifier: Apache-2.0
// Declarations of mixers that are not right, and linear_mixers that they do not fit.
// RUN: morph-opt %s --verify-diagnostics --split-input-file

morph.model @mixer_c1 base architecture "llama" layers 1 {
  // expected-error@below {{mixer_c1: the option 'H' is there twice, or is a size}}
  morph.mixer @m doc "" options [#morph.mixer_option<"H" = 1 : i64>] sizes [] requires [] {
  ^bb0(%x: tensor<?x?x?xf32>):
    morph.mixer_yield %x : tensor<?x?x?xf32>
  }
}

// -----

morph.model @mixer_c1_size base architecture "llama" layers 1 {
  // expected-error@below {{mixer_c1: the size 'M' is there twice, or is no name}}
  morph.mixer @m doc "" options [] sizes [#morph.formula<"M" = "D">] requires [] {
  ^bb0(%x: tensor<?x?x?xf32>):
    morph.mixer_yield %x : tensor<?x?x?xf32>
  }
}

// -----

morph.model @mixer_c2 base architecture "llama" layers 1 {
  // expected-error@below {{mixer_c2: the body does not take one argument of 'tensor<?x?x?xf32>'}}
  morph.mixer @m doc "" options [] sizes [] requires [] {
  ^bb0(%x: tensor<?x?xf32>):
    morph.mixer_yield %x : tensor<?x?xf32>
  }
}

// -----

morph.model @mixer_c2_yield base architecture "llama" layers 1 {
  // expected-error@below {{mixer_c2: the body does not end with a mixer_yield of 'tensor<?x?x?xf32>'}}
  morph.mixer @m doc "" options [] sizes [] requires [] {
  ^bb0(%x: tensor<?x?x?xf32>):
    morph.mixer_yield
  }
}

// -----

morph.model @mixer_c3 base architecture "llama" layers 1 {
  morph.mixer @m doc "" options [] sizes [] requires [] {
  ^bb0(%x: tensor<?x?x?xf32>):
    // expected-error@below {{mixer_c3: the body of a mixer cannot have this op}}
    %w = morph.param @w : tensor<4x4xf32>
    morph.mixer_yield %x : tensor<?x?x?xf32>
  }
}

// -----

morph.model @mixer_c4 base architecture "llama" layers 1 {
  morph.mixer @m doc "" options [] sizes [] requires [] {
  ^bb0(%x: tensor<?x?x?xf32>):
    %a = morph.mixer_weight "w" ["H"] indices [""] init <values, "1"> : tensor<?xf32>
    // expected-error@below {{mixer_c4: the weight 'w' is there twice, or within another op}}
    %b = morph.mixer_weight "w" ["H"] indices [""] init <values, "1"> : tensor<?xf32>
    morph.mixer_yield %x : tensor<?x?x?xf32>
  }
}

// -----

morph.model @mixer_weight_c1 base architecture "llama" layers 1 {
  morph.mixer @m doc "" options [] sizes [] requires [] {
  ^bb0(%x: tensor<?x?x?xf32>):
    // expected-error@below {{mixer_weight_c1: the type is 'tensor<?xf32>'}}
    %a = morph.mixer_weight "w" ["H", "D"] indices ["", ""] init <values, "1"> : tensor<?xf32>
    morph.mixer_yield %x : tensor<?x?x?xf32>
  }
}

// -----

morph.model @mixer_weight_c2 base architecture "llama" layers 1 {
  morph.mixer @m doc "" options [] sizes [] requires [] {
  ^bb0(%x: tensor<?x?x?xf32>):
    // expected-error@below {{mixer_weight_c2: the name is 'a/b', expected letters, digits, '_' and '.'}}
    %a = morph.mixer_weight "a/b" ["H"] indices [""] init <values, "1"> : tensor<?xf32>
    morph.mixer_yield %x : tensor<?x?x?xf32>
  }
}

// -----

morph.model @mixer_weight_c3 base architecture "llama" layers 1 {
  morph.mixer @m doc "" options [] sizes [] requires [] {
  ^bb0(%x: tensor<?x?x?xf32>):
    // expected-error@below {{mixer_weight_c3: the name is 'gate.half', but 'half' is an attribute of PyTorch's modules}}
    %a = morph.mixer_weight "gate.half" ["H"] indices [""] init <values, "1"> : tensor<?xf32>
    morph.mixer_yield %x : tensor<?x?x?xf32>
  }
}

// -----

morph.model @mixer_if_c1 base architecture "llama" layers 1 {
  morph.mixer @m doc "" options [] sizes [] requires [] {
  ^bb0(%x: tensor<?x?x?xf32>):
    // expected-error@below {{mixer_if_c1: a region does not end with a mixer_yield of 'tensor<?x?x?xf32>'}}
    %y = morph.mixer_if "H > 1" : tensor<?x?x?xf32> {
      morph.mixer_yield %x : tensor<?x?x?xf32>
    } else {
      morph.mixer_yield
    }
    morph.mixer_yield %y : tensor<?x?x?xf32>
  }
}

// -----

morph.model @mixer_split_c1 base architecture "llama" layers 1 {
  morph.mixer @m doc "" options [] sizes [] requires [] {
  ^bb0(%x: tensor<?x?x?xf32>):
    // expected-error@below {{mixer_split_c1}}
    %y = morph.mixer_split %x by "H" : tensor<?x?x?xf32> to tensor<?x?x?xf32>
    morph.mixer_yield %x : tensor<?x?x?xf32>
  }
}

// -----

morph.model @mixer_merge_c1 base architecture "llama" layers 1 {
  morph.mixer @m doc "" options [] sizes [] requires [] {
  ^bb0(%x: tensor<?x?x?xf32>):
    // expected-error@below {{mixer_merge_c1}}
    %y = morph.mixer_merge %x : tensor<?x?x?xf32> to tensor<?x?x?xf32>
    morph.mixer_yield %x : tensor<?x?x?xf32>
  }
}

// -----

morph.model @mixer_expand_c1 base architecture "llama" layers 1 {
  morph.mixer @m doc "" options [] sizes [] requires [] {
  ^bb0(%x: tensor<?x?x?xf32>):
    // expected-error@below {{mixer_expand_c1}}
    %y = morph.mixer_expand %x to "D" : tensor<?x?x?xf32> to tensor<?x?x?xf32>
    morph.mixer_yield %x : tensor<?x?x?xf32>
  }
}

// -----

morph.model @mixer_conv_c1 base architecture "llama" layers 1 {
  morph.mixer @m doc "" options [] sizes [] requires [] {
  ^bb0(%x: tensor<?x?x?xf32>):
    %w = morph.mixer_weight "w" ["M", "1", "4"] indices ["", "", ""] init <values, "1"> : tensor<?x?x?xf32>
    // expected-error@below {{mixer_conv_c1: the state is 'a.b', expected a name}}
    %y = morph.mixer_conv %x, %w state "a.b" : tensor<?x?x?xf32>, tensor<?x?x?xf32>
    morph.mixer_yield %y : tensor<?x?x?xf32>
  }
}

// -----

morph.model @mixer_recurrence_c1 base architecture "llama" layers 1 {
  morph.mixer @m doc "" options [] sizes [] requires [] {
  ^bb0(%x: tensor<?x?x?xf32>):
    %w = morph.mixer_weight "w" ["H", "D"] indices ["", ""] init <values, "0"> : tensor<?x?xf32>
    %q = morph.mixer_split %x by "H" : tensor<?x?x?xf32> to tensor<?x?x?x?xf32>
    // expected-error@below {{mixer_recurrence_c1: decay is 'tensor<?x?xf32>', expected 1, 3 or 4 dimensions}}
    %o = morph.mixer_recurrence %q, %q, %q decay %w state "state" scale "1" chunk "64" : tensor<?x?x?x?xf32>, tensor<?x?x?x?xf32>, tensor<?x?x?x?xf32> decay tensor<?x?xf32>
    morph.mixer_yield %x : tensor<?x?x?xf32>
  }
}

// -----

morph.model @mixer_recurrence_c2 base architecture "llama" layers 1 {
  morph.mixer @m doc "" options [] sizes [] requires [] {
  ^bb0(%x: tensor<?x?x?xf32>):
    %q = morph.mixer_split %x by "H" : tensor<?x?x?xf32> to tensor<?x?x?x?xf32>
    // expected-error@below {{mixer_recurrence_c2: the state is '', expected a name}}
    %o = morph.mixer_recurrence %q, %q, %q state "" scale "1" chunk "64" : tensor<?x?x?x?xf32>, tensor<?x?x?x?xf32>, tensor<?x?x?x?xf32>
    morph.mixer_yield %x : tensor<?x?x?xf32>
  }
}

// -----

morph.model @mixer_attention_c1 base architecture "llama" layers 1 {
  morph.mixer @m doc "" options [] sizes [] requires [] {
  ^bb0(%x: tensor<?x?x?xf32>):
    %q = morph.mixer_split %x by "H" : tensor<?x?x?xf32> to tensor<?x?x?x?xf32>
    // expected-error@below {{mixer_attention_c1: the states are 'k' and 'v v', expected names}}
    %o = morph.mixer_attention %q, %q, %q states "k" "v v" scale "1" : tensor<?x?x?x?xf32>, tensor<?x?x?x?xf32>, tensor<?x?x?x?xf32>
    morph.mixer_yield %x : tensor<?x?x?xf32>
  }
}

// -----

morph.model @mixer_option_c1 base architecture "llama" layers 1 {
  // expected-error@below {{mixer_option_c1: the name is 'a b', expected letters, digits and '_'}}
  morph.mixer @m doc "" options [#morph.mixer_option<"a b" = 1 : i64>] sizes [] requires [] {
  ^bb0(%x: tensor<?x?x?xf32>):
    morph.mixer_yield %x : tensor<?x?x?xf32>
  }
}

// -----

morph.model @mixer_option_c2 base architecture "llama" layers 1 {
  // expected-error@below {{mixer_option_c2: the value of 'a' is 1 : i8, expected one of type i64, f64 or i1}}
  morph.mixer @m doc "" options [#morph.mixer_option<"a" = 1 : i8>] sizes [] requires [] {
  ^bb0(%x: tensor<?x?x?xf32>):
    morph.mixer_yield %x : tensor<?x?x?xf32>
  }
}

// -----

morph.model @mixer_option_c3 base architecture "llama" layers 1 {
  // expected-error@below {{mixer_option_c3: the ranges of 'a' are not pairs of numbers that rise}}
  morph.mixer @m doc "" options [#morph.mixer_option<"a" = 1 : i64 in [2.0, 1.0]>] sizes [] requires [] {
  ^bb0(%x: tensor<?x?x?xf32>):
    morph.mixer_yield %x : tensor<?x?x?xf32>
  }
}

// -----

morph.model @mixer_option_c3_value base architecture "llama" layers 1 {
  // expected-error@below {{mixer_option_c3: the value of 'a' is in none of its ranges}}
  morph.mixer @m doc "" options [#morph.mixer_option<"a" = 1 : i64 in [2.0, 3.0]>] sizes [] requires [] {
  ^bb0(%x: tensor<?x?x?xf32>):
    morph.mixer_yield %x : tensor<?x?x?xf32>
  }
}

// -----

morph.model @mixer_init_c1 base architecture "llama" layers 1 {
  morph.mixer @m doc "" options [] sizes [] requires [] {
  ^bb0(%x: tensor<?x?x?xf32>):
    // expected-error@below {{mixer_init_c1: the kind is 'constant', expected copy, repeat_heads, normal or values}}
    %a = morph.mixer_weight "w" ["H"] indices [""] init <constant, "1"> : tensor<?xf32>
    morph.mixer_yield %x : tensor<?x?x?xf32>
  }
}

// -----

// A requirement that does not hold.
morph.model @linear_mixer_c9 base architecture "llama" layers 1 {
  morph.mixer @m doc "" options [] sizes [] requires [#morph.formula<"heads come in fours" = "H > 3">] {
  ^bb0(%x: tensor<?x?x?xf32>):
    morph.mixer_yield %x : tensor<?x?x?xf32>
  }
  morph.rope_table @rope [1.0] attention_factor 1.0
  func.func @forward(%x: tensor<?x?x8xf32>) -> tensor<?x?x8xf32> {
    // expected-error@below {{linear_mixer_c9: 'm' needs H > 3: heads come in fours}}
    %0 = morph.linear_mixer @m %x layer 0 weights "l" from "a" heads 2 source_kv_heads 1 head_dim 4 rope @rope norm_eps 1.0e-5 options {} : tensor<?x?x8xf32>
    return %0 : tensor<?x?x8xf32>
  }
}

// -----

// A body whose ops do not fit each other in this model.
morph.model @linear_mixer_c9_shape base architecture "llama" layers 1 {
  morph.mixer @m doc "" options [] sizes [] requires [] {
  ^bb0(%x: tensor<?x?x?xf32>):
    %w = morph.mixer_weight "w" ["D", "D"] indices ["", ""] init <values, "1"> : tensor<?x?xf32>
    // expected-note@below {{of @m here}}
    %y = morph.linear %x, %w : tensor<?x?x?xf32>, tensor<?x?xf32>
    morph.mixer_yield %y : tensor<?x?x?xf32>
  }
  morph.rope_table @rope [1.0] attention_factor 1.0
  func.func @forward(%x: tensor<?x?x8xf32>) -> tensor<?x?x8xf32> {
    // expected-error@below {{linear_mixer_c9: 'morph.linear' op linear_c1: weight is tensor<4x4xf32>, expected [O,I]: I is 4, but 8 in x}}
    %0 = morph.linear_mixer @m %x layer 0 weights "l" from "a" heads 2 source_kv_heads 1 head_dim 4 rope @rope norm_eps 1.0e-5 options {} : tensor<?x?x8xf32>
    return %0 : tensor<?x?x8xf32>
  }
}

// -----

// An expression of a name that there is not.
morph.model @linear_mixer_c9_name base architecture "llama" layers 1 {
  morph.mixer @m doc "" options [] sizes [] requires [] {
  ^bb0(%x: tensor<?x?x?xf32>):
    // expected-note@below {{of @m here}}
    %y = morph.mixer_scale %x by "depth" : tensor<?x?x?xf32>
    morph.mixer_yield %y : tensor<?x?x?xf32>
  }
  morph.rope_table @rope [1.0] attention_factor 1.0
  func.func @forward(%x: tensor<?x?x8xf32>) -> tensor<?x?x8xf32> {
    // expected-error@below {{linear_mixer_c9: 'depth':}}
    %0 = morph.linear_mixer @m %x layer 0 weights "l" from "a" heads 2 source_kv_heads 1 head_dim 4 rope @rope norm_eps 1.0e-5 options {} : tensor<?x?x8xf32>
    return %0 : tensor<?x?x8xf32>
  }
}

// -----

// Attention with a scale that is none.
morph.model @linear_mixer_c9_scale base architecture "llama" layers 1 {
  morph.mixer @m doc "" options [] sizes [] requires [] {
  ^bb0(%x: tensor<?x?x?xf32>):
    %h = morph.mixer_split %x by "H" : tensor<?x?x?xf32> to tensor<?x?x?x?xf32>
    // expected-note@below {{of @m here}}
    %o = morph.mixer_attention %h, %h, %h states "k" "v" scale "-1" : tensor<?x?x?x?xf32>, tensor<?x?x?x?xf32>, tensor<?x?x?x?xf32>
    %y = morph.mixer_merge %o : tensor<?x?x?x?xf32> to tensor<?x?x?xf32>
    morph.mixer_yield %y : tensor<?x?x?xf32>
  }
  morph.rope_table @rope [1.0] attention_factor 1.0
  func.func @forward(%x: tensor<?x?x8xf32>) -> tensor<?x?x8xf32> {
    // expected-error@below {{linear_mixer_c9: 'morph.attention' op attention_c11: scale is -1, expected a positive finite number}}
    %0 = morph.linear_mixer @m %x layer 0 weights "l" from "a" heads 2 source_kv_heads 1 head_dim 4 rope @rope norm_eps 1.0e-5 options {} : tensor<?x?x8xf32>
    return %0 : tensor<?x?x8xf32>
  }
}

// -----

morph.model @linear_mixer_c9_zero base architecture "llama" layers 1 {
  morph.mixer @m doc "" options [] sizes [] requires [] {
  ^bb0(%x: tensor<?x?x?xf32>):
    %h = morph.mixer_split %x by "H" : tensor<?x?x?xf32> to tensor<?x?x?x?xf32>
    // expected-note@below {{of @m here}}
    %o = morph.mixer_attention %h, %h, %h states "k" "v" scale "0" : tensor<?x?x?x?xf32>, tensor<?x?x?x?xf32>, tensor<?x?x?x?xf32>
    %y = morph.mixer_merge %o : tensor<?x?x?x?xf32> to tensor<?x?x?xf32>
    morph.mixer_yield %y : tensor<?x?x?xf32>
  }
  morph.rope_table @rope [1.0] attention_factor 1.0
  func.func @forward(%x: tensor<?x?x8xf32>) -> tensor<?x?x8xf32> {
    // expected-error@below {{linear_mixer_c9: 'morph.attention' op attention_c11: scale is 0, expected a positive finite number}}
    %0 = morph.linear_mixer @m %x layer 0 weights "l" from "a" heads 2 source_kv_heads 1 head_dim 4 rope @rope norm_eps 1.0e-5 options {} : tensor<?x?x8xf32>
    return %0 : tensor<?x?x8xf32>
  }
}

// -----

morph.model @linear_mixer_c9_distance base architecture "llama" layers 1 {
  morph.mixer @m doc "" options [] sizes [] requires [] {
  ^bb0(%x: tensor<?x?x?xf32>):
    %w = morph.mixer_weight "w" ["H"] indices [""] init <values, "1"> : tensor<?xf32>
    %h = morph.mixer_split %x by "H" : tensor<?x?x?xf32> to tensor<?x?x?x?xf32>
    morph.mixer_calibrate "w" {
      // expected-note@below {{of @m here}}
      %d = morph.mixer_attention_distance %h, %h scale "-1" : tensor<?x?x?x?xf32>, tensor<?x?x?x?xf32> to tensor<?xf32>
      morph.mixer_yield %d : tensor<?xf32>
    }
    morph.mixer_yield %x : tensor<?x?x?xf32>
  }
  morph.rope_table @rope [1.0] attention_factor 1.0
  func.func @forward(%x: tensor<?x?x8xf32>) -> tensor<?x?x8xf32> {
    // expected-error@below {{linear_mixer_c9: 'morph.attention_distance' op attention_distance_c5: scale is -1, expected a positive finite number}}
    %0 = morph.linear_mixer @m %x layer 0 weights "l" from "a" heads 2 source_kv_heads 1 head_dim 4 rope @rope norm_eps 1.0e-5 options {} : tensor<?x?x8xf32>
    return %0 : tensor<?x?x8xf32>
  }
}

// -----

morph.model @linear_mixer_c9_nodistance base architecture "llama" layers 1 {
  morph.mixer @m doc "" options [] sizes [] requires [] {
  ^bb0(%x: tensor<?x?x?xf32>):
    %w = morph.mixer_weight "w" ["H"] indices [""] init <values, "1"> : tensor<?xf32>
    %h = morph.mixer_split %x by "H" : tensor<?x?x?xf32> to tensor<?x?x?x?xf32>
    morph.mixer_calibrate "w" {
      // expected-note@below {{of @m here}}
      %d = morph.mixer_attention_distance %h, %h scale "0" : tensor<?x?x?x?xf32>, tensor<?x?x?x?xf32> to tensor<?xf32>
      morph.mixer_yield %d : tensor<?xf32>
    }
    morph.mixer_yield %x : tensor<?x?x?xf32>
  }
  morph.rope_table @rope [1.0] attention_factor 1.0
  func.func @forward(%x: tensor<?x?x8xf32>) -> tensor<?x?x8xf32> {
    // expected-error@below {{linear_mixer_c9: 'morph.attention_distance' op attention_distance_c5: scale is 0, expected a positive finite number}}
    %0 = morph.linear_mixer @m %x layer 0 weights "l" from "a" heads 2 source_kv_heads 1 head_dim 4 rope @rope norm_eps 1.0e-5 options {} : tensor<?x?x8xf32>
    return %0 : tensor<?x?x8xf32>
  }
}

// -----

morph.model @mixer_calibrate_c1 base architecture "llama" layers 1 {
  morph.mixer @m doc "" options [] sizes [] requires [] {
  ^bb0(%x: tensor<?x?x?xf32>):
    %w = morph.mixer_weight "w" ["H"] indices [""] init <values, "1"> : tensor<?xf32>
    // expected-error@below {{mixer_calibrate_c1: the region does not end with a mixer_yield of one value of 1 dimensions}}
    morph.mixer_calibrate "w" {
      morph.mixer_yield %x : tensor<?x?x?xf32>
    }
    morph.mixer_yield %x : tensor<?x?x?xf32>
  }
}

// -----

morph.model @mixer_calibrate_c2 base architecture "llama" layers 1 {
  morph.mixer @m doc "" options [] sizes [] requires [] {
  ^bb0(%x: tensor<?x?x?xf32>):
    // expected-error@below {{mixer_calibrate_c2: no weight 'w' stands before, or it is calibrated twice}}
    morph.mixer_calibrate "w" {
      %m = morph.position_mean %x : tensor<?x?x?xf32>
      morph.mixer_yield %m : tensor<?xf32>
    }
    morph.mixer_yield %x : tensor<?x?x?xf32>
  }
}

// -----

morph.model @mixer_calibrate_c2_twice base architecture "llama" layers 1 {
  morph.mixer @m doc "" options [] sizes [] requires [] {
  ^bb0(%x: tensor<?x?x?xf32>):
    %w = morph.mixer_weight "w" ["H"] indices [""] init <values, "1"> : tensor<?xf32>
    morph.mixer_calibrate "w" {
      morph.mixer_yield %w : tensor<?xf32>
    }
    // expected-error@below {{mixer_calibrate_c2: no weight 'w' stands before, or it is calibrated twice}}
    morph.mixer_calibrate "w" {
      morph.mixer_yield %w : tensor<?xf32>
    }
    morph.mixer_yield %x : tensor<?x?x?xf32>
  }
}

// -----

morph.model @mixer_attention_distance_c1 base architecture "llama" layers 1 {
  morph.mixer @m doc "" options [] sizes [] requires [] {
  ^bb0(%x: tensor<?x?x?xf32>):
    %h = morph.mixer_split %x by "H" : tensor<?x?x?xf32> to tensor<?x?x?x?xf32>
    // expected-error@below {{mixer_attention_distance_c1: it gives 'tensor<?xf32>', expected one dimension, within a mixer_calibrate}}
    %d = morph.mixer_attention_distance %h, %h scale "1" : tensor<?x?x?x?xf32>, tensor<?x?x?x?xf32> to tensor<?xf32>
    morph.mixer_yield %x : tensor<?x?x?xf32>
  }
}

// -----

// A statistic of all positions, where positions are computed.
morph.model @mixer_c3_statistic base architecture "llama" layers 1 {
  morph.mixer @m doc "" options [] sizes [] requires [] {
  ^bb0(%x: tensor<?x?x?xf32>):
    // expected-error@below {{mixer_c3: the body of a mixer cannot have this op}}
    %m = morph.position_mean %x : tensor<?x?x?xf32>
    %y = morph.mul %x, %m : tensor<?x?x?xf32>, tensor<?xf32>
    morph.mixer_yield %y : tensor<?x?x?xf32>
  }
}

// -----

// Sums over positions, though the op mixes no tokens by its record.
morph.model @mixer_c3_sum base architecture "llama" layers 1 {
  morph.mixer @m doc "" options [] sizes [] requires [] {
  ^bb0(%x: tensor<?x?x?xf32>):
    // expected-error@below {{mixer_c3: the body of a mixer cannot have this op}}
    %s = morph.reduce_to %x rank 1 : tensor<?x?x?xf32>
    %y = morph.add %x, %s : tensor<?x?x?xf32>, tensor<?xf32>
    morph.mixer_yield %y : tensor<?x?x?xf32>
  }
}

// -----

// Rows of positions, over which a norm would go.
morph.model @mixer_c3_rows base architecture "llama" layers 1 {
  morph.mixer @m doc "" options [] sizes [] requires [] {
  ^bb0(%x: tensor<?x?x?xf32>):
    // expected-error@below {{mixer_c3: the body of a mixer cannot have this op}}
    %s = morph.sum_last %x : tensor<?x?x?xf32>
    %n = morph.l2_norm %s eps 1.0e-5 : tensor<?x?xf32>
    %e = morph.mixer_expand %n to "M" : tensor<?x?xf32> to tensor<?x?x?xf32>
    %y = morph.mul %x, %e : tensor<?x?x?xf32>, tensor<?x?x?xf32>
    morph.mixer_yield %y : tensor<?x?x?xf32>
  }
}

// -----

// What leaves rows their own is fine, and where weights are calibrated all is; a number turns no rows.
morph.model @rows base architecture "llama" layers 1 {
  morph.rope_table @rope [1.0, 0.5] attention_factor 1.0
  morph.weight @l.w : tensor<2xf32>
  morph.mixer @m doc "" options [] sizes [] requires [] {
  ^bb0(%x: tensor<?x?x?xf32>):
    %w = morph.mixer_weight "w" ["H"] indices [""] init <values, "1"> : tensor<?xf32>
    %number = morph.sum_last %w : tensor<?xf32>
    morph.mixer_calibrate "w" {
      %split = morph.mixer_split %x by "H" : tensor<?x?x?xf32> to tensor<?x?x?x?xf32>
      %heads = morph.sum_last %split : tensor<?x?x?x?xf32>
      %sum = morph.reduce_to %heads rank 1 : tensor<?x?x?xf32>
      morph.mixer_yield %sum : tensor<?xf32>
    }
    %h = morph.mixer_split %x by "H" : tensor<?x?x?xf32> to tensor<?x?x?x?xf32>
    %s = morph.sum_last %h : tensor<?x?x?x?xf32>
    %e = morph.mixer_expand %s to "D" : tensor<?x?x?xf32> to tensor<?x?x?x?xf32>
    %q = morph.mixer_rope %h : tensor<?x?x?x?xf32>
    %k = morph.mul %q, %number : tensor<?x?x?x?xf32>, tensor<f32>
    %o = morph.mixer_attention %k, %k, %e states "k" "v" scale "1" : tensor<?x?x?x?xf32>, tensor<?x?x?x?xf32>, tensor<?x?x?x?xf32>
    %y = morph.mixer_merge %o : tensor<?x?x?x?xf32> to tensor<?x?x?xf32>
    morph.mixer_yield %y : tensor<?x?x?xf32>
  }
  func.func @forward(%x: tensor<?x?x8xf32>) -> tensor<?x?x8xf32> {
    %0 = morph.linear_mixer @m %x layer 0 weights "l" from "a" heads 2 source_kv_heads 1 head_dim 4 rope @rope norm_eps 1.0e-5 options {} : tensor<?x?x8xf32>
    return %0 : tensor<?x?x8xf32>
  }
}

// -----

// A first value of a shape that the weight does not have in this model.
morph.model @linear_mixer_c9_calibrate base architecture "llama" layers 1 {
  morph.mixer @m doc "" options [] sizes [] requires [] {
  ^bb0(%x: tensor<?x?x?xf32>):
    %w = morph.mixer_weight "w" ["D"] indices [""] init <values, "1"> : tensor<?xf32>
    // expected-note@below {{of @m here}}
    morph.mixer_calibrate "w" {
      %m = morph.position_mean %x : tensor<?x?x?xf32>
      morph.mixer_yield %m : tensor<?xf32>
    }
    morph.mixer_yield %x : tensor<?x?x?xf32>
  }
  morph.rope_table @rope [1.0] attention_factor 1.0
  func.func @forward(%x: tensor<?x?x8xf32>) -> tensor<?x?x8xf32> {
    // expected-error@below {{linear_mixer_c9: 'w' is calibrated to 'tensor<8xf32>', expected 'tensor<4xf32>'}}
    %0 = morph.linear_mixer @m %x layer 0 weights "l" from "a" heads 2 source_kv_heads 1 head_dim 4 rope @rope norm_eps 1.0e-5 options {} : tensor<?x?x8xf32>
    return %0 : tensor<?x?x8xf32>
  }
}

// -----

// Rotary positions under a map that is not linear.
morph.model @linear_mixer_c10 base architecture "llama" layers 1 {
  morph.mixer @m doc "" options [] sizes [] requires [] {
  ^bb0(%x: tensor<?x?x?xf32>):
    %h = morph.mixer_split %x by "H" : tensor<?x?x?xf32> to tensor<?x?x?x?xf32>
    %q = morph.mixer_rope %h : tensor<?x?x?x?xf32>
    // expected-note@below {{of @m here}}
    %k = morph.silu %q : tensor<?x?x?x?xf32>
    %o = morph.mixer_recurrence %q, %k, %h state "state" scale "1" chunk "64" : tensor<?x?x?x?xf32>, tensor<?x?x?x?xf32>, tensor<?x?x?x?xf32>
    %y = morph.mixer_merge %o : tensor<?x?x?x?xf32> to tensor<?x?x?xf32>
    morph.mixer_yield %y : tensor<?x?x?xf32>
  }
  morph.rope_table @rope [1.0] attention_factor 1.0
  func.func @forward(%x: tensor<?x?x8xf32>) -> tensor<?x?x8xf32> {
    // expected-error@below {{linear_mixer_c10: the result depends on how far a row is padded: 'rope' must stand last before attention}}
    %0 = morph.linear_mixer @m %x layer 0 weights "l" from "a" heads 2 source_kv_heads 1 head_dim 4 rope @rope norm_eps 1.0e-5 options {} : tensor<?x?x8xf32>
    return %0 : tensor<?x?x8xf32>
  }
}

// -----

// Keys are turned, queries are not.
morph.model @linear_mixer_c10_recurrence base architecture "llama" layers 1 {
  morph.mixer @m doc "" options [] sizes [] requires [] {
  ^bb0(%x: tensor<?x?x?xf32>):
    %h = morph.mixer_split %x by "H" : tensor<?x?x?xf32> to tensor<?x?x?x?xf32>
    %k = morph.mixer_rope %h : tensor<?x?x?x?xf32>
    // expected-note@below {{of @m here}}
    %o = morph.mixer_recurrence %h, %k, %h state "state" scale "1" chunk "64" : tensor<?x?x?x?xf32>, tensor<?x?x?x?xf32>, tensor<?x?x?x?xf32>
    %y = morph.mixer_merge %o : tensor<?x?x?x?xf32> to tensor<?x?x?xf32>
    morph.mixer_yield %y : tensor<?x?x?xf32>
  }
  morph.rope_table @rope [1.0] attention_factor 1.0
  func.func @forward(%x: tensor<?x?x8xf32>) -> tensor<?x?x8xf32> {
    // expected-error@below {{linear_mixer_c10: the result depends}}
    %0 = morph.linear_mixer @m %x layer 0 weights "l" from "a" heads 2 source_kv_heads 1 head_dim 4 rope @rope norm_eps 1.0e-5 options {} : tensor<?x?x8xf32>
    return %0 : tensor<?x?x8xf32>
  }
}

// -----

// What one statement with rotary positions yields must be used by another.
morph.model @linear_mixer_c10_result base architecture "llama" layers 1 {
  morph.mixer @m doc "" options [] sizes [] requires [] {
  ^bb0(%x: tensor<?x?x?xf32>):
    %h = morph.mixer_split %x by "H" : tensor<?x?x?xf32> to tensor<?x?x?x?xf32>
    %k = morph.mixer_rope %h : tensor<?x?x?x?xf32>
    // expected-note@below {{of @m here}}
    %y = morph.mixer_merge %k : tensor<?x?x?x?xf32> to tensor<?x?x?xf32>
    morph.mixer_yield %y : tensor<?x?x?xf32>
  }
  morph.rope_table @rope [1.0] attention_factor 1.0
  func.func @forward(%x: tensor<?x?x8xf32>) -> tensor<?x?x8xf32> {
    // expected-error@below {{linear_mixer_c10: the result depends}}
    %0 = morph.linear_mixer @m %x layer 0 weights "l" from "a" heads 2 source_kv_heads 1 head_dim 4 rope @rope norm_eps 1.0e-5 options {} : tensor<?x?x8xf32>
    return %0 : tensor<?x?x8xf32>
  }
}
