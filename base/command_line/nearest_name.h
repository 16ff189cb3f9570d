#pragma once

#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace peerage {

// The one of these names that was probably meant: the fewest letters away (added, left out,
// replaced, or two neighbours swapped), and no more than a third of the longer one. Empty when none
// is that near; the first of several.
std::string NearestName(absl::string_view given, const std::vector<std::string>& names);

// "; did you mean --seed?", or nothing.
std::string DidYouMean(absl::string_view given, const std::vector<std::string>& names);

}  // namespace peerage
