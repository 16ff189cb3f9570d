// Branches, barriers, fences, the end.
#include "encoder.h"
#include "lanewise.h"

namespace ptx {
namespace {

void Nothing(Warp&, const Inst&, u32) {}

void EncodeBranch(Encoder& e) {
  e.Take("uni");
  e.Want(1);
  if (e.at(0).kind != Value::kLabel) e.Refuse();
  e.inst.kind = Kind::kBranch;
  e.assembler().JumpTo(e.at(0).name);
}

// r: the index into the table
void EncodeIndexedBranch(Encoder& e) {
  e.Take("uni");
  if (!e.Take("idx")) e.Refuse();
  e.Want(2);
  if (e.at(1).kind != Value::kLabel) e.Refuse();
  e.inst.kind = Kind::kTable;
  e.inst.r[0] = e.Use(0, 4);
  e.inst.target = static_cast<i32>(e.assembler().Table(e.at(1).name));
}

void EncodeExit(Encoder& e) {
  e.Want(0);
  e.inst.kind = Kind::kExit;
}

void EncodeTrap(Encoder& e) {
  e.Want(0);
  e.inst.fn = [](Warp& w, const Inst& i, u32 m) {
    throw Error("trap: " + Where(*w.block, i, w.first_thread + std::countr_zero(m)));
  };
}

void SyncWarp(Warp& w, const Inst&, u32) { ++w.sync_epoch; }

// What block.cc does with barriers; r: d or none, number, threads or none, predicate or none.
// inst.mode: 0 sync, 1 arrive, 2 count, 3 all, 4 any; inst.vec: 1 when whole warps come.
void EncodeBarrier(Encoder& e) {
  if (e.opcode() == "bar" && e.Take("warp")) {
    if (!e.Take("sync")) e.Refuse();
    e.Want(1);
    e.inst.kind = Kind::kCollective;
    e.inst.members = e.Use(0, 4);
    e.inst.fn = SyncWarp;
    return;
  }
  e.Take("cta");
  const bool aligned = e.Take("aligned") || e.opcode() == "bar";
  const int what = e.Need({"sync", "arrive", "red"});
  e.inst.kind = Kind::kBarrier;
  e.inst.vec = aligned ? 1 : 0;
  e.inst.mode = static_cast<u8>(what);
  size_t first = 0, last = e.count();
  if (what == 2) {
    e.inst.mode = static_cast<u8>(2 + e.Need({"popc", "and", "or"}));
    const Type type = e.TakeType();
    if (type != (e.inst.mode == 2 ? Type::kU32 : Type::kPred) || e.count() < 3) e.Refuse();
    e.inst.r[0] = e.inst.mode == 2 ? e.Use(0, 4) : e.UsePredicate(0);
    e.inst.r[3] = e.UsePredicate(e.count() - 1);
    first = 1, last = e.count() - 1;
  }
  if (last - first < 1 || last - first > 2 || (what == 1 && last - first != 2)) e.Refuse();
  e.inst.r[1] = e.Use(first, 4);
  if (last - first == 2) e.inst.r[2] = e.Use(first + 1, 4);
}

// What a block did before is published by its later atomics, for those who see them.
void Fence(Warp& w, const Inst&, u32) { w.block->fenced = true; }
void EncodeFence(Encoder& e) {
  e.Want(0);
  if (e.opcode() == "membar") {
    e.inst.fn = e.Need({"cta", "gl", "sys"}) == 0 ? Nothing : Fence;
    return;
  }
  e.TakeOne({"sc", "acq_rel"});
  e.inst.fn = e.Need({"cta", "gpu", "sys"}) == 0 ? Nothing : Fence;
}

// Kernels that follow each other run one after the other.
void EncodeGridControl(Encoder& e) {
  e.Need({"wait", "launch_dependents"});
  e.Want(0);
  e.inst.fn = Nothing;
}

void EncodeSleep(Encoder& e) {
  if (e.TakeType() != Type::kU32) e.Refuse();
  e.Want(1);
  (void)e.Use(0, 4);
  e.inst.fn = [](Warp& w, const Inst&, u32) { w.yields = true; };
}

}  // namespace

std::span<const Opcode> ControlOpcodes() {
  static constexpr Opcode kOpcodes[] = {
      {"bra", EncodeBranch},
      {"brx", EncodeIndexedBranch},
      {"exit", EncodeExit},
      {"trap", EncodeTrap},
      {"bar", EncodeBarrier},
      {"barrier", EncodeBarrier},
      {"membar", EncodeFence},
      {"fence", EncodeFence},
      {"griddepcontrol", EncodeGridControl},
      {"nanosleep", EncodeSleep},
  };
  return kOpcodes;
}

}  // namespace ptx
