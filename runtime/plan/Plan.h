// SPDX-License-Identifier: Apache-2.0
// The plan: the one artifact between compiler and runtime. A plan is one program as a list of instructions over values
// and named weights. This library knows neither MLIR nor Torch and is linked by both worlds.

#ifndef MORPH_RUNTIME_PLAN_PLAN_H
#define MORPH_RUNTIME_PLAN_PLAN_H

#include "runtime/base/Status.h"
#include "runtime/plan/DeviceCode.h"

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace morph::plan {

/// The version that this library writes, and the newest it reads.
inline constexpr int64_t kPlanVersion = 5;

enum class DType { F32, F16, BF16, F64, I64 };

/// "f32", "bf16", ...
const char *dtypeName(DType dtype);

/// One dimension: a number, or the name of a size known only when the program runs: "B" batch, "T" positions,
/// "S" cached positions, "N" rows; "T/64" is one of them by a number, rounded up.
using Dim = std::variant<int64_t, std::string>;

struct TensorType {
  std::vector<Dim> shape;
  DType dtype = DType::F32;
};

/// A tensor of the base checkpoint, or its rows from `begin` up to `end` (0: all), whose elements are a part of a
/// weight's: `morph.piece` (dialect/MorphAttrs.td).
struct Piece {
  std::string tensor;
  int64_t begin = 0;
  int64_t end = 0;
};

/// How a weight that no checkpoint holds gets its first value: the fields of `morph.init` (dialect/MorphAttrs.td).
struct Init {
  std::string kind; ///< copy | repeat_heads | constant | normal | values
  std::string source;
  int64_t heads = 0;
  int64_t times = 0;
  double value = 0;
  std::vector<double> values;
  std::vector<Piece> pieces = {}; ///< What the base checkpoint has in the place of `source`; empty: the source itself.
};

/// A weight or gate that the program reads, by its name in the model.
struct Weight {
  std::string name;
  std::vector<int64_t> shape;
  DType dtype = DType::F32;
  bool trainable = false;    ///< The program has an output `grad.<name>`, or updates the weight.
  bool gate = false;         ///< A gate: `init` gives its first value, `layer` its layer.
  int64_t layer = -1;        ///< Gates only.
  std::string teacherOf;     ///< Not empty: always the base checkpoint's tensor of this name.
  std::vector<Piece> pieces; ///< What the base checkpoint has in its place; empty: a tensor of its name.
  std::optional<Init> init;
};

/// Attribute values of an instruction.
using Attribute = std::variant<bool, int64_t, double, std::string>;

/// One instruction: op name without the dialect ("linear"), value numbers, attributes by their names in the IR.
/// An absent optional operand is the number -1.
struct Instruction {
  std::string op;
  std::vector<int64_t> operands;
  std::vector<int64_t> results;
  std::map<std::string, Attribute> attributes;
};

/// Instructions that share a row space, compiled as one function of the rows (`morph.kernel` in dialect/
/// MorphKernelOps.td). They are the reference form, which is interpreted where no compiled code is at hand.
struct Kernel {
  std::string name;
  int64_t rows = 0; ///< Dimensions of the row space, which are the first of a row value: "R0", "R1", ...
  std::vector<TensorType> values;
  int64_t arguments = 0; ///< The first values are the arguments.
  std::vector<Instruction> instructions;
  std::vector<int64_t> results; ///< Values. Those without rows are sums over the rows.
  std::vector<int64_t> inPlace; ///< An argument a result, in whose memory it may lie, each for one result; -1: none.
};

/// Whether a value of a kernel has rows; else it is the same for all of them, or a sum over them.
inline bool hasRows(const TensorType &type) {
  return !type.shape.empty() && std::holds_alternative<std::string>(type.shape[0]);
}

struct RopeTable {
  std::vector<double> inverseFrequencies;
  double attentionFactor = 1;
};

struct NamedValue {
  std::string name;
  int64_t value = -1;
};

/// One program. Values are numbered densely from 0; `values[i]` is the type of value i. Inputs, weights and instruction
/// results each define values, every one exactly once and before its uses.
struct Plan {
  std::string model;
  std::string program; ///< pretrain | calibrate | align | gates | distill | finetune | score | logits | decode,
                       ///< or <program>_update
  std::vector<TensorType> values;
  std::vector<NamedValue> inputs;
  std::vector<Weight> weights;
  std::vector<int64_t> weightValues; ///< The value of weights[i].
  std::map<std::string, RopeTable> ropeTables;
  std::vector<Instruction> instructions;
  std::vector<NamedValue> outputs;
  std::vector<Kernel> kernels;
  std::shared_ptr<const Plan> update; ///< Of a program that gives gradients: what a step does with them. May be null.
  std::vector<DeviceCode> devices;    ///< Code for GPUs, one of each target, earlier ones first.
  std::string kernelObject; ///< The compiled kernels, by the name of their file without `.so`; empty: there are none.
};

/// The kernel that an instruction `launch` names; null where it is none of the plan.
const Kernel *findKernel(const Plan &plan, const Instruction &instruction);

/// A kernel as a plan of its own: inputs "a0", "a1", ..., outputs "r0", ...
Plan planOf(const Kernel &kernel);

/// What kernels are, as a hash: compiled code that carries it was made of these.
std::string hashKernels(const Plan &plan);

/// Checks everything that a plan from an untrusted file could have wrong: unknown ops, operand counts, attribute kinds,
/// undefined, redefined or out-of-range values, shapes that do not agree, weights without a source, missing tables.
Status validate(const Plan &plan);

/// Parses and validates; `where` names the file in errors. A plan of a newer version is refused with both versions
/// named.
StatusOr<Plan> parsePlan(const std::string &text, const std::string &where);
StatusOr<Plan> readPlan(const std::string &path);

/// JSON text, stable: the same plan gives the same bytes.
std::string printPlan(const Plan &plan);
Status writePlan(const Plan &plan, const std::string &path);

} // namespace morph::plan

#endif // MORPH_RUNTIME_PLAN_PLAN_H
