// SPDX-License-Identifier: Apache-2.0
// Ops that mix positions, on windows that hold several documents (the operand `begins` of the op table): the op's
// kernel runs once a document, on that part of its operands, so that no kernel knows of documents.

#ifndef MORPH_RUNTIME_KERNELS_DOCUMENTS_H
#define MORPH_RUNTIME_KERNELS_DOCUMENTS_H

#include "runtime/kernels/Kernel.h"

namespace morph {

/// Positions [begin, begin + length) of a sequence.
struct DocumentSpan {
  int64_t sequence, begin, length;
};

/// The documents of `begins` [B,T], where position t of sequence b is of the document that begins at begins[b,t], in
/// order. Throws c10::Error where a value is neither its own position nor what the one before has, or the first of a
/// sequence not 0.
std::vector<DocumentSpan> documentsOf(const at::Tensor &begins_BT);

/// Where the instruction has the operand `begins`; -1: it has none.
int64_t findBegins(const plan::Instruction &instruction);

/// `kernel.run` for each document, `begins` being the operand's place (findBegins). A result that has positions is
/// written where the document stands; of one that has a sequence alone (a final state) the last document's stays;
/// others (gradients of weights) are the documents' sum, in their order.
void runByDocument(const Kernel &kernel, const KernelCall &call, int64_t begins);

/// The same of `kernel.reference`, which is not null.
std::vector<at::Tensor> referenceByDocument(const Kernel &kernel, const KernelCall &call, int64_t begins);

} // namespace morph

#endif // MORPH_RUNTIME_KERNELS_DOCUMENTS_H
