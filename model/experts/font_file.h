#pragma once

#include "absl/strings/string_view.h"

namespace peerage {

// The bytes of DejaVu Sans as a TrueType file, in which texts of pictures are drawn.
absl::string_view FontFile();

}  // namespace peerage
