// SPDX-License-Identifier: Apache-2.0
// Sums over elements, rows and lines on GPUs: parts in f32, which are added up in f64; a fixed order everywhere.
// RUN: rm -rf %t && mkdir -p %t
// RUN: morph-opt %s --morph-emit-plan="program=sums output=%t/plan.json device=sm_90" -o /dev/null
// RUN: FileCheck %s --check-prefix=PLAN --input-file=%t/plan.json
// RUN: cat %t/*.ptx | FileCheck %s --implicit-check-not=.local --implicit-check-not=atom. --implicit-check-not=red.global

// PLAN: {"kernel":"squared_error_parts_4","threads":256,"grid":{{\[\[\[}}1,64,["N"],8192]],1,1]
// PLAN-SAME: {"kernel":"squared_error_target_4","threads":256,"grid":{{\[\[\[}}1,64,["N"],8192]],1,1]
// PLAN-SAME: {"kernel":"squared_error_relative","threads":256,"grid":[1,1,1]
// PLAN: {"kernel":"squared_error_grad_mean","threads":256,"grid":[1,1,1]
// PLAN-SAME: {"kernel":"squared_error_grad_4","threads":256,"grid":{{\[\[\[}}1,64,["N"],4096]],1,1]
// PLAN: {"kernel":"weighted_mean","threads":256,"grid":[1,1,1]
// PLAN: {"kernel":"weighted_mean_grad","threads":256,"grid":[1,1,1]

// 64 rows a part, 256 columns a block.
// PLAN: {"kernel":"reduce_to_parts","threads":256,"grid":{{\[\[\[}}1,3,["B","T"],64]],2,1]
// PLAN-SAME: {"kernel":"reduce_to","threads":256,"grid":[2,1,1]
// PLAN: {"kernel":"position_mean_parts","threads":256,"grid":{{\[\[\[}}1,1,["B","T"],64]],4,1]
// PLAN-SAME: {"kernel":"position_mean","threads":256,"grid":[4,1,1]

// A warp a line.
// PLAN: {"kernel":"sum_last_300","threads":256,"grid":{{\[\[\[}}1,3,["B","T"],8]],1,1]

// CHECK-LABEL: .entry squared_error_parts_4(
// CHECK-COUNT-2: ld.global.v4.f32
// CHECK-COUNT-5: shfl.sync.bfly.b32
// CHECK-NOT: shfl.sync
// CHECK: st.global.f32
// CHECK-LABEL: .entry squared_error_target_4(
// CHECK: ld.global.v4.f32
// CHECK-COUNT-5: shfl.sync.bfly.b32
// Two sums in f64, of ten steps of 32 bits each.
// CHECK-LABEL: .entry squared_error_relative(
// CHECK-COUNT-20: shfl.sync.bfly.b32
// CHECK-NOT: shfl.sync
// CHECK: div.rn.f64
// CHECK: st.global.f32

// The gradient's factor is a number in memory: the second launch reads it once a thread.
// CHECK-LABEL: .entry squared_error_grad_mean(
// CHECK-NOT: {{bar|shfl}}.sync
// CHECK: div.rn.f64
// CHECK-LABEL: .entry squared_error_grad_4(
// CHECK: ld.global.f32
// CHECK: $L__BB
// CHECK-COUNT-2: ld.global.v4.f32
// CHECK: st.global.v4.f32
// CHECK-NOT: {{bar|shfl}}.sync

// CHECK-LABEL: .entry weighted_mean(
// CHECK-COUNT-20: shfl.sync.bfly.b32
// CHECK: div.rn.f64
// CHECK-LABEL: .entry weighted_mean_grad(
// CHECK-COUNT-10: shfl.sync.bfly.b32
// CHECK: div.rn.f64
// CHECK: mul.rn.f64
// CHECK: st.global.f32

// Rows one after the other, a column a thread: neither barrier nor shuffle.
// CHECK-LABEL: .entry reduce_to_parts(
// CHECK-NOT: {{bar|shfl}}.sync
// CHECK: ld.global.f32
// CHECK-NEXT: add.rn.f32
// CHECK-LABEL: .entry reduce_to(
// CHECK-NOT: {{bar|shfl}}.sync
// CHECK: ld.global.f32
// CHECK-NEXT: cvt.f64.f32
// CHECK-NEXT: add.rn.f64
// CHECK-LABEL: .entry position_mean_parts(
// CHECK-LABEL: .entry position_mean(
// CHECK: div.rn.f64

// CHECK-LABEL: .entry sum_last_300(
// CHECK: ld.global.v4.f32
// CHECK-COUNT-5: shfl.sync.bfly.b32
// CHECK-NOT: {{bar|shfl}}.sync
// CHECK: st.global.f32
morph.model @model base architecture "llama" layers 1 {
  morph.program @sums(%x: tensor<?x64xf32> "x" [N], %y: tensor<?x64xf32> "y" [N], %d: tensor<f32> "d",
                      %w: tensor<?xf32> "w" [N], %v: tensor<?xf32> "v" [N], %z: tensor<?x?x3x300xf32> "z" [B, T]) {
    %e = morph.squared_error %x, %y normalize "relative" : tensor<?x64xf32>
    %g = morph.squared_error_grad %d, %x, %y normalize "mean" : tensor<f32>, tensor<?x64xf32>, tensor<?x64xf32>
    %m = morph.weighted_mean %v, %w : tensor<?xf32>, tensor<?xf32>
    %q = morph.weighted_mean_grad %d, %w : tensor<f32>, tensor<?xf32>
    %r = morph.reduce_to %z rank 1 : tensor<?x?x3x300xf32>
    %p = morph.position_mean %z : tensor<?x?x3x300xf32>
    %s = morph.sum_last %z : tensor<?x?x3x300xf32>
    morph.output "e" = %e, "g" = %g, "m" = %m, "q" = %q, "r" = %r, "p" = %p, "s" = %s
      : tensor<f32>, tensor<?x64xf32>, tensor<f32>, tensor<?xf32>, tensor<300xf32>, tensor<3x300xf32>, tensor<?x?x3xf32>
  }
}
