// SPDX-License-Identifier: Apache-2.0
#include "tools/morph/SpecPlans.h"

#include "tools/morph/MemoryLimit.h"
#include "tools/morph/Selection.h"

using namespace morph;

StatusOr<SpecPlans> morph::emitSpecPlans(const Compiler &compiler, const SpecArguments &arguments,
                                         const ResolvedSpec &resolved, const std::vector<Variant> &variants,
                                         const fs::path &folder) {
  SpecPlans result;
  PlanFiles &plans = result.files;
  auto ir = [&](const char *name) { return folder / (std::string(name) + ".mlir"); };
  auto emit = [&](const char *input, const std::string &program, const std::string &options, const std::string &name) {
    plans[name] = folder / (name + ".json");
    return compiler.emitPlan(ir(input), program, options, plans[name]);
  };
  auto emitTraining = [&](const char *input, const std::string &program, const std::string &stage) -> Status {
    MORPH_ASSIGN_OR_RETURN(const TrainingPlans made,
                           emitTrainingPlans(compiler, resolved, ir(input), program, folder, program));
    for (const TrainingPlan &plan : made.plans)
      plans[plan.name] = folder / (plan.name + ".json");
    result.unlimitedFlops[stage] = made.unlimitedFlops;
    return Status();
  };
  MORPH_RETURN_IF_ERROR(compiler.importSpec(arguments.spec, arguments.settings, ir("base"), /*configOnly=*/true));
  MORPH_RETURN_IF_ERROR(emit("base", "decode", programOptions(resolved, "decode"), "decode-full"));
  if (resolved.pretrain) {
    MORPH_RETURN_IF_ERROR(emit("base", "score", programOptions(resolved, "score"), "score"));
    MORPH_RETURN_IF_ERROR(emitTraining("base", "pretrain", "pretrain"));
    return result;
  }
  MORPH_RETURN_IF_ERROR(emit("base", "score", programOptions(resolved, "score"), "score-full"));
  MORPH_RETURN_IF_ERROR(compiler.pair(ir("base"), resolved.space, ir("paired")));
  MORPH_RETURN_IF_ERROR(emitTraining("paired", "align", "align"));
  if (resolved.align.calibration > 0) {
    const fs::path plan = folder / "calibrate.json";
    MORPH_ASSIGN_OR_RETURN(const bool calibrates,
                           compiler.emitCalibration(ir("paired"), programOptions(resolved, "calibrate"), plan));
    if (calibrates)
      plans["calibrate"] = plan;
  }
  MORPH_ASSIGN_OR_RETURN(const SelectionPrograms programs, selectionPrograms(variants));
  const bool scores = programs.scores || resolved.audit; // An audit judges every choice.
  if (scores || !programs.gates.empty())
    MORPH_RETURN_IF_ERROR(compiler.relax(ir("paired"), ir("relaxed")));
  if (!programs.gates.empty())
    MORPH_RETURN_IF_ERROR(emitTraining("relaxed", "gates", "select"));
  if (scores)
    MORPH_RETURN_IF_ERROR(emit("relaxed", "score", programOptions(resolved, "score") + ",kl=true", "score-relaxed"));
  MORPH_ASSIGN_OR_RETURN(const Choice choice, dearestChoice(resolved));
  MORPH_RETURN_IF_ERROR(compiler.discretize(ir("paired"), resolved.space, choice, ir("hybrid")));
  // With every layer kept there is nothing linear to train.
  const bool linear = hasTrained(resolved.space, choice);
  const auto trains = [&](const TrainingSpec &section, DistillSpec::Train train) {
    return section.steps > 0 && (linear || train != DistillSpec::Train::Linear);
  };
  if (trains(resolved.distill, resolved.distill.train))
    MORPH_RETURN_IF_ERROR(emitTraining("hybrid", "distill", "distill"));
  if (trains(resolved.finetune, resolved.finetune.train))
    MORPH_RETURN_IF_ERROR(emitTraining("hybrid", "finetune", "finetune"));
  MORPH_RETURN_IF_ERROR(emit("hybrid", "score", programOptions(resolved, "score"), "score"));
  MORPH_RETURN_IF_ERROR(emit("hybrid", "decode", programOptions(resolved, "decode"), "decode"));
  return result;
}
