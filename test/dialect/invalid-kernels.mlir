// SPDX-License-Identifier: Apache-2.0
// RUN: morph-opt %s --split-input-file --verify-diagnostics
// Every constraint of kernels and launches, broken once; a model is named by the label of the constraint it breaks.

morph.model @kernel_c1_none base architecture "llama" layers 1 {
  // expected-error@below {{kernel_c1: `rows` is 0, expected 1 to 4}}
  morph.kernel @k rows 0 (%x: tensor<?x8xf32>) {
    %0 = morph.silu %x : tensor<?x8xf32>
    morph.return %0 : tensor<?x8xf32>
  }
}

// -----

morph.model @kernel_c1_many base architecture "llama" layers 1 {
  // expected-error@below {{kernel_c1: `rows` is 5, expected 1 to 4}}
  morph.kernel @k rows 5 (%x: tensor<?x?x?x?x?x8xf32>) {
    %0 = morph.silu %x : tensor<?x?x?x?x?x8xf32>
    morph.return %0 : tensor<?x?x?x?x?x8xf32>
  }
}

// -----

morph.model @kernel_c2 base architecture "llama" layers 1 {
  // expected-error@below {{kernel_c2: the body does not end with a 'morph.return'}}
  morph.kernel @k rows 1 (%x: tensor<?x8xf32>) {
    %0 = morph.silu %x : tensor<?x8xf32>
    llvm.unreachable
  }
}

// -----

morph.model @kernel_c3_dynamic base architecture "llama" layers 1 {
  // expected-error@below {{kernel_c3: 'tensor<?x?xf32>' is neither a row value, with 1 leading dynamic dimensions, nor uniform}}
  // expected-note@below {{it is here}}
  morph.kernel @k rows 1 (%x: tensor<?x?xf32>) {
    %0 = morph.silu %x : tensor<?x?xf32>
    morph.return %0 : tensor<?x?xf32>
  }
}

// -----

morph.model @kernel_c3_zero base architecture "llama" layers 1 {
  // expected-error@below {{kernel_c3: 'tensor<?x0xf32>' is neither a row value}}
  // expected-note@below {{it is here}}
  morph.kernel @k rows 1 (%x: tensor<?x0xf32>) {
    %0 = morph.silu %x : tensor<?x0xf32>
    morph.return %0 : tensor<?x0xf32>
  }
}

// -----

morph.model @kernel_c3_huge base architecture "llama" layers 1 {
  // expected-error@below {{kernel_c3: 'tensor<?x2147483647x2147483647x2147483647x8xf32>' is neither a row value}}
  // expected-note@below {{it is here}}
  morph.kernel @k rows 1 (%x: tensor<?x2147483647x2147483647x2147483647x8xf32>) {
    %0 = morph.silu %x : tensor<?x2147483647x2147483647x2147483647x8xf32>
    morph.return %0 : tensor<?x2147483647x2147483647x2147483647x8xf32>
  }
}

// -----

morph.model @kernel_c3_scalar base architecture "llama" layers 1 {
  // expected-error@below {{kernel_c3: 'f32' is neither a row value}}
  // expected-note@below {{it is here}}
  morph.kernel @k rows 1 (%x: f32) {
    morph.return
  }
}

// -----

morph.model @kernel_c4 base architecture "llama" layers 1 {
  // expected-error@below {{kernel_c4: 'morph.linear' cannot be in a kernel}}
  morph.kernel @k rows 1 (%x: tensor<?x8xf32>, %w: tensor<4x8xf32>) {
    // expected-note@below {{it is here}}
    %0 = morph.linear %x, %w : tensor<?x8xf32>, tensor<4x8xf32>
    morph.return %0 : tensor<?x4xf32>
  }
}

// -----

morph.model @kernel_c5_uniform base architecture "llama" layers 1 {
  // expected-error@below {{kernel_c5: 'morph.silu' has a result that is no row value}}
  morph.kernel @k rows 1 (%x: tensor<8xf32>) {
    // expected-note@below {{it is here}}
    %0 = morph.silu %x : tensor<8xf32>
    morph.return %0 : tensor<8xf32>
  }
}

// -----

morph.model @kernel_c5_gate base architecture "llama" layers 1 {
  // expected-error@below {{kernel_c5: 'morph.blend' has an operand 0 that is not uniform}}
  morph.kernel @k rows 1 (%g: tensor<?xf32>, %x: tensor<?xf32>) {
    // expected-note@below {{it is here}}
    %0 = morph.blend %g of %x, %x : tensor<?xf32>, tensor<?xf32>, tensor<?xf32>
    morph.return %0 : tensor<?xf32>
  }
}

// -----

morph.model @kernel_c5_operand base architecture "llama" layers 1 {
  // expected-error@below {{kernel_c5: 'morph.add' has an operand 1 that is no row value}}
  morph.kernel @k rows 1 (%x: tensor<?x8xf32>, %y: tensor<3x8xf32>) {
    // expected-note@below {{it is here}}
    %0 = morph.add %x, %y : tensor<?x8xf32>, tensor<3x8xf32>
    morph.return %0 : tensor<?x8xf32>
  }
}

// -----

morph.model @kernel_c6 base architecture "llama" layers 1 {
  // expected-error@below {{kernel_c6: 'tensor<?x4xf32>' has 4 elements a row, expected 8 as the values before}}
  // expected-note@below {{it is here}}
  morph.kernel @k rows 1 (%x: tensor<?x8xf32>, %y: tensor<?x4xf32>) {
    %0 = morph.silu %x : tensor<?x8xf32>
    morph.return %0 : tensor<?x8xf32>
  }
}

// -----

morph.model @kernel_c7_widths base architecture "llama" layers 1 {
  // expected-error@below {{kernel_c7: the lines of 'morph.l2_norm' do not fit those of the ops before}}
  morph.kernel @k rows 2 (%x: tensor<?x?x8xf32>) {
    %0 = morph.l2_norm %x eps 1.0e-6 : tensor<?x?x8xf32>
    %1 = morph.split_heads %0 heads 2 : tensor<?x?x8xf32>
    // expected-note@below {{it is here}}
    %2 = morph.l2_norm %1 eps 1.0e-6 : tensor<?x?x2x4xf32>
    morph.return %2 : tensor<?x?x2x4xf32>
  }
}

// -----

morph.model @kernel_c7_uniform base architecture "llama" layers 1 {
  // expected-error@below {{kernel_c7: the lines of 'morph.mul' do not fit those of the ops before}}
  morph.kernel @k rows 2 (%x: tensor<?x?x8xf32>, %w: tensor<4xf32>) {
    %0 = morph.l2_norm %x eps 1.0e-6 : tensor<?x?x8xf32>
    %1 = morph.split_heads %0 heads 2 : tensor<?x?x8xf32>
    // expected-note@below {{it is here}}
    %2 = morph.mul %1, %w : tensor<?x?x2x4xf32>, tensor<4xf32>
    morph.return %2 : tensor<?x?x2x4xf32>
  }
}

// -----

// The last dimension is one of the row space.
morph.model @kernel_c7_unknown base architecture "llama" layers 1 {
  // expected-error@below {{kernel_c7: the lines of 'morph.l2_norm' do not fit those of the ops before}}
  morph.kernel @k rows 2 (%x: tensor<?x?xf32>) {
    // expected-note@below {{it is here}}
    %0 = morph.l2_norm %x eps 1.0e-6 : tensor<?x?xf32>
    morph.return %0 : tensor<?x?xf32>
  }
}

// -----

morph.model @kernel_c8_argument base architecture "llama" layers 1 {
  // expected-error@below {{kernel_c8: the results are not values of the body's ops, each once}}
  morph.kernel @k rows 1 (%x: tensor<?x8xf32>) {
    morph.return %x : tensor<?x8xf32>
  }
}

// -----

morph.model @kernel_c8_twice base architecture "llama" layers 1 {
  // expected-error@below {{kernel_c8: the results are not values of the body's ops, each once}}
  morph.kernel @k rows 1 (%x: tensor<?x8xf32>) {
    %0 = morph.silu %x : tensor<?x8xf32>
    morph.return %0, %0 : tensor<?x8xf32>, tensor<?x8xf32>
  }
}

// -----

morph.model @kernel_c8_none base architecture "llama" layers 1 {
  // expected-error@below {{kernel_c8: the kernel has no result}}
  morph.kernel @k rows 1 (%x: tensor<?x8xf32>) {
    morph.return
  }
}

// -----

morph.model @kernel_c9 base architecture "llama" layers 1 {
  // expected-error@below {{kernel_c9: 'morph.mul' reads a sum over rows}}
  morph.kernel @k rows 1 (%x: tensor<?x8xf32>) {
    %0 = morph.reduce_to %x rank 1 : tensor<?x8xf32>
    // expected-note@below {{it is here}}
    %1 = morph.mul %x, %0 : tensor<?x8xf32>, tensor<8xf32>
    morph.return %1 : tensor<?x8xf32>
  }
}

// -----

morph.model @launch_c1 base architecture "llama" layers 1 {
  // expected-note@below {{@w is this}}
  morph.weight @w : tensor<8xf32>
  func.func @f(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
    // expected-error@below {{launch_c1: the model has no kernel @w}}
    %0 = morph.launch @w(%x) : (tensor<?x8xf32>) -> tensor<?x8xf32>
    return %0 : tensor<?x8xf32>
  }
}

// -----

morph.model @launch_c2 base architecture "llama" layers 1 {
  // expected-note@below {{the kernel is here}}
  morph.kernel @k rows 1 (%x: tensor<?x8xf32>) {
    %0 = morph.silu %x : tensor<?x8xf32>
    morph.return %0 : tensor<?x8xf32>
  }
  func.func @f(%x: tensor<?x4xf32>) -> tensor<?x8xf32> {
    // expected-error@below {{launch_c2: the operands are ('tensor<?x4xf32>'), expected ('tensor<?x8xf32>')}}
    %0 = morph.launch @k(%x) : (tensor<?x4xf32>) -> tensor<?x8xf32>
    return %0 : tensor<?x8xf32>
  }
}

// -----

morph.model @launch_c3 base architecture "llama" layers 1 {
  // expected-note@below {{the kernel is here}}
  morph.kernel @k rows 1 (%x: tensor<?x8xf32>) {
    %0 = morph.silu %x : tensor<?x8xf32>
    morph.return %0 : tensor<?x8xf32>
  }
  func.func @f(%x: tensor<?x8xf32>) -> tensor<?x4xf32> {
    // expected-error@below {{launch_c3: the results are ('tensor<?x4xf32>'), expected ('tensor<?x8xf32>')}}
    %0 = morph.launch @k(%x) : (tensor<?x8xf32>) -> tensor<?x4xf32>
    return %0 : tensor<?x4xf32>
  }
}
