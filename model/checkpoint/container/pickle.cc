#include "model/checkpoint/container/pickle.h"

#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/error_text.h"
#include "base/status_macros.h"
#include "model/checkpoint/container/pickle_opcode.h"
#include "model/checkpoint/container/pickle_scanner.h"
#include "model/checkpoint/container/pickle_stack.h"

namespace peerage {
namespace {

constexpr size_t kMaxGlobals = 65'536;

absl::Status Fault(absl::string_view what) { return absl::InvalidArgumentError(what); }

// Runs a pickle's instructions on a stack of values.
class PickleMachine {
 public:
  PickleMachine(std::vector<uint8_t> bytes, const PickleLimits& limits)
      : limits_(limits), contents_{.bytes = std::move(bytes)}, scanner_(contents_.bytes) {}

  absl::Status Run() {
    for (bool stopped = false; !stopped;) {
      instruction_ = contents_.bytes.size() - scanner_.remaining();
      const absl::StatusOr<bool> result = Step();
      if (!result.ok()) return At(absl::StrCat("pickle byte ", instruction_), result.status());
      stopped = *result;
    }
    return absl::OkStatus();
  }

  PickleContents Take() { return std::move(contents_); }

 private:
  // Whether it was the last instruction.
  absl::StatusOr<bool> Step() {
    ASSIGN_OR_RETURN(const uint8_t byte, scanner_.Number<uint8_t>());
    const auto opcode = static_cast<PickleOpcode>(byte);
    if (opcode == PickleOpcode::kStop) return Stop();
    absl::Status status = absl::UnimplementedError("");
    for (auto group : {&PickleMachine::Literal, &PickleMachine::Container, &PickleMachine::Object,
                       &PickleMachine::Bookkeeping}) {
      status = (this->*group)(opcode);
      if (!absl::IsUnimplemented(status)) break;
    }
    if (status.ok()) return false;
    if (!absl::IsUnimplemented(status)) return status;
    return Fault(absl::StrFormat("instruction 0x%02x is not one of plain values", byte));
  }

  absl::Status Literal(PickleOpcode opcode) {
    switch (opcode) {
      case PickleOpcode::kNone:
        return Push({.kind = PickleKind::kNone});
      case PickleOpcode::kNewTrue:
      case PickleOpcode::kNewFalse:
        return Push({.kind = PickleKind::kBool, .integer = opcode == PickleOpcode::kNewTrue});
      case PickleOpcode::kBinInt:
        return PushInteger<int32_t>();
      case PickleOpcode::kBinInt1:
        return PushInteger<uint8_t>();
      case PickleOpcode::kBinInt2:
        return PushInteger<uint16_t>();
      case PickleOpcode::kLong1:
        return PushLong<uint8_t>();
      case PickleOpcode::kLong4:
        return PushLong<uint32_t>();
      case PickleOpcode::kBinFloat:
        RETURN_IF_ERROR(scanner_.Text(sizeof(double)).status());
        return Push({.kind = PickleKind::kNumber});
      case PickleOpcode::kShortBinUnicode:
        return PushText<uint8_t>(PickleKind::kString);
      case PickleOpcode::kBinUnicode:
        return PushText<uint32_t>(PickleKind::kString);
      case PickleOpcode::kBinUnicode8:
        return PushText<uint64_t>(PickleKind::kString);
      case PickleOpcode::kShortBinString:
      case PickleOpcode::kShortBinBytes:
        return PushText<uint8_t>(PickleKind::kBytes);
      case PickleOpcode::kBinBytes:
        return PushText<uint32_t>(PickleKind::kBytes);
      case PickleOpcode::kBinBytes8:
      case PickleOpcode::kByteArray8:
        return PushText<uint64_t>(PickleKind::kBytes);
      default:
        return absl::UnimplementedError("");
    }
  }

  absl::Status Container(PickleOpcode opcode) {
    switch (opcode) {
      case PickleOpcode::kEmptyTuple:
        return Push({.kind = PickleKind::kTuple});
      case PickleOpcode::kEmptyList:
        return Push({.kind = PickleKind::kList});
      case PickleOpcode::kEmptySet:
        return Push({.kind = PickleKind::kSet});
      case PickleOpcode::kEmptyDict:
        return Push({.kind = PickleKind::kDict});
      case PickleOpcode::kTuple1:
        return PushTuple(1);
      case PickleOpcode::kTuple2:
        return PushTuple(2);
      case PickleOpcode::kTuple3:
        return PushTuple(3);
      case PickleOpcode::kTuple:
        return PushMarked(PickleKind::kTuple);
      case PickleOpcode::kFrozenSet:
        return PushMarked(PickleKind::kSet);
      case PickleOpcode::kAppend:
        return AddTop(1, PickleKind::kList);
      case PickleOpcode::kSetItem:
        return AddTop(2, PickleKind::kDict);
      case PickleOpcode::kAppends:
        return AddMarked(PickleKind::kList);
      case PickleOpcode::kAddItems:
        return AddMarked(PickleKind::kSet);
      case PickleOpcode::kSetItems:
        return AddMarked(PickleKind::kDict);
      default:
        return absl::UnimplementedError("");
    }
  }

  absl::Status Object(PickleOpcode opcode) {
    switch (opcode) {
      case PickleOpcode::kGlobal:
        return PushGlobal();
      case PickleOpcode::kStackGlobal:
        return PushStackGlobal();
      case PickleOpcode::kReduce:
        return PushCall(/*makes_object=*/false);
      case PickleOpcode::kNewObj:
        return PushCall(/*makes_object=*/true);
      case PickleOpcode::kBuild:
        return Build();
      case PickleOpcode::kBinPersId: {
        ASSIGN_OR_RETURN(const uint32_t id, stack_.Pop());
        return Push({.kind = PickleKind::kPersistent, .items = {id}});
      }
      default:
        return absl::UnimplementedError("");
    }
  }

  absl::Status Bookkeeping(PickleOpcode opcode) {
    switch (opcode) {
      case PickleOpcode::kProto:
        return CheckProtocol();
      case PickleOpcode::kFrame:
        return CheckFrame();
      case PickleOpcode::kMark:
        return stack_.Mark();
      case PickleOpcode::kPop:
        return stack_.Pop().status();
      case PickleOpcode::kPopMark:
        return stack_.PopMarked().status();
      case PickleOpcode::kDup: {
        ASSIGN_OR_RETURN(const uint32_t top, stack_.Top());
        stack_.Push(top);
        return absl::OkStatus();
      }
      case PickleOpcode::kBinPut:
        return Keep<uint8_t>();
      case PickleOpcode::kLongBinPut:
        return Keep<uint32_t>();
      case PickleOpcode::kMemoize:
        return stack_.Keep(stack_.next_number());
      case PickleOpcode::kBinGet:
        return PushKept<uint8_t>();
      case PickleOpcode::kLongBinGet:
        return PushKept<uint32_t>();
      default:
        return absl::UnimplementedError("");
    }
  }

  // ---- Values ----

  absl::Status Push(PickleValue value) {
    if (contents_.values.size() >= limits_.max_values) {
      return Fault(absl::StrCat("more than ", limits_.max_values, " values"));
    }
    value.offset = instruction_;
    stack_.Push(static_cast<uint32_t>(contents_.values.size()));
    contents_.values.push_back(std::move(value));
    return absl::OkStatus();
  }

  template <typename T>
  absl::Status PushInteger() {
    ASSIGN_OR_RETURN(const T value, scanner_.Number<T>());
    return Push({.kind = PickleKind::kInteger, .integer = value});
  }

  // Two's complement, least significant byte first.
  template <typename Length>
  absl::Status PushLong() {
    ASSIGN_OR_RETURN(const Length length, scanner_.Number<Length>());
    ASSIGN_OR_RETURN(const absl::string_view bytes, scanner_.Text(length));
    if (bytes.size() > sizeof(int64_t)) return Push({.kind = PickleKind::kNumber});
    const bool negative = !bytes.empty() && (bytes.back() & 0x80) != 0;
    uint64_t value = negative ? ~uint64_t{0} : 0;
    for (size_t i = bytes.size(); i-- > 0;) value = value << 8 | static_cast<uint8_t>(bytes[i]);
    return Push({.kind = PickleKind::kInteger, .integer = static_cast<int64_t>(value)});
  }

  template <typename Length>
  absl::Status PushText(PickleKind kind) {
    ASSIGN_OR_RETURN(const Length length, scanner_.Number<Length>());
    ASSIGN_OR_RETURN(const absl::string_view text, scanner_.Text(length));
    return Push({.kind = kind, .text = text});
  }

  absl::Status PushTuple(size_t count) {
    ASSIGN_OR_RETURN(std::vector<uint32_t> items, stack_.Pop(count));
    return Push({.kind = PickleKind::kTuple, .items = std::move(items)});
  }

  absl::Status PushMarked(PickleKind kind) {
    ASSIGN_OR_RETURN(std::vector<uint32_t> items, stack_.PopMarked());
    return Push({.kind = kind, .items = std::move(items)});
  }

  // A new object takes what lists and dicts take: an OrderedDict is filled like a dict.
  absl::Status Add(const std::vector<uint32_t>& items, PickleKind kind) {
    ASSIGN_OR_RETURN(const uint32_t target, stack_.Top());
    PickleValue& value = contents_.values[target];
    if (value.kind != kind && value.kind != PickleKind::kCall) {
      return Fault("adds to a value that takes no such things");
    }
    if (kind == PickleKind::kDict && items.size() % 2 != 0) return Fault("a key without a value");
    value.items.insert(value.items.end(), items.begin(), items.end());
    return absl::OkStatus();
  }

  absl::Status AddTop(size_t count, PickleKind kind) {
    ASSIGN_OR_RETURN(const std::vector<uint32_t> items, stack_.Pop(count));
    return Add(items, kind);
  }

  absl::Status AddMarked(PickleKind kind) {
    ASSIGN_OR_RETURN(const std::vector<uint32_t> items, stack_.PopMarked());
    return Add(items, kind);
  }

  absl::Status PushGlobal() {
    ASSIGN_OR_RETURN(const absl::string_view module, scanner_.Line());
    ASSIGN_OR_RETURN(const absl::string_view name, scanner_.Line());
    return PushGlobalNamed(module, name);
  }

  absl::Status PushStackGlobal() {
    ASSIGN_OR_RETURN(const std::vector<uint32_t> names, stack_.Pop(2));
    const PickleValue& module = contents_.values[names[0]];
    const PickleValue& name = contents_.values[names[1]];
    if (module.kind != PickleKind::kString || name.kind != PickleKind::kString ||
        module.text.size() > PickleScanner::kMaxLineBytes ||
        name.text.size() > PickleScanner::kMaxLineBytes) {
      return Fault("a global whose name is no short string");
    }
    return PushGlobalNamed(module.text, name.text);
  }

  absl::Status PushGlobalNamed(absl::string_view module, absl::string_view name) {
    if (contents_.globals.size() == kMaxGlobals) {
      return Fault(absl::StrCat("more than ", kMaxGlobals, " globals"));
    }
    contents_.globals.push_back(absl::StrCat(module, ".", name));
    return Push({.kind = PickleKind::kGlobal, .text = contents_.globals.back()});
  }

  absl::Status PushCall(bool makes_object) {
    ASSIGN_OR_RETURN(const std::vector<uint32_t> call, stack_.Pop(2));
    if (contents_.values[call[0]].kind != PickleKind::kGlobal ||
        contents_.values[call[1]].kind != PickleKind::kTuple) {
      return Fault("calls what is not the name of a class or function");
    }
    return Push({.kind = PickleKind::kCall,
                 .makes_object = makes_object,
                 .callee = call[0],
                 .arguments = call[1]});
  }

  absl::Status Build() {
    ASSIGN_OR_RETURN(const uint32_t state, stack_.Pop());
    ASSIGN_OR_RETURN(const uint32_t target, stack_.Top());
    PickleValue& value = contents_.values[target];
    if (value.kind != PickleKind::kCall && value.kind != PickleKind::kDict) {
      return Fault("sets attributes of a value that has none");
    }
    value.states.push_back(state);
    return absl::OkStatus();
  }

  // ---- Memo and ends ----

  template <typename Index>
  absl::Status Keep() {
    ASSIGN_OR_RETURN(const Index index, scanner_.Number<Index>());
    return stack_.Keep(index);
  }

  template <typename Index>
  absl::Status PushKept() {
    ASSIGN_OR_RETURN(const Index index, scanner_.Number<Index>());
    return stack_.PushKept(index);
  }

  absl::Status CheckProtocol() {
    ASSIGN_OR_RETURN(const uint8_t protocol, scanner_.Number<uint8_t>());
    if (protocol >= 2 && protocol <= 5) return absl::OkStatus();
    return Fault(absl::StrCat("pickle protocol ", protocol, "; 2 to 5 are read"));
  }

  // Frames only tell a stream's reader how much to read.
  absl::Status CheckFrame() {
    ASSIGN_OR_RETURN(const uint64_t length, scanner_.Number<uint64_t>());
    if (length <= scanner_.remaining()) return absl::OkStatus();
    return Fault(absl::StrCat("a frame of ", length, " bytes, ", scanner_.remaining(), " left"));
  }

  absl::StatusOr<bool> Stop() {
    if (!stack_.IsDone()) return Fault("ends with other than one value");
    if (scanner_.remaining() > 0) {
      return Fault(absl::StrCat("ends ", scanner_.remaining(), " bytes too early"));
    }
    ASSIGN_OR_RETURN(contents_.root, stack_.Top());
    return true;
  }

  const PickleLimits limits_;
  PickleContents contents_;
  PickleScanner scanner_;
  PickleStack stack_;
  uint64_t instruction_ = 0;  // where it began
};

}  // namespace

absl::StatusOr<PickleContents> ReadPickle(std::vector<uint8_t> bytes, const PickleLimits& limits) {
  PickleMachine machine(std::move(bytes), limits);
  RETURN_IF_ERROR(machine.Run());
  return machine.Take();
}

}  // namespace peerage
