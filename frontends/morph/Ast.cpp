// SPDX-License-Identifier: Apache-2.0

#include "frontends/morph/Ast.h"

#include <algorithm>

using namespace morph;
using namespace morph::language;

static bool same(const Word &a, const Word &b) { return a.text == b.text; }
static bool same(const Constant &a, const Constant &b) { return a.value == b.value; }
static bool same(const Expression &a, const Expression &b) { return a == b; }

template <typename T> static bool same(const std::optional<T> &a, const std::optional<T> &b) {
  return a.has_value() == b.has_value() && (!a || same(*a, *b));
}

template <typename T> static bool same(const std::vector<T> &a, const std::vector<T> &b);

static bool same(const Option::Range &a, const Option::Range &b) {
  return same(a.first, b.first) && same(a.last, b.last);
}
static bool same(const Option &a, const Option &b) {
  return same(a.name, b.name) && a.type == b.type && same(a.ranges, b.ranges) && same(a.fallback, b.fallback);
}
static bool same(const Dimension &a, const Dimension &b) { return same(a.name, b.name) && same(a.size, b.size); }
static bool same(const Requirement &a, const Requirement &b) {
  return same(a.condition, b.condition) && same(a.message, b.message);
}
static bool same(const WeightSize &a, const WeightSize &b) { return same(a.index, b.index) && same(a.size, b.size); }
static bool same(const Weight &a, const Weight &b) {
  return a.frozen == b.frozen && same(a.name, b.name) && same(a.sizes, b.sizes) && a.init.kind == b.init.kind &&
         same(a.init.formula, b.init.formula) && same(a.init.source, b.init.source) && same(a.condition, b.condition);
}
static bool same(const Statement &a, const Statement &b) {
  return a.kind == b.kind && same(a.target, b.target) && same(a.value, b.value) && same(a.thenBody, b.thenBody) &&
         same(a.elseBody, b.elseBody) && a.elseRange.isValid() == b.elseRange.isValid();
}
static bool same(const Mixer &a, const Mixer &b) {
  return same(a.name, b.name) && same(a.options, b.options) && same(a.doc, b.doc) && same(a.source, b.source) &&
         same(a.dimensions, b.dimensions) && same(a.requirements, b.requirements) && same(a.weights, b.weights) &&
         same(a.statements, b.statements) && same(a.result, b.result);
}

static bool same(const std::pair<Constant, Constant> &a, const std::pair<Constant, Constant> &b) {
  return same(a.first, b.first) && same(a.second, b.second);
}
static bool same(const ArchLine &a, const ArchLine &b) {
  return a.kind == b.kind && same(a.text, b.text) && same(a.layers.ranges, b.layers.ranges) &&
         same(a.mixers, b.mixers) && same(a.count, b.count) && same(a.every, b.every) && same(a.limit, b.limit) &&
         same(a.context, b.context) && same(a.table, b.table);
}
static bool same(const Arch &a, const Arch &b) { return same(a.name, b.name) && same(a.lines, b.lines); }

template <typename T> static bool same(const std::vector<T> &a, const std::vector<T> &b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const T &x, const T &y) { return same(x, y); });
}

bool morph::language::haveSameMeaning(const File &a, const File &b) {
  return same(a.mixers, b.mixers) && same(a.archs, b.archs);
}
