// SPDX-License-Identifier: Apache-2.0
// The syntax tree of a `.morph` file, as it was written.

#ifndef MORPH_FRONTENDS_MORPH_AST_H
#define MORPH_FRONTENDS_MORPH_AST_H

#include "dialect/Expression.h"
#include "frontends/Diagnostics.h"

#include <optional>
#include <string>
#include <vector>

namespace morph::language {

/// A name, or a string without its quotes.
struct Word {
  std::string text;
  SourceRange range;
};

/// A number with its sign, as it was written and as a value.
struct Constant {
  std::string text;
  double value = 0;
  SourceRange range;
};

/// `chunk: 1..1024 = 64`
struct Option {
  enum class Type { Whole, Real, Boolean };
  struct Range {
    Constant first, last; ///< The same constant where the range is one number.
    bool isNumber = false;
  };

  Word name;
  Type type = Type::Whole;
  std::vector<Range> ranges; ///< None of a Boolean, one of a Real.
  Constant fallback;         ///< Of a Boolean 0 or 1.
};

/// `dim K = D / 2`
struct Dimension {
  Word name;
  Expression size;
  SourceRange range;
};

/// `require H == G, "..."`
struct Requirement {
  Expression condition;
  Word message;
  SourceRange range;
};

/// `h: H`, or a size without the name of an index along it.
struct WeightSize {
  std::optional<Word> index;
  Expression size;
};

/// First values of a weight.
struct Initializer {
  enum class Kind {
    Normal,  ///< `~ normal(FORMULA)`: the standard deviation.
    Formula, ///< `= FORMULA`, of the indices.
    Copy,    ///< `= base.q_proj.weight`
    Repeat,  ///< `= repeat(base.k_proj.weight)`: key-value heads repeated to one a head.
  };

  Kind kind = Kind::Formula;
  Expression formula; ///< Of Normal and Formula.
  Word source;        ///< Of Copy and Repeat, without `base.`.
  SourceRange range;
};

/// `weight A_log [h: H] = log(1 + h) if conv > 0`
struct Weight {
  bool frozen = false;
  Word name;
  std::vector<WeightSize> sizes;
  Initializer init;
  std::optional<Expression> condition;
  SourceRange range;
};

/// `q = silu(q)`, `calibrate decay = mean(g)`, or `if conv > 0 { ... } else { ... }`.
struct Statement {
  enum class Kind { Assign, Calibrate, If };

  Kind kind = Kind::Assign;
  Word target;      ///< Of Assign; of Calibrate the weight.
  Expression value; ///< What is assigned, or the condition.
  std::vector<Statement> thenBody, elseBody;
  SourceRange thenRange, elseRange; ///< Of the bodies with their braces; elseRange is invalid without `else`.
  SourceRange range;
};

struct Mixer {
  Word name;
  std::vector<Option> options;
  std::optional<Word> doc, source;
  SourceRange docRange, sourceRange; ///< Of their lines.
  std::vector<Dimension> dimensions;
  std::vector<Requirement> requirements;
  std::vector<Weight> weights;
  std::vector<Statement> statements;
  Expression result;       ///< What `return` gives.
  SourceRange resultRange; ///< Of the line.
  SourceRange bodyRange;   ///< With its braces.
  SourceRange range;
};

/// `0..9, 12`, or `all`.
struct LayerSet {
  std::vector<std::pair<Constant, Constant>> ranges; ///< First and last of each; none: all layers.
  SourceRange range;
};

/// A line of an `arch`.
struct ArchLine {
  enum class Kind {
    Doc,     ///< `doc "..."`
    Model,   ///< `model "FOLDER"`: the base.
    Recipe,  ///< `recipe "FILE.toml"`: data, tasks and stages.
    Layers,  ///< `layers 0..9 = full | gla(rank = 8) | "mine.morph:mine"`: candidates.
    Tie,     ///< `tie 0..3`: these take the same candidate.
    Pin,     ///< `pin 9 = full`: of its candidates a layer takes these.
    Pattern, ///< `pattern 1 full in every 4`: layers 0 to 3, 4 to 7 and so on.
    Budget,  ///< `budget full_layers = 2`, `budget cache_bytes = 2e6 at 32768`, `... by "table.json"`.
  };

  Kind kind = Kind::Doc;
  Word text;                ///< Of Doc, Model and Recipe; the measure of a Budget.
  LayerSet layers;          ///< Of Layers, Tie and Pin.
  std::vector<Word> mixers; ///< Of Layers references, of Pin names, of Pattern one name.
  Constant count, every;    ///< Of Pattern.
  Constant limit;           ///< Of Budget.
  std::optional<Constant> context;
  std::optional<Word> table; ///< A file of costs.
  SourceRange range;
};

/// What may stand in the layers of a model: `arch NAME { ... }`.
struct Arch {
  Word name;
  std::vector<ArchLine> lines; ///< In their order.
  SourceRange bodyRange;       ///< With its braces.
  SourceRange range;
};

/// A file; one with errors of syntax lacks their lines.
struct File {
  llvm::StringRef text; ///< Of the Diagnostics that it was parsed with.
  std::vector<Mixer> mixers;
  std::vector<Arch> archs;
  std::vector<Comment> comments;

  /// Where an expression, or a range of offsets in the text, stands.
  SourceRange getRange(size_t begin, size_t end) const { return makeRange(text.slice(begin, end)); }
  SourceRange getRange(const Expression &expression) const { return getRange(expression.begin, expression.end); }
};

/// Whether two files say the same, whatever their comments and layout.
bool haveSameMeaning(const File &a, const File &b);

} // namespace morph::language

#endif // MORPH_FRONTENDS_MORPH_AST_H
