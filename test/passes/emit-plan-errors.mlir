// SPDX-License-Identifier: Apache-2.0
// RUN: morph-opt %s --morph-emit-plan="program=score output=%t.json" --split-input-file --verify-diagnostics
// RUN: not morph-opt %S/update.mlir --morph-emit-plan="program=step_update output=%t.json" 2>&1 | FileCheck %s --check-prefix=UPDATE
// RUN: not morph-opt %S/update.mlir --morph-emit-plan="program=gates_update output=%t.json" 2>&1 | FileCheck %s --check-prefix=UNKNOWN

// UPDATE: error: model @small has no program 'step_update'
// UPDATE: note: morph-build-update=program=step would make it
// UNKNOWN: error: model @small has no program 'gates_update'
// UNKNOWN-NOT: note

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
  morph.program @score(%x: tensor<?x?x2xf32> "x" [B, T]) {
    // expected-error @below {{'morph.softmax_mixer' op is no instruction of plans}}
    // expected-note @below {{morph-expand-mixers writes token mixers in primitive ops}}
    %m = morph.softmax_mixer %x layer 0 weights "a" heads 1 kv_heads 1 head_dim 2 rope @rope scale 1.0 : tensor<?x?x2xf32>
    morph.output "y" = %m : tensor<?x?x2xf32>
  }
}

// -----

morph.model @element_type base architecture "llama" layers 1 {
  // expected-error @below {{has element type 'i32', which plans do not have}}
  morph.program @score(%x: tensor<?xi32> "x" [N]) {
    morph.output "y" = %x : tensor<?xi32>
  }
}

// -----

morph.model @foreign base architecture "llama" layers 1 {
  func.func @f(%x: tensor<?xf32>) -> tensor<?xf32> {
    return %x : tensor<?xf32>
  }
  morph.program @score(%x: tensor<?xf32> "x" [N]) {
    // expected-error @below {{'func.call' op is no instruction of plans}}
    %y = func.call @f(%x) : (tensor<?xf32>) -> tensor<?xf32>
    morph.output "y" = %y : tensor<?xf32>
  }
}
