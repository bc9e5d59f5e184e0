// SPDX-License-Identifier: Apache-2.0

#include "runtime/train/select/SubsetJudge.h"

#include "runtime/train/HeldOut.h"

namespace morph {

std::vector<double> sampleMeans(const Batch &batch, const at::Tensor &rows) {
  const size_t samples = static_cast<size_t>(batch.tokens.size(0)); // B
  const int64_t length = batch.tokens.size(1);                      // T
  std::vector<double> sums(samples, 0), weights(samples, 0);
  const at::Tensor values = rows.to(at::kDouble).contiguous(); // [N]
  const int64_t *positions = batch.positions.const_data_ptr<int64_t>();
  const float *rowWeights = batch.weights.const_data_ptr<float>();
  for (int64_t n = 0; n < batch.positions.numel(); ++n) {
    const auto sample = static_cast<size_t>(positions[n] / length);
    const auto weight = static_cast<double>(rowWeights[n]);
    sums[sample] += weight * values.data_ptr<double>()[n];
    weights[sample] += weight;
  }
  for (size_t sample = 0; sample < samples; ++sample)
    sums[sample] /= weights[sample];
  return sums;
}

StatusOr<std::unique_ptr<SubsetJudge>> SubsetJudge::create(const StageContext &context, const Executor &sharing,
                                                           const GateSpace &space, std::vector<int64_t> chosen, bool kl,
                                                           const BatchStream &stream, int64_t batches) {
  std::unique_ptr<SubsetJudge> judge(new SubsetJudge(space, std::move(chosen), stream, batches));
  MORPH_ASSIGN_OR_RETURN(judge->executor_, context.executor(kl ? "score" : "gates-forward", &sharing));
  if (kl)
    MORPH_RETURN_IF_ERROR(judge->runTeacher(context, sharing));
  return judge;
}

Status SubsetJudge::runTeacher(const StageContext &context, const Executor &sharing) {
  MORPH_ASSIGN_OR_RETURN(const auto teacher, context.executor("logits", &sharing));
  for (int64_t i = 0; i < batches_; ++i) {
    MORPH_ASSIGN_OR_RETURN(Batch batch, stream_.batch(static_cast<uint64_t>(i)));
    MORPH_ASSIGN_OR_RETURN(const NamedTensors outputs, teacher->run(loopBatch(batch, teacher->plan()).inputs));
    NamedTensors input = loopBatch(batch, executor_->plan()).inputs;
    input["teacher_logits"] = outputs.at("logits").clone();
    MORPH_ASSIGN_OR_RETURN(const double flops, batchFlops(teacher->plan(), input));
    teacherCost_.flops += flops;
    teacherCost_.tokens += batch.tokenCount();
    inputs_.emplace_back(std::move(batch), std::move(input));
  }
  return Status();
}

StatusOr<std::vector<double>> SubsetJudge::measure(const std::vector<int64_t> &kept, MeasureCost &cost) {
  space_.setSubset(executor_->masters(), kept, chosen_);
  if (inputs_.empty()) {
    MORPH_ASSIGN_OR_RETURN(const HeldOutLoss loss, heldOutLoss(*executor_, stream_, batches_));
    cost.tokens += loss.tokens;
    cost.flops += loss.flops;
    return loss.losses;
  }
  std::vector<double> result;
  for (const auto &[batch, input] : inputs_) {
    MORPH_ASSIGN_OR_RETURN(const NamedTensors outputs, executor_->run(input));
    auto kl = outputs.find("kl");
    if (kl == outputs.end())
      return Status::invalid("the plan 'score' has no output 'kl'", "emit it with the option kl=true");
    for (double value : sampleMeans(batch, kl->second))
      result.push_back(value);
    MORPH_ASSIGN_OR_RETURN(const double flops, batchFlops(executor_->plan(), input));
    cost.flops += flops;
    cost.tokens += batch.tokenCount();
  }
  return result;
}

} // namespace morph
