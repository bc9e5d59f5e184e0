// SPDX-License-Identifier: Apache-2.0

#include "runtime/kernels/Documents.h"

namespace morph {

std::vector<DocumentSpan> documentsOf(const at::Tensor &begins_BT) {
  const int64_t batch = begins_BT.size(0), length = begins_BT.size(1);
  const int64_t *const begins = begins_BT.const_data_ptr<int64_t>();
  std::vector<DocumentSpan> documents;
  for (int64_t b = 0; b < batch; ++b)
    for (int64_t t = 0; t < length; ++t) {
      const int64_t begin = begins[b * length + t];
      if (begin == t)
        documents.push_back({b, t, 0});
      TORCH_CHECK(!documents.empty() && documents.back().sequence == b && documents.back().begin == begin,
                  "begins: position ", t, " of sequence ", b, " has ", begin,
                  ", expected its own position or what the position before has");
      ++documents.back().length;
    }
  return documents;
}

bool areWhole(const std::vector<DocumentSpan> &documents, const at::Tensor &begins_BT) {
  return static_cast<int64_t>(documents.size()) == begins_BT.size(0);
}

DocumentParts::DocumentParts(const plan::Plan &plan, const plan::Instruction &instruction, int64_t begins) {
  const int64_t value = instruction.operands[static_cast<size_t>(begins)];
  const std::vector<plan::Dim> &shape = plan.values[static_cast<size_t>(value)].shape;
  TORCH_CHECK(std::holds_alternative<std::string>(shape[0]) && std::holds_alternative<std::string>(shape[1]) &&
                  shape[0] != shape[1],
              instruction.op, ": the dimensions of begins need names of their own");
  for (int64_t operand : instruction.operands)
    operandAxes.push_back(plan::documentAxes(plan, value, operand));
  for (int64_t result : instruction.results)
    resultAxes.push_back(plan::documentAxes(plan, value, result));
}

at::Tensor DocumentParts::partOf(const plan::DocumentAxes &axes, const at::Tensor &whole,
                                 const DocumentSpan &document) {
  at::Tensor part = axes.sequences < 0 ? whole : whole.narrow(axes.sequences, document.sequence, 1);
  return axes.positions < 0 ? part : part.narrow(axes.positions, document.begin, document.length);
}

/// What a kernel is called with for one document: all operands but `begins`, as blocks of memory.
static std::vector<at::Tensor> operandsOf(const DocumentParts &parts, const KernelCall &call, int64_t begins,
                                          const DocumentSpan &document) {
  std::vector<at::Tensor> operands;
  for (size_t i = 0; i < call.operands.size(); ++i)
    operands.push_back(static_cast<int64_t>(i) == begins || !call.operands[i].defined()
                           ? at::Tensor()
                           : parts.operand(i, call.operands[i], document).contiguous());
  return operands;
}

void runByDocument(const Kernel &kernel, const KernelCall &call, int64_t begins) {
  const at::Tensor &begins_BT = call.operands[static_cast<size_t>(begins)];
  const std::vector<DocumentSpan> documents = documentsOf(begins_BT);
  if (areWhole(documents, begins_BT)) {
    std::vector<at::Tensor> operands = call.operands;
    operands[static_cast<size_t>(begins)] = at::Tensor();
    return kernel.run(KernelCall{call.plan, call.instruction, operands, call.results, call.scratch});
  }
  const DocumentParts parts(call.plan, call.instruction, begins);
  for (const DocumentSpan &document : documents) {
    const bool isFirst = &document == documents.data();
    const std::vector<at::Tensor> operands = operandsOf(parts, call, begins, document);
    std::vector<at::Tensor> places, results;
    for (size_t r = 0; r < call.results.size(); ++r) {
      places.push_back(parts.result(r, call.results[r], document));
      const bool isAdded = parts.isSum(r) && !isFirst;
      results.push_back(isAdded || !places[r].is_contiguous() ? at::empty(places[r].sizes(), places[r].options())
                                                              : places[r]);
    }
    kernel.run(KernelCall{call.plan, call.instruction, operands, results, call.scratch});
    for (size_t r = 0; r < results.size(); ++r) {
      if (results[r].is_same(places[r]))
        continue;
      if (parts.isSum(r))
        places[r].add_(results[r]);
      else
        places[r].copy_(results[r]);
    }
  }
}

std::vector<at::Tensor> referenceByDocument(const Kernel &kernel, const KernelCall &call, int64_t begins) {
  const at::Tensor &begins_BT = call.operands[static_cast<size_t>(begins)];
  const DocumentParts parts(call.plan, call.instruction, begins);
  const size_t count = call.instruction.results.size();
  // Of each result and sequence the documents' parts.
  std::vector<std::vector<std::vector<at::Tensor>>> found(
      count, std::vector<std::vector<at::Tensor>>(static_cast<size_t>(begins_BT.size(0))));
  for (const DocumentSpan &document : documentsOf(begins_BT)) {
    const std::vector<at::Tensor> operands = operandsOf(parts, call, begins, document);
    const std::vector<at::Tensor> results = kernel.reference(KernelCall{call.plan, call.instruction, operands, {}});
    for (size_t r = 0; r < count; ++r)
      found[r][static_cast<size_t>(document.sequence)].push_back(results[r]);
  }
  std::vector<at::Tensor> results;
  for (size_t r = 0; r < count; ++r) {
    const plan::DocumentAxes &axes = parts.axesOfResult(r);
    TORCH_CHECK(!axes.isSum(), call.instruction.op, ": result ", r, " is of no sequence");
    std::vector<at::Tensor> sequences;
    for (const std::vector<at::Tensor> &documents : found[r])
      sequences.push_back(axes.positions < 0 ? documents.back() : at::cat(documents, axes.positions));
    results.push_back(at::cat(sequences, axes.sequences));
  }
  return results;
}

} // namespace morph
