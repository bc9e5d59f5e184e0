// SPDX-License-Identifier: Apache-2.0
// RUN: morph-opt %s --morph-recompute="program=chain limit=4096 sizes=B=1,T=64" | FileCheck %s --check-prefixes=CHECK,AGAIN
// RUN: morph-opt %s --morph-recompute="program=chain limit=6144 sizes=B=1,T=64" | FileCheck %s --check-prefixes=CHECK,KEPT
// RUN: morph-opt %s --morph-recompute="program=chain limit=6144 sizes=B=2,T=64 least=true" | FileCheck %s --check-prefixes=CHECK,AGAIN
// RUN: morph-opt %s --morph-recompute="program=views limit=6144 sizes=B=1,T=64" | FileCheck %s --check-prefix=VIEWS
// RUN: morph-opt %s --morph-recompute="program=costs limit=6144 sizes=B=1,T=64" | FileCheck %s --check-prefix=COSTS
// RUN: morph-opt %S/Inputs/tiny-base.mlir --morph-search-pipeline --morph-program-pipeline="program=gates options=kernels=false" \
// RUN:   --morph-recompute="program=gates limit=0 least=true sizes=B=1,T=64,N=4" | FileCheck %s --check-prefix=GATES

morph.model @small base architecture "llama" layers 1 {
  morph.weight @square : tensor<8x8xf32>

  // A value of [1,64,8] takes 2048 bytes. %a, %b and %c live together, and %a is not read while %c is made.
  // CHECK-LABEL: morph.program @chain
  // CHECK-SAME: %[[X:[a-z0-9]+]]:
  // CHECK: %[[A:.*]] = morph.exp %[[X]]
  // CHECK: %[[B:.*]] = morph.exp %[[A]]
  // CHECK: %[[C:.*]] = morph.exp %[[B]]
  // CHECK-NEXT: %[[D:.*]] = morph.mul %[[C]], %[[B]]
  // AGAIN-NEXT: %[[COPY:.*]] = morph.exp %[[X]]
  // AGAIN-NEXT: morph.mul %[[D]], %[[COPY]]
  // KEPT-NEXT: morph.mul %[[D]], %[[A]]
  morph.program @chain(%x: tensor<?x?x8xf32> "x" [B, T]) {
    %a = morph.exp %x : tensor<?x?x8xf32>
    %b = morph.exp %a : tensor<?x?x8xf32>
    %c = morph.exp %b : tensor<?x?x8xf32>
    %d = morph.mul %c, %b : tensor<?x?x8xf32>, tensor<?x?x8xf32>
    %e = morph.mul %d, %a : tensor<?x?x8xf32>, tensor<?x?x8xf32>
    morph.output "y" = %e : tensor<?x?x8xf32>
  }

  // A view of what is dropped is one of the copy.
  // VIEWS-LABEL: morph.program @views
  // VIEWS-SAME: %[[X:[a-z0-9]+]]:
  // VIEWS: %[[A:.*]] = morph.exp %[[X]]
  // VIEWS: %[[HEADS:.*]] = morph.split_heads %[[A]]
  // VIEWS: morph.sigmoid %[[HEADS]]
  // VIEWS: %[[COPY:.*]] = morph.exp %[[X]]
  // VIEWS: %[[VIEW:.*]] = morph.split_heads %[[COPY]]
  // VIEWS: morph.mul %{{.*}}, %[[VIEW]]
  morph.program @views(%x: tensor<?x?x8xf32> "x" [B, T]) {
    %a = morph.exp %x : tensor<?x?x8xf32>
    %heads = morph.split_heads %a heads 2 : tensor<?x?x8xf32>
    %b = morph.sigmoid %heads : tensor<?x?x2x4xf32>
    %c = morph.exp %b : tensor<?x?x2x4xf32>
    %d = morph.exp %c : tensor<?x?x2x4xf32>
    %e = morph.mul %d, %c : tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>
    %f = morph.mul %e, %b : tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>
    %g = morph.mul %f, %heads : tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>
    morph.output "y" = %g : tensor<?x?x2x4xf32>
  }

  // Of two values of the same size, the product is kept: it costs more.
  // COSTS-LABEL: morph.program @costs
  // COSTS: morph.linear
  // COSTS: morph.exp
  // COSTS-NOT: morph.linear
  // COSTS: morph.exp
  // COSTS: morph.output
  morph.program @costs(%x: tensor<?x?x8xf32> "x" [B, T]) {
    %w = morph.param @square : tensor<8x8xf32>
    %a = morph.linear %x, %w : tensor<?x?x8xf32>, tensor<8x8xf32>
    %b = morph.exp %x : tensor<?x?x8xf32>
    %c = morph.sigmoid %x : tensor<?x?x8xf32>
    %d = morph.sigmoid %c : tensor<?x?x8xf32>
    %e = morph.mul %d, %c : tensor<?x?x8xf32>, tensor<?x?x8xf32>
    %f = morph.mul %e, %b : tensor<?x?x8xf32>, tensor<?x?x8xf32>
    %g = morph.mul %f, %a : tensor<?x?x8xf32>, tensor<?x?x8xf32>
    morph.output "y" = %g : tensor<?x?x8xf32>
  }
}

// The backward of layer 0 begins with its forward once more, from the tokens on.
// GATES: morph.program @gates(
// GATES: morph.embedding %tokens
// GATES-NOT: morph.embedding
// GATES: morph.kl_divergence_grad
// GATES: morph.linear_attention_grad
// GATES: morph.embedding %tokens
// GATES: morph.blend %
// GATES: morph.rms_norm %
// GATES: morph.swiglu_grad
// GATES: morph.blend_gate_grad
// GATES: morph.output
