// SPDX-License-Identifier: Apache-2.0
// The checks of one mixer; only Check*.cpp use it.

#ifndef MORPH_FRONTENDS_MORPH_MIXERCHECKER_H
#define MORPH_FRONTENDS_MORPH_MIXERCHECKER_H

#include "frontends/morph/Check.h"
#include "runtime/plan/SizeLimits.h"

#include "llvm/ADT/StringMap.h"

#include <memory>

namespace morph::language {

/// What the lowering may put around a number in an attribute, as in "base.qk_norm and (...) != 0 and not ...".
constexpr size_t kLevelsAround = 3, kBytesAround = 64;

class MixerChecker {
public:
  MixerChecker(const File &file, const Mixer &mixer, CheckedMixer &result, Diagnostics &diagnostics);

  /// Reports all errors of the mixer.
  void run();

private:
  /// What the names in an expression may be.
  enum class Scope {
    Model,   ///< Sizes, options and facts of the base: known when a mixer is made.
    Formula, ///< Sizes, options and the indices of a weight.
    Values,  ///< Everything.
  };

  /// A declared name. Variables are no symbols, for they change.
  struct Symbol {
    enum class Kind { Size, Option, Dimension, Fact, Input, Weight };
    Kind kind;
    Type type;
    SourceRange place;    ///< Invalid of what every mixer has.
    bool isSize = false;  ///< May stand in sizes.
    size_t weight = 0;    ///< Its number in the mixer.
    bool isWrong = false; ///< Its declaration had an error: what reads it has none of its own.
  };

  /// What is known of an assigned name at a statement.
  struct Variable {
    enum class State {
      Whole,   ///< It has the value of `type`.
      Partly,  ///< It has a value only in one branch.
      Unequal, ///< Branches gave it values of different types.
      Number,  ///< It is a number that a branch gave it, which the other does not have.
      Unknown, ///< Its value had an error.
    };
    State state = State::Whole;
    Type type, otherType;
    SourceRange place, otherPlace;
    std::string condition;                    ///< Of Partly: where it has a value.
    std::shared_ptr<const Expression> number; ///< Of a number: what takes the place of its name.
    ExpressionExtent extent;                  ///< Of `number`.

    /// Whether it is a number that can be read.
    bool isNumber() const { return state == State::Whole && !type.isTensor(); }
  };
  /// Variables that a branch assigns, with what they were before; nothing where they were not.
  using Changes = std::map<std::string, std::optional<Variable>>;

  // CheckDeclarations.cpp
  void checkOptions();
  void checkOption(const Option &option);
  void checkDimensions();
  void checkRequirements();
  void checkWeights();
  void checkWeight(const Weight &weight);
  void checkInitializer(const Weight &weight, const Shape &shape);
  void checkCopy(const Weight &weight, const Shape &shape);
  void checkWeightUses();
  bool declare(const Word &name, Symbol symbol);
  /// Whether a name is free to be declared or assigned; reports why not. Options may be named as functions are.
  bool isFree(const Word &name, bool dotted, bool maySoundLikeFunction);

  // CheckSizes.cpp
  /// Whether an expression is one of sizes, whole numbers and their functions; reports what is not.
  bool isSizeExpression(const Expression &expression);
  /// The polynomial of a size; nothing where it is none, which `isSizeExpression` does not report.
  std::optional<SizePolynomial> getPolynomial(const Expression &expression) const;
  /// Both of them, for a size of a tensor: what is no polynomial, or never a size, is reported.
  std::optional<SizePolynomial> checkSize(const Expression &expression);

  // CheckExpressions.cpp
  std::optional<Type> check(const Expression &expression);
  /// The value of an expression without names.
  static std::optional<double> getConstant(const Expression &expression);
  /// The expression with the numbers that its names stand for: what the lowering makes of it.
  Expression writeOut(const Expression &expression) const;
  ExpressionExtent measure(const Expression &expression) const;
  /// Whether that fits into an attribute; reports what does not.
  bool checkExtent(const Expression &expression);
  std::optional<Type> computeType(const Expression &expression);
  std::optional<Type> checkName(const Expression &name);
  std::optional<Type> checkVariable(const Expression &name, const Variable &variable);
  std::optional<Type> checkElementwise(const Expression &operation, const Type &left, const Type &right);
  std::optional<Type> checkScalarCall(const Expression &call, llvm::ArrayRef<std::optional<Type>> types);
  void checkWeightIsThere(const std::string &name, SourceRange use, const Symbol &symbol);
  /// What a part of an expression is: at the declaration or assignment where it is a name, else at itself.
  Note makeTypeNote(const Expression &expression, const Type &type) const;
  void reportUnknownName(const Expression &name);
  bool checkScalar(const Expression &expression, Scope scope);
  bool checkCondition(const Expression &expression, Scope scope);

  // CheckCalls.cpp
  std::optional<Type> checkCall(const Expression &call);
  std::optional<Type> checkTensorCall(const Expression &call, const TensorFunction &function);
  bool checkHeads(const Expression &call, const TensorFunction &function, const CheckedCall &checked);
  bool bindArguments(const Expression &call, const TensorFunction &function, CheckedCall &checked);
  bool checkArgument(const Parameter &parameter, const Expression &argument, CheckedCall &checked);
  bool matchShape(const Parameter &parameter, const ArgumentForm &form, const Expression &argument, const Type &type,
                  CheckedCall &checked);
  bool checkDivides(const Expression &call, const SizePolynomial &divisor, const SizePolynomial &dividend,
                    const llvm::Twine &what);
  /// Whether the sizes of a call that become text fit into an attribute; reports one that does not.
  bool checkSizeTexts(const Expression &call, const CheckedCall &checked);
  std::optional<SizePolynomial> getPatternSize(const Expression &pattern, const CheckedCall &checked) const;
  std::string printPattern(const ArgumentForm &form, const CheckedCall &checked) const;

  // CheckStatements.cpp
  void checkStatements(const std::vector<Statement> &statements);
  void checkAssignment(const Statement &statement);
  void checkCalibration(const Statement &statement);
  void checkIf(const Statement &statement);
  void checkReturn();
  void assign(const std::string &name, Variable variable);
  /// Checks a branch where a condition holds, and takes back what it assigned.
  Changes checkBranch(const std::vector<Statement> &statements, const std::vector<std::string> &conditions);

  SourceRange getRange(const Expression &expression) const { return file_.getRange(expression); }
  void error(const Expression &at, const llvm::Twine &message, const llvm::Twine &hint = "",
             llvm::ArrayRef<Note> notes = {}) {
    diagnostics_.error(getRange(at), message, hint, notes);
  }

  const File &file_;
  const Mixer &mixer_;
  CheckedMixer &result_;
  Diagnostics &diagnostics_;

  llvm::StringMap<Symbol> symbols_;
  std::map<std::string, Variable> variables_;
  std::vector<Changes> changes_;         ///< Of the branches that are being checked, the innermost last.
  llvm::StringMap<unsigned> conditions_; ///< Those that hold here, as text, with how often.
  std::vector<std::vector<std::string>> weightConditions_; ///< Under which each weight is there.
  std::vector<bool> weightUsed_;
  /// Those with weights of their own, and those that stand in `calibrate`; the first use of each.
  std::map<std::string, SourceRange> usedFunctions_, calibratingFunctions_;
  std::map<std::string, SourceRange> makingFunctions_; ///< Those that make weights; the first use of each.
  /// Of functions with weights of the base: how many heads they give, and where first.
  std::map<std::string, std::pair<SizePolynomial, SourceRange>> headsOf_;
  /// Of the same functions: the argument that says whether they have the base's norm, and where first.
  std::map<std::string, std::pair<std::string, SourceRange>> normOf_;
  std::map<std::string, SourceRange> calibrated_; ///< Weights, and where.
  bool calibrates_ = false;                       ///< What is checked is a weight's first value.
  Scope scope_ = Scope::Values;
  const Weight *indexed_ = nullptr;     ///< Of Scope::Formula: whose indices have names.
  std::map<std::string, Note> boundBy_; ///< The arguments that give the sizes of the call's function.
};

/// Whether a name is M, H, G or D.
bool isSizeOfEveryMixer(llvm::StringRef name);

/// The parts of a condition that are joined by `and`, as text.
std::vector<std::string> getConjuncts(const Expression &condition);

} // namespace morph::language

#endif // MORPH_FRONTENDS_MORPH_MIXERCHECKER_H
