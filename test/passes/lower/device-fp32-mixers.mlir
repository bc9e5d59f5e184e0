// SPDX-License-Identifier: Apache-2.0
// Attention of fp32, and linear attention position by position, on GPUs: in fp32, with no tensor core; tiles in shared memory,
// 16 bytes at a time, each product a thread's 4 x 4 elements. Nothing lies in local memory.
// RUN: rm -rf %t && mkdir -p %t
// RUN: morph-opt %s --morph-emit-plan="program=mixers output=%t/plan.json device=sm_90" -o /dev/null
// RUN: FileCheck %s --check-prefix=PLAN --input-file=%t/plan.json
// RUN: cat %t/*.ptx | FileCheck %s --implicit-check-not=.local --implicit-check-not=atom. --implicit-check-not=red.global --implicit-check-not=mma.sync
// RUN: rm %t/*.ptx
// RUN: morph-opt %s --morph-emit-plan="program=step output=%t/plan.json device=sm_90" -o /dev/null
// RUN: FileCheck %s --check-prefix=STEPS --input-file=%t/plan.json
// RUN: cat %t/*.ptx | FileCheck %s --check-prefix=STEP --implicit-check-not=.local --implicit-check-not=atom. --implicit-check-not=red.global

// A block 64 rows of queries of a key's head, whose two heads share its keys; of the gradients, one such and one 64 keys.
// PLAN: {"kernel":"attention_f32_2_1_64_0_3FC0000000000000","threads":256,"shared":52224,"grid":{{\[\[\[}}1,2,["T"],64]],1,{{\[\[}}1,1,["B"],1]]]
// PLAN: {"kernel":"attention_grad_rows_f32_2_1_64_0_3FC0000000000000","threads":256,"shared":87040,"grid":{{\[\[\[}}1,2,["T"],64]],1,{{\[\[}}1,1,["B"],1]]]
// PLAN-SAME: {"kernel":"attention_grad_keys_f32_2_1_64_0_3FC0000000000000","threads":256,"shared":87040,"grid":{{\[\[\[}}1,1,["T"],64]],1,{{\[\[}}1,1,["B"],1]]]

// Queries once; then, a tile of keys: keys, four of a row and four of a column a step, the largest and the sum of four rows
// over 16 lanes, shares in shared memory, values.
// CHECK-LABEL: .entry attention_f32_2_1_64_0_
// CHECK: ld.global.v4.f32
// CHECK: st.shared.v4.f32
// CHECK: bar.sync 0;
// CHECK: ld.global.v4.f32
// CHECK: st.shared.v4.f32
// CHECK: bar.sync 0;
// CHECK-COUNT-8: ld.shared.v4.f32
// CHECK-NOT: {{ld|st}}.shared
// CHECK-COUNT-32: shfl.sync.bfly.b32
// CHECK-NOT: shfl.sync
// CHECK-COUNT-16: st.shared.f32
// CHECK: bar.sync 0;
// CHECK: ld.global.v4.f32
// CHECK: bar.sync 0;
// CHECK-COUNT-8: ld.shared.v4.f32
// CHECK-NOT: {{bar|shfl}}.sync
// CHECK-COUNT-4: st.global.v4.f32
// CHECK-NOT: st.global

// Nothing is kept here: the forward runs again, and leaves the logarithms of its rows' sums, too.
// CHECK-LABEL: .entry attention_grad_f32_2_1_64_0_
// CHECK-COUNT-32: shfl.sync.bfly.b32
// CHECK-NOT: shfl.sync
// CHECK-COUNT-4: st.global.f32
// CHECK-COUNT-4: st.global.v4.f32
// CHECK-NOT: st.global

// The products of the result and its gradient: a sum of four rows over 16 lanes, which the keys' kernel needs; then dq.
// CHECK-LABEL: .entry attention_grad_rows_f32_2_1_64_0_
// CHECK-COUNT-16: shfl.sync.bfly.b32
// CHECK-NOT: shfl.sync
// CHECK-COUNT-4: st.global.f32
// CHECK-COUNT-4: st.global.v4.f32
// CHECK-NOT: st.global
// CHECK-LABEL: .entry attention_grad_keys_f32_2_1_64_0_
// CHECK-NOT: shfl.sync
// CHECK-COUNT-8: st.global.v4.f32
// CHECK-NOT: st.global

// A block 16 columns of a head's state, 8 threads a column, which have 8 of its 64 rows each in registers: one load, one store.
// STEPS: {"kernel":"linear_attention_forward_f32_2_1_64_64_64_{{[^"]*}}","threads":128,"shared":9344,"grid":[4,2,{{\[\[}}1,1,["B"],1]]]
// STEP-LABEL: .entry linear_attention_forward_f32_2_1_64_64_64_
// STEP-COUNT-8: ld.global.f32
// STEP: bar.sync 0;
// STEP: bar.sync 0;
// STEP-NOT: bar.sync
// STEP-COUNT-6: shfl.sync.bfly.b32
// STEP-NOT: {{bar|shfl}}.sync
// STEP: st.global.f32
// STEP: $L__BB
// STEP-COUNT-8: st.global.f32
// STEP-NOT: st.global
morph.model @model base architecture "llama" layers 1 {
  morph.program @mixers(%q: tensor<?x?x2x64xf32> "q" [B, T], %k: tensor<?x?x1x64xf32> "k" [B, T],
                        %v: tensor<?x?x1x64xf32> "v" [B, T], %d: tensor<?x?x2x64xf32> "d" [B, T]) {
    %y = morph.attention %q, %k, %v scale 0.125 : tensor<?x?x2x64xf32>, tensor<?x?x1x64xf32>, tensor<?x?x1x64xf32>
    %g:3 = morph.attention_grad %d, %q, %k, %v scale 0.125
      : tensor<?x?x2x64xf32>, tensor<?x?x2x64xf32>, tensor<?x?x1x64xf32>, tensor<?x?x1x64xf32>
    morph.output "y" = %y, "dq" = %g#0, "dk" = %g#1, "dv" = %g#2
      : tensor<?x?x2x64xf32>, tensor<?x?x2x64xf32>, tensor<?x?x1x64xf32>, tensor<?x?x1x64xf32>
  }
  morph.program @step(%q: tensor<?x1x1x64xf32> "q" [B], %k: tensor<?x1x1x64xf32> "k" [B], %v: tensor<?x1x2x64xf32> "v" [B],
                      %g: tensor<?x1x2xf32> "g" [B], %b: tensor<?x1x2xf32> "b" [B], %s: tensor<?x2x64x64xf32> "s" [B]) {
    %y:2 = morph.linear_attention %q, %k, %v decay %g beta %b state %s scale 0.125 chunk 64
      : tensor<?x1x1x64xf32>, tensor<?x1x1x64xf32>, tensor<?x1x2x64xf32> decay tensor<?x1x2xf32> beta tensor<?x1x2xf32> state tensor<?x2x64x64xf32>
    morph.output "y" = %y#0, "s" = %y#1 : tensor<?x1x2x64xf32>, tensor<?x2x64x64xf32>
  }
}
