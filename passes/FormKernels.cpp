// SPDX-License-Identifier: Apache-2.0
// morph-form-kernels: ops that share a row space, close in program order, become kernels that are launched.

#include "passes/Passes.h"
#include "passes/Phases.h"

#include "dialect/KernelRows.h"
#include "dialect/ProgramUpdates.h"

#include "mlir/IR/AsmState.h"
#include "mlir/IR/IRMapping.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/SetVector.h"
#include "llvm/ADT/StringMap.h"

namespace morph {
#define GEN_PASS_DEF_FORMKERNELSPASS
#include "passes/Passes.h.inc"
} // namespace morph

using namespace mlir;
using namespace morph;

namespace {

/// Elements that the lines of one kernel may have in all: its temporaries are on the stack.
constexpr int64_t kMaxLineElements = 64 * 1024;

bool isView(Operation *op) { return op && op->hasTrait<morph::OpTrait::View>(); }

/// The dimensions of the row space of an op that can be in a kernel.
std::optional<int64_t> findRows(Operation *op) {
  if (!isa<KernelOpInterface>(op))
    return std::nullopt;
  std::optional<int64_t> rows = countLeadingDynamic(getRowType(op));
  if (!rows || *rows == 0 || !explainNotRowwise(op, *rows).empty() || !KernelLines().join(op))
    return std::nullopt;
  return rows;
}

//===----------------------------------------------------------------------===//
// Kernels of a model
//===----------------------------------------------------------------------===//

/// The kernels of a model, each structure once.
class KernelPool {
public:
  explicit KernelPool(ModelOp model) : symbols(model), builder(model.getContext()) {
    for (auto kernel : model.getBody().getOps<KernelOp>())
      kernels.try_emplace(textOf(kernel), kernel);
  }

  /// The kernel that is equal to `kernel`, which is not in the model, or `kernel` itself, added with a name of its own.
  KernelOp add(KernelOp kernel, Operation *before) {
    auto [place, isNew] = kernels.try_emplace(textOf(kernel), kernel);
    if (!isNew) {
      kernel->erase();
      return place->second;
    }
    kernel.setSymName(nameOf(kernel));
    symbols.insert(kernel, before->getIterator());
    return kernel;
  }

private:
  /// What makes two kernels the same: all but the name and the locations.
  static std::string textOf(KernelOp kernel) {
    std::string text;
    llvm::raw_string_ostream stream(text);
    stream << kernel.getRows() << ' ';
    AsmState state(kernel, OpPrintingFlags().useLocalScope().enableDebugInfo(false).assumeVerified());
    for (BlockArgument argument : kernel.getBody().getArguments())
      stream << argument.getType() << ' ';
    for (Operation &op : kernel.getBody().front()) {
      op.print(stream, state);
      stream << '\n';
    }
    return text;
  }

  /// A name that says what the kernel computes: its ops, equal ones next to each other once, and its width.
  std::string nameOf(KernelOp kernel) {
    std::string name;
    StringRef last;
    int64_t count = 0;
    for (Operation &op : kernel.getBody().front().without_terminator()) {
      StringRef mnemonic = op.getName().stripDialect();
      if (isView(&op) || mnemonic == last)
        continue;
      if (++count <= 4)
        name += (name.empty() ? "" : "_") + mnemonic.str();
      last = mnemonic;
    }
    name += "_" + std::to_string(kernel.getRowElements());
    std::string unique = name;
    for (int64_t i = 1; symbols.lookup(unique); ++i)
      unique = name + "_" + std::to_string(i);
    return unique;
  }

  SymbolTable symbols;
  OpBuilder builder;
  llvm::StringMap<KernelOp> kernels;
};

//===----------------------------------------------------------------------===//
// Clusters
//===----------------------------------------------------------------------===//

/// The order of a block's ops while they are moved. MLIR's own is made anew, for the whole block, after every move.
class BlockOrder {
public:
  explicit BlockOrder(Block &block) : block(block) { number(); }

  bool isBefore(Operation *a, Operation *b) const { return places.lookup(a) < places.lookup(b); }

  void moveAfter(Operation *op, Operation *after) {
    if (op == after)
      return;
    op->moveAfter(after);
    int64_t low = places.lookup(after), high = op->getNextNode() ? places.lookup(op->getNextNode()) : low + kGap;
    if (high - low < 2)
      return number();
    places[op] = low + (high - low) / 2;
  }

  void moveToFront(Operation *op) {
    op->moveBefore(&block, block.begin());
    places[op] = places.lookup(op->getNextNode()) - kGap;
  }

private:
  static constexpr int64_t kGap = int64_t(1) << 32;

  void number() {
    int64_t place = 0;
    for (Operation &op : block)
      places[&op] = place += kGap;
  }

  Block &block;
  llvm::DenseMap<Operation *, int64_t> places;
};

/// Ops that become a kernel; they stand next to each other in the block.
struct Cluster {
  SmallVector<Operation *> ops;
  int64_t rows = 0;
  int64_t elements = 0;
  KernelLines lines;

  Operation *front() const { return ops.front(); }
  Operation *back() const { return ops.back(); }
};

class Clustering {
public:
  Clustering(Block &block, const ProgramUpdates &updates, KernelPool &pool)
      : block(block), updates(updates), pool(pool) {}

  void run() {
    SmallVector<Operation *> candidates;
    for (Operation &op : block.without_terminator())
      if (!isView(&op) && !op.use_empty() && findRows(&op))
        candidates.push_back(&op);
    for (Operation *op : candidates)
      ownViews(op);
    for (Operation *op : llvm::make_early_inc_range(llvm::reverse(views)))
      if (op->use_empty())
        op->erase();
    order.emplace(block);
    for (Operation *op : candidates)
      start(op);
    for (Operation *op : candidates)
      grow(op);
    SmallVector<Cluster *> whole;
    for (Operation *op : candidates)
      if (Cluster *cluster = owner.lookup(op); cluster->back() == op)
        whole.push_back(cluster);
    for (Cluster *cluster : whole)
      outline(*cluster);
  }

private:
  /// Gives an op views of its own, right before it: outside of kernels views cost nothing, in them neither, but a view
  /// that others read as well would have to be a result.
  void ownViews(Operation *op) {
    for (OpOperand &operand : op->getOpOperands()) {
      SmallVector<Operation *> chain;
      for (Operation *view = operand.get().getDefiningOp(); isView(view) && findRows(view);
           view = view->getOperand(0).getDefiningOp())
        chain.push_back(view);
      if (chain.empty())
        continue;
      OpBuilder builder(op);
      Value value = chain.back()->getOperand(0);
      for (Operation *view : llvm::reverse(chain)) {
        views.insert(view);
        IRMapping mapping;
        mapping.map(view->getOperand(0), value);
        Operation *own = builder.clone(*view, mapping);
        value = own->getResult(0);
        ownedViews[op].push_back(own);
      }
      operand.set(value);
    }
  }

  void start(Operation *op) {
    Cluster &cluster = *clusters.emplace_back(std::make_unique<Cluster>());
    cluster.rows = *findRows(op);
    cluster.elements = *getRowElements(getRowType(op), cluster.rows);
    cluster.ops = ownedViews.lookup(op);
    cluster.ops.push_back(op);
    cluster.lines.join(op);
    for (Operation *member : cluster.ops)
      owner[member] = &cluster;
  }

  /// Joins an op's cluster with those of its producers, the nearest first, then with those that read what it reads.
  void grow(Operation *op) {
    llvm::SmallSetVector<Operation *, 4> producers, siblings;
    for (Value operand : externalOperands(*owner[op])) {
      if (!isRow(operand))
        continue;
      Operation *definition = operand.getDefiningOp();
      if (owner.count(definition))
        producers.insert(definition);
      for (Operation *user : operand.getUsers())
        if (owner.count(user) && order->isBefore(user, owner[op]->front()))
          siblings.insert(user);
    }
    auto joinAll = [&](llvm::SmallSetVector<Operation *, 4> &others, bool mustBeNear) {
      SmallVector<Operation *> nearest = others.takeVector();
      llvm::sort(nearest, [&](Operation *a, Operation *b) { return order->isBefore(b, a); });
      for (Operation *other : nearest) {
        Cluster *first = owner[other], *second = owner[op];
        if (first != second && order->isBefore(first->back(), second->front()))
          join(*first, *second, mustBeNear);
      }
    };
    joinAll(producers, /*mustBeNear=*/false);
    joinAll(siblings, /*mustBeNear=*/true);
  }

  static bool isRow(Value value) { return !isUniform(value.getType()); }
  /// An op that can be anywhere before its users.
  static bool floats(Operation *op) { return op->getNumOperands() == 0; }

  SmallVector<Value> externalOperands(const Cluster &cluster) const {
    llvm::SmallSetVector<Value, 8> operands;
    for (Operation *op : cluster.ops)
      for (Value operand : op->getOperands())
        if (owner.lookup(operand.getDefiningOp()) != &cluster || !operand.getDefiningOp())
          operands.insert(operand);
    return operands.takeVector();
  }

  /// The cluster's values that ops outside of it read.
  SmallVector<Value> externalResults(const Cluster &cluster) const {
    SmallVector<Value> results;
    for (Operation *op : cluster.ops)
      for (Value result : op->getResults())
        if (llvm::any_of(result.getUsers(), [&](Operation *user) { return owner.lookup(user) != &cluster; }))
          results.push_back(result);
    return results;
  }

  /// Whether no op after the cluster reads a value, or a view of it.
  bool endsIn(Value value, const Cluster &cluster) const {
    return llvm::all_of(value.getUsers(), [&](Operation *user) {
      if (owner.lookup(user) == &cluster)
        return true;
      if (isView(user) && !owner.count(user))
        return endsIn(user->getResult(0), cluster);
      return order->isBefore(user, cluster.front());
    });
  }

  /// Whether `second` reads a result of `first` that is an output of the program: who gives that value to a later run
  /// need not compute it, so that it is not made together with what is computed of it.
  bool endsInOutput(const Cluster &first, const Cluster &second) const {
    return llvm::any_of(externalOperands(second), [&](Value operand) {
      return owner.lookup(operand.getDefiningOp()) == &first && operand.getDefiningOp() &&
             llvm::any_of(operand.getUsers(), [](Operation *user) { return isa<OutputOp>(user); });
    });
  }

  /// Bits a row and element of the rows among values that `keep` accepts.
  template <typename Predicate> int64_t weigh(ArrayRef<Value> values, Predicate keep) const {
    int64_t bits = 0;
    for (Value value : values)
      if (isRow(value) && keep(value))
        bits += getElementTypeOrSelf(value.getType()).getIntOrFloatBitWidth();
    return bits;
  }

  /// Makes `first` and `second`, which follows it, one cluster where the block allows it and no more memory lives.
  void join(Cluster &first, Cluster &second, bool mustBeNear) {
    if (first.rows != second.rows || first.elements != second.elements || endsInOutput(first, second))
      return;
    KernelLines lines = first.lines;
    for (Operation *op : second.ops)
      if (!lines.join(op))
        return;
    // What an op needs that is only there after all rows, it does not get in the kernel.
    for (Value operand : externalOperands(second))
      if (isRowSum(operand) && owner.lookup(operand.getDefiningOp()) == &first)
        return;
    if (lines.sum * int64_t(first.ops.size() + second.ops.size()) > kMaxLineElements)
      return;

    // The place is after all that the second needs, before all that needs the first and before all that updates what
    // the first reads.
    Operation *needed = first.back(), *needing = second.front();
    SmallVector<Operation *> floating;
    for (Value operand : externalOperands(second)) {
      Operation *definition = operand.getDefiningOp();
      if (!definition || !order->isBefore(needed, definition))
        continue;
      if (floats(definition))
        floating.push_back(definition);
      else
        needed = definition;
    }
    for (Value result : externalResults(first))
      for (Operation *user : result.getUsers())
        if (owner.lookup(user) != &second && order->isBefore(user, needing))
          needing = user;
    for (Value operand : externalOperands(first))
      for (Operation *update : updates.find(operand))
        if (order->isBefore(first.back(), update) && order->isBefore(update, needing))
          needing = update;
    if (needed != first.back() && !order->isBefore(needed, needing))
      return;

    // Moving past ops that make rows must not keep more memory alive.
    auto makesRows = [&](Operation *from, Operation *to) {
      for (Operation *op = from->getNextNode(); op != to; op = op->getNextNode())
        if (!floats(op) && !isView(op) && llvm::any_of(op->getResults(), isRow))
          return true;
      return false;
    };
    bool isNear = !makesRows(first.back(), second.front());
    if (!isNear) {
      if (mustBeNear)
        return;
      auto all = [](Value) { return true; };
      bool canRaise = weigh(externalResults(second), all) <=
                      weigh(externalOperands(second), [&](Value value) { return endsIn(value, second); });
      bool canSink = weigh(externalOperands(first), [&](Value value) { return endsIn(value, first); }) <=
                     weigh(externalResults(first), all);
      bool mustSink = needed != first.back(), mustRaise = needing != second.front();
      if (!mustSink && canRaise)
        needed = first.back();
      else if (!mustRaise && canSink)
        // What is about to go to the front is no place to follow.
        for (needed = second.front()->getPrevNode(); llvm::is_contained(floating, needed);)
          needed = needed->getPrevNode();
      else if (!mustSink || (!canSink && makesRows(first.back(), needed->getNextNode())) ||
               (!canRaise && makesRows(needed, second.front())))
        return;
    }

    for (Operation *op : floating)
      order->moveToFront(op);
    Operation *last = needed;
    if (needed != first.back())
      for (Operation *op : first.ops) {
        order->moveAfter(op, last);
        last = op;
      }
    for (Operation *op : second.ops) {
      order->moveAfter(op, last);
      last = op;
      owner[op] = &first;
    }
    first.ops.append(second.ops);
    first.lines = lines;
    second.ops.clear();
  }

  void outline(Cluster &cluster) {
    SmallVector<Value> operands = externalOperands(cluster), results = externalResults(cluster);
    if (results.empty())
      return;
    OpBuilder builder(cluster.front());
    Location location = cluster.back()->getLoc();
    OpBuilder detached(builder.getContext());
    auto kernel = detached.create<KernelOp>(location, "kernel", cluster.rows);
    Block &body = kernel.getBody().emplaceBlock();
    IRMapping mapping;
    for (Value operand : operands)
      mapping.map(operand, body.addArgument(operand.getType(), operand.getLoc()));
    OpBuilder inner = OpBuilder::atBlockEnd(&body);
    for (Operation *op : cluster.ops)
      inner.clone(*op, mapping);
    SmallVector<Value> returned;
    for (Value result : results)
      returned.push_back(mapping.lookup(result));
    inner.create<ReturnOp>(location, returned);

    kernel = pool.add(kernel, block.getParentOp());
    auto launch = builder.create<LaunchOp>(location, ValueRange(results).getTypes(), kernel.getSymName(), operands);
    for (auto [result, value] : llvm::zip_equal(results, launch.getResults()))
      result.replaceAllUsesWith(value);
    for (Operation *op : llvm::reverse(cluster.ops)) {
      owner.erase(op);
      op->erase();
    }
    cluster.ops.clear();
  }

  Block &block;
  const ProgramUpdates &updates;
  KernelPool &pool;
  std::optional<BlockOrder> order;
  llvm::SetVector<Operation *> views; ///< Whose users may all have got views of their own.
  llvm::DenseMap<Operation *, SmallVector<Operation *>> ownedViews;
  std::vector<std::unique_ptr<Cluster>> clusters;
  llvm::DenseMap<Operation *, Cluster *> owner;
};

struct FormKernelsPass : public morph::impl::FormKernelsPassBase<FormKernelsPass> {
  using FormKernelsPassBase::FormKernelsPassBase;

  void runOnOperation() override {
    ModelOp model = getOperation();
    if (!program.empty() && !findProgram(model, program)) {
      emitModelError(model) << "has no program '" << program << "' to form kernels in";
      return signalPassFailure();
    }
    KernelPool pool(model);
    for (auto candidate : llvm::make_early_inc_range(model.getBody().getOps<ProgramOp>()))
      if (program.empty() || candidate.getSymName() == program) {
        FailureOr<ProgramUpdates> updates = ProgramUpdates::create(candidate);
        if (failed(updates))
          return signalPassFailure();
        Clustering(candidate.getBlock(), *updates, pool).run();
      }
  }
};

} // namespace
