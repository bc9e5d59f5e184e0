// SPDX-License-Identifier: Apache-2.0
// Ops that mix positions, on windows that hold several documents (the operand `begins` of the op table): the op's
// kernel runs once a document, on that part of its operands, so that no kernel knows of documents.

#ifndef MORPH_RUNTIME_KERNELS_DOCUMENTS_H
#define MORPH_RUNTIME_KERNELS_DOCUMENTS_H

#include "runtime/kernels/Kernel.h"
#include "runtime/plan/DocumentAxes.h"

namespace morph {

/// Positions [begin, begin + length) of a sequence.
struct DocumentSpan {
  int64_t sequence, begin, length;
};

/// The documents of `begins` [B,T], where position t of sequence b is of the document that begins at begins[b,t], in
/// order. Throws c10::Error where a value is neither its own position nor what the one before has, or the first of a
/// sequence not 0.
std::vector<DocumentSpan> documentsOf(const at::Tensor &begins_BT);

/// Whether no sequence has a second document: the op can be computed as if there were no `begins`.
bool areWhole(const std::vector<DocumentSpan> &documents, const at::Tensor &begins_BT);

/// An instruction's values, document by document.
class DocumentParts {
public:
  /// `begins`: the operand's place (plan::findBegins).
  DocumentParts(const plan::Plan &plan, const plan::Instruction &instruction, int64_t begins);

  /// Views of an operand's or result's part that is the document's, which may be no block of memory; the whole of what
  /// has no sequences.
  at::Tensor operand(size_t i, const at::Tensor &whole, const DocumentSpan &document) const {
    return partOf(operandAxes[i], whole, document);
  }
  at::Tensor result(size_t r, const at::Tensor &whole, const DocumentSpan &document) const {
    return partOf(resultAxes[r], whole, document);
  }
  /// Whether result `r` is the documents' sum, as the gradient of a weight is.
  bool isSum(size_t r) const { return resultAxes[r].isSum(); }
  const plan::DocumentAxes &axesOfResult(size_t r) const { return resultAxes[r]; }

private:
  static at::Tensor partOf(const plan::DocumentAxes &axes, const at::Tensor &whole, const DocumentSpan &document);
  std::vector<plan::DocumentAxes> operandAxes, resultAxes;
};

/// `kernel.run` for each document, `begins` being the operand's place (plan::findBegins). A result that has positions
/// is written where the document stands; of one that has a sequence alone (a final state) the last document's stays;
/// others (gradients of weights) are the documents' sum, in their order.
void runByDocument(const Kernel &kernel, const KernelCall &call, int64_t begins);

/// The same of `kernel.reference`, which is not null.
std::vector<at::Tensor> referenceByDocument(const Kernel &kernel, const KernelCall &call, int64_t begins);

} // namespace morph

#endif // MORPH_RUNTIME_KERNELS_DOCUMENTS_H
