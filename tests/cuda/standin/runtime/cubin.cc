#include "cubin.h"

#include <elf.h>

#include <cstring>
#include <vector>

namespace standin {
namespace {

// An attribute of section .nv.info: format, attribute, bytes of the value.
constexpr uint8_t kSized = 4, kRegisterCount = 0x2f;

class Elf {
 public:
  explicit Elf(std::span<const uint8_t> bytes) : bytes_(bytes) {
    const auto header = Read<Elf64_Ehdr>(0);
    if (std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0) return;
    for (int i = 0; i < header.e_shnum; ++i) {
      sections_.push_back(Read<Elf64_Shdr>(header.e_shoff + i * sizeof(Elf64_Shdr)));
    }
    names_ = header.e_shstrndx;
  }

  // Zeros beyond the end.
  template <typename T>
  T Read(uint64_t at) const {
    T value{};
    if (at <= bytes_.size() && sizeof(T) <= bytes_.size() - at) {
      std::memcpy(&value, bytes_.data() + at, sizeof value);
    }
    return value;
  }
  std::string Text(size_t section, uint64_t offset) const {
    const uint64_t at = section < sections_.size() ? sections_[section].sh_offset + offset : ~0ull;
    if (at >= bytes_.size()) return {};
    const auto* text = reinterpret_cast<const char*>(bytes_.data() + at);
    return {text, strnlen(text, bytes_.size() - at)};
  }
  const Elf64_Shdr* Section(const std::string& name) const {
    for (const Elf64_Shdr& section : sections_) {
      if (Text(names_, section.sh_name) == name) return &section;
    }
    return nullptr;
  }
  std::string SymbolName(uint32_t index) const {
    const Elf64_Shdr* symbols = Section(".symtab");
    if (symbols == nullptr) return {};
    const auto symbol = Read<Elf64_Sym>(symbols->sh_offset + index * sizeof(Elf64_Sym));
    return Text(symbols->sh_link, symbol.st_name);
  }

 private:
  std::span<const uint8_t> bytes_;
  std::vector<Elf64_Shdr> sections_;
  size_t names_ = 0;
};

}  // namespace

std::map<std::string, int> RegisterCounts(std::span<const uint8_t> bytes) {
  const Elf elf(bytes);
  std::map<std::string, int> counts;
  const Elf64_Shdr* info = elf.Section(".nv.info");
  if (info == nullptr) return counts;
  for (uint64_t at = info->sh_offset; at < info->sh_offset + info->sh_size;) {
    const auto format = elf.Read<uint8_t>(at), attribute = elf.Read<uint8_t>(at + 1);
    if (format == kSized && attribute == kRegisterCount) {
      counts[elf.SymbolName(elf.Read<uint32_t>(at + 4))] = elf.Read<int32_t>(at + 8);
    }
    at += 4 + (format == kSized ? elf.Read<uint16_t>(at + 2) : 0);
  }
  return counts;
}

}  // namespace standin
