// SPDX-License-Identifier: Apache-2.0
// RUN: morph-opt %s --morph-separate-documents=program=step | FileCheck %s
// RUN: morph-opt %S/Inputs/tiny-base.mlir --morph-pair-branches="candidates=gated_deltanet(conv=4)" --morph-discretize=kept=1 --morph-program-pipeline='program=distill options="separate=true,kernels=false"' | FileCheck %s --check-prefix=DISTILL
// RUN: not morph-opt %s --morph-separate-documents=program=none 2>&1 | FileCheck %s --check-prefix=NONE
// RUN: not morph-opt %s --morph-separate-documents=program=mean 2>&1 | FileCheck %s --check-prefix=MEAN
// RUN: not morph-opt %s --morph-separate-documents=program=rings 2>&1 | FileCheck %s --check-prefix=RINGS
// RUN: not morph-translate --emit-plan --program decode --program-options separate=true %S/Inputs/tiny-base.mlir 2>&1 | FileCheck %s --check-prefix=DECODE

// NONE: error: model @m has no program 'none' to separate documents in
// MEAN: error: 'morph.position_mean' op lets the documents of a window see each other, expected ops that know of them
// RINGS: error: {{.*}}attention_c10: there is 'start' and 'begins'
// DECODE: error: {{.*}}program 'decode' has no option 'separate'

// Teacher and student, and all that is differentiated; rotations stay as they are.
// DISTILL: morph.program @distill({{.*}} "begins" [B, T]
// DISTILL-NOT: morph.rope {{.*}} begins
// DISTILL-NOT: morph.attention %{{[^b]*}} scale
// DISTILL-DAG: morph.attention %{{.*}} begins %[[BEGINS:[a-z0-9]+]] scale
// DISTILL-DAG: morph.short_conv %{{.*}} begins %{{.*}}
// DISTILL-DAG: morph.linear_attention %{{.*}} begins %{{.*}} scale
// DISTILL-DAG: morph.linear_attention_grad %{{.*}} begins %{{.*}} scale
// DISTILL-DAG: morph.short_conv_grad %{{.*}} begins %{{.*}}
// A recurrence's states between chunks are not kept: nobody knows how many chunks documents have.
// DISTILL-NOT: keep_states

morph.model @m base architecture "llama" layers 1 {
  // CHECK-LABEL: morph.program @step
  // CHECK-SAME: %[[BEGINS:[a-z0-9]+]]: tensor<?x?xi64> "begins" [B, T]
  // CHECK: morph.attention %{{.*}} begins %[[BEGINS]] scale 5.000000e-01 window 4
  // CHECK: morph.linear_attention %{{.*}} begins %[[BEGINS]] scale
  // CHECK: morph.short_conv %{{.*}} begins %[[BEGINS]]
  // CHECK: morph.mul
  morph.program @step(%x: tensor<?x?x2x8xf32> "x" [B, T], %w: tensor<16x1x4xf32> "w" []) {
    %a = morph.attention %x, %x, %x scale 0.5 window 4 : tensor<?x?x2x8xf32>, tensor<?x?x2x8xf32>, tensor<?x?x2x8xf32>
    %b:2 = morph.linear_attention %a, %a, %a scale 1.0 chunk 16 : tensor<?x?x2x8xf32>, tensor<?x?x2x8xf32>, tensor<?x?x2x8xf32>
    %m = morph.merge_heads %b#0 : tensor<?x?x2x8xf32>
    %c:2 = morph.short_conv %m, %w : tensor<?x?x16xf32>, tensor<16x1x4xf32>
    %d = morph.mul %c#0, %c#0 : tensor<?x?x16xf32>, tensor<?x?x16xf32>
    morph.output "y" = %d : tensor<?x?x16xf32>
  }
  morph.program @mean(%x: tensor<?x?x8xf32> "x" [B, T]) {
    %m = morph.position_mean %x : tensor<?x?x8xf32>
    morph.output "m" = %m : tensor<8xf32>
  }
  morph.program @rings(%x: tensor<?x?x2x8xf32> "x" [B, T], %start: tensor<?xi64> "start" [B]) {
    %a = morph.attention %x, %x, %x start %start scale 0.5 : tensor<?x?x2x8xf32>, tensor<?x?x2x8xf32>, tensor<?x?x2x8xf32> start tensor<?xi64>
    morph.output "y" = %a : tensor<?x?x2x8xf32>
  }
}
