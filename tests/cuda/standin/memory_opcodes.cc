// Opcodes of memory: what they say, and which functions do it.
#include <bit>

#include "encoder.h"
#include "lanewise.h"
#include "memory_ops.h"

namespace ptx {
namespace {

void Nothing(Warp&, const Inst&, u32) {}

// Modifiers that say how sure and how far an access is seen. Everything is seen at once here; what
// is stronger than plain accesses counts as atomic.
u8 TakeOrder(Encoder& e) {
  const bool is_volatile = e.Take("volatile");
  const int order = e.TakeOne({"weak", "relaxed", "acquire", "release", "acq_rel"});
  const bool has_scope = e.TakeOne({"gpu", "cta", "sys"}) >= 0;
  if (is_volatile && order >= 0) e.Refuse();
  if (has_scope && order < 1 && e.opcode() != "atom" && e.opcode() != "red") e.Refuse();
  u8 flags = is_volatile || order > 0 ? kStrong : 0;
  if (order == 2 || order == 4) flags |= kLearns;
  if (order == 3 || order == 4) flags |= kPublishes;
  return flags;
}

// Hints of caches, which change nothing; true when a policy is the last operand.
bool TakeHints(Encoder& e) {
  e.TakeOne({"ca", "cg", "cs", "lu", "cv", "wb", "wt"});
  e.TakeOne({"L1::no_allocate", "L1::evict_first", "L1::evict_last", "L1::evict_normal",
             "L1::evict_unchanged"});
  e.TakeOne({"L2::evict_first", "L2::evict_last", "L2::evict_normal"});
  const bool policy = e.Take("L2::cache_hint");
  e.TakeOne({"L2::64B", "L2::128B", "L2::256B"});
  return policy;
}
void DropPolicy(Encoder& e, bool policy) {
  if (!policy) return;
  if (e.count() == 0) e.Refuse();
  (void)e.Use(e.count() - 1, 8);
  e.DropLast();
}

Space TakeSpace(Encoder& e) {
  constexpr Space kSpaces[] = {Space::kGlobal, Space::kConst, Space::kShared,
                               Space::kShared, Space::kLocal, Space::kParameter};
  const int space = e.TakeOne({"global", "const", "shared", "shared::cta", "local", "param"});
  return space < 0 ? Space::kNone : kSpaces[space];
}

// Arguments of calls are local memory; only the kernel's own parameters are elsewhere.
bool IsKernelParameter(Encoder& e, const Value& address) {
  if (address.space == Space::kNone) return !e.assembler().IsInFunction();
  return address.space == Space::kParameter;
}

Fn Load(Encoder& e, Space space, const Value& address) {
  switch (space) {
    case Space::kGlobal:
      return LoadGlobal;
    case Space::kConst:
      return LoadConstant;
    case Space::kShared:
      return LoadShared;
    case Space::kLocal:
      return LoadLocal;
    case Space::kParameter:
      return IsKernelParameter(e, address) ? LoadParameter : LoadLocal;
    default:
      return e.inst.address64 != 0 ? LoadGeneric : nullptr;
  }
}
Fn Store(Encoder& e, Space space, const Value& address) {
  switch (space) {
    case Space::kGlobal:
      return StoreGlobal;
    case Space::kShared:
      return StoreShared;
    case Space::kLocal:
      return StoreLocal;
    case Space::kParameter:
      return IsKernelParameter(e, address) ? nullptr : StoreLocal;
    case Space::kConst:
      return nullptr;
    default:
      return e.inst.address64 != 0 ? StoreGeneric : nullptr;
  }
}

void EncodeAccess(Encoder& e) {
  const bool load = e.opcode() == "ld";
  const u8 order = TakeOrder(e);
  const Space space = TakeSpace(e);
  if (load) e.Take("nc");
  const bool policy = TakeHints(e);
  const int vec = e.TakeOne({"v2", "v4", "v8"});
  const Type type = e.TakeType();
  DropPolicy(e, policy);
  e.Want(2);
  e.inst.vec = static_cast<u8>(vec < 0 ? 1 : 2 << vec);
  e.inst.bytes = static_cast<u8>(SizeOf(type));
  if (type == Type::kNone || type > Type::kF64 || e.inst.bytes * e.inst.vec > 32) e.Refuse();
  const std::vector<Value> parts = e.Parts(load ? 0 : 1);
  if (parts.size() != e.inst.vec) e.Refuse();
  // A register may be wider than what is loaded or stored.
  const bool widens = e.inst.bytes < 8 && parts[0].kind == Value::kRegister && parts[0].wide;
  if (widens && !load) e.Refuse();
  e.inst.mode =
      static_cast<u8>(order | (IsSigned(type) ? kSignExtend : 0) | (widens ? kIntoWide : 0));
  for (size_t i = 0; i < parts.size(); ++i) {
    e.inst.r[i] = e.Use(parts[i], widens ? 8 : e.inst.bytes);
  }
  e.inst.r[e.inst.vec] = e.UseAddress(load ? 1 : 0);
  e.inst.fn = load ? Load(e, space, e.at(1)) : Store(e, space, e.at(0));
  if (e.inst.fn == nullptr) e.Refuse();
}

// ---- atomics
constexpr Element kNoElement = static_cast<Element>(255);

Element ElementOf(Type type) {
  switch (type) {
    case Type::kB16:
      return Element::kU16;
    case Type::kU32:
    case Type::kB32:
      return Element::kU32;
    case Type::kU64:
    case Type::kB64:
      return Element::kU64;
    case Type::kS32:
      return Element::kS32;
    case Type::kS64:
      return Element::kS64;
    case Type::kF32:
      return Element::kF32;
    case Type::kF64:
      return Element::kF64;
    case Type::kF16:
      return Element::kF16;
    case Type::kBf16:
      return Element::kBf16;
    case Type::kF16x2:
      return Element::kF16x2;
    case Type::kBf16x2:
      return Element::kBf16x2;
    default:
      return kNoElement;
  }
}

bool IsHalf(Type t) {
  return t == Type::kF16 || t == Type::kBf16 || t == Type::kF16x2 || t == Type::kBf16x2;
}

bool HasAtomic(Atomic what, Type type) {
  switch (what) {
    case Atomic::kAdd:
      return type == Type::kU32 || type == Type::kS32 || type == Type::kU64 || type == Type::kF32 ||
             type == Type::kF64 || IsHalf(type);
    case Atomic::kMin:
    case Atomic::kMax:
      return IsInteger(type) && SizeOf(type) >= 4;
    case Atomic::kCompare:
      return IsBits(type) && SizeOf(type) >= 2;
    case Atomic::kIncrement:
    case Atomic::kDecrement:
      return type == Type::kU32;
    default:
      return IsBits(type) && SizeOf(type) >= 4;
  }
}

void EncodeAtomic(Encoder& e) {
  const bool returns = e.opcode() == "atom";
  const u8 order = TakeOrder(e);
  const Space space = TakeSpace(e);
  const auto what = static_cast<Atomic>(
      e.Need({"add", "min", "max", "and", "or", "xor", "exch", "cas", "inc", "dec"}));
  const bool no_flush = e.Take("noftz"), policy = e.Take("L2::cache_hint");
  const Type type = e.TakeType();
  DropPolicy(e, policy);
  if (!HasAtomic(what, type) || no_flush != IsHalf(type)) e.Refuse();
  if (!returns && (what == Atomic::kExchange || what == Atomic::kCompare)) e.Refuse();
  const int size = SizeOf(type);
  const size_t first = returns ? 1 : 0;
  e.Want(first + (what == Atomic::kCompare ? 3 : 2));
  e.inst.mode = static_cast<u8>(what);
  e.inst.vec = static_cast<u8>(ElementOf(type));
  e.inst.bytes = static_cast<u8>(size);
  e.inst.target = order;
  const bool keeps = returns && e.at(0).kind != Value::kSink;
  const u32 address = e.UseAddress(first);
  e.Set(space == Space::kGlobal                          ? AtomicGlobal
        : space == Space::kShared                        ? AtomicShared
        : space == Space::kNone && e.inst.address64 != 0 ? AtomicGeneric
                                                         : Fn(nullptr),
        {keeps ? e.Use(0, size) : kNone, address, e.Use(first + 1, size),
         what == Atomic::kCompare ? e.Use(first + 2, size) : kNone});
}

// ---- cp.async
void EncodeCopy(Encoder& e) {
  if (!e.Take("async")) e.Refuse();
  const int group = e.TakeOne({"commit_group", "wait_group", "wait_all"});
  if (group >= 0) {
    e.Want(group == 1 ? 1 : 0);
    if (group == 1) e.inst.offset = static_cast<i64>(e.Number(0));
    return e.Set(group == 0 ? CopyCommit : group == 1 ? CopyWait : CopyWaitAll, {});
  }
  const bool all_levels = e.Need({"cg", "ca"}) == 1;
  e.Need({"shared", "shared::cta"});
  e.Need({"global"});
  const bool policy = e.Take("L2::cache_hint");
  e.TakeOne({"L2::64B", "L2::128B", "L2::256B"});
  DropPolicy(e, policy);
  if (e.count() != 3 && e.count() != 4) e.Refuse();
  const u64 bytes = e.Number(2);
  if (bytes != 16 && (!all_levels || (bytes != 4 && bytes != 8))) e.Refuse();
  e.inst.bytes = static_cast<u8>(bytes);
  const u32 global = e.UseAddress(1);
  if (e.inst.address64 == 0) e.Refuse();
  e.inst.target = static_cast<i32>(e.inst.offset);  // of the source
  const u32 shared = e.UseAddress(0);
  e.Set(CopyAsync, {shared, global, e.count() == 4 ? e.Use(3, 4) : kNone});
}

void EncodeLoadMatrix(Encoder& e) {
  if (!e.Take("sync") || !e.Take("aligned") || !e.Take("m8n8")) e.Refuse();
  const int n = e.Need({"x1", "x2", "x4"});
  e.inst.mode = e.Take("trans") ? 1 : 0;
  e.Need({"shared", "shared::cta"});
  if (e.TakeType() != Type::kB16) e.Refuse();
  e.Want(2);
  e.inst.vec = static_cast<u8>(1 << n);
  const std::vector<Value> parts = e.Parts(0);
  if (parts.size() != e.inst.vec) e.Refuse();
  for (size_t i = 0; i < parts.size(); ++i) e.inst.r[i] = e.Use(parts[i], 4);
  e.inst.r[e.inst.vec] = e.UseAddress(1);
  e.inst.kind = Kind::kCollective;
  e.inst.members = e.assembler().registers().Constant(kAll, false);
  e.inst.fn = LoadMatrix;
}

// ---- hints
void EncodePrefetch(Encoder& e) {
  TakeSpace(e);
  e.Need({"L1", "L2", "L2::evict_last", "L2::evict_normal"});
  e.Want(1);
  e.UseAddress(0);
  e.inst.fn = Nothing;
}
struct NoPolicy {
  u64 operator()() const { return 0; }
};
void EncodePolicy(Encoder& e) {
  e.Need({"fractional"});
  e.Need({"L2::evict_first", "L2::evict_last", "L2::evict_normal", "L2::evict_unchanged"});
  if (e.TakeType() != Type::kB64 || e.count() < 1) e.Refuse();
  e.Set(Each<NoPolicy, u64>, {e.Use(0, 8)});
}

}  // namespace

std::span<const Opcode> MemoryOpcodes() {
  static constexpr Opcode kOpcodes[] = {
      {"ld", EncodeAccess},         {"st", EncodeAccess},
      {"atom", EncodeAtomic},       {"red", EncodeAtomic},
      {"cp", EncodeCopy},           {"ldmatrix", EncodeLoadMatrix},
      {"prefetch", EncodePrefetch}, {"createpolicy", EncodePolicy},
  };
  return kOpcodes;
}

}  // namespace ptx
