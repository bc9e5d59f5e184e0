// SPDX-License-Identifier: Apache-2.0
#include "runtime/plan/InferShapes.h"
#include "runtime/plan/Names.h"
#include "runtime/plan/Pieces.h"
#include "runtime/plan/Updates.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <limits>
#include <optional>
#include <set>

namespace morph::plan {

namespace {

/// The most weights that one weight's `init` may lead through.
constexpr int kMaximumInitChain = 16;

/// Whether fp32, in which programs run, has the number.
bool fitsF32(double value) { return std::abs(value) <= std::numeric_limits<float>::max(); }

class Validator {
public:
  explicit Validator(const Plan &plan) : plan(plan), defined(plan.values.size(), false) {}

  Status run() {
    MORPH_RETURN_IF_ERROR(checkValues());
    MORPH_RETURN_IF_ERROR(checkTables());
    MORPH_RETURN_IF_ERROR(checkInputs());
    MORPH_RETURN_IF_ERROR(checkWeights());
    MORPH_RETURN_IF_ERROR(checkKernels());
    for (size_t i = 0; i < plan.instructions.size(); ++i)
      if (Status status = checkInstruction(plan.instructions[i]); !status.ok())
        return std::move(status).withContext("instruction " + std::to_string(i) + " (" + plan.instructions[i].op + ")");
    for (size_t i = 0; i < defined.size(); ++i)
      if (!defined[i])
        return Status::invalid("value " + std::to_string(i) + " is never defined");
    MORPH_RETURN_IF_ERROR(checkOutputs());
    MORPH_RETURN_IF_ERROR(checkDevices());
    return checkUpdate();
  }

private:
  const Plan &plan;
  std::vector<bool> defined;
  UpdateRules updates;

  static Status checkShape(const std::vector<Dim> &shape) {
    int64_t elements = 1;
    for (const Dim &dim : shape) {
      if (const std::string *name = std::get_if<std::string>(&dim)) {
        if (name->empty() || name->size() > 64)
          return Status::invalid("a size has an empty or overlong name");
        continue;
      }
      int64_t size = std::get<int64_t>(dim);
      if (size < 1 || size > kMaximumElements || elements > kMaximumElements / size)
        return Status::invalid("shape " + shapeText(shape) + " is out of range");
      elements *= size;
    }
    return Status();
  }

  Status checkValues() const {
    if (plan.model.empty() || plan.program.empty())
      return Status::invalid("'model' and 'program' must not be empty");
    for (size_t i = 0; i < plan.values.size(); ++i) {
      DType dtype = plan.values[i].dtype;
      if (dtype != DType::F32 && dtype != DType::BF16 && dtype != DType::I64)
        return Status::invalid("value " + std::to_string(i) + " must be f32, bf16 or i64");
      if (Status status = checkShape(plan.values[i].shape); !status.ok())
        return std::move(status).withContext("value " + std::to_string(i));
    }
    return Status();
  }

  Status checkTables() const {
    for (const auto &[name, table] : plan.ropeTables) {
      if (table.inverseFrequencies.empty() || table.inverseFrequencies.size() > 1 << 16)
        return Status::invalid("rope table '" + name + "' must have 1 to 65536 frequencies");
      bool finite = std::isfinite(table.attentionFactor);
      for (double frequency : table.inverseFrequencies)
        finite &= std::isfinite(frequency);
      if (!finite)
        return Status::invalid("rope table '" + name + "' has a value that is not finite");
    }
    return Status();
  }

  Status define(int64_t value) {
    if (value < 0 || value >= static_cast<int64_t>(defined.size()))
      return Status::invalid("value " + std::to_string(value) + " is out of range, the plan has " +
                             std::to_string(defined.size()));
    if (defined[static_cast<size_t>(value)])
      return Status::invalid("value " + std::to_string(value) + " is defined twice");
    defined[static_cast<size_t>(value)] = true;
    return Status();
  }
  Status use(int64_t value) const {
    if (value < 0 || value >= static_cast<int64_t>(defined.size()))
      return Status::invalid("value " + std::to_string(value) + " is out of range, the plan has " +
                             std::to_string(defined.size()));
    if (!defined[static_cast<size_t>(value)])
      return Status::invalid("value " + std::to_string(value) + " is used before it is defined");
    return Status();
  }

  Status checkInputs() {
    std::set<std::string> names;
    for (const NamedValue &input : plan.inputs) {
      if (input.name.empty() || !names.insert(input.name).second)
        return Status::invalid("input name '" + input.name + "' is empty or given twice");
      if (Status status = define(input.value); !status.ok())
        return std::move(status).withContext("input '" + input.name + "'");
      updates.addOutside(input.value, true);
      for (const Dim &dim : plan.values[static_cast<size_t>(input.value)].shape)
        if (const std::string *name = std::get_if<std::string>(&dim); name && !isSizeName(*name))
          return Status::invalid("input '" + input.name + "' has the size '" + *name + "', which is no name");
    }
    return Status();
  }

  Status checkInit(const Weight &weight) const {
    const Init &init = *weight.init;
    int64_t elements = 1;
    for (int64_t size : weight.shape)
      elements *= size;
    if (init.kind == "copy" || init.kind == "repeat_heads") {
      if (init.source.empty())
        return Status::invalid("init '" + init.kind + "' needs a source");
      if (init.kind == "copy")
        return checkPieces(weight.shape, init.pieces);
      if (init.heads < 1 || init.times < 1 || weight.shape.empty() || init.times > weight.shape[0] ||
          init.heads > weight.shape[0] / init.times || weight.shape[0] % (init.heads * init.times) != 0)
        return Status::invalid("init 'repeat_heads' of " + std::to_string(init.heads) + " heads " +
                               std::to_string(init.times) + " times does not fit the shape");
      return checkPieces(sourceShape(weight), init.pieces);
    }
    if (init.kind == "constant" || init.kind == "normal") {
      if (!fitsF32(init.value) || (init.kind == "normal" && init.value < 0))
        return Status::invalid("init '" + init.kind + "' has a value out of range");
      return Status();
    }
    if (init.kind == "values") {
      // The values are repeated until the weight is full.
      if (init.values.empty() || elements % static_cast<int64_t>(init.values.size()) != 0)
        return Status::invalid("init 'values' has " + std::to_string(init.values.size()) + " values, the weight has " +
                               std::to_string(elements) + " elements");
      for (double value : init.values)
        if (!fitsF32(value))
          return Status::invalid("init 'values' has a value that is no finite fp32 number");
      return Status();
    }
    return Status::invalid("unknown init '" + init.kind + "'",
                           "known ones are copy, repeat_heads, constant, normal, values");
  }

  Status checkWeight(const Weight &weight, int64_t value) {
    MORPH_RETURN_IF_ERROR(define(value));
    const TensorType &type = plan.values[static_cast<size_t>(value)];
    std::vector<Dim> shape(weight.shape.begin(), weight.shape.end());
    MORPH_RETURN_IF_ERROR(checkShape(shape));
    if (weight.dtype == DType::I64)
      return Status::invalid("its dtype must be a floating-point type");
    // Masters are fp32; what is frozen may be held in bf16.
    const bool fits = type.dtype == DType::F32 || (type.dtype == DType::BF16 && !weight.trainable && !weight.gate);
    if (!fits || type.shape != shape)
      return Status::invalid("it has shape " + shapeText(shape) + ", its value " + shapeText(type.shape) +
                             (fits ? "" : std::string(" and dtype ") + dtypeName(type.dtype)));
    if (weight.gate && (weight.layer < 0 || !weight.init))
      return Status::invalid("a gate needs 'layer' and 'init'");
    if (!weight.teacherOf.empty() && (weight.trainable || weight.init || weight.gate))
      return Status::invalid("a weight with 'teacher_of' is frozen and has no init");
    if (!weight.pieces.empty() && (weight.init || weight.gate))
      return Status::invalid("a weight with 'pieces' is the checkpoint's and has no init");
    MORPH_RETURN_IF_ERROR(checkPieces(weight.shape, weight.pieces));
    if (weight.init)
      return checkInit(weight);
    return Status();
  }

  Status checkWeights() {
    if (plan.weights.size() != plan.weightValues.size())
      return Status::invalid("every weight needs a value");
    std::map<std::string, const Weight *> names;
    for (size_t i = 0; i < plan.weights.size(); ++i) {
      const Weight &weight = plan.weights[i];
      if (weight.name.empty() || !names.emplace(weight.name, &weight).second)
        return Status::invalid("weight name '" + weight.name + "' is empty or given twice");
      if (Status status = checkWeight(weight, plan.weightValues[i]); !status.ok())
        return std::move(status).withContext("weight '" + weight.name + "'");
      updates.addOutside(plan.weightValues[i], weight.trainable);
    }
    for (const Weight &weight : plan.weights) {
      const Weight *source = &weight;
      for (int steps = 0; source && source->init; ++steps) {
        if (steps > 0 && source == &weight)
          return Status::invalid("the init of weight '" + weight.name + "' leads back to itself");
        if (steps == kMaximumInitChain)
          return Status::invalid("the init of weight '" + weight.name + "' leads through more than " +
                                 std::to_string(kMaximumInitChain) + " weights");
        auto next = names.find(source->init->source);
        source = next == names.end() ? nullptr : next->second;
      }
    }
    return Status();
  }

  static Status checkAttributes(const Instruction &instruction, const OpRule &rule) {
    for (const AttributeRule &expected : rule.attributes) {
      auto found = instruction.attributes.find(expected.name);
      if (found == instruction.attributes.end()) {
        if (expected.required)
          return Status::invalid("attribute '" + expected.name + "' is missing");
        continue;
      }
      const Attribute &value = found->second;
      bool fits = false;
      switch (expected.kind) {
      case AttributeKind::Flag:
        fits = std::holds_alternative<bool>(value) && std::get<bool>(value);
        break;
      case AttributeKind::Integer:
        fits = std::holds_alternative<int64_t>(value);
        break;
      case AttributeKind::Real:
        fits = std::holds_alternative<double>(value) && fitsF32(std::get<double>(value));
        break;
      case AttributeKind::Text:
        fits = std::holds_alternative<std::string>(value);
        break;
      }
      static const char *const kinds[] = {"true", "an integer", "a finite fp32 number", "a string"};
      if (!fits)
        return Status::invalid("attribute '" + expected.name + "' must be " + kinds[static_cast<int>(expected.kind)]);
    }
    for (const auto &[name, value] : instruction.attributes) {
      bool known = false;
      for (const AttributeRule &expected : rule.attributes)
        known |= expected.name == name;
      if (!known)
        return Status::invalid("unknown attribute '" + name + "'");
    }
    return Status();
  }

  Status checkOperands(const Instruction &instruction, const OpRule &rule) const {
    std::optional<DType> halves; // What may be bf16 is so together, but for the operands of kernels.
    for (size_t i = 0; i < instruction.operands.size(); ++i) {
      const OperandRule &operand = operandRuleAt(instruction, rule, i);
      int64_t value = instruction.operands[i];
      if (value == -1) {
        if (operand.arity != Arity::Optional)
          return Status::invalid("operand '" + operand.name + "' is absent but not optional");
        continue;
      }
      if (Status status = use(value); !status.ok())
        return std::move(status).withContext("operand '" + operand.name + "'");
      const TensorType &type = plan.values[static_cast<size_t>(value)];
      if (operand.index ? type.dtype != DType::I64
                        : type.dtype != DType::F32 && !(operand.half && type.dtype == DType::BF16))
        return Status::invalid("operand '" + operand.name + "' must be " +
                               (operand.index  ? "i64"
                                : operand.half ? "f32 or bf16"
                                               : "f32"));
      if (!operand.half || operand.arity == Arity::Variadic)
        continue;
      if (halves.value_or(type.dtype) != type.dtype)
        return Status::invalid("operand '" + operand.name + "' is " + dtypeName(type.dtype) +
                               ", the one before it that may be bf16 is " + dtypeName(*halves));
      halves = type.dtype;
    }
    return Status();
  }

  /// A kernel is valid as a plan of its own, and compiled code finds its rows.
  Status checkKernel(const Kernel &kernel) const {
    if (kernel.rows < 1 || kernel.rows > 4)
      return Status::invalid("'rows' must be from 1 to 4");
    if (kernel.arguments < 0 || kernel.arguments > static_cast<int64_t>(kernel.values.size()))
      return Status::invalid("'arguments' is " + std::to_string(kernel.arguments) + ", but it has " +
                             std::to_string(kernel.values.size()) + " values");
    for (const Instruction &instruction : kernel.instructions) {
      if (instruction.op == "launch")
        return Status::invalid("a kernel launches no kernel");
      if (const OpRule *rule = findOpRule(instruction.op); rule && !rule->updates.empty())
        return Status::invalid("a kernel updates nothing in place");
    }
    bool hasRows = false;
    for (const TensorType &value : kernel.values) {
      size_t named = 0;
      for (size_t d = 0; d < value.shape.size(); ++d)
        if (const std::string *name = std::get_if<std::string>(&value.shape[d])) {
          if (*name != "R" + std::to_string(d) || static_cast<int64_t>(d) >= kernel.rows)
            return Status::invalid("dimension " + std::to_string(d) + " of a value is '" + *name +
                                   "', expected a number, or R" + std::to_string(d) + " for one of the " +
                                   std::to_string(kernel.rows) + " of rows");
          ++named;
        }
      if (named != 0 && static_cast<int64_t>(named) != kernel.rows)
        return Status::invalid("a value of shape " + shapeText(value.shape) + " has not " +
                               std::to_string(kernel.rows) + " dimensions of rows");
      hasRows |= named != 0 && &value < &kernel.values[static_cast<size_t>(kernel.arguments)];
    }
    if (!hasRows)
      return Status::invalid("no argument has rows");
    if (kernel.inPlace.size() != kernel.results.size())
      return Status::invalid("'in_place' must have an element a result");
    const Plan body = planOf(kernel);
    MORPH_RETURN_IF_ERROR(Validator(body).run());
    std::set<int64_t> taken;
    for (size_t i = 0; i < kernel.results.size(); ++i) {
      const int64_t argument = kernel.inPlace[i];
      if (kernel.results[i] < kernel.arguments)
        return Status::invalid("a result is an argument");
      if (argument < -1 || argument >= kernel.arguments)
        return Status::invalid("'in_place' names no argument");
      if (argument >= 0 && (kernel.values[static_cast<size_t>(argument)].dtype !=
                                kernel.values[static_cast<size_t>(kernel.results[i])].dtype ||
                            elementsOfRow(kernel, argument) != elementsOfRow(kernel, kernel.results[i])))
        return Status::invalid("'in_place' names an argument of another size than the result");
      if (argument >= 0 && !taken.insert(argument).second)
        return Status::invalid("'in_place' names argument " + std::to_string(argument) + " for two results");
    }
    return Status();
  }

  /// Elements of a row of a value, or of all of it where it has none.
  static int64_t elementsOfRow(const Kernel &kernel, int64_t value) {
    int64_t elements = 1;
    for (const Dim &dim : kernel.values[static_cast<size_t>(value)].shape)
      elements *= std::holds_alternative<std::string>(dim) ? 1 : std::get<int64_t>(dim);
    return elements;
  }

  Status checkKernels() const {
    std::set<std::string> names;
    for (const Kernel &kernel : plan.kernels) {
      if (kernel.name.empty() || !names.insert(kernel.name).second)
        return Status::invalid("kernel name '" + kernel.name + "' is empty or given twice");
      if (Status status = checkKernel(kernel); !status.ok())
        return std::move(status).withContext("kernel '" + kernel.name + "'");
    }
    for (char c : plan.kernelObject) // It becomes the name of a file.
      if (!std::isxdigit(static_cast<unsigned char>(c)))
        return Status::invalid("'kernel_object' must be hexadecimal");
    return plan.kernelObject.size() > 128 ? Status::invalid("'kernel_object' is too long") : Status();
  }

  /// What can be told before the sizes are known; the driver says whether the PTX has the kernels.
  Status checkDevices() const {
    for (size_t d = 0; d < plan.devices.size(); ++d)
      if (Status status = checkDevice(d); !status.ok())
        return std::move(status).withContext("devices[" + std::to_string(d) + "]");
    return Status();
  }

  Status checkDevice(size_t d) const {
    const DeviceCode &code = plan.devices[d];
    if (capabilityOf(code.target) == 0)
      return Status::invalid("'" + code.target + "' is no generation of GPUs, expected such as sm_90");
    if (d > 0 && capabilityOf(code.target) <= capabilityOf(plan.devices[d - 1].target))
      return Status::invalid("'" + code.target + "' comes after " + plan.devices[d - 1].target +
                             ", expected later generations in order");
    const bool isHash = code.ptx.size() == 64 && std::all_of(code.ptx.begin(), code.ptx.end(), [](unsigned char c) {
                          return std::isxdigit(c) != 0; // It becomes the name of a file.
                        });
    if (!isHash && !code.ptx.empty())
      return Status::invalid("'ptx' must be a SHA-256 in hexadecimal, or empty");
    if (code.instructions.size() != plan.instructions.size())
      return Status::invalid("there is code of " + std::to_string(code.instructions.size()) +
                             " instructions, and the plan has " + std::to_string(plan.instructions.size()));
    for (size_t i = 0; i < code.instructions.size(); ++i)
      for (const DeviceLaunch &launch : code.instructions[i].launches)
        if (Status status = checkLaunch(launch, plan.instructions[i]); !status.ok())
          return std::move(status).withContext("instruction " + std::to_string(i) + " (" + plan.instructions[i].op +
                                               ")");
    return Status();
  }

  static Status checkLaunch(const DeviceLaunch &launch, const Instruction &instruction) {
    if (launch.kernel.empty() || launch.threads < 1 || launch.threads > kMostBlockThreads || launch.sharedBytes < 0 ||
        launch.sharedBytes > kMostSharedBytes)
      return Status::invalid("a launch of '" + launch.kernel + "' with " + std::to_string(launch.threads) +
                             " threads and " + std::to_string(launch.sharedBytes) + " bytes of shared memory");
    for (const LaunchArgument &argument : launch.arguments) {
      const auto limit =
          static_cast<int64_t>(argument.kind == LaunchArgument::Kind::Operand  ? instruction.operands.size()
                               : argument.kind == LaunchArgument::Kind::Result ? instruction.results.size()
                                                                               : 1);
      if (argument.index < 0 || argument.index >= limit)
        return Status::invalid("'" + launch.kernel + "' gets operand or result " + std::to_string(argument.index) +
                               ", which there is not");
    }
    return Status();
  }

  Status checkRopeTables(const Instruction &instruction, const OpRule &rule, const BoundSizes &sizes) const {
    for (const ShapeRule &constraint : rule.rules) {
      if (constraint.kind != RuleKind::Table)
        continue;
      const std::string &name = std::get<std::string>(instruction.attributes.at(constraint.first));
      auto table = plan.ropeTables.find(name);
      if (table == plan.ropeTables.end())
        return Status::invalid("the plan has no rope table '" + name + "'");
      const size_t rotated = 2 * table->second.inverseFrequencies.size();
      const int64_t width = std::get<int64_t>(sizes.letters.at(constraint.second[0]));
      if (rotated > static_cast<size_t>(width))
        return Status::invalid(constraint.label + ": table '" + name + "' rotates " + std::to_string(rotated) +
                               " elements, but " + constraint.second + " is " + std::to_string(width));
    }
    return Status();
  }

  Status checkInstruction(const Instruction &instruction) {
    const OpRule *rule = findOpRule(instruction.op);
    if (!rule)
      return Status::invalid("unknown op", "the plan may come from a newer compiler: build runtime and compiler alike");
    MORPH_RETURN_IF_ERROR(checkAttributes(instruction, *rule));
    if (instruction.operands.size() != expectedOperands(instruction, *rule))
      return Status::invalid("has " + std::to_string(instruction.operands.size()) + " operands, expected " +
                             std::to_string(expectedOperands(instruction, *rule)));
    MORPH_RETURN_IF_ERROR(checkOperands(instruction, *rule));
    BoundSizes sizes;
    MORPH_ASSIGN_OR_RETURN(const std::vector<TensorType> results, inferResults(plan, instruction, sizes));
    if (instruction.results.size() != results.size())
      return Status::invalid("has " + std::to_string(instruction.results.size()) + " results, expected " +
                             std::to_string(results.size()));
    MORPH_RETURN_IF_ERROR(checkRopeTables(instruction, *rule, sizes));
    for (size_t i = 0; i < results.size(); ++i) {
      MORPH_RETURN_IF_ERROR(define(instruction.results[i]));
      const TensorType &declared = plan.values[static_cast<size_t>(instruction.results[i])];
      if (declared.dtype != results[i].dtype || declared.shape != results[i].shape)
        return Status::invalid("result " + std::to_string(i) + " is declared as " + shapeText(declared.shape) + " of " +
                               dtypeName(declared.dtype) + " but is " + shapeText(results[i].shape) + " of " +
                               dtypeName(results[i].dtype));
    }
    return updates.addInstruction(instruction, *rule);
  }

  Status checkOutputs() const {
    std::map<std::string, int64_t> names;
    for (const NamedValue &output : plan.outputs) {
      if (output.name.empty() || !names.emplace(output.name, output.value).second)
        return Status::invalid("output name '" + output.name + "' is empty or given twice");
      if (Status status = use(output.value); !status.ok())
        return std::move(status).withContext("output '" + output.name + "'");
      MORPH_RETURN_IF_ERROR(updates.read(output.value, "output '" + output.name + "'"));
    }
    if (plan.outputs.empty())
      return Status::invalid("the plan has no outputs");
    std::set<std::string> gradients;
    for (const auto &[name, value] : names)
      if (hasPrefix(name, kGradientPrefix))
        gradients.insert(name);
    for (size_t i = 0; i < plan.weights.size(); ++i) {
      auto found = names.find(kGradientPrefix + plan.weights[i].name);
      const bool hasGradient = found != names.end();
      const bool isTrained = hasGradient || updates.isUpdated(plan.weightValues[i]);
      if (plan.weights[i].trainable != isTrained)
        return Status::invalid("weight '" + plan.weights[i].name + "' is " +
                               (hasGradient ? "not trainable but has a gradient"
                                            : "trainable but has no output 'grad." + plan.weights[i].name + "'"));
      if (found == names.end())
        continue;
      gradients.erase(found->first);
      const TensorType &type = plan.values[static_cast<size_t>(found->second)];
      const TensorType &weight = plan.values[static_cast<size_t>(plan.weightValues[i])];
      if (type.shape != weight.shape || type.dtype != weight.dtype)
        return Status::invalid("output '" + found->first + "' has shape " + shapeText(type.shape) +
                               (type.dtype == DType::F32 ? "" : " and dtype i64") + ", its weight " +
                               shapeText(weight.shape));
    }
    if (!gradients.empty())
      return Status::invalid("output '" + *gradients.begin() + "' is the gradient of no weight");
    return Status();
  }

  static bool isScalar(const Plan &plan, const NamedValue &value, DType dtype) {
    const TensorType &type = plan.values[static_cast<size_t>(value.value)];
    return type.dtype == dtype && type.shape.empty();
  }
  static std::map<std::string, const NamedValue *> byName(const std::vector<NamedValue> &values) {
    std::map<std::string, const NamedValue *> named;
    for (const NamedValue &value : values)
      named[value.name] = &value;
    return named;
  }

  /// The update takes what `morph-build-update` (passes/Passes.td) gives it: of what this program trains.
  Status checkUpdate() const {
    if (!plan.update)
      return Status();
    if (plan.update->update)
      return Status::invalid("an update has no update of its own");
    if (Status status = validate(*plan.update); !status.ok())
      return std::move(status).withContext("update");
    const auto inputs = byName(plan.inputs), outputs = byName(plan.update->outputs);
    std::map<std::string, const Weight *> updated;
    for (const Weight &weight : plan.update->weights)
      updated[weight.name] = &weight;
    std::map<std::string, std::vector<Dim>> expected = {{kRate, {}}, {kStep, {}}};
    for (size_t i = 0; i < plan.weights.size(); ++i) {
      const Weight &weight = plan.weights[i];
      if (!weight.trainable)
        continue;
      const auto found = updated.find(weight.name);
      if (found == updated.end() || !found->second->trainable || found->second->shape != weight.shape)
        return Status::invalid("the update does not update weight '" + weight.name + "'");
      if (!inputs.count(kGradientPrefix + weight.name))
        return Status::invalid(std::string("the plan has an update, but no input '") + kGradientPrefix + weight.name +
                               "' to sum up");
      for (const char *prefix : {kGradientPrefix, kFirstMomentPrefix, kSecondMomentPrefix})
        expected[prefix + weight.name] = plan.values[static_cast<size_t>(plan.weightValues[i])].shape;
    }
    for (const NamedValue &input : plan.update->inputs) {
      auto found = expected.find(input.name);
      const TensorType &type = plan.update->values[static_cast<size_t>(input.value)];
      if (found == expected.end() || found->second != type.shape ||
          type.dtype != (input.name == kStep ? DType::I64 : DType::F32))
        return Status::invalid("the update has an input '" + input.name + "' of shape " + shapeText(type.shape) +
                               ", which is neither a gradient nor a moment of what the plan trains, rate nor step");
    }
    const auto share = inputs.find(kShare), norm = outputs.find(kNorm);
    if (share == inputs.end() || !isScalar(plan, *share->second, DType::F32) || norm == outputs.end() ||
        !isScalar(*plan.update, *norm->second, DType::F32))
      return Status::invalid("the plan has an update, but not the scalars 'share', which it takes, and 'norm', which "
                             "the update gives");
    if (plan.update->weights.size() * 3 + 2 != plan.update->inputs.size())
      return Status::invalid("the update has " + std::to_string(plan.update->inputs.size()) +
                             " inputs, expected the rate, the step and three a weight");
    return Status();
  }
};

} // namespace

Status validate(const Plan &plan) { return Validator(plan).run(); }

} // namespace morph::plan
