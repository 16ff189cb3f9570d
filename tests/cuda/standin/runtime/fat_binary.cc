#include "fat_binary.h"

#include <cstring>

namespace standin {
namespace {

constexpr uint32_t kWrapperMagic = 0x466243b1, kMagic = 0xba55ed50;
enum EntryKind : uint16_t { kPtx = 1, kElf = 2 };
constexpr uint64_t kCompressed = 0x2000 | 0x8000;  // LZ4, Zstandard

struct Wrapper {
  uint32_t magic, version;
  const uint8_t* data;
  void* unused;
};
struct Header {
  uint32_t magic;
  uint16_t version, header_bytes;
  uint64_t bytes;  // behind the header
};
struct Entry {
  uint16_t kind, version;
  uint32_t header_bytes;
  uint64_t bytes;  // behind the header
  uint32_t compressed_bytes, unused, minor_major, target;
  uint32_t name_offset, name_bytes;
  uint64_t flags;
};
static_assert(sizeof(Header) == 16 && sizeof(Entry) == 48);

template <typename T>
T Read(const uint8_t* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

void AddEntry(const Entry& entry, const uint8_t* bytes, FatBinary& binary) {
  const int target = static_cast<int>(entry.target);
  if (entry.kind == kElf) {
    if ((entry.flags & kCompressed) == 0) binary.cubins.push_back({target, {bytes, entry.bytes}});
  } else if (entry.kind != kPtx) {
    binary.problem = "an entry of kind " + std::to_string(entry.kind);
  } else if ((entry.flags & kCompressed) != 0) {
    binary.problem = "its PTX is compressed: nvcc --compress-mode=none";
  } else {
    const auto* text = reinterpret_cast<const char*>(bytes);
    binary.ptx.push_back({target, std::string(text, strnlen(text, entry.bytes))});
  }
}

template <typename Image>
const Image* Highest(const std::vector<Image>& images, int target) {
  const Image* best = nullptr;
  for (const Image& image : images) {
    if (image.target <= target && (best == nullptr || image.target > best->target)) best = &image;
  }
  return best;
}

}  // namespace

FatBinary ReadFatBinary(const void* wrapper) {
  FatBinary binary;
  const auto outer = Read<Wrapper>(static_cast<const uint8_t*>(wrapper));
  if (outer.magic != kWrapperMagic || outer.version != 1) {
    binary.problem = "the wrapper of its fat binary is not of version 1 (toolkit 13.0)";
    return binary;
  }
  const auto header = Read<Header>(outer.data);
  if (header.magic != kMagic || header.version != 1) {
    binary.problem = "its fat binary is not of version 1 (toolkit 13.0)";
    return binary;
  }
  const uint8_t* at = outer.data + header.header_bytes;
  for (const uint8_t* const end = at + header.bytes; at < end;) {
    const auto entry = Read<Entry>(at);
    AddEntry(entry, at + entry.header_bytes, binary);
    at += entry.header_bytes + entry.bytes;
  }
  return binary;
}

const FatBinary::Ptx* FatBinary::PtxFor(int target) const { return Highest(ptx, target); }

const FatBinary::Cubin* FatBinary::CubinFor(int target) const {
  const Cubin* best = Highest(cubins, target);
  return best != nullptr && best->target / 10 == target / 10 ? best : nullptr;
}

}  // namespace standin
