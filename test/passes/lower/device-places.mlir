// SPDX-License-Identifier: Apache-2.0
// Rows and elements put into places on GPUs: vectors of four; rows that meet in a place are added in their order.
// RUN: rm -rf %t && mkdir -p %t
// RUN: morph-opt %s --morph-emit-plan="program=places output=%t/plan.json device=sm_90" -o /dev/null
// RUN: FileCheck %s --check-prefix=PLAN --input-file=%t/plan.json
// RUN: cat %t/*.ptx | FileCheck %s --implicit-check-not=.local --implicit-check-not=atom. --implicit-check-not=red.global

// PLAN: {"kernel":"mask_padding_256_4","threads":256,"grid":{{\[\[\[}}1,256,["B","T"],4096]],1,1]
// PLAN: {"kernel":"expand_36_4","threads":256,"grid":{{\[\[\[}}1,108,["B","T"],4096]],1,1]
// PLAN: {"kernel":"cache_write_bf16_128_4","threads":256,"grid":{{\[\[\[}}1,128,["B","T"],4096]],1,1]

// Three launches: zeros, chains of the rows of a place, and a block a row (and 1024 channels), which is busy where a chain
// begins.
// PLAN: {"kernel":"scatter_rows_zero_4","threads":256,"grid":{{\[\[\[}}1,256,["B","T"],4096]],1,1]
// PLAN-SAME: {"kernel":"scatter_rows_chains","threads":256,"grid":{{\[\[\[}}1,1,["N"],1]],1,1]
// PLAN-SAME: {"kernel":"scatter_rows_rows_256","threads":256,"grid":{{\[\[\[}}1,1,["N"],1]],1,1]
// PLAN: {"kernel":"embedding_grad_zero_4","threads":256,"grid":[2,1,1]
// PLAN-SAME: {"kernel":"embedding_grad_chains","threads":256,"grid":{{\[\[\[}}1,1,["B","T"],1]],1,1]
// PLAN-SAME: {"kernel":"embedding_grad_rows_256","threads":256,"grid":{{\[\[\[}}1,1,["B","T"],1]],1,1]

// Start and offset of a sequence are in device memory (two halves of 64 bits each), so that a graph serves every
// position.
// CHECK-LABEL: .entry mask_padding_256_4(
// CHECK-COUNT-4: ld.global.u32
// CHECK: ld.global.v4.f32
// CHECK: st.global.v4.f32
// CHECK-LABEL: .entry expand_36_4(
// CHECK: ld.global.f32
// CHECK-NEXT: st.global.v4.f32

// A cache of bf16 gets fp32 rounded to nearest.
// CHECK-LABEL: .entry cache_write_bf16_128_4(
// CHECK: ld.global.v4.f32
// CHECK: cvt.rn.bf16.f32
// CHECK: st.global.b16

// CHECK-LABEL: .entry scatter_rows_zero_4(
// CHECK: st.global.v4.f32
// CHECK-LABEL: .entry scatter_rows_chains(
// CHECK-COUNT-15: shfl.sync.bfly.b32
// CHECK-NOT: shfl.sync
// CHECK-COUNT-4: st.global.u32
// CHECK-NOT: st.global
// A vector a thread of every row of the chain, and one store after the last.
// CHECK-LABEL: .entry scatter_rows_rows_256(
// CHECK: ld.global.v4.f32
// CHECK: st.global.v4.f32
// CHECK-NOT: st.global
// CHECK-NOT: bar.sync
// CHECK-LABEL: .entry embedding_grad_zero_4(
// CHECK-LABEL: .entry embedding_grad_chains(
// CHECK-LABEL: .entry embedding_grad_rows_256(
// CHECK: ld.global.v4.f32
// CHECK: st.global.v4.f32
// CHECK-NOT: st.global
morph.model @model base architecture "llama" layers 1 {
  morph.program @places(%x: tensor<?x?x256xf32> "x" [B, T], %d: tensor<?x256xf32> "d" [N], %s: tensor<?xi64> "s" [B],
                        %o: tensor<?xi64> "o" [B], %p: tensor<?xi64> "p" [N], %i: tensor<?x?xi64> "i" [B, T],
                        %k: tensor<?x?x2x64xf32> "k" [B, T], %c: tensor<?x?x2x64xbf16> "c" [B, S],
                        %h: tensor<?x?x3xf32> "h" [B, T]) {
    %m = morph.mask_padding %x, %s, %o : tensor<?x?x256xf32>, tensor<?xi64>, tensor<?xi64>
    %e = morph.expand %h to 36 : tensor<?x?x3xf32>
    %r = morph.cache_write %c, %k offset %o : tensor<?x?x2x64xbf16>, tensor<?x?x2x64xf32>, tensor<?xi64>
    %a = morph.scatter_rows %d, %p, %x : tensor<?x256xf32>, tensor<?xi64>, tensor<?x?x256xf32>
    %g = morph.embedding_grad %x, %i rows 29 : tensor<?x?x256xf32>, tensor<?x?xi64>
    morph.output "m" = %m, "e" = %e, "r" = %r, "a" = %a, "g" = %g
      : tensor<?x?x256xf32>, tensor<?x?x3x36xf32>, tensor<?x?x2x64xbf16>, tensor<?x?x256xf32>, tensor<29x256xf32>
  }
}
