#include "model/experts/font_file.h"

#include <cstddef>

// The assembler takes the file in, whose path is PEERAGE_FONT: an array of so many numbers would
// take the compiler seconds.
asm(".section .rodata\n"
    ".globl peerage_font_begin\n"
    ".globl peerage_font_end\n"
    "peerage_font_begin:\n"
    ".incbin \"" PEERAGE_FONT
    "\"\n"
    "peerage_font_end:\n"
    ".previous\n");

extern "C" {
extern const char peerage_font_begin[];
extern const char peerage_font_end[];
}

namespace peerage {

absl::string_view FontFile() {
  return {peerage_font_begin, static_cast<size_t>(peerage_font_end - peerage_font_begin)};
}

}  // namespace peerage
