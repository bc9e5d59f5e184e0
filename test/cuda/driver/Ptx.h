// SPDX-License-Identifier: Apache-2.0
// PTX text to a module: functions with their parameters, registers and instructions, and the variables of every space.
// What an instruction means is Translate's business; here it is an opcode and operands, with the line it stands in.

#ifndef MORPH_TEST_CUDA_DRIVER_PTX_H
#define MORPH_TEST_CUDA_DRIVER_PTX_H

#include "runtime/base/Status.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace morph::standin {

/// The state spaces of variables.
enum class Space { Global, Const, Shared, Local, Param };

/// Bytes of an elementary type ("u32", "bf16x2", "pred", without the dot); 0 where there is no such type.
unsigned typeBytes(std::string_view type);

/// An operand. A register or a name may be an address with an offset, or stand in a vector {a, b}.
struct Operand {
  enum class Kind { Register, Integer, Single, Double, Name, Special, Address, Vector, Discard };
  Kind kind = Kind::Discard;
  int reg = -1;               ///< Register: its place in Function::registers; of an Address -1 where it is a name.
  int second = -1;            ///< The register behind '|', of `%r1|%p1`.
  bool negated = false;       ///< `!%p1`
  uint64_t bits = 0;          ///< Integer: two's complement; Single and Double: the bits.
  std::string name;           ///< Name, Special ("%tid.x") or the name of an Address.
  int64_t offset = 0;         ///< Of an Address or a Name.
  std::vector<Operand> items; ///< Of a Vector.
};

struct Instruction {
  int line = 0;
  int predicate = -1; ///< Register of `@%p1`, or -1.
  bool predicateNegated = false;
  std::vector<std::string> opcode; ///< "ld", "global", "v2", "f32"
  std::vector<Operand> operands;
  std::string text; ///< As written, blanks made one.

  bool has(std::string_view part) const;
};

/// A label or an instruction.
struct Statement {
  std::string label; ///< Empty: an instruction.
  Instruction instruction;
  std::vector<std::string> targets; ///< Of a label that names a table of branch targets.
};

struct Register {
  std::string name, type;
};

/// A scalar or an array of bytes.
struct Variable {
  std::string name, type;
  Space space = Space::Global;
  uint64_t bytes = 0; ///< 0 of an extern array: its size comes with the launch.
  unsigned align = 1;
  bool isExtern = false;
  struct Item { ///< One element of the initial value: a number of `width` bytes, or the address of a name plus it.
    uint64_t bits = 0;
    std::string name;
  };
  unsigned width = 1;
  std::vector<Item> initial;
  int line = 0;
};

struct Function {
  std::string name;
  int line = 0;
  bool isEntry = false, isDeclaration = false;
  std::vector<Variable> parameters, results;
  std::vector<Register> registers; ///< Those that instructions name.
  std::vector<Variable> variables; ///< Local and shared ones, and parameters of calls; names are made unique.
  std::vector<Statement> body;
  uint32_t maximumThreads[3] = {0, 0, 0};  ///< .maxntid; 0: none.
  uint32_t requiredThreads[3] = {0, 0, 0}; ///< .reqntid; 0: none.
};

struct Module {
  int version = 0;            ///< 70 of `.version 7.0`
  int target = 0;             ///< 80 of `.target sm_80`
  bool targetIsExact = false; ///< `sm_90a`: this architecture and no later one.
  std::vector<Variable> variables;
  std::vector<Function> functions;
};

/// Parses a text of any origin; errors begin with "line N: ".
StatusOr<Module> parsePtx(std::string_view text);

} // namespace morph::standin

#endif // MORPH_TEST_CUDA_DRIVER_PTX_H
