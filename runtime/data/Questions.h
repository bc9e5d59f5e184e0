// SPDX-License-Identifier: Apache-2.0
// Tasks of kinds jsonl and qa: questions of a file with their answers, as samples of one length.

#ifndef MORPH_RUNTIME_DATA_QUESTIONS_H
#define MORPH_RUNTIME_DATA_QUESTIONS_H

#include "runtime/data/Retrieval.h"

namespace morph {

/// Opens `<dataDir>/task-<name>.{json,tokens,documents}` (tools/python/morph_data.py questions), which is checked as
/// untrusted input: documents are the paragraphs that the JSON counts (kind qa), a question, its answer, the next
/// question and so on.
///
/// A question belongs to a split by the hash of its tokens (`splitOf`). The samples 0, 1, ... of a seed go through all
/// questions that fit with their answers before one comes again. A sample of `length` tokens is, from the first token
/// on:
///
/// - jsonl: the question and its answer.
/// - qa (RULER QA, scripts/data/synthetic/qa.py): the frame, paragraphs in random order, each behind the heading of its
///   number, the question and its answer. The paragraphs are those that hold the answer; then, while they fit, others
///   of the question's group in random order (of SQuAD those of its article, of HotpotQA those that came with it); then
///   any others. No paragraph is there twice. Less is left over than the longest paragraph takes.
///
/// What is left over behind the answer is filled with further questions of the same split. No row that is read sees
/// them: rows predict answers, and attention is causal.
StatusOr<std::unique_ptr<TaskGenerator>> createQuestions(const TaskSpec &task, const std::string &dataDir,
                                                         int64_t vocabulary);

} // namespace morph

#endif // MORPH_RUNTIME_DATA_QUESTIONS_H
