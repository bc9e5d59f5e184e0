// SPDX-License-Identifier: Apache-2.0
// The compiler's programs as functions: spec to JSON, model to IR, phase to phase, IR to plan.

#ifndef MORPH_TOOLS_MORPH_COMPILER_H
#define MORPH_TOOLS_MORPH_COMPILER_H

#include "runtime/choice/Space.h"
#include "runtime/spec/Spec.h"
#include "tools/morph/Files.h"
#include "tools/morph/Process.h"
#include "tools/morph/Toolchain.h"

#include <optional>
#include <string>
#include <vector>

namespace morph {

/// Runs one helper. Its own words on standard error are the report: the error returned has its kind (exit code 2: wrong
/// input) and no message, but for a helper that died from a signal: that is an error of two lines, and what the helper
/// said of it (a stack) goes to the file that the second line names.
Status runHelper(const Command &command);
/// The same for a helper that has ended. Its captured errors are passed on, or go to that file.
Status toStatus(const ProcessResult &result, const Command &command);

/// Options of a program as a resolved spec says.
std::string programOptions(const ResolvedSpec &resolved, const std::string &program);
/// Of the choices that a spec's space allows one that keeps most layers, the last ones: the dearest to train, because
/// gradients go down to the lowest linear layer.
StatusOr<Choice> dearestChoice(const ResolvedSpec &resolved);
/// Whether a choice has a candidate with weights that align and distil train.
bool hasTrained(const ChoiceSpace &space, const Choice &choice);

class Compiler {
public:
  /// Plans are for the CPU, or, with their kernels as PTX beside them, for GPUs of `target` ("sm_90", or several:
  /// "sm_80,sm_90").
  explicit Compiler(const Toolchain &tools, std::string target = "") : tools_(tools), target_(std::move(target)) {}
  /// One whose plans have no code: they tell costs, and take a part of the time.
  Compiler withoutCode() const {
    Compiler compiler = *this;
    compiler.makesCode_ = false;
    return compiler;
  }
  bool makesCode() const { return makesCode_; }

  /// A spec with defaults filled in and `settings` ("key=value") applied, checked. With `configOnly` weights, tokenizer
  /// and texts need not be there; with `withoutTimes` budgets of decode_seconds are left out, whose tables of costs
  /// need not be there.
  StatusOr<ResolvedSpec> resolve(const fs::path &spec, const std::vector<std::string> &settings,
                                 bool configOnly = false, bool withoutTimes = false) const;
  /// The mixers that come with Morph or that the model declares, by name: what `morph-translate --mixers` prints.
  /// `model` is IR of the base phase, for costs at a context of that many tokens, or empty.
  StatusOr<Json> mixers(const fs::path &model = {}, int64_t context = 32768) const;
  /// What an error's label or a spec's key stands for: what `morph-translate --explain` prints.
  StatusOr<Json> explain(const std::string &label) const;
  /// The canonical text of a `.morph` file.
  Status formatMixers(const fs::path &file, const fs::path &output) const;
  /// The base model of a spec as IR.
  Status importSpec(const fs::path &spec, const std::vector<std::string> &settings, const fs::path &output,
                    bool configOnly = false) const;
  /// config.json of the base that a spec makes.
  Status baseConfig(const fs::path &spec, const std::vector<std::string> &settings, const fs::path &output) const;
  /// That of a base's folder, with RoPE parameters for `positions` where they are given (`model.context`).
  /// With `configOnly` weights need not be there.
  Status folderConfig(const fs::path &folder, std::optional<int64_t> positions, const fs::path &output,
                      bool configOnly = false) const;
  /// A Hugging Face folder (base or hybrid) as IR; a model without a name is called as the folder is. With `configOnly`
  /// weights need not be there.
  /// The mixers of files that `space` has for candidates become part of the model.
  Status importModel(const fs::path &folder, const std::string &name, const fs::path &output, bool configOnly = false,
                     const ChoiceSpace &space = {}, std::optional<int64_t> positions = std::nullopt) const;

  // Each step from phase to phase checks its input and its output (morph-verify-phase).
  /// Phase base -> paired, with the candidates of a space.
  Status pair(const fs::path &input, const ChoiceSpace &space, const fs::path &output) const;
  /// Phase paired -> relaxed.
  Status relax(const fs::path &input, const fs::path &output) const;
  /// Phase paired -> hybrid, by the choice of a selection.json.
  Status discretize(const fs::path &input, const fs::path &selection, const fs::path &output) const;
  /// Phase paired -> hybrid, by a choice in the space that the model was paired by. Its selection is written beside the
  /// output.
  Status discretize(const fs::path &input, const ChoiceSpace &space, const Choice &choice,
                    const fs::path &output) const;

  /// One program of a model as a plan. `options` are the builder's, "key=value" with commas between (programOptions).
  Status emitPlan(const fs::path &input, const std::string &program, const std::string &options,
                  const fs::path &output) const;
  /// The program `calibrate`, where a mixer of the model calibrates weights; whether there is one.
  StatusOr<bool> emitCalibration(const fs::path &input, const std::string &options, const fs::path &output) const;
  /// The mixers of a hybrid as Python, for export/morph_export.py.
  Status emitPyTorch(const fs::path &input, const fs::path &output) const;

private:
  /// Runs the passes that lead from one phase to another, between checks of both.
  Status changePhase(const fs::path &input, const std::string &from, const std::string &pass, const std::string &to,
                     const fs::path &output) const;
  /// Runs program `name` with `-o` a temporary name that becomes `output` when it succeeds. Its errors leave out the
  /// places in `made`, IR that the driver has made.
  Status translate(const std::string &name, std::vector<std::string> arguments, const fs::path &output,
                   const fs::path &made = {}) const;
  Toolchain tools_;
  std::string target_;
  bool makesCode_ = true;
};

} // namespace morph

#endif // MORPH_TOOLS_MORPH_COMPILER_H
