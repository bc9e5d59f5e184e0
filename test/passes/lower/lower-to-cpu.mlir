// SPDX-License-Identifier: Apache-2.0
// RUN: morph-opt %s --morph-lower-to-cpu | FileCheck %s
// RUN: morph-opt %s --morph-lower-to-cpu=to-llvm | FileCheck %s --check-prefix=LLVM
// RUN: echo 'module @kernels { func.func @f(%%x: tensor<?x4xf32>) -> tensor<?x4xf32> { return %%x : tensor<?x4xf32> } }' > %t.mlir
// RUN: not morph-opt %t.mlir --morph-lower-to-cpu 2>&1 | FileCheck %s --check-prefix=NONE
// RUN: not morph-opt %s --morph-kernel-to-linalg --morph-lower-to-cpu 2>&1 | FileCheck %s --check-prefix=TWICE

// Foreign functions are not read.
// NONE: error: has no `morph.kernel` to lower: morph-form-kernels makes them
// TWICE: error: redefinition of symbol named 'kernels'

// Two passes over a line: the sum, which is fused with the addition and its store, then the norm, which reads what the
// first has stored. A product and a sum are one rounding.
// CHECK-LABEL: llvm.func @add_rms_norm
// CHECK-SAME: (%{{.*}}: !llvm.ptr, %{{.*}}: !llvm.ptr, %[[BEGIN:.*]]: i64, %[[END:.*]]: i64)
// CHECK: scf.for %{{.*}} = %[[BEGIN]] to %[[END]]
// CHECK: %[[LANES:.*]] = scf.for {{.*}} iter_args(%[[SUM:.*]] = %{{.*}}) -> (vector<16xf32>)
// CHECK: %[[S:.*]] = arith.addf
// CHECK: %[[NEXT:.*]] = math.fma %[[S]], %[[S]], %[[SUM]]
// CHECK: llvm.store %[[S]]
// CHECK: scf.yield %[[NEXT]]
// CHECK-COUNT-4: arith.addf %{{.*}} : vector
// CHECK: math.sqrt
// CHECK: scf.for
// CHECK-NOT: arith.addf
// CHECK: llvm.store
// CHECK-NOT: scf.for
// CHECK: llvm.return

// Nothing cuts a row: all rows are one loop, with one tail for all.
// CHECK-LABEL: llvm.func @silu
// CHECK: scf.for
// CHECK: llvm.load {{.*}} -> vector<16xf32>
// CHECK: scf.for
// CHECK: llvm.intr.masked.load
// CHECK: llvm.intr.masked.store

// The tail of a line has a known mask. bf16 is integers in memory.
// CHECK-LABEL: llvm.func @norm_of_bf16
// CHECK: llvm.load {{.*}} -> vector<16xi16>
// CHECK: llvm.intr.masked.load {{.*}} -> vector<16xi16>
// CHECK-NOT: arith.extf

// LLVM-LABEL: module @kernels
// LLVM-NOT: {{(arith|math|scf|vector|cf)\.}}
// LLVM: llvm.return
morph.model @m base architecture "llama" layers 1 {
  morph.kernel @add_rms_norm rows 2 (%x: tensor<?x?x64xf32>, %y: tensor<?x?x64xf32>, %w: tensor<64xf32>) {
    %0 = morph.add %x, %y : tensor<?x?x64xf32>, tensor<?x?x64xf32>
    %1 = morph.rms_norm %0, %w eps 1.0e-5 : tensor<?x?x64xf32>, tensor<64xf32>
    morph.return %0, %1 : tensor<?x?x64xf32>, tensor<?x?x64xf32>
  }
  morph.kernel @silu rows 2 (%x: tensor<?x?x3xf32>) {
    %0 = morph.silu %x : tensor<?x?x3xf32>
    morph.return %0 : tensor<?x?x3xf32>
  }
  morph.kernel @norm_of_bf16 rows 1 (%x: tensor<?x37xbf16>) {
    %0 = morph.cast %x to "f32" : tensor<?x37xbf16>
    %1 = morph.l2_norm %0 eps 1.0e-6 : tensor<?x37xf32>
    morph.return %1 : tensor<?x37xf32>
  }
}
