// SPDX-License-Identifier: Apache-2.0
#include "passes/Recomputation.h"

#include "runtime/plan/Cost.h"
#include "runtime/plan/InferShapes.h"

#include <algorithm>
#include <numeric>
#include <set>

namespace morph {

namespace {

using Shapes = std::vector<std::vector<int64_t>>;

/// Instructions that computing one value again may take: where more are needed, it is kept.
constexpr size_t kLongestChain = 4096;
/// A value of a smaller share of the peak is not worth a copy.
constexpr int64_t kLeastShare = 20000;
/// A value that is smaller than this share of what is computed of it again is kept for that.
constexpr int64_t kSmallShare = 8;
/// The most that is dropped before the memory is planned anew, as a share of it.
constexpr int64_t kStepShare = 4;
/// The largest group of values that are computed again together, as a share of the peak: 1/2, 1/4, ...
constexpr int kGroupSizes = 7;

size_t at(int64_t number) { return static_cast<size_t>(number); }

/// What is known of the program before anything is copied. Positions are numbers of instructions.
struct Program {
  const plan::Plan &plan;
  Shapes shapes;
  plan::RunMode mode;
  std::vector<double> flops;               ///< One an instruction.
  std::vector<int64_t> producer;           ///< One a value, -1 for inputs and weights.
  std::vector<int64_t> root;               ///< One a value: what it is a view of, itself where it is none.
  std::vector<int64_t> bytes;              ///< One a value, 0 for views.
  std::vector<std::vector<int64_t>> reads; ///< One a root: where it or a view of it is read, ascending.
  std::vector<bool> isOutput;              ///< One a root.

  bool isView(int64_t instruction) const {
    return root[at(plan.instructions[at(instruction)].results[0])] != plan.instructions[at(instruction)].results[0];
  }
  bool isOutside(int64_t value) const { return producer[at(value)] < 0; }
  /// Where a root is read for the last time.
  int64_t lastRead(int64_t value) const {
    if (isOutput[at(value)])
      return plan::kAfterRun;
    return reads[at(value)].empty() ? producer[at(value)] : reads[at(value)].back();
  }

  static StatusOr<Program> create(const plan::Plan &plan, const std::map<std::string, int64_t> &sizes,
                                  const plan::RunMode &mode);
};

StatusOr<Program> Program::create(const plan::Plan &plan, const std::map<std::string, int64_t> &sizes,
                                  const plan::RunMode &mode) {
  Program program{plan, {}, mode, {}, {}, {}, {}, {}, {}};
  MORPH_ASSIGN_OR_RETURN(program.shapes, plan::resolveShapes(plan, sizes));
  MORPH_ASSIGN_OR_RETURN(program.flops, plan::instructionFlops(plan, sizes));
  MORPH_ASSIGN_OR_RETURN(const plan::Buffers buffers, plan::planBuffers(plan, program.shapes, mode));
  const size_t values = plan.values.size();
  program.producer.assign(values, -1);
  program.root.resize(values);
  std::iota(program.root.begin(), program.root.end(), 0);
  program.bytes = buffers.bytes;
  program.reads.resize(values);
  program.isOutput.assign(values, false);
  std::set<int64_t> rewritten;
  for (size_t i = 0; i < plan.instructions.size(); ++i) {
    const plan::Instruction &instruction = plan.instructions[i];
    for (int64_t operand : instruction.operands)
      if (operand >= 0)
        if (auto &reads = program.reads[at(program.root[at(operand)])];
            reads.empty() || reads.back() != static_cast<int64_t>(i))
          reads.push_back(static_cast<int64_t>(i));
    const plan::OpRule &rule = *plan::findOpRule(instruction.op);
    const std::vector<int64_t> updated = plan::updatedValues(instruction, rule);
    for (size_t r = 0; r < updated.size(); ++r)
      if (updated[r] < 0)
        program.producer[at(instruction.results[r])] = static_cast<int64_t>(i);
      else
        rewritten.insert({program.root[at(updated[r])], instruction.results[r]}); // In memory from outside.
    if (rule.viewOf.empty())
      continue;
    const int64_t viewed = plan::operandValue(instruction, rule, rule.viewOf);
    program.root[at(instruction.results[0])] = program.root[at(viewed)];
    program.bytes[at(instruction.results[0])] = 0;
  }
  for (const plan::Instruction &instruction : plan.instructions)
    if (!plan::updatesInPlace(instruction, *plan::findOpRule(instruction.op)))
      for (int64_t operand : instruction.operands)
        if (operand >= 0 && rewritten.count(program.root[at(operand)]))
          return Status::invalid("its '" + instruction.op +
                                 "' reads what is updated in place: what a copy would read is not there any more");
  for (const plan::NamedValue &output : plan.outputs)
    program.isOutput[at(program.root[at(output.value)])] = true;
  return program;
}

/// Values that are dropped after some position, with what must be copied for it.
class Dropped {
public:
  Dropped(const Program &program, int64_t groupBytes)
      : program(program), groupBytes(groupBytes), droppedAfter(program.plan.values.size(), -1),
        isCopied(program.plan.instructions.size(), false), isRefused(program.plan.values.size(), false),
        group(program.plan.instructions.size()), bytesOfGroup(program.plan.instructions.size(), 0) {
    std::iota(group.begin(), group.end(), 0);
  }

  /// A root that lives across a position without being read there, so that it could be dropped.
  bool canDrop(int64_t value, int64_t position) const;
  /// Operations of what must be copied for it that is not copied yet; nothing where that is too much.
  std::optional<double> costOf(int64_t value, int64_t position) const;
  /// Drops the value between its last read before the position and the first one after it. False where its group would
  /// be too large, now and later.
  bool drop(int64_t value, int64_t position);

  /// The program with the copies, and the shapes of all its values.
  std::pair<Recomputation, Shapes> materialize() const;

private:
  const Program &program;
  int64_t groupBytes;
  std::vector<int64_t> droppedAfter; ///< One a root; -1: it is kept.
  std::vector<bool> isCopied;        ///< One an instruction.
  std::vector<bool> isRefused;       ///< One a root.
  std::vector<int64_t> group;        ///< One an instruction: the next one of its group on the way to the first.
  std::vector<int64_t> bytesOfGroup; ///< Of those that are the first of their group.

  /// Whether a reader at a position reads the root itself and no copy of it.
  bool isThere(int64_t value, int64_t position) const {
    return program.isOutside(value) ||
           (droppedAfter[at(value)] >= 0 ? position <= droppedAfter[at(value)] : position <= program.lastRead(value));
  }
  /// Whether the copy of an instruction reads the root itself and no copy of it.
  bool isThereFor(int64_t instruction, int64_t value, int64_t position) const {
    return isThere(value, position) ||
           (droppedAfter[at(value)] < 0 && program.bytes[at(value)] <= resultBytes(instruction) / kSmallShare);
  }
  int64_t firstReadAfter(int64_t value, int64_t position) const {
    const std::vector<int64_t> &reads = program.reads[at(value)];
    return *std::upper_bound(reads.begin(), reads.end(), position);
  }
  int64_t groupOf(int64_t instruction) const {
    while (group[at(instruction)] != instruction)
      instruction = group[at(instruction)];
    return instruction;
  }
  int64_t resultBytes(int64_t instruction) const {
    int64_t bytes = 0;
    for (int64_t result : program.plan.instructions[at(instruction)].results)
      bytes += program.bytes[at(result)];
    return bytes;
  }
  /// The instructions that must be copied for readers of the value from `position` on, and the groups of those that
  /// are copied already and which they read, or are read by. False where that is more than one group may hold.
  bool collect(int64_t value, int64_t position, std::vector<int64_t> &added, std::vector<int64_t> &joined) const;

  friend class Copier;
};

bool Dropped::canDrop(int64_t value, int64_t position) const {
  if (program.isOutside(value) || program.root[at(value)] != value || program.isOutput[at(value)] ||
      droppedAfter[at(value)] >= 0 || isRefused[at(value)])
    return false;
  const std::vector<int64_t> &reads = program.reads[at(value)];
  return program.producer[at(value)] < position && !reads.empty() && reads.back() > position &&
         !std::binary_search(reads.begin(), reads.end(), position);
}

bool Dropped::collect(int64_t value, int64_t position, std::vector<int64_t> &added,
                      std::vector<int64_t> &joined) const {
  int64_t bytes = 0;
  std::vector<int64_t> pending = {program.producer[at(value)]};
  std::set<int64_t> seen(pending.begin(), pending.end());
  while (!pending.empty()) {
    const int64_t instruction = pending.back();
    pending.pop_back();
    if (isCopied[at(instruction)]) {
      joined.push_back(groupOf(instruction));
      continue;
    }
    added.push_back(instruction);
    bytes += resultBytes(instruction);
    if (bytes > groupBytes || added.size() > kLongestChain)
      return false;
    for (int64_t operand : program.plan.instructions[at(instruction)].operands) {
      if (operand < 0)
        continue;
      const int64_t read = program.root[at(operand)];
      if (isThereFor(instruction, read, position))
        continue;
      if (const int64_t needed = program.producer[at(read)]; seen.insert(needed).second)
        pending.push_back(needed);
    }
  }
  // Copies that read it now read a copy of it.
  for (int64_t reader : program.reads[at(value)])
    if (isCopied[at(reader)])
      joined.push_back(groupOf(reader));
  std::sort(joined.begin(), joined.end());
  joined.erase(std::unique(joined.begin(), joined.end()), joined.end());
  for (int64_t other : joined)
    bytes += bytesOfGroup[at(other)];
  return bytes <= groupBytes;
}

std::optional<double> Dropped::costOf(int64_t value, int64_t position) const {
  std::vector<int64_t> added, joined;
  if (!collect(value, firstReadAfter(value, position), added, joined))
    return std::nullopt;
  double flops = 0;
  for (int64_t instruction : added)
    flops += program.flops[at(instruction)];
  return flops;
}

bool Dropped::drop(int64_t value, int64_t position) {
  std::vector<int64_t> added, joined;
  if (!collect(value, firstReadAfter(value, position), added, joined)) {
    isRefused[at(value)] = true;
    return false;
  }
  droppedAfter[at(value)] = position;
  const int64_t first = added.empty() ? joined.front() : added.front();
  int64_t bytes = 0;
  for (int64_t other : joined) {
    bytes += bytesOfGroup[at(other)];
    group[at(other)] = first;
  }
  for (int64_t instruction : added) {
    bytes += resultBytes(instruction);
    isCopied[at(instruction)] = true;
    group[at(instruction)] = first;
  }
  bytesOfGroup[at(first)] = bytes;
  return true;
}

/// Writes a program with its copies.
class Copier {
public:
  explicit Copier(const Dropped &dropped) : dropped(dropped), program(dropped.program), before(dropped.program.plan) {
    copyOf.assign(before.values.size(), -1);
    result.plan = before;
    result.plan.instructions.clear();
    shapes = program.shapes;
  }

  std::pair<Recomputation, Shapes> run() {
    for (size_t i = 0; i < before.instructions.size(); ++i) {
      plan::Instruction instruction = before.instructions[i];
      for (int64_t &operand : instruction.operands)
        operand = resolve(operand, static_cast<int64_t>(i));
      // A view of a copy is what a copy of the view would be.
      if (program.isView(static_cast<int64_t>(i)) && instruction.operands != before.instructions[i].operands)
        copyOf[at(instruction.results[0])] = instruction.results[0];
      append(std::move(instruction), i);
    }
    return {std::move(result), std::move(shapes)};
  }

private:
  const Dropped &dropped;
  const Program &program;
  const plan::Plan &before;
  Recomputation result;
  Shapes shapes;
  std::vector<int64_t> copyOf; ///< One a value before.

  void append(plan::Instruction instruction, size_t origin) {
    result.plan.instructions.push_back(std::move(instruction));
    result.origins.push_back(origin);
  }

  /// What a reader at `position` of the program before reads as `value`.
  int64_t resolve(int64_t value, int64_t position) {
    if (value < 0 || dropped.isThere(program.root[at(value)], position))
      return value;
    if (copyOf[at(value)] >= 0)
      return copyOf[at(value)];
    const size_t origin = at(program.producer[at(value)]);
    plan::Instruction copy = before.instructions[origin];
    for (int64_t &operand : copy.operands)
      if (operand >= 0 && !dropped.isThereFor(static_cast<int64_t>(origin), program.root[at(operand)], position))
        operand = resolve(operand, position);
    for (int64_t &number : copy.results) {
      result.plan.values.push_back(before.values[at(number)]);
      shapes.push_back(program.shapes[at(number)]);
      copyOf[at(number)] = static_cast<int64_t>(result.plan.values.size()) - 1;
      number = copyOf[at(number)];
    }
    result.extraFlops += program.isView(static_cast<int64_t>(origin)) ? 0 : program.flops[origin];
    append(std::move(copy), origin);
    return copyOf[at(value)];
  }
};

std::pair<Recomputation, Shapes> Dropped::materialize() const { return Copier(*this).run(); }

/// The instruction at which the most lives.
int64_t findPeak(const plan::Plan &plan, const plan::Buffers &buffers) {
  const size_t count = plan.instructions.size();
  std::vector<int64_t> change(count + 1, 0);
  for (const plan::Instruction &instruction : plan.instructions)
    for (int64_t value : instruction.results) {
      if (buffers.owner[at(value)] != value)
        continue;
      const plan::Interval &life = buffers.life[at(value)];
      change[at(life.begin)] += buffers.bytes[at(value)];
      if (life.end < static_cast<int64_t>(count))
        change[at(life.end + 1)] -= buffers.bytes[at(value)];
    }
  int64_t live = 0, most = -1, peak = 0;
  for (size_t i = 0; i < count; ++i) {
    live += change[i];
    if (live + buffers.scratchBytes[i] > most) {
      most = live + buffers.scratchBytes[i];
      peak = static_cast<int64_t>(i);
    }
  }
  return peak;
}

/// Drops values with groups of at most `groupBytes` until the limit is met or nothing is left to drop at the peak.
StatusOr<Recomputation> lowerPeak(const Program &program, int64_t limit, int64_t groupBytes, int64_t leastBytes) {
  Dropped dropped(program, groupBytes);
  std::optional<Recomputation> best;
  while (true) {
    auto [now, shapes] = dropped.materialize();
    MORPH_ASSIGN_OR_RETURN(const plan::Buffers buffers, plan::planBuffers(now.plan, shapes, program.mode));
    now.arenaBytes = buffers.arenaBytes;
    size_t peak = at(findPeak(now.plan, buffers));
    if (!best || now.arenaBytes < best->arenaBytes)
      best = now;
    if (now.arenaBytes <= limit)
      return now;
    // A copy belongs to the instruction that it is made for.
    while (Recomputation::isCopy(now.plan.instructions[peak], program.plan))
      ++peak;
    const int64_t position = static_cast<int64_t>(now.origins[peak]);

    struct Candidate {
      int64_t value;
      double cost;
    };
    std::vector<Candidate> candidates;
    for (int64_t value = 0; value < static_cast<int64_t>(program.plan.values.size()); ++value)
      if (program.bytes[at(value)] >= leastBytes && dropped.canDrop(value, position))
        if (const std::optional<double> flops = dropped.costOf(value, position))
          candidates.push_back({value, *flops / static_cast<double>(program.bytes[at(value)])});
    std::stable_sort(candidates.begin(), candidates.end(),
                     [](const Candidate &a, const Candidate &b) { return a.cost < b.cost; });
    // In steps: where a limit is far away, the peak is elsewhere before all that lives at this one is dropped.
    const int64_t wanted = std::min(now.arenaBytes - limit, now.arenaBytes / kStepShare);
    int64_t saved = 0;
    for (const Candidate &candidate : candidates) {
      if (saved >= wanted)
        break;
      if (dropped.drop(candidate.value, position))
        saved += program.bytes[at(candidate.value)];
    }
    if (saved == 0)
      return std::move(*best);
  }
}

} // namespace

StatusOr<Recomputation> chooseRecomputation(const plan::Plan &plan, const std::map<std::string, int64_t> &sizes,
                                            int64_t limit, const plan::RunMode &mode) {
  MORPH_ASSIGN_OR_RETURN(const Program program, Program::create(plan, sizes, mode));
  MORPH_ASSIGN_OR_RETURN(const plan::Buffers buffers, plan::planBuffers(plan, program.shapes, mode));
  std::optional<Recomputation> best;
  for (int i = 1; i <= kGroupSizes; ++i) {
    MORPH_ASSIGN_OR_RETURN(Recomputation found,
                           lowerPeak(program, limit, buffers.arenaBytes >> i, buffers.arenaBytes / kLeastShare));
    const bool fits = found.arenaBytes <= limit;
    if (!best || (fits && (best->arenaBytes > limit || found.extraFlops < best->extraFlops)) ||
        (!fits && found.arenaBytes < best->arenaBytes))
      best = std::move(found);
    if (best->extraFlops == 0 && best->arenaBytes <= limit)
      break;
  }
  return std::move(*best);
}

} // namespace morph
