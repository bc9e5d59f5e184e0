// SPDX-License-Identifier: Apache-2.0
// How far attention looks, on GPUs: a block a query and a head, whose query lies in shared memory, a thread a key; then the
// mean over queries in f64, a block a head.
// RUN: rm -rf %t && mkdir -p %t
// RUN: morph-opt %s --morph-emit-plan="program=distance output=%t/plan.json device=sm_90" -o /dev/null
// RUN: FileCheck %s --check-prefix=PLAN --input-file=%t/plan.json
// RUN: cat %t/*.ptx | FileCheck %s --implicit-check-not=.local --implicit-check-not=atom. --implicit-check-not=red.global

// PLAN: {"kernel":"attention_distance_4_2_64_3FC0000000000000_5","threads":256,"grid":{{\[\[\[}}1,4,["B","T"],1]],1,1]
// PLAN-SAME: {"kernel":"attention_distance_means_4","threads":256,"grid":[4,1,1]

// The largest score, the sum of shares and that of distances.
// CHECK-LABEL: .entry attention_distance_4_2_64_3FC0000000000000_5(
// CHECK: ld.global.f32
// CHECK-NEXT: st.shared.f32
// CHECK: bar.sync 0;
// CHECK: ld.shared.v4.f32
// CHECK-COUNT-15: shfl.sync.bfly.b32
// CHECK-NOT: shfl.sync
// CHECK: st.global.f32
// CHECK-LABEL: .entry attention_distance_means_4(
// CHECK: cvt.f64.f32
// CHECK-NEXT: add.rn.f64
// CHECK-COUNT-10: shfl.sync.bfly.b32
// CHECK-COUNT-7: add.rn.f64
// CHECK: st.global.f32
morph.model @model base architecture "llama" layers 1 {
  morph.program @distance(%q: tensor<?x?x4x64xf32> "q" [B, T], %k: tensor<?x?x2x64xf32> "k" [B, T]) {
    %d = morph.attention_distance %q, %k scale 0.125 window 5 : tensor<?x?x4x64xf32>, tensor<?x?x2x64xf32>
    morph.output "d" = %d : tensor<4xf32>
  }
}
