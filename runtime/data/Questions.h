// SPDX-License-Identifier: Apache-2.0
// Tasks of kind jsonl: the user's own questions with their answers, each of its own length, as samples of one length.

#ifndef MORPH_RUNTIME_DATA_QUESTIONS_H
#define MORPH_RUNTIME_DATA_QUESTIONS_H

#include "runtime/data/Retrieval.h"

namespace morph {

/// Opens `<dataDir>/task-<name>.{json,tokens,documents}` (tools/python/morph_data.py questions), which is checked as
/// untrusted input: documents are a question, its answer, the next question and so on.
///
/// A question belongs to a split by the hash of its tokens (`splitOf`). A sample of `length` tokens is one question
/// that fits with its answer, from the first token on; what is left over behind the answer is filled with further
/// questions of the same split. No row that is read sees them: rows predict answers, and attention is causal. Samples
/// of a stream go through all questions before one comes again.
StatusOr<std::unique_ptr<TaskGenerator>> createQuestions(const TaskSpec &task, const std::string &dataDir,
                                                         int64_t vocabulary);

} // namespace morph

#endif // MORPH_RUNTIME_DATA_QUESTIONS_H
