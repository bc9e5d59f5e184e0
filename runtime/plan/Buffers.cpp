// SPDX-License-Identifier: Apache-2.0
#include "runtime/plan/Buffers.h"

#include "runtime/plan/InferShapes.h"
#include "runtime/plan/Scratch.h"
#include "runtime/plan/Workspace.h"

#include <algorithm>
#include <map>
#include <set>

namespace morph::plan {

namespace {

constexpr int64_t kMaximumBytes = int64_t(1) << 62;

/// The free parts of an arena that grows. A part is taken from the smallest gap that holds it.
class Arena {
public:
  int64_t take(int64_t bytes) {
    auto gap = bySize.lower_bound({bytes, 0});
    if (gap != bySize.end()) {
      const auto [size, offset] = *gap;
      remove(offset, size);
      if (size > bytes)
        insert(offset + bytes, size - bytes);
      return offset;
    }
    // A gap at the end grows.
    int64_t offset = end;
    if (!byOffset.empty()) {
      const auto [last, size] = *byOffset.rbegin();
      if (last + size == end) {
        offset = last;
        remove(last, size);
      }
    }
    end = std::min(kMaximumBytes, offset + bytes);
    return offset;
  }

  void release(int64_t offset, int64_t bytes) {
    auto next = byOffset.lower_bound(offset);
    if (next != byOffset.end() && offset + bytes == next->first) {
      const auto [at, size] = *next;
      remove(at, size);
      bytes += size;
    }
    auto previous = byOffset.lower_bound(offset);
    if (previous != byOffset.begin()) {
      const auto [at, size] = *std::prev(previous);
      if (at + size == offset) {
        remove(at, size);
        offset = at;
        bytes += size;
      }
    }
    insert(offset, bytes);
  }

  int64_t end = 0;

private:
  std::map<int64_t, int64_t> byOffset;
  std::set<std::pair<int64_t, int64_t>> bySize; ///< Size and offset.

  void insert(int64_t offset, int64_t size) {
    byOffset[offset] = size;
    bySize.insert({size, offset});
  }
  void remove(int64_t offset, int64_t size) {
    byOffset.erase(offset);
    bySize.erase({size, offset});
  }
};

class Planner {
public:
  Planner(const Plan &plan, const std::vector<std::vector<int64_t>> &shapes, const RunMode &mode)
      : plan(plan), shapes(shapes), mode(mode) {}

  StatusOr<Buffers> run() {
    const size_t count = plan.values.size();
    buffers.owner.resize(count);
    buffers.offset.assign(count, -1);
    buffers.bytes.resize(count);
    buffers.life.resize(count);
    for (size_t value = 0; value < count; ++value) {
      buffers.owner[value] = static_cast<int64_t>(value);
      buffers.bytes[value] = bytesOf(value);
    }
    findLastUses();
    findOwners();
    return place();
  }

private:
  const Plan &plan;
  const std::vector<std::vector<int64_t>> &shapes;
  const RunMode &mode;
  std::map<std::string, int64_t> sizes; ///< By name, where the plan has code for a GPU.
  Buffers buffers;
  std::vector<int64_t> lastUse; ///< One a value, -1 where there is none.
  std::vector<bool> isOutside;  ///< Inputs and weights.

  static size_t at(int64_t value) { return static_cast<size_t>(value); }

  int64_t bytesOf(size_t value) const {
    // resolveShapes has limited the number of elements; a size of 0 still has a place.
    int64_t bytes = elementBytes(plan.values[value].dtype, mode);
    for (int64_t size : shapes[value])
      bytes *= size;
    return std::max(alignedBytes(1), alignedBytes(bytes));
  }

  void findLastUses() {
    lastUse.assign(plan.values.size(), -1);
    for (size_t i = 0; i < plan.instructions.size(); ++i)
      for (int64_t operand : plan.instructions[i].operands)
        if (operand >= 0)
          lastUse[at(operand)] = static_cast<int64_t>(i);
    for (const NamedValue &output : plan.outputs)
      lastUse[at(output.value)] = kAfterRun;
  }

  /// Follows views, updates and results in place, and gives owners their lives. Values outside the arena own
  /// themselves.
  void findOwners() {
    isOutside.assign(plan.values.size(), false);
    for (const NamedValue &input : plan.inputs)
      isOutside[at(input.value)] = true;
    for (int64_t value : plan.weightValues)
      isOutside[at(value)] = true;
    for (size_t value = 0; value < plan.values.size(); ++value)
      buffers.life[value] = {-1, lastUse[value]};
    for (size_t i = 0; i < plan.instructions.size(); ++i) {
      const Instruction &instruction = plan.instructions[i];
      const OpRule &rule = *findOpRule(instruction.op);
      for (int64_t result : instruction.results)
        buffers.life[at(result)] = {static_cast<int64_t>(i), std::max(lastUse[at(result)], static_cast<int64_t>(i))};
      if (!rule.viewOf.empty()) {
        join(instruction.results[0], operandValue(instruction, rule, rule.viewOf));
        continue;
      }
      if (instruction.op == "launch") {
        const Kernel &kernel = *findKernel(plan, instruction);
        for (size_t r = 0; r < instruction.results.size(); ++r)
          if (kernel.inPlace[r] >= 0) {
            const int64_t operand = instruction.operands[at(kernel.inPlace[r])];
            if (canReplace(instruction, static_cast<int64_t>(i), instruction.results[r], operand))
              join(instruction.results[r], operand);
          }
        continue;
      }
      const std::vector<int64_t> updated = updatedValues(instruction, rule);
      for (size_t r = 0; r < updated.size(); ++r)
        if (updated[r] >= 0)
          join(instruction.results[r], updated[r]);
      for (const std::string &name : rule.inPlace) {
        const int64_t operand = operandValue(instruction, rule, name);
        if (canReplace(instruction, static_cast<int64_t>(i), instruction.results[0], operand)) {
          join(instruction.results[0], operand);
          break;
        }
      }
    }
  }

  void join(int64_t result, int64_t operand) {
    const int64_t owner = buffers.owner[at(operand)];
    buffers.owner[at(result)] = owner;
    buffers.life[at(owner)].end = std::max(buffers.life[at(owner)].end, buffers.life[at(result)].end);
  }

  /// Whether nobody reads the memory of `operand` after the instruction, which may then write its result there.
  bool canReplace(const Instruction &instruction, int64_t i, int64_t result, int64_t operand) const {
    if (operand < 0)
      return false;
    const int64_t owner = buffers.owner[at(operand)];
    if (isOutside[at(owner)] || buffers.life[at(owner)].end > i ||
        buffers.bytes[at(result)] != buffers.bytes[at(operand)])
      return false;
    // The others are read in another order.
    int64_t uses = 0;
    for (int64_t other : instruction.operands)
      uses += other >= 0 && buffers.owner[at(other)] == owner;
    return uses == 1;
  }

  /// Bytes of scratch of instruction `i`.
  StatusOr<int64_t> scratchOf(size_t i) {
    if (plan.devices.empty())
      return plan::scratchBytes(plan, plan.instructions[i], shapes, mode);
    if (sizes.empty())
      sizes = sizesByName(plan, shapes);
    int64_t most = 0;
    for (const DeviceCode &code : plan.devices) {
      MORPH_ASSIGN_OR_RETURN(const int64_t bytes, evaluate(code.instructions[i].scratchBytes, sizes));
      most = std::max(most, bytes);
    }
    return most;
  }

  StatusOr<Buffers> place() {
    Arena arena;
    int64_t live = 0;
    std::vector<std::vector<int64_t>> dying(plan.instructions.size());
    buffers.scratchOffset.assign(plan.instructions.size(), -1);
    buffers.scratchBytes.assign(plan.instructions.size(), 0);
    for (size_t i = 0; i < plan.instructions.size(); ++i) {
      const Instruction &instruction = plan.instructions[i];
      for (int64_t result : instruction.results) {
        if (buffers.owner[at(result)] != result)
          continue;
        buffers.offset[at(result)] = arena.take(buffers.bytes[at(result)]);
        live += buffers.bytes[at(result)];
        if (const int64_t end = buffers.life[at(result)].end; end != kAfterRun)
          dying[at(end)].push_back(result);
      }
      MORPH_ASSIGN_OR_RETURN(const int64_t needed, scratchOf(i));
      const int64_t scratch = alignedBytes(needed);
      if (scratch > 0) {
        buffers.scratchBytes[i] = scratch;
        buffers.scratchOffset[i] = arena.take(scratch);
      }
      buffers.liveBytes = std::max(buffers.liveBytes, live + scratch);
      if (scratch > 0)
        arena.release(buffers.scratchOffset[i], scratch);
      for (int64_t value : dying[i]) {
        arena.release(buffers.offset[at(value)], buffers.bytes[at(value)]);
        live -= buffers.bytes[at(value)];
      }
      if (arena.end >= kMaximumBytes)
        return Status::invalid("program '" + plan.program + "' needs more memory than can be addressed",
                               "use a smaller batch or length");
    }
    for (size_t value = 0; value < plan.values.size(); ++value)
      if (!isOutside[at(buffers.owner[value])])
        buffers.offset[value] = buffers.offset[at(buffers.owner[value])];
    buffers.arenaBytes = arena.end;
    return std::move(buffers);
  }
};

} // namespace

int64_t elementBytes(DType dtype, const RunMode &mode) {
  if (dtype == DType::I64 || mode.wide)
    return 8;
  return dtype == DType::BF16 || dtype == DType::F16 ? 2 : 4;
}

StatusOr<Buffers> planBuffers(const Plan &plan, const std::vector<std::vector<int64_t>> &shapes, const RunMode &mode) {
  return Planner(plan, shapes, mode).run();
}

Status checkBuffers(const Plan &plan, const Buffers &buffers) {
  struct Place {
    int64_t begin, end;
    Interval life;
    const char *what;
    size_t number;
    std::string text() const { return what + std::to_string(number); }
  };
  std::vector<Place> places;
  for (size_t value = 0; value < plan.values.size(); ++value)
    if (buffers.offset[value] >= 0 && buffers.owner[value] == static_cast<int64_t>(value))
      places.push_back(
          {buffers.offset[value], buffers.offset[value] + buffers.bytes[value], buffers.life[value], "value ", value});
  for (size_t i = 0; i < plan.instructions.size(); ++i)
    if (buffers.scratchOffset[i] >= 0)
      places.push_back({buffers.scratchOffset[i],
                        buffers.scratchOffset[i] + buffers.scratchBytes[i],
                        {static_cast<int64_t>(i), static_cast<int64_t>(i)},
                        "the scratch of instruction ",
                        i});
  // By their first instruction; those that live on are kept by their offsets.
  std::sort(places.begin(), places.end(), [](const Place &a, const Place &b) { return a.life.begin < b.life.begin; });
  std::map<int64_t, const Place *> alive;
  std::multimap<int64_t, const Place *> ends;
  for (const Place &place : places) {
    if (place.begin < 0 || place.end > buffers.arenaBytes || place.end <= place.begin)
      return Status::failed(place.text() + " lies outside the arena");
    while (!ends.empty() && ends.begin()->first < place.life.begin) {
      alive.erase(ends.begin()->second->begin);
      ends.erase(ends.begin());
    }
    auto next = alive.lower_bound(place.begin);
    const Place *other = next != alive.end() && next->first < place.end ? next->second : nullptr;
    if (!other && next != alive.begin() && std::prev(next)->second->end > place.begin)
      other = std::prev(next)->second;
    if (other)
      return Status::failed(place.text() + " overlaps " + other->text() + " while both live");
    alive[place.begin] = &place;
    ends.insert({place.life.end, &place});
  }
  return Status();
}

} // namespace morph::plan
