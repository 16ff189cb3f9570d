#include "model/experts/font_file.h"

#include <cstddef>

// The assembler takes the file in, whose path is PEERAGE_FONT: an array of so many numbers would
// take the compiler seconds.
asm(".section .rodata\n"
    ".globl kPeerageFontBegin\n"
    ".globl kPeerageFontEnd\n"
    "kPeerageFontBegin:\n"
    ".incbin \"" PEERAGE_FONT
    "\"\n"
    "kPeerageFontEnd:\n"
    ".previous\n");

extern "C" {
extern const char kPeerageFontBegin[];
extern const char kPeerageFontEnd[];
}

namespace peerage {

absl::string_view FontFile() {
  return {kPeerageFontBegin, static_cast<size_t>(kPeerageFontEnd - kPeerageFontBegin)};
}

}  // namespace peerage
