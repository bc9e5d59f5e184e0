// SPDX-License-Identifier: Apache-2.0

#include "runtime/train/Inference.h"

#include "runtime/plan/Names.h"
#include "runtime/plan/Rings.h"
#include "runtime/plan/Updates.h"
#include "runtime/train/Progress.h"

#include <algorithm>
#include <chrono>
#include <cmath>

namespace morph {

/// Documents as spans, cut to the length.
static StatusOr<std::vector<TokenSpan>> cutDocuments(const TokenFile &file, const EvalOptions &options) {
  std::vector<TokenSpan> spans;
  if (options.begin) {
    MORPH_ASSIGN_OR_RETURN(spans, file.documentsBeginningWith(*options.begin, options.documents));
    for (TokenSpan &span : spans)
      span.end = span.begin + std::min(span.size(), options.length);
    return spans;
  }
  for (int64_t begin = 0; begin < file.size(); begin += options.length) {
    if (options.documents >= 0 && static_cast<int64_t>(spans.size()) >= options.documents)
      break;
    spans.push_back({begin, begin + std::min(file.size() - begin, options.length)});
  }
  return spans;
}

StatusOr<EvalResult> evalTokens(const StageContext &context, const EvalOptions &options) {
  const auto started = std::chrono::steady_clock::now();
  if (options.length < 2)
    return Status::invalid("--length must be 2 or more: the first token of a document is no target");
  MORPH_ASSIGN_OR_RETURN(const TokenDType dtype, parseTokenDType(options.dtype));
  MORPH_ASSIGN_OR_RETURN(const auto file, TokenFile::open(options.tokens, dtype, context.vocabulary));
  MORPH_ASSIGN_OR_RETURN(const std::vector<TokenSpan> spans, cutDocuments(*file, options));
  MORPH_ASSIGN_OR_RETURN(const auto executor, context.executor("read"));

  EvalResult result;
  double sum = 0;
  std::vector<at::Tensor> logprobs;
  Progress progress("eval", static_cast<int64_t>(spans.size()), 0, "document");
  int64_t seen = 0;
  for (const TokenSpan &span : spans) {
    ++result.documents;
    if (span.size() < 2)
      continue;
    const std::vector<int64_t> ids = file->tokens(span);
    at::Tensor tokens = at::empty({1, span.size()}, at::kLong);
    std::copy(ids.begin(), ids.end(), tokens.data_ptr<int64_t>());
    MORPH_ASSIGN_OR_RETURN(const auto decoder, Decoder::create(*executor, at::zeros({1}, at::kLong), span.size()));
    // The last token is no one's context.
    for (int64_t begin = 0; begin < span.size() - 1; begin += plan::kPrefillChunk) {
      const int64_t end = std::min(begin + plan::kPrefillChunk, span.size() - 1);
      const NamedTensors further = {{"positions", at::arange(end - begin, at::kLong)},
                                    {"targets", tokens.flatten().slice(0, begin + 1, end + 1).contiguous()}};
      MORPH_ASSIGN_OR_RETURN(const NamedTensors outputs,
                             decoder->appendPiece(tokens.slice(1, begin, end).contiguous(), further));
      const at::Tensor nll = outputs.at("nll").to(at::kCPU, at::kFloat, /*non_blocking=*/false, /*copy=*/true);
      sum += nll.sum(at::kDouble).item<double>();
      result.tokens += nll.numel();
      if (!options.perToken.empty())
        logprobs.push_back(nll.neg());
    }
    seen += span.size();
    progress.update(result.documents, seen, "", result.documents % 100 == 0);
  }
  progress.finish();
  if (result.tokens == 0)
    return Status::invalid("'" + options.tokens + "' has no document with a target token");
  result.crossEntropy = sum / static_cast<double>(result.tokens);
  result.perplexity = std::exp(result.crossEntropy);
  if (!std::isfinite(result.crossEntropy))
    return Status::failed("eval: the cross-entropy is not a number");
  if (!options.perToken.empty())
    MORPH_RETURN_IF_ERROR(writeSafetensors(options.perToken, {{"logprob", at::cat(logprobs).contiguous()}}));
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
  return result;
}

StatusOr<std::unique_ptr<Decoder>> Decoder::create(Executor &executor, const at::Tensor &start_B, int64_t positions) {
  std::unique_ptr<Decoder> decoder(new Decoder());
  decoder->executor_ = &executor;
  const plan::Plan &plan = executor.plan();
  const std::map<std::string, int64_t> windows = plan::ringWindows(plan);
  const std::vector<bool> updated = plan::updatedInputs(plan);
  for (size_t i = 0; i < plan.inputs.size(); ++i) {
    const auto &[name, value] = plan.inputs[i];
    if (name == "start")
      decoder->inputs_[name] = start_B;
    if (name == "offset")
      decoder->inputs_[name] = at::zeros({start_B.numel()}, at::kLong);
    if (!plan::hasPrefix(name, plan::kCachePrefix))
      continue;
    if (!updated[i])
      return Status::invalid("the plan '" + plan.program + "' does not update its cache '" + name + "'");
    std::vector<int64_t> shape;
    for (const plan::Dim &dim : plan.values[static_cast<size_t>(value)].shape) {
      const std::string *size = std::get_if<std::string>(&dim);
      if (auto ring = size ? windows.find(*size) : windows.end(); ring != windows.end()) {
        decoder->rings_.push_back({name, ring->second});
        shape.push_back(0);
      } else if (size && *size != "B") {
        return Status::invalid("the plan '" + plan.program + "' has a cache of unknown size '" + *size + "'");
      } else {
        shape.push_back(size ? start_B.numel() : std::get<int64_t>(dim));
      }
    }
    const at::TensorOptions options = scalarType(plan.values[static_cast<size_t>(value)].dtype, executor.precision());
    decoder->inputs_[name] = at::zeros(shape, options.device(executor.device()));
  }
  decoder->reserve(positions);
  return decoder;
}

void Decoder::reserve(int64_t positions) {
  if (positions <= room_)
    return;
  room_ = positions;
  for (const Ring &ring : rings_) {
    at::Tensor &memory = inputs_.at(ring.input);
    const int64_t slots = plan::ringSlots(ring.window, room_);
    if (slots <= memory.size(1))
      continue;
    std::vector<int64_t> shape = memory.sizes().vec();
    shape[1] = slots;
    const at::Tensor larger = at::zeros(shape, memory.options());
    // A ring that grows has had a slot for every position.
    larger.narrow(1, 0, offset_).copy_(memory.narrow(1, 0, offset_));
    memory = larger;
  }
}

StatusOr<at::Tensor> Decoder::append(const at::Tensor &tokens) {
  at::Tensor logits;
  for (int64_t begin = 0; begin < tokens.size(1); begin += plan::kPrefillChunk) {
    const int64_t end = std::min(begin + plan::kPrefillChunk, tokens.size(1));
    if (begin == 0 && offset_ + tokens.size(1) > room_)
      reserve(std::max(offset_ + tokens.size(1), 2 * room_));
    MORPH_ASSIGN_OR_RETURN(const NamedTensors outputs, appendPiece(tokens.slice(1, begin, end).contiguous()));
    const auto found = outputs.find("logits");
    if (found == outputs.end())
      return Status::invalid("the plan 'decode' has no output 'logits'");
    logits = found->second;
  }
  return logits;
}

StatusOr<NamedTensors> Decoder::appendPiece(const at::Tensor &tokens, const NamedTensors &further) {
  const int64_t end = offset_ + tokens.size(1);
  if (end > room_)
    reserve(std::max(end, 2 * room_));
  inputs_["tokens"] = tokens;
  for (const auto &[name, tensor] : further)
    inputs_[name] = tensor;
  if (auto offset = inputs_.find("offset"); offset != inputs_.end())
    std::fill_n(offset->second.mutable_data_ptr<int64_t>(), offset->second.numel(), offset_);
  MORPH_ASSIGN_OR_RETURN(NamedTensors outputs, executor_->run(inputs_));
  offset_ = end;
  return outputs;
}

int64_t Decoder::cacheBytes() const {
  int64_t bytes = 0;
  for (const auto &[name, tensor] : inputs_)
    if (plan::hasPrefix(name, plan::kCachePrefix))
      bytes += static_cast<int64_t>(tensor.nbytes());
  return bytes;
}

template <typename T> static void findGreatest(const at::Tensor &rows, int64_t *indices) {
  const int64_t width = rows.size(1);
  const T *row = rows.const_data_ptr<T>();
  for (int64_t b = 0; b < rows.size(0); ++b, row += width)
    indices[b] = std::max_element(row, row + width) - row;
}

void takeMostLikely(const at::Tensor &logits, const at::Tensor &tokens_B1) {
  const at::Tensor logits_BV = logits.cpu();
  int64_t *const tokens = tokens_B1.mutable_data_ptr<int64_t>();
  if (logits_BV.scalar_type() == at::kDouble)
    findGreatest<double>(logits_BV, tokens);
  else
    findGreatest<float>(logits_BV, tokens);
}

Status computeLogits(const StageContext &context, const std::string &input, int64_t split, const std::string &output) {
  MORPH_ASSIGN_OR_RETURN(const auto file, SafetensorsFile::open(input));
  const at::Tensor tokens = file->tensor("tokens");
  if (!tokens.defined() || tokens.dim() != 2 || tokens.scalar_type() != at::kLong || tokens.numel() == 0)
    return Status::invalid("'" + input + "' has no tensor 'tokens' [B,T] of I64");
  const int64_t batch = tokens.size(0), length = tokens.size(1);
  at::Tensor start = file->tensor("start");
  if (!start.defined())
    start = at::zeros({batch}, at::kLong);
  if (start.dim() != 1 || start.numel() != batch || start.scalar_type() != at::kLong)
    return Status::invalid("'" + input + "': 'start' must be I64 of shape [" + std::to_string(batch) + "]");
  const at::ScalarType type = context.precision == Precision::F64 ? at::kDouble : at::kFloat;
  std::map<std::string, at::Tensor> results;
  if (context.hasPlan("logits")) {
    MORPH_ASSIGN_OR_RETURN(const auto executor, context.executor("logits"));
    NamedTensors inputs;
    inputs["tokens"] = tokens;
    inputs["positions"] = at::arange(batch * length, at::kLong);
    MORPH_ASSIGN_OR_RETURN(const NamedTensors outputs, executor->run(inputs));
    results["whole"] = outputs.at("logits").to(at::kCPU, type).view({batch, length, -1}).clone();
  }
  if (context.hasPlan("decode")) {
    if (split < 1 || split > length)
      return Status::invalid("--split must be from 1 to the sequences' " + std::to_string(length) + " tokens");
    MORPH_ASSIGN_OR_RETURN(const auto executor, context.executor("decode"));
    MORPH_ASSIGN_OR_RETURN(const auto decoder, Decoder::create(*executor, start, length));
    std::vector<at::Tensor> rows;
    for (int64_t end = split; end <= length; ++end) {
      const int64_t begin = end == split ? 0 : end - 1;
      MORPH_ASSIGN_OR_RETURN(const at::Tensor logits, decoder->append(tokens.slice(1, begin, end).contiguous()));
      rows.push_back(logits.to(at::kCPU, type).clone());
    }
    results["decode"] = at::stack(rows, 1).contiguous();
  }
  if (results.empty())
    return Status::invalid("logits: no plan was given", "give --plan logits=FILE, --plan decode=FILE or both");
  return writeSafetensors(output, results);
}

} // namespace morph
