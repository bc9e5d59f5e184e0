// SPDX-License-Identifier: Apache-2.0
// Pipelines of passes, with the option struct that tools fill. Pipelines take a module or a model.

#ifndef MORPH_PASSES_PIPELINES_H
#define MORPH_PASSES_PIPELINES_H

#include "mlir/Pass/PassManager.h"

#include "llvm/Support/Error.h"

#include <optional>
#include <string>
#include <vector>

namespace morph {

/// Which program to build, and how. Options that a program does not have are not looked at by it.
struct ProgramOptions {
  /// calibrate, align, gates, distill, finetune, pretrain, score, logits, decode or read.
  std::string program;
  /// gates: kl, ce, final_hidden or layers.
  std::string loss = "kl";
  /// gates with loss layers: teacher or local.
  std::string target = "teacher";
  /// align, gates: relative, mean or rows.
  std::string normalize = "relative";
  /// align: first and last layer of a wave, "4-7"; empty: all layers.
  std::string layers;
  /// distill, finetune: linear or all; empty: the program's own default (distill linear, finetune all).
  std::string train;
  /// score: also the KL from given teacher logits.
  bool kl = false;
  /// Programs that train: false leaves the backward out, for measuring their loss at the cost of a forward.
  bool gradients = true;
  /// Programs that train: the largest norm of the gradients (0: any), and whether `all` share it or those of a `layer`
  /// an equal part; AdamW's decays of moments and weights.
  double clip = 0;
  std::string clipBy = "all";
  double beta1 = 0.9;
  double beta2 = 0.999;
  double weightDecay = 0;
  /// distill, finetune: weights with a rate of their own, "mlp=0.1" (morph-build-update).
  std::vector<std::string> rates;
  /// distill, finetune: parts of the names of matrices that get adapters, and these' rank (morph-add-adapters).
  std::vector<std::string> adapters;
  int64_t adapterRank = 16;
  /// distill: kl or reverse_kl; the teacher's likeliest tokens that count, all where it is 0.
  std::string divergence = "kl";
  int64_t top = 0;
  /// distill: weight of the layers' distances to the teacher's; none where nothing is trained.
  double streams = 0;
  /// decode: logits of the rows that an input names (morph-build-decode).
  bool positions = false;
  /// Programs that train, score and logits: no position sees another document of its window (morph-separate-documents).
  bool separate = false;
  /// false leaves every op an instruction of its own.
  bool kernels = true;
  /// fp32 or bf16: what the factors of products are.
  std::string precision = "fp32";
  /// Programs that train: bytes that the values of a run may take, for which some are computed twice, as far as that
  /// helps; none: each is computed once. A run has the named sizes, "B=1 T=512", and so many threads.
  std::optional<int64_t> limit;
  std::vector<std::string> sizes;
  int64_t threads = 1;
};

/// Names of all programs.
llvm::ArrayRef<llvm::StringRef> programNames();

/// Parses "key=value,key=value" into the options of `program`. An error names an unknown program, an unknown key, a key
/// that the program does not have, or a value that is not one of its kind.
llvm::Expected<ProgramOptions> parseProgramOptions(llvm::StringRef program, llvm::StringRef text);

/// Adds everything between a model and a program in primitive ops, ready for emitPlan: verify the model's phase, build
/// the program, expand its mixers, separate documents where asked, share what is computed twice, differentiate what
/// trains and build its update (unless `gradients` is false), clean up, assign the precision, compute twice what does
/// not fit, form kernels. The program must be one of programNames(). Of `calibrate` there is none afterwards where no
/// mixer of the model asks for it.
void addProgramPipeline(mlir::OpPassManager &manager, const ProgramOptions &options);

/// Registers morph-search-pipeline (base -> relaxed), morph-commit-pipeline (paired or relaxed -> hybrid) and
/// morph-program-pipeline with the command line of an opt tool.
void registerPipelines();

} // namespace morph

#endif // MORPH_PASSES_PIPELINES_H
