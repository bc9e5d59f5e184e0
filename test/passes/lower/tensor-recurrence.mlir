// SPDX-License-Identifier: Apache-2.0
// Linear attention of bf16 on GPUs, in chunks: what is of the chunks alone, then a pass over them; back, the gradients of
// all chunks after it. Tiles come by cp.async, those of the next chunk while one is computed, fragments by ldmatrix, products are of tensor cores. A single position
// stays a step.
// RUN: rm -rf %t && mkdir -p %t
// RUN: morph-opt %s --morph-form-kernels --morph-emit-plan="program=forward output=%t/plan.json device=sm_80" -o /dev/null
// RUN: FileCheck %s --check-prefix=FORWARD --input-file=%t/plan.json
// RUN: cat %t/*.ptx | FileCheck %s --check-prefix=PASS --implicit-check-not=.local
// RUN: cat %t/*.ptx | FileCheck %s --check-prefix=COPIES
// RUN: cat %t/*.ptx | FileCheck %s --check-prefix=SCORES
// RUN: rm %t/*.ptx
// RUN: morph-opt %s --morph-form-kernels --morph-emit-plan="program=backward output=%t/plan.json device=sm_90" -o /dev/null
// RUN: FileCheck %s --check-prefix=BACKWARD --input-file=%t/plan.json
// RUN: morph-opt %s --morph-form-kernels --morph-emit-plan="program=step output=%t/plan.json device=sm_90" -o /dev/null
// RUN: FileCheck %s --check-prefix=STEP --input-file=%t/plan.json

// A block a chunk, of keys alone; then one a tile of 64 columns.
// FORWARD: {"kernel":"linear_attention_scores_bf16_2_1_64_64_64_{{[^"]*}}","threads":256,{{[^{]*}}"grid":{{\[\[\[}}1,1,["T"],64]],2,
// FORWARD-SAME: {"kernel":"linear_attention_pass_bf16_2_1_64_64_64_{{[^"]*}}","threads":256,{{[^{]*}}"grid":[1,2,

// Products of queries and keys, with the state of keys [64,64], of queries, with the inverse and the scores, and of keys
// with what they add: 8 warps, of 4 steps of 4 products each.
// PASS-LABEL: .entry linear_attention_pass_bf16_2_1_64_64_64
// PASS-COUNT-96: mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32
// PASS-NOT: mma.sync
// COPIES-LABEL: .entry linear_attention_pass_bf16_2_1_64_64_64
// COPIES: cp.async.cg.shared.global
// COPIES: cp.async.commit_group
// COPIES: bar.sync 0
// COPIES: cp.async.wait_group 0
// COPIES-NEXT: bar.sync 0
// COPIES-NOT: ldmatrix
// COPIES: cp.async.cg.shared.global
// COPIES: cp.async.commit_group
// COPIES-NOT: cp.async
// COPIES: ldmatrix.sync.aligned.m8n8.x4
// SCORES-LABEL: .entry linear_attention_scores_bf16_2_1_64_64_64
// SCORES-COUNT-16: mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32
// SCORES-NOT: mma.sync
// SCORES-LABEL: .entry linear_attention_pass

// BACKWARD: "kernel":"linear_attention_grad_scores_bf16_2_1_64_64_64_
// BACKWARD-SAME: "kernel":"linear_attention_grad_pass_bf16_2_1_64_64_64_
// BACKWARD-SAME: "kernel":"linear_attention_grad_back_bf16_2_1_64_64_64_
// BACKWARD-SAME: "kernel":"linear_attention_grad_gradients_bf16_2_1_64_64_64_

// STEP: "kernel":"linear_attention_forward_bf16_2_1_64_64_64_
morph.model @model base architecture "llama" layers 1 {
  morph.program @forward(%q: tensor<?x?x1x64xbf16> "q" [B, T], %k: tensor<?x?x1x64xbf16> "k" [B, T],
                         %v: tensor<?x?x2x64xbf16> "v" [B, T], %g: tensor<?x?x2xf32> "g" [B, T],
                         %b: tensor<?x?x2xf32> "b" [B, T]) {
    %y:2 = morph.linear_attention %q, %k, %v decay %g beta %b scale 0.125 chunk 64
      : tensor<?x?x1x64xbf16>, tensor<?x?x1x64xbf16>, tensor<?x?x2x64xbf16> decay tensor<?x?x2xf32> beta tensor<?x?x2xf32>
    morph.output "y" = %y#0 : tensor<?x?x2x64xf32>
  }
  morph.program @backward(%d: tensor<?x?x2x64xbf16> "d" [B, T], %q: tensor<?x?x1x64xbf16> "q" [B, T],
                          %k: tensor<?x?x1x64xbf16> "k" [B, T], %v: tensor<?x?x2x64xbf16> "v" [B, T],
                          %g: tensor<?x?x2xf32> "g" [B, T], %b: tensor<?x?x2xf32> "b" [B, T]) {
    %r:5 = morph.linear_attention_grad %d, %q, %k, %v decay %g beta %b scale 0.125 chunk 64
      : tensor<?x?x2x64xbf16>, tensor<?x?x1x64xbf16>, tensor<?x?x1x64xbf16>, tensor<?x?x2x64xbf16>
        decay tensor<?x?x2xf32> beta tensor<?x?x2xf32>
    morph.output "dq" = %r#0, "dk" = %r#1, "dv" = %r#2, "dg" = %r#3, "db" = %r#4
      : tensor<?x?x1x64xf32>, tensor<?x?x1x64xf32>, tensor<?x?x2x64xf32>, tensor<?x?x2xf32>, tensor<?x?x2xf32>
  }
  morph.program @step(%q: tensor<?x1x1x64xbf16> "q" [B], %k: tensor<?x1x1x64xbf16> "k" [B],
                      %v: tensor<?x1x2x64xbf16> "v" [B], %s: tensor<?x2x64x64xf32> "s" [B]) {
    %y:2 = morph.linear_attention %q, %k, %v state %s scale 0.125 chunk 64
      : tensor<?x1x1x64xbf16>, tensor<?x1x1x64xbf16>, tensor<?x1x2x64xbf16> state tensor<?x2x64x64xf32>
    morph.output "y" = %y#0, "s" = %y#1 : tensor<?x1x2x64xf32>, tensor<?x2x64x64xf32>
  }
}
