#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace standin {

// What nvcc puts into a program: code of one source file, for several targets. The layout is not
// documented; it is pinned by runtime_test/registration_abi_test.py.
struct FatBinary {
  struct Ptx {
    int target = 0;  // compute capability: 80, 90
    std::string text;
  };
  struct Cubin {
    int target = 0;
    std::span<const uint8_t> elf;
  };
  std::vector<Ptx> ptx;
  std::vector<Cubin> cubins;
  std::string problem;  // why it cannot be read; empty when it can

  // What the target runs: the highest up to it. Null: none.
  const Ptx* PtxFor(int target) const;
  const Cubin* CubinFor(int target) const;
};

// `wrapper`: what the program gives to __cudaRegisterFatBinary, which lives as long as the program.
FatBinary ReadFatBinary(const void* wrapper);

}  // namespace standin
