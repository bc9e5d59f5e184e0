// SPDX-License-Identifier: Apache-2.0
// Attention of bf16 on GPUs: tiles of keys and values come by cp.async, each while the one before is used; fragments by
// ldmatrix; products on tensor cores. Nothing lies in local memory.
// RUN: rm -rf %t && mkdir -p %t
// RUN: morph-opt %s --morph-form-kernels --morph-emit-plan="program=forward output=%t/plan.json device=sm_80" -o /dev/null
// RUN: cat %t/*.ptx | FileCheck %s --check-prefix=COPIES --implicit-check-not=.local
// RUN: cat %t/*.ptx | FileCheck %s --check-prefix=FRAGMENTS
// RUN: cat %t/*.ptx | FileCheck %s --check-prefix=PRODUCTS
// RUN: rm %t/*.ptx
// RUN: morph-opt %s --morph-form-kernels --morph-emit-plan="program=backward output=%t/plan.json device=sm_90" -o /dev/null
// RUN: cat %t/*.ptx | FileCheck %s --check-prefix=GRAD --implicit-check-not=.local
// RUN: FileCheck %s --check-prefix=KEPT --input-file=%t/plan.json
// RUN: rm %t/*.ptx
// RUN: morph-opt %s --morph-form-kernels --morph-emit-plan="program=found output=%t/plan.json device=sm_90" -o /dev/null
// RUN: FileCheck %s --check-prefix=FOUND --input-file=%t/plan.json
// RUN: rm %t/*.ptx
// RUN: morph-opt %s --morph-form-kernels --morph-emit-plan="program=decode output=%t/plan.json device=sm_90" -o /dev/null
// RUN: FileCheck %s --check-prefix=DECODE --input-file=%t/plan.json

// Of 128 threads each copies 16 bytes of eight rows of the queries, four of the first keys and four of the first values;
// in the loop, those of the next tile.
// COPIES-LABEL: .entry attention_tensor_bf16_2_1_64_0_
// COPIES-COUNT-16: cp.async.cg.shared.global
// COPIES-NOT: cp.async.cg
// COPIES: cp.async.commit_group
// COPIES-NEXT: cp.async.wait_group 0
// COPIES-NEXT: bar.sync 0
// COPIES-COUNT-8: cp.async.cg.shared.global
// COPIES-NOT: cp.async.cg

// A warp has 32 queries, 2 x 4 blocks; of keys and of values 4 x 4 blocks a tile serve both rows of blocks, in two products
// each.
// FRAGMENTS-LABEL: .entry attention_tensor_bf16_2_1_64_0_
// FRAGMENTS-COUNT-16: ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16
// FRAGMENTS-COUNT-24: ldmatrix.sync.aligned.m8n8.x4.shared.b16
// FRAGMENTS-NOT: ldmatrix
// PRODUCTS-LABEL: .entry attention_tensor_bf16_2_1_64_0_
// PRODUCTS: ex2.approx.ftz.f32
// PRODUCTS: cvt.rn.bf16x2.f32
// PRODUCTS-COUNT-128: mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32
// PRODUCTS-NOT: mma.sync

// Of tiles of 32 keys: three products for dq, of 32 each as a warp has 32 rows, and four for dk and dv, of 16.
// GRAD-LABEL: .entry attention_grad_tensor_rows_bf16_2_1_64_0_{{[0-9A-F]+}}_128x32x4
// GRAD-COUNT-96: mma.sync
// GRAD-NOT: mma.sync
// GRAD-LABEL: .entry attention_grad_tensor_keys_bf16_2_1_64_0_{{[0-9A-F]+}}_128x32x8
// GRAD-COUNT-64: mma.sync
// GRAD-NOT: mma.sync

// What the forward leaves is read; where it leaves nothing, it is found by the forward once more, its result in the
// place of dq.
// KEPT: "launches":[{"kernel":"attention_tensor_bf16_2_1_64_0_{{[0-9A-F]+}}_lse_128x64x4",
// KEPT-NOT: attention_grad_tensor_bf16
// KEPT: "launches":[{"kernel":"attention_grad_tensor_rows_bf16_2_1_64_0_
// FOUND: "launches":[{"kernel":"attention_grad_tensor_bf16_2_1_64_0_{{[0-9A-F]+}}_lse_128x64x4",
// FOUND-SAME: "kernel":"attention_grad_tensor_rows_bf16_2_1_64_0_
// FOUND-SAME: "kernel":"attention_grad_tensor_keys_bf16_2_1_64_0_

// A block for each 256 keys or each 64 rows, whichever it turns out to be; and the sum of the parts.
// DECODE: attention_tensor_bf16_2_1_64_0_{{[0-9A-F]+}}_offset_shared_64x64x4
// DECODE: attention_parts_bf16_2_1_64_0_{{[0-9A-F]+}}_offset
morph.model @model base architecture "llama" layers 1 {
  morph.program @forward(%q: tensor<?x?x2x64xbf16> "q" [B, T], %k: tensor<?x?x1x64xbf16> "k" [B, T],
                         %v: tensor<?x?x1x64xbf16> "v" [B, T]) {
    %y = morph.attention %q, %k, %v scale 0.125 : tensor<?x?x2x64xbf16>, tensor<?x?x1x64xbf16>, tensor<?x?x1x64xbf16>
    morph.output "y" = %y : tensor<?x?x2x64xf32>
  }
  morph.program @backward(%d: tensor<?x?x2x64xbf16> "d" [B, T], %q: tensor<?x?x2x64xbf16> "q" [B, T],
                          %k: tensor<?x?x1x64xbf16> "k" [B, T], %v: tensor<?x?x1x64xbf16> "v" [B, T]) {
    %y, %lse = morph.attention %q, %k, %v scale 0.125 keep_lse
      : tensor<?x?x2x64xbf16>, tensor<?x?x1x64xbf16>, tensor<?x?x1x64xbf16>
    %g:3 = morph.attention_grad %d, %q, %k, %v out %y lse %lse scale 0.125
      : tensor<?x?x2x64xbf16>, tensor<?x?x2x64xbf16>, tensor<?x?x1x64xbf16>, tensor<?x?x1x64xbf16>
        out tensor<?x?x2x64xf32> lse tensor<?x2x?xf32>
    morph.output "dq" = %g#0, "dk" = %g#1, "dv" = %g#2
      : tensor<?x?x2x64xf32>, tensor<?x?x1x64xf32>, tensor<?x?x1x64xf32>
  }
  morph.program @found(%d: tensor<?x?x2x64xbf16> "d" [B, T], %q: tensor<?x?x2x64xbf16> "q" [B, T],
                       %k: tensor<?x?x1x64xbf16> "k" [B, T], %v: tensor<?x?x1x64xbf16> "v" [B, T]) {
    %g:3 = morph.attention_grad %d, %q, %k, %v scale 0.125
      : tensor<?x?x2x64xbf16>, tensor<?x?x2x64xbf16>, tensor<?x?x1x64xbf16>, tensor<?x?x1x64xbf16>
    morph.output "dq" = %g#0, "dk" = %g#1, "dv" = %g#2
      : tensor<?x?x2x64xf32>, tensor<?x?x1x64xf32>, tensor<?x?x1x64xf32>
  }
  morph.program @decode(%q: tensor<?x?x2x64xbf16> "q" [B, T], %k: tensor<?x?x1x64xbf16> "k" [B, S],
                        %v: tensor<?x?x1x64xbf16> "v" [B, S], %offset: tensor<?xi64> "offset" [B]) {
    %y = morph.attention %q, %k, %v offset %offset scale 0.125
      : tensor<?x?x2x64xbf16>, tensor<?x?x1x64xbf16>, tensor<?x?x1x64xbf16> offset tensor<?xi64>
    morph.output "y" = %y : tensor<?x?x2x64xf32>
  }
}
