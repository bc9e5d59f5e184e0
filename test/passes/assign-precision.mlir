// SPDX-License-Identifier: Apache-2.0
// RUN: morph-opt %s --morph-assign-precision="products=bf16" | FileCheck %s
// RUN: morph-opt %s --morph-assign-precision | FileCheck %s --check-prefix=FP32
// RUN: not morph-opt %s --morph-assign-precision="products=fp8" 2>&1 | FileCheck %s --check-prefix=UNKNOWN

// FP32-NOT: bf16>,
// UNKNOWN: error: option products is 'fp8', expected fp32 or bf16

!rows = tensor<?x8xf32>
!ring = tensor<?x?x2x4xf32>

morph.model @m base architecture "llama" layers 1 {
  morph.weight @frozen : tensor<8x8xbf16>
  morph.weight @trained : tensor<8x8xbf16>
  morph.weight @table : tensor<16x8xbf16>
  morph.weight @table32 : tensor<16x8xf32>
  morph.weight @ring : tensor<1x8x2x4xf32>

  // Frozen weights are held in bf16, trained ones are fp32 and rounded; a state is rounded once for all its products.
  // CHECK-LABEL: morph.program @products
  // CHECK-SAME: %x: tensor<?x8xf32> "x"
  // CHECK-DAG: %[[F:.*]] = morph.param @frozen : tensor<8x8xbf16>
  // CHECK-DAG: %[[T:.*]] = morph.param @trained : tensor<8x8xf32>
  // CHECK-DAG: %[[R:.*]] = morph.cast %[[T]] to "bf16" : tensor<8x8xf32>
  // CHECK-DAG: %[[X:.*]] = morph.cast %x to "bf16" : tensor<?x8xf32>
  // CHECK-DAG: morph.linear %[[X]], %[[F]] : tensor<?x8xbf16>, tensor<8x8xbf16>
  // CHECK-DAG: morph.linear %[[X]], %[[R]] : tensor<?x8xbf16>, tensor<8x8xbf16>
  // CHECK: morph.add %{{.*}}, %x : tensor<?x8xf32>, tensor<?x8xf32>
  morph.program @products(%x: !rows "x" [N]) trains [@trained] {
    %f = morph.param @frozen : tensor<8x8xf32>
    %t = morph.param @trained : tensor<8x8xf32>
    %a = morph.linear %x, %f : !rows, tensor<8x8xf32>
    %b = morph.linear %x, %t : !rows, tensor<8x8xf32>
    %c = morph.add %a, %b : !rows, !rows
    %d = morph.add %c, %x : !rows, !rows
    morph.output "d" = %d : !rows
  }

  // A table is held as the checkpoint has it; embeddings are fp32.
  // CHECK-LABEL: morph.program @tables
  // CHECK-DAG: %[[H:.*]] = morph.param @table : tensor<16x8xbf16>
  // CHECK-DAG: %[[W:.*]] = morph.param @table32 : tensor<16x8xf32>
  // CHECK-DAG: morph.embedding %tokens, %[[H]] : tensor<?x?xi64>, tensor<16x8xbf16>
  // CHECK-DAG: morph.embedding %tokens, %[[W]] : tensor<?x?xi64>, tensor<16x8xf32>
  morph.program @tables(%ids: tensor<?x?xi64> "tokens" [B, T]) {
    %h = morph.param @table : tensor<16x8xf32>
    %w = morph.param @table32 : tensor<16x8xf32>
    %x = morph.embedding %ids, %h : tensor<?x?xi64>, tensor<16x8xf32>
    %y = morph.embedding %ids, %w : tensor<?x?xi64>, tensor<16x8xf32>
    %z = morph.add %x, %y : tensor<?x?x8xf32>, tensor<?x?x8xf32>
    %p = morph.linear %z, %h : tensor<?x?x8xf32>, tensor<16x8xf32>
    %q = morph.linear %z, %w : tensor<?x?x8xf32>, tensor<16x8xf32>
    morph.output "p" = %p, "q" = %q : tensor<?x?x16xf32>, tensor<?x?x16xf32>
  }

  // Rings are bf16, what is written there is not, nor are recurrent states.
  // CHECK-LABEL: morph.program @decode
  // CHECK-SAME: %cache.0.k: tensor<?x?x2x4xbf16> "cache.0.k" [B, S], %cache.0.v: tensor<?x?x2x4xbf16> "cache.0.v" [B, S]
  // CHECK-SAME: %cache.1.state: tensor<?x2x4x4xf32> "cache.1.state" [B]
  // CHECK: %[[K:.*]] = morph.cache_write %cache.0.k, %x offset %offset : tensor<?x?x2x4xbf16>, tensor<?x?x2x4xf32>, tensor<?xi64>
  // CHECK: %[[V:.*]] = morph.cache_write %cache.0.v, %x offset %offset : tensor<?x?x2x4xbf16>, tensor<?x?x2x4xf32>, tensor<?xi64>
  // CHECK: %[[Q:.*]] = morph.cast %x to "bf16"
  // CHECK: morph.attention %[[Q]], %[[K]], %[[V]] offset %offset scale 5.000000e-01 : tensor<?x?x2x4xbf16>, tensor<?x?x2x4xbf16>, tensor<?x?x2x4xbf16>
  // CHECK: %[[A:.*]] = morph.cast %{{.*}} to "bf16"
  // CHECK: morph.linear_attention %[[A]], %[[A]], %[[A]] head_decay %decay state %cache.1.state
  // CHECK-SAME: tensor<?x?x2x4xbf16>, tensor<?x?x2x4xbf16>, tensor<?x?x2x4xbf16> head_decay tensor<2xf32> state tensor<?x2x4x4xf32>
  // CHECK: "next.k" = %[[K]], "next.v" = %[[V]], "next.state" = %{{.*}} : tensor<?x?x2x4xf32>, tensor<?x?x2x4xbf16>, tensor<?x?x2x4xbf16>, tensor<?x2x4x4xf32>
  morph.program @decode(%x: !ring "x" [B, T], %offset: tensor<?xi64> "offset" [B], %k: !ring "cache.0.k" [B, S],
                        %v: !ring "cache.0.v" [B, S], %state: tensor<?x2x4x4xf32> "cache.1.state" [B],
                        %decay: tensor<2xf32> "decay") {
    %ks = morph.cache_write %k, %x offset %offset : !ring, !ring, tensor<?xi64>
    %vs = morph.cache_write %v, %x offset %offset : !ring, !ring, tensor<?xi64>
    %a = morph.attention %x, %ks, %vs offset %offset scale 0.5 : !ring, !ring, !ring offset tensor<?xi64>
    %y:2 = morph.linear_attention %a, %a, %a head_decay %decay state %state scale 0.5 chunk 64 : !ring, !ring, !ring head_decay tensor<2xf32> state tensor<?x2x4x4xf32>
    morph.output "y" = %y#0, "next.k" = %ks, "next.v" = %vs, "next.state" = %y#1 : !ring, !ring, !ring, tensor<?x2x4x4xf32>
  }

  // A ring that others read, too, or that is a weight, is what it was.
  // CHECK-LABEL: morph.program @others
  // CHECK: morph.cache_write %k, %x offset %offset : tensor<1x8x2x4xf32>, tensor<1x?x2x4xf32>, tensor<1xi64>
  // CHECK: morph.cache_write %{{[0-9]+}}, %x offset %offset : tensor<1x8x2x4xf32>, tensor<1x?x2x4xf32>, tensor<1xi64>
  morph.program @others(%x: tensor<1x?x2x4xf32> "x" [T], %k: tensor<1x8x2x4xf32> "k", %offset: tensor<1xi64> "offset") trains [@ring] {
    %w = morph.param @ring : tensor<1x8x2x4xf32>
    %a = morph.cache_write %k, %x offset %offset : tensor<1x8x2x4xf32>, tensor<1x?x2x4xf32>, tensor<1xi64>
    %twice = morph.scale %a by 2.0 : tensor<1x8x2x4xf32>
    %b = morph.cache_write %w, %x offset %offset : tensor<1x8x2x4xf32>, tensor<1x?x2x4xf32>, tensor<1xi64>
    morph.output "twice" = %twice, "next" = %b : tensor<1x8x2x4xf32>, tensor<1x8x2x4xf32>
  }

  // Attention and its gradient read the same rounded values, and so does linear attention; decays stay fp32.
  // CHECK-LABEL: morph.program @attention
  // CHECK: %[[H:.*]] = morph.cast %x to "bf16"
  // CHECK: morph.attention %[[H]], %[[H]], %[[H]] scale
  // CHECK: %[[D:.*]] = morph.cast %dy to "bf16"
  // CHECK: %[[G:.*]], %{{.*}}, %{{.*}} = morph.attention_grad %[[D]], %[[H]], %[[H]], %[[H]] scale
  // CHECK: morph.linear_attention_grad %[[D]], %[[H]], %[[H]], %[[H]] head_decay %decay
  // CHECK: morph.output "y" = %{{.*}}, "dq" = %[[G]], {{.*}} : tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>
  morph.program @attention(%x: !ring "x" [B, T], %dy: !ring "dy" [B, T], %decay: tensor<2xf32> "decay") {
    %y = morph.attention %x, %x, %x scale 0.5 : !ring, !ring, !ring
    %g:3 = morph.attention_grad %dy, %x, %x, %x scale 0.5 : !ring, !ring, !ring, !ring
    %l:4 = morph.linear_attention_grad %dy, %x, %x, %x head_decay %decay scale 0.5 chunk 64 : !ring, !ring, !ring, !ring head_decay tensor<2xf32>
    morph.output "y" = %y, "dq" = %g#0, "dq2" = %l#0 : !ring, !ring, !ring
  }
}
