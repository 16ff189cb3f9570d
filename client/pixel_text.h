#pragma once

#include <cstdint>
#include <string>

#include "client/image.h"

namespace peerage {

inline constexpr int kTextHeight = 10;

// Digits, letters (all as capitals), '.', '-', '_' and '%' in a small fixed font; other characters
// are blank.
int TextWidth(const std::string& text);
void DrawText(Image& image, int left, int top, const std::string& text, Colour colour);

// In at most five characters: "999", "1.2K", "10K", "3.4M".
std::string ShortNumber(uint64_t number);

}  // namespace peerage
