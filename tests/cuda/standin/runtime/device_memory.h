#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>

#include "ptx.h"

namespace standin {

// The memory of one device. Its addresses are reserved and cannot be followed by the host; the
// bytes lie elsewhere (ptx::Memory::alias). Each allocation has pages of its own, begins at 256
// bytes into the first, so that no kernel can rely on more than what cudaMalloc promises, and is
// NaN in every format until written. Addresses of freed memory come back late, so that their use is
// noticed.
class DeviceMemory {
 public:
  // `checked`: keep who touched and wrote what (ptx::Memory::touches and fresh).
  DeviceMemory(uint64_t total, bool checked) : total_(total), checked_(checked) {}
  DeviceMemory(const DeviceMemory&) = delete;

  // Reserves the addresses, if it was not done.
  void Prepare();
  // 0: out of memory.
  uint64_t Allocate(uint64_t bytes);
  // False: no allocation begins here.
  bool Free(uint64_t address);
  void FreeAll();

  bool Owns(uint64_t address) const { return base_ != 0 && address - base_ < reserved_; }
  bool Holds(uint64_t address, uint64_t bytes) const { return memory_.Holds(address, bytes); }
  bool WasFreed(uint64_t address) const { return FindFreed(address) != nullptr; }
  // Where an address lies, for messages: "byte 8 of an allocation of 64 bytes that was freed".
  std::string Describe(uint64_t address) const;

  uint8_t* At(uint64_t address) const { return memory_.At(address); }
  void MarkWritten(uint64_t address, uint64_t bytes) const;
  bool WasWritten(uint64_t address, uint64_t bytes) const;
  // What was written, as of the bytes of another place: copies carry it along.
  void CopyWritten(uint64_t to, const DeviceMemory& other, uint64_t from, uint64_t bytes) const;

  ptx::Memory& memory() { return memory_; }
  uint64_t total() const { return total_; }
  uint64_t used() const { return used_; }
  size_t allocations() const { return live_.size(); }

 private:
  struct Allocation {
    uint64_t address = 0, bytes = 0, pages_end = 0;
  };
  // A place for an allocation, by its first page; 0: there is none.
  uint64_t Place(uint64_t bytes);
  uint64_t AllocateVariable(uint64_t bytes);
  void Release(uint64_t first_page, const Allocation& allocation);
  const Allocation* FindFreed(uint64_t address) const;
  static uint64_t Counted(uint64_t bytes) { return (bytes + 511) / 512 * 512; }

  const uint64_t total_;
  const bool checked_;
  ptx::Memory memory_;
  std::map<uint64_t, Allocation> live_, variables_, freed_;  // by first page
  uint64_t base_ = 0, reserved_ = 0, next_ = 0, used_ = 0;
};

}  // namespace standin
