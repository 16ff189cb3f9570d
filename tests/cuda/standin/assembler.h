// From syntax to decoded instructions.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "program.h"
#include "registers.h"
#include "syntax.h"

namespace ptx {

// What an operand stands for.
struct Value {
  enum Kind : u8 { kRegister, kConstant, kSymbol, kAddress, kVector, kSink, kLabel } kind = kSink;
  u32 reg = kNone;  // of an address: its base, or none
  bool wide = false, predicate = false, negated = false;
  bool dynamic = false;        // dynamic shared memory, whose address is not known yet
  Space space = Space::kNone;  // of a symbol; of an address, when it is one's
  u64 value = 0;               // a number; a symbol's address
  i64 offset = 0;
  std::string name;
  std::vector<Value> parts;
};

// Device functions are written into their callers, with registers of their own for each call:
// recursion is refused, and so are calls of what a register points to.
class Assembler {
 public:
  Assembler(Module& module, ModuleSyntax& syntax, Kernel& kernel)
      : module_(module), syntax_(syntax), kernel_(kernel) {}
  void Run();

  // For what encodes one instruction (encoder.h).
  Registers& registers() { return registers_; }
  Value Resolve(const Operand& operand);
  void Push(const Inst& inst, const std::string& text);
  void JumpTo(const std::string& label);  // where the instruction that is pushed next goes
  u32 Table(const std::string& name);     // of targets, by its name
  bool IsInFunction() const { return frames_.size() > 1; }

 private:
  struct Frame {
    std::string function;
    std::vector<std::map<std::string, Value>> scopes{1};
    std::map<std::string, i32> labels;
    std::vector<std::pair<size_t, std::string>> jumps;
    std::vector<std::pair<std::string, std::vector<std::string>>> tables;
    std::map<std::string, u32> table_index;
  };

  Frame& frame() { return frames_.back(); }
  [[noreturn]] static void Fail(const Statement& s, const std::string& what);
  void Body(FunctionSyntax& function);
  void One(const Statement& s);
  void DeclareRegisters(const Statement& s);
  void DeclareVariable(const Declaration& d);
  Value SharedVariable(const Declaration& d);
  Value LocalVariable(const Declaration& d);
  void ResolveLabels();

  void Instruction(const Statement& s);
  void Return(const Statement& s);
  void Call(const Statement& s);
  void Inline(const Statement& s, FunctionSyntax& callee, const std::vector<Operand>& results,
              const std::vector<Operand>& arguments);
  void Bind(const Statement& s, const std::vector<Declaration>& declared,
            const std::vector<Operand>& given, std::map<std::string, Value>& scope);
  void CallBuiltIn(const Statement& s, const std::vector<Operand>& results,
                   const std::vector<Operand>& arguments);
  u32 LoadArgument(const Statement& s, const Operand& argument);
  Inst Begin(const Statement& s);

  const Value* FindName(const std::string& name) const;
  Value ResolveName(const Operand& operand);
  Value ResolveAddress(const Operand& operand);

  Module& module_;
  ModuleSyntax& syntax_;
  Kernel& kernel_;
  Registers registers_;
  std::vector<Frame> frames_;
  std::map<std::string, Value> shared_;
};

inline void Assemble(Module& module, ModuleSyntax& syntax, Kernel& kernel) {
  Assembler(module, syntax, kernel).Run();
}

}  // namespace ptx
