// SPDX-License-Identifier: Apache-2.0
// RUN: morph-opt %S/Inputs/tiny-base.mlir --morph-pair-branches --morph-discretize=kept=1 --morph-build-distill --cse --canonicalize | FileCheck %s
// RUN: morph-opt %S/Inputs/tiny-base.mlir --morph-pair-branches --morph-discretize=kept=1 --morph-build-distill=train=all | FileCheck %s --check-prefix=ALL
// RUN: morph-opt %S/Inputs/tiny-tied.mlir --morph-pair-branches --morph-discretize=kept=1 --morph-build-distill=train=all | FileCheck %s --check-prefix=TIED
// RUN: morph-opt %S/Inputs/tiny-window.mlir --morph-pair-branches="candidates=lightning,sliding_window(window=8)" --morph-discretize="uniform=0 candidate=sliding_window" --morph-build-distill=train=all | FileCheck %s --check-prefix=WINDOW
// RUN: morph-opt %S/Inputs/tiny-base.mlir --morph-pair-branches --morph-discretize=kept=1 --morph-build-distill="loss=reverse_kl adapters=gate_proj" | FileCheck %s --check-prefix=REVERSE
// RUN: morph-opt %S/Inputs/tiny-base.mlir --morph-pair-branches --morph-discretize=kept=1 --morph-build-distill=top=5 | FileCheck %s --check-prefix=TOP
// RUN: morph-opt %S/Inputs/tiny-base.mlir --morph-pair-branches --morph-discretize=kept=1 --morph-build-distill=top=32 | FileCheck %s --check-prefix=ALLTOP
// RUN: not morph-opt %S/Inputs/tiny-base.mlir --morph-pair-branches --morph-discretize=kept=1 --morph-build-distill="top=5 loss=reverse_kl" 2>&1 | FileCheck %s --check-prefix=BOTH
// RUN: not morph-opt %S/Inputs/tiny-base.mlir --morph-pair-branches --morph-discretize=kept=1 --morph-build-distill=loss=ce 2>&1 | FileCheck %s --check-prefix=WRONG
// RUN: morph-opt %S/Inputs/tiny-base.mlir --morph-pair-branches --morph-discretize=kept=1 --morph-build-distill=streams=0.5 | FileCheck %s --check-prefix=STREAMS
// RUN: not morph-opt %S/Inputs/tiny-base.mlir --morph-pair-branches --morph-discretize=kept=1 --morph-build-distill=streams=-1 2>&1 | FileCheck %s --check-prefix=NEGATIVE

// REVERSE: morph.weight @teacher.model.layers.1.mlp.gate_proj.weight
// REVERSE: morph.reverse_kl_divergence %{{.*}}, %{{.*}} : tensor<?x32xf32>, tensor<?x32xf32>
// TOP: %[[TOP:.*]] = morph.keep_top %{{.*}} count 5 : tensor<?x32xf32>
// TOP: morph.kl_divergence %[[TOP]], %{{.*}}
// ALLTOP-NOT: keep_top
// BOTH: error: model @tiny cannot be distilled with 'top' 5 and 'loss' 'reverse_kl', expected 0 or more tokens, and 0 where 'loss' is not 'kl'
// NEGATIVE: error: model @tiny cannot be distilled with 'streams' -1
// The stream behind the linear mixer alone, with a gradient in the hybrid's and none in the teacher's.
// STREAMS: morph.softmax_mixer %{{.*}} layer 0
// STREAMS-NEXT: %[[FULL:.*]] = morph.add
// STREAMS-NEXT: %[[TARGET:.*]] = morph.take_rows %[[FULL]]
// STREAMS: morph.linear_mixer @gated_deltanet
// STREAMS-NEXT: %[[MIXED:.*]] = morph.add
// STREAMS-NEXT: %[[STATE:.*]] = morph.take_rows %[[MIXED]]
// STREAMS: %[[KL:.*]] = morph.weighted_mean
// STREAMS-NEXT: %[[ERROR:.*]] = morph.squared_error %[[STATE]], %[[TARGET]] normalize "relative"
// STREAMS-NEXT: %[[MEAN:.*]] = morph.scale %[[ERROR]]
// STREAMS-NEXT: %[[PART:.*]] = morph.scale %[[MEAN]] by 5.000000e-01
// STREAMS-NEXT: %[[SUM:.*]] = morph.add %[[KL]], %[[PART]]
// STREAMS-NEXT: "loss" = %[[SUM]]
// WRONG: option loss is 'ce', expected kl or reverse_kl

// The attention that the hybrid lost comes back as the teacher's.
// CHECK: morph.weight @teacher.model.layers.0.self_attn.q_proj.weight : tensor<32x16xbf16> teacher_of "model.layers.0.self_attn.q_proj.weight"
// CHECK-NOT: @teacher.model.layers.1
// CHECK: morph.program @distill(%tokens: tensor<?x?xi64> "tokens" [B, T], %positions: tensor<?xi64> "positions" [N], %weights: tensor<?xf32> "weights" [N])
// CHECK-SAME: trains [@model.layers.0.linear_attn.a_proj.weight
// CHECK-NOT: @lm_head.weight]
// CHECK: %[[H:.*]] = morph.rms_norm
// CHECK-NEXT: morph.softmax_mixer %[[H]] layer 0 weights "teacher.model.layers.0.self_attn" heads 4 kv_heads 2 head_dim 8 rope @rope scale 0.35355339059327373 :
// What is frozen is shared.
// CHECK: morph.softmax_mixer %{{.*}} layer 1 weights "model.layers.1.self_attn"
// What goes into the teacher's head can be given.
// CHECK: %[[ROWS:.*]] = morph.take_rows
// CHECK: morph.linear_mixer @gated_deltanet %[[H]] layer 0
// CHECK: morph.softmax_mixer %{{.*}} layer 1 weights "model.layers.1.self_attn"
// CHECK: morph.kl_divergence
// CHECK-NEXT: %[[LOSS:.*]] = morph.weighted_mean
// CHECK-NEXT: morph.output "teacher" = %[[ROWS]], "loss" = %[[LOSS]]

// All that trains has a teacher of its own.
// ALL: morph.weight @teacher.model.embed_tokens.weight : tensor<32x16xbf16> teacher_of "model.embed_tokens.weight"
// ALL: morph.weight @teacher.model.layers.1.self_attn.q_proj.weight
// ALL: morph.weight @teacher.lm_head.weight
// ALL: morph.program @distill
// ALL: morph.param @teacher.model.embed_tokens.weight
// ALL: morph.softmax_mixer %{{.*}} layer 1 weights "teacher.model.layers.1.self_attn"
// ALL: morph.param @teacher.lm_head.weight
// ALL: morph.param @model.embed_tokens.weight
// ALL: morph.param @lm_head.weight

// TIED: morph.program @distill
// TIED-COUNT-2: morph.param @teacher.model.embed_tokens.weight
// TIED-COUNT-2: morph.param @model.embed_tokens.weight

// The teacher has the base's window again.
// WINDOW: morph.program @distill
// WINDOW: morph.softmax_mixer %{{.*}} layer 0 weights "teacher.model.layers.0.self_attn" {{.*}} window 32 :
// WINDOW: morph.linear_mixer @sliding_window %{{.*}} layer 0 weights "model.layers.0.linear_attn_sliding_window" {{.*}} options {window = 8 : i64}
