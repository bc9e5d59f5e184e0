// SPDX-License-Identifier: Apache-2.0
// RUN: morph-opt %S/Inputs/tiny-tied.mlir --morph-build-pretrain | FileCheck %s --check-prefix=PRETRAIN
// RUN: morph-opt %S/Inputs/tiny-base.mlir --morph-pair-branches=candidates=lightning --morph-discretize=kept=0 --morph-build-finetune | FileCheck %s --check-prefix=ALL
// RUN: morph-opt %S/Inputs/tiny-base.mlir --morph-pair-branches=candidates=lightning --morph-discretize=kept=0 --morph-build-finetune=train=linear | FileCheck %s --check-prefix=LINEAR

// PRETRAIN: func.func @pretrain(%[[IDS:.*]]: tensor<?x?xi64> {{.*}}, %[[POS:.*]]: tensor<?xi64> {{.*}}, %[[TARGETS:.*]]: tensor<?xi64> {{.*}}, %[[W:.*]]: tensor<?xf32> {{.*}}) -> (tensor<f32> {morph.name = "loss"})
// PRETRAIN-SAME: morph.trainable = [@model.embed_tokens.weight, @model.layers.0.input_layernorm.weight, @model.layers.0.self_attn.q_proj.weight
// PRETRAIN: %[[ROWS:.*]] = morph.take_rows %{{.*}}, %[[POS]]
// PRETRAIN: %[[LOGITS:.*]] = morph.linear %[[ROWS]]
// PRETRAIN-NEXT: %[[NLL:.*]] = morph.token_nll %[[LOGITS]], %[[TARGETS]]
// PRETRAIN-NEXT: %[[LOSS:.*]] = morph.weighted_mean %[[NLL]], %[[W]]
// PRETRAIN-NEXT: return %[[LOSS]]

// All but the constant decays.
// ALL: func.func @finetune
// ALL-SAME: morph.trainable = [@model.embed_tokens.weight,{{.*}} @model.layers.1.linear_attn.q_proj.weight, @model.layers.1.linear_attn.k_proj.weight, @model.layers.1.linear_attn.v_proj.weight, @model.layers.1.linear_attn.g_proj.weight

// LINEAR: func.func @finetune
// LINEAR-SAME: morph.trainable = [@model.layers.1.linear_attn.q_proj.weight, @model.layers.1.linear_attn.k_proj.weight, @model.layers.1.linear_attn.v_proj.weight, @model.layers.1.linear_attn.g_proj.weight, @model.layers.1.linear_attn.o_norm.weight, @model.layers.1.linear_attn.o_proj.weight]
