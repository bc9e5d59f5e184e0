// SPDX-License-Identifier: Apache-2.0
// RUN: rm -rf %t && mkdir %t
// RUN: not morph-opt %s --morph-compile-kernels 2>&1 | FileCheck %s --check-prefix=OUTPUT
// RUN: not env MORPH_CACHE=%t/cache morph-opt %s --morph-compile-kernels=output=%t/none/k.so 2>&1 | FileCheck %s --check-prefix=FOLDER
// OUTPUT: error: morph-compile-kernels needs `output`, the shared object to write
// FOLDER: error: cannot open output file '{{.*}}none/k.so': No such file or directory

// Compiled into the cache, then taken from it; one that is not whole is made again.
// RUN: env MORPH_CACHE=%t/cache morph-opt %s --morph-compile-kernels="output=%t/a.so print-hash" | FileCheck %s
// CHECK: // kernels [[HASH:[0-9a-f]+]]
// CHECK-NEXT: // in place, result=argument: @silu 0=0
// CHECK-NEXT: // in place, result=argument: @add_norm_grad 0=1 1=3{{$}}
// CHECK: morph.kernel @silu
// RUN: ls %t/cache/kernels | FileCheck %s --check-prefix=ONE
// ONE: {{^[0-9a-f]+\.so$}}
// ONE-NOT: {{.}}
// RUN: env MORPH_CACHE=%t/cache morph-opt %s --morph-compile-kernels=output=%t/b.so -o /dev/null
// RUN: cmp %t/a.so %t/b.so
// RUN: truncate -s -9 %t/cache/kernels/*.so
// RUN: env MORPH_CACHE=%t/cache morph-opt %s --morph-compile-kernels=output=%t/c.so -o /dev/null
// RUN: cmp %t/a.so %t/c.so
// RUN: cmp %t/a.so %t/cache/kernels/*.so
// RUN: llvm-nm -D %t/a.so | FileCheck %s --check-prefix=SYMBOLS
// SYMBOLS-NOT: {{ U }}
// SYMBOLS: morph_kernels_abi
// SYMBOLS: morph_kernels_hash
// SYMBOLS: T silu.{{v3|generic}}
morph.model @m base architecture "llama" layers 1 {
  morph.kernel @silu rows 2 (%x: tensor<?x?x3xf32>) {
    %0 = morph.silu %x : tensor<?x?x3xf32>
    morph.return %0 : tensor<?x?x3xf32>
  }
  // The sum is written in the first pass, the second reads the other operand of the gradient again.
  morph.kernel @add_norm_grad rows 2 (%a: tensor<?x?x8xf32>, %b: tensor<?x?x8xf32>, %w: tensor<8xf32>, %x: tensor<?x?x8xf32>) {
    %0 = morph.add %a, %b : tensor<?x?x8xf32>, tensor<?x?x8xf32>
    %1 = morph.rms_norm_input_grad %0, %x, %w eps 1.0e-5 : tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<8xf32>
    morph.return %0, %1 : tensor<?x?x8xf32>, tensor<?x?x8xf32>
  }
}
