// SPDX-License-Identifier: Apache-2.0
// A space of choices as it stands in a resolved spec and in selection.json.

#ifndef MORPH_RUNTIME_SPEC_SPACEVISITORS_H
#define MORPH_RUNTIME_SPEC_SPACEVISITORS_H

#include "runtime/choice/Space.h"
#include "runtime/spec/SectionVisitors.h"

namespace morph::detail {

template <> struct Visit<Candidate> {
  template <typename Visitor, typename Section> static void run(Visitor &visitor, Section &section) {
    visitor.key("name", section.name);
    visitor.key("reference", section.reference);
    visitor.key("trained", section.trained);
  }
};

template <> struct Visit<ConstraintSource> {
  template <typename Visitor, typename Section> static void run(Visitor &visitor, Section &section) {
    visitor.key("text", section.text);
    visitor.key("place", section.place);
  }
};

template <> struct Visit<AllowedCandidates> {
  template <typename Visitor, typename Section> static void run(Visitor &visitor, Section &section) {
    visitor.table("source", section.source);
    visitor.key("layers", section.layers);
    visitor.key("candidates", section.candidates);
  }
};

template <> struct Visit<TiedLayers> {
  template <typename Visitor, typename Section> static void run(Visitor &visitor, Section &section) {
    visitor.table("source", section.source);
    visitor.key("layers", section.layers);
  }
};

template <> struct Visit<CandidateCount> {
  template <typename Visitor, typename Section> static void run(Visitor &visitor, Section &section) {
    visitor.table("source", section.source);
    visitor.key("layers", section.layers);
    visitor.key("candidate", section.candidate);
    visitor.key("least", section.least);
    visitor.key("most", section.most);
  }
};

template <> struct Visit<CostBudget> {
  template <typename Visitor, typename Section> static void run(Visitor &visitor, Section &section) {
    visitor.table("source", section.source);
    visitor.key("measure", section.measure);
    visitor.key("unit", section.unit);
    visitor.key("context", section.context);
    visitor.key("limit", section.limit);
    visitor.key("costs", section.costs);
  }
};

template <> struct Visit<ChoiceSpace> {
  template <typename Visitor, typename Section> static void run(Visitor &visitor, Section &section) {
    visitor.table("layers", section.layers);
    visitor.table("allowed", section.allowed);
    visitor.table("ties", section.ties);
    visitor.table("counts", section.counts);
    visitor.table("budgets", section.budgets);
  }
};

} // namespace morph::detail

#endif // MORPH_RUNTIME_SPEC_SPACEVISITORS_H
