// SPDX-License-Identifier: Apache-2.0

#include "runtime/kernels/Documents.h"

#include "runtime/plan/OpTable.h"

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

int64_t findBegins(const plan::Instruction &instruction) {
  const plan::OpRule *rule = plan::findOpRule(instruction.op);
  const int64_t place = rule ? plan::operandPosition(instruction, *rule, "begins") : -1;
  return place >= 0 && instruction.operands[static_cast<size_t>(place)] >= 0 ? place : -1;
}

namespace {

/// Which dimensions of a tensor are the sequences' and the positions'; -1: none is.
struct Axes {
  int64_t sequences = -1, positions = -1;

  /// The part of one document, which may be no block of memory.
  at::Tensor partOf(const at::Tensor &tensor, const DocumentSpan &document) const {
    at::Tensor part = sequences < 0 ? tensor : tensor.narrow(sequences, document.sequence, 1);
    return positions < 0 ? part : part.narrow(positions, document.begin, document.length);
  }
};

/// A call's values, by the names of the dimensions of `begins`.
class Parts {
public:
  Parts(const KernelCall &call, int64_t begins) : call(call), begins(static_cast<size_t>(begins)) {
    const std::vector<plan::Dim> &shape = call.plan.values[static_cast<size_t>(valueOf(this->begins))].shape;
    auto axesOf = [&](int64_t value) {
      Axes axes;
      if (value < 0)
        return axes;
      const std::vector<plan::Dim> &dims = call.plan.values[static_cast<size_t>(value)].shape;
      for (size_t d = 0; d < dims.size(); ++d) {
        if (dims[d] == shape[0])
          axes.sequences = static_cast<int64_t>(d);
        else if (dims[d] == shape[1])
          axes.positions = static_cast<int64_t>(d);
      }
      return axes;
    };
    TORCH_CHECK(std::holds_alternative<std::string>(shape[0]) && std::holds_alternative<std::string>(shape[1]),
                call.instruction.op, ": the dimensions of begins need names");
    for (int64_t value : call.instruction.operands)
      operandAxes.push_back(axesOf(value));
    for (int64_t value : call.instruction.results)
      resultAxes.push_back(axesOf(value));
  }

  int64_t valueOf(size_t operand) const { return call.instruction.operands[operand]; }

  /// What the kernel is called with for one document: all operands but `begins`.
  std::vector<at::Tensor> operandsOf(const DocumentSpan &document) const {
    std::vector<at::Tensor> operands;
    for (size_t i = 0; i < call.operands.size(); ++i)
      operands.push_back(i == begins || !call.operands[i].defined()
                             ? at::Tensor()
                             : operandAxes[i].partOf(call.operands[i], document).contiguous());
    return operands;
  }

  const KernelCall &call;
  size_t begins;
  std::vector<Axes> operandAxes, resultAxes;
};

/// Whether no sequence has a second document.
bool areWhole(const std::vector<DocumentSpan> &documents, const at::Tensor &begins_BT) {
  return static_cast<int64_t>(documents.size()) == begins_BT.size(0);
}

} // namespace

void runByDocument(const Kernel &kernel, const KernelCall &call, int64_t begins) {
  const at::Tensor &begins_BT = call.operands[static_cast<size_t>(begins)];
  const std::vector<DocumentSpan> documents = documentsOf(begins_BT);
  if (areWhole(documents, begins_BT)) {
    std::vector<at::Tensor> operands = call.operands;
    operands[static_cast<size_t>(begins)] = at::Tensor();
    return kernel.run(KernelCall{call.plan, call.instruction, operands, call.results, call.scratch});
  }
  const Parts parts(call, begins);
  for (const DocumentSpan &document : documents) {
    const bool isFirst = &document == documents.data();
    const std::vector<at::Tensor> operands = parts.operandsOf(document);
    std::vector<at::Tensor> places, results;
    for (size_t r = 0; r < call.results.size(); ++r) {
      places.push_back(parts.resultAxes[r].partOf(call.results[r], document));
      const bool isSum = parts.resultAxes[r].sequences < 0 && !isFirst;
      results.push_back(isSum || !places[r].is_contiguous() ? at::empty(places[r].sizes(), places[r].options())
                                                            : places[r]);
    }
    kernel.run(KernelCall{call.plan, call.instruction, operands, results, call.scratch});
    for (size_t r = 0; r < results.size(); ++r) {
      if (results[r].is_same(places[r]))
        continue;
      if (parts.resultAxes[r].sequences < 0)
        places[r].add_(results[r]);
      else
        places[r].copy_(results[r]);
    }
  }
}

std::vector<at::Tensor> referenceByDocument(const Kernel &kernel, const KernelCall &call, int64_t begins) {
  const at::Tensor &begins_BT = call.operands[static_cast<size_t>(begins)];
  const Parts parts(call, begins);
  const size_t count = call.instruction.results.size();
  // Of each result and sequence the documents' parts.
  std::vector<std::vector<std::vector<at::Tensor>>> found(
      count, std::vector<std::vector<at::Tensor>>(static_cast<size_t>(begins_BT.size(0))));
  for (const DocumentSpan &document : documentsOf(begins_BT)) {
    const std::vector<at::Tensor> operands = parts.operandsOf(document);
    const std::vector<at::Tensor> results = kernel.reference(KernelCall{call.plan, call.instruction, operands, {}});
    for (size_t r = 0; r < count; ++r)
      found[r][static_cast<size_t>(document.sequence)].push_back(results[r]);
  }
  std::vector<at::Tensor> results;
  for (size_t r = 0; r < count; ++r) {
    const Axes &axes = parts.resultAxes[r];
    TORCH_CHECK(axes.sequences >= 0, call.instruction.op, ": result ", r, " is of no sequence");
    std::vector<at::Tensor> sequences;
    for (const std::vector<at::Tensor> &documents : found[r])
      sequences.push_back(axes.positions < 0 ? documents.back() : at::cat(documents, axes.positions));
    results.push_back(at::cat(sequences, axes.sequences));
  }
  return results;
}

} // namespace morph
