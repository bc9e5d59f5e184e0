// SPDX-License-Identifier: Apache-2.0

#include "frontends/LanguageService.h"

using namespace morph;

std::vector<Problem> morph::takeProblems(Diagnostics &diagnostics, llvm::StringRef text,
                                         llvm::function_ref<TextRange(llvm::StringRef path)> findPlace) {
  auto getPlace = [&](SourceRange range) -> TextPlace {
    if (!range.isValid())
      return {};
    llvm::StringRef whole = diagnostics.getText(range);
    TextPlace place;
    place.range = {size_t(range.Start.getPointer() - whole.data()), size_t(range.End.getPointer() - whole.data())};
    if (whole.data() != text.data())
      place.path = diagnostics.getTextName(range).str();
    return place;
  };
  std::vector<Problem> problems;
  for (Diagnostics::Error &error : diagnostics.take()) {
    Problem problem;
    TextPlace place = getPlace(error.range);
    problem.range = place.path.empty() ? place.range : findPlace(place.path);
    problem.message = std::move(error.message);
    if (!error.hint.empty())
      problem.message += "\n" + error.hint;
    if (!place.path.empty())
      problem.notes.push_back({std::move(place), "it is found here"});
    for (Note &note : error.notes)
      problem.notes.push_back({getPlace(note.range), std::move(note.message)});
    problems.push_back(std::move(problem));
  }
  return problems;
}
