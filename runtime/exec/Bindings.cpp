// SPDX-License-Identifier: Apache-2.0
#include "runtime/exec/Bindings.h"

#include "runtime/plan/DocumentAxes.h"
#include "runtime/plan/Gathers.h"
#include "runtime/plan/InferShapes.h"
#include "runtime/plan/Pieces.h"
#include "runtime/plan/Rings.h"
#include "runtime/plan/Updates.h"
#include "runtime/weights/Initialize.h"

#include <algorithm>
#include <cmath>

namespace morph {

namespace {

std::string sizesText(at::IntArrayRef sizes) {
  return plan::shapeText(std::vector<plan::Dim>(sizes.begin(), sizes.end()));
}

/// A part of a tensor's elements; the tensor itself where there is but one.
at::Tensor partOf(const at::Tensor &tensor, const Part &part) {
  if (part.count == 1)
    return tensor;
  const int64_t each = plan::partElements(tensor.numel(), part.count);
  const int64_t begin = std::min(part.index * each, tensor.numel()), own = std::min(each, tensor.numel() - begin);
  const at::Tensor elements = tensor.reshape({-1}).narrow(0, begin, own);
  return own == each ? elements : at::constant_pad_nd(elements, {0, each - own});
}

/// Resolves one weight, following `init` sources that are themselves new weights of the plan.
class Loader {
public:
  Loader(const plan::Plan &plan, const WeightStore &store, uint64_t seed, at::ScalarType dtype)
      : plan(plan), store(store), seed(seed), dtype(dtype) {}

  StatusOr<at::Tensor> load(const plan::Weight &weight, const Part &part) {
    at::Tensor found = weight.teacherOf.empty() ? store.find(weight.name) : store.findBase(weight.teacherOf);
    if (!found.defined() && !weight.pieces.empty()) {
      MORPH_ASSIGN_OR_RETURN(found, assemble(weight.shape, weight.pieces));
    }
    if (found.defined())
      return checked(weight, found, part);
    if (!weight.init)
      return Status::invalid("the checkpoint has no weight '" +
                                 (weight.teacherOf.empty() ? weight.name : weight.teacherOf) + "' that program '" +
                                 plan.program + "' reads",
                             "the plan was made for another model, or weights of an earlier stage are not given");
    at::Tensor source;
    if (!weight.init->source.empty()) {
      source = store.find(weight.init->source);
      // Plan validation has seen that such a chain is short and has an end.
      for (const plan::Weight &other : plan.weights)
        if (!source.defined() && other.name == weight.init->source) {
          MORPH_ASSIGN_OR_RETURN(source, load(other, Part()));
        }
      if (!source.defined() && !weight.init->pieces.empty()) {
        MORPH_ASSIGN_OR_RETURN(source, assemble(plan::sourceShape(weight), weight.init->pieces));
      }
    }
    MORPH_ASSIGN_OR_RETURN(const at::Tensor value, initialValue(weight, source, seed, dtype));
    // A copy: the rest goes.
    return part.count == 1 ? value : partOf(value, part).clone();
  }

private:
  const plan::Plan &plan;
  const WeightStore &store;
  uint64_t seed;
  at::ScalarType dtype;

  /// A weight of pieces of the base checkpoint: a view of the mapped file where it is one, else a tensor of its own.
  StatusOr<at::Tensor> assemble(const std::vector<int64_t> &shape, const std::vector<plan::Piece> &pieces) const {
    std::vector<at::Tensor> tensors;
    std::vector<std::vector<int64_t>> shapes;
    for (const plan::Piece &piece : pieces) {
      tensors.push_back(store.findBase(piece.tensor));
      if (!tensors.back().defined())
        return Status::invalid("the checkpoint has no tensor '" + piece.tensor + "' that program '" + plan.program +
                                   "' reads a weight from",
                               "the plan was made for another model");
      shapes.push_back(tensors.back().sizes().vec());
    }
    if (Status status = plan::checkPieceShapes(shape, pieces, shapes); !status.ok())
      return std::move(status).withContext("'" + store.fileOf(pieces.front().tensor) + "'");
    for (size_t i = 0; i < pieces.size(); ++i) {
      if (pieces[i].end)
        tensors[i] = tensors[i].narrow(0, pieces[i].begin, pieces[i].end - pieces[i].begin);
      tensors[i] = tensors[i].reshape({-1});
    }
    return (tensors.size() == 1 ? tensors.front() : at::cat(tensors)).view(shape);
  }

  StatusOr<at::Tensor> checked(const plan::Weight &weight, at::Tensor tensor, const Part &part) const {
    const std::string &name = weight.teacherOf.empty() ? weight.name : weight.teacherOf;
    std::string file = store.fileOf(name);
    if (file.empty())
      file = store.fileOf(weight.pieces.front().tensor);
    std::string what = "weight '" + name + "' of '" + file + "'";
    if (tensor.sizes() != at::IntArrayRef(weight.shape))
      return Status::invalid(what + " has shape " + sizesText(tensor.sizes()) + ", the plan expects " +
                             sizesText(weight.shape));
    if (!at::isFloatingType(tensor.scalar_type()))
      return Status::invalid(what + " must be of a floating-point type, not " + c10::toString(tensor.scalar_type()));
    tensor = partOf(tensor, part);
    if (part.count > 1 && weight.pieces.size() > 1)
      tensor = tensor.clone(); // The rest of what was put together goes.
    // The least and the greatest value show NaN and infinity in one pass without memory.
    auto [least, greatest] = at::aminmax(tensor);
    if (!std::isfinite(least.item<double>()) || !std::isfinite(greatest.item<double>())) {
      int64_t bad = at::isfinite(tensor).logical_not().sum().item<int64_t>();
      return Status::invalid(what + " holds " + std::to_string(bad) + " of " + std::to_string(tensor.numel()) +
                                 " values that are NaN or infinite",
                             "the file is corrupt, or a training run diverged");
    }
    return tensor;
  }
};

/// The values of an instruction's index operands that have a bound, with the bound as a product.
std::vector<std::pair<int64_t, std::vector<plan::Dim>>> boundsOf(const plan::Plan &plan,
                                                                 const plan::Instruction &instruction) {
  const plan::OpRule &rule = *plan::findOpRule(instruction.op);
  if (rule.indices.empty())
    return {};
  plan::BoundSizes sizes;
  (void)plan::inferResults(plan, instruction, sizes); // The plan is valid.
  std::vector<std::pair<int64_t, std::vector<plan::Dim>>> bounds;
  for (const plan::IndexRule &index : rule.indices) {
    std::vector<plan::Dim> &product =
        bounds.emplace_back(plan::operandValue(instruction, rule, index.operand), std::vector<plan::Dim>()).second;
    for (char letter : index.letters)
      product.push_back(sizes.letters.at(letter));
  }
  return bounds;
}

} // namespace

StatusOr<at::Tensor> loadWeight(const plan::Plan &plan, const plan::Weight &weight, const WeightStore &store,
                                uint64_t seed, at::ScalarType dtype, const Part &part) {
  return Loader(plan, store, seed, dtype).load(weight, part);
}

InputChecker::InputChecker(const plan::Plan &plan) : plan_(plan), updated_(plan::updatedInputs(plan)) {
  std::vector<std::set<std::vector<plan::Dim>>> limits(plan.values.size());
  for (const plan::Instruction &instruction : plan.instructions)
    for (auto &[value, limit] : boundsOf(plan, instruction))
      limits[static_cast<size_t>(value)].insert(std::move(limit));
  std::set<int64_t> onHost; // Where documents begin decides what is launched.
  for (const plan::Instruction &instruction : plan.instructions)
    if (const int64_t begins = plan::findBegins(instruction); begins >= 0)
      onHost.insert(instruction.operands[static_cast<size_t>(begins)]);
  for (size_t i = 0; i < plan.inputs.size(); ++i) {
    isOnHost_.push_back(onHost.count(plan.inputs[i].value) != 0);
    size_t value = static_cast<size_t>(plan.inputs[i].value);
    if (plan.values[value].dtype != plan::DType::I64)
      continue;
    if (limits[value].empty())
      ranges_.push_back({i, {}});
    for (const std::vector<plan::Dim> &limit : limits[value])
      ranges_.push_back({i, limit});
  }
  for (const plan::Instruction &instruction : plan.instructions)
    addRings(instruction);
}

void InputChecker::addRings(const plan::Instruction &instruction) {
  const plan::OpRule &rule = *plan::findOpRule(instruction.op);
  auto isAtMost = [](const plan::ShapeRule &constraint) { return constraint.kind == plan::RuleKind::AtMost; };
  if (rule.rings.empty() && std::none_of(rule.rules.begin(), rule.rules.end(), isAtMost))
    return;
  plan::BoundSizes bound;
  (void)plan::inferResults(plan_, instruction, bound); // The plan is valid.
  for (const plan::ShapeRule &constraint : rule.rules)
    if (isAtMost(constraint))
      sizeLimits_.emplace(&constraint, bound.letters.at(constraint.first[0]), bound.letters.at(constraint.second[0]));
  for (const plan::RingRule &ring : rule.rings) {
    const int64_t offset = plan::operandValue(instruction, rule, ring.offset);
    const auto window = instruction.attributes.find(ring.window);
    // No op makes offsets: they are inputs.
    for (size_t i = 0; i < plan_.inputs.size(); ++i)
      if (plan_.inputs[i].value == offset)
        rings_.emplace(i, bound.letters.at('T'), bound.letters.at('S'),
                       window == instruction.attributes.end() ? 0 : std::get<int64_t>(window->second));
  }
}

Status InputChecker::checkRings(const NamedTensors &inputs, const std::map<std::string, int64_t> &sizes) const {
  for (const auto &[constraint, size, limit] : sizeLimits_) {
    MORPH_ASSIGN_OR_RETURN(const int64_t number, plan::resolveDim(size, sizes));
    MORPH_ASSIGN_OR_RETURN(const int64_t most, plan::resolveDim(limit, sizes));
    if (number > most)
      return Status::invalid("program '" + plan_.program + "': " + constraint->label + ": " + constraint->first +
                             " is " + std::to_string(number) + ", expected no more than " + constraint->second +
                             ", which is " + std::to_string(most));
  }
  for (const auto &[index, size, slots, window] : rings_) {
    const plan::NamedValue &input = plan_.inputs[index];
    const at::Tensor offset = inputs.at(input.name).contiguous();
    MORPH_ASSIGN_OR_RETURN(const int64_t positions, plan::resolveDim(size, sizes));
    MORPH_ASSIGN_OR_RETURN(const int64_t kept, plan::resolveDim(slots, sizes));
    const int64_t *const first = offset.const_data_ptr<int64_t>();
    for (int64_t b = 0; b < offset.numel(); ++b)
      if (const int64_t seen = plan::positionsSeen(first[b], positions, window); seen > kept)
        return Status::invalid("input '" + input.name + "' of program '" + plan_.program + "' holds " +
                               std::to_string(first[b]) + " at element " + std::to_string(b) + ": " +
                               std::to_string(positions) + " positions from there on see " + std::to_string(seen) +
                               ", but a ring keeps " + std::to_string(kept));
  }
  return Status();
}

Status InputChecker::checkUpdated(const NamedTensors &inputs, Precision precision, at::Device device) const {
  struct Extent {
    const char *begin, *end;
    size_t input;
  };
  std::vector<Extent> extents;
  for (size_t i = 0; i < updated_.size(); ++i) {
    const at::Tensor &tensor = inputs.at(plan_.inputs[i].name);
    const char *const begin = static_cast<const char *>(tensor.const_data_ptr());
    extents.push_back({begin, begin + tensor.nbytes(), i});
    const at::ScalarType type = scalarType(plan_.values[static_cast<size_t>(plan_.inputs[i].value)].dtype, precision);
    if (updated_[i] && !(tensor.is_contiguous() && tensor.scalar_type() == type && tensor.device() == device))
      return Status::invalid("input '" + plan_.inputs[i].name + "' of program '" + plan_.program +
                             "' is updated in place: it must be contiguous, on " + device.str() + " and of " +
                             c10::toString(type));
  }
  std::sort(extents.begin(), extents.end(), [](const Extent &a, const Extent &b) { return a.begin < b.begin; });
  // The extents before that reach furthest: of all, and of those that are updated.
  const Extent *furthest = nullptr, *furthestUpdated = nullptr;
  for (const Extent &b : extents) {
    const Extent *before = updated_[b.input] ? furthest : furthestUpdated;
    if (before && b.begin < before->end) {
      const Extent &a = *before;
      return Status::invalid("inputs '" + plan_.inputs[a.input].name + "' and '" + plan_.inputs[b.input].name +
                             "' of program '" + plan_.program + "' overlap, and one is updated in place");
    }
    if (!furthest || b.end > furthest->end)
      furthest = &b;
    if (updated_[b.input] && (!furthestUpdated || b.end > furthestUpdated->end))
      furthestUpdated = &b;
  }
  return Status();
}

StatusOr<std::map<std::string, int64_t>> InputChecker::sizesOf(const NamedTensors &inputs) const {
  std::map<std::string, int64_t> sizes;
  std::map<std::string, const std::string *> givenBy;
  for (const plan::NamedValue &input : plan_.inputs) {
    const plan::TensorType &type = plan_.values[static_cast<size_t>(input.value)];
    auto refused = [&](const std::string &what) {
      return Status::invalid("input '" + input.name + "' of program '" + plan_.program + "' " + what);
    };
    auto found = inputs.find(input.name);
    if (found == inputs.end() || !found->second.defined())
      return refused("is missing");
    const at::Tensor &tensor = found->second;
    bool index = type.dtype == plan::DType::I64;
    if (index ? tensor.scalar_type() != at::kLong : !at::isFloatingType(tensor.scalar_type()))
      return refused(std::string("has dtype ") + c10::toString(tensor.scalar_type()) + ", expected " +
                     (index ? "int64" : "a floating-point type"));
    auto otherShape = [&] {
      return refused("has shape " + sizesText(tensor.sizes()) + ", expected " + plan::shapeText(type.shape));
    };
    if (tensor.dim() != static_cast<int64_t>(type.shape.size()))
      return otherShape();
    for (size_t d = 0; d < type.shape.size(); ++d) {
      const int64_t size = tensor.size(static_cast<int64_t>(d));
      if (const int64_t *expected = std::get_if<int64_t>(&type.shape[d])) {
        if (size != *expected)
          return otherShape();
        continue;
      }
      const std::string &name = std::get<std::string>(type.shape[d]);
      if (size == 0)
        return refused("has no elements: its size " + name + " is 0");
      auto [known, added] = sizes.emplace(name, size);
      if (added)
        givenBy[name] = &input.name;
      else if (known->second != size)
        return refused("has " + name + " = " + std::to_string(size) + ", input '" + *givenBy.at(name) + "' has " +
                       std::to_string(known->second));
    }
  }
  return sizes;
}

Status InputChecker::bind(const NamedTensors &inputs, const std::map<std::string, int64_t> &sizes, Precision precision,
                          at::Device device, std::vector<at::Tensor> *held, std::vector<at::Tensor> &values) const {
  if (std::find(updated_.begin(), updated_.end(), true) != updated_.end())
    MORPH_RETURN_IF_ERROR(checkUpdated(inputs, precision, device));
  const bool isHeld = held && !device.is_cpu();
  if (isHeld)
    held->resize(plan_.inputs.size());
  for (size_t i = 0; i < plan_.inputs.size(); ++i) {
    const at::Tensor &tensor = inputs.at(plan_.inputs[i].name);
    const size_t value = static_cast<size_t>(plan_.inputs[i].value);
    const at::ScalarType type = scalarType(plan_.values[value].dtype, precision);
    if (isOnHost_[i]) {
      values[value] = tensor.contiguous();
      continue;
    }
    if (!isHeld || updated_[i]) {
      values[value] = tensor.to(type).contiguous().to(device);
      continue;
    }
    at::Tensor &place = (*held)[i];
    if (!place.defined())
      place = at::empty(tensor.sizes(), at::TensorOptions(type).device(device));
    values[value] = place.copy_(tensor);
  }

  for (const IndexRange &range : ranges_) {
    const plan::NamedValue &input = plan_.inputs[range.input];
    const at::Tensor tensor = inputs.at(input.name).contiguous();
    if (!tensor.device().is_cpu())
      return Status::invalid("input '" + input.name + "' of program '" + plan_.program +
                             "' holds indices, which are given on the CPU");
    int64_t limit = range.limit.empty() ? kPositionLimit : 1;
    for (const plan::Dim &dim : range.limit) {
      MORPH_ASSIGN_OR_RETURN(int64_t size, plan::resolveDim(dim, sizes));
      limit *= size; // The dimensions are of one value: resolveShapes has multiplied them.
    }
    const int64_t *data = tensor.const_data_ptr<int64_t>();
    for (int64_t i = 0; i < tensor.numel(); ++i)
      if (data[i] < 0 || data[i] >= limit)
        return Status::invalid("input '" + input.name + "' of program '" + plan_.program + "' holds " +
                               std::to_string(data[i]) + " at element " + std::to_string(i) + ", expected 0 to " +
                               std::to_string(limit - 1));
  }
  return checkRings(inputs, sizes);
}

} // namespace morph
