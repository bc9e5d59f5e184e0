// SPDX-License-Identifier: Apache-2.0
// Losses of rows of logits on GPUs: a block a row, which it goes over in vectors of four; what the threads have is combined
// in pairs of lanes and then warp by warp, in one order.
// RUN: rm -rf %t && mkdir -p %t
// RUN: morph-opt %s --morph-emit-plan="program=losses output=%t/plan.json device=sm_90" -o /dev/null
// RUN: FileCheck %s --check-prefix=PLAN --input-file=%t/plan.json
// RUN: cat %t/*.ptx | FileCheck %s --implicit-check-not=.local --implicit-check-not=atom. --implicit-check-not=red.global

// PLAN: {"kernel":"token_nll_4104","threads":256,"grid":{{\[\[\[}}1,1,["N"],1]],1,1]
// PLAN: {"kernel":"token_nll_grad_4104","threads":256,"grid":{{\[\[\[}}1,1,["N"],1]],1,1]
// PLAN: {"kernel":"kl_divergence_4104",
// PLAN: {"kernel":"kl_divergence_grad_4104",
// PLAN: {"kernel":"correct_4104",

// The logits are read once: the largest so far is taken off in passing. Then the largest and the sum of the block, of five
// steps in a warp and eight warps; one thread writes.
// CHECK-LABEL: .entry token_nll_4104(
// CHECK: ld.global.v4.f32
// CHECK-NOT: ld.global.v4.f32
// CHECK-COUNT-5: shfl.sync.bfly.b32
// CHECK: bar.sync 0;
// CHECK: st.shared.f32
// CHECK: bar.sync 0;
// CHECK-COUNT-2: ld.shared.v4.f32
// CHECK-COUNT-5: shfl.sync.bfly.b32
// CHECK: bar.sync 0;
// CHECK: bar.sync 0;
// CHECK-COUNT-2: ld.shared.v4.f32
// CHECK-NOT: {{shfl|bar}}.sync
// CHECK: st.global.f32
// CHECK-NOT: st.global

// The gradient goes over them once more, and a vector is stored at once.
// CHECK-LABEL: .entry token_nll_grad_4104(
// CHECK: ld.global.v4.f32
// CHECK-COUNT-10: shfl.sync.bfly.b32
// CHECK: ld.global.v4.f32
// CHECK-NOT: {{shfl|bar}}.sync
// CHECK: st.global.v4.f32
// CHECK-NOT: st.global

// Once each for the sums of teacher and student, and once both for the divergence: 2 x 10 steps and 5.
// CHECK-LABEL: .entry kl_divergence_4104(
// CHECK: ld.global.v4.f32
// CHECK-COUNT-10: shfl.sync.bfly.b32
// CHECK: ld.global.v4.f32
// CHECK-COUNT-10: shfl.sync.bfly.b32
// CHECK: ld.global.v4.f32
// CHECK-NEXT: ld.global.v4.f32
// CHECK-COUNT-5: shfl.sync.bfly.b32
// CHECK-NOT: shfl.sync
// CHECK: st.global.f32

// CHECK-LABEL: .entry kl_divergence_grad_4104(
// CHECK-COUNT-20: shfl.sync.bfly.b32
// CHECK: ld.global.v4.f32
// CHECK-NEXT: ld.global.v4.f32
// CHECK-NOT: {{shfl|bar}}.sync
// CHECK: st.global.v4.f32

// No exponential: one pass, one largest.
// CHECK-LABEL: .entry correct_4104(
// CHECK: ld.global.v4.f32
// CHECK-COUNT-5: shfl.sync.bfly.b32
// CHECK-NOT: shfl.sync
// CHECK: st.global.f32
morph.model @model base architecture "llama" layers 1 {
  morph.program @losses(%x: tensor<?x4104xf32> "x" [N], %y: tensor<?x4104xf32> "y" [N], %t: tensor<?xi64> "t" [N],
                        %d: tensor<?xf32> "d" [N]) {
    %nll = morph.token_nll %x, %t : tensor<?x4104xf32>, tensor<?xi64>
    %nll_grad = morph.token_nll_grad %d, %x, %t : tensor<?xf32>, tensor<?x4104xf32>, tensor<?xi64>
    %kl = morph.kl_divergence %x, %y : tensor<?x4104xf32>, tensor<?x4104xf32>
    %kl_grad = morph.kl_divergence_grad %d, %x, %y : tensor<?xf32>, tensor<?x4104xf32>, tensor<?x4104xf32>
    %right = morph.correct %x, %t : tensor<?x4104xf32>, tensor<?xi64>
    morph.output "nll" = %nll, "gn" = %nll_grad, "kl" = %kl, "gk" = %kl_grad, "right" = %right
      : tensor<?xf32>, tensor<?x4104xf32>, tensor<?xf32>, tensor<?x4104xf32>, tensor<?xf32>
  }
}
