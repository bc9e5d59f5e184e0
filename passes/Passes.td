// SPDX-License-Identifier: Apache-2.0
// Records of all passes, grouped by what they work on. A record FooPass is implemented in Foo.cpp, but BuildPretrainPass
// and BuildFinetunePass in BuildLanguageModel.cpp, BuildLogitsPass in BuildScore.cpp, BuildReadPass in BuildDecode.cpp,
// EmitPlanPass in EmitPlanPass.cpp.

#ifndef MORPH_PASSES_TD
#define MORPH_PASSES_TD

include "mlir/Pass/PassBase.td"

class Morph_Pass<string argument> : Pass<argument, "::morph::ModelOp"> {
  let dependentDialects = ["::morph::MorphDialect", "::mlir::func::FuncDialect"];
}

//===----------------------------------------------------------------------===//
// Phases
//===----------------------------------------------------------------------===//

def PairBranchesPass : Morph_Pass<"morph-pair-branches"> {
  let summary = "Pair each layer's full attention with candidates that may replace it";
  let description = [{
    Phase base -> paired. Every softmax mixer of the model's functions becomes a choice: its first region keeps the
    mixer, each further region holds one candidate, with weights of its own under `model.layers.<l>.linear_attn` (the
    first) or `model.layers.<l>.<name>` (further ones), initialised from the layer's full attention. The declarations
    (`morph.mixer`) of candidates that the model lacks are added to it. The second candidate of a mixer, with other
    options, is called `<mixer>_2`. A layer without candidates stays as it is.

    ```mlir
    %m = morph.softmax_mixer %h layer 0 weights "model.layers.0.self_attn" ...
    ==>
    %m = morph.choice layer 0 of ["full", "lightning"] : tensor<?x?x16xf32> {
      %a = morph.softmax_mixer %h layer 0 weights "model.layers.0.self_attn" ...
      morph.yield %a : tensor<?x?x16xf32>
    }, {
      %b = morph.linear_mixer @lightning %h layer 0 weights "model.layers.0.linear_attn" from "model.layers.0.self_attn" ...
      morph.yield %b : tensor<?x?x16xf32>
    }
    ```
  }];
  let options = [
    Option<"candidates", "candidates", "std::string", /*default=*/"\"gated_deltanet\"",
           "The candidates beside full attention, mixers that the model declares or that come with Morph, each with its "
           "options: gated_deltanet(conv=4),sliding_window(window=256). By layers, the last that names one counts: "
           "gla;0-3,7:kda,retnet;9:">,
  ];
}

def RelaxGatesPass : Morph_Pass<"morph-relax-gates"> {
  let summary = "Turn choices into blends weighted by gates";
  let description = [{
    Phase paired -> relaxed. Every choice becomes its candidates side by side and a blend of their values, weighted by
    the new gate `@gate.<layer>`.

    ```mlir
    %m = morph.choice layer 0 of ["full", "lightning"] : tensor<?x?x16xf32> {...}, {...}
    ==>
    %a = morph.softmax_mixer ...
    %b = morph.linear_mixer ...
    %g = morph.param @gate.0 : tensor<1xf32>
    %m = morph.blend %g of %a, %b : tensor<1xf32>, tensor<?x?x16xf32>, tensor<?x?x16xf32>
    ```
  }];
  let options = [
    Option<"init", "init", "double", /*default=*/"1.0",
           "Initial share of full attention; the last candidate gets the rest">,
  ];
}

def DiscretizePass : Morph_Pass<"morph-discretize"> {
  let summary = "Leave one token mixer a layer, as a selection says";
  let description = [{
    Phase paired or relaxed -> hybrid. The kept layers keep full attention, every other layer its chosen candidate.
    Choices, blends, gates and the weights of the unused branches go: the linear weights of kept layers and the full
    attention's weights of the others. So do programs, which were built from the phase that ends.

    The choice is given by exactly one of `kept`, `uniform` (layers floor(i*L/K)) and `selection`, a JSON file. Without a
    budget given here its `choice` (a candidate's name a layer), or else its `kept`, is taken as it stands. With one
    (`budget` or `ratio`, layers of full attention), or where the file has neither, the best choice is solved for:
    `values` has a number for every candidate of every layer, `gates` the shares of all but the last, `scores` a number
    a layer for its full attention. Then the file's `space`, where it has one, holds too, but for its own number of
    layers. `keep` and `linear` pin layers to full attention and to another candidate; pins of full attention count in the
    budget. A layer of which the file only says that it is not kept takes the option `candidate`, else its first one.

    ```mlir
    %m = morph.blend %g of %full, %linear : ...   // layer 0, not kept
    ==>
    the uses of %m use %linear; @gate.0 and the weights of %full are gone
    ```
  }];
  let options = [
    Option<"selection", "selection", "std::string", /*default=*/"", "JSON file with kept layers or scores">,
    ListOption<"kept", "kept", "int64_t", "Layers that keep full attention">,
    Option<"uniform", "uniform", "int64_t", /*default=*/"-1", "Keep this many layers at even distances">,
    Option<"budget", "budget", "int64_t", /*default=*/"-1", "Layers to keep by their scores">,
    Option<"ratio", "ratio", "double", /*default=*/"-1.0",
           "Share of the layers to keep by their scores, rounded to the nearest number of layers">,
    ListOption<"keep", "keep", "int64_t", "Layers pinned to full attention">,
    ListOption<"linear", "linear", "int64_t", "Layers pinned to a candidate">,
    Option<"candidate", "candidate", "std::string", /*default=*/"",
           "Name of the candidate of layers that are not kept (default: the first)">,
  ];
}

def VerifyPhasePass : Morph_Pass<"morph-verify-phase"> {
  let summary = "Check that a model is what its phase says";
  let description = [{
    Checks the model's functions (programs apart) against the contract of a phase: each layer has exactly one token mixer
    (base, hybrid), choice (paired) or blend with its gate (relaxed), and nothing of another phase is there. In hybrid no
    gate is left and every weight is read. Errors name the pass that should have done the work. Changes nothing.
  }];
  let options = [
    Option<"phase", "phase", "std::string", /*default=*/"", "base, paired, relaxed or hybrid (default: the model's own)">,
  ];
}

//===----------------------------------------------------------------------===//
// Programs
//===----------------------------------------------------------------------===//

def BuildAlignPass : Morph_Pass<"morph-build-align"> {
  let summary = "Build the program that fits each linear branch to its layer's full attention";
  let description = [{
    Phase paired. Adds `@align(tokens [B,T]) -> loss, layer_loss`: the teacher's forward, where each layer's linear
    candidates also mix the teacher's normalised hidden state. `layer_loss` holds their squared errors against the full
    attention's output, layer by layer and candidate by candidate; `loss` is its mean. Trained: every weight of the
    linear candidates but the constants. No gradient crosses layers, since only frozen values do.

    With `layers=2-5` the program is that of these layers alone, a wave: the forward ends with the last of them, and
    `loss` is their part of the mean over all layers, so that gradients are those of the program of all layers, bit for
    bit, and the losses of waves add up. `stream.2` and `stream.6` [B,T,C] are then outputs, too: what goes into the wave
    and what comes out of it. A run that is given the former computes nothing below the wave.
  }];
  let options = [
    Option<"layers", "layers", "std::string", /*default=*/"\"\"", "First and last layer of a wave (default: all)">,
    Option<"normalize", "normalize", "std::string", /*default=*/"\"relative\"",
           "Scale of the squared error: relative, mean or rows">,
  ];
}

def BuildCalibratePass : Morph_Pass<"morph-build-calibrate"> {
  let summary = "Build the program that gives weights of linear branches their first values from activations";
  let description = [{
    Phase paired. Adds `@calibrate(tokens [B,T]) -> ...`: the teacher's forward, in which every `morph.mixer_calibrate` of
    the layers' linear candidates is computed of the teacher's normalised hidden state. An output is called as the weight
    whose first value it is. What stands above the last layer that asks is not computed. A model of whose candidates none
    asks gets no program.
  }];
}

def BuildGatesPass : Morph_Pass<"morph-build-gates"> {
  let summary = "Build the program that trains the gates";
  let description = [{
    Phase relaxed. Adds `@gates(tokens [B,T], positions [N], targets [N], weights [N]) -> loss`; trained: the gates.

    `loss`: `kl` KL(teacher || relaxed) of the next token at the positions; `ce` the cross-entropy of the targets;
    `final_hidden` the squared error of the final hidden state; `layers` the mean over layers of the squared error of
    the residual stream after the mixer, all at the positions. `target` of `layers`: `teacher` compares with a separate
    teacher pass; `local` gives every layer the teacher's stream, so that each gate sees its own layer's error only.
  }];
  let options = [
    Option<"loss", "loss", "std::string", /*default=*/"\"kl\"", "kl, ce, final_hidden or layers">,
    Option<"target", "target", "std::string", /*default=*/"\"teacher\"", "teacher or local (loss=layers only)">,
    Option<"normalize", "normalize", "std::string", /*default=*/"\"relative\"",
           "Scale of squared errors: relative, mean or rows">,
  ];
}

def BuildDistillPass : Morph_Pass<"morph-build-distill"> {
  let summary = "Build the program that distils the teacher into the hybrid";
  let description = [{
    Phase hybrid. Adds `@distill(tokens [B,T], positions [N], weights [N]) -> teacher [N,C], loss`: the weighted mean over
    the positions of KL(teacher || hybrid), with `loss=reverse_kl` of KL(hybrid || teacher); with `top` the teacher's
    distribution is that of its `top` likeliest tokens alone. With `streams` as much times the mean over the layers of linear
    attention of the squared error of the residual stream behind their mixer, over the teacher's power, at the same positions
    is added. `teacher` is what goes into the teacher's head: a run that is given it computes
    of the teacher the head alone. The teacher is the hybrid's forward with each candidate replaced by the full attention it
    was made from; weights that the hybrid lost, trains or is to have `adapters` beside are added as `teacher.<name>` with
    `teacher_of`.
  }];
  let options = [
    Option<"train", "train", "std::string", /*default=*/"\"linear\"",
           "linear: the weights of linear attention; all: every weight of the hybrid">,
    Option<"loss", "loss", "std::string", /*default=*/"\"kl\"", "kl: from the teacher; reverse_kl: from the hybrid">,
    Option<"top", "top", "int64_t", /*default=*/"0", "The teacher's likeliest tokens that count; 0: all">,
    Option<"streams", "streams", "double", /*default=*/"0", "Weight of the errors of the layers' residual streams">,
    ListOption<"adapters", "adapters", "std::string", "Parts of names of matrices that morph-add-adapters is for">,
  ];
}

def BuildPretrainPass : Morph_Pass<"morph-build-pretrain"> {
  let summary = "Build the program that trains a base model by next-token cross-entropy";
  let description = [{
    Phase base. Adds `@pretrain(tokens [B,T], positions [N], targets [N], weights [N]) -> loss`: the weighted mean
    cross-entropy of the targets at the positions. Trained: every weight.
  }];
}

def BuildFinetunePass : Morph_Pass<"morph-build-finetune"> {
  let summary = "Build the program that finetunes a hybrid by next-token cross-entropy";
  let description = [{
    Phase base or hybrid. Adds `@finetune`, which is `@pretrain` with a choice of what is trained.
  }];
  let options = [
    Option<"train", "train", "std::string", /*default=*/"\"all\"",
           "all: every weight; linear: the weights of linear attention">,
  ];
}

def BuildScorePass : Morph_Pass<"morph-build-score"> {
  let summary = "Build the program that measures a model at positions";
  let description = [{
    Any phase. Adds `@score(tokens [B,T], positions [N], targets [N]) -> nll [N], correct [N]`; with `kl` also the input
    `teacher_logits` [N,V], the output `kl` [N], and for each layer with a gate `stream.<layer>`
    [B,T,C], what goes into it: a run that is given those of another subset computes the layers that follow alone. A choice counts as its first candidate; gates are weights, so that a
    relaxed model scores any subset of layers by setting them to 0 and 1.
  }];
  let options = [
    Option<"kl", "kl", "bool", /*default=*/"false", "Also measure KL(teacher || model) from given teacher logits">,
  ];
}

def BuildLogitsPass : Morph_Pass<"morph-build-logits"> {
  let summary = "Build the program that gives logits at positions";
  let description = [{Any phase. Adds `@logits(tokens [B,T], positions [N]) -> logits [N,V]`.}];
}

def BuildDecodePass : Morph_Pass<"morph-build-decode"> {
  let summary = "Build the program that continues sequences with caches and states";
  let description = [{
    Phase base, paired (first candidates) or hybrid. Adds `@decode(tokens [B,T], start [B], offset [],
    cache.<layer>.<state>...) -> logits [B,V], next.<layer>.<state>...`. `offset` is the position of the first of the T
    new tokens, `start` the index of the first real position of each left-padded row. Mixers are expanded here, since
    their caches are inputs and outputs of the program; the outputs are the inputs' own memory, updated in place. Keys
    and values are rings of S slots, or with a window w of Sw (`S1024`). A prefill is a decode at offset 0 with zero
    states. With `positions` logits are those of other rows, [N,V]: of the input `positions` [N], as places in [B*T], so that
    whoever runs the program says of how many tokens it wants them.
  }];
  let options = [
    Option<"positions", "positions", "bool", /*default=*/"false", "Logits of the rows of an input, not of each last one">,
  ];
}

def BuildReadPass : Morph_Pass<"morph-build-read"> {
  let summary = "Build the program that reads documents piece by piece and measures what it expects of them";
  let description = [{
    Phase base, paired (first candidates) or hybrid. Adds `@read`, which has the caches and states of `@decode`, and for them
    `positions` [N] and `targets` [N] -> `nll` [N]: at positions of the T new tokens, the cross-entropy of what follows. Of
    a long document neither logits nor activations are ever there for more than T tokens.
  }];
}

//===----------------------------------------------------------------------===//
// Lowering of programs
//===----------------------------------------------------------------------===//

def ExpandMixersPass : Morph_Pass<"morph-expand-mixers"> {
  let summary = "Write the token mixers of programs in primitive ops";
  let description = [{
    Every token mixer of a program function becomes the ops that its interface builds and reads its weights by
    `morph.param`.

    ```mlir
    %m = morph.softmax_mixer %h layer 0 weights "model.layers.0.self_attn" ...
    ==>
    %w = morph.param @model.layers.0.self_attn.q_proj.weight : tensor<32x16xf32>
    %q = morph.linear %h, %w : ...
    ...
    ```
  }];
}

def AddAdaptersPass : Morph_Pass<"morph-add-adapters"> {
  let summary = "Put trained low-rank adapters beside frozen matrices of a program";
  let description = [{
    LoRA (arXiv 2106.09685). Of a matrix of the checkpoint [O,I] in whose name one of `weights` stands each product y = W x
    becomes y = W x + B (A x), A [R,I] of normal draws and B [O,R] zero at first; A and B are trained, and W is not. They are
    `<module>.lora_A.weight` and `<module>.lora_B.weight` of the module whose weight W is, and the stage that trains them adds
    their product to W at its end. Mixers of the program must be expanded.

    ```mlir
    %y = morph.linear %x, %w : tensor<?x?x16xf32>, tensor<32x16xf32>
    ==>
    %y0 = morph.linear %x, %w : tensor<?x?x16xf32>, tensor<32x16xf32>
    %n = morph.linear %x, %a : tensor<?x?x16xf32>, tensor<4x16xf32>
    %u = morph.linear %n, %b : tensor<?x?x4xf32>, tensor<32x4xf32>
    %y = morph.add %y0, %u : tensor<?x?x32xf32>, tensor<?x?x32xf32>
    ```
  }];
  let options = [
    Option<"program", "program", "std::string", /*default=*/"", "Name of the program">,
    ListOption<"weights", "weights", "std::string", "Parts of the names of matrices; none: nothing is done">,
    Option<"rank", "rank", "int64_t", /*default=*/"16", "R, the rank of what is added">,
  ];
}

def SeparateDocumentsPass : Morph_Pass<"morph-separate-documents"> {
  let summary = "Let the positions of a program see their own document alone";
  let description = [{
    Windows of training may hold several documents, one after another. The program gets the input `begins` [B,T], of each
    position the one where its document begins, and so does every op by which positions see each other: attention is masked,
    recurrences and convolutions start anew. Rotary positions stay as they are: what comes of them depends on their
    differences alone (`attention`; linear_mixer_c10 has it checked of declared mixers). Mixers of the program must be
    expanded, and gradients not built yet: they take over what their ops have.

    ```mlir
    %y = morph.attention %q, %k, %v scale 0.5 : tensor<?x?x2x8xf32>, tensor<?x?x2x8xf32>, tensor<?x?x2x8xf32>
    ==>
    %y = morph.attention %q, %k, %v begins %begins scale 0.5 : tensor<?x?x2x8xf32>, tensor<?x?x2x8xf32>, tensor<?x?x2x8xf32> begins tensor<?x?xi64>
    ```
  }];
  let options = [
    Option<"program", "program", "std::string", /*default=*/"", "Name of the program">,
  ];
}

def DemandRowsPass : Morph_Pass<"morph-demand-rows"> {
  let summary = "Compute at some rows what is read at these rows alone";
  let description = [{
    An op of a program whose rows do not depend on each other, and of whose result nothing is read but the same rows, is
    computed at these rows: `take_rows` and `last_rows` move up to its operands. Above the head these are the last
    layer's feed-forward network, its norm, and the output projection of its mixer. Before differentiation, so that the
    backward is as small.

    ```mlir
    %n = morph.rms_norm %x, %w eps 1.0e-05 : tensor<?x?x16xf32>, tensor<16xf32>
    %r = morph.take_rows %n, %positions : tensor<?x?x16xf32>, tensor<?xi64>
    ==>
    %t = morph.take_rows %x, %positions : tensor<?x?x16xf32>, tensor<?xi64>
    %r = morph.rms_norm %t, %w eps 1.0e-05 : tensor<?x16xf32>, tensor<16xf32>
    ```
  }];
}

def DifferentiatePass : Morph_Pass<"morph-differentiate"> {
  let summary = "Build the backward of a program";
  let description = [{
    Appends to a program that trains `[@a, @b, ...]` an output `grad.<symbol>` for each symbol: the gradient of its output
    `loss`. Only values that depend on a trained symbol get a gradient, so frozen weights cost no
    product and nothing below the lowest trained symbol has a backward. Each gradient op is placed as soon as its operands
    are there: programs whose layers' losses are independent hold one layer's activations at a time.

    An op on the way from a trained symbol to the loss that has no gradient is an error, as is a trained symbol that the
    loss does not depend on.
  }];
  let options = [
    Option<"program", "program", "std::string", /*default=*/"", "Name of the program (default: all that train)">,
  ];
}

def AccumulateGradientsPass : Morph_Pass<"morph-accumulate-gradients"> {
  let summary = "Add gradients to the caller's sums where they are made";
  let description = [{
    Every output `grad.<symbol>` of a program becomes the sum of what it was over the batches of a step: an input of that
    name to which the gradient is added, times the input `share`, as soon as it is there. So a gradient lives no longer
    than until then, and the sums have one owner, whoever runs the program.

    ```mlir
    morph.output "grad.w" = %dw : tensor<4xf32>
    ==>
    %sum = morph.accumulate %grad.w, %dw, %share : tensor<4xf32>, tensor<4xf32>, tensor<f32>
    ...
    morph.output "grad.w" = %sum : tensor<4xf32>
    ```
  }];
  let options = [
    Option<"program", "program", "std::string", /*default=*/"", "Name of the program (default: all that train)">,
  ];
}

def BuildUpdatePass : Morph_Pass<"morph-build-update"> {
  let summary = "Build the program that does a step with a program's gradients";
  let description = [{
    For a program `@p` that trains adds `@p_update(rate [], step [], grad.<symbol>, exp_avg.<symbol>,
    exp_avg_sq.<symbol>, ...) -> norm, exp_avg..., exp_avg_sq...` and names it in `@p`: with `clip` the gradients are clipped, then AdamW
    updates the weights and its moments, all in place. `norm` is that of all gradients before. Matrices decay, norms,
    biases, gates and decay rates do not.

    With `clip_by=layer` the gradients of a layer's mixers share a limit, each layer an equal part of `clip`, so that
    layers which are trained apart (waves of align) do not depend on each other.
  }];
  let options = [
    Option<"program", "program", "std::string", /*default=*/"", "Name of the program (default: all that train)">,
    Option<"clip", "clip", "double", /*default=*/"0", "Largest norm of the gradients; 0: not clipped">,
    Option<"clipBy", "clip_by", "std::string", /*default=*/"\"all\"", "Which gradients share a limit: all or layer">,
    Option<"beta1", "beta1", "double", /*default=*/"0.9", "Decay of the first moment">,
    Option<"beta2", "beta2", "double", /*default=*/"0.999", "Decay of the second moment">,
    Option<"weightDecay", "weight_decay", "double", /*default=*/"0", "Decoupled decay of matrices">,
    ListOption<"rates", "rates", "std::string",
               "PART=FACTOR: weights with PART in their names have FACTOR times the rate; of several the last holds">,
  ];
}

def AssignPrecisionPass : Morph_Pass<"morph-assign-precision"> {
  let summary = "Say by casts which values of programs are bf16";
  let description = [{
    With `products=bf16` the factors of matrix products become bf16: by a `morph.cast` that all products of a value share,
    or as the type of a frozen weight that products alone read. Rings of keys and values are bf16, too. Attention
    and linear attention may then round the factors of the products within them. Results of products, the residual
    stream, norms, recurrent states, losses, gradients and trained weights stay f32, attention's softmax and the decays
    and solves of linear attention too. With fp32 nothing changes.

    ```mlir
    %0 = morph.linear %x, %w : tensor<?x8xf32>, tensor<4x8xf32>
    // becomes
    %1 = morph.cast %x to "bf16" : tensor<?x8xf32>
    %0 = morph.linear %1, %w : tensor<?x8xbf16>, tensor<4x8xbf16>
    ```
  }];
  let options = [
    Option<"products", "products", "std::string", /*default=*/"\"fp32\"", "Factors of products: fp32 or bf16">,
  ];
}

def FormKernelsPass : Morph_Pass<"morph-form-kernels"> {
  let summary = "Outline ops that share a row space into kernels";
  let description = [{
    Elementwise and row-wise ops of programs (`KernelOpInterface`) that are connected and close in program order become
    a `morph.kernel` and a `morph.launch`; equal kernels are one. No value lives longer for it: ops are moved past
    others only where what they keep alive is no more than what they free. Run it last, before the plan is emitted.

    ```mlir
    %s = morph.add %x, %y : tensor<?x?x16xf32>, tensor<?x?x16xf32>
    %n = morph.rms_norm %s, %w eps 1.000000e-05 : tensor<?x?x16xf32>, tensor<16xf32>
    ==>
    %s, %n = morph.launch @add_rms_norm_16(%x, %y, %w) : ...
    ```
  }];
  let options = [
    Option<"program", "program", "std::string", /*default=*/"", "The program to form kernels in (default: all)">,
  ];
}

def RecomputePass : Morph_Pass<"morph-recompute"> {
  let summary = "Compute values of a program twice so that its memory fits a limit";
  let description = [{
    Where the values of a run (the arena of its plan, runtime/plan/Buffers.h) take more than `limit` bytes at the given
    `sizes`, values that live long are not kept: what reads them late reads a copy, which ops that are cloned right
    before it compute. Which values, is chosen by the bytes that they free for each operation that they cost
    (Recomputation.h). The bits of results do not change.

    Run it after morph-assign-precision, which decides what values weigh, and with no CSE after it, which would undo it;
    but before morph-form-kernels: a normalised state can be computed again from the stream, a kernel that adds to the
    stream as well would need what was added, too.

    ```mlir
    %h = morph.rms_norm %x, %w eps 1.000000e-05 : ...       // read by the forward
    ...
    %again = morph.rms_norm %x, %w eps 1.000000e-05 : ...   // read by the backward
    %dw = morph.linear_weight_grad %dy, %again : ...
    ```
  }];
  let options = [
    Option<"program", "program", "std::string", /*default=*/"", "Name of the program">,
    Option<"limit", "limit", "int64_t", /*default=*/"0", "Bytes that the values of a run may take">,
    ListOption<"sizes", "sizes", "std::string", "Sizes of a run by name, NAME=NUMBER">,
    Option<"threads", "threads", "int64_t", /*default=*/"1", "Threads of a run; each has scratch of its own">,
    Option<"least", "least", "bool", /*default=*/"false",
           "Where the limit cannot be met, take the least memory instead of giving an error">,
  ];
}

def KeepStatesPass : Morph_Pass<"morph-keep-states"> {
  let summary = "Keep what attention's and linear attention's forward find for their backward, where the memory allows it";
  let description = [{
    A linear_attention_grad finds the states at the chunks' starts again, and what its positions write; an attention_grad
    the sums of its rows' softmax, and attention's result. Here the forward of the same operands leaves both. With a `limit`
    only as many layers' are kept as leave the values of a run within it, those that live for the fewest ops first; without
    one, all. The bits of results do not change.

    Run it after morph-recompute, which makes room, and whose copies of a forward leave them right where they are read.

    ```mlir
    %o, %state, %kept:2 = morph.linear_attention %q, %k, %v beta %b scale 0.125 chunk 64 keep_states keep_written : ...
    ...
    %d:4 = morph.linear_attention_grad %do, %q, %k, %v beta %b states %kept#0 written %kept#1 scale 0.125 chunk 64 : ...

    %y, %lse = morph.attention %q, %k, %v scale 0.125 keep_lse : ...
    ...
    %d:3 = morph.attention_grad %dy, %q, %k, %v out %y lse %lse scale 0.125 : ...
    ```
  }];
  let options = [
    Option<"program", "program", "std::string", /*default=*/"", "Name of the program">,
    Option<"limit", "limit", "int64_t", /*default=*/"-1", "Bytes that the values of a run may take; less than 0: any">,
    ListOption<"sizes", "sizes", "std::string", "Sizes of a run by name, NAME=NUMBER; for a limit">,
    Option<"threads", "threads", "int64_t", /*default=*/"1", "Threads of a run; for a limit">,
  ];
}

def EmitPlanPass : Morph_Pass<"morph-emit-plan"> {
  let summary = "Write a program as a plan for the runtime";
  let description = [{
    Writes the program as JSON (runtime/plan/Plan.h). The program must be in primitive ops: see morph-program-pipeline.
    The IR is not changed. `morph-translate --emit-plan` is the same without the IR's print.
  }];
  let options = [
    Option<"program", "program", "std::string", /*default=*/"", "Name of the program">,
    Option<"output", "output", "std::string", /*default=*/"\"-\"", "File to write, - for the standard output">,
    ListOption<"devices", "device", "std::string",
               "Compile for GPUs of these generations (sm_80, sm_90), as PTX beside the plan">,
    Option<"everyTile", "every-tile", "bool", /*default=*/"false",
           "Compile tiled kernels for every tile that one is picked of, with remarks, for passes/lower/cuda/TileAnswers.def">,
  ];
}

#endif // MORPH_PASSES_TD
