// SPDX-License-Identifier: Apache-2.0
// The vector-Jacobian product of every op, seen through morph-differentiate.
// RUN: morph-opt %s --morph-differentiate --cse | FileCheck %s

morph.model @m base architecture "llama" layers 1 {
  morph.rope_table @rope [1.0, 0.01] attention_factor 1.0
  morph.weight @router : tensor<4x8xf32>
  morph.weight @gate_up : tensor<4x12x8xf32>
  morph.weight @down : tensor<4x8x6xf32>
  morph.weight @table : tensor<32x8xf32>
  morph.weight @matrix : tensor<8x8xf32>
  morph.weight @bias : tensor<8xf32>
  morph.weight @head : tensor<4xf32>
  morph.weight @filter : tensor<8x1x4xf32>
  morph.weight @decay : tensor<2xf32>
  morph.gate @gate.0 layer 0 of ["full", "lightning", "gated_deltanet"] value [0.5, 0.25]

  // CHECK-LABEL: morph.program @projections(
  // CHECK-SAME: %[[ARG0:[a-z0-9]+]]: {{.*}}%[[ARG1:[a-z0-9]+]]: {{.*}}%[[ARG2:[a-z0-9]+]]: {{.*}}%[[ARG3:[a-z0-9]+]]: 
  // CHECK-NEXT: %[[V0:[a-z0-9_]+]] = morph.ones
  // CHECK-NEXT: %[[V1:[a-z0-9_]+]] = morph.param @table
  // CHECK-NEXT: %[[V2:[a-z0-9_]+]] = morph.param @matrix
  // CHECK-NEXT: %[[V3:[a-z0-9_]+]] = morph.param @bias
  // CHECK-NEXT: %[[V4:[a-z0-9_]+]] = morph.embedding %[[ARG0]], %[[V1]]
  // CHECK-NEXT: %[[V5:[a-z0-9_]+]] = morph.rms_norm %[[V4]], %[[V3]] eps 1.000000e-05
  // CHECK-NEXT: %[[V6:[a-z0-9_]+]] = morph.linear %[[V5]], %[[V2]], %[[V3]]
  // CHECK-NEXT: %[[V7:[a-z0-9_]+]] = morph.swiglu %[[V6]], %[[V5]]
  // CHECK-NEXT: %[[V8:[a-z0-9_]+]] = morph.take_rows %[[V7]], %[[ARG1]]
  // CHECK-NEXT: %[[V9:[a-z0-9_]+]] = morph.linear %[[V8]], %[[V1]]
  // CHECK-NEXT: %[[V10:[a-z0-9_]+]] = morph.token_nll %[[V9]], %[[ARG2]]
  // CHECK-NEXT: %[[V11:[a-z0-9_]+]] = morph.weighted_mean %[[V10]], %[[ARG3]]
  // CHECK-NEXT: %[[V12:[a-z0-9_]+]] = morph.weighted_mean_grad %[[V0]], %[[ARG3]]
  // CHECK-NEXT: %[[V13:[a-z0-9_]+]] = morph.token_nll_grad %[[V12]], %[[V9]], %[[ARG2]]
  // CHECK-NEXT: %[[V14:[a-z0-9_]+]] = morph.linear_input_grad %[[V13]], %[[V1]]
  // CHECK-NEXT: %[[V15:[a-z0-9_]+]] = morph.linear_weight_grad %[[V13]], %[[V8]]
  // CHECK-NEXT: %[[V16:[a-z0-9_]+]] = morph.scatter_rows %[[V14]], %[[ARG1]], %[[V7]]
  // CHECK-NEXT: %[[VDGATE:[a-z0-9_]+]], %[[VDX:[a-z0-9_]+]] = morph.swiglu_grad %[[V16]], %[[V6]], %[[V5]]
  // CHECK-NEXT: %[[V17:[a-z0-9_]+]] = morph.linear_input_grad %[[VDGATE]], %[[V2]]
  // CHECK-NEXT: %[[V18:[a-z0-9_]+]] = morph.linear_weight_grad %[[VDGATE]], %[[V5]]
  // CHECK-NEXT: %[[V19:[a-z0-9_]+]] = morph.reduce_to %[[VDGATE]] rank 1
  // CHECK-NEXT: %[[V20:[a-z0-9_]+]] = morph.add %[[VDX]], %[[V17]]
  // CHECK-NEXT: %[[V21:[a-z0-9_]+]] = morph.rms_norm_input_grad %[[V20]], %[[V4]], %[[V3]] eps 1.000000e-05
  // CHECK-NEXT: %[[V22:[a-z0-9_]+]] = morph.rms_norm_weight_grad %[[V20]], %[[V4]] eps 1.000000e-05
  // CHECK-NEXT: %[[V23:[a-z0-9_]+]] = morph.add %[[V19]], %[[V22]]
  // CHECK-NEXT: %[[V24:[a-z0-9_]+]] = morph.embedding_grad %[[V21]], %[[ARG0]] rows 32
  // CHECK-NEXT: %[[V25:[a-z0-9_]+]] = morph.add %[[V15]], %[[V24]]
  // CHECK-NEXT: morph.output "loss" = %[[V11]], "grad.table" = %[[V25]], "grad.matrix" = %[[V18]], "grad.bias" = %[[V23]]
  morph.program @projections(%ids: tensor<?x?xi64> "ids" [B, T], %positions: tensor<?xi64> "positions" [N], %targets: tensor<?xi64> "targets" [N], %weights: tensor<?xf32> "weights" [N]) trains [@table, @matrix, @bias] {
    %table = morph.param @table : tensor<32x8xf32>
    %matrix = morph.param @matrix : tensor<8x8xf32>
    %bias = morph.param @bias : tensor<8xf32>
    %x = morph.embedding %ids, %table : tensor<?x?xi64>, tensor<32x8xf32>
    %n = morph.rms_norm %x, %bias eps 1.0e-5 : tensor<?x?x8xf32>, tensor<8xf32>
    %p = morph.linear %n, %matrix, %bias : tensor<?x?x8xf32>, tensor<8x8xf32>, tensor<8xf32>
    %s = morph.swiglu %p, %n : tensor<?x?x8xf32>
    %r = morph.take_rows %s, %positions : tensor<?x?x8xf32>, tensor<?xi64>
    %l = morph.linear %r, %table : tensor<?x8xf32>, tensor<32x8xf32>
    %nll = morph.token_nll %l, %targets : tensor<?x32xf32>, tensor<?xi64>
    %loss = morph.weighted_mean %nll, %weights : tensor<?xf32>, tensor<?xf32>
    morph.output "loss" = %loss : tensor<f32>
  }

  // CHECK-LABEL: morph.program @elementwise(
  // CHECK-SAME: %[[ARG0:[a-z0-9]+]]: {{.*}}%[[ARG1:[a-z0-9]+]]: 
  // CHECK-NEXT: %[[V0:[a-z0-9_]+]] = morph.ones
  // CHECK-NEXT: %[[V1:[a-z0-9_]+]] = morph.param @bias
  // CHECK-NEXT: %[[V2:[a-z0-9_]+]] = morph.add %[[ARG0]], %[[V1]]
  // CHECK-NEXT: %[[V3:[a-z0-9_]+]] = morph.mul %[[V2]], %[[V1]]
  // CHECK-NEXT: %[[V4:[a-z0-9_]+]] = morph.scale %[[V3]] by 5.000000e-01
  // CHECK-NEXT: %[[V5:[a-z0-9_]+]] = morph.sigmoid %[[V4]]
  // CHECK-NEXT: %[[V6:[a-z0-9_]+]] = morph.silu %[[V5]]
  // CHECK-NEXT: %[[V7:[a-z0-9_]+]] = morph.softplus %[[V6]]
  // CHECK-NEXT: %[[V8:[a-z0-9_]+]] = morph.sigmoid %[[V6]]
  // CHECK-NEXT: %[[V9:[a-z0-9_]+]] = morph.exp %[[V7]]
  // CHECK-NEXT: %[[V10:[a-z0-9_]+]] = morph.l2_norm %[[V9]] eps 1.000000e-05
  // CHECK-NEXT: %[[V11:[a-z0-9_]+]] = morph.squared_error %[[V10]], %[[ARG1]] normalize "rows"
  // CHECK-NEXT: %[[V12:[a-z0-9_]+]] = morph.squared_error_grad %[[V0]], %[[V10]], %[[ARG1]] normalize "rows"
  // CHECK-NEXT: %[[V13:[a-z0-9_]+]] = morph.l2_norm_grad %[[V12]], %[[V9]] eps 1.000000e-05
  // CHECK-NEXT: %[[V14:[a-z0-9_]+]] = morph.mul %[[V13]], %[[V9]]
  // CHECK-NEXT: %[[V15:[a-z0-9_]+]] = morph.mul %[[V14]], %[[V8]]
  // CHECK-NEXT: %[[V16:[a-z0-9_]+]] = morph.silu_grad %[[V15]], %[[V5]]
  // CHECK-NEXT: %[[V17:[a-z0-9_]+]] = morph.sigmoid_grad %[[V16]], %[[V5]]
  // CHECK-NEXT: %[[V18:[a-z0-9_]+]] = morph.scale %[[V17]] by 5.000000e-01
  // CHECK-NEXT: %[[V19:[a-z0-9_]+]] = morph.mul %[[V18]], %[[V1]]
  // CHECK-NEXT: %[[V20:[a-z0-9_]+]] = morph.mul %[[V18]], %[[V2]]
  // CHECK-NEXT: %[[V21:[a-z0-9_]+]] = morph.reduce_to %[[V20]] rank 1
  // CHECK-NEXT: %[[V22:[a-z0-9_]+]] = morph.reduce_to %[[V19]] rank 1
  // CHECK-NEXT: %[[V23:[a-z0-9_]+]] = morph.add %[[V21]], %[[V22]]
  // CHECK-NEXT: morph.output "loss" = %[[V11]], "grad.bias" = %[[V23]]
  morph.program @elementwise(%x: tensor<?x?x8xf32> "x" [B, T], %y: tensor<?x?x8xf32> "y" [B, T]) trains [@bias] {
    %bias = morph.param @bias : tensor<8xf32>
    %a = morph.add %x, %bias : tensor<?x?x8xf32>, tensor<8xf32>
    %b = morph.mul %a, %bias : tensor<?x?x8xf32>, tensor<8xf32>
    %c = morph.scale %b by 0.5 : tensor<?x?x8xf32>
    %d = morph.sigmoid %c : tensor<?x?x8xf32>
    %e = morph.silu %d : tensor<?x?x8xf32>
    %f = morph.softplus %e : tensor<?x?x8xf32>
    %g = morph.exp %f : tensor<?x?x8xf32>
    %h = morph.l2_norm %g eps 1.0e-5 : tensor<?x?x8xf32>
    %loss = morph.squared_error %h, %y normalize "rows" : tensor<?x?x8xf32>
    morph.output "loss" = %loss : tensor<f32>
  }

  // CHECK-LABEL: morph.program @gelu(
  // CHECK-SAME: %[[X:[a-z0-9]+]]: {{.*}}%[[Y:[a-z0-9]+]]:
  // CHECK: %[[SUM:.*]] = morph.add %[[X]]
  // CHECK: %[[DX:.*]] = morph.squared_error_grad
  // CHECK: morph.gelu_tanh_grad %[[DX]], %[[SUM]]
  morph.program @gelu(%x: tensor<?x?x8xf32> "x" [B, T], %y: tensor<?x?x8xf32> "y" [B, T]) trains [@bias] {
    %bias = morph.param @bias : tensor<8xf32>
    %a = morph.add %x, %bias : tensor<?x?x8xf32>, tensor<8xf32>
    %b = morph.gelu_tanh %a : tensor<?x?x8xf32>
    %loss = morph.squared_error %b, %y normalize "rows" : tensor<?x?x8xf32>
    morph.output "loss" = %loss : tensor<f32>
  }

  // CHECK-LABEL: morph.program @mixing(
  // CHECK-SAME: %[[ARG0:[a-z0-9]+]]: {{.*}}%[[ARG1:[a-z0-9]+]]: 
  // CHECK-NEXT: %[[V0:[a-z0-9_]+]] = morph.ones
  // CHECK-NEXT: %[[V1:[a-z0-9_]+]] = morph.param @filter
  // CHECK-NEXT: %[[V2:[a-z0-9_]+]] = morph.param @head
  // CHECK-NEXT: %[[V3:[a-z0-9_]+]] = morph.param @decay
  // CHECK-NEXT: %[[VRESULT:[a-z0-9_]+]], %[[VFINALSTATE:[a-z0-9_]+]] = morph.short_conv %[[ARG0]], %[[V1]]
  // CHECK-NEXT: %[[V4:[a-z0-9_]+]] = morph.split_heads %[[VRESULT]] heads 2
  // CHECK-NEXT: %[[V5:[a-z0-9_]+]] = morph.rms_norm %[[V4]], %[[V2]] eps 1.000000e-05
  // CHECK-NEXT: %[[V6:[a-z0-9_]+]] = morph.rope %[[V5]] table @rope
  // CHECK-NEXT: %[[V7:[a-z0-9_]+]] = morph.attention %[[V6]], %[[V5]], %[[V4]] scale 5.000000e-01 window 4
  // CHECK-NEXT: %[[VRESULT0:[a-z0-9_]+]], %[[VFINALSTATE1:[a-z0-9_]+]] = morph.linear_attention %[[V7]], %[[V6]], %[[V4]] head_decay %[[V3]] scale 5.000000e-01 chunk 64
  // CHECK-NEXT: %[[V8:[a-z0-9_]+]] = morph.merge_heads %[[VRESULT0]]
  // CHECK-NEXT: %[[V9:[a-z0-9_]+]] = morph.squared_error %[[V8]], %[[ARG1]] normalize "mean"
  // CHECK-NEXT: %[[V10:[a-z0-9_]+]] = morph.squared_error_grad %[[V0]], %[[V8]], %[[ARG1]] normalize "mean"
  // CHECK-NEXT: %[[V11:[a-z0-9_]+]] = morph.split_heads %[[V10]] heads 2
  // CHECK-NEXT: %[[VDQ:[a-z0-9_]+]], %[[VDK:[a-z0-9_]+]], %[[VDV:[a-z0-9_]+]], %[[VDEXTRAS:[a-z0-9_]+]] = morph.linear_attention_grad %[[V11]], %[[V7]], %[[V6]], %[[V4]] head_decay %[[V3]] scale 5.000000e-01 chunk 64
  // CHECK-NEXT: %[[VDQ2:[a-z0-9_]+]], %[[VDK3:[a-z0-9_]+]], %[[VDV4:[a-z0-9_]+]] = morph.attention_grad %[[VDQ]], %[[V6]], %[[V5]], %[[V4]] scale 5.000000e-01 window 4
  // CHECK-NEXT: %[[V12:[a-z0-9_]+]] = morph.add %[[VDK]], %[[VDQ2]]
  // CHECK-NEXT: %[[V13:[a-z0-9_]+]] = morph.add %[[VDV]], %[[VDV4]]
  // CHECK-NEXT: %[[V14:[a-z0-9_]+]] = morph.rope %[[V12]] table @rope inverse
  // CHECK-NEXT: %[[V15:[a-z0-9_]+]] = morph.add %[[VDK3]], %[[V14]]
  // CHECK-NEXT: %[[V16:[a-z0-9_]+]] = morph.rms_norm_input_grad %[[V15]], %[[V4]], %[[V2]] eps 1.000000e-05
  // CHECK-NEXT: %[[V17:[a-z0-9_]+]] = morph.rms_norm_weight_grad %[[V15]], %[[V4]] eps 1.000000e-05
  // CHECK-NEXT: %[[V18:[a-z0-9_]+]] = morph.add %[[V13]], %[[V16]]
  // CHECK-NEXT: %[[V19:[a-z0-9_]+]] = morph.merge_heads %[[V18]]
  // CHECK-NEXT: %[[VDX:[a-z0-9_]+]], %[[VDWEIGHT:[a-z0-9_]+]] = morph.short_conv_grad %[[V19]], %[[ARG0]], %[[V1]]
  // CHECK-NEXT: morph.output "loss" = %[[V9]], "grad.filter" = %[[VDWEIGHT]], "grad.head" = %[[V17]], "grad.decay" = %[[VDEXTRAS]]
  morph.program @mixing(%x: tensor<?x?x8xf32> "x" [B, T], %y: tensor<?x?x8xf32> "y" [B, T]) trains [@filter, @head, @decay] {
    %filter = morph.param @filter : tensor<8x1x4xf32>
    %head = morph.param @head : tensor<4xf32>
    %decay = morph.param @decay : tensor<2xf32>
    %c, %s = morph.short_conv %x, %filter : tensor<?x?x8xf32>, tensor<8x1x4xf32>
    %h = morph.split_heads %c heads 2 : tensor<?x?x8xf32>
    %n = morph.rms_norm %h, %head eps 1.0e-5 : tensor<?x?x2x4xf32>, tensor<4xf32>
    %r = morph.rope %n table @rope : tensor<?x?x2x4xf32>
    %a = morph.attention %r, %n, %h scale 0.5 window 4 : tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>
    %l, %f = morph.linear_attention %a, %r, %h head_decay %decay scale 0.5 chunk 64 : tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32> head_decay tensor<2xf32>
    %m = morph.merge_heads %l : tensor<?x?x2x4xf32>
    %loss = morph.squared_error %m, %y normalize "mean" : tensor<?x?x8xf32>
    morph.output "loss" = %loss : tensor<f32>
  }

  // CHECK-LABEL: morph.program @blends(
  // CHECK-SAME: %[[ARG0:[a-z0-9]+]]: {{.*}}%[[ARG1:[a-z0-9]+]]: {{.*}}%[[ARG2:[a-z0-9]+]]: {{.*}}%[[ARG3:[a-z0-9]+]]: {{.*}}%[[ARG4:[a-z0-9]+]]: 
  // CHECK-NEXT: %[[V0:[a-z0-9_]+]] = morph.ones
  // CHECK-NEXT: %[[V1:[a-z0-9_]+]] = morph.param @gate.0
  // CHECK-NEXT: %[[V2:[a-z0-9_]+]] = morph.blend %[[V1]] of %[[ARG0]], %[[ARG1]], %[[ARG2]]
  // CHECK-NEXT: %[[V3:[a-z0-9_]+]] = morph.blend %[[V1]] of %[[ARG0]], %[[V2]], %[[ARG2]]
  // CHECK-NEXT: %[[V4:[a-z0-9_]+]] = morph.kl_divergence %[[ARG3]], %[[V3]]
  // CHECK-NEXT: %[[V5:[a-z0-9_]+]] = morph.weighted_mean %[[V4]], %[[ARG4]]
  // CHECK-NEXT: %[[V6:[a-z0-9_]+]] = morph.weighted_mean_grad %[[V0]], %[[ARG4]]
  // CHECK-NEXT: %[[V7:[a-z0-9_]+]] = morph.kl_divergence_grad %[[V6]], %[[ARG3]], %[[V3]]
  // CHECK-NEXT: %[[V8:[a-z0-9_]+]] = morph.blend_gate_grad %[[V7]], %[[ARG0]], %[[V2]], %[[ARG2]]
  // CHECK-NEXT: %[[V9:[a-z0-9_]+]] = morph.blend_candidate_grad %[[V7]], %[[V1]] index 1
  // CHECK-NEXT: %[[V10:[a-z0-9_]+]] = morph.blend_gate_grad %[[V9]], %[[ARG0]], %[[ARG1]], %[[ARG2]]
  // CHECK-NEXT: %[[V11:[a-z0-9_]+]] = morph.add %[[V8]], %[[V10]]
  // CHECK-NEXT: morph.output "loss" = %[[V5]], "grad.gate.0" = %[[V11]]
  morph.program @blends(%a: tensor<?x32xf32> "a" [N], %b: tensor<?x32xf32> "b" [N], %c: tensor<?x32xf32> "c" [N], %teacher: tensor<?x32xf32> "teacher" [N], %weights: tensor<?xf32> "weights" [N]) trains [@gate.0] {
    %gate = morph.param @gate.0 : tensor<2xf32>
    %x = morph.blend %gate of %a, %b, %c : tensor<2xf32>, tensor<?x32xf32>, tensor<?x32xf32>, tensor<?x32xf32>
    %y = morph.blend %gate of %a, %x, %c : tensor<2xf32>, tensor<?x32xf32>, tensor<?x32xf32>, tensor<?x32xf32>
    %kl = morph.kl_divergence %teacher, %y : tensor<?x32xf32>, tensor<?x32xf32>
    %loss = morph.weighted_mean %kl, %weights : tensor<?xf32>, tensor<?xf32>
    morph.output "loss" = %loss : tensor<f32>
  }

  // A mixture of experts: nothing is computed for frozen experts but the gradients by x and routing.
  // CHECK-LABEL: morph.program @mixture(
  // CHECK: %[[LOGITS:.*]] = morph.linear %x
  // CHECK: %[[ROUTING:.*]] = morph.top_k_softmax %[[LOGITS]] count 2 normalised : tensor<?x?x4xf32>
  // CHECK: morph.experts %x, %[[ROUTING]], %{{.*}}, %{{.*}} active 2
  // CHECK: %[[DX:.*]], %[[DROUTING:.*]] = morph.experts_input_grad %[[DY:.*]], %x, %[[ROUTING]]
  // CHECK: %[[DLOGITS:.*]] = morph.top_k_softmax_grad %[[DROUTING]], %[[LOGITS]], %[[ROUTING]] count 2 normalised
  // CHECK: %[[DROUTER:.*]] = morph.linear_weight_grad %[[DLOGITS]], %x
  // CHECK-NOT: morph.experts_weight_grad
  // CHECK: morph.output "loss" = %{{.*}}, "grad.router" = %[[DROUTER]]
  morph.program @mixture(%x: tensor<?x?x8xf32> "x" [B, T], %y: tensor<?x?x8xf32> "y" [B, T]) trains [@router] {
    %router = morph.param @router : tensor<4x8xf32>
    %gate_up = morph.param @gate_up : tensor<4x12x8xf32>
    %down = morph.param @down : tensor<4x8x6xf32>
    %l = morph.linear %x, %router : tensor<?x?x8xf32>, tensor<4x8xf32>
    %r = morph.top_k_softmax %l count 2 normalised : tensor<?x?x4xf32>
    %m = morph.experts %x, %r, %gate_up, %down active 2 : tensor<?x?x8xf32>, tensor<?x?x4xf32>, tensor<4x12x8xf32>, tensor<4x8x6xf32>
    %loss = morph.squared_error %m, %y normalize "mean" : tensor<?x?x8xf32>
    morph.output "loss" = %loss : tensor<f32>
  }

  // Trained ones alone: nothing goes on to what is before them.
  // CHECK-LABEL: morph.program @trained_experts(
  // CHECK-NOT: morph.experts_input_grad
  // CHECK: %[[DGATEUP:.*]], %[[DDOWN:.*]] = morph.experts_weight_grad %{{.*}}, %x, %{{.*}} active 3
  // CHECK-NOT: morph.experts_input_grad
  // CHECK: morph.output "loss" = %{{.*}}, "grad.gate_up" = %[[DGATEUP]], "grad.down" = %[[DDOWN]]
  morph.program @trained_experts(%x: tensor<?x?x8xf32> "x" [B, T], %y: tensor<?x?x8xf32> "y" [B, T]) trains [@gate_up, @down] {
    %router = morph.param @router : tensor<4x8xf32>
    %gate_up = morph.param @gate_up : tensor<4x12x8xf32>
    %down = morph.param @down : tensor<4x8x6xf32>
    %l = morph.linear %x, %router : tensor<?x?x8xf32>, tensor<4x8xf32>
    %r = morph.top_k_softmax %l count 3 : tensor<?x?x4xf32>
    %m = morph.experts %x, %r, %gate_up, %down active 3 : tensor<?x?x8xf32>, tensor<?x?x4xf32>, tensor<4x12x8xf32>, tensor<4x8x6xf32>
    %loss = morph.squared_error %m, %y normalize "mean" : tensor<?x?x8xf32>
    morph.output "loss" = %loss : tensor<f32>
  }
}
