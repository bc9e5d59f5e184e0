// SPDX-License-Identifier: Apache-2.0
// RUN: morph-opt %S/Inputs/tiny-tied.mlir --morph-build-pretrain | FileCheck %s --check-prefix=PRETRAIN
// RUN: morph-opt %S/Inputs/tiny-base.mlir --morph-pair-branches=candidates=lightning --morph-discretize=kept=0 --morph-build-finetune | FileCheck %s --check-prefix=ALL
// RUN: morph-opt %S/Inputs/tiny-base.mlir --morph-pair-branches=candidates=lightning --morph-discretize=kept=0 --morph-build-finetune=train=linear | FileCheck %s --check-prefix=LINEAR

// PRETRAIN: morph.program @pretrain(%tokens: tensor<?x?xi64> "tokens" [B, T], %positions: tensor<?xi64> "positions" [N], %targets: tensor<?xi64> "targets" [N], %weights: tensor<?xf32> "weights" [N])
// PRETRAIN-SAME: trains [@model.embed_tokens.weight, @model.layers.0.input_layernorm.weight, @model.layers.0.self_attn.q_proj.weight
// PRETRAIN: %[[ROWS:.*]] = morph.take_rows %{{.*}}, %positions
// PRETRAIN: %[[LOGITS:.*]] = morph.linear %[[ROWS]]
// PRETRAIN-NEXT: %[[NLL:.*]] = morph.token_nll %[[LOGITS]], %targets
// PRETRAIN-NEXT: %[[LOSS:.*]] = morph.weighted_mean %[[NLL]], %weights
// PRETRAIN-NEXT: morph.output "loss" = %[[LOSS]] : tensor<f32>

// All but the constant decays.
// ALL: morph.program @finetune
// ALL-SAME: trains [@model.embed_tokens.weight,{{.*}} @model.layers.1.linear_attn.g_proj.weight, @model.layers.1.linear_attn.o_norm.weight, @model.layers.1.linear_attn.q_proj.weight, @model.layers.1.linear_attn.k_proj.weight

// LINEAR: morph.program @finetune
// LINEAR-SAME: trains [@model.layers.1.linear_attn.g_proj.weight, @model.layers.1.linear_attn.o_norm.weight, @model.layers.1.linear_attn.q_proj.weight, @model.layers.1.linear_attn.k_proj.weight, @model.layers.1.linear_attn.v_proj.weight, @model.layers.1.linear_attn.o_proj.weight]
