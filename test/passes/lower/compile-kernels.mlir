// SPDX-License-Identifier: Apache-2.0
// RUN: rm -rf %t && mkdir %t
// RUN: not morph-opt %s --morph-compile-kernels 2>&1 | FileCheck %s --check-prefix=OUTPUT
// RUN: not env MORPH_CACHE=%t/cache morph-opt %s --morph-compile-kernels=output=%t/none/k.so 2>&1 | FileCheck %s --check-prefix=FOLDER
// OUTPUT: error: morph-compile-kernels needs `output`, the shared object to write
// FOLDER: error: cannot open output file '{{.*}}none/k.so': No such file or directory

// Compiled into the cache, then taken from it; one that is not whole is made again.
// RUN: env MORPH_CACHE=%t/cache morph-opt %s --morph-compile-kernels="output=%t/a.so print-hash" | FileCheck %s
// CHECK: // kernels [[HASH:[0-9a-f]+]]
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
}
