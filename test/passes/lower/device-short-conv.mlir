// SPDX-License-Identifier: Apache-2.0
// The causal depthwise convolution on GPUs: a thread an element, neighbours in neighbouring channels; its weight's gradient in
// parts of 256 positions, summed in their order.
// RUN: rm -rf %t && mkdir -p %t
// RUN: morph-opt %s --morph-emit-plan="program=conv output=%t/plan.json device=sm_90" -o /dev/null
// RUN: FileCheck %s --check-prefix=PLAN --input-file=%t/plan.json
// RUN: cat %t/*.ptx | FileCheck %s --implicit-check-not=.local --implicit-check-not=atom. --implicit-check-not=red.global

// PLAN: {"kernel":"short_conv_96_4_state","threads":256,"grid":{{\[\[\[}}1,96,["B","T"],256]],1,1]
// PLAN-SAME: {"kernel":"short_conv_state_96_4_state","threads":256,"grid":{{\[\[\[}}1,96,["B"],256]],1,1]
// PLAN: {"kernel":"short_conv_grad_x_96_4","threads":256,"grid":{{\[\[\[}}1,96,["B","T"],256]],1,1]

// A warp's channels, a tap: 3 x 4 blocks a part. Then the parts of 96 x 4 weights.
// PLAN-SAME: {"kernel":"short_conv_grad_parts_96_4","threads":256,"grid":{{\[\[\[}}1,1,["B","T"],256]],3,4]
// PLAN-SAME: {"kernel":"short_conv_grad_parts_384","threads":128,"grid":[3,1,1]

// The taps are unrolled, and added from the first to the last.
// CHECK-LABEL: .entry short_conv_96_4_state(
// CHECK: fma.rn.f32 [[A:%f[0-9]+]], {{.*}}, 0f00000000;
// CHECK: fma.rn.f32 [[B:%f[0-9]+]], {{.*}}, [[A]];
// CHECK: fma.rn.f32 [[C:%f[0-9]+]], {{.*}}, [[B]];
// CHECK: fma.rn.f32 [[D:%f[0-9]+]], {{.*}}, [[C]];
// CHECK-NOT: fma.rn
// CHECK: st.global.f32 {{.*}}, [[D]];

// A row is written after what it takes has been read, by the thread that reads it: the new state may lie where the old one
// does.
// CHECK-LABEL: .entry short_conv_state_96_4_state(
// CHECK: ld.global.f32
// CHECK: st.global.f32
// CHECK: ld.global.f32
// CHECK: st.global.f32
// CHECK: ld.global.f32
// CHECK: st.global.f32
// CHECK-NOT: st.global

// CHECK-LABEL: .entry short_conv_grad_x_96_4(
// CHECK: fma.rn.f32
// CHECK: st.global.f32

// Eight warps have every eighth position each, and are added warp by warp.
// CHECK-LABEL: .entry short_conv_grad_parts_96_4(
// CHECK: fma.rn.f32
// CHECK: st.shared.f32
// CHECK-NEXT: bar.sync 0;
// CHECK-COUNT-7: add.rn.f32
// CHECK-NOT: {{add.rn.f32|bar.sync}}
// CHECK: st.global.f32
// CHECK-LABEL: .entry short_conv_grad_parts_384(
// CHECK: ld.global.f32
// CHECK-NEXT: add.rn.f32
morph.model @model base architecture "llama" layers 1 {
  morph.program @conv(%x: tensor<?x?x96xf32> "x" [B, T], %w: tensor<96x1x4xf32> "w", %s: tensor<?x3x96xf32> "s" [B],
                      %d: tensor<?x?x96xf32> "d" [B, T]) {
    %y, %f = morph.short_conv %x, %w state %s : tensor<?x?x96xf32>, tensor<96x1x4xf32> state tensor<?x3x96xf32>
    %dx, %dw = morph.short_conv_grad %d, %x, %w : tensor<?x?x96xf32>, tensor<?x?x96xf32>, tensor<96x1x4xf32>
    morph.output "y" = %y, "f" = %f, "dx" = %dx, "dw" = %dw
      : tensor<?x?x96xf32>, tensor<?x3x96xf32>, tensor<?x?x96xf32>, tensor<96x1x4xf32>
  }
}
