// From PTX text to decoded instructions.
#include <algorithm>
#include <cctype>
#include <cstring>
#include <optional>

#include "ops.h"

namespace ptx {

// Index in this list: what Execute fills the register with.
const char* const kSpecials[] = {"%tid.x",    "%tid.y",    "%tid.z",   "%ntid.x",  "%ntid.y",
                                 "%ntid.z",   "%ctaid.x",  "%ctaid.y", "%ctaid.z", "%nctaid.x",
                                 "%nctaid.y", "%nctaid.z", "%laneid",  "%warpid"};

namespace {

enum class Type : u8 {
  kNone,
  u8_,
  u16_,
  u32_,
  u64_,
  s8,
  s16,
  s32,
  s64,
  b8,
  b16,
  b32,
  b64,
  f16,
  bf16,
  f32,
  f64,
  pred,
  f16x2,
  bf16x2
};

Type TypeOf(const std::string& s) {
  static const std::map<std::string, Type> types{
      {"u8", Type::u8_},    {"u16", Type::u16_},    {"u32", Type::u32_},     {"u64", Type::u64_},
      {"s8", Type::s8},     {"s16", Type::s16},     {"s32", Type::s32},      {"s64", Type::s64},
      {"b8", Type::b8},     {"b16", Type::b16},     {"b32", Type::b32},      {"b64", Type::b64},
      {"f16", Type::f16},   {"bf16", Type::bf16},   {"f32", Type::f32},      {"f64", Type::f64},
      {"pred", Type::pred}, {"f16x2", Type::f16x2}, {"bf16x2", Type::bf16x2}};
  const auto found = types.find(s);
  return found == types.end() ? Type::kNone : found->second;
}
int SizeOf(Type t) {
  switch (t) {
    case Type::u8_:
    case Type::s8:
    case Type::b8:
    case Type::pred:
      return 1;
    case Type::u16_:
    case Type::s16:
    case Type::b16:
    case Type::f16:
    case Type::bf16:
      return 2;
    case Type::u64_:
    case Type::s64:
    case Type::b64:
    case Type::f64:
      return 8;
    default:
      return 4;
  }
}
bool IsSigned(Type t) {
  return t == Type::s8 || t == Type::s16 || t == Type::s32 || t == Type::s64;
}

class Lexer {
 public:
  Lexer(const std::string& text, size_t at, int line) : s_(text), p_(at), line_(line) {}

  std::string Next() {
    Skip();
    if (p_ >= s_.size()) return "";
    const size_t b = p_;
    if (s_[p_] == '"') {
      p_ = s_.find('"', p_ + 1) + 1;
    } else if (IsName(s_[p_])) {
      while (p_ < s_.size() && IsName(s_[p_])) ++p_;
    } else {
      ++p_;
    }
    return s_.substr(b, p_ - b);
  }
  std::string Peek() {
    const size_t p = p_;
    const int line = line_;
    std::string t = Next();
    p_ = p;
    line_ = line;
    return t;
  }
  void Expect(const std::string& t) {
    const std::string got = Next();
    if (got != t) Fail("expected " + t + ", found " + got);
  }
  void SkipPast(char c) {
    while (p_ < s_.size() && s_[p_] != c) line_ += s_[p_++] == '\n';
    line_ += p_ < s_.size() && s_[p_] == '\n';
    ++p_;
  }
  [[noreturn]] void Fail(const std::string& what) const {
    throw Error("PTX line " + std::to_string(line_) + ": " + what);
  }
  size_t at() const { return p_; }
  int line() const { return line_; }
  std::string Slice(size_t b) const { return s_.substr(b, p_ - b); }

 private:
  static bool IsName(char c) {
    return std::isalnum(static_cast<u8>(c)) || c == '_' || c == '$' || c == '%' || c == '.';
  }
  void Skip() {
    for (;;) {
      while (p_ < s_.size() && std::isspace(static_cast<u8>(s_[p_]))) line_ += s_[p_++] == '\n';
      if (s_.compare(p_, 2, "//") != 0) return;
      while (p_ < s_.size() && s_[p_] != '\n') ++p_;
    }
  }
  const std::string& s_;
  size_t p_;
  int line_;
};

struct Declaration {
  Type type = Type::kNone;
  u32 align = 0;
  u64 count = 1;
  std::string name;
  u64 bytes() const { return count * SizeOf(type); }
};
Declaration Declare(Lexer& in) {
  Declaration d;
  for (;;) {
    std::string t = in.Next();
    if (t == ".align")
      d.align = std::stoul(in.Next());
    else if (t == ".ptr" || t == ".global" || t == ".const" || t == ".shared")
      continue;
    else if (t[0] == '.')
      d.type = TypeOf(t.substr(1));
    else {
      d.name = t;
      break;
    }
  }
  if (d.type == Type::kNone) in.Fail("a declaration of unknown type: " + d.name);
  if (in.Peek() == "[") {
    in.Next();
    const std::string n = in.Next();
    d.count = n == "]" ? 0 : std::stoull(n);
    if (n != "]") in.Expect("]");
  }
  if (d.align == 0) d.align = SizeOf(d.type);
  return d;
}
u32 Align(u32 x, u32 a) { return (x + a - 1) / a * a; }

// An opcode's modifiers: what nobody takes is refused.
class Modifiers {
 public:
  explicit Modifiers(const std::string& op) {
    size_t b = 0;
    for (;;) {
      const size_t e = op.find('.', b);
      if (op.compare(e == std::string::npos ? b : e, 2, "::") != 0)
        parts_.push_back(op.substr(b, e - b));
      if (e == std::string::npos) break;
      b = e + 1;
    }
    base_ = parts_.front();
    parts_.erase(parts_.begin());
  }
  const std::string& base() const { return base_; }
  bool Take(const std::string& m) {
    const auto found = std::find(parts_.begin(), parts_.end(), m);
    if (found == parts_.end()) return false;
    parts_.erase(found);
    return true;
  }
  // Index of the one that is there, or -1.
  int TakeOne(std::initializer_list<const char*> names) {
    int index = 0;
    for (const char* name : names) {
      if (Take(name)) return index;
      ++index;
    }
    return -1;
  }
  Type TakeType() {
    for (auto it = parts_.begin(); it != parts_.end(); ++it) {
      if (const Type t = TypeOf(*it); t != Type::kNone) {
        parts_.erase(it);
        return t;
      }
    }
    return Type::kNone;
  }
  bool empty() const { return parts_.empty(); }
  std::string rest() const { return parts_.empty() ? "" : parts_.front(); }

 private:
  std::string base_;
  std::vector<std::string> parts_;
};

struct Operand {
  enum Kind { kRegister, kImmediate, kAddress, kVector, kSymbol, kSink, kLabel } kind = kImmediate;
  u32 reg = kNone;
  bool wide = false, predicate = false, negated = false;
  u64 value = 0;
  i64 offset = 0;
  std::string name;
  std::vector<Operand> parts;
};

}  // namespace

class Decoder {
 public:
  Decoder(Module& module, Kernel& kernel, const Module::Source& source)
      : m_(module), k_(kernel), source_(source), in_(*source.text, source.begin, source.line) {}

  void Run() {
    scopes_.emplace_back();
    int depth = 1;
    while (depth > 0) {
      const std::string t = in_.Next();
      if (t.empty()) in_.Fail("unexpected end");
      if (t == "{") {
        ++depth;
        scopes_.emplace_back();
      } else if (t == "}") {
        --depth;
        scopes_.pop_back();
      } else if (t == ".reg")
        Registers();
      else if (t == ".shared")
        Shared();
      else if (t == ".loc") {
        const int file = std::stoi(in_.Next());
        src_ = file << 16 | std::stoi(in_.Next());
        in_.SkipPast('\n');
      } else if (t == ".pragma")
        in_.SkipPast(';');
      else if (t == ".local")
        in_.Fail("local memory (spilled or indexed arrays) is refused");
      else if (t[0] == '.')
        in_.Fail("unknown directive " + t);
      else if (t[0] == '$' && in_.Peek() == ":") {
        in_.Next();
        labels_[t] = static_cast<i32>(k_.code.size());
      } else
        Instruction(t);
    }
    for (const auto& [at, label] : jumps_) {
      const auto found = labels_.find(label);
      if (found == labels_.end()) throw Error("unknown label " + label);
      k_.code[at].target = found->second;
    }
    Inst end;
    end.kind = Kind::kExit;
    k_.code.push_back(end);
    k_.text.push_back("end");
    PlaceRegisters();
    k_.decoded = true;
  }

 private:
  struct Register {
    u32 at = 0;
    bool wide = false, predicate = false;
  };

  u32 NewRegister(bool wide) {
    const u32 at = bytes_;
    bytes_ += wide ? 256 : 128;
    widths_[at] = wide ? 256 : 128;
    return at;
  }
  // PTX writes most registers once, so a kernel has thousands. Those that live within one run of
  // straight code share places, or a warp's registers would not stay in the cache. (Lanes that are
  // elsewhere keep theirs: an instruction writes only lanes that take part.)
  void PlaceRegisters() {
    const size_t n = k_.code.size();
    std::vector<bool> leader(n + 1, false);
    for (size_t i = 0; i < n; ++i) {
      if (k_.code[i].kind != Kind::kBranch) continue;
      leader[i + 1] = true;
      leader[k_.code[i].target] = true;
    }
    struct Life {
      int first = -1, last = -1, run = -1;
      bool local = true;
    };
    std::map<u32, Life> lives;
    const auto visit = [](Inst& inst, auto f) {
      for (u32& r : inst.r)
        if (r != kNone) f(r);
      if (inst.guard != kNone) f(inst.guard);
      if (inst.members != kNone) f(inst.members);
    };
    int run = 0;
    for (size_t i = 0; i < n; ++i) {
      run += leader[i];
      visit(k_.code[i], [&](u32 r) {
        Life& l = lives[r];
        if (l.first < 0) l.first = static_cast<int>(i), l.run = run;
        l.last = static_cast<int>(i);
        l.local = l.local && l.run == run;
      });
    }
    for (const Kernel::Constant& c : k_.constants) lives[c.at].local = false;
    for (const auto& [at, which] : k_.specials) lives[at].local = false;
    std::map<u32, u32> place;
    u32 bytes = 0;
    for (const auto& [r, l] : lives) {
      if (!widths_.contains(r)) continue;
      if (!l.local) place[r] = bytes, bytes += widths_[r];
    }
    for (const auto& [r, l] : lives) {  // predicates
      if (!widths_.contains(r)) place[r] = bytes, bytes += 4;
    }
    bytes = Align(bytes, 128);
    std::map<u32, std::vector<u32>> unused;  // by width
    std::vector<std::vector<u32>> ending(n);
    for (size_t i = 0; i < n; ++i) {
      visit(k_.code[i], [&](u32 r) {
        const Life& l = lives[r];
        if (place.contains(r)) return;
        auto& free = unused[widths_[r]];
        if (free.empty()) {
          place[r] = bytes;
          bytes += widths_[r];
        } else {
          place[r] = free.back();
          free.pop_back();
        }
        ending[l.last].push_back(r);
      });
      for (const u32 r : ending[i]) unused[widths_[r]].push_back(place[r]);
    }
    for (Inst& inst : k_.code) visit(inst, [&](u32& r) { r = place.at(r); });
    for (Kernel::Constant& c : k_.constants) c.at = place.at(c.at);
    for (auto& [at, which] : k_.specials) at = place.at(at);
    k_.register_bytes = Align(bytes, 64);
  }
  void Registers() {
    const std::string type = in_.Next().substr(1);
    const Type t = TypeOf(type);
    if (t == Type::kNone) in_.Fail("register type " + type);
    const bool predicate = t == Type::pred, wide = SizeOf(t) == 8;
    const auto add = [&](const std::string& name) {
      u32 at;
      if (predicate) {
        if (predicate_at_ % 64 == 0) {
          predicate_at_ = bytes_;
          bytes_ += 64;
        }
        at = predicate_at_;
        predicate_at_ += 4;
      } else {
        at = NewRegister(wide);
      }
      scopes_.back()[name] = {at, wide, predicate};
    };
    for (;;) {
      const std::string name = in_.Next();
      if (in_.Peek() == "<") {
        in_.Next();
        const int n = std::stoi(in_.Next());
        in_.Expect(">");
        for (int i = 0; i < n; ++i) add(name + std::to_string(i));
      } else {
        add(name);
      }
      if (in_.Next() == ";") return;
      if (predicate_at_ % 64 == 0) predicate_at_ = 0;
    }
  }
  void Shared() {
    const Declaration d = Declare(in_);
    in_.Expect(";");
    k_.static_shared = Align(k_.static_shared, std::max(d.align, 16u));
    shared_[d.name] = k_.static_shared;
    k_.static_shared += static_cast<u32>(d.bytes());
    k_.red_zones.push_back(Align(k_.static_shared, 4));
    k_.static_shared = Align(k_.static_shared, 4) + 32;
  }
  const Register* Find(const std::string& name) const {
    for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope) {
      if (const auto f = scope->find(name); f != scope->end()) return &f->second;
    }
    return nullptr;
  }
  u32 Constant(u64 value, bool wide) {
    const auto [it, is_new] = constants_.try_emplace({value, wide}, 0);
    if (is_new) {
      it->second = NewRegister(wide);
      k_.constants.push_back({it->second, wide, value});
    }
    return it->second;
  }
  // Dynamic shared memory begins after the static part, whose size is known at the end only: it is
  // declared before the code that uses it.
  std::optional<u64> Symbol(const std::string& t) const {
    if (const auto i = source_.parameters.find(t); i != source_.parameters.end()) return i->second;
    if (const auto i = shared_.find(t); i != shared_.end()) return i->second;
    if (const auto i = m_.globals().find(t); i != m_.globals().end()) return i->second;
    if (t == source_.dynamic_shared) return Align(k_.static_shared, 16);
    return std::nullopt;
  }

  Operand Parse() {
    std::string t = in_.Next();
    Operand o;
    if (t == "{") {
      o.kind = Operand::kVector;
      do o.parts.push_back(Parse());
      while (in_.Next() == ",");
      return o;
    }
    if (t == "[") {
      Operand a = Parse();
      o.kind = Operand::kAddress;
      o.reg = a.reg;
      o.wide = a.wide;
      if (a.kind != Operand::kRegister) o.value = a.value;
      o.name = a.name;
      for (std::string c = in_.Next(); c != "]"; c = in_.Next()) {
        bool minus = c == "-";
        std::string n = in_.Next();
        if (n == "-") {
          minus = !minus;
          n = in_.Next();
        }
        o.offset += (minus ? -1 : 1) * std::stoll(n, nullptr, 0);
      }
      return o;
    }
    if (t == "!") {
      o = Parse();
      o.negated = true;
      return o;
    }
    if (t == "-") {
      o = Parse();
      o.value = -o.value;
      return o;
    }
    if (std::isdigit(static_cast<u8>(t[0]))) {
      if (t.size() > 2 && (t[1] == 'f' || t[1] == 'F' || t[1] == 'd' || t[1] == 'D') &&
          t[0] == '0' && t.size() >= 10) {
        o.value = std::stoull(t.substr(2), nullptr, 16);
      } else {
        o.value = std::stoull(t, nullptr, 0);
      }
      return o;
    }
    if (t == "_") {
      o.kind = Operand::kSink;
      return o;
    }
    if (const Register* r = Find(t)) {
      o.kind = Operand::kRegister;
      o.reg = r->at;
      o.wide = r->wide;
      o.predicate = r->predicate;
      return o;
    }
    for (size_t i = 0; i < std::size(kSpecials); ++i) {
      if (t != kSpecials[i]) continue;
      const auto [it, is_new] = specials_.try_emplace(t, 0);
      if (is_new) {
        it->second = NewRegister(false);
        k_.specials.emplace_back(it->second, static_cast<int>(i));
      }
      o.kind = Operand::kRegister;
      o.reg = it->second;
      return o;
    }
    if (t[0] == '%') in_.Fail("unknown register " + t);
    if (const auto value = Symbol(t)) {
      o.kind = Operand::kSymbol;
      o.value = *value;
      o.name = t;
      return o;
    }
    o.kind = Operand::kLabel;
    o.name = t;
    return o;
  }

  // The register that holds an operand of so many bytes.
  u32 Use(const Operand& o, int bytes) {
    const bool wide = bytes == 8;
    switch (o.kind) {
      case Operand::kRegister:
        if (o.predicate || o.wide != wide) in_.Fail("a register of another width: " + text_);
        return o.reg;
      case Operand::kImmediate:
      case Operand::kSymbol:
        return Constant(wide ? o.value : o.value & 0xffffffff, wide);
      case Operand::kSink:
        return NewRegister(wide);
      default:
        in_.Fail("operand: " + text_);
    }
  }
  u32 UsePredicate(const Operand& o) {
    if (o.kind != Operand::kRegister || !o.predicate) in_.Fail("a predicate is wanted: " + text_);
    return o.reg;
  }
  [[noreturn]] void Refuse() const { in_.Fail("not supported: " + text_); }

  void Instruction(std::string t) {
    const size_t begin = in_.at() - t.size();
    inst_ = Inst{};
    inst_.number = in_.line();
    inst_.line = src_;
    if (t == "@") {
      std::string g = in_.Next();
      if (g == "!") {
        inst_.negated = true;
        g = in_.Next();
      }
      const Register* r = Find(g);
      if (r == nullptr || !r->predicate) in_.Fail("guard " + g);
      inst_.guard = r->at;
      t = in_.Next();
    }
    // A "::" in a modifier splits into single colons.
    while (in_.Peek() == ":") {
      in_.Next();
      in_.Expect(":");
      t += "_" + in_.Next();
    }
    Modifiers mods(t);
    a_.clear();
    pair_ = false;
    const auto save = in_;
    (void)save;
    if (in_.Peek() != ";") {
      for (;;) {
        a_.push_back(Parse());
        std::string c = in_.Next();
        if (c == "|") {
          pair_ = true;
          a_.push_back(Parse());
          c = in_.Next();
        }
        if (c == ";") break;
        if (c != ",") in_.Fail("expected , or ; and found " + c);
      }
    } else {
      in_.Next();
    }
    text_ = in_.Slice(begin);
    std::replace(text_.begin(), text_.end(), '\n', ' ');
    std::replace(text_.begin(), text_.end(), '\t', ' ');
    Decode(mods);
    if (!mods.empty()) in_.Fail("modifier ." + mods.rest() + " is not supported: " + text_);
    k_.code.push_back(inst_);
    k_.text.push_back(text_);
  }

  void Want(size_t n) {
    if (a_.size() != n) Refuse();
  }

  template <class... U>
  void Set(Fn fn, U... registers) {
    if (fn == nullptr) Refuse();
    inst_.fn = fn;
    u32 r[] = {registers...};
    std::copy(std::begin(r), std::end(r), inst_.r.begin());
  }
  void Two(Fn fn, int bytes) {
    Want(2);
    Set(fn, Use(a_[0], bytes), Use(a_[1], bytes));
  }
  void Three(Fn fn, int bytes) {
    Want(3);
    Set(fn, Use(a_[0], bytes), Use(a_[1], bytes), Use(a_[2], bytes));
  }
  void Four(Fn fn, int bytes) {
    Want(4);
    Set(fn, Use(a_[0], bytes), Use(a_[1], bytes), Use(a_[2], bytes), Use(a_[3], bytes));
  }

  void Decode(Modifiers& mods);
  void DecodeArithmetic(Modifiers& mods);
  void DecodeConvert(Modifiers& mods);
  void DecodeMove(Modifiers& mods);
  void DecodeMemory(Modifiers& mods);
  void DecodeCollective(Modifiers& mods);
  void DecodeSetp(Modifiers& mods);
  void Address(const Operand& o, u32* reg);

  Module& m_;
  Kernel& k_;
  const Module::Source& source_;
  Lexer in_;
  std::vector<std::map<std::string, Register>> scopes_;
  std::map<std::string, u32> shared_, specials_;
  std::map<u32, u32> widths_;  // of registers that are not predicates
  std::map<std::pair<u64, bool>, u32> constants_;
  std::map<std::string, i32> labels_;
  std::vector<std::pair<size_t, std::string>> jumps_;
  u32 bytes_ = 0, predicate_at_ = 0;
  int src_ = 0;
  Inst inst_;
  std::vector<Operand> a_;
  bool pair_ = false;
  std::string text_;
};

#define UNSIGNED_BY_SIZE(op, F)           \
  (size == 8   ? Fn(op<u64, u64, u64, F>) \
   : size == 4 ? Fn(op<u32, u32, u32, F>) \
               : Fn(op<u16, u16, u16, F>))
#define SIGNED_BY_SIZE(op, F)             \
  (size == 8   ? Fn(op<i64, i64, i64, F>) \
   : size == 4 ? Fn(op<i32, i32, i32, F>) \
               : Fn(op<int16_t, int16_t, int16_t, F>))

void Decoder::Decode(Modifiers& mods) {
  const std::string& op = mods.base();
  if (op == "bra") {
    mods.Take("uni");
    Want(1);
    inst_.kind = Kind::kBranch;
    jumps_.emplace_back(k_.code.size(), a_[0].name);
  } else if (op == "ret" || op == "exit") {
    inst_.kind = Kind::kExit;
  } else if (op == "bar" || op == "barrier") {
    if (mods.Take("warp")) {
      mods.Take("sync");
      Want(1);
      inst_.kind = Kind::kCollective;
      inst_.members = Use(a_[0], 4);
      inst_.fn = SyncWarp;
      return;
    }
    mods.Take("cta");
    mods.Take("aligned");
    if (!mods.Take("sync")) Refuse();
    if (a_.size() != 1 || a_[0].kind != Operand::kImmediate || a_[0].value != 0) Refuse();
    inst_.kind = Kind::kBarrier;
  } else if (op == "membar" || op == "fence") {
    mods.TakeOne({"gl", "cta", "sys"});
    mods.TakeOne({"acq_rel", "sc"});
    mods.TakeOne({"gpu", "cta", "sys"});
    inst_.fn = [](Warp&, const Inst&, u32) {};
  } else if (op == "griddepcontrol") {
    mods.TakeOne({"wait", "launch_dependents"});
    inst_.fn = [](Warp&, const Inst&, u32) {};
  } else if (op == "prefetch" || op == "discard") {
    mods.Take("global");
    mods.TakeOne({"L1", "L2"});
    inst_.fn = [](Warp&, const Inst&, u32) {};
  } else if (op == "trap") {
    inst_.fn = [](Warp& w, const Inst& i, u32) {
      throw Error("trap: " + Where(*w.block, i, w.first_thread));
    };
  } else if (op == "mov" || op == "cvta") {
    DecodeMove(mods);
  } else if (op == "cvt") {
    DecodeConvert(mods);
  } else if (op == "ld" || op == "st" || op == "atom" || op == "red" || op == "cp" ||
             op == "ldmatrix") {
    DecodeMemory(mods);
  } else if (op == "shfl" || op == "vote" || op == "redux" || op == "match" || op == "mma" ||
             op == "activemask") {
    DecodeCollective(mods);
  } else if (op == "setp") {
    DecodeSetp(mods);
  } else {
    DecodeArithmetic(mods);
  }
}

void Decoder::DecodeArithmetic(Modifiers& mods) {
  const std::string op = mods.base();
  const bool approx = mods.Take("approx"), full = mods.Take("full"), ftz = mods.Take("ftz");
  const bool lo = mods.Take("lo"), hi = mods.Take("hi"), wide = mods.Take("wide"),
             sat = mods.Take("sat");
  const int rounding = mods.TakeOne({"rn", "rz", "rm", "rp"});
  const bool left = op == "shf" && mods.Take("l"), right = op == "shf" && mods.Take("r");
  const bool wrap = op == "shf" && mods.Take("wrap"), clamp = op == "shf" && mods.Take("clamp");
  (void)clamp;
  (void)full;
  if (op == "shf") {
    mods.Take("b32");
    Want(4);
    if (left == right) Refuse();
    Fn fn = left ? (wrap ? Fn(Op3<u32, u32, u32, u32, ([](u32 a, u32 b, u32 c) {
                                    return u32((u64(b) << 32 | a) << (c & 31) >> 32);
                                  })>)
                         : Fn(Op3<u32, u32, u32, u32, ([](u32 a, u32 b, u32 c) {
                                    return c >= 32 ? a : u32((u64(b) << 32 | a) << c >> 32);
                                  })>))
                 : (wrap ? Fn(Op3<u32, u32, u32, u32, ([](u32 a, u32 b, u32 c) {
                                    return u32((u64(b) << 32 | a) >> (c & 31));
                                  })>)
                         : Fn(Op3<u32, u32, u32, u32, ([](u32 a, u32 b, u32 c) {
                                    return c >= 32 ? b : u32((u64(b) << 32 | a) >> c);
                                  })>));
    return Four(fn, 4);
  }
  const Type t = mods.TakeType();
  const int size = SizeOf(t);
  const bool is_signed = IsSigned(t), f32 = t == Type::f32, f64 = t == Type::f64;
  const bool is_float = f32 || f64;
  if (t == Type::pred) {
    const auto pred = [&](Fn fn, bool three) {
      Want(three ? 3 : 2);
      if (three)
        Set(fn, UsePredicate(a_[0]), UsePredicate(a_[1]), UsePredicate(a_[2]));
      else
        Set(fn, UsePredicate(a_[0]), UsePredicate(a_[1]));
    };
    if (op == "and")
      return pred(
          [](Warp& w, const Inst& i, u32 m) { SetMask(w, i.r[0], m, *w.w(i.r[1]) & *w.w(i.r[2])); },
          true);
    if (op == "or")
      return pred(
          [](Warp& w, const Inst& i, u32 m) { SetMask(w, i.r[0], m, *w.w(i.r[1]) | *w.w(i.r[2])); },
          true);
    if (op == "xor")
      return pred(
          [](Warp& w, const Inst& i, u32 m) { SetMask(w, i.r[0], m, *w.w(i.r[1]) ^ *w.w(i.r[2])); },
          true);
    if (op == "not")
      return pred([](Warp& w, const Inst& i, u32 m) { SetMask(w, i.r[0], m, ~*w.w(i.r[1])); },
                  false);
    Refuse();
  }
  if (t == Type::kNone || SizeOf(t) == 1) Refuse();
  if ((ftz && !approx) || (sat && !(f32 && (op == "fma" || op == "add" || op == "mul")))) Refuse();
  if (is_float ? t == Type::f16 || t == Type::bf16 : (rounding > 0 || approx)) Refuse();
  if (rounding > 0 && op != "fma") Refuse();

  if (op == "add") {
    if (f32) return Three(Op2<float, float, float, ([](float a, float b) { return a + b; })>, 4);
    if (f64)
      return Three(Op2<double, double, double, ([](double a, double b) { return a + b; })>, 8);
    return Three(UNSIGNED_BY_SIZE(Op2, ([](auto a, auto b) { return decltype(a)(a + b); })), size);
  }
  if (op == "sub") {
    if (f32) return Three(Op2<float, float, float, ([](float a, float b) { return a - b; })>, 4);
    if (f64)
      return Three(Op2<double, double, double, ([](double a, double b) { return a - b; })>, 8);
    return Three(UNSIGNED_BY_SIZE(Op2, ([](auto a, auto b) { return decltype(a)(a - b); })), size);
  }
  if (op == "mul") {
    if (f32) return Three(Op2<float, float, float, ([](float a, float b) { return a * b; })>, 4);
    if (f64)
      return Three(Op2<double, double, double, ([](double a, double b) { return a * b; })>, 8);
    if (wide) {
      Want(3);
      Fn fn = size == 4
                  ? (is_signed ? Fn(Op2<i64, i32, i32, ([](i32 a, i32 b) { return i64{a} * b; })>)
                               : Fn(Op2<u64, u32, u32, ([](u32 a, u32 b) { return u64{a} * b; })>))
                  : (is_signed ? Fn(Op2<i32, int16_t, int16_t,
                                        ([](int16_t a, int16_t b) { return i32{a} * b; })>)
                               : Fn(Op2<u32, u16, u16, ([](u16 a, u16 b) { return u32{a} * b; })>));
      return Set(fn, Use(a_[0], 2 * size), Use(a_[1], size), Use(a_[2], size));
    }
    if (hi) {
      if (size == 8)
        return Three(is_signed ? Fn(Op2<u64, u64, u64, ([](u64 a, u64 b) {
                                          return u64((__int128(i64(a)) * i64(b)) >> 64);
                                        })>)
                               : Fn(Op2<u64, u64, u64, ([](u64 a, u64 b) {
                                          return u64((static_cast<unsigned __int128>(a) * b) >> 64);
                                        })>),
                     8);
      if (size != 4) Refuse();
      return Three(
          is_signed
              ? Fn(Op2<u32, i32, i32, ([](i32 a, i32 b) { return u32((i64{a} * b) >> 32); })>)
              : Fn(Op2<u32, u32, u32, ([](u32 a, u32 b) { return u32((u64{a} * b) >> 32); })>),
          4);
    }
    if (!lo) Refuse();
    return Three(UNSIGNED_BY_SIZE(Op2, ([](auto a, auto b) { return decltype(a)(a * b); })), size);
  }
  if (op == "mad") {
    Want(4);
    if (wide) {
      if (size != 4) Refuse();
      Fn fn =
          is_signed
              ? Fn(Op3<i64, i32, i32, i64, ([](i32 a, i32 b, i64 c) { return i64{a} * b + c; })>)
              : Fn(Op3<u64, u32, u32, u64, ([](u32 a, u32 b, u64 c) { return u64{a} * b + c; })>);
      return Set(fn, Use(a_[0], 8), Use(a_[1], 4), Use(a_[2], 4), Use(a_[3], 8));
    }
    if (!lo) Refuse();
    return Four(
        size == 8 ? Fn(Op3<u64, u64, u64, u64, ([](u64 a, u64 b, u64 c) { return a * b + c; })>)
        : size == 4
            ? Fn(Op3<u32, u32, u32, u32, ([](u32 a, u32 b, u32 c) { return a * b + c; })>)
            : Fn(Op3<u16, u16, u16, u16, ([](u16 a, u16 b, u16 c) { return u16(a * b + c); })>),
        size);
  }
  if (op == "fma") {
    if (f64 && rounding == 0)
      return Four(Op3<double, double, double, double,
                      ([](double a, double b, double c) { return std::fma(a, b, c); })>,
                  8);
    if (!f32) Refuse();
    if (sat) Refuse();
    if (rounding == 0)
      return Four(Op3<float, float, float, float,
                      ([](float a, float b, float c) { return std::fma(a, b, c); })>,
                  4);
    const Fn directed = [](Warp& w, const Inst& i, u32 m) {
      const int old = std::fegetround();
      std::fesetround(i.mode == 1 ? FE_TOWARDZERO : i.mode == 2 ? FE_DOWNWARD : FE_UPWARD);
      float *d = w.at<float>(i.r[0]), *a = w.at<float>(i.r[1]), *b = w.at<float>(i.r[2]),
            *c = w.at<float>(i.r[3]);
      for (; m; m &= m - 1) {
        const int l = std::countr_zero(m);
        volatile float x = a[l], y = b[l], z = c[l];
        d[l] = std::fma(x, y, z);
      }
      std::fesetround(old);
    };
    inst_.mode = static_cast<u8>(rounding);
    return Four(directed, 4);
  }
  if (op == "div") {
    if (f32) return Three(Op2<float, float, float, ([](float a, float b) { return a / b; })>, 4);
    if (f64)
      return Three(Op2<double, double, double, ([](double a, double b) { return a / b; })>, 8);
    return Three(
        is_signed
            ? SIGNED_BY_SIZE(Slow2, ([](auto a, auto b) {
                               return b == 0 ? decltype(a)(-1)
                                      : b == -1
                                          ? decltype(a)(0 - std::make_unsigned_t<decltype(a)>(a))
                                          : decltype(a)(a / b);
                             }))
            : UNSIGNED_BY_SIZE(Slow2, ([](auto a, auto b) {
                                 return b == 0 ? decltype(a)(~decltype(a)(0)) : decltype(a)(a / b);
                               })),
        size);
  }
  if (op == "rem" && !is_float) {
    return Three(
        is_signed ? SIGNED_BY_SIZE(Slow2, ([](auto a, auto b) {
                                     return b == 0 || b == -1 ? decltype(a)(0) : decltype(a)(a % b);
                                   }))
                  : UNSIGNED_BY_SIZE(
                        Slow2, ([](auto a, auto b) { return b == 0 ? a : decltype(a)(a % b); })),
        size);
  }
  if (op == "min" || op == "max") {
    const bool is_min = op == "min";
    if (f32)
      return Three(
          is_min ? Fn(Op2<float, float, float, ([](float a, float b) { return FMin(a, b); })>)
                 : Fn(Op2<float, float, float, ([](float a, float b) { return FMax(a, b); })>),
          4);
    if (f64) Refuse();
    if (is_min)
      return Three(is_signed
                       ? SIGNED_BY_SIZE(Op2, ([](auto a, auto b) { return std::min(a, b); }))
                       : UNSIGNED_BY_SIZE(Op2, ([](auto a, auto b) { return std::min(a, b); })),
                   size);
    return Three(is_signed ? SIGNED_BY_SIZE(Op2, ([](auto a, auto b) { return std::max(a, b); }))
                           : UNSIGNED_BY_SIZE(Op2, ([](auto a, auto b) { return std::max(a, b); })),
                 size);
  }
  if (op == "abs") {
    if (f32) return Two(Op1<float, float, ([](float a) { return std::fabs(a); })>, 4);
    if (size == 4)
      return Two(Op1<i32, i32, ([](i32 a) { return a < 0 ? i32(0u - u32(a)) : a; })>, 4);
    Refuse();
  }
  if (op == "neg") {
    if (f32) return Two(Op1<float, float, ([](float a) { return -a; })>, 4);
    if (f64) return Two(Op1<double, double, ([](double a) { return -a; })>, 8);
    return Two(size == 8   ? Fn(Op1<u64, u64, ([](u64 a) { return 0 - a; })>)
               : size == 4 ? Fn(Op1<u32, u32, ([](u32 a) { return 0 - a; })>)
                           : nullptr,
               size);
  }
  if (op == "and")
    return Three(UNSIGNED_BY_SIZE(Op2, ([](auto a, auto b) { return decltype(a)(a & b); })), size);
  if (op == "or")
    return Three(UNSIGNED_BY_SIZE(Op2, ([](auto a, auto b) { return decltype(a)(a | b); })), size);
  if (op == "xor")
    return Three(UNSIGNED_BY_SIZE(Op2, ([](auto a, auto b) { return decltype(a)(a ^ b); })), size);
  if (op == "not")
    return Two(size == 8   ? Fn(Op1<u64, u64, ([](u64 a) { return ~a; })>)
               : size == 4 ? Fn(Op1<u32, u32, ([](u32 a) { return ~a; })>)
                           : Fn(Op1<u16, u16, ([](u16 a) { return u16(~a); })>),
               size);
  if (op == "shl" || op == "shr") {
    Want(3);
    Fn fn;
    if (op == "shl") {
      fn = size == 8 ? Fn(Op2<u64, u64, u32, ([](u64 a, u32 b) { return b > 63 ? 0 : a << b; })>)
           : size == 4
               ? Fn(Op2<u32, u32, u32, ([](u32 a, u32 b) { return b > 31 ? 0 : a << b; })>)
               : Fn(Op2<u16, u16, u32, ([](u16 a, u32 b) { return u16(b > 15 ? 0 : a << b); })>);
    } else if (is_signed) {
      fn = size == 8 ? Fn(Op2<i64, i64, u32, ([](i64 a, u32 b) { return a >> std::min(b, 63u); })>)
           : size == 4
               ? Fn(Op2<i32, i32, u32, ([](i32 a, u32 b) { return a >> std::min(b, 31u); })>)
               : Fn(Op2<int16_t, int16_t, u32,
                        ([](int16_t a, u32 b) { return int16_t(a >> std::min(b, 15u)); })>);
    } else {
      fn = size == 8 ? Fn(Op2<u64, u64, u32, ([](u64 a, u32 b) { return b > 63 ? 0 : a >> b; })>)
           : size == 4
               ? Fn(Op2<u32, u32, u32, ([](u32 a, u32 b) { return b > 31 ? 0 : a >> b; })>)
               : Fn(Op2<u16, u16, u32, ([](u16 a, u32 b) { return u16(b > 15 ? 0 : a >> b); })>);
    }
    return Set(fn, Use(a_[0], size), Use(a_[1], size), Use(a_[2], 4));
  }
  if (op == "selp") {
    Want(4);
    Fn fn = size == 8 ? Fn(Select<u64>) : Fn(Select<u32>);
    return Set(fn, Use(a_[0], size), Use(a_[1], size), Use(a_[2], size), UsePredicate(a_[3]));
  }
  if (op == "popc" || op == "clz" || op == "bfind") {
    Want(2);
    if (op == "bfind" && (is_signed || size != 4)) Refuse();
    Fn fn =
        op == "popc"
            ? (size == 8 ? Fn(Op1<u32, u64, ([](u64 a) { return u32(std::popcount(a)); })>)
                         : Fn(Op1<u32, u32, ([](u32 a) { return u32(std::popcount(a)); })>))
        : op == "clz"
            ? (size == 8 ? Fn(Op1<u32, u64, ([](u64 a) { return u32(std::countl_zero(a)); })>)
                         : Fn(Op1<u32, u32, ([](u32 a) { return u32(std::countl_zero(a)); })>))
            : Fn(Op1<u32, u32, ([](u32 a) { return a ? 31 - u32(std::countl_zero(a)) : ~0u; })>);
    return Set(fn, Use(a_[0], 4), Use(a_[1], size));
  }
  if (op == "brev" && size == 4)
    return Two(Op1<u32, u32, ([](u32 a) {
                     u32 r = 0;
                     for (int i = 0; i < 32; ++i) r |= (a >> i & 1) << (31 - i);
                     return r;
                   })>,
               4);
  if (op == "bfe" && size == 4) {
    return Four(is_signed ? Fn(Op3<i32, i32, u32, u32, ([](i32 a, u32 p, u32 n) {
                                     p &= 255;
                                     n &= 255;
                                     if (n == 0) return 0;
                                     if (p > 31) p = 31, n = 1;
                                     n = std::min(n, 32 - p);
                                     return i32(u32(a) << (32 - p - n)) >> (32 - n);
                                   })>)
                          : Fn(Op3<u32, u32, u32, u32, ([](u32 a, u32 p, u32 n) {
                                     p &= 255;
                                     n &= 255;
                                     return p > 31 || n == 0 ? 0u
                                            : n > 31         ? a >> p
                                                             : a >> p & ((1u << n) - 1);
                                   })>),
                4);
  }
  if (op == "bfi" && size == 8) {
    Want(5);
    const Fn fn = [](Warp& w, const Inst& i, u32 m) {
      u64 *d = w.q(i.r[0]), *a = w.q(i.r[1]), *b = w.q(i.r[2]);
      const u32 *c = w.w(i.r[3]), *e = w.w(i.r[4]);
      ForLanes(m, [=](int l) {
        const u32 p = c[l] & 255, n = e[l] & 255;
        const u64 mask = p > 63 ? 0 : (n > 63 ? ~u64{0} : (u64{1} << n) - 1) << p;
        d[l] = (b[l] & ~mask) | (p > 63 ? 0 : a[l] << p & mask);
      });
    };
    return Set(fn, Use(a_[0], 8), Use(a_[1], 8), Use(a_[2], 8), Use(a_[3], 4), Use(a_[4], 4));
  }
  if (op == "bfi" && size == 4) {
    Want(5);
    const Fn fn = [](Warp& w, const Inst& i, u32 m) {
      u32 *d = w.w(i.r[0]), *a = w.w(i.r[1]), *b = w.w(i.r[2]), *c = w.w(i.r[3]), *e = w.w(i.r[4]);
      ForLanes(m, [=](int l) {
        const u32 p = c[l] & 255, n = e[l] & 255,
                  mask = p > 31 ? 0 : (n > 31 ? ~0u : (1u << n) - 1) << p;
        d[l] = (b[l] & ~mask) | (p > 31 ? 0 : a[l] << p & mask);
      });
    };
    return Set(fn, Use(a_[0], 4), Use(a_[1], 4), Use(a_[2], 4), Use(a_[3], 4), Use(a_[4], 4));
  }
  if (op == "prmt") {
    return Four(Op3<u32, u32, u32, u32, ([](u32 a, u32 b, u32 c) {
                      const u64 both = u64(b) << 32 | a;
                      u32 r = 0;
                      for (int i = 0; i < 4; ++i) {
                        const u32 s = c >> 4 * i;
                        u32 byte = both >> 8 * (s & 7) & 255;
                        if (s & 8) byte = byte & 128 ? 255 : 0;
                        r |= byte << 8 * i;
                      }
                      return r;
                    })>,
                4);
  }
  if (op == "lop3") {
    Want(5);
    inst_.mode = static_cast<u8>(a_[4].value);
    a_.pop_back();
    const Fn fn = [](Warp& w, const Inst& i, u32 m) {
      u32 *d = w.w(i.r[0]), *a = w.w(i.r[1]), *b = w.w(i.r[2]), *c = w.w(i.r[3]);
      u32 bit[8];
      for (int j = 0; j < 8; ++j) bit[j] = i.mode >> j & 1 ? ~0u : 0;
      ForLanes(m, [&](int l) {
        const u32 x = a[l], y = b[l], z = c[l];
        d[l] = (bit[0] & ~x & ~y & ~z) | (bit[1] & ~x & ~y & z) | (bit[2] & ~x & y & ~z) |
               (bit[3] & ~x & y & z) | (bit[4] & x & ~y & ~z) | (bit[5] & x & ~y & z) |
               (bit[6] & x & y & ~z) | (bit[7] & x & y & z);
      });
    };
    return Four(fn, 4);
  }
  if (f32 && (approx || rounding == 0) && a_.size() == 2) {
    if (op == "rcp") return Two(Op1<float, float, ([](float a) { return 1.0f / a; })>, 4);
    if (op == "sqrt") return Two(Op1<float, float, ([](float a) { return std::sqrt(a); })>, 4);
    if (op == "rsqrt")
      return Two(Op1<float, float, ([](float a) {
                       return static_cast<float>(1.0 / std::sqrt(static_cast<double>(a)));
                     })>,
                 4);
    if (op == "ex2")
      return Two(ftz ? Fn(Op1<float, float, ([](float a) { return Flush(std::exp2(Flush(a))); })>)
                     : Fn(Op1<float, float, ([](float a) { return std::exp2(a); })>),
                 4);
    if (op == "lg2") return Two(Op1<float, float, ([](float a) { return std::log2(a); })>, 4);
    if (op == "sin") return Two(Op1<float, float, ([](float a) { return std::sin(a); })>, 4);
    if (op == "cos") return Two(Op1<float, float, ([](float a) { return std::cos(a); })>, 4);
    if (op == "tanh") return Two(Op1<float, float, ([](float a) { return std::tanh(a); })>, 4);
  }
  if (op == "copysign" && f32)
    return Three(Op2<float, float, float, ([](float a, float b) { return std::copysign(b, a); })>,
                 4);
  Refuse();
}

void Decoder::DecodeSetp(Modifiers& mods) {
  const int cmp = mods.TakeOne({"eq", "ne", "lt", "le", "gt", "ge", "lo", "ls", "hi", "hs", "equ",
                                "neu", "ltu", "leu", "gtu", "geu", "num", "nan"});
  const int combine = mods.TakeOne({"and", "or", "xor"});
  const Type t = mods.TakeType();
  const int size = SizeOf(t);
  const size_t first = pair_ ? 2 : 1, count = first + 2 + (combine >= 0);
  Want(count);
  if (cmp < 0 || t == Type::kNone) Refuse();
  Fn fn = nullptr;
#define PICK(T)                                                                    \
  switch (cmp) {                                                                   \
    case 0:                                                                        \
      fn = SetPredicate<T, ([](T a, T b) { return a == b; })>;                     \
      break;                                                                       \
    case 1:                                                                        \
      fn = SetPredicate<T, ([](T a, T b) { return a != b && a == a && b == b; })>; \
      break;                                                                       \
    case 2:                                                                        \
    case 6:                                                                        \
      fn = SetPredicate<T, ([](T a, T b) { return a < b; })>;                      \
      break;                                                                       \
    case 3:                                                                        \
    case 7:                                                                        \
      fn = SetPredicate<T, ([](T a, T b) { return a <= b; })>;                     \
      break;                                                                       \
    case 4:                                                                        \
    case 8:                                                                        \
      fn = SetPredicate<T, ([](T a, T b) { return a > b; })>;                      \
      break;                                                                       \
    case 5:                                                                        \
    case 9:                                                                        \
      fn = SetPredicate<T, ([](T a, T b) { return a >= b; })>;                     \
      break;                                                                       \
    case 10:                                                                       \
      fn = SetPredicate<T, ([](T a, T b) { return a == b || a != a || b != b; })>; \
      break;                                                                       \
    case 11:                                                                       \
      fn = SetPredicate<T, ([](T a, T b) { return a != b; })>;                     \
      break;                                                                       \
    case 12:                                                                       \
      fn = SetPredicate<T, ([](T a, T b) { return !(a >= b); })>;                  \
      break;                                                                       \
    case 13:                                                                       \
      fn = SetPredicate<T, ([](T a, T b) { return !(a > b); })>;                   \
      break;                                                                       \
    case 14:                                                                       \
      fn = SetPredicate<T, ([](T a, T b) { return !(a <= b); })>;                  \
      break;                                                                       \
    case 15:                                                                       \
      fn = SetPredicate<T, ([](T a, T b) { return !(a < b); })>;                   \
      break;                                                                       \
    case 16:                                                                       \
      fn = SetPredicate<T, ([](T a, T b) { return a == a && b == b; })>;           \
      break;                                                                       \
    default:                                                                       \
      fn = SetPredicate<T, ([](T a, T b) { return a != a || b != b; })>;           \
      break;                                                                       \
  }
  switch (t) {
    case Type::s32:
      PICK(i32);
      break;
    case Type::u32_:
    case Type::b32:
      PICK(u32);
      break;
    case Type::s64:
      PICK(i64);
      break;
    case Type::u64_:
    case Type::b64:
      PICK(u64);
      break;
    case Type::s16:
      PICK(int16_t);
      break;
    case Type::u16_:
    case Type::b16:
      PICK(u16);
      break;
    case Type::f32:
      PICK(float);
      break;
    case Type::f64:
      PICK(double);
      break;
    default:
      Refuse();
  }
#undef PICK
  Set(fn, UsePredicate(a_[0]), Use(a_[first], size), Use(a_[first + 1], size));
  inst_.r[3] = pair_ && a_[1].kind != Operand::kSink ? UsePredicate(a_[1]) : kNone;
  if (combine >= 0) {
    inst_.mode = static_cast<u8>(combine + 1) | (a_[first + 2].negated ? 8 : 0);
    inst_.r[4] = UsePredicate(a_[first + 2]);
  }
}

void Decoder::DecodeMove(Modifiers& mods) {
  const bool cvta = mods.base() == "cvta", to = cvta && mods.Take("to");
  const bool shared = cvta && mods.Take("shared");
  if (cvta && !shared && !mods.Take("global")) Refuse();
  const Type t = mods.TakeType();
  const int size = SizeOf(t);
  Want(2);
  if (t == Type::pred) {
    if (a_[1].kind != Operand::kRegister) {
      inst_.offset = a_[1].value ? -1 : 0;
      return Set(
          [](Warp& w, const Inst& i, u32 m) { SetMask(w, i.r[0], m, static_cast<u32>(i.offset)); },
          UsePredicate(a_[0]));
    }
    return Set([](Warp& w, const Inst& i, u32 m) { SetMask(w, i.r[0], m, *w.w(i.r[1])); },
               UsePredicate(a_[0]), UsePredicate(a_[1]));
  }
  if (t == Type::kNone) Refuse();
  if (cvta) {
    if (size != 8) Refuse();
    if (!shared) return Two(Op1<u64, u64, ([](u64 a) { return a; })>, 8);
    return Two(to ? Fn(Op1<u64, u64, ([](u64 a) { return a & ~kSharedWindow; })>)
                  : Fn(Op1<u64, u64, ([](u64 a) { return a | kSharedWindow; })>),
               8);
  }
  if (a_[0].kind == Operand::kVector || a_[1].kind == Operand::kVector) {
    const bool pack = a_[1].kind == Operand::kVector;
    const Operand& vector = a_[pack ? 1 : 0];
    if (vector.parts.size() != 2) Refuse();
    const int part = size / 2;
    const u32 whole = Use(a_[pack ? 0 : 1], size), low = Use(vector.parts[0], part),
              high = Use(vector.parts[1], part);
    if (size == 8) {
      if (pack)
        return Set(Op2<u64, u32, u32, ([](u32 a, u32 b) { return u64(b) << 32 | a; })>, whole, low,
                   high);
      return Set(
          [](Warp& w, const Inst& i, u32 m) {
            u32 *a = w.w(i.r[0]), *b = w.w(i.r[1]);
            u64* x = w.q(i.r[2]);
            ForLanes(m, [=](int l) {
              const u64 v = x[l];
              a[l] = u32(v);
              b[l] = u32(v >> 32);
            });
          },
          low, high, whole);
    }
    if (size != 4) Refuse();
    if (pack)
      return Set(Op2<u32, u16, u16, ([](u16 a, u16 b) { return u32(b) << 16 | a; })>, whole, low,
                 high);
    return Set(
        [](Warp& w, const Inst& i, u32 m) {
          u32 *a = w.w(i.r[0]), *b = w.w(i.r[1]), *x = w.w(i.r[2]);
          ForLanes(m, [=](int l) {
            const u32 v = x[l];
            a[l] = v & 0xffff;
            b[l] = v >> 16;
          });
        },
        low, high, whole);
  }
  Two(size == 8 ? Fn(Op1<u64, u64, ([](u64 a) { return a; })>)
                : Fn(Op1<u32, u32, ([](u32 a) { return a; })>),
      size);
}

void Decoder::DecodeConvert(Modifiers& mods) {
  const bool sat = mods.Take("sat"), ftz = mods.Take("ftz");
  const int rounding = mods.TakeOne({"rn", "rz", "rm", "rp"}),
            integral = mods.TakeOne({"rni", "rzi", "rmi", "rpi"});
  const Type d = mods.TakeType(), s = mods.TakeType();
  if (ftz || (sat && !(d == Type::f32 && s == Type::f32)) || rounding > 0) Refuse();
  if (d == Type::bf16x2 || d == Type::f16x2) {
    Want(3);
    if (s != Type::f32) Refuse();
    return Set(d == Type::bf16x2
                   ? Fn(Op2<u32, float, float,
                            ([](float a, float b) { return ToBFloat(a) << 16 | ToBFloat(b); })>)
                   : Fn(Op2<u32, float, float,
                            ([](float a, float b) { return ToHalf(a) << 16 | ToHalf(b); })>),
               Use(a_[0], 4), Use(a_[1], 4), Use(a_[2], 4));
  }
  Want(2);
  Fn fn = nullptr;
  const auto is = [&](Type a, Type b) { return d == a && s == b; };
  // A source may be wider than its type: the low bits count.
  if (a_[1].kind == Operand::kRegister && a_[1].wide && is(Type::s64, Type::s32)) {
    return Set(Op1<i64, u64, ([](u64 a) { return i64{static_cast<i32>(a)}; })>, Use(a_[0], 8),
               Use(a_[1], 8));
  }
  if (is(Type::f32, Type::f32)) {
    fn = sat             ? Fn(Op1<float, float,
                      ([](float a) { return a != a ? 0.0f : std::min(std::max(a, 0.0f), 1.0f); })>)
         : integral == 0 ? Fn(Op1<float, float, ([](float a) { return std::nearbyint(a); })>)
         : integral == 1 ? Fn(Op1<float, float, ([](float a) { return std::trunc(a); })>)
         : integral == 2 ? Fn(Op1<float, float, ([](float a) { return std::floor(a); })>)
         : integral == 3 ? Fn(Op1<float, float, ([](float a) { return std::ceil(a); })>)
                         : nullptr;
  } else if (is(Type::f32, Type::bf16))
    fn = Op1<u32, u32, ([](u32 a) { return a << 16; })>;
  else if (is(Type::bf16, Type::f32))
    fn = Op1<u32, float, ([](float a) { return ToBFloat(a); })>;
  else if (is(Type::f32, Type::f16))
    fn = Op1<float, u32, ([](u32 a) { return Half(a & 0xffff); })>;
  else if (is(Type::f16, Type::f32))
    fn = Op1<u32, float, ([](float a) { return ToHalf(a); })>;
  else if (is(Type::f64, Type::f32))
    fn = Op1<double, float, ([](float a) { return double{a}; })>;
  else if (is(Type::f32, Type::f64))
    fn = Op1<float, double, ([](double a) { return float(a); })>;
  else if (is(Type::f32, Type::s32))
    fn = Op1<float, i32, ([](i32 a) { return float(a); })>;
  else if (is(Type::f32, Type::u32_))
    fn = Op1<float, u32, ([](u32 a) { return float(a); })>;
  else if (is(Type::f32, Type::s64))
    fn = Op1<float, i64, ([](i64 a) { return float(a); })>;
  else if (is(Type::f32, Type::u64_))
    fn = Op1<float, u64, ([](u64 a) { return float(a); })>;
  else if (is(Type::f32, Type::u16_))
    fn = Op1<float, u16, ([](u16 a) { return float(a); })>;
  else if (is(Type::f64, Type::s32))
    fn = Op1<double, i32, ([](i32 a) { return double(a); })>;
  else if (is(Type::f64, Type::u32_))
    fn = Op1<double, u32, ([](u32 a) { return double(a); })>;
  else if (integral >= 0 && s == Type::f32) {
#define TO(T)                                                                                     \
  (integral == 0   ? Fn(Op1<T, float, ([](float a) { return ToInteger<T>(std::nearbyint(a)); })>) \
   : integral == 1 ? Fn(Op1<T, float, ([](float a) { return ToInteger<T>(std::trunc(a)); })>)     \
   : integral == 2 ? Fn(Op1<T, float, ([](float a) { return ToInteger<T>(std::floor(a)); })>)     \
                   : Fn(Op1<T, float, ([](float a) { return ToInteger<T>(std::ceil(a)); })>))
    fn = d == Type::s32    ? TO(i32)
         : d == Type::u32_ ? TO(u32)
         : d == Type::s64  ? TO(i64)
         : d == Type::u64_ ? TO(u64)
                           : nullptr;
#undef TO
  } else if (d != Type::f32 && s != Type::f32 && d != Type::f64 && s != Type::f64 &&
             SizeOf(d) >= 1 && integral < 0 && rounding < 0) {
    // Integer to integer: the source decides how it is extended.
    const int from = SizeOf(s), to = SizeOf(d);
#define FROM(T)                                                   \
  (to == 8   ? Fn(Op1<u64, T, ([](T a) { return u64(i64(a)); })>) \
   : to == 4 ? Fn(Op1<u32, T, ([](T a) { return u32(i32(a)); })>) \
   : to == 2 ? Fn(Op1<u16, T, ([](T a) { return u16(a); })>)      \
             : Fn(Op1<u8, T, ([](T a) { return u8(a); })>))
#define FROMU(T)                                             \
  (to == 8   ? Fn(Op1<u64, T, ([](T a) { return u64(a); })>) \
   : to == 4 ? Fn(Op1<u32, T, ([](T a) { return u32(a); })>) \
   : to == 2 ? Fn(Op1<u16, T, ([](T a) { return u16(a); })>) \
             : Fn(Op1<u8, T, ([](T a) { return u8(a); })>))
    if (IsSigned(s))
      fn = from == 8 ? FROM(i64) : from == 4 ? FROM(i32) : from == 2 ? FROM(int16_t) : FROM(int8_t);
    else
      fn = from == 8 ? FROMU(u64) : from == 4 ? FROMU(u32) : from == 2 ? FROMU(u16) : FROMU(u8);
    if (IsSigned(d) && to < 4) Refuse();  // sign extension in a wider register: not seen
#undef FROM
#undef FROMU
  }
  Set(fn, Use(a_[0], SizeOf(d)), Use(a_[1], SizeOf(s)));
}

void Decoder::Address(const Operand& o, u32* reg) {
  if (o.kind != Operand::kAddress) Refuse();
  inst_.offset = o.offset;
  if (o.reg == kNone) {
    inst_.address64 = 1;
    *reg = Constant(o.value, true);
  } else {
    inst_.address64 = o.wide;
    *reg = o.reg;
  }
}

void Decoder::DecodeMemory(Modifiers& mods) {
  const std::string op = mods.base();
  if (op == "cp") {
    if (!mods.Take("async")) Refuse();
    if (mods.Take("commit_group")) {
      inst_.fn = CopyCommit;
      return;
    }
    if (mods.Take("wait_group")) {
      inst_.fn = CopyWait;
      inst_.offset = static_cast<i64>(a_[0].value);
      return;
    }
    if (mods.Take("wait_all")) Refuse();
    const int where = mods.TakeOne({"cg", "ca"});
    if (where < 0 || !mods.Take("shared") || !mods.Take("global")) Refuse();
    mods.TakeOne({"L2_128B", "L2_256B"});
    if (a_.size() < 3) Refuse();
    inst_.bytes = static_cast<u8>(a_[2].value);
    u32 global = 0, shared = 0;
    Address(a_[1], &global);
    if (inst_.offset != 0 || !inst_.address64) Refuse();
    Address(a_[0], &shared);
    Set(CopyAsync, shared, global, a_.size() > 3 ? Use(a_[3], 4) : kNone);
    return;
  }
  if (op == "ldmatrix") {
    if (!mods.Take("sync") || !mods.Take("aligned") || !mods.Take("m8n8")) Refuse();
    const int n = mods.TakeOne({"x1", "x2", "x4"});
    inst_.mode = mods.Take("trans");
    if (!mods.Take("shared") || mods.TakeType() != Type::b16) Refuse();
    Want(2);
    inst_.vec = static_cast<u8>(1 << n);
    std::vector<Operand> d =
        a_[0].kind == Operand::kVector ? a_[0].parts : std::vector<Operand>{a_[0]};
    if (d.size() != inst_.vec) Refuse();
    for (size_t i = 0; i < d.size(); ++i) inst_.r[i] = Use(d[i], 4);
    Address(a_[1], &inst_.r[inst_.vec]);
    inst_.fn = LoadMatrix;
    return;
  }
  const bool load = op == "ld", store = op == "st";
  mods.Take("volatile");
  mods.TakeOne({"relaxed", "acquire", "release", "acq_rel"});
  mods.TakeOne({"gpu", "cta", "sys"});
  int space = mods.TakeOne({"global", "shared", "param"});
  mods.Take("nc");
  mods.TakeOne({"ca", "cg", "cs", "lu", "cv", "wb", "wt"});
  mods.TakeOne({"L1_no_allocate", "L1_evict_first", "L1_evict_last"});
  mods.TakeOne({"L2_64B", "L2_128B", "L2_256B"});
  if (load || store) {
    const int vec = mods.TakeOne({"v2", "v4", "v8"});
    inst_.vec = static_cast<u8>(vec < 0 ? 1 : 2 << vec);
    const Type t = mods.TakeType();
    if (t == Type::kNone || t == Type::pred || SizeOf(t) * inst_.vec > 16) Refuse();
    inst_.bytes = static_cast<u8>(SizeOf(t));
    inst_.mode = IsSigned(t);
    Want(2);
    const Operand& value = a_[load ? 0 : 1];
    const std::vector<Operand> parts =
        value.kind == Operand::kVector ? value.parts : std::vector<Operand>{value};
    if (parts.size() != inst_.vec) Refuse();
    // A register may be wider than what is loaded.
    const bool widens = load && inst_.bytes < 8 && parts[0].wide;
    if (widens) inst_.mode |= 2;
    for (size_t i = 0; i < parts.size(); ++i) inst_.r[i] = Use(parts[i], widens ? 8 : inst_.bytes);
    Address(a_[load ? 1 : 0], &inst_.r[inst_.vec]);
    if (space == 2) {
      if (!load) Refuse();
      inst_.fn = LoadParameter;
      return;
    }
    inst_.fn = space == 0   ? (load ? LoadGlobal : StoreGlobal)
               : space == 1 ? (load ? LoadShared : StoreShared)
                            : (load ? LoadGeneric : StoreGeneric);
    if (space < 0 && !inst_.address64) Refuse();
    return;
  }
  const bool atom = op == "atom";
  const int what = mods.TakeOne({"add", "min", "max", "and", "or", "xor", "exch", "cas"});
  const Type t = mods.TakeType();
  inst_.bytes = static_cast<u8>(SizeOf(t));
  if (what < 0 || inst_.bytes < 4 || t == Type::f64 || t == Type::bf16x2 || t == Type::f16x2 ||
      space == 2 || space < 0)
    Refuse();
  if (t == Type::f32 && what != 0) Refuse();
  inst_.mode = static_cast<u8>(what | (IsSigned(t) ? 8 : 0) | (t == Type::f32 ? 16 : 0));
  const size_t first = atom ? 1 : 0;
  Want(first + 2 + (what == 7));
  inst_.r[0] = atom && a_[0].kind != Operand::kSink ? Use(a_[0], inst_.bytes) : kNone;
  Address(a_[first], &inst_.r[1]);
  inst_.r[2] = Use(a_[first + 1], inst_.bytes);
  inst_.r[3] = what == 7 ? Use(a_[first + 2], inst_.bytes) : kNone;
  inst_.fn = space == 1 ? AtomicShared : AtomicGlobal;
}

void Decoder::DecodeCollective(Modifiers& mods) {
  const std::string op = mods.base();
  if (op == "activemask" || !mods.Take("sync")) Refuse();
  inst_.kind = Kind::kCollective;
  if (op == "mma") {
    if (!mods.Take("aligned") || !mods.Take("m16n8k16") || !mods.Take("row") || !mods.Take("col"))
      Refuse();
    const Type d = mods.TakeType(), a = mods.TakeType(), b = mods.TakeType(), c = mods.TakeType();
    if (d != Type::f32 || c != Type::f32 || a != b || (a != Type::bf16 && a != Type::f16)) Refuse();
    inst_.mode = a == Type::f16;
    Want(4);
    size_t n = 0;
    const size_t sizes[] = {4, 4, 2, 4};
    for (size_t o = 0; o < 4; ++o) {
      if (a_[o].parts.size() != sizes[o]) Refuse();
      for (const Operand& part : a_[o].parts) inst_.r[n++] = Use(part, 4);
    }
    inst_.members = Constant(0xffffffff, false);
    inst_.fn = Mma;
    return;
  }
  if (op == "shfl") {
    inst_.mode = static_cast<u8>(mods.TakeOne({"bfly", "down", "up", "idx"}));
    if (mods.TakeType() != Type::b32) Refuse();
    const size_t first = pair_ ? 2 : 1;
    Want(first + 4);
    const u32 predicate = pair_ && a_[1].kind != Operand::kSink ? UsePredicate(a_[1]) : kNone;
    Set(Shuffle, Use(a_[0], 4), predicate, Use(a_[first], 4), Use(a_[first + 1], 4),
        Use(a_[first + 2], 4));
    inst_.members = Use(a_[first + 3], 4);
    return;
  }
  if (op == "vote") {
    inst_.mode = static_cast<u8>(mods.TakeOne({"ballot", "any", "all", "uni"}));
    mods.TakeType();
    Want(3);
    inst_.address64 = a_[1].negated;
    if (a_[1].kind == Operand::kImmediate) Refuse();
    Set(Vote, inst_.mode == 0 ? Use(a_[0], 4) : UsePredicate(a_[0]), UsePredicate(a_[1]));
    inst_.members = Use(a_[2], 4);
    return;
  }
  const int what = mods.TakeOne({"add", "min", "max", "and", "or", "xor", "any"});
  const Type t = mods.TakeType();
  Want(3);
  if (what < 0 || SizeOf(t) != 4 || t == Type::f32) Refuse();
  inst_.mode = static_cast<u8>(what | (IsSigned(t) ? 8 : 0));
  Set(op == "match" ? Match : Reduce, Use(a_[0], 4), Use(a_[1], 4));
  inst_.members = Use(a_[2], 4);
}

// ---------------------------------------------------------------- module

void Module::Add(std::string text, Memory&) {
  auto shared = std::make_shared<const std::string>(std::move(text));
  Lexer in(*shared, 0, 1);
  std::string dynamic_shared;
  const auto files = std::make_shared<std::map<int, std::string>>();
  for (;;) {
    const std::string t = in.Next();
    if (t.empty()) return;
    if (t == ".file") {
      const int index = std::stoi(in.Next());
      const std::string name = in.Next();
      const size_t slash = name.find_last_of("/\"", name.size() - 2);
      (*files)[index] = name.substr(slash + 1, name.size() - slash - 2);
      in.SkipPast('\n');
    } else if (t == ".version" || t == ".target" || t == ".address_size") {
      in.SkipPast('\n');
    } else if (t == ".section") {
      in.SkipPast('}');
    } else if (t == ".visible" || t == ".weak" || t == ".extern" || t == ".common") {
      continue;
    } else if (t == ".shared") {
      dynamic_shared = Declare(in).name;
      in.Expect(";");
    } else if (t == ".global" || t == ".const") {
      const Declaration d = Declare(in);
      auto* bytes = new u8[d.bytes() + 256]();  // lives as long as the program
      (void)bytes;
      in.Fail("global variables are refused: " + d.name);
    } else if (t == ".entry") {
      const std::string name = in.Next();
      Kernel kernel;
      kernel.name = name;
      kernel.files = files;
      Source source;
      if (in.Peek() == "(") {
        in.Next();
        while (in.Peek() != ")") {
          if (in.Peek() == ",") in.Next();
          const Declaration d = Declare(in);
          kernel.parameter_bytes = Align(kernel.parameter_bytes, d.align);
          source.parameters[d.name] = kernel.parameter_bytes;
          kernel.parameters.push_back({kernel.parameter_bytes, static_cast<u32>(d.bytes())});
          kernel.parameter_bytes += static_cast<u32>(d.bytes());
        }
        in.Next();
      }
      while (in.Peek() != "{") {
        const std::string directive = in.Next();
        if (directive == ".maxntid") kernel.max_threads = static_cast<u32>(std::stoul(in.Next()));
      }
      in.Next();
      source.begin = in.at();
      source.line = in.line();
      source.text = shared;
      source.dynamic_shared = dynamic_shared;
      for (int depth = 1; depth > 0;) {
        const std::string s = in.Next();
        depth += s == "{" ? 1 : s == "}" ? -1 : 0;
        if (s.empty()) in.Fail("unexpected end");
      }
      kernels_[name] = std::move(kernel);
      sources_[name] = std::move(source);
    } else {
      in.Fail("not supported: " + t);
    }
  }
}

std::string Kernel::Place(const Inst& inst) const {
  const auto found = files->find(inst.line >> 16);
  return (found == files->end() ? "?" : found->second) + ":" + std::to_string(inst.line & 0xffff);
}

Module::Variable Module::Find(const std::string& name) {
  const auto found = globals_.find(name);
  if (found == globals_.end()) throw Error("no variable " + name);
  return {found->second, 0};
}

Kernel& Module::Get(const std::string& name) {
  const auto found = kernels_.find(name);
  if (found == kernels_.end()) throw Error("no kernel " + name);
  if (!found->second.decoded) {
    try {
      Decoder(*this, found->second, sources_.at(name)).Run();
    } catch (Error& e) {
      throw Error(name + ": " + e.what());
    }
  }
  return found->second;
}

}  // namespace ptx
