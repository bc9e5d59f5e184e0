// SPDX-License-Identifier: Apache-2.0
// RUN: morph-opt %s --morph-emit-plan=program=small -o %t.mlir | FileCheck %s --check-prefix=SMALL
// RUN: morph-opt %S/Inputs/tiny-base.mlir --morph-pair-branches --morph-discretize=kept=1 --morph-program-pipeline=program=decode --morph-emit-plan="program=decode output=%t.json" -o %t.mlir
// RUN: FileCheck %s --check-prefix=DECODE < %t.json
// RUN: morph-opt %S/Inputs/tiny-base.mlir --morph-search-pipeline --morph-program-pipeline=program=gates --morph-emit-plan="program=gates output=%t.json" -o %t.mlir
// RUN: FileCheck %s --check-prefix=GATES < %t.json
// RUN: morph-opt %S/Inputs/tiny-base.mlir --morph-pair-branches --morph-discretize=kept=1 --morph-program-pipeline=program=distill --morph-emit-plan="program=distill output=%t.json" -o %t.mlir
// RUN: FileCheck %s --check-prefix=DISTILL < %t.json

// Absent operands are -1, flags true, symbols strings; weights that nothing reads are not listed.
// SMALL: "format": "morph-plan"
// SMALL: "model": "model"
// SMALL: "program": "small"
// SMALL-NOT: "unread"
// SMALL-DAG: {"op":"linear","operands":[0,1,-1],"results":[{{[0-9]+}}]
// SMALL-DAG: {"op":"split_heads",{{.*}}"attributes":{"heads":2}
// SMALL-DAG: {"op":"rope","operands":[{{[0-9]+}},-1],{{.*}}"attributes":{"inverse":true,"table":"rope"}
morph.model @model base architecture "llama" layers 1 {
  morph.weight @w : tensor<8x4xbf16>
  morph.weight @unread : tensor<8x4xbf16>
  morph.rope_table @rope [1.0, 0.5] attention_factor 1.0
  morph.program @small(%x: tensor<?x?x4xf32> "x" [B, T]) {
    %w = morph.param @w : tensor<8x4xf32>
    %l = morph.linear %x, %w : tensor<?x?x4xf32>, tensor<8x4xf32>
    %h = morph.split_heads %l heads 2 : tensor<?x?x8xf32>
    %r = morph.rope %h table @rope inverse : tensor<?x?x2x4xf32>
    morph.output "y" = %r : tensor<?x?x2x4xf32>
  }
}

// DECODE: "program": "decode"
// DECODE: {"name":"cache.1.k"
// DECODE: {"name":"next.1.k"
// DECODE: "op":"linear_attention","operands":[{{[0-9]+,[0-9]+,[0-9]+,-1,[0-9]+,-1,[0-9]+,-1,-1,-1,[0-9]+}},-1],{{.*}}"chunk":64
// DECODE: {"shape":["B","S",2,8],"dtype":"f32"}

// GATES: {"name":"grad.gate.0"
// GATES: "name":"gate.0"{{.*}}"trainable":true{{.*}}"gate":true
// GATES: "op":"kl_divergence"

// DISTILL: "name":"model.layers.0.linear_attn.k_proj.weight"{{.*}}"trainable":true{{.*}}"repeat_heads"
// DISTILL: "name":"teacher.model.layers.0.self_attn.q_proj.weight"{{.*}}"teacher_of":"model.layers.0.self_attn.q_proj.weight"
