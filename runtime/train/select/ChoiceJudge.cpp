// SPDX-License-Identifier: Apache-2.0

#include "runtime/train/select/ChoiceJudge.h"

#include "runtime/plan/Cost.h"
#include "runtime/train/HeldOut.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <limits>

namespace morph {

/// Rows of the teacher's logits that are looked at at once: they may be a device's, and are copied from there.
static constexpr int64_t kLogitRows = 256;

std::vector<double> sampleMeans(const Batch &batch, const at::Tensor &rows) {
  const size_t samples = static_cast<size_t>(batch.tokens.size(0)); // B
  const int64_t length = batch.tokens.size(1);                      // T
  std::vector<double> sums(samples, 0), weights(samples, 0);
  const at::Tensor values = rows.to(at::kCPU, at::kDouble).contiguous(); // [N]
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

/// The first layer in which two choices differ.
static int64_t firstDifference(const Choice &a, const Choice &b) {
  const auto place = std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first;
  return place == a.end() && a.size() == b.size() ? std::numeric_limits<int64_t>::max() : place - a.begin();
}

/// The layer that an output of `score` goes into; -1 where it is no such output.
static int64_t layerOfOutput(const std::string &output) {
  const std::string prefix = "stream.";
  return output.rfind(prefix, 0) == 0 ? std::strtoll(output.c_str() + prefix.size(), nullptr, 10) : -1;
}

NamedTensors JudgedBatch::streamsBelow(const Choice &next) const {
  NamedTensors given;
  const int64_t changed = firstDifference(choice, next);
  for (const auto &[name, stream] : streams)
    if (layerOfOutput(name) <= changed)
      given[name] = stream;
  return given;
}

void JudgedBatch::keepStreams(const Choice &next, const NamedTensors &outputs, int64_t mostBytes) {
  const int64_t changed = firstDifference(choice, next);
  int64_t bytes = 0;
  for (const auto &[name, tensor] : outputs)
    bytes += layerOfOutput(name) < 0 ? 0 : static_cast<int64_t>(tensor.nbytes());
  if (bytes > mostBytes)
    return;
  for (const auto &[name, tensor] : outputs) {
    if (layerOfOutput(name) < 0)
      continue;
    at::Tensor &stream = streams[name];
    if (!stream.defined())
      stream = tensor.clone();
    else if (layerOfOutput(name) > changed)
      stream.copy_(tensor);
  }
  choice = next;
}

StatusOr<std::unique_ptr<ChoiceJudge>> ChoiceJudge::create(const StageContext &context, const Executor *sharing,
                                                           const ChoiceSpace &space, const BatchStream &stream,
                                                           int64_t batches) {
  std::unique_ptr<ChoiceJudge> judge(new ChoiceJudge(context, stream, batches));
  MORPH_ASSIGN_OR_RETURN(judge->executor_, context.executor("score", sharing));
  MORPH_ASSIGN_OR_RETURN(judge->space_, GateSpace::create(judge->executor_->plan(), space, GateParametrization::Clamp));
  MORPH_RETURN_IF_ERROR(judge->runTeacher(context));
  return judge;
}

Status ChoiceJudge::runTeacher(const StageContext &context) {
  MORPH_ASSIGN_OR_RETURN(const auto teacher, context.baseExecutor("logits", executor_.get()));
  const auto begin = std::chrono::steady_clock::now();
  for (int64_t i = 0; i < count_; ++i) {
    if (!processes_.owns(i))
      continue;
    MORPH_ASSIGN_OR_RETURN(Batch batch, stream_.batch(static_cast<uint64_t>(i)));
    MORPH_ASSIGN_OR_RETURN(const NamedTensors outputs, teacher->run(loopBatch(batch, teacher->plan()).inputs));
    NamedTensors input = loopBatch(batch, executor_->plan()).inputs;
    input["teacher_logits"] = outputs.at("logits").clone();
    MORPH_ASSIGN_OR_RETURN(const double flops, batchFlops(teacher->plan(), input));
    teacherCost_.flops += flops;
    teacherCost_.tokens += batch.tokenCount();
    batches_.push_back({i, std::move(batch), std::move(input), {}, {}});
  }
  MORPH_ASSIGN_OR_RETURN(const std::vector<double> sums,
                         processes_.sum({teacherCost_.flops, static_cast<double>(teacherCost_.tokens)}));
  teacherCost_.flops = sums[0];
  teacherCost_.tokens = static_cast<int64_t>(sums[1]);
  teacherCost_.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return Status();
}

/// The share of each sample's answer tokens that the teacher finds most likely.
static std::vector<double> teacherCorrect(const JudgedBatch &judged) {
  const at::Tensor &logits = judged.input.at("teacher_logits"); // [N, V]
  const int64_t count = logits.size(0);
  const at::Tensor right = at::empty({count}, at::kDouble); // [N]
  for (int64_t begin = 0; begin < count; begin += kLogitRows) {
    const int64_t rows = std::min(kLogitRows, count - begin);
    const at::Tensor likeliest = logits.narrow(0, begin, rows).to(at::kCPU).argmax(1);
    right.narrow(0, begin, rows).copy_(likeliest.eq(judged.batch.targets.narrow(0, begin, rows)));
  }
  return sampleMeans(judged.batch, right);
}

StatusOr<ChoiceScores> ChoiceJudge::teacherScores(int64_t begin, int64_t end) {
  std::vector<std::vector<double>> own; // By batch: what the samples get right.
  for (const JudgedBatch &judged : batches_)
    if (judged.index >= begin && judged.index < end)
      own.push_back(teacherCorrect(judged));
  MORPH_ASSIGN_OR_RETURN(const auto all, processes_.collect(own, 1, end - begin, begin));
  ChoiceScores scores;
  for (const std::vector<double> &batch : all)
    scores.correct.insert(scores.correct.end(), batch.begin(), batch.end());
  scores.kl.resize(scores.correct.size(), 0);
  return scores;
}

StatusOr<ChoiceScores> ChoiceJudge::measure(const Choice &choice, int64_t begin, int64_t end, MeasureCost &cost) {
  if (choice.empty())
    return teacherScores(begin, end);
  space_.setChoice(executor_->masters(), choice);
  std::vector<std::vector<double>> own; // By batch: operations, tokens, the samples' KLs, and what they get right.
  for (JudgedBatch &judged : batches_) {
    if (judged.index < begin || judged.index >= end)
      continue;
    const NamedTensors &input = judged.input;
    MORPH_ASSIGN_OR_RETURN(const NamedTensors outputs, executor_->run(input, judged.streamsBelow(choice)));
    judged.keepStreams(choice, outputs, plan::kStreamBytes / count_);
    auto kl = outputs.find("kl");
    if (kl == outputs.end())
      return Status::invalid("the plan 'score' has no output 'kl'", "emit it with the option kl=true");
    MORPH_ASSIGN_OR_RETURN(const double flops, batchFlops(executor_->plan(), input, executor_->steps()));
    std::vector<double> &batch = own.emplace_back();
    batch = {flops, static_cast<double>(judged.batch.tokenCount())};
    for (const at::Tensor &rows : {kl->second, outputs.at("correct")})
      for (double value : sampleMeans(judged.batch, rows))
        batch.push_back(value);
  }
  MORPH_ASSIGN_OR_RETURN(const auto all, processes_.collect(own, 1, end - begin, begin));
  std::string kept;
  for (int64_t layer : fullLayers(choice))
    kept += " " + std::to_string(layer);
  ChoiceScores scores;
  for (const std::vector<double> &batch : all) {
    cost.flops += batch[0];
    cost.tokens += static_cast<int64_t>(batch[1]);
    const auto middle = batch.begin() + 2 + static_cast<std::ptrdiff_t>((batch.size() - 2) / 2);
    scores.kl.insert(scores.kl.end(), batch.begin() + 2, middle);
    scores.correct.insert(scores.correct.end(), middle, batch.end());
  }
  for (double kl : scores.kl)
    if (!std::isfinite(kl))
      return Status::failed("select: the KL of the choice that keeps full attention in layers" +
                                (kept.empty() ? " none" : kept) + " is not finite",
                            "align longer, or use precision = \"fp32\"");
  return scores;
}

} // namespace morph
