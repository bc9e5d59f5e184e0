// SPDX-License-Identifier: Apache-2.0
// What a step does with gradients on GPUs: vectors of four, elements that one thread reads and writes; norms in parts of 8192
// elements, added up by one block in f64.
// RUN: rm -rf %t && mkdir -p %t
// RUN: morph-opt %s --morph-emit-plan="program=step output=%t/plan.json device=sm_90" -o /dev/null
// RUN: FileCheck %s --check-prefix=PLAN --input-file=%t/plan.json
// RUN: cat %t/*.ptx | FileCheck %s --implicit-check-not=.local --implicit-check-not=atom. --implicit-check-not=red.global

// A block has 4096 elements of accumulate, clip and adamw, and 8192 of a norm's parts.
// PLAN: {"kernel":"accumulate_4","threads":256,"grid":[3,1,1]
// PLAN: {"kernel":"global_norm_parts_4","threads":256,"grid":[2,1,1]
// PLAN-SAME: {"kernel":"global_norm","threads":256,"grid":[1,1,1]
// PLAN: {"kernel":"clip_3FE0000000000000_4","threads":256,"grid":[3,1,1]
// PLAN: {"kernel":"adamw_{{[0-9A-F_]*}}_4","threads":256,"grid":[3,1,1]
// PLAN: {"kernel":"ones","threads":32,"grid":[1,1,1]
// PLAN: {"kernel":"stack_2","threads":32,"grid":[1,1,1]

// The share is read once a thread, before the loop.
// CHECK-LABEL: .entry accumulate_4(
// CHECK: ld.global.f32
// CHECK: $L__BB
// CHECK-COUNT-2: ld.global.v4.f32
// CHECK-NOT: ld.global
// CHECK: st.global.v4.f32
// CHECK-NOT: {{bar|shfl}}.sync

// CHECK-LABEL: .entry global_norm_parts_4(
// CHECK: ld.global.v4.f32
// CHECK-COUNT-5: shfl.sync.bfly.b32
// CHECK: bar.sync 0;
// CHECK: bar.sync 0;
// CHECK-NOT: {{bar|shfl}}.sync
// CHECK: st.global.f32

// The two halves of an f64 a step, and the eight warps' sums one after the other.
// CHECK-LABEL: .entry global_norm(
// CHECK: cvt.f64.f32
// CHECK-NEXT: add.rn.f64
// CHECK-COUNT-10: shfl.sync.bfly.b32
// CHECK: st.shared.f64
// CHECK: bar.sync 0;
// CHECK-COUNT-7: add.rn.f64
// CHECK-NOT: add.rn.f64
// CHECK: sqrt.rn.f64
// CHECK: st.global.f32

// A gradient within its limit is neither read nor written: the branch is before the loads.
// CHECK-LABEL: .entry clip_3FE0000000000000_4(
// CHECK: div.rn.f64
// CHECK: setp.{{.*}}f32
// CHECK: bra
// CHECK: ld.global.v4.f32
// CHECK: st.global.v4.f32

// What depends on the rate and the step alone, once a block; then four loads and three stores an element, and nothing in
// f64.
// CHECK-LABEL: .entry adamw_
// CHECK-COUNT-3: st.shared.f32
// CHECK: bar.sync 0;
// CHECK-COUNT-3: ld.shared.f32
// CHECK-NOT: .f64
// CHECK-COUNT-4: ld.global.v4.f32
// CHECK-NOT: .f64
// CHECK-COUNT-3: st.global.v4.f32
// CHECK-NOT: {{bar.sync|\.f64}}

// CHECK-LABEL: .entry ones(
// CHECK: st.global
// CHECK-LABEL: .entry stack_2(
// CHECK: ld.global.f32
// CHECK-NEXT: st.global.f32
// CHECK-NEXT: ld.global.f32
// CHECK-NEXT: st.global.f32
morph.model @model base architecture "llama" layers 1 {
  morph.program @step(%p: tensor<37x260xf32> "p", %s: tensor<37x260xf32> "s", %g: tensor<37x260xf32> "g",
                      %m: tensor<37x260xf32> "m", %v: tensor<37x260xf32> "v", %share: tensor<f32> "share",
                      %rate: tensor<f32> "rate", %step: tensor<i64> "step") {
    %a = morph.accumulate %s, %g, %share : tensor<37x260xf32>, tensor<37x260xf32>, tensor<f32>
    %norm = morph.global_norm %a : tensor<37x260xf32>
    %c = morph.clip %a, %norm limit 0.5 : tensor<37x260xf32>, tensor<f32>
    %p1, %m1, %v1 = morph.adamw %p, %c, %m, %v, %rate, %step {beta1 = 0.9 : f64, beta2 = 0.95 : f64, epsilon = 1.0e-8 : f64, weight_decay = 0.1 : f64}
      : tensor<37x260xf32>, tensor<37x260xf32>, tensor<37x260xf32>, tensor<37x260xf32>, tensor<f32>, tensor<i64>
    %o = morph.ones
    %t = morph.stack %norm, %o : tensor<f32>, tensor<f32>
    morph.output "p" = %p1, "m" = %m1, "v" = %v1, "t" = %t
      : tensor<37x260xf32>, tensor<37x260xf32>, tensor<37x260xf32>, tensor<2xf32>
  }
}
