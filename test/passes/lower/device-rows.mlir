// SPDX-License-Identifier: Apache-2.0
// Moves of rows, rotations and elementwise ops that stand alone, on GPUs: a thread an element, no barrier.
// RUN: rm -rf %t && mkdir -p %t
// RUN: morph-opt %s --morph-emit-plan="program=rows output=%t/plan.json device=sm_90" -o /dev/null
// RUN: FileCheck %s --check-prefix=PLAN --input-file=%t/plan.json
// RUN: cat %t/*.ptx | FileCheck %s --implicit-check-not=.local --implicit-check-not=atom. --implicit-check-not=red.global

// PLAN: {"kernel":"embedding_bf16_64","threads":256,"grid":{{\[\[\[}}1,64,["B","T"],256]],1,1]
// PLAN: {"kernel":"take_rows_64","threads":256,"grid":{{\[\[\[}}1,64,["N"],256]],1,1]
// PLAN: {"kernel":"last_rows_64","threads":256,"grid":{{\[\[\[}}1,64,["B"],256]],1,1]
// PLAN: {"kernel":"rope_rope_2_10_offset","threads":256,"grid":{{\[\[\[}}1,14,["B","T"],256]],1,1]
// PLAN: {"kernel":"add_wl","threads":256,"grid":{{\[\[\[}}1,20,["B","T"],256]],1,1]
// PLAN: {"kernel":"cast_f32_bf16","threads":256,"grid":{{\[\[\[}}1,64,["B"],256]],1,1]

// A table of bf16 is read as it is.
// CHECK-NOT: {{bar|shfl}}.sync
// CHECK-LABEL: .entry embedding_bf16_64(
// CHECK: ld.global.b16
// CHECK: st.global.f32
// CHECK-LABEL: .entry take_rows_64(
// CHECK: ld.global.f32
// CHECK: st.global.f32
// CHECK-LABEL: .entry last_rows_64(
// CHECK: ld.global.f32
// CHECK: st.global.f32

// The angle is reduced in f64, of a frequency in a table of the module, and its sine and cosine are of f32; a thread reads both
// elements of a pair before it writes them. What the table does not reach is copied.
// CHECK-LABEL: .entry rope_rope_2_10_offset(
// CHECK: ld.global.nc.f64
// CHECK: mul.rn.f64
// CHECK: cvt.rn.f32.f64
// CHECK-NOT: .f64
// CHECK-COUNT-2: ld.global.f32
// CHECK-COUNT-2: st.global.f32
// CHECK: ld.global.f32
// CHECK-NEXT: st.global.f32
// CHECK-NOT: st.global

// CHECK-LABEL: .entry add_wl(
// CHECK-COUNT-2: ld.global.f32
// CHECK: add.rn.f32
// CHECK: st.global.f32
// CHECK-LABEL: .entry cast_f32_bf16(
// CHECK: ld.global.f32
// CHECK-NEXT: cvt.rn.bf16.f32
// CHECK-NEXT: st.global.b16
morph.model @model base architecture "llama" layers 1 {
  morph.rope_table @rope [1.0, 0.5, 0.1] attention_factor 1.5
  morph.weight @table : tensor<11x64xbf16>
  morph.program @rows(%t: tensor<?x?xi64> "t" [B, T], %p: tensor<?xi64> "p" [N], %h: tensor<?x?x2x10xf32> "h" [B, T],
                      %o: tensor<?xi64> "o" [B], %s: tensor<f32> "s") {
    %w = morph.param @table : tensor<11x64xbf16>
    %e = morph.embedding %t, %w : tensor<?x?xi64>, tensor<11x64xbf16>
    %r = morph.take_rows %e, %p : tensor<?x?x64xf32>, tensor<?xi64>
    %l = morph.last_rows %e : tensor<?x?x64xf32>
    %a = morph.rope %h offset %o table @rope : tensor<?x?x2x10xf32>, tensor<?xi64>
    %b = morph.add %a, %s : tensor<?x?x2x10xf32>, tensor<f32>
    %c = morph.cast %l to "bf16" : tensor<?x64xf32>
    morph.output "r" = %r, "c" = %c, "b" = %b : tensor<?x64xf32>, tensor<?x64xbf16>, tensor<?x?x2x10xf32>
  }
}
