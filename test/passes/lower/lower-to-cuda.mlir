// SPDX-License-Identifier: Apache-2.0
// RUN: morph-opt %s --morph-lower-to-cuda | FileCheck %s
// RUN: morph-opt %s --morph-emit-ptx="output=%t.ptx" -o /dev/null && FileCheck %s --check-prefix=PTX --input-file=%t.ptx
// RUN: morph-opt %s --morph-emit-ptx="output=%t.80.ptx chip=sm_80" -o /dev/null && FileCheck %s --check-prefix=SM80 --input-file=%t.80.ptx
// RUN: not morph-opt %s --morph-emit-ptx="output=%t.ptx chip=sm_70" 2>&1 | FileCheck %s --check-prefix=CHIP
// RUN: not morph-opt %s --morph-emit-ptx 2>&1 | FileCheck %s --check-prefix=OUTPUT
// RUN: echo 'module {}' > %t.mlir
// RUN: not morph-opt %t.mlir --morph-lower-to-cuda 2>&1 | FileCheck %s --check-prefix=NONE

// CHIP: error: there is no target 'sm_70': known are sm_80, sm_90
// OUTPUT: error: morph-emit-ptx needs `output`, the file to write
// NONE: error: has no `morph.kernel` to lower: morph-form-kernels makes them

// A line of 64 is four vectors of each of four threads, all in registers: what is loaded is loaded once. The sum is of
// lanes, then of pairs of threads.
// CHECK-LABEL: gpu.func @add_rms_norm
// CHECK-SAME: (%[[X:.*]]: !llvm.ptr<1>, %[[Y:.*]]: !llvm.ptr<1>, %[[W:.*]]: !llvm.ptr<1>, %{{.*}}: !llvm.ptr<1>, %{{.*}}: !llvm.ptr<1>, %{{.*}}: i64) kernel
// CHECK-SAME: known_block_size = array<i32: 128, 1, 1>
// CHECK-COUNT-8: llvm.load %{{.*}} {alignment = 16 : i64} : !llvm.ptr<1> -> vector<4xf32>
// CHECK: gpu.shuffle xor
// CHECK: gpu.shuffle xor
// CHECK-NOT: gpu.shuffle
// CHECK-NOT: gpu.barrier
// CHECK: math.sqrt
// CHECK: llvm.getelementptr %[[W]]
// CHECK: gpu.return

// Nothing cuts a row: a vector a thread, and one element after the other at the end.
// CHECK-LABEL: gpu.func @silu
// CHECK: scf.if
// CHECK: llvm.load %{{.*}} {alignment = 16 : i64} : !llvm.ptr<1> -> vector<4xf32>
// CHECK: scf.if
// CHECK-NEXT: scf.for
// CHECK: -> vector<1xf32>

// A line of many warps: their sums meet in shared memory.
// CHECK-LABEL: gpu.func @wide
// CHECK: llvm.mlir.addressof @wide.shared{{[0-9]+}} : !llvm.ptr<3>
// CHECK-COUNT-5: gpu.shuffle xor
// CHECK: gpu.barrier
// CHECK-COUNT-4: llvm.load %{{.*}} : !llvm.ptr<3> -> f32

// A sum over rows: parts of 64 rows, of which four groups of a block have each a fourth, added up in their order.
// CHECK-LABEL: gpu.func @weight_grad
// CHECK: scf.for {{.*}} iter_args
// CHECK: gpu.barrier
// CHECK: llvm.store %{{.*}} !llvm.ptr<1>

// PTX: .version 8.0
// PTX: .target sm_90
// PTX-DAG: .visible .entry add_rms_norm(
// PTX-DAG: ld.global.v4.f32
// PTX-DAG: st.global.v4.f32
// PTX-DAG: shfl.sync.bfly.b32
// PTX-DAG: .maxntid 128, 1, 1
// No function of a library, and no product that ptxas may contract.
// PTX-NOT: .extern
// PTX-NOT: mul.f32
// SM80: .target sm_80
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
  morph.kernel @wide rows 1 (%x: tensor<?x2048xf32>) {
    %0 = morph.l2_norm %x eps 1.0e-6 : tensor<?x2048xf32>
    morph.return %0 : tensor<?x2048xf32>
  }
  morph.kernel @weight_grad rows 2 (%dy: tensor<?x?x512xf32>, %x: tensor<?x?x512xf32>) {
    %0 = morph.rms_norm_weight_grad %dy, %x eps 1.0e-5 : tensor<?x?x512xf32>, tensor<?x?x512xf32>
    morph.return %0 : tensor<512xf32>
  }
}
