// SPDX-License-Identifier: Apache-2.0
// The shapes of an op's results by the rules of the op table: the compiler infers types by it, programs are checked by
// it, and so are plans.

#ifndef MORPH_RUNTIME_PLAN_INFERSHAPES_H
#define MORPH_RUNTIME_PLAN_INFERSHAPES_H

#include "runtime/plan/OpTable.h"

#include <functional>

namespace morph::plan {

using Shape = std::vector<Dim>;

/// A size that nobody knows: it agrees with any. The compiler's types have it, programs and plans do not.
inline constexpr char kUnknown[] = "?";
/// Whether a size is that.
bool isUnknown(const Dim &dim);

/// A shape as text: "[B,T,64]".
std::string shapeText(const Shape &shape);

/// No tensor of a plan has more elements, so that its size in bytes cannot overflow.
inline constexpr int64_t kMaximumElements = int64_t(1) << 48;

/// The operands and attributes of an op.
struct OpArguments {
  /// A list an operand of the op's rule: one shape, none where it is absent, any number for a variadic one.
  std::vector<std::vector<const Shape *>> operands;
  const std::map<std::string, Attribute> *attributes = nullptr;
  /// In a program: dimensions of other letters than B, T, S and N must be numbers, for kernels divide by them.
  bool isProgram = false;
  /// The text of an operand's shape in messages: of operand `index`, its value `nth`. Empty: shapeText.
  std::function<std::string(size_t index, size_t nth)> describe;
};

/// What the letters of an op's patterns stand for.
struct BoundSizes {
  std::map<char, Dim> letters;
  Shape leading;  ///< '*'
  Shape trailing; ///< '~'
};

/// The shapes of all results, variadic ones' values in order. Two sizes agree where they are the same number or the
/// same name, for what a name stands for is one number in the whole program, or where one is unknown. An error begins
/// with the constraint's label and says what is wrong and what was expected, not where. Operand counts and attribute
/// kinds must be right. Tables of rope are not looked at.
StatusOr<std::vector<Shape>> inferShapes(const OpRule &rule, const OpArguments &arguments, BoundSizes &sizes);

/// The same for any instruction of `plan`, whose operands must be values of it (-1 for an absent one): the types of the
/// results. A launch has those of its kernel, in the row space of its arguments, and leaves `sizes` alone; its errors
/// are a kernel that the plan lacks, and arguments that the kernel does not take.
StatusOr<std::vector<TensorType>> inferResults(const Plan &plan, const Instruction &instruction, BoundSizes &sizes);

/// One dimension with the named sizes bound; "T/64" is T by 64, rounded up. Errors: a name that is not bound, a size
/// out of range.
StatusOr<int64_t> resolveDim(const Dim &dim, const std::map<std::string, int64_t> &sizes);

/// The shape of every value of a validated plan, with its named sizes bound ("B", "T", "S", "N"). A size of 0 is a
/// size. Errors: a name that is not bound, a negative size, a value of more than kMaximumElements elements.
StatusOr<std::vector<std::vector<int64_t>>> resolveShapes(const Plan &plan,
                                                          const std::map<std::string, int64_t> &sizes);

} // namespace morph::plan

#endif // MORPH_RUNTIME_PLAN_INFERSHAPES_H
